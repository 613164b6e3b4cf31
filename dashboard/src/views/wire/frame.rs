//! What a selected row is: a frame to its last bit, or the end of a connection.

use egui::{RichText, Ui};
use protocol::wire::{Event, Frame, Side, to_hex};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::wire::{Inspector, Row, Stage, What, WireEdit, export, pretty};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;
use crate::views::wire::table;

/// Most frames that are named one by one.
const LINKS_MAX: usize = 6;
/// Characters of a payload that are shown; more cannot be read.
const TEXT_MAX: usize = 20_000;

/// Draws it.
pub(super) fn frame(ui: &mut Ui, model: &Model, wire: &Inspector, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let Some(row) = wire.selected() else {
        let text = match wire.selection {
            Some(_) => "This row is not kept any more: choose another one.",
            None if matches!(wire.stage, Stage::Refused(_)) => "There are no frames: the hub refused.",
            None => {
                "Choose a row: what it is stands here, as bytes and as JSON. Up and Down go through them, Enter to \
                     what answers it."
            }
        };
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
        return;
    };
    match &row.what {
        What::Record(record) => match &record.event {
            Event::Frame(frame) => of_frame(ui, model, wire, row, frame, actions),
            Event::Ended(end) => {
                title(ui, &format!("Connection {} is over", record.session));
                let at = format::clock_micros(row.at, &model.zone);
                let rows = [("Time", at), ("How", format::sentence(&super::ended(end)))];
                widgets::facts(ui, "wire-ended", &rows.map(|(name, value)| (name.to_owned(), value)));
            }
            Event::Opened(_) => title(ui, &format!("Connection {} was made", record.session)),
        },
        What::LeftOut { frames, .. } => {
            title(ui, &format!("{} frames are missing here", format::count(*frames)));
            let text = "The hub records 200 frames in a tenth of a second of a device, and control frames and broken ones \
                        besides. Bytes and frames are counted all the same: see the figures. Numbers of frames go on.";
            ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
        }
        What::Unwatched => title(ui, "This window was not connected to the hub"),
    }
}

fn title(ui: &mut Ui, text: &str) {
    let t = Tokens::of(ui);
    ui.add(egui::Label::new(RichText::new(text).font(fonts::semibold(13.0)).color(t.text)).wrap());
}

fn of_frame(
    ui: &mut Ui,
    model: &Model,
    wire: &Inspector,
    row: &Row,
    frame: &Frame,
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 18.0), egui::Sense::hover());
        let color = if frame.from == Side::Device { t.text_secondary } else { t.accent };
        table::arrow(ui, rect.center(), frame.from, color);
        let what = frame.message.as_ref().map_or_else(
            || frame.kind().to_owned(),
            |message| {
                let number = message.seq.map(|seq| format!(" {seq}")).unwrap_or_default();
                format!("{}{number}", message.kind)
            },
        );
        title(ui, &format!("#{} {what}", frame.n));
        if widgets::chip(ui, "Copy JSON", false)
            .on_hover_text("The record, as the export writes it")
            .clicked()
        {
            actions.push(Action::Copy(export::json_line(row)));
        }
        if widgets::chip(ui, "Copy bytes", false)
            .on_hover_text(
                "The frame as it went over the wire, in hexadecimal digits, as far as it was recorded",
            )
            .clicked()
        {
            actions.push(Action::Copy(to_hex(&frame.bytes())));
        }
    });
    for problem in &frame.problems {
        ui.horizontal_wrapped(|ui| {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(12.0, 18.0), egui::Sense::hover());
            widgets::alert_on(ui.painter(), rect.center(), 4.5, t.warn);
            let text = format!("Breaks a rule: {problem}");
            ui.label(RichText::new(text).font(fonts::medium(12.0)).color(t.warn));
        });
    }
    links(ui, wire, row, actions);
    ui.add_space(2.0);
    widgets::narrow_facts(ui, "wire-facts", 52.0, &facts(model, row, frame));
    ui.add_space(4.0);
    payload(ui, wire, frame, actions);
}

fn facts(model: &Model, row: &Row, frame: &Frame) -> Vec<(String, String)> {
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
    let session = row.record().map(|record| record.session.as_str()).unwrap_or_default();
    say("Time", format!("{} on {session}", format::clock_micros(row.at, &model.zone)));
    let bit = u8::from;
    let (rsv1, rsv2, rsv3) = (frame.rsv >> 2 & 1, frame.rsv >> 1 & 1, frame.rsv & 1);
    let (fin, mask) = (bit(frame.fin), bit(frame.mask.is_some()));
    let more = if frame.fin { "" } else { ", more follows" };
    let kind = frame.kind();
    say(
        "Bits",
        format!("FIN {fin}  RSV {rsv1}{rsv2}{rsv3}  opcode {} {kind}  MASK {mask}{more}", frame.opcode),
    );
    let head: Vec<u8> = frame.bytes().into_iter().take(usize::from(frame.header_bytes)).collect();
    let key = if frame.mask.is_some() { ", the last 4 the mask" } else { "" };
    say(
        "Head",
        format!("{}  ({}{key})", spaced(&to_hex(&head)), super::bytes(u64::from(frame.header_bytes))),
    );
    let recorded = frame.payload_start().len() as u64;
    let mut length = super::bytes(frame.payload_bytes);
    if let Some(came) = frame.came_bytes {
        length.push_str(&format!(", of which {} came", format::count(came)));
    }
    if recorded < frame.came_bytes.unwrap_or(frame.payload_bytes) {
        length.push_str(&format!(", {} recorded", format::count(recorded)));
    }
    let end = frame.offset.saturating_add(frame.length());
    say("Payload", format!("{length}; the {} sent {} so far", frame.from.as_str(), format::count(end)));
    if let Some(micros) = frame.round_trip {
        say("Trip", format!("{} there and back", table::trip(micros)));
    }
    if let Some(close) = &frame.close {
        say("Close", format!("{} {}", close.code, close.reason));
    }
    facts
}

/// Hexadecimal digits, two and two.
fn spaced(hex: &str) -> String {
    let digits: Vec<char> = hex.chars().collect();
    digits.chunks(2).map(|pair| pair.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}

/// What it led to and what it answers, each a click away.
fn links(ui: &mut Ui, wire: &Inspector, row: &Row, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let label = |ui: &mut Ui, text: &str| {
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_secondary));
    };
    let mut go = |ui: &mut Ui, n: u64| match wire.row_beside(row, n) {
        Some(other) => {
            if widgets::link(ui, &format!("#{n}")).on_hover_text("Select that frame (Enter)").clicked() {
                actions.push(Action::EditWire(WireEdit::Select(Some(other.key))));
            }
        }
        None => {
            ui.label(RichText::new(format!("#{n}")).font(fonts::regular(11.5)).color(t.text_weak))
                .on_hover_text("It is not kept any more");
        }
    };
    if let Some(n) = row.answered_by {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            let other = wire.row_beside(row, n);
            let by = other.and_then(Row::frame).and_then(|frame| frame.message.as_ref());
            label(
                ui,
                match by.map(|message| message.kind.as_str()) {
                    Some("ack") => "Acknowledged by",
                    Some("refuse") => "Refused by",
                    Some("command_update") => "The device said of it in",
                    _ => "Answered by",
                },
            );
            go(ui, n);
            if let Some(other) = other {
                label(ui, &format!("after {}", format::precise(other.at.micros_since(row.at))));
            }
        });
    } else if is_open(row) {
        let text = "Not answered so far, as far as was recorded";
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
    }
    if !row.answers.is_empty() {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            label(ui, "Answers");
            for n in row.answers.iter().take(LINKS_MAX) {
                go(ui, *n);
            }
            if let Some(more) = row.answers.len().checked_sub(LINKS_MAX).filter(|more| *more > 0) {
                label(ui, &format!("and {} more, up to", format::count(more as u64)));
                if let Some(last) = row.answers.last() {
                    go(ui, *last);
                }
            }
        });
    }
}

/// Whether something answers such a frame.
fn is_open(row: &Row) -> bool {
    let Some(frame) = row.frame() else { return false };
    let kind = frame.message.as_ref().map(|message| message.kind.as_str());
    frame.opcode == protocol::frame::PING
        || matches!(
            (frame.from, kind),
            (Side::Device, Some("readings" | "hello" | "skip")) | (Side::Hub, Some("command"))
        )
}

fn payload(ui: &mut Ui, wire: &Inspector, frame: &Frame, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let start = frame.payload_start();
    if start.is_empty() {
        let text = if frame.payload_bytes == 0 {
            "It has no payload."
        } else {
            "Nothing of its payload was recorded."
        };
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
        return;
    }
    ui.horizontal(|ui| {
        widgets::caption(ui, if frame.mask.is_some() { "Payload, unmasked" } else { "Payload" });
        if frame.text.is_some() {
            let chosen = usize::from(wire.hex);
            if let Some(place) = widgets::segmented(ui, "Payload as", &["JSON", "Bytes"], Some(chosen)) {
                actions.push(Action::EditWire(WireEdit::Hex(place == 1)));
            }
        }
    });
    let sign = ui.painter().layout_no_wrap("0".into(), fonts::mono(11.0), t.text).size().x;
    let columns = ((ui.available_width() - 20.0) / sign).max(0.0) as usize;
    let text = match &frame.text {
        Some(text) if !wire.hex => decoded(text, columns),
        // Two digits and a sign for each byte, and its place before them.
        _ => dump(&start, if columns > 6 + 16 * 4 { 16 } else { 8 }),
    };
    let ground = egui::Frame::new().fill(t.canvas).stroke(egui::Stroke::new(1.0, t.line));
    ground.corner_radius(tokens::RADIUS_CONTROL).inner_margin(egui::Margin::symmetric(8, 6)).show(ui, |ui| {
        let text = RichText::new(format::ellipsis(&text, TEXT_MAX)).font(fonts::mono(11.0)).color(t.text);
        ui.add(egui::Label::new(text).wrap().selectable(true));
        ui.take_available_width();
    });
}

/// JSON with its structure, where it is whole; else as it came. Signs that cannot be seen are shown.
fn decoded(text: &str, columns: usize) -> String {
    pretty::pretty(text, columns).unwrap_or_else(|| {
        text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
    })
}

/// Bytes with their places and what they are as ASCII.
fn dump(bytes: &[u8], in_a_row: usize) -> String {
    let rows = bytes.chunks(in_a_row).enumerate().map(|(row, part)| {
        let hex: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let ascii = part.iter().map(|byte| match byte {
            0x20..0x7f => char::from(*byte),
            _ => '.',
        });
        format!(
            "{:04x}  {:<width$} {}",
            row * in_a_row,
            hex.join(" "),
            ascii.collect::<String>(),
            width = in_a_row * 3
        )
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_with_their_places_and_as_text() {
        assert_eq!(
            dump(b"{\"a\":1}\x00z", 8),
            "0000  7b 22 61 22 3a 31 7d 00  {\"a\":1}.\n0008  7a                       z"
        );
    }

    #[test]
    fn json_is_shown_with_its_structure_and_what_is_cut_as_it_came() {
        assert_eq!(decoded("{\"a\":[1]}", 8), "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(decoded("{\"a\":[1\u{7}", 8), "{\"a\":[1\u{fffd}");
    }
}
