//! Small painted parts that several views share: status shapes, sparklines, chips, icons.

use egui::{
    Align2, Color32, FontId, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo, pos2,
    vec2,
};
use protocol::command::CommandState;
use protocol::group::MemberState;

use crate::model::Status;
use crate::model::thresholds::Level;
use crate::theme::{Tokens, fonts, tokens};

/// The colour of a status.
pub const fn status_color(t: &Tokens, status: Status) -> Color32 {
    match status {
        Status::Live => t.ok,
        Status::Stale | Status::Offline => t.text_weak,
        Status::OutOfRange => t.warn,
    }
}

/// Draws a status: a dot is live, a ring is stale, a triangle is out of range, a square is offline.
pub fn status_shape(ui: &Ui, center: Pos2, status: Status, t: &Tokens) {
    let painter = ui.painter();
    let color = status_color(t, status);
    match status {
        Status::Live => {
            painter.circle_filled(center, 3.5, color);
        }
        Status::Stale => {
            painter.circle_stroke(center, 3.5, Stroke::new(1.5, color));
        }
        Status::OutOfRange => {
            painter.add(triangle(center, 4.5, color));
        }
        Status::Offline => {
            let square = Rect::from_center_size(center, Vec2::splat(7.0));
            painter.rect_stroke(square, 1.0, Stroke::new(1.5, color), egui::StrokeKind::Inside);
        }
    }
}

/// The colour of a value beyond a limit.
pub const fn level_color(t: &Tokens, level: Level) -> Color32 {
    match level {
        Level::Warning => t.warn,
        Level::Alarm => t.error,
    }
}

/// Draws the triangle of an alert.
pub fn alert_on(painter: &egui::Painter, center: Pos2, r: f32, color: Color32) {
    painter.add(triangle(center, r, color));
}

fn triangle(center: Pos2, r: f32, color: Color32) -> Shape {
    Shape::convex_polygon(
        vec![center + vec2(0.0, -r), center + vec2(r, r * 0.8), center + vec2(-r, r * 0.8)],
        color,
        Stroke::NONE,
    )
}

/// The colour of a command's state.
pub const fn command_color(t: &Tokens, state: CommandState) -> Color32 {
    match state {
        CommandState::Succeeded => t.ok,
        CommandState::Failed | CommandState::Rejected => t.error,
        CommandState::Expired | CommandState::Unknown | CommandState::Unresolved => t.warn,
        CommandState::Cancelled => t.text_weak,
        CommandState::Queued | CommandState::Sent | CommandState::Received | CommandState::Running => {
            t.accent
        }
    }
}

/// The colour of where a member of a group is.
pub fn member_color(t: &Tokens, state: MemberState) -> Color32 {
    match state {
        // None of these is a failure: the person was told before, or said so.
        MemberState::Waiting | MemberState::Refused => t.text_weak,
        MemberState::Skipped => t.line,
        MemberState::Issued(state) => command_color(t, state),
    }
}

/// Draws where a member of a group is: like the state of its command, three dots before it has one.
pub fn member_shape(ui: &Ui, center: Pos2, state: MemberState, t: &Tokens) {
    match state {
        MemberState::Waiting => {
            for x in [-3.5, 0.0, 3.5] {
                ui.painter().circle_filled(center + vec2(x, 0.0), 1.2, t.text_weak);
            }
        }
        MemberState::Refused => {
            let line = Stroke::new(1.5, t.text_weak);
            ui.painter().circle_stroke(center, 4.0, line);
            ui.painter().line_segment([center + vec2(-2.8, 2.8), center + vec2(2.8, -2.8)], line);
        }
        MemberState::Skipped => command_shape(ui, center, CommandState::Cancelled, t),
        MemberState::Issued(state) => command_shape(ui, center, state, t),
    }
}

/// Asks a person, with the keyboard on the way out so that Enter does nothing by accident. `Some` is the answer.
pub fn question(ui: &Ui, id: &str, title: &str, yes: &str, body: impl FnOnce(&mut Ui)) -> Option<bool> {
    let t = Tokens::of(ui);
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let mut answer = None;
    let modal = egui::Modal::new(egui::Id::unique(id)).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(400.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.spacing_mut().item_spacing.y = 8.0;
        ui.label(egui::RichText::new(title).font(fonts::semibold(15.0)).color(t.text));
        body(ui);
        ui.add_space(6.0);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let go = danger_button(ui, yes);
            let leave = plain_button(ui, "Leave it");
            if go.clicked() {
                answer = Some(true);
            }
            if leave.clicked() {
                answer = Some(false);
            }
            if !go.has_focus() && !leave.has_focus() {
                leave.request_focus();
            }
        });
    });
    answer.or_else(|| modal.should_close().then_some(false))
}

/// Draws a command's state: a ring waits, a ring with a dot runs, a tick is done, a cross went wrong, a barred ring was
/// refused, a hollow triangle has no answer yet, a full one never will, an hourglass ran out, a dash was taken back.
pub fn command_shape(ui: &Ui, center: Pos2, state: CommandState, t: &Tokens) {
    command_shape_on(ui.painter(), center, 1.0, state, t);
}

/// The same at another size.
pub fn command_shape_on(painter: &egui::Painter, center: Pos2, size: f32, state: CommandState, t: &Tokens) {
    let color = command_color(t, state);
    let line = Stroke::new(1.75 * size, color);
    let thin = Stroke::new(1.5 * size, color);
    let at = |x: f32, y: f32| center + vec2(x, y) * size;
    match state {
        CommandState::Queued | CommandState::Sent => {
            painter.circle_stroke(center, 4.0 * size, thin);
        }
        CommandState::Received | CommandState::Running => {
            painter.circle_stroke(center, 4.0 * size, thin);
            painter.circle_filled(center, 2.0 * size, color);
        }
        CommandState::Succeeded => {
            painter.line(vec![at(-4.0, 0.5), at(-1.0, 3.5), at(4.5, -3.0)], line);
        }
        CommandState::Failed => {
            painter.line_segment([at(-3.5, -3.5), at(3.5, 3.5)], line);
            painter.line_segment([at(3.5, -3.5), at(-3.5, 3.5)], line);
        }
        CommandState::Rejected => {
            painter.circle_stroke(center, 4.0 * size, thin);
            painter.line_segment([at(-2.8, 2.8), at(2.8, -2.8)], thin);
        }
        CommandState::Unknown => {
            painter.add(Shape::closed_line(vec![at(0.0, -4.5), at(4.5, 3.6), at(-4.5, 3.6)], thin));
        }
        CommandState::Unresolved => {
            painter.add(triangle(center, 4.5 * size, color));
        }
        CommandState::Expired => {
            let glass = vec![at(-3.2, -4.0), at(3.2, -4.0), at(-3.2, 4.0), at(3.2, 4.0)];
            painter.add(Shape::closed_line(glass, thin));
        }
        CommandState::Cancelled => {
            painter.line_segment([at(-4.0, 0.0), at(4.0, 0.0)], line);
        }
    }
}

/// Draws a curve without axes, with a dot at its end. Fewer than two values draw nothing.
pub fn sparkline(ui: &Ui, rect: Rect, values: &[f32], line: Color32, dot: Color32) {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.clone().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(v), h.max(v)));
    let count = finite.clone().count();
    if count < 2 {
        return;
    }
    // A curve that barely moves is drawn in the middle, not blown up to noise.
    let span = (high - low).max(high.abs().max(low.abs()) * 1e-3).max(f32::MIN_POSITIVE);
    let middle = f32::midpoint(low, high);
    let step = rect.width() / (count - 1) as f32;
    let points: Vec<Pos2> = finite
        .enumerate()
        .map(|(i, v)| {
            pos2(rect.left() + i as f32 * step, rect.center().y - (v - middle) / span * rect.height())
        })
        .collect();
    let end = points[points.len() - 1];
    let painter = ui.painter();
    painter.line(points, Stroke::new(tokens::SPARKLINE, line));
    painter.circle_filled(end, 2.0, dot);
}

/// A caption in small capitals.
pub fn caption(ui: &mut Ui, text: &str) {
    let t = Tokens::of(ui);
    ui.label(egui::RichText::new(text.to_uppercase()).font(fonts::semibold(11.0)).color(t.text_weak));
}

/// A flat button that is filled while it is chosen.
pub fn chip(ui: &mut Ui, text: &str, chosen: bool) -> Response {
    let t = Tokens::of(ui);
    let (fill, color) = if chosen { (t.control, t.text) } else { (Color32::TRANSPARENT, t.text_secondary) };
    flat(ui, text, fill, color, fonts::regular(12.0), chosen)
}

/// A button that stays pressed, for filters.
pub fn toggle(ui: &mut Ui, text: &str, on: bool) -> Response {
    let t = Tokens::of(ui);
    let (fill, color) = if on { (t.selected(), t.text) } else { (t.control, t.text_secondary) };
    flat(ui, text, fill, color, fonts::regular(12.0), on)
}

/// A button in the colour of the accent.
pub fn accent_button(ui: &mut Ui, text: &str) -> Response {
    let t = Tokens::of(ui);
    flat(ui, text, t.accent, t.on_accent, fonts::medium(12.5), true)
}

/// A button in the colour of danger.
pub fn danger_button(ui: &mut Ui, text: &str) -> Response {
    let t = Tokens::of(ui);
    flat(ui, text, t.error, t.on_accent, fonts::medium(12.5), true)
}

/// A button like any other.
pub fn plain_button(ui: &mut Ui, text: &str) -> Response {
    let t = Tokens::of(ui);
    flat(ui, text, t.control, t.text, fonts::regular(12.5), false)
}

fn flat(ui: &mut Ui, text: &str, fill: Color32, color: Color32, font: FontId, selected: bool) -> Response {
    let t = Tokens::of(ui);
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font, color);
    let size = vec2(galley.size().x + 2.0 * ui.spacing().button_padding.x, 22.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, ui.is_enabled(), selected, text));
    if ui.is_rect_visible(rect) {
        let fill = match (response.hovered(), fill == Color32::TRANSPARENT) {
            (true, true) => t.hovered(),
            (true, false) => tokens::mix(fill, t.text, 0.12),
            (false, _) => fill,
        };
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), fill);
        focus_ring(ui, &response, rect);
        let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect).min;
        ui.painter().galley(at, galley, color);
    }
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// The room that buttons with these texts take side by side, with a gap before each.
pub fn buttons_width(ui: &Ui, texts: &[&str]) -> f32 {
    let width = |text: &&str| {
        let font = fonts::medium(12.5);
        ui.painter().layout_no_wrap((*text).to_owned(), font, Color32::PLACEHOLDER).size().x
            + 2.0 * ui.spacing().button_padding.x
            + ui.spacing().item_spacing.x
    };
    texts.iter().map(width).sum()
}

/// A word that can be clicked, for what is seldom wanted.
pub fn link(ui: &mut Ui, text: &str) -> Response {
    let t = Tokens::of(ui);
    let galley = ui.painter().layout_no_wrap(text.to_owned(), fonts::regular(11.5), t.accent);
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(4.0, 4.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), text));
    let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect).min;
    if response.hovered() {
        let y = at.y + galley.size().y;
        ui.painter().hline(at.x..=at.x + galley.size().x, y, Stroke::new(1.0, t.accent));
    }
    focus_ring(ui, &response, rect);
    ui.painter().galley(at, galley, t.accent);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// A switch that is on or off.
pub fn switch(ui: &mut Ui, label: &str, on: &mut bool) -> Response {
    let t = Tokens::of(ui);
    let (rect, mut response) = ui.allocate_exact_size(vec2(34.0, 20.0), Sense::click());
    if response.clicked() {
        *on = !*on;
        response.mark_changed();
    }
    let now = *on;
    response.widget_info(|| WidgetInfo::selected(Role::Switch, ui.is_enabled(), now, label));
    let rail = Rect::from_center_size(rect.center(), vec2(32.0, 18.0));
    let fill = if now { t.accent } else { t.control };
    let fill = if response.hovered() { tokens::mix(fill, t.text, 0.12) } else { fill };
    let edge = Stroke::new(1.0, if now { fill } else { t.line });
    ui.painter().rect(rail, 9.0, fill, edge, egui::StrokeKind::Inside);
    let x = if now { rail.right() - 9.0 } else { rail.left() + 9.0 };
    let knob = if now { t.on_accent } else { t.text_secondary };
    ui.painter().circle_filled(pos2(x, rail.center().y), 6.0, knob);
    focus_ring(ui, &response, rect);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// Height of a row of choices, and the room beside each of their names.
const SEGMENT: egui::Vec2 = vec2(20.0, 26.0);

/// Whether these choices fit side by side.
pub fn segments_fit(ui: &Ui, names: &[&str]) -> bool {
    let font = fonts::regular(12.0);
    let width = |name: &&str| {
        ui.painter().layout_no_wrap((*name).to_owned(), font.clone(), Color32::PLACEHOLDER).size().x
            + SEGMENT.x
    };
    names.iter().map(width).sum::<f32>() <= ui.available_width()
}

/// Choices side by side, of which one may hold. Returns the one that was clicked.
pub fn segmented(ui: &mut Ui, label: &str, names: &[&str], chosen: Option<usize>) -> Option<usize> {
    let t = Tokens::of(ui);
    let mut clicked = None;
    let galleys: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let color = if chosen == Some(i) { t.text } else { t.text_secondary };
            ui.painter().layout_no_wrap((*name).to_owned(), fonts::regular(12.0), color)
        })
        .collect();
    let width = galleys.iter().map(|g| g.size().x + SEGMENT.x).sum::<f32>();
    let (rect, _) = ui.allocate_exact_size(vec2(width, SEGMENT.y), Sense::hover());
    let radius = f32::from(tokens::RADIUS_CONTROL);
    ui.painter().rect(rect, radius, t.canvas, Stroke::new(1.0, t.line), egui::StrokeKind::Inside);
    let mut left = rect.left();
    for (i, galley) in galleys.into_iter().enumerate() {
        let size = vec2(galley.size().x + SEGMENT.x, SEGMENT.y);
        let segment = Rect::from_min_size(pos2(left, rect.top()), size);
        left = segment.right();
        let response = ui.interact(segment, ui.scope_id().with((label, i)), Sense::click());
        let on = chosen == Some(i);
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, ui.is_enabled(), on, names[i]));
        let inner = segment.shrink(2.0);
        if on {
            ui.painter().rect(inner, 3.0, t.selected(), Stroke::new(1.0, t.accent), egui::StrokeKind::Inside);
        } else if response.hovered() {
            ui.painter().rect_filled(inner, 3.0, t.control);
        }
        focus_ring(ui, &response, inner);
        let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), segment).min;
        ui.painter().galley(at, galley, t.text);
        if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
            clicked = Some(i);
        }
    }
    clicked
}

/// A line that unfolds what is below it; `summary` says in a few words what is there.
pub fn fold(ui: &mut Ui, name: &str, summary: &str, open: bool) -> Response {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 22.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, ui.is_enabled(), open, name));
    if response.hovered() {
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.hovered());
    }
    focus_ring(ui, &response, rect);
    let middle = rect.center().y;
    icon(ui, pos2(rect.left() + 6.0, middle), if open { Icon::Down } else { Icon::Right }, t.text_weak);
    let at = pos2(rect.left() + 16.0, middle);
    let width = text_in(ui, at, rect.width() - 20.0, name, fonts::regular(12.0), t.text_secondary);
    let left = rect.left() + 16.0 + width + 8.0;
    let room = rect.right() - left - 4.0;
    text_in(ui, pos2(left, middle), room, summary, fonts::regular(11.5), t.text_weak);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// A small table of names and what they stand for.
pub fn facts(ui: &mut Ui, id: &str, rows: &[(String, String)]) {
    narrow_facts(ui, id, 84.0, rows);
}

/// The same with so much room for the names.
pub fn narrow_facts(ui: &mut Ui, id: &str, names: f32, rows: &[(String, String)]) {
    let t = Tokens::of(ui);
    let width = ui.available_width();
    let grid = egui::Grid::new(id).num_columns(2).min_col_width(names).min_row_height(17.0);
    grid.spacing(vec2(12.0, 3.0)).show(ui, |ui| {
        for (name, value) in rows {
            let cell = |ui: &mut Ui, width: f32, text: egui::RichText| {
                ui.with_layout(egui::Layout::top_down(egui::Align::Min), |ui| {
                    ui.set_max_width(width);
                    ui.add(egui::Label::new(text).wrap());
                });
            };
            cell(ui, names, egui::RichText::new(name).font(fonts::regular(12.0)).color(t.text_weak));
            let room = (width - names - 16.0).max(60.0);
            cell(ui, room, egui::RichText::new(value).font(fonts::mono(12.0)).color(t.text));
            ui.end_row();
        }
    });
}

/// Room for the bar of what is scrolled, right of it.
const BAR_ROOM: f32 = 10.0;

/// A column that scrolls, with its bar in the margin right of it, where it covers nothing that ends at the right edge.
pub fn scrolled<R>(ui: &mut Ui, area: egui::ScrollArea, content: impl FnOnce(&mut Ui) -> R) -> R {
    let room = ui.available_rect_before_wrap();
    let with_bar = Rect::from_min_max(room.min, room.max + vec2(BAR_ROOM, 0.0));
    let mut child = ui.new_child(egui::UiBuilder::new().max_rect(with_bar));
    let margin = egui::Margin { right: BAR_ROOM as i8, ..egui::Margin::ZERO };
    let inner = area.content_margin(margin).show(&mut child, content).inner;
    // The margin belongs to whoever made it: what is around grows by nothing.
    let mut used = child.min_rect();
    used.max.x = used.max.x.min(room.right());
    ui.advance_cursor_after_rect(used);
    inner
}

/// Shows which widget the keyboard acts on.
pub fn focus_ring(ui: &Ui, response: &Response, rect: Rect) {
    if response.has_focus() {
        let t = Tokens::of(ui);
        let stroke = Stroke::new(2.0, t.accent);
        ui.painter().rect_stroke(rect, f32::from(tokens::RADIUS_CONTROL), stroke, egui::StrokeKind::Inside);
    }
}

/// The pictures on small buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// Close.
    Cross,
    /// Add.
    Plus,
    /// Unfold.
    Right,
    /// Unfolded.
    Down,
    /// More.
    Dots,
    /// Everything that is seldom wanted.
    Menu,
    /// How a list is ordered.
    Order,
    /// Notices.
    Bell,
    /// Dark palette.
    Moon,
    /// Light palette.
    Sun,
    /// The desktop's palette.
    HalfMoon,
}

/// Draws an icon on a panel.
pub fn icon(ui: &Ui, center: Pos2, icon: Icon, color: Color32) {
    icon_on(ui, center, icon, color, Tokens::of(ui).panel);
}

fn icon_on(ui: &Ui, center: Pos2, icon: Icon, color: Color32, ground: Color32) {
    let painter = ui.painter();
    let line = Stroke::new(1.5, color);
    let at = |x: f32, y: f32| center + vec2(x, y);
    match icon {
        Icon::Cross => {
            painter.line_segment([at(-3.5, -3.5), at(3.5, 3.5)], line);
            painter.line_segment([at(3.5, -3.5), at(-3.5, 3.5)], line);
        }
        Icon::Plus => {
            painter.line_segment([at(-4.5, 0.0), at(4.5, 0.0)], line);
            painter.line_segment([at(0.0, -4.5), at(0.0, 4.5)], line);
        }
        Icon::Right => {
            painter.line(vec![at(-1.5, -3.0), at(1.5, 0.0), at(-1.5, 3.0)], line);
        }
        Icon::Down => {
            painter.line(vec![at(-3.0, -1.5), at(0.0, 1.5), at(3.0, -1.5)], line);
        }
        Icon::Dots => {
            for x in [-4.5, 0.0, 4.5] {
                painter.circle_filled(at(x, 0.0), 1.4, color);
            }
        }
        Icon::Bell => {
            let dome = arc(at(0.0, -0.5), 4.0, 180.0, 360.0);
            let mut outline = vec![at(-5.5, 3.5), at(-4.0, 1.8)];
            outline.extend(dome);
            outline.extend([at(4.0, 1.8), at(5.5, 3.5)]);
            painter.add(Shape::closed_line(outline, Stroke::new(1.4, color)));
            painter.line_segment([at(-1.4, 5.8), at(1.4, 5.8)], Stroke::new(1.6, color));
        }
        Icon::Order => {
            for (y, half) in [(-4.0, 5.0), (0.0, 3.2), (4.0, 1.4)] {
                painter.line_segment([at(-5.0, y), at(-5.0 + 2.0 * half, y)], line);
            }
        }
        Icon::Menu => {
            for y in [-4.0, 0.0, 4.0] {
                painter.line_segment([at(-5.0, y), at(5.0, y)], line);
            }
        }
        Icon::Sun => {
            painter.circle_filled(center, 3.2, color);
            for i in 0..8 {
                let direction = Vec2::angled(std::f32::consts::TAU * i as f32 / 8.0);
                painter.line_segment(
                    [center + direction * 4.8, center + direction * 6.6],
                    Stroke::new(1.3, color),
                );
            }
        }
        Icon::Moon => {
            painter.circle_filled(center, 5.2, color);
            painter.circle_filled(at(2.6, -1.8), 4.4, ground);
        }
        Icon::HalfMoon => {
            painter.circle_stroke(center, 5.0, Stroke::new(1.4, color));
            let half = arc(center, 5.0, 90.0, 270.0);
            painter.add(Shape::convex_polygon(half, color, Stroke::NONE));
        }
    }
}

fn arc(center: Pos2, radius: f32, from_degrees: f32, to_degrees: f32) -> Vec<Pos2> {
    (0..=20)
        .map(|i| {
            let degrees = from_degrees + (to_degrees - from_degrees) * i as f32 / 20.0;
            center + Vec2::angled(degrees.to_radians()) * radius
        })
        .collect()
}

/// A small button with a picture; `name` is what it is called, and its tooltip.
pub fn icon_button(ui: &mut Ui, picture: Icon, name: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(22.0), Sense::click());
    paint_icon_button(ui, rect, &response, picture, name);
    response.on_hover_text(name)
}

/// The same at a place of its own.
pub fn icon_button_at(ui: &Ui, rect: Rect, id: egui::Id, picture: Icon, name: &str) -> Response {
    let response = ui.interact(rect, id, Sense::click());
    paint_icon_button(ui, rect, &response, picture, name);
    response.on_hover_text(name)
}

fn paint_icon_button(ui: &Ui, rect: Rect, response: &Response, picture: Icon, name: &str) {
    let t = Tokens::of(ui);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), name));
    let (color, ground) = if response.hovered() {
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.control);
        (t.text, t.control)
    } else {
        (t.text_weak, t.panel)
    };
    focus_ring(ui, response, rect);
    icon_on(ui, rect.center(), picture, color, ground);
}

/// Draws a line of text that ends in `…` where it does not fit; returns its width.
pub fn text_in(ui: &Ui, left_center: Pos2, width: f32, text: &str, font: FontId, color: Color32) -> f32 {
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(width.max(0.0));
    let galley = ui.painter().layout_job(job);
    let size = galley.size();
    ui.painter().galley(pos2(left_center.x, left_center.y - size.y / 2.0), galley, color);
    size.x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_of_what_scrolls_covers_nothing_of_it() {
        let ctx = egui::Context::default();
        crate::theme::install(&ctx, crate::settings::ThemeChoice::Dark);
        let panel = Rect::from_min_size(pos2(0.0, 0.0), vec2(200.0, 100.0));
        let (mut right, mut used, mut bars) = (0.0, 0.0, Vec::new());
        for frame in 0..20 {
            let input = egui::RawInput {
                screen_rect: Some(panel),
                time: Some(f64::from(frame) * 0.1),
                events: vec![egui::Event::PointerMoved(pos2(183.0, 50.0))],
                ..egui::RawInput::default()
            };
            let mut output = ctx.run_ui(input, |ui| {
                let room = panel.shrink2(vec2(14.0, 0.0));
                ui.scope_builder(egui::UiBuilder::new().max_rect(room), |ui| {
                    scrolled(ui, egui::ScrollArea::vertical().auto_shrink(false), |ui| {
                        right = ui.max_rect().right();
                        ui.add_space(500.0);
                    });
                    used = ui.min_rect().right();
                });
            });
            let narrow = output.shapes.iter().filter_map(|shape| match &shape.shape {
                Shape::Rect(bar) if bar.rect.left() > 100.0 && bar.rect.width() < 12.0 => Some(bar.rect),
                _ => None,
            });
            bars = narrow.collect::<Vec<_>>();
            output.textures_delta.clear();
        }
        assert_eq!((right, used), (186.0, 186.0), "nothing of the width is taken, and nothing grows");
        assert!(!bars.is_empty() && bars.iter().all(|bar| bar.left() >= 186.0), "{bars:?}");
    }
}
