//! The connection in numbers: a line of them above the table, all of them beside it.

use egui::{Color32, Grid, RichText, Sense, Ui, vec2};
use protocol::viewer::{ConnectionInfo, EndedBy};
use protocol::wire::polling::{EMPTY_POLL_BYTES, POLL_SECONDS, POST_BYTES, Polling};
use protocol::wire::{Figures, Side};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::page::Asked;
use crate::model::wire::{Inspector, Stage, WireEdit};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;
use crate::views::wire::table;

/// Most connections of the past that are drawn.
const CONNECTIONS_MAX: usize = 12;

/// The most important numbers in a line, as many as fit.
pub(super) fn strip(ui: &mut Ui, wire: &Inspector) {
    let t = Tokens::of(ui);
    let Some(figures) = &wire.figures else { return };
    let rates = wire.rates();
    let mut parts: Vec<(String, String, &str)> = Vec::new();
    for (place, side, traffic) in [(0, Side::Device, &figures.device), (1, Side::Hub, &figures.hub)] {
        let rate = rates.map(|rates| format!(" · {}/s", format::number(rates[place].0))).unwrap_or_default();
        let hint = "Bytes, and messages a second over the last ten seconds";
        parts.push((format!("from {}", side.as_str()), format!("{}{rate}", size(traffic.bytes)), hint));
    }
    let each = |traffic: &protocol::wire::Traffic| format!("{:.2}", traffic.overhead_per_frame());
    let overhead = format!("{} / {} B", each(&figures.device), each(&figures.hub));
    parts.push((
        "overhead".to_owned(),
        overhead,
        "Bytes of the head of a frame, of the device and of the hub",
    ));
    if let Some(times) = Polling::of(figures).times() {
        let hint = "Bytes of the same traffic over HTTP with polling, in relation to what it took here";
        parts.push(("polling".to_owned(), format!("{} × the bytes", format::number(times)), hint));
    }
    let trip = figures.round_trip.map_or_else(|| "–".to_owned(), table::trip);
    parts.push(("round trip".to_owned(), trip, "Of the hub's last ping"));
    if let Some(ahead) = figures.clock_ahead {
        parts.push(("clock".to_owned(), clock(ahead), CLOCK));
    }
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 5.0;
        for (name, value, hint) in parts {
            let name = ui.painter().layout_no_wrap(name, fonts::regular(11.5), t.text_weak);
            let value_galley = ui.painter().layout_no_wrap(value.clone(), fonts::mono(11.5), t.text);
            let width = name.size().x + value_galley.size().x + 20.0;
            if width > ui.available_width() {
                break;
            }
            ui.label(RichText::new(name.text()).font(fonts::regular(11.5)).color(t.text_weak))
                .on_hover_text(hint);
            ui.label(RichText::new(value).font(fonts::mono(11.5)).color(t.text)).on_hover_text(hint);
            ui.add_space(8.0);
        }
    });
}

const CLOCK: &str =
    "By how much the device's clock is ahead of the hub's, as its readings tell: none is older than measured";

/// Bytes as a person reads them.
fn size(bytes: u64) -> String {
    format::bytes(usize::try_from(bytes).unwrap_or(usize::MAX))
}

fn clock(ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead" };
    format!("{} {way}", format::precise(ahead.saturating_abs()))
}

/// Draws all of them.
pub(super) fn figures(ui: &mut Ui, model: &Model, wire: &Inspector, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    match &wire.figures {
        Some(figures) => {
            let seconds = figures.at.micros_since(figures.opened_at).max(0);
            let state = if wire.is_connected { "for" } else { "is over, was there for" };
            let title = format!("Connection {} {state} {}", figures.session, format::duration(seconds));
            ui.add(egui::Label::new(RichText::new(title).font(fonts::semibold(13.0)).color(t.text)).wrap());
            ui.add_space(2.0);
            traffic(ui, wire, figures);
            ui.add_space(4.0);
            times(ui, wire, figures);
            ui.add_space(6.0);
            polling(ui, figures);
        }
        None => {
            ui.add(egui::Label::new(RichText::new(no_figures(model, wire)).color(t.text_weak)).wrap());
        }
    }
    ui.add_space(6.0);
    connections(ui, model, wire, actions);
}

/// Why there are no figures.
fn no_figures(model: &Model, wire: &Inspector) -> String {
    let device = &wire.device;
    match &wire.stage {
        _ if !model.connection.is_connected() => "No figures: there is no connection to the hub.".to_owned(),
        Stage::Refused(_) => {
            format!(
                "No figures: the hub refused to let this connection watch {device}. Why stands beside the table; the \
                 connections below are for everyone."
            )
        }
        Stage::Away | Stage::Asking => format!("The hub is asked for the wire of {device}…"),
        Stage::Watching if wire.is_connected => "The first figures come within a second.".to_owned(),
        Stage::Watching => format!("{device} is not connected: there are figures as soon as it is."),
    }
}

fn traffic(ui: &mut Ui, wire: &Inspector, figures: &Figures) {
    let t = Tokens::of(ui);
    let rates = wire.rates();
    let (device, hub) = (&figures.device, &figures.hub);
    let rate = |place: usize, of: fn(&(f64, f64)) -> f64| {
        rates.map_or_else(|| "–".to_owned(), |rates| format::number(of(&rates[place])))
    };
    let both = |of: fn(&protocol::wire::Traffic) -> u64| [format::count(of(device)), format::count(of(hub))];
    let share = |traffic: &protocol::wire::Traffic| {
        if traffic.bytes == 0 {
            return "–".to_owned();
        }
        format!("{:.1} %", traffic.header_bytes as f64 * 100.0 / traffic.bytes as f64)
    };
    let rows: [(&str, [String; 2]); 8] = [
        ("Bytes", both(|traffic| traffic.bytes)),
        ("Frames", both(|traffic| traffic.frames)),
        ("Messages", both(|traffic| traffic.messages)),
        ("Messages a second", [rate(0, |r| r.0), rate(1, |r| r.0)]),
        ("Bytes a second", [rate(0, |r| r.1), rate(1, |r| r.1)]),
        ("Overhead, bytes", both(|traffic| traffic.header_bytes)),
        ("Overhead a frame", [device, hub].map(|traffic| format!("{:.2}", traffic.overhead_per_frame()))),
        ("Overhead in all", [share(device), share(hub)]),
    ];
    let right = |ui: &mut Ui, text: RichText| {
        let layout = egui::Layout::right_to_left(egui::Align::Center);
        ui.allocate_ui_with_layout(vec2(84.0, 16.0), layout, |ui| ui.label(text));
    };
    let grid = Grid::new("wire-traffic").num_columns(3).min_col_width(84.0).min_row_height(17.0);
    grid.spacing(vec2(12.0, 2.0)).show(ui, |ui| {
        ui.label("");
        for name in ["from device", "from hub"] {
            right(ui, RichText::new(name).font(fonts::medium(11.0)).color(t.text_weak));
        }
        ui.end_row();
        for (name, values) in rows {
            ui.label(RichText::new(name).font(fonts::regular(12.0)).color(t.text_secondary));
            for value in values {
                right(ui, RichText::new(value).font(fonts::mono(12.0)).color(t.text));
            }
            ui.end_row();
        }
    });
}

fn times(ui: &mut Ui, wire: &Inspector, figures: &Figures) {
    let t = Tokens::of(ui);
    let mut sorted: Vec<u64> = wire.trips().iter().map(|(_, micros)| *micros).collect();
    sorted.sort_unstable();
    let now = figures.round_trip.map_or_else(|| "not known yet".to_owned(), table::trip);
    let text = match (sorted.first(), sorted.get(sorted.len().saturating_sub(1) / 2), sorted.last()) {
        (Some(least), Some(median), Some(most)) if sorted.len() > 1 => format!(
            "{now} now; {} to {}, median {} of {} pings",
            table::trip(*least),
            table::trip(*most),
            table::trip(*median),
            sorted.len()
        ),
        _ => now,
    };
    let clock = match figures.clock_ahead {
        Some(ahead) => clock(ahead),
        None => "not known yet".to_owned(),
    };
    let facts = [("Round trip", text), ("Clock", clock)];
    widgets::narrow_facts(ui, "wire-times", 76.0, &facts.map(|(name, value)| (name.to_owned(), value)));
    if sorted.len() > 1 {
        let width = ui.available_width().min(320.0);
        let (rect, response) = ui.allocate_exact_size(vec2(width, 28.0), Sense::hover());
        let values: Vec<f32> = wire.trips().iter().map(|(_, micros)| *micros as f32).collect();
        widgets::sparkline(ui, rect.shrink2(vec2(3.0, 5.0)), &values, t.text_weak, t.accent);
        response.on_hover_text("Round trips of the hub's pings, oldest first");
    }
}

fn polling(ui: &mut Ui, figures: &Figures) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "The same over polling");
    let polling = Polling::of(figures);
    let times =
        polling.times().map(|times| format!(", {} times as many", format::number(times))).unwrap_or_default();
    let facts = [
        ("Requests", format::count(polling.requests)),
        ("Bytes", format!("{} instead of {}{times}", size(polling.bytes), size(polling.socket_bytes))),
    ];
    widgets::narrow_facts(ui, "wire-polling", 76.0, &facts.map(|(name, value)| (name.to_owned(), value)));
    let text = format!(
        "If each message of the device were a POST ({POST_BYTES} bytes of heads, both ways) with the ack in its answer, and the \
         device asked for commands every {POLL_SECONDS} s ({EMPTY_POLL_BYTES} bytes for an empty answer). Measured by \
         `cargo xtask bench transports`; without TLS and TCP."
    );
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak)).wrap());
}

fn connections(ui: &mut Ui, model: &Model, wire: &Inspector, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Connections");
    let Some(list) = wire.connections.known() else {
        let text = match &wire.connections {
            Asked::Failed(why) => format!("Could not be loaded: {why}"),
            _ if !model.connection.is_connected() => "Asked for when the hub is back.".to_owned(),
            _ if matches!(wire.connections, Asked::No) => "Not loaded.".to_owned(),
            _ => "Loading…".to_owned(),
        };
        ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak)).wrap());
        if matches!(wire.connections, Asked::Failed(_)) && widgets::chip(ui, "Ask again", false).clicked() {
            actions.push(Action::EditWire(WireEdit::AskAgain));
        }
        return;
    };
    let count = list.len() as u64;
    let lost = list.iter().filter(|c| c.end.as_ref().is_some_and(|end| end.by == EndedBy::Lost)).count();
    let text = match count.checked_sub(1) {
        None => "The hub remembers none.".to_owned(),
        Some(again) => {
            format!(
                "Reconnected {} times, as far as the hub remembers; {lost} connections were lost.",
                format::count(again)
            )
        }
    };
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(t.text_secondary)).wrap());
    for connection in list.iter().take(CONNECTIONS_MAX) {
        let (text, color) = line(t, model, connection);
        ui.add(egui::Label::new(RichText::new(text).font(fonts::mono(11.0)).color(color)).wrap());
    }
    if count as usize > CONNECTIONS_MAX {
        let text = format!("and {} older ones: see the page of the device", count as usize - CONNECTIONS_MAX);
        ui.label(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak));
    }
}

/// A connection in a line: from when, for how long, and why it ended.
fn line(t: &Tokens, model: &Model, connection: &ConnectionInfo) -> (String, Color32) {
    let from = format::clock_or_date(connection.opened_at, model.now(), &model.zone);
    match &connection.end {
        None => (format!("{from}  {}  open", connection.session), t.ok),
        Some(end) => {
            let lasted = end.at.map_or_else(String::new, |at| {
                format!("  {}", format::duration(at.micros_since(connection.opened_at).max(0)))
            });
            let by = match end.by {
                EndedBy::Device => "by the device",
                EndedBy::Hub => "by the hub",
                EndedBy::Lost => "lost",
            };
            let code = end.code.map(|code| format!(" {code}")).unwrap_or_default();
            let why = if end.reason.is_empty() {
                String::new()
            } else {
                format!(": {}", format::ellipsis(&end.reason, 80))
            };
            let color = if end.by == EndedBy::Lost { t.warn } else { t.text_secondary };
            (format!("{from}  {}{lasted}  {by}{code}{why}", connection.session), color)
        }
    }
}
