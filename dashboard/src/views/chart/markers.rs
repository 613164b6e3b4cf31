//! Commands on the time axis of the curve that they moved: a flag when the device was told, a span until the end.

use egui::{Align2, Pos2, Rect, Stroke, Ui, pos2, vec2};
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Timestamp};

use super::Scene;
use crate::model::commands::{changed_at, issued_at};
use crate::theme::{fonts, tokens::mix};
use crate::views::widgets;

/// A command that was issued longer than this before the view is not looked for. Chosen: the longest task of a day.
const LOOK_BACK_MICROS: i64 = 24 * 3_600_000_000;
/// Most commands drawn in one chart; beyond it the newest. Chosen: more is a wall.
const MARKERS_MAX: usize = 200;
/// Height of a row of flags, and how many rows there are.
const ROW_HEIGHT: f32 = 18.0;
const ROWS_MAX: usize = 3;
/// How near the pointer must be to a flag.
const NEAR_PX: f32 = 5.0;

/// A command as it is drawn.
struct Marker<'a> {
    command: &'a CommandInfo,
    /// When the device was told, or the command issued if it never was.
    at: Timestamp,
    /// When it ended; `None` while it goes on.
    end: Option<Timestamp>,
}

/// Draws the commands of the chart's devices and returns the one under the pointer.
pub(super) fn markers(ui: &Ui, scene: &Scene<'_>, pointer: Option<Pos2>) -> Option<CommandId> {
    let found = find(scene);
    if found.is_empty() {
        return None;
    }
    let tokens = scene.tokens;
    let times = scene.times();
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    let has_many_devices = devices(scene).len() > 1;
    let mut row_ends = [f32::NEG_INFINITY; ROWS_MAX];
    let mut hovered = None;
    for marker in &found {
        let color = widgets::command_color(tokens, marker.command.state);
        let from = times.x(marker.at.0);
        let to = times.x(marker.end.unwrap_or_else(|| scene.model.now()).0.min(scene.to.0)).max(from);
        let span = Rect::from_min_max(pos2(from, scene.area.top()), pos2(to, scene.area.bottom()));
        painter.rect_filled(span, 0.0, color.gamma_multiply(0.07));
        painter.vline(from, scene.area.y_range(), Stroke::new(1.0, color.gamma_multiply(0.8)));
        if marker.end.is_some() && to - from > 3.0 {
            let dashes = [pos2(to, scene.area.top()), pos2(to, scene.area.bottom())];
            painter.extend(egui::Shape::dashed_line(&dashes, Stroke::new(1.0, color.gamma_multiply(0.5)), 3.0, 3.0));
        }
        let flag = row_ends.iter().position(|end| *end + 4.0 <= from).map(|row| {
            let end = draw_flag(ui, scene, marker, from, row, has_many_devices);
            row_ends[row] = end;
            Rect::from_min_max(
                pos2(from, scene.area.top() + row as f32 * ROW_HEIGHT),
                pos2(end, scene.area.top() + (row + 1) as f32 * ROW_HEIGHT),
            )
        });
        let is_near = pointer.is_some_and(|p| {
            scene.area.contains(p) && ((p.x - from).abs() <= NEAR_PX || flag.is_some_and(|flag| flag.contains(p)))
        });
        if is_near {
            hovered = Some(marker.command.id.clone());
        }
    }
    hovered
}

/// The commands of the chart's devices that are seen in this view, oldest first.
fn find<'a>(scene: &Scene<'a>) -> Vec<Marker<'a>> {
    let earliest = scene.from.plus_micros(-LOOK_BACK_MICROS);
    let mut found: Vec<Marker<'a>> = devices(scene)
        .into_iter()
        .flat_map(|device| scene.model.commands.issued_between(device, earliest, scene.to))
        .map(|command| Marker { command, at: told_at(command), end: ended_at(command) })
        .filter(|marker| marker.at <= scene.to && marker.end.is_none_or(|end| end >= scene.from))
        .collect();
    found.sort_by(|a, b| (a.at, &a.command.id).cmp(&(b.at, &b.command.id)));
    let surplus = found.len().saturating_sub(MARKERS_MAX);
    found.drain(..surplus);
    found
}

/// The devices whose series are shown, each once.
fn devices<'a>(scene: &Scene<'a>) -> Vec<&'a DeviceId> {
    let mut devices: Vec<&DeviceId> = Vec::new();
    for info in scene.curves.iter().filter_map(|curve| scene.model.series_info(curve.id)) {
        if !devices.contains(&&info.device.info.id) {
            devices.push(&info.device.info.id);
        }
    }
    devices
}

/// When the device was told, or the command was issued if it never was.
fn told_at(command: &CommandInfo) -> Timestamp {
    let sent = command.transitions.iter().find(|t| t.state == CommandState::Sent);
    sent.map_or_else(|| issued_at(command), |sent| sent.at)
}

fn ended_at(command: &CommandInfo) -> Option<Timestamp> {
    command.state.is_final().then(|| changed_at(command))
}

/// Draws the name at the top of a marker's line and returns its right edge.
fn draw_flag(ui: &Ui, scene: &Scene<'_>, marker: &Marker<'_>, x: f32, row: usize, is_device_named: bool) -> f32 {
    let tokens = scene.tokens;
    let command = marker.command;
    let color = widgets::command_color(tokens, command.state);
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    let label = scene.model.command_label(&command.device, command.name.as_str());
    let mut text = if is_device_named { format!("{} · {label}", command.device) } else { label };
    if !matches!(command.state, CommandState::Succeeded) {
        text.push_str(" · ");
        text.push_str(command.state.as_str());
    }
    let galley = painter.layout_no_wrap(text, fonts::medium(11.0), tokens.text);
    let place = Rect::from_min_size(
        pos2(x, scene.area.top() + row as f32 * ROW_HEIGHT + 1.0),
        vec2(galley.size().x + 25.0, ROW_HEIGHT - 2.0),
    );
    painter.rect_filled(place, egui::CornerRadius { nw: 0, ne: 3, sw: 0, se: 3 }, mix(tokens.panel, color, 0.22));
    painter.rect_filled(Rect::from_min_size(place.min, vec2(2.0, place.height())), 0.0, color);
    let child = ui.clip_rect().intersect(scene.area).contains(place.left_center() + vec2(11.0, 0.0));
    if child {
        widgets::command_shape(ui, place.left_center() + vec2(11.0, 0.0), command.state, tokens);
    }
    painter.galley(place.left_center() + vec2(19.0, -galley.size().y / 2.0), galley, tokens.text);
    place.right()
}

/// What the tooltip says of a command: its name and state, and how long it took.
pub(super) fn lines(scene: &Scene<'_>, id: &CommandId) -> Option<(CommandState, String, Vec<String>)> {
    let command = scene.model.commands.get(id)?;
    let label = scene.model.command_label(&command.device, command.name.as_str());
    let mut details = Vec::new();
    for (name, value) in command.args.iter().take(4) {
        details.push(crate::format::ellipsis(&format!("{name} {value}"), 48));
    }
    let took = ended_at(command).map(|end| crate::format::duration(end.micros_since(issued_at(command))));
    details.push(match took {
        Some(took) => format!("{} after {took}", command.state),
        None => match command.progress {
            Some(progress) => format!("{} {:.0} %", command.state, progress * 100.0),
            None => command.state.to_string(),
        },
    });
    if let Some(error) = &command.error {
        details.push(crate::format::ellipsis(error, 60));
    }
    Some((command.state, format!("{label} · {}", command.device), details))
}

/// Puts a text at the top of a vertical line.
pub(super) fn line_label(ui: &Ui, at: Pos2, text: &str, scene: &Scene<'_>) {
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    painter.text(at, Align2::LEFT_BOTTOM, text, fonts::mono(10.5), scene.tokens.accent);
}
