//! What stands in the middle when there is nothing to draw: what that means, and what to do.

use egui::{RichText, Ui};

use crate::action::Action;
use crate::format;
use crate::model::{Link, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::banner::countdown;
use crate::views::widgets;

/// Draws it.
pub fn empty(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let address = &model.connection.address;
    let size = ui.available_size();
    ui.vertical_centered(|ui| {
        ui.set_min_size(size);
        ui.add_space((size.y * 0.32).max(24.0));
        ui.spacing_mut().item_spacing.y = 8.0;
        match &model.connection.link {
            Link::Connecting { .. } if !model.connection.was_connected() => {
                title(ui, &format!("Connecting to {address}"));
                if let Some(why) = &model.connection.why {
                    text(ui, &format!("The last attempt failed: {why}"));
                }
                text(ui, "The hub takes the readings in and keeps them. This window shows them.");
            }
            Link::Waiting { reason, retry_at } if model.devices.is_empty() => {
                title(ui, &format!("No hub at {address}"));
                text(ui, &format::sentence(reason));
                text(ui, "Start one, and this window connects by itself:");
                command_line(ui, "hub serve", actions);
                let wait = countdown(retry_at.micros_since(model.local_now()));
                ui.add_space(4.0);
                try_now(ui, Some(&wait), actions);
                other_hub(ui, actions);
            }
            Link::Stopped { reason } if model.devices.is_empty() => {
                title(ui, &format!("Cannot connect to {address}"));
                text(ui, &format::sentence(reason));
                ui.add_space(4.0);
                try_now(ui, None, actions);
                other_hub(ui, actions);
            }
            _ if model.devices.is_empty() && !model.devices.is_complete() => {
                title(ui, "Connected");
                text(ui, "Waiting for the list of devices.");
            }
            _ if model.devices.is_empty() => {
                title(ui, "Waiting for the first device");
                text(ui, "The hub is there and has no devices yet. Simulate some:");
                command_line(ui, &format!("device-sim run --hub ws://{address} --devices 12"), actions);
            }
            _ => {
                title(ui, "No charts");
                text(ui, "Double-click a device, drag one here, or begin with a layout made from what the fleet declares.");
                ui.add_space(4.0);
                if widgets::accent_button(ui, "Make a layout").clicked() {
                    actions.push(Action::ResetLayout);
                }
            }
        }
    });
}

fn title(ui: &mut Ui, what: &str) {
    let t = Tokens::of(ui);
    ui.label(RichText::new(what).font(fonts::semibold(18.0)).color(t.text));
}

fn text(ui: &mut Ui, what: &str) {
    let t = Tokens::of(ui);
    ui.scope(|ui| {
        ui.set_max_width(560.0);
        ui.add(egui::Label::new(RichText::new(what).color(t.text_secondary)).wrap());
    });
}

/// A line for a terminal, with a button that copies it.
pub fn command_line(ui: &mut Ui, line: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let font = fonts::mono(12.5);
    let galley = ui.painter().layout_no_wrap(line.to_owned(), font, t.text);
    let size = egui::vec2(galley.size().x + 90.0, 32.0);
    let (rect, _) = ui.allocate_exact_size(size, egui::Sense::hover());
    ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), t.panel);
    let stroke = egui::Stroke::new(1.0, t.line);
    ui.painter().rect_stroke(rect, f32::from(tokens::RADIUS_CONTROL), stroke, egui::StrokeKind::Inside);
    let at = egui::pos2(rect.left() + 12.0, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, t.text);
    let right = egui::Rect::from_min_max(
        egui::pos2(rect.right() - 60.0, rect.top() + 5.0),
        rect.max - egui::vec2(6.0, 5.0),
    );
    let mut child = ui.new_child(egui::UiBuilder::new().max_rect(right));
    if widgets::plain_button(&mut child, "Copy").clicked() {
        actions.push(Action::Copy(line.to_owned()));
    }
}

fn other_hub(ui: &mut Ui, actions: &mut Vec<Action>) {
    if widgets::link(ui, "Connect to another hub…").clicked() {
        actions.push(Action::ToggleHubs);
    }
}

fn try_now(ui: &mut Ui, wait: Option<&str>, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    if widgets::plain_button(ui, "Try now").clicked() {
        actions.push(Action::ReconnectNow);
    }
    if let Some(wait) = wait {
        ui.label(RichText::new(wait).font(fonts::mono(12.0)).color(t.text_weak));
    }
}
