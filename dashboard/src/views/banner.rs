//! The banner under the top bar while there is no connection: why, and when the next try is.

use egui::Ui;

use crate::action::Action;
use crate::format;
use crate::model::{Link, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Whether there is something to say. The first attempt is shown in the middle of the window instead.
pub fn is_needed(model: &Model) -> bool {
    match model.connection.link {
        Link::Connected => false,
        Link::Connecting { .. } => model.connection.was_connected(),
        Link::Waiting { .. } | Link::Stopped { .. } => {
            model.connection.was_connected() || !model.devices.is_empty()
        }
    }
}

/// Draws the banner.
pub fn banner(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let connection = &model.connection;
    let (color, text) = match &connection.link {
        Link::Connected => return,
        Link::Connecting { attempt } => {
            let text = format!("Connecting to {} (attempt {attempt})", connection.address);
            let why = connection.why.as_ref().map(|why| format!(". Before: {why}")).unwrap_or_default();
            (t.warn, text + &why)
        }
        // The reason says by itself that there is no connection, and what to.
        Link::Waiting { reason, .. } => (t.warn, format::sentence(reason)),
        Link::Stopped { reason } => (t.error, format::sentence(reason)),
    };
    egui::Frame::new()
        .fill(t.tint(color))
        .inner_margin(egui::Margin::symmetric(tokens::PADDING as i8, 6))
        .show(ui, |ui| {
            ui.horizontal_top(|ui| {
                let (rect, _) = ui.allocate_exact_size(egui::vec2(10.0, 22.0), egui::Sense::hover());
                ui.painter().circle_stroke(rect.center(), 3.5, egui::Stroke::new(1.5, color));
                // In a narrow window the reason has a line of its own, or two.
                if model.is_narrow {
                    ui.vertical(|ui| {
                        let text = egui::RichText::new(text).font(fonts::medium(12.5)).color(t.text);
                        ui.add(egui::Label::new(text).wrap());
                        ui.horizontal(|ui| next_try(ui, model, actions));
                        ui.take_available_width();
                    });
                    return;
                }
                ui.set_height(22.0);
                ui.horizontal_centered(|ui| {
                    ui.label(egui::RichText::new(text).font(fonts::medium(12.5)).color(t.text));
                    if let Some(lost) = connection.lost_at {
                        let at = format::clock(lost, &model.zone);
                        let text = format!("What is shown ends at {at}.");
                        ui.label(egui::RichText::new(text).color(t.text_secondary));
                    }
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        next_try(ui, model, actions);
                    });
                    ui.take_available_width();
                });
            });
        });
}

fn next_try(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    if widgets::plain_button(ui, "Try now").clicked() {
        actions.push(Action::ReconnectNow);
    }
    if let Link::Waiting { retry_at, .. } = &model.connection.link {
        let text = countdown(retry_at.micros_since(model.local_now()));
        ui.label(egui::RichText::new(text).font(fonts::mono(12.0)).color(t.text_secondary));
    }
}

/// How long until the next try, in whole seconds.
pub fn countdown(micros: i64) -> String {
    match (micros + 999_999) / 1_000_000 {
        ..=0 => "trying…".to_owned(),
        seconds => format!("next try in {seconds} s"),
    }
}
