//! The dialog of the hubs: those that are remembered, and one to add, change or test. At the first start it opens by
//! itself when no hub answers, and says what to do.

use egui::{RichText, Sense, Ui, vec2};

use crate::action::Action;
use crate::model::hubs::{Hub, HubEdit, Kind, NAME_MAX, Secret, host};
use crate::model::{HubsForm, Link, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::banner::countdown;
use crate::views::{empty, widgets};

/// Width of the dialog where there is room.
const WIDTH: f32 = 480.0;

/// Draws the dialog while it is open.
pub fn hub_list(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.hubs_form else { return };
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("hubs")).frame(frame).show(ui.ctx(), |ui| {
        let width = WIDTH.min(screen.width() - 60.0);
        ui.set_width(width);
        ui.set_max_width(width);
        let title = if form.is_first { "Connect to a hub" } else { "Hubs" };
        ui.label(RichText::new(title).font(fonts::semibold(15.0)).color(t.text));
        let height = screen.height() - 150.0;
        let area = egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height);
        widgets::scrolled(ui, area, |ui| {
            ui.spacing_mut().item_spacing.y = 4.0;
            if form.is_first {
                first(ui, model, actions);
            } else {
                list(ui, model, form, actions);
            }
            ui.add_space(10.0);
            fields(ui, form, actions);
        });
        said(ui, form);
        ui.add_space(8.0);
        ui.horizontal(|ui| {
            let can = !form.address.trim().is_empty();
            let text = if form.editing.is_some() { "Save and connect" } else { "Connect" };
            if ui.add_enabled_ui(can, |ui| widgets::accent_button(ui, text)).inner.clicked() {
                actions.push(Action::ConnectHub);
            }
            let test = ui.add_enabled_ui(can && !form.testing, |ui| widgets::plain_button(ui, "Test")).inner;
            if test.on_hover_text("Connects once, says how it went, and hangs up").clicked() {
                actions.push(Action::TestHub);
            }
            if widgets::plain_button(ui, "Close").clicked() {
                actions.push(Action::ToggleHubs);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::ToggleHubs);
    }
}

fn say(ui: &mut Ui, text: &str, color: egui::Color32) {
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.5)).color(color)).wrap());
}

/// What to do when there is no hub yet.
fn first(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.add_space(4.0);
    say(
        ui,
        "A hub takes in the readings of devices and keeps them; this window shows them.",
        t.text_secondary,
    );
    ui.add_space(8.0);
    widgets::caption(ui, "On this machine");
    match &model.connection.link {
        Link::Waiting { reason, .. } | Link::Stopped { reason } => {
            say(ui, &format!("No hub at {}: {reason}", model.connection.address), t.text_secondary);
        }
        Link::Connecting { .. } => {
            say(ui, &format!("Looking for one at {}…", model.connection.address), t.text_secondary);
        }
        Link::Connected => {}
    }
    say(ui, "Start one, and this window connects by itself:", t.text_secondary);
    empty::command_line(ui, "hub serve", actions);
    ui.horizontal(|ui| {
        if widgets::plain_button(ui, "Try now").clicked() {
            actions.push(Action::ReconnectNow);
        }
        if let Link::Waiting { retry_at, .. } = &model.connection.link {
            let text = countdown(retry_at.micros_since(model.local_now()));
            ui.label(RichText::new(text).font(fonts::mono(12.0)).color(t.text_weak));
        }
    });
    ui.add_space(8.0);
    widgets::caption(ui, "On another machine");
}

fn list(ui: &mut Ui, model: &Model, form: &HubsForm, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.add_space(4.0);
    if model.hubs.is_empty() {
        say(ui, "None is remembered yet. One that you connect to here is.", t.text_weak);
    }
    for hub in model.hubs.iter() {
        if form.forgetting == Some(hub.id) {
            forget(ui, hub, actions);
        } else {
            row(ui, model, hub, form.editing == Some(hub.id), actions);
        }
    }
    ui.add_space(8.0);
    ui.horizontal(|ui| {
        widgets::caption(ui, if form.editing.is_some() { "Change this hub" } else { "Another hub" });
        if form.editing.is_some() && widgets::link(ui, "New instead").clicked() {
            actions.push(Action::EditHub(HubEdit::Edit(None)));
        }
    });
}

fn row(ui: &mut Ui, model: &Model, hub: &Hub, is_edited: bool, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let is_shown = model.hubs.current == Some(hub.id);
    ui.horizontal(|ui| {
        let width = ui.available_width() - widgets::buttons_width(ui, &["Change", "Forget"]);
        let (rect, response) = ui.allocate_exact_size(vec2(width, 30.0), Sense::click());
        response.widget_info(|| {
            let label = format!("Connect to {}", hub.name);
            egui::WidgetInfo::selected(egui::Role::Button, true, is_shown, label)
        });
        let share = if is_edited || response.hovered() { 0.06 } else { 0.0 };
        let ground = tokens::mix(t.popup, t.text, share);
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), ground);
        widgets::focus_ring(ui, &response, rect);
        let y = rect.center().y;
        let dot = egui::pos2(rect.left() + 10.0, y);
        match (is_shown, model.connection.is_connected()) {
            (true, true) => ui.painter().circle_filled(dot, 3.5, t.ok),
            (true, false) => ui.painter().circle_stroke(dot, 3.5, egui::Stroke::new(1.5, t.warn)),
            (false, _) => ui.painter().circle_stroke(dot, 3.5, egui::Stroke::new(1.0, t.text_weak)),
        };
        let left = rect.left() + 24.0;
        let used =
            widgets::text_in(ui, egui::pos2(left, y), width * 0.5, &hub.name, fonts::medium(13.0), t.text);
        let at = egui::pos2(left + used + 12.0, y);
        let room = rect.right() - at.x - 8.0;
        widgets::text_in(ui, at, room, &host(&hub.address), fonts::mono(11.5), t.text_weak);
        if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() && !is_shown {
            actions.push(Action::UseHub(hub.id));
        }
        for (text, edit) in
            [("Change", HubEdit::Edit(Some(hub.id))), ("Forget", HubEdit::Forget(Some(hub.id)))]
        {
            let response = widgets::chip(ui, text, false);
            response.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{text} {}", hub.name))
            });
            if response.clicked() {
                actions.push(Action::EditHub(edit));
            }
        }
    });
}

fn forget(ui: &mut Ui, hub: &Hub, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        let text = format!("Forget {} and its token?", hub.name);
        let width = ui.available_width() - widgets::buttons_width(ui, &["Forget", "Leave it"]);
        let (rect, response) = ui.allocate_exact_size(vec2(width, 30.0), Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &text));
        let at = egui::pos2(rect.left() + 8.0, rect.center().y);
        widgets::text_in(ui, at, width - 16.0, &text, fonts::medium(13.0), t.text);
        if widgets::danger_button(ui, "Forget").clicked() {
            actions.push(Action::ForgetHub(hub.id));
        }
        if widgets::plain_button(ui, "Leave it").clicked() {
            actions.push(Action::EditHub(HubEdit::Forget(None)));
        }
    });
}

fn fields(ui: &mut Ui, form: &HubsForm, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let field = |ui: &mut Ui, name: &str, text: &str, hint: &str, limit: usize, is_secret: bool| {
        ui.label(RichText::new(name).font(fonts::medium(12.0)).color(t.text_secondary));
        let mut typed = text.to_owned();
        let edit = egui::TextEdit::singleline(&mut typed)
            .password(is_secret)
            .hint_text(RichText::new(hint).color(t.text_weak))
            .char_limit(limit)
            .background_color(t.panel)
            .margin(egui::Margin::symmetric(8, 4))
            .desired_width(f32::INFINITY);
        let response = ui.add(edit).accessible_name(name);
        ui.add_space(2.0);
        response.changed().then_some(typed)
    };
    if let Some(address) = field(ui, "Address", &form.address, "ws://10.0.0.5:7878", 300, false) {
        actions.push(Action::EditHub(HubEdit::Address(address)));
    }
    if let Some(name) = field(ui, "Name", &form.name, "What you call it", NAME_MAX, false) {
        actions.push(Action::EditHub(HubEdit::Name(name)));
    }
    if form.wants_ca() || !form.ca.is_empty() {
        let hint = "The system's; or /path/to/ca.pem";
        if let Some(ca) = field(ui, "File of its CA", &form.ca, hint, 1_000, false) {
            actions.push(Action::EditHub(HubEdit::Ca(ca)));
        }
        let text = if form.wants_ca() {
            "For a hub whose certificate only its own CA vouches for: `hub cert` makes both."
        } else {
            "Used for an address at wss:// only."
        };
        say(ui, text, t.text_weak);
    }
    ui.label(RichText::new("Token").font(fonts::medium(12.0)).color(t.text_secondary));
    let kinds = [Kind::ThisMachine, Kind::Token, Kind::File];
    let names = ["This machine's", "Type it", "In a file"];
    let chosen = kinds.iter().position(|kind| *kind == form.kind);
    if let Some(i) = widgets::segmented(ui, "credential", &names, chosen) {
        actions.push(Action::EditHub(HubEdit::Kind(kinds[i])));
    }
    match form.kind {
        Kind::ThisMachine => {
            let text =
                "For a hub on this machine: the file that it wrote is used. It is sent to no other machine.";
            say(ui, text, t.text_weak);
        }
        Kind::Token => {
            let hint = "Of an operator, or of a viewer who only looks";
            if let Some(token) = field(ui, "The token", form.token.reveal(), hint, 300, true) {
                actions.push(Action::EditHub(HubEdit::Token(Secret::new(token))));
            }
            say(ui, "Kept in a file that only this user can read.", t.text_weak);
        }
        Kind::File => {
            if let Some(file) =
                field(ui, "File of the token", &form.file, "/path/to/operator.token", 1_000, false)
            {
                actions.push(Action::EditHub(HubEdit::File(file)));
            }
        }
    }
}

fn said(ui: &mut Ui, form: &HubsForm) {
    let t = Tokens::of(ui);
    let (text, color) = match &form.said {
        _ if form.testing => ("Testing…", t.text_secondary),
        Some(Ok(text)) => (text.as_str(), t.ok),
        Some(Err(text)) => (text.as_str(), t.error),
        None => return,
    };
    ui.add_space(6.0);
    say(ui, text, color);
}
