//! The life of one command: every state with its time to the millisecond, who caused it, what was asked and what it gave.

use egui::{Align, Layout, RichText, Sense, Ui, vec2};
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use serde_json::Value as Json;

use crate::action::Action;
use crate::format;
use crate::model::commands::{changed_at, ended_at, issued_at};
use crate::model::{Model, outcome};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets::{self, Icon};
use crate::views::{device, form};

/// Longest result that is shown, in characters; all of it can be copied.
const RESULT_MAX: usize = 6_000;
/// Most transitions that are shown. A command has eleven states at most; a hub that tells more is not believed.
const TRANSITIONS_MAX: usize = 16;

/// Draws the life of the command that is shown.
pub fn command(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let Some(command) = model.detail.as_ref().and_then(|id| model.commands.get(id)) else {
        title(ui, None, "Command", actions);
        let text = if !model.connection.is_connected() {
            "Not connected: it is loaded when the hub is back."
        } else if model.is_asking_commands() {
            "Loading…"
        } else {
            "This command is not known here any more. `hub command show` may still have it."
        };
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
        return;
    };
    let label = model.command_label(&command.device, command.name.as_str());
    title(ui, Some(command.state), &label, actions);
    ui.horizontal(|ui| {
        if widgets::link(ui, command.device.as_str()).on_hover_text("Show this device").clicked() {
            actions.push(Action::Select(Some(command.device.clone())));
        }
        if let Some(group) = &command.group
            && widgets::link(ui, "part of a group").on_hover_text("Show the group").clicked()
        {
            actions.push(Action::ShowGroup(Some(group.clone())));
        }
    });
    ui.add_space(6.0);
    let id = ("command", command.id.as_str());
    let area = egui::ScrollArea::vertical().auto_shrink(false).id_salt(id);
    widgets::scrolled(ui, area, |ui| {
        ui.spacing_mut().item_spacing.y = 4.0;
        state(ui, model, command);
        ui.add_space(6.0);
        buttons(ui, model, command, actions);
        ui.add_space(12.0);
        life(ui, model, command);
        ui.add_space(12.0);
        arguments(ui, model, command);
        result(ui, command, actions);
        ui.add_space(12.0);
        about(ui, model, command);
        ui.add_space(12.0);
    });
}

fn title(ui: &mut Ui, state: Option<CommandState>, label: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(12.0, 22.0), Sense::hover());
        if let Some(state) = state {
            widgets::command_shape(ui, rect.center(), state, t);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close the command").clicked() {
                actions.push(Action::ShowCommand(None));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let text = RichText::new(label).font(fonts::semibold(14.0)).color(t.text);
                ui.add(egui::Label::new(text).truncate());
            });
        });
    });
}

/// Where it is, and what that means.
fn state(ui: &mut Ui, model: &Model, command: &CommandInfo) {
    let t = Tokens::of(ui);
    let color = widgets::command_color(t, command.state);
    egui::Frame::new()
        .fill(t.tint(color))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::symmetric(10, 7))
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 3.0;
            let line = device::state_line(command, model);
            let mut chars = line.chars();
            let line: String =
                chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default();
            ui.label(RichText::new(line).font(fonts::medium(13.0)).color(t.text));
            if let Some(progress) = command.progress.filter(|_| !command.state.is_final()) {
                device::progress_bar(ui, progress as f32, command.name.as_str());
            }
            let connected = model.devices.get(&command.device).is_some_and(|d| d.info.connected);
            let paragraph = |ui: &mut Ui, text: &str, color| {
                ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(color)).wrap());
            };
            if let Some(meaning) = outcome::meaning(command, connected) {
                paragraph(ui, &meaning, t.text_secondary);
            }
            if let Some(error) = &command.error {
                paragraph(ui, error, t.text);
            }
            if let Some(code) = &command.code {
                ui.label(
                    RichText::new(format!("code {code}")).font(fonts::mono(11.0)).color(t.text_secondary),
                );
            }
            if let Some(cancel) = &command.cancel {
                let from = cancel.address.as_deref().map(|a| format!(" from {a}")).unwrap_or_default();
                let text = format!(
                    "{}{from} asked at {} for it to be stopped. The device decides.",
                    cancel.by,
                    format::clock_millis(cancel.at, &model.zone)
                );
                paragraph(ui, &text, t.text_secondary);
            }
            ui.take_available_width();
        });
}

fn buttons(ui: &mut Ui, model: &Model, command: &CommandInfo, actions: &mut Vec<Action>) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(6.0, 6.0);
        if !command.state.is_final() {
            let (text, hint) = match (command.state, &command.cancel) {
                (CommandState::Queued, _) => ("Cancel", "It is not delivered then"),
                (_, None) => ("Ask to stop", "The device has it, or may have it: it decides"),
                (_, Some(_)) => ("Ask again to stop", "The device was asked already"),
            };
            ui.add_enabled_ui(model.connection.may_send(), |ui| {
                if widgets::danger_button(ui, text).on_hover_text(hint).clicked() {
                    actions.push(Action::CancelCommand(command.id.clone()));
                }
            });
        }
        let again = "Open its form with these arguments. Nothing is sent yet";
        if widgets::plain_button(ui, "Send again…").on_hover_text(again).clicked() {
            actions.push(Action::Repeat(command.id.clone()));
        }
        let charts = "Move the charts to the time of this command";
        if widgets::plain_button(ui, "Show in charts").on_hover_text(charts).clicked() {
            actions.push(Action::ShowInCharts(command.id.clone()));
        }
        if widgets::plain_button(ui, "Copy as JSON").clicked()
            && let Ok(text) = serde_json::to_string_pretty(command)
        {
            actions.push(Action::Copy(text));
        }
    });
}

/// Every state it went through, as a line with a dot for each.
fn life(ui: &mut Ui, model: &Model, command: &CommandInfo) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Life");
    ui.spacing_mut().item_spacing.y = 0.0;
    let count = command.transitions.len().min(TRANSITIONS_MAX);
    let mut before = None;
    for (i, transition) in command.transitions.iter().take(TRANSITIONS_MAX).enumerate() {
        let by = match &transition.address {
            Some(address) => format!("by {} from {address}", transition.by),
            None => format!("by {}", transition.by),
        };
        let at = format::clock_millis(transition.at, &model.zone);
        let since = before.map(|before| format!("+{}", format::precise(transition.at.micros_since(before))));
        before = Some(transition.at);
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 36.0), Sense::hover());
        let spoken = format!(
            "{} at {at} {} {by}",
            outcome::label(transition.state),
            since.as_deref().unwrap_or("first")
        );
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &spoken));
        let shape = egui::pos2(rect.left() + 8.0, rect.top() + 11.0);
        if i + 1 < count {
            let y = shape.y + 9.0..=shape.y + 27.0;
            ui.painter().vline(shape.x, y, egui::Stroke::new(1.0, t.line));
        }
        widgets::command_shape(ui, shape, transition.state, t);
        let left = rect.left() + 24.0;
        let name = outcome::label(transition.state);
        let first = egui::pos2(left, rect.top() + 10.0);
        widgets::text_in(ui, first, rect.width() * 0.4, name, fonts::medium(12.5), t.text);
        let right = |y: f32, text: &str, color| {
            let galley = ui.painter().layout_no_wrap(text.to_owned(), fonts::mono(11.5), color);
            ui.painter().galley(
                egui::pos2(rect.right() - galley.size().x, y - galley.size().y / 2.0),
                galley,
                color,
            );
        };
        right(rect.top() + 10.0, &at, t.text_secondary);
        let second = rect.top() + 25.0;
        let room = rect.width() - 24.0 - 84.0;
        widgets::text_in(ui, egui::pos2(left, second), room, &by, fonts::regular(11.5), t.text_weak);
        if let Some(since) = since {
            right(second, &since, t.text_weak);
        }
    }
    if ended_at(command).is_none() {
        let text = format!("open for {}", format::duration(model.now().micros_since(issued_at(command))));
        ui.label(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak));
    }
}

fn arguments(ui: &mut Ui, model: &Model, command: &CommandInfo) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Arguments");
    ui.spacing_mut().item_spacing.y = 4.0;
    if command.args.is_empty() {
        ui.label(RichText::new("None").font(fonts::regular(12.0)).color(t.text_weak));
        return;
    }
    let declared = model.declaration(&command.device, command.name.as_str());
    let rows: Vec<_> = command
        .args
        .iter()
        .map(|(name, value)| {
            let param = declared.and_then(|d| d.params.iter().find(|p| p.name.as_str() == name));
            let text = match value {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            };
            let unit = param.and_then(|p| p.unit.as_deref());
            (format::humanize(name), format::with_unit(format::ellipsis(&text, 400), unit))
        })
        .collect();
    widgets::facts(ui, "arguments", &rows);
}

fn result(ui: &mut Ui, command: &CommandInfo, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let Some(result) = &command.result else { return };
    let Ok(text) = serde_json::to_string_pretty(result) else { return };
    ui.add_space(12.0);
    ui.horizontal(|ui| {
        widgets::caption(ui, "Result");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::link(ui, "Copy the result").clicked() {
                actions.push(Action::Copy(text.clone()));
            }
        });
    });
    egui::Frame::new()
        .fill(t.canvas)
        .stroke(egui::Stroke::new(1.0, t.line))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::same(8))
        .show(ui, |ui| {
            let shown = RichText::new(format::ellipsis(&text, RESULT_MAX)).font(fonts::mono(11.5));
            ui.add(egui::Label::new(shown.color(t.text)).selectable(true).wrap());
            ui.take_available_width();
        });
}

fn about(ui: &mut Ui, model: &Model, command: &CommandInfo) {
    widgets::caption(ui, "About");
    let at = |at| format::full(at, &model.zone);
    let from = command.transitions.first().and_then(|t| t.address.as_deref());
    let by = from.map_or_else(|| command.issued_by.clone(), |a| format!("{} from {a}", command.issued_by));
    let mut rows = vec![
        ("Command".to_owned(), command.name.to_string()),
        ("Id".to_owned(), command.id.to_string()),
        ("Issued".to_owned(), at(issued_at(command))),
        ("By".to_owned(), by),
        ("Last change".to_owned(), at(changed_at(command))),
        ("Expires".to_owned(), at(command.expires_at)),
        ("Attempt".to_owned(), command.attempt.to_string()),
        ("Delivery".to_owned(), form::delivery_name(command.delivery).to_lowercase()),
        ("State".to_owned(), command.state.to_string()),
    ];
    if command.forced {
        rows.push(("Undeclared".to_owned(), "sent although the device had not declared it".to_owned()));
    }
    widgets::facts(ui, "about", &rows);
}
