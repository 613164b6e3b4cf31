//! The rows: only those on the screen are laid out, and what is looked at stays where it is while others come and go.

use egui::{Color32, Rect, RichText, Role, ScrollArea, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use protocol::wire::{Event, Frame, Side};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::wire::{Filter, Inspector, Row, What, WireEdit};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Height of a row.
pub(super) const ROW: f32 = 22.0;
/// Narrower than any sign of a payload, in points: no more of them are laid out than could be seen.
const SIGN: f32 = 5.0;

/// Where the table is scrolled to.
#[derive(Debug)]
pub struct WireView {
    /// The row at the top, and how much of it is scrolled away.
    top: Option<(u64, f32)>,
    offset: f32,
    /// The farthest that could be scrolled to with the last frame. What is beyond springs back.
    max: f32,
    /// It follows the newest.
    at_end: bool,
    to_end: bool,
    /// The selection as it was.
    seen: Option<u64>,
}

impl Default for WireView {
    fn default() -> Self {
        Self { top: None, offset: 0.0, max: 0.0, at_end: true, to_end: false, seen: None }
    }
}

impl WireView {
    /// Whether what comes is not seen.
    pub(super) const fn is_away(&self) -> bool {
        !self.at_end
    }

    /// Follows the newest again.
    pub(super) const fn follow_newest(&mut self) {
        self.to_end = true;
    }

    /// Where to scroll to, given the height of what is seen. `None`: stay, at the end or at the same row.
    fn wanted(&mut self, wire: &Inspector, height: f32) -> Option<f32> {
        if std::mem::take(&mut self.to_end) {
            return Some(self.max);
        }
        if wire.selection != self.seen {
            self.seen = wire.selection;
            let place = wire.selection.and_then(|key| wire.shown().binary_search(&key).ok());
            let top = place.map(|place| place as f32 * ROW);
            if let Some(top) = top.filter(|top| *top < self.offset || top + ROW > self.offset + height) {
                return Some((top - height * 0.4).clamp(0.0, self.max));
            }
        }
        // What is dropped above, or filtered, moves nothing.
        let (key, away) = self.top.filter(|_| !self.at_end)?;
        let (Ok(place) | Err(place)) = wire.shown().binary_search(&key);
        let wanted = (place as f32 * ROW + away).min(self.max);
        ((wanted - self.offset).abs() > 0.5).then_some(wanted)
    }
}

/// A column: its name, where it begins, and its width.
struct Column {
    name: &'static str,
    left: f32,
    width: f32,
}

fn columns(width: f32) -> Vec<Column> {
    let mut wanted = vec![("#", 52.0), ("Time", 88.0), ("From", 66.0)];
    if width > 640.0 {
        wanted.push(("Kind", 50.0));
    }
    if width > 400.0 {
        wanted.push(("Bytes", 66.0));
    }
    let led = if width > 500.0 { 108.0 } else { 0.0 };
    let taken: f32 = wanted.iter().map(|(_, width)| width).sum::<f32>() + led + 8.0;
    wanted.push(("Message", (width - taken).max(40.0)));
    if led > 0.0 {
        wanted.push(("Answer", led));
    }
    let mut left = 6.0;
    wanted
        .into_iter()
        .map(|(name, width)| {
            let column = Column { name, left, width };
            left += width;
            column
        })
        .collect()
}

/// Draws the table.
pub(super) fn table(
    ui: &mut Ui,
    model: &Model,
    wire: &Inspector,
    view: &mut WireView,
    actions: &mut Vec<Action>,
) {
    let columns = columns(ui.available_width());
    heading(ui, &columns);
    let shown = wire.shown();
    if shown.is_empty() {
        nothing(ui, model, wire, actions);
        return;
    }
    let all = shown.len() as f32 * ROW;
    let wanted = view.wanted(wire, ui.available_height());
    let mut area = ScrollArea::vertical().auto_shrink(false).id_salt("wire-rows");
    area = match wanted {
        Some(offset) => area.vertical_scroll_offset(offset),
        None => area.stick_to_bottom(true),
    };
    ui.spacing_mut().item_spacing.y = 0.0;
    let output = area.show_rows(ui, ROW, shown.len(), |ui, visible| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for place in visible {
            match shown.get(place).and_then(|key| wire.row(*key)) {
                Some(found) => row(ui, model, wire, found, &columns, actions),
                None => ui.add_space(ROW),
            }
        }
    });
    let before = std::mem::replace(&mut view.offset, output.state.clamped_offset().y.max(0.0));
    view.max = (all - output.inner_rect.height()).max(0.0);
    view.at_end = view.offset >= view.max - 1.0;
    if view.at_end && (view.offset - before).abs() > 0.5 {
        ui.ctx().request_repaint(); // the newest are drawn with the next frame
    }
    let place = ((view.offset / ROW) as usize).min(shown.len() - 1);
    view.top = shown.get(place).map(|key| (*key, view.offset - place as f32 * ROW));
}

fn heading(ui: &mut Ui, columns: &[Column]) {
    let t = Tokens::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), 20.0), Sense::hover());
    for column in columns {
        let at = pos2(rect.left() + column.left, rect.center().y);
        widgets::text_in(ui, at, column.width - 6.0, column.name, fonts::medium(11.0), t.text_weak);
    }
    ui.painter().hline(rect.x_range(), rect.bottom(), Stroke::new(1.0, t.line));
}

fn nothing(ui: &mut Ui, model: &Model, wire: &Inspector, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let (title, text, can_ask_again) = super::nothing(model, wire);
    ui.add_space((ui.available_height() * 0.2).min(40.0));
    ui.vertical_centered(|ui| {
        ui.spacing_mut().item_spacing.y = 6.0;
        ui.label(RichText::new(title).font(fonts::medium(13.0)).color(t.text_secondary));
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
        if can_ask_again && widgets::plain_button(ui, "Ask again").clicked() {
            actions.push(Action::EditWire(WireEdit::AskAgain));
        }
        if !wire.rows().is_empty()
            && !wire.filter.is_empty()
            && widgets::plain_button(ui, "Show all frames").clicked()
        {
            actions.push(Action::EditWire(WireEdit::Filter(Box::<Filter>::default())));
        }
    });
}

fn row(
    ui: &mut Ui,
    model: &Model,
    wire: &Inspector,
    row: &Row,
    columns: &[Column],
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    let selected = wire.selection == Some(row.key);
    let at = format::clock_millis(row.at, &model.zone);
    response.widget_info(|| {
        let text = format!("{at} {}", said(wire, row));
        WidgetInfo::selected(Role::Button, true, selected, text)
    });
    let problem = row.frame().is_some_and(|frame| !frame.problems.is_empty());
    let ground = match (&row.what, selected, response.hovered()) {
        (_, true, _) => Some(t.selected()),
        (_, _, true) => Some(t.hovered()),
        (What::Record(record), ..) if !matches!(record.event, Event::Frame(_)) => Some(t.tint(t.accent)),
        _ if problem => Some(t.tint(t.warn)),
        _ => None,
    };
    if let Some(ground) = ground {
        ui.painter().rect_filled(rect, 0.0, ground);
    }
    if selected {
        let bar = Rect::from_min_size(rect.min, vec2(2.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, t.accent);
    }
    widgets::focus_ring(ui, &response, rect);
    match row.frame() {
        Some(frame) => {
            for column in columns {
                cell(ui, wire, row, frame, &at, column, rect);
            }
        }
        None => band(ui, row, &at, columns, rect),
    }
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::EditWire(WireEdit::Select((!selected).then_some(row.key))));
    }
}

/// A row that is no frame: it goes over all columns but those of number and time.
fn band(ui: &Ui, row: &Row, at: &str, columns: &[Column], rect: Rect) {
    let t = Tokens::of(ui);
    let middle = rect.center().y;
    let mut left = rect.left() + 6.0;
    for column in columns.iter().filter(|column| matches!(column.name, "#" | "Time")) {
        left = rect.left() + column.left + column.width;
        if column.name == "Time" {
            let at_time = pos2(rect.left() + column.left, middle);
            widgets::text_in(ui, at_time, column.width - 6.0, at, fonts::mono(11.0), t.text_secondary);
        }
    }
    let (font, color) = match &row.what {
        What::Record(_) => (fonts::medium(12.0), t.text),
        What::LeftOut { .. } | What::Unwatched => (fonts::regular(12.0), t.warn),
    };
    if matches!(row.what, What::LeftOut { .. } | What::Unwatched) {
        widgets::alert_on(ui.painter(), pos2(left + 5.0, middle), 4.0, t.warn);
        left += 15.0;
    }
    widgets::text_in(ui, pos2(left, middle), rect.right() - left - 8.0, &happened(row), font, color);
}

/// What a row says that is no frame.
fn happened(row: &Row) -> String {
    match &row.what {
        What::Record(record) => match &record.event {
            Event::Opened(handshake) => {
                let tls = handshake.tls.as_ref().map_or_else(
                    || "without TLS".to_owned(),
                    |tls| format!("over {}", super::handshake::version(&tls.version)),
                );
                format!("Connection {} made from {}, {tls}", record.session, handshake.address)
            }
            Event::Ended(end) => format!("Connection {} {}", record.session, super::ended(end)),
            Event::Frame(_) => String::new(),
        },
        What::LeftOut { frames, paused: false } => {
            format!("{} frames left out: more came than the hub records", format::count(*frames))
        }
        What::LeftOut { frames, paused: true } => {
            format!("{} frames left out: no room while the table was paused", format::count(*frames))
        }
        What::Unwatched => {
            "Not connected to the hub: what went over the wire meanwhile is not known".to_owned()
        }
    }
}

fn cell(ui: &Ui, wire: &Inspector, row: &Row, frame: &Frame, at: &str, column: &Column, rect: Rect) {
    let t = Tokens::of(ui);
    let place = pos2(rect.left() + column.left, rect.center().y);
    let width = column.width - 6.0;
    let mono = fonts::mono(11.0);
    let (text, font, color) = match column.name {
        "#" => (format!("#{}", frame.n), mono, t.text_weak),
        "Time" => (at.to_owned(), mono, t.text_secondary),
        "From" => {
            let color = if frame.from == Side::Device { t.text_secondary } else { t.accent };
            arrow(ui, place + vec2(6.0, 0.0), frame.from, color);
            let at = place + vec2(18.0, 0.0);
            widgets::text_in(ui, at, width - 18.0, frame.from.as_str(), fonts::regular(12.0), color);
            return;
        }
        "Kind" => (frame.kind().to_owned(), fonts::regular(12.0), t.text_weak),
        "Bytes" => {
            (format!("{}+{}", frame.header_bytes, format::count(frame.payload_bytes)), mono, t.text_secondary)
        }
        "Answer" => (led(wire, row).unwrap_or_default(), mono, t.text_secondary),
        _ => return message(ui, frame, place, width),
    };
    widgets::text_in(ui, place, width, &text, font, color);
}

/// The payload in a line, with what has to be looked at first.
fn message(ui: &Ui, frame: &Frame, place: egui::Pos2, width: f32) {
    let t = Tokens::of(ui);
    let end = place.x + width;
    let mut at = place;
    let mut say = |text: &str, font, color: Color32, gap: f32| {
        if !text.is_empty() && at.x < end {
            at.x += widgets::text_in(ui, at, end - at.x, text, font, color) + gap;
        }
    };
    if !frame.problems.is_empty() {
        widgets::alert_on(ui.painter(), place + vec2(5.0, 0.0), 4.5, t.warn);
        say("    ", fonts::regular(12.0), t.warn, 0.0);
        say(&frame.problems.join(", "), fonts::medium(12.0), t.warn, 8.0);
    }
    if let Some(message) = &frame.message {
        let number = message.seq.map(|seq| format!(" {seq}")).unwrap_or_default();
        say(&format!("{}{number}", message.kind), fonts::medium(12.0), t.text, 8.0);
    } else if frame.opcode != protocol::frame::TEXT {
        say(frame.kind(), fonts::medium(12.0), t.text, 8.0);
    }
    for mark in marks(frame) {
        say(&mark, fonts::regular(12.0), t.text_secondary, 8.0);
    }
    let payload = frame.text.as_deref().or(frame.hex.as_deref()).unwrap_or_default();
    let room = (width / SIGN) as usize + 1;
    let start: String = payload.chars().take(room).map(|c| if c.is_control() { ' ' } else { c }).collect();
    say(&start, fonts::mono(11.0), t.text_weak, 0.0);
}

/// What is unusual about a frame, and what its kind says.
fn marks(frame: &Frame) -> Vec<String> {
    let mut marks = Vec::new();
    if let Some(close) = &frame.close {
        marks.push(format!("{} {}", close.code, close.reason).trim_end().to_owned());
    }
    if let Some(micros) = frame.round_trip {
        marks.push(format!("round trip {}", trip(micros)));
    }
    if !frame.fin {
        marks.push("more follows".to_owned());
    }
    if frame.rsv != 0 {
        marks.push(format!("RSV {:03b}", frame.rsv));
    }
    if let Some(came) = frame.came_bytes {
        marks.push(format!("only {} came", super::bytes(came)));
    }
    marks
}

/// A round trip, also a long one.
pub(super) fn trip(micros: u64) -> String {
    format::precise(i64::try_from(micros).unwrap_or(i64::MAX))
}

/// What answers a frame, or what it answers, in a few characters.
fn led(wire: &Inspector, row: &Row) -> Option<String> {
    if let Some(n) = row.answered_by {
        let after = wire.row_beside(row, n).map(|other| other.at.micros_since(row.at));
        let after = after.map(|micros| format!(" +{}", format::precise(micros))).unwrap_or_default();
        return Some(format!("#{n}{after}"));
    }
    match row.answers.as_slice() {
        [] => None,
        [one] => Some(format!("to #{one}")),
        [first, .., last] => Some(format!("to #{first} … #{last}")),
    }
}

/// A row in words, for those who do not see it.
fn said(wire: &Inspector, row: &Row) -> String {
    let Some(frame) = row.frame() else { return happened(row) };
    let mut text = format!("#{} from {}, {}", frame.n, frame.from.as_str(), frame.kind());
    if let Some(message) = &frame.message {
        text.push_str(&format!(", {}", message.kind));
        if let Some(seq) = message.seq {
            text.push_str(&format!(" {seq}"));
        }
    }
    text.push_str(&format!(", {}+{} bytes", frame.header_bytes, frame.payload_bytes));
    for mark in marks(frame) {
        text.push_str(&format!(", {mark}"));
    }
    for problem in &frame.problems {
        text.push_str(&format!(", breaks a rule: {problem}"));
    }
    if let Some(link) = led(wire, row) {
        let link = link.replace(" +", " after ");
        text.push_str(&if row.answered_by.is_some() {
            format!(", answered by {link}")
        } else {
            format!(", answer {link}")
        });
    }
    text
}

/// Draws which way a frame goes: to the right, from the device; to the left, from the hub.
pub(super) fn arrow(ui: &Ui, center: egui::Pos2, from: Side, color: Color32) {
    let way = if from == Side::Device { 1.0 } else { -1.0 };
    let line = Stroke::new(1.5, color);
    let tip = center + vec2(5.0 * way, 0.0);
    ui.painter().line_segment([center - vec2(5.0 * way, 0.0), tip], line);
    let wing = |y: f32| tip + vec2(-3.5 * way, y);
    ui.painter().line(vec![wing(-3.0), tip, wing(3.0)], line);
}
