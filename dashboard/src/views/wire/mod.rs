//! The panel of a device's wire: what its connections carry, frame by frame, beside what one of them is.

mod figures;
mod frame;
mod handshake;
mod table;

use egui::{Align, Layout, Rect, RichText, Ui, UiBuilder, pos2, vec2};
use protocol::wire::{Ended, Side};
use protocol::{DeviceId, viewer::EndedBy};

use crate::action::Action;
use crate::format;
use crate::model::exports::ExportForm;
use crate::model::wire::{Class, Filter, Inspector, Pane, Stage, WireEdit};
use crate::model::{Link, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::commands;
use crate::views::widgets::{self, Icon};

pub use table::WireView;

/// From this width on there is room for something beside the table.
const WIDE: f32 = 700.0;

/// The id of the search, so that `/` can go there.
pub fn search_id() -> egui::Id {
    egui::Id::unique("wire-search")
}

/// Draws the panel.
pub fn wire(ui: &mut Ui, model: &Model, view: &mut WireView, actions: &mut Vec<Action>) {
    let Some(wire) = &model.wire else { return };
    // The panel keeps its height, however little is in it.
    ui.set_min_height(ui.available_height());
    heading(ui, model, wire, view, actions);
    ui.add_space(4.0);
    filters(ui, wire, actions);
    ui.add_space(2.0);
    figures::strip(ui, wire);
    ui.add_space(4.0);
    let rect = ui.available_rect_before_wrap();
    let is_wide = rect.width() >= WIDE;
    let side = if is_wide { (rect.width() * 0.44).clamp(310.0, 520.0) } else { rect.width() };
    let at = if is_wide { rect.right() - side } else { rect.left() };
    let (left, right) = (
        Rect::from_min_max(rect.min, pos2(at - 12.0, rect.bottom())),
        Rect::from_min_max(pos2(at, rect.top()), rect.max),
    );
    // Without room for both, what was asked for is in front.
    let shows_pane = is_wide || wire.selection.is_some() || wire.pane_asked;
    if is_wide || !shows_pane {
        let place = if is_wide { left } else { rect };
        let mut child = ui.new_child(UiBuilder::new().max_rect(place).id_salt("wire-table"));
        table::table(&mut child, model, wire, view, actions);
    }
    if is_wide {
        let line = egui::Stroke::new(1.0, Tokens::of(ui).line);
        ui.painter().vline(at - 6.0, rect.y_range(), line);
    }
    if shows_pane {
        let mut child = ui.new_child(UiBuilder::new().max_rect(right).id_salt("wire-pane"));
        pane(&mut child, model, wire, !is_wide, actions);
    }
    ui.advance_cursor_after_rect(rect);
    keys(ui, model, wire, actions);
}

fn heading(ui: &mut Ui, model: &Model, wire: &Inspector, view: &mut WireView, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        commands::tabs(ui, model, actions);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close the wire, and watch no more").clicked() {
                actions.push(Action::CloseWire);
            }
            let has_rows = !wire.rows().is_empty();
            let is_wide = ui.available_width() > 430.0;
            ui.add_enabled_ui(has_rows, |ui| {
                let hint = "Everything that is kept here, as JSON Lines or as a capture for Wireshark";
                if widgets::chip(ui, "Export…", false).on_hover_text(hint).clicked() {
                    let form = ExportForm::of_wire(model, &wire.device);
                    actions.push(Action::EditExport(Some(Box::new(form))));
                }
                if is_wide
                    && widgets::chip(ui, "Clear", false)
                        .on_hover_text("Forget what was recorded here. The hub goes on telling")
                        .clicked()
                {
                    actions.push(Action::EditWire(WireEdit::Clear));
                }
            });
            let (text, hint) = match wire.pause {
                Some(_) => ("Go on", "Show what has come since"),
                None => ("Pause", "Let the table stand still; what comes is kept behind it"),
            };
            if widgets::toggle(ui, text, wire.pause.is_some()).on_hover_text(hint).clicked() {
                actions.push(Action::EditWire(WireEdit::Pause(wire.pause.is_none())));
            }
            if view.is_away()
                && widgets::chip(ui, "Newest", true).on_hover_text("Scroll to the end").clicked()
            {
                view.follow_newest();
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let (text, is_warning) = state(model, wire);
                let color = if is_warning { t.warn } else { t.text_weak };
                ui.add_space(4.0);
                if is_warning {
                    let (rect, _) = ui.allocate_exact_size(vec2(10.0, 18.0), egui::Sense::hover());
                    widgets::alert_on(ui.painter(), rect.center(), 4.5, color);
                }
                let label = RichText::new(text).font(fonts::regular(12.0)).color(color);
                ui.add(egui::Label::new(label).truncate());
            });
        });
    });
}

/// What is going on, in a few words, and whether that has to be looked at.
fn state(model: &Model, wire: &Inspector) -> (String, bool) {
    let count = |n: u64| format::count(n);
    if !model.connection.is_connected() {
        return ("not connected to the hub".into(), true);
    }
    let mut parts = Vec::new();
    match (&wire.stage, &wire.pause) {
        (Stage::Refused(_), _) => return ("refused".into(), true),
        (Stage::Asking | Stage::Away, _) => parts.push("asking the hub…".to_owned()),
        (Stage::Watching, None) if !wire.is_connected => parts.push("the device is not connected".to_owned()),
        (Stage::Watching, None) => parts.push("recording".to_owned()),
        (Stage::Watching, Some(pause)) => {
            parts.push(format!("paused, {} came since", count(pause.came)));
            if pause.missed > 0 {
                parts.push(format!("{} of them did not fit", count(pause.missed)));
            }
        }
    }
    if wire.left_out > 0 {
        parts.push(format!("sampled: {} frames left out", count(wire.left_out)));
    }
    let (shown, all) = (wire.shown().len() as u64, wire.rows().len() as u64);
    if wire.filter.is_empty() {
        parts.push(format!("{} rows", count(all)));
    } else {
        parts.push(format!("{} of {} rows", count(shown), count(all)));
    }
    if wire.dropped > 0 {
        parts.push(format!("{} older ones dropped", count(wire.dropped)));
    }
    (parts.join(", "), wire.left_out > 0)
}

fn filters(ui: &mut Ui, wire: &Inspector, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut filter = wire.filter.clone();
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 4.0);
        let wide = ui.available_width() > 860.0;
        let edit = egui::TextEdit::singleline(&mut filter.text)
            .id(search_id())
            .hint_text(RichText::new("Search frames…   /").color(t.text_weak))
            .desired_width(if wide { 210.0 } else { 130.0 })
            .char_limit(200)
            .margin(egui::Margin::symmetric(7, 3));
        let response = ui.add(edit).accessible_name("Search frames").on_hover_text(
            "Words of payloads, messages, headers, reasons and broken rules; #41 is the frame of that number",
        );
        if !response.has_focus() {
            let stroke = egui::Stroke::new(1.0, if filter.text.is_empty() { t.line } else { t.accent });
            let radius = f32::from(tokens::RADIUS_CONTROL);
            ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
        }
        let sides = [None, Some(Side::Device), Some(Side::Hub)];
        let chosen = sides.iter().position(|side| *side == filter.from);
        let names = ["Both ways", "From device", "From hub"];
        if let Some(place) = widgets::segmented(ui, "Direction", &names, chosen) {
            filter.from = sides.get(place).copied().flatten();
        }
        for class in Class::ALL {
            let on = filter.class == Some(class);
            if widgets::toggle(ui, class.label(), on).on_hover_text(about(class)).clicked() {
                filter.class = (!on).then_some(class);
            }
        }
        if widgets::toggle(ui, "Broken rules", filter.problems)
            .on_hover_text("Only frames that break a rule of RFC 6455")
            .clicked()
        {
            filter.problems = !filter.problems;
        }
        if !filter.is_empty() && widgets::link(ui, "Show all").clicked() {
            filter = Filter::default();
        }
    });
    if filter != wire.filter {
        actions.push(Action::EditWire(WireEdit::Filter(Box::new(filter))));
    }
}

const fn about(class: Class) -> &'static str {
    match class {
        Class::Readings => "Batches of readings, and what the hub says of them",
        Class::Commands => "Commands, and what the device says of them",
        Class::Control => "Pings, pongs and closes",
    }
}

fn pane(ui: &mut Ui, model: &Model, wire: &Inspector, is_alone: bool, actions: &mut Vec<Action>) {
    ui.horizontal(|ui| {
        let panes = [Pane::Frame, Pane::Handshake, Pane::Figures];
        let chosen = panes.iter().position(|pane| *pane == wire.pane);
        if let Some(pane) =
            widgets::segmented(ui, "Beside the table", &["Frame", "Handshake", "Figures"], chosen)
                .and_then(|place| panes.get(place))
        {
            actions.push(Action::EditWire(WireEdit::Pane(*pane)));
        }
        if is_alone && widgets::link(ui, "Back to the frames").clicked() {
            actions.push(Action::EditWire(WireEdit::Select(None)));
        }
    });
    ui.add_space(6.0);
    let id = match wire.pane {
        Pane::Frame => ("wire-frame", wire.selection),
        Pane::Handshake => ("wire-handshake", None),
        Pane::Figures => ("wire-figures", None),
    };
    let area = egui::ScrollArea::vertical().auto_shrink(false).id_salt(id);
    widgets::scrolled(ui, area, |ui| {
        ui.spacing_mut().item_spacing.y = 4.0;
        match wire.pane {
            Pane::Frame => frame::frame(ui, model, wire, actions),
            Pane::Handshake => handshake::handshake(ui, model, wire),
            Pane::Figures => figures::figures(ui, model, wire, actions),
        }
        ui.add_space(8.0);
    });
}

/// Why there are no rows, and what to do: a title, a text, and whether asking again may help.
fn nothing(model: &Model, wire: &Inspector) -> (String, String, bool) {
    let device = &wire.device;
    let say = |title: &str, text: String, again| (title.to_owned(), text, again);
    if !model.connection.is_connected() {
        let text = match &model.connection.link {
            Link::Connecting { .. } => "Connecting…".to_owned(),
            _ => "It is asked for again when the hub is back.".to_owned(),
        };
        return say("Not connected to the hub", text, false);
    }
    match &wire.stage {
        Stage::Refused(why) => {
            let only_looks = model.only_looks();
            let advice = if only_looks { " Connect with the token of one (Ctrl+H)." } else { "" };
            let text = format!("{}.{advice}", format::sentence(why.trim_end_matches('.')));
            say("The hub refused", text, !only_looks)
        }
        Stage::Away | Stage::Asking => say("Asking the hub…", format!("for the wire of {device}"), false),
        Stage::Watching if !wire.rows().is_empty() => say(
            "Nothing fits the filters",
            "Show all frames again, or search for something else.".to_owned(),
            false,
        ),
        Stage::Watching if !wire.is_connected => {
            say(&format!("{device} is not connected"), next_connection(device), false)
        }
        Stage::Watching => {
            say("Nothing yet", "Frames stand here as they go over the wire.".to_owned(), false)
        }
    }
}

fn next_connection(device: &DeviceId) -> String {
    format!("The next connection of {device} is recorded from its first byte on.")
}

/// Arrow keys go through the rows, Enter to what answers the selected one.
fn keys(ui: &Ui, model: &Model, wire: &Inspector, actions: &mut Vec<Action>) {
    if ui.ctx().text_edit_focused() || model.is_asking_something() {
        return;
    }
    let is_free = ui.ctx().memory(egui::Memory::focused).is_none();
    let pressed = |key| ui.input(|input| input.modifiers.is_none() && input.key_pressed(key));
    let page = i64::from(view_rows(ui));
    for (key, by) in [
        (egui::Key::ArrowUp, -1),
        (egui::Key::ArrowDown, 1),
        (egui::Key::PageUp, -page),
        (egui::Key::PageDown, page),
    ] {
        if pressed(key) {
            actions.push(Action::EditWire(WireEdit::Step(by)));
        }
    }
    if is_free && wire.selection.is_some() && pressed(egui::Key::Enter) {
        actions.push(Action::EditWire(WireEdit::Answer));
    }
}

/// About as many rows as fit.
fn view_rows(ui: &Ui) -> u16 {
    ((ui.min_rect().height() - 120.0) / table::ROW).clamp(2.0, 200.0) as u16
}

/// How a connection ended, in a line.
fn ended(end: &Ended) -> String {
    let who = match end.by {
        EndedBy::Device => "ended by the device",
        EndedBy::Hub => "ended by the hub",
        EndedBy::Lost => "lost",
    };
    let how = if end.in_order { "both sent a close frame" } else { "without both close frames" };
    match &end.close {
        Some(close) => format!("{who}: {} {}, {how}", close.code, close.reason).replace(" ,", ","),
        None => format!("{who}, {how}"),
    }
}

/// How many bytes, exactly.
fn bytes(n: u64) -> String {
    format!("{} {}", format::count(n), if n == 1 { "byte" } else { "bytes" })
}
