//! Commands on the time axis of the curve that they moved: a flag when the device was told, a span until the end.

use std::sync::Arc;

use egui::{Align2, CornerRadius, Galley, Pos2, Rect, Stroke, Ui, pos2, vec2};
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

/// The name of a command at the top of its line.
struct Flag {
    rect: Rect,
    galley: Arc<Galley>,
    /// At the right edge there may be no room: then it flies to the left.
    is_left: bool,
}

/// The commands of a chart's devices, laid out.
pub(super) struct Markers<'a> {
    /// Oldest first. One whose name has no free row is only a line.
    placed: Vec<(Marker<'a>, Option<Flag>)>,
    rows: usize,
}

impl<'a> Markers<'a> {
    /// Finds the commands and places their names.
    pub(super) fn layout(ui: &Ui, scene: &Scene<'a>) -> Self {
        let is_device_named = devices(scene).len() > 1;
        let mut row_ends = [f32::NEG_INFINITY; ROWS_MAX];
        let mut placed = Vec::new();
        for marker in find(scene) {
            let flag = place(ui, scene, &marker, is_device_named, &mut row_ends);
            placed.push((marker, flag));
        }
        let rows = row_ends.iter().filter(|end| end.is_finite()).count();
        Self { placed, rows }
    }

    /// Height of the rows of names.
    pub(super) fn height(&self) -> f32 {
        if self.rows == 0 { 0.0 } else { self.rows as f32 * ROW_HEIGHT + 4.0 }
    }

    /// Draws them and returns the one under the pointer.
    pub(super) fn draw(&self, ui: &Ui, scene: &Scene<'_>, pointer: Option<Pos2>) -> Option<CommandId> {
        let tokens = scene.tokens;
        let times = scene.times();
        let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
        let mut hovered = None;
        for (marker, flag) in &self.placed {
            let color = widgets::command_color(tokens, marker.command.state);
            let from = times.x(marker.at.0);
            let to = times.x(marker.end.unwrap_or_else(|| scene.model.now()).0.min(scene.to.0)).max(from);
            let span = Rect::from_min_max(pos2(from, scene.area.top()), pos2(to, scene.area.bottom()));
            painter.rect_filled(span, 0.0, color.gamma_multiply(0.07));
            painter.vline(from, scene.area.y_range(), Stroke::new(1.0, color.gamma_multiply(0.8)));
            if marker.end.is_some() && to - from > 3.0 {
                let dashes = [pos2(to, scene.area.top()), pos2(to, scene.area.bottom())];
                let stroke = Stroke::new(1.0, color.gamma_multiply(0.5));
                painter.extend(egui::Shape::dashed_line(&dashes, stroke, 3.0, 3.0));
            }
            if let Some(flag) = flag {
                flag.draw(ui, scene, marker.command.state);
            }
            let is_near = pointer.is_some_and(|p| {
                let is_at_line = (p.x - from).abs() <= NEAR_PX;
                scene.area.contains(p)
                    && (is_at_line || flag.as_ref().is_some_and(|flag| flag.rect.contains(p)))
            });
            if is_near {
                hovered = Some(marker.command.id.clone());
            }
        }
        hovered
    }
}

impl Flag {
    fn draw(&self, ui: &Ui, scene: &Scene<'_>, state: CommandState) {
        let tokens = scene.tokens;
        let color = widgets::command_color(tokens, state);
        let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
        let (inner, outer) = if self.is_left { (0, 3) } else { (3, 0) };
        let corners = CornerRadius { nw: outer, sw: outer, ne: inner, se: inner };
        painter.rect_filled(self.rect, corners, mix(tokens.panel, color, 0.22));
        let pole = if self.is_left { self.rect.right() - 2.0 } else { self.rect.left() };
        let pole = Rect::from_min_size(pos2(pole, self.rect.top()), vec2(2.0, self.rect.height()));
        painter.rect_filled(pole, 0.0, color);
        let shape = self.rect.left_center() + vec2(11.0, 0.0);
        if ui.clip_rect().contains(shape) && scene.area.contains(shape) {
            widgets::command_shape(ui, shape, state, tokens);
        }
        let at = self.rect.left_center() + vec2(19.0, -self.galley.size().y / 2.0);
        painter.galley(at, Arc::clone(&self.galley), tokens.text);
    }
}

/// Finds a place for the name of a command in the first row that is free there.
fn place(
    ui: &Ui,
    scene: &Scene<'_>,
    marker: &Marker<'_>,
    is_device_named: bool,
    row_ends: &mut [f32; ROWS_MAX],
) -> Option<Flag> {
    let command = marker.command;
    let label = scene.model.command_label(&command.device, command.name.as_str());
    let mut text = if is_device_named { format!("{} · {label}", command.device) } else { label };
    if command.state != CommandState::Succeeded {
        text.push_str(" · ");
        text.push_str(command.state.as_str());
    }
    let galley = ui.painter().layout_no_wrap(text, fonts::medium(11.0), scene.tokens.text);
    let width = galley.size().x + 25.0;
    let x = scene.times().x(marker.at.0);
    let is_left = x + width > scene.area.right() && x - width >= scene.area.left();
    let left = if is_left { x - width } else { x };
    let row = row_ends.iter().position(|end| *end + 4.0 <= left)?;
    row_ends[row] = left + width;
    let top = scene.area.top() + row as f32 * ROW_HEIGHT + 1.0;
    Some(Flag { rect: Rect::from_min_size(pos2(left, top), vec2(width, ROW_HEIGHT - 2.0)), galley, is_left })
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
