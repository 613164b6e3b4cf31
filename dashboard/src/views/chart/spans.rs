//! Commands under the curves that they moved: each a span from its issue to its end, on the same time axis.
//!
//! Spans stand in a few rows; what finds no free place is counted. One that waits for its device is a thin line that others
//! may stand on. They are laid out anew only when the view, the
//! commands or a pixel of time has changed, and keep their row while they are seen. The state is told by a shape and a
//! word too, never by colour alone.

use std::collections::HashMap;
use std::sync::Arc;

use egui::{Align2, Color32, Galley, Id, Pos2, Rect, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Timestamp};

use super::{STRIP_GAP, Scene};
use crate::action::Action;
use crate::format;
use crate::model::commands::{ended_at, issued_at, took};
use crate::model::outcome;
use crate::theme::{fonts, tokens::mix};
use crate::views::{device, widgets};

/// Most commands laid out in one chart; beyond it the newest. Chosen: more than there are pixels to point at.
const SPANS_MAX: usize = 2_000;
/// Rows of spans, and how high one is.
const ROWS_MAX: usize = 3;
const ROW_HEIGHT: f32 = 17.0;
/// Height of a span in its row.
const BAR_HEIGHT: f32 = 14.0;
/// Width of a span that takes no time: its shape.
const LEAST_WIDTH: f32 = 15.0;
/// Gap between two spans of a row.
const GAP: f32 = 2.0;
/// Where the name begins, from the left end of its span.
const NAME_AT: f32 = 16.0;
/// Less room than this is not looked at for a name.
const NAME_LEAST: f32 = 30.0;
/// Distance at which counted commands are counted apart.
const CLUSTER_PX: f32 = 36.0;
/// Most commands in view whose beginning is drawn through the curves. Chosen: more are a fence.
const LINES_MAX: usize = 12;
/// A chart lower than this has one row.
const LOW_CHART: f32 = 150.0;

/// One command as it is drawn.
struct Span {
    id: CommandId,
    state: CommandState,
    row: usize,
    /// From the left to the right end; `told` is where the device was told.
    left: f32,
    told: f32,
    right: f32,
    /// Where it ended, or now: its right end, unless it is drawn wider than it was.
    end: f32,
    progress: Option<f32>,
    /// Its name, where it fits.
    name: Option<(Arc<Galley>, NameAt)>,
    /// The colour of the curve it belongs to, where there are several devices.
    curve: Option<Color32>,
}

/// Where the name of a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NameAt {
    Inside,
    Right,
    Left,
}

impl Span {
    fn is_open(&self) -> bool {
        !self.state.is_final()
    }

    /// Everything that it occupies, with its name.
    fn ends(&self) -> (f32, f32) {
        match &self.name {
            Some((galley, NameAt::Right)) => (self.left, self.right + galley.size().x + 6.0),
            Some((galley, NameAt::Left)) => (self.left - galley.size().x - 6.0, self.right),
            _ => (self.left, self.right),
        }
    }
}

/// Commands that found no place, close together.
struct Cluster {
    left: f32,
    right: f32,
    from: Timestamp,
    to: Timestamp,
    count: usize,
    states: Vec<(CommandState, usize)>,
}

/// Everything that the layout depends on.
#[derive(PartialEq)]
struct Key {
    log: u64,
    devices: u64,
    from: Timestamp,
    to: Timestamp,
    area: Rect,
    dark: bool,
    /// The pixel of now, while something goes on.
    now: Option<i64>,
    hidden: usize,
}

/// The spans of a chart, kept from frame to frame.
#[derive(Default)]
pub(super) struct Spans {
    key: Option<Key>,
    placed: Vec<Span>,
    clusters: Vec<Cluster>,
    rows: HashMap<CommandId, usize>,
    /// The one that the keyboard has come to.
    pub(super) selected: Option<CommandId>,
    /// Rows that are kept free, so that curves do not jump; for a view of this width.
    height_rows: usize,
    height_of: i64,
}

/// What is under the pointer.
pub(super) struct Pointed {
    /// The worst state of it.
    pub(super) state: CommandState,
    /// What it is.
    pub(super) title: String,
    /// More of it.
    pub(super) details: Vec<String>,
}

impl Spans {
    /// Finds and places the commands of the chart's devices, if anything has changed.
    pub(super) fn update(&mut self, ui: &Ui, scene: &Scene<'_>) {
        let now = scene.model.now();
        let log = &scene.model.commands;
        let devices = devices(scene);
        let grows = |id: &CommandId| log.get(id).is_some_and(|c| !c.state.is_final());
        let pixel = (scene.micros_per_pixel as i64).max(1);
        let key = Key {
            log: log.revision(),
            devices: scene.model.devices.revision(),
            from: scene.from,
            to: scene.to,
            area: scene.area,
            dark: scene.tokens.dark,
            now: self.placed.iter().any(|s| grows(&s.id)).then(|| now.0.div_euclid(pixel)),
            hidden: scene.curves.iter().filter(|c| c.is_hidden).count(),
        };
        if self.key.as_ref() == Some(&key) {
            return;
        }
        self.key = Some(key);
        let mut found: Vec<(&CommandInfo, usize)> = devices
            .iter()
            .enumerate()
            .flat_map(|(i, (device, _))| log.under_way(device, scene.from, scene.to).map(move |c| (c, i)))
            .collect();
        found.sort_by(|(a, _), (b, _)| (issued_at(a), &a.id).cmp(&(issued_at(b), &b.id)));
        let surplus = found.len().saturating_sub(SPANS_MAX);
        found.drain(..surplus);

        let rows = if scene.area.height() < LOW_CHART { 1 } else { ROWS_MAX };
        let mut ends = [f32::NEG_INFINITY; ROWS_MAX];
        let before = std::mem::take(&mut self.rows);
        self.placed.clear();
        self.clusters.clear();
        for (command, device) in found {
            let curve = (devices.len() > 1).then(|| devices[device].1);
            let place = measure(scene, command, now);
            let free = |row: usize| ends[row] + GAP <= place.left;
            let row = before
                .get(&command.id)
                .copied()
                .filter(|&row| row < rows && free(row))
                .or_else(|| (0..rows).find(|&row| free(row)));
            let Some(row) = row else {
                count(&mut self.clusters, scene, command, place.left);
                continue;
            };
            ends[row] = place.right;
            self.rows.insert(command.id.clone(), row);
            self.placed.push(Span {
                id: command.id.clone(),
                state: command.state,
                row,
                left: place.left,
                told: place.told,
                right: place.right,
                end: place.end,
                progress: command
                    .progress
                    .filter(|p| p.is_finite() && !command.state.is_final())
                    .map(|p| p as f32),
                name: None,
                curve,
            });
        }
        self.name(ui, scene, devices.len() > 1);
        let used = self.placed.iter().map(|s| s.row + 1).max().unwrap_or(0);
        let width = scene.to.micros_since(scene.from);
        if self.height_of != width || self.placed.is_empty() {
            (self.height_of, self.height_rows) = (width, used);
        }
        self.height_rows = self.height_rows.max(used).min(rows);
    }

    /// Gives a name to every span that has room for one before the next of its row, or after the one before it.
    fn name(&mut self, ui: &Ui, scene: &Scene<'_>, is_device_named: bool) {
        let mut ends = [scene.area.left(); ROWS_MAX];
        let mut room_left = Vec::with_capacity(self.placed.len());
        for span in &self.placed {
            room_left.push(std::mem::replace(&mut ends[span.row], span.right));
        }
        let mut next = [scene.area.right(); ROWS_MAX];
        for (span, end_before) in self.placed.iter_mut().zip(room_left).rev() {
            let inside = span.right.min(scene.area.right()) - span.left.max(scene.area.left());
            let right = (next[span.row] - GAP).min(scene.area.right()) - span.right;
            let left = span.left.min(scene.area.right()) - end_before.max(scene.area.left());
            next[span.row] = span.left;
            if inside.max(right).max(left) < NAME_LEAST {
                continue;
            }
            let Some(command) = scene.model.commands.get(&span.id) else { continue };
            let label = scene.model.command_label(&command.device, command.name.as_str());
            let state = match command.state {
                CommandState::Succeeded => String::new(),
                state => format!(" · {}", outcome::label(state)),
            };
            let device = if is_device_named { format!("{} · ", command.device) } else { String::new() };
            span.name = [format!("{device}{label}{state}"), format!("{label}{state}"), label.clone()]
                .into_iter()
                .find_map(|text| {
                    let galley = ui.painter().layout_no_wrap(text, fonts::regular(10.5), scene.tokens.text);
                    let width = galley.size().x + 8.0;
                    let at = [(NAME_AT + width - 3.0, inside, NameAt::Inside), (width, right, NameAt::Right)]
                        .into_iter()
                        .chain([(width + 4.0, left, NameAt::Left)])
                        .find(|(needs, has, _)| needs <= has)?
                        .2;
                    Some((galley, at))
                });
            next[span.row] = span.ends().0;
        }
    }

    /// Goes to the next span in the order of time, or to the one before; at an end it stays.
    pub(super) fn step(&mut self, is_later: bool) {
        let place = self.placed.iter().position(|span| self.selected.as_ref() == Some(&span.id));
        let next = match (place, is_later) {
            (Some(place), true) => (place + 1).min(self.placed.len().saturating_sub(1)),
            (Some(place), false) => place.saturating_sub(1),
            (None, true) => 0,
            (None, false) => self.placed.len().saturating_sub(1),
        };
        self.selected = self.placed.get(next).map(|span| span.id.clone());
    }

    /// Height that the rows take, with the gap above them.
    pub(super) fn height(&self) -> f32 {
        let counted = if self.clusters.is_empty() { 0.0 } else { ROW_HEIGHT };
        if self.height_rows == 0 { 0.0 } else { self.height_rows as f32 * ROW_HEIGHT + counted + STRIP_GAP }
    }

    /// Draws them, and says what is under the pointer.
    pub(super) fn draw(
        &self,
        ui: &Ui,
        scene: &Scene<'_>,
        id: Id,
        actions: &mut Vec<Action>,
    ) -> Option<Pointed> {
        if self.height_rows == 0 {
            return None;
        }
        let tokens = scene.tokens;
        let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
        let top = scene.area.bottom() - self.height() + STRIP_GAP;
        let lane = Rect::from_min_max(pos2(scene.area.left(), top - 2.0), scene.area.max);
        painter.rect_filled(lane, 2.0, mix(tokens.panel, tokens.grid, 0.5));
        let mut pointed = None;
        for span in &self.placed {
            let y = top + span.row as f32 * ROW_HEIGHT;
            let bar = Rect::from_min_max(pos2(span.left, y), pos2(span.right, y + BAR_HEIGHT));
            let (left, right) = span.ends();
            let hit = Rect::from_min_max(pos2(left, bar.top()), pos2(right, bar.bottom())).intersect(lane);
            let response = ui.interact(hit, id.with(("span", span.id.as_str())), Sense::CLICK);
            response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, spoken(scene, &span.id)));
            let is_shown = scene.model.detail.as_ref() == Some(&span.id);
            let is_lit = response.hovered() || is_shown || self.selected.as_ref() == Some(&span.id);
            if is_lit || self.placed.len() <= LINES_MAX {
                through_the_curves(&painter, scene, span, top, is_lit);
            }
            paint(&painter, scene, span, bar, is_lit);
            if self.selected.as_ref() == Some(&span.id) {
                let ring = bar.expand(1.0).intersect(lane.expand(2.0));
                painter.rect_stroke(ring, 4.0, Stroke::new(2.0, tokens.accent), StrokeKind::Outside);
            }
            if response.hovered() {
                ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
                pointed = scene.model.commands.get(&span.id).map(|c| describe(scene, c));
            }
            if response.clicked() {
                let open = (!is_shown).then(|| span.id.clone());
                actions.push(Action::ShowCommand(open));
            }
        }
        for (i, cluster) in self.clusters.iter().enumerate() {
            let y = top + self.height_rows as f32 * ROW_HEIGHT;
            let text = format!("+{}", cluster.count);
            // What went wrong among them is seen without pointing at it.
            let worst = cluster.worst().filter(|state| severity(*state) >= 3);
            let color = worst.map_or(tokens.text_secondary, |state| widgets::command_color(tokens, state));
            let galley = painter.layout_no_wrap(text, fonts::mono(10.0), color);
            let shape = if worst.is_some() { 12.0 } else { 0.0 };
            let width = (cluster.right - cluster.left).max(galley.size().x + 8.0 + shape);
            let left = cluster.left.min(lane.right() - width);
            let rect = Rect::from_min_size(pos2(left, y), vec2(width, BAR_HEIGHT));
            let response = ui.interact(rect.intersect(lane), id.with(("cluster", i)), Sense::CLICK);
            let spoken = || format!("{} more commands: {}", cluster.count, cluster.states());
            response.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, spoken()));
            let fill = if response.hovered() { tokens.control_hover() } else { tokens.control };
            painter.rect_filled(rect, 2.0, fill);
            if let Some(state) = worst {
                let at = pos2(rect.left() + 8.0, rect.center().y);
                widgets::command_shape_on(&painter, at, 0.7, state, tokens);
            }
            painter.galley(rect.center() + vec2(shape / 2.0, 0.0) - galley.size() / 2.0, galley, color);
            if response.hovered() {
                ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
                pointed = Some(cluster.describe());
            }
            if response.clicked() {
                let room = (cluster.to.micros_since(cluster.from) / 10).max(5_000);
                let (from, to) = (cluster.from.plus_micros(-room), cluster.to.plus_micros(room));
                actions.push(Action::ShowRange { from, to });
            }
        }
        pointed
    }
}

impl Cluster {
    fn worst(&self) -> Option<CommandState> {
        self.states.iter().map(|(state, _)| *state).max_by_key(|s| severity(*s))
    }

    fn states(&self) -> String {
        let mut states = self.states.clone();
        states.sort_by_key(|(state, _)| std::cmp::Reverse(severity(*state)));
        states
            .iter()
            .map(|(state, n)| format!("{n} {}", outcome::label(*state)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn describe(&self) -> Pointed {
        Pointed {
            state: self.worst().unwrap_or(CommandState::Queued),
            title: format!("{} more commands: click to zoom in", self.count),
            details: vec![self.states()],
        }
    }
}

/// How much a state wants to be seen among others.
const fn severity(state: CommandState) -> u8 {
    match state {
        CommandState::Failed | CommandState::Rejected => 4,
        CommandState::Unresolved | CommandState::Unknown | CommandState::Expired => 3,
        CommandState::Queued | CommandState::Sent | CommandState::Received | CommandState::Running => 2,
        CommandState::Cancelled => 1,
        CommandState::Succeeded => 0,
    }
}

/// Where a command is on the screen.
struct Place {
    left: f32,
    told: f32,
    right: f32,
    end: f32,
}

fn measure(scene: &Scene<'_>, command: &CommandInfo, now: Timestamp) -> Place {
    let times = scene.times();
    let end = ended_at(command).unwrap_or(now).max(issued_at(command));
    // What ends right of the view ends outside of it, not at its edge.
    let bound = scene.area.right() + 4.0;
    let x = |at: Timestamp| times.x(at.0).clamp(scene.area.left() - 4.0, bound);
    // What has only just begun is seen whole at the right edge.
    let left = match x(issued_at(command)) {
        x if x <= scene.area.right() => x.min(scene.area.right() - LEAST_WIDTH),
        outside => outside,
    };
    let end = x(end);
    // What only waits is its shape and a thin line, and takes no room from what comes after it.
    let right = if command.state == CommandState::Queued { left } else { end };
    Place { left, told: x(told_at(command)).max(left), right: right.max(left + LEAST_WIDTH), end }
}

/// What a span says to those who do not see it.
pub(super) fn spoken(scene: &Scene<'_>, id: &CommandId) -> String {
    let Some(command) = scene.model.commands.get(id) else { return String::new() };
    let label = scene.model.command_label(&command.device, command.name.as_str());
    let how_long = took(command).map(|took| format!(" after {}", format::duration(took))).unwrap_or_default();
    format!("{label} on {}, {}{how_long}", command.device, outcome::label(command.state))
}

fn count(clusters: &mut Vec<Cluster>, scene: &Scene<'_>, command: &CommandInfo, left: f32) {
    let (from, to) = (issued_at(command), ended_at(command).unwrap_or(scene.to).max(issued_at(command)));
    let bump = |states: &mut Vec<(CommandState, usize)>| match states
        .iter_mut()
        .find(|(s, _)| *s == command.state)
    {
        Some((_, n)) => *n += 1,
        None => states.push((command.state, 1)),
    };
    if let Some(last) = clusters.last_mut().filter(|last| left - last.left < CLUSTER_PX) {
        last.right = last.right.max(left + LEAST_WIDTH).min(last.left + CLUSTER_PX - GAP);
        last.to = last.to.max(to);
        last.count += 1;
        bump(&mut last.states);
        return;
    }
    let mut states = Vec::new();
    bump(&mut states);
    clusters.push(Cluster { left, right: left + LEAST_WIDTH, from, to, count: 1, states });
}

/// The beginning of a command through the curves; all of it while it is pointed at.
fn through_the_curves(painter: &egui::Painter, scene: &Scene<'_>, span: &Span, bottom: f32, is_lit: bool) {
    let color = widgets::command_color(scene.tokens, span.state);
    let y = scene.area.top()..=bottom - STRIP_GAP;
    if is_lit {
        let all = Rect::from_min_max(pos2(span.told, *y.start()), pos2(span.end.max(span.told), *y.end()));
        painter.rect_filled(all, 0.0, color.gamma_multiply(0.10));
    }
    let strength = if is_lit { 0.9 } else { 0.45 };
    painter.vline(span.told, y, Stroke::new(1.0, color.gamma_multiply(strength)));
}

fn paint(painter: &egui::Painter, scene: &Scene<'_>, span: &Span, bar: Rect, is_lit: bool) {
    let tokens = scene.tokens;
    let color = widgets::command_color(tokens, span.state);
    let fill = mix(tokens.panel, color, if is_lit { 0.42 } else { 0.24 });
    // Until the device was told it is a thin line: nothing happened there yet.
    if span.told - span.left > 3.0 {
        let line = Stroke::new(2.0, color.gamma_multiply(0.7));
        painter.hline(span.left..=span.told, bar.center().y, line);
    }
    if span.state == CommandState::Queued && span.end > span.right {
        let line = Stroke::new(2.0, color.gamma_multiply(0.45));
        painter.hline(span.right..=span.end, bar.bottom() - 1.0, line);
    }
    let body = Rect::from_min_max(pos2(span.told.min(bar.right() - LEAST_WIDTH), bar.top()), bar.max);
    painter.rect_filled(body, 3.0, fill);
    if let Some(progress) = span.progress {
        let done = Rect::from_min_max(
            pos2(body.left(), body.bottom() - 2.5),
            pos2(body.left() + body.width() * progress.clamp(0.0, 1.0), body.bottom()),
        );
        painter.rect_filled(done, 1.0, color);
    }
    if span.is_open() && span.state != CommandState::Queued {
        // Nothing closes it at the right.
        let edge = Stroke::new(1.0, color);
        painter.hline(body.left()..=body.right(), body.top() + 0.5, edge);
        painter.hline(body.left()..=body.right(), body.bottom() - 0.5, edge);
        painter.vline(body.left() + 0.5, body.y_range(), edge);
    } else {
        painter.rect_stroke(body, 3.0, Stroke::new(1.0, color), StrokeKind::Inside);
    }
    if let Some(curve) = span.curve {
        let mark = Rect::from_min_max(bar.left_top(), pos2(bar.left() + 3.0, bar.bottom()));
        painter.rect_filled(mark, 1.0, curve);
    }
    // The shape stays on the screen as long as any of its span does.
    let shape_x = (body.left() + 8.0).max(scene.area.left() + 8.0);
    if shape_x < scene.area.right() {
        widgets::command_shape_on(painter, pos2(shape_x, bar.center().y), 0.8, span.state, tokens);
    }
    if let Some((galley, at)) = &span.name {
        let x = match at {
            NameAt::Inside => bar.left().max(scene.area.left()) + NAME_AT + 1.0,
            NameAt::Right => bar.right() + 4.0,
            NameAt::Left => bar.left() - 4.0 - galley.size().x,
        };
        let color = if is_lit { tokens.text } else { tokens.text_secondary };
        let at = pos2(x, bar.center().y - galley.size().y / 2.0);
        painter.galley_with_override_text_color(at, Arc::clone(galley), color);
    }
}

/// The devices whose series are shown, each once, with the colour of its first curve.
fn devices<'a>(scene: &Scene<'a>) -> Vec<(&'a DeviceId, Color32)> {
    let mut devices: Vec<(&DeviceId, Color32)> = Vec::new();
    for curve in scene.curves.iter().filter(|curve| !curve.is_hidden) {
        let Some(info) = scene.model.series_info(curve.id) else { continue };
        if !devices.iter().any(|(id, _)| *id == &info.device.info.id) {
            devices.push((&info.device.info.id, curve.color));
        }
    }
    devices
}

/// When the device was told, or the command was issued if it never was.
fn told_at(command: &CommandInfo) -> Timestamp {
    let sent = command.transitions.iter().find(|t| t.state == CommandState::Sent);
    sent.map_or_else(|| issued_at(command), |sent| sent.at)
}

/// What the tooltip says of a command: its name and state, and how long it took.
fn describe(scene: &Scene<'_>, command: &CommandInfo) -> Pointed {
    let label = scene.model.command_label(&command.device, command.name.as_str());
    let mut details = vec![device::arguments(command, scene.model)];
    details.retain(|line| !line.is_empty());
    let state = outcome::label(command.state);
    details.push(match (took(command), command.progress.filter(|p| p.is_finite())) {
        (Some(took), _) => format!("{state} after {}", format::duration(took)),
        (None, Some(progress)) => format!("{state} {:.0} %", progress.clamp(0.0, 1.0) * 100.0),
        (None, None) => state.to_owned(),
    });
    details.push(format!("by {}", format::ellipsis(&command.issued_by, 40)));
    if let Some(error) = &command.error {
        details.push(format::ellipsis(error, 60));
    }
    Pointed { state: command.state, title: format!("{label} · {}", command.device), details }
}

/// Puts a text at the top of a vertical line.
pub(super) fn line_label(ui: &Ui, at: Pos2, text: &str, scene: &Scene<'_>) {
    let painter = ui.painter().with_clip_rect(scene.area.intersect(ui.clip_rect()));
    painter.text(at, Align2::LEFT_BOTTOM, text, fonts::mono(10.5), scene.tokens.accent);
}
