//! The panel of the selected device: what it is, what it measures, what it can be told, and what it was told.

use egui::{Align, Layout, Rect, RichText, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use serde_json::Value as Json;

use crate::action::Action;
use crate::format;
use crate::model::commands::{changed_at, issued_at};
use crate::model::devices::metric_label;
use crate::model::{Device, Model, Status, outcome};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::devices::{DraggedSeries, paint_value};
use crate::views::widgets::{self, Icon};
use crate::views::{form, ledger};

/// Most commands of the past that are drawn. Chosen: more are asked for with a button.
const RECENT_MAX: usize = 200;

/// Draws the panel.
pub fn device(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(device) = model.selected_device() else {
        gone(ui, model, actions);
        return;
    };
    header(ui, model, device, actions);
    ui.add_space(8.0);
    let area = egui::ScrollArea::vertical().auto_shrink(false).id_salt("device");
    widgets::scrolled(ui, area, |ui| {
        metrics(ui, model, device, actions);
        ui.add_space(16.0);
        commands(ui, model, device, actions);
        ui.add_space(16.0);
        ledger::ledger(ui, model, actions);
        ui.add_space(16.0);
        recent(ui, model, device, actions);
        ui.add_space(12.0);
    });
}

fn gone(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let name = model.selection.as_ref().map(ToString::to_string).unwrap_or_default();
    ui.horizontal(|ui| {
        ui.label(RichText::new(name).font(fonts::semibold(14.0)).color(t.text));
        close(ui, actions);
    });
    let text = if !model.connection.is_connected() {
        "Not connected: what the hub knows of this device is shown when it is back."
    } else if model.devices.is_complete() {
        "The hub does not know this device. Choose another one in the list, or close this panel."
    } else {
        "Waiting for the list of devices…"
    };
    ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
}

fn close(ui: &mut Ui, actions: &mut Vec<Action>) {
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        if widgets::icon_button(ui, Icon::Cross, "Close the panel").clicked() {
            actions.push(Action::Select(None));
        }
    });
}

fn header(ui: &mut Ui, model: &Model, device: &Device, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let status = device.status(model.now());
    let info = &device.info;
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 22.0), Sense::hover());
        widgets::status_shape(ui, rect.center(), status, t);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, Icon::Cross, "Close the panel").clicked() {
                actions.push(Action::Select(None));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let text = RichText::new(info.id.as_str()).font(fonts::semibold(14.0)).color(t.text);
                ui.add(egui::Label::new(text).truncate());
            });
        });
    });
    let mut about: Vec<String> = Vec::new();
    about.extend(info.model.as_deref().map(|m| format::ellipsis(m, 40)));
    about.extend(info.firmware.as_deref().map(|f| format!("firmware {}", format::ellipsis(f, 24))));
    if !about.is_empty() {
        ui.label(RichText::new(about.join("  ·  ")).font(fonts::regular(12.0)).color(t.text_secondary));
    }
    if !info.tags.is_empty() {
        let tags: Vec<&str> = info.tags.iter().map(protocol::Tag::as_str).collect();
        let text = RichText::new(tags.join("  ")).font(fonts::mono(11.0)).color(t.text_weak);
        ui.add(egui::Label::new(text).truncate()).on_hover_text("Tags");
    }
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let on = model.shows_wire() && model.wire.as_ref().is_some_and(|wire| wire.device == info.id);
            let hint = "What its connection carries, frame by frame (W)";
            if widgets::chip(ui, "Wire", on).on_hover_text(hint).clicked() {
                actions.push(if on { Action::CloseWire } else { Action::OpenWire(info.id.clone()) });
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let text = RichText::new(presence(model, device, status)).font(fonts::regular(12.0));
                ui.add(egui::Label::new(text.color(t.text_weak)).wrap());
            });
        });
    });
}

fn presence(model: &Model, device: &Device, status: Status) -> String {
    let now = model.now();
    let at = |t| format::clock_or_date(t, now, &model.zone);
    match (device.info.connected, device.info.since) {
        (true, since) => {
            let state = match status {
                Status::Stale => "Connected but silent",
                Status::OutOfRange => "Connected, a reading is out of range",
                Status::Live | Status::Offline => "Connected",
            };
            since.map_or_else(|| state.to_owned(), |s| format!("{state}, since {}", at(s)))
        }
        (false, _) => match device.last_heard() {
            Some(heard) => {
                format!("Offline, last heard at {} ({})", at(heard), format::age(now.micros_since(heard)))
            }
            None => "Never connected".to_owned(),
        },
    }
}

fn metrics(ui: &mut Ui, model: &Model, device: &Device, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        widgets::caption(ui, "Metrics");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let numbers = device.info.metrics.iter().filter(|m| m.declaration.kind != protocol::Kind::Text);
            let all: Vec<_> = numbers.map(|m| m.series).collect();
            if all.len() > 1 && widgets::chip(ui, "Chart all", false).clicked() {
                for series in all {
                    actions.push(Action::AddChart { title: None, series: vec![series] });
                }
            }
        });
    });
    if device.info.metrics.is_empty() {
        let text = "None yet: a metric appears with its declaration or its first reading.";
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    for metric in &device.info.metrics {
        let label = metric_label(&metric.declaration);
        let size = vec2(ui.available_width(), 24.0);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Chart {label}")));
        if response.hovered() {
            let ground = rect.expand2(vec2(6.0, 0.0));
            ui.painter().rect_filled(ground, f32::from(tokens::RADIUS_CONTROL), t.hovered());
        }
        widgets::focus_ring(ui, &response, rect);
        let at = pos2(rect.left(), rect.center().y);
        let width =
            widgets::text_in(ui, at, rect.width() - 110.0, &label, fonts::regular(12.5), t.text_secondary);
        if response.hovered() {
            widgets::icon(ui, pos2(rect.left() + width + 14.0, rect.center().y), Icon::Plus, t.text_weak);
        }
        let latest = model.latest(metric.series);
        let row = Rect::from_min_max(rect.min, pos2(rect.right() + 12.0, rect.bottom()));
        let outside = model.devices.is_outside(metric.series);
        let color = if outside { t.warn } else { t.text };
        paint_value(ui, row, latest.as_ref().map(|(_, v)| v), metric.declaration.unit.as_deref(), color);
        response.dnd_set_drag_payload(DraggedSeries(vec![metric.series]));
        let range = match (metric.declaration.min, metric.declaration.max) {
            (Some(min), Some(max)) => {
                format!("\nPlausible from {} to {}", format::number(min), format::number(max))
            }
            _ => String::new(),
        };
        let hint = format!("Add a chart of {}{range}", metric.declaration.name);
        if response.on_hover_text(hint).clicked() {
            actions.push(Action::AddChart { title: None, series: vec![metric.series] });
        }
    }
}

fn commands(ui: &mut Ui, model: &Model, device: &Device, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 4.0;
    widgets::caption(ui, "Commands");
    if device.info.commands.is_empty() {
        ui.label(RichText::new("This device declares no commands.").color(t.text_weak));
    }
    if let Some(why) = model.connection.why_not_send() {
        ui.label(RichText::new(why).font(fonts::regular(12.0)).color(t.text_weak));
    } else if !device.info.connected {
        let text = "Offline: a command waits until the device is back, or until it expires.";
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
    }
    let open = model.form.as_ref().filter(|f| f.device.as_ref() == Some(&device.info.id));
    for declaration in &device.info.commands {
        let name = declaration.name.as_str();
        let is_open = open.is_some_and(|f| f.declaration.as_ref().is_some_and(|d| d.name.as_str() == name));
        let label = declaration.label.clone().unwrap_or_else(|| format::humanize(name));
        command_row(ui, &label, name, is_open, declaration.confirm, actions);
        if is_open && let Some(form) = open {
            form::form(ui, model, form, actions);
        }
    }
    let undeclared = open.filter(|f| f.declaration.is_none());
    form::undeclared_row(ui, undeclared.is_some(), actions);
    if let Some(form) = undeclared {
        form::form(ui, model, form, actions);
    }
}

fn command_row(ui: &mut Ui, label: &str, name: &str, open: bool, dangerous: bool, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 28.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, open, label));
    let fill = if response.hovered() { t.control_hover() } else { t.control };
    ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), fill);
    widgets::focus_ring(ui, &response, rect);
    let picture = if open { Icon::Down } else { Icon::Right };
    widgets::icon(ui, pos2(rect.left() + 13.0, rect.center().y), picture, t.text_weak);
    let at = pos2(rect.left() + 26.0, rect.center().y);
    let width = widgets::text_in(ui, at, rect.width() - 60.0, label, fonts::medium(12.5), t.text);
    if dangerous {
        let at = pos2(rect.left() + 26.0 + width + 8.0, rect.center().y);
        widgets::text_in(ui, at, 60.0, "asks first", fonts::regular(11.0), t.warn);
    }
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::OpenForm((!open).then(|| name.to_owned())));
    }
}

fn recent(ui: &mut Ui, model: &Model, device: &Device, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.spacing_mut().item_spacing.y = 4.0;
    widgets::caption(ui, "Recent commands");
    let mut any = false;
    for command in model.commands.of_device(&device.info.id).take(RECENT_MAX) {
        any = true;
        recent_row(ui, model, command, actions);
    }
    if any {
        if widgets::chip(ui, "Load older", false).clicked() {
            actions.push(Action::LoadOlderCommands);
        }
    } else {
        let text = if !model.connection.is_connected() {
            "Not connected: they are loaded when the hub is back."
        } else if model.is_asking_commands() {
            "Loading…"
        } else {
            "None yet. What is sent with the commands above stands here, with what became of it."
        };
        ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
    }
}

fn recent_row(ui: &mut Ui, model: &Model, command: &CommandInfo, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let label = model.command_label(&command.device, command.name.as_str());
    let may_cancel = model.connection.may_send() && !command.state.is_final();
    let response = egui::Frame::new()
        .fill(t.canvas)
        .stroke(egui::Stroke::new(1.0, t.line))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin { left: 26, right: 8, top: 5, bottom: 6 })
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(6.0, 2.0);
            let shape_at = ui.min_rect().left_top() + vec2(-13.0, 9.0);
            widgets::command_shape(ui, shape_at, command.state, t);
            ui.horizontal(|ui| {
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let at = format::clock_or_date(issued_at(command), model.now(), &model.zone);
                    ui.label(RichText::new(at).font(fonts::mono(11.0)).color(t.text_weak));
                    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                        let title = RichText::new(format!("{label}  {}", arguments(command, model)));
                        ui.add(egui::Label::new(title.font(fonts::regular(12.5)).color(t.text)).truncate());
                    });
                });
            });
            if let Some(progress) = command.progress.filter(|_| !command.state.is_final()) {
                progress_bar(ui, progress as f32, &label);
            }
            ui.horizontal(|ui| {
                ui.label(
                    RichText::new(state_line(command, model))
                        .font(fonts::regular(11.5))
                        .color(widgets::command_color(t, command.state)),
                );
                if may_cancel {
                    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                        if widgets::plain_button(ui, "Cancel")
                            .on_hover_text(format!("Take {label} back"))
                            .clicked()
                        {
                            actions.push(Action::CancelCommand(command.id.clone()));
                        }
                    });
                }
            });
            let connected = model.devices.get(&command.device).is_some_and(|d| d.info.connected);
            if let Some(error) = outcome::meaning(command, connected).as_ref().or(command.error.as_ref()) {
                let text = RichText::new(format::ellipsis(error, 300)).font(fonts::regular(11.5));
                ui.add(egui::Label::new(text.color(t.text_secondary)).wrap());
            }
            if let Some(result) = command.result.as_ref().and_then(result_text) {
                let text = RichText::new(format::ellipsis(&result, 300)).font(fonts::mono(11.0));
                ui.add(egui::Label::new(text.color(t.text_secondary)).wrap());
            }
            ui.take_available_width();
        })
        .response;
    response_of(ui, &response, command, &label, actions);
}

/// A click anywhere else than on its button opens the life of the command.
fn response_of(ui: &Ui, row: &egui::Response, command: &CommandInfo, label: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    // The button at the right end keeps its clicks.
    let mut rect = row.rect;
    rect.max.x -= if command.state.is_final() { 0.0 } else { 76.0 };
    let response = ui.interact(rect, row.id.with(command.id.as_str()), Sense::click());
    response
        .widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Life of {label} {}", command.id)));
    if response.hovered() || response.has_focus() {
        let stroke = egui::Stroke::new(1.0, t.accent);
        let radius = f32::from(tokens::RADIUS_CONTROL);
        ui.painter().rect_stroke(row.rect, radius, stroke, egui::StrokeKind::Inside);
    }
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        actions.push(Action::ShowCommand(Some(command.id.clone())));
    }
}

/// How far a command has come.
pub fn progress_bar(ui: &mut Ui, progress: f32, label: &str) {
    let t = Tokens::of(ui);
    let progress = if progress.is_finite() { progress.clamp(0.0, 1.0) } else { 0.0 };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 6.0), Sense::hover());
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, format!("Progress of {label}"));
        info.value = Some(f64::from(progress));
        info
    });
    ui.painter().rect_filled(rect, 2.0, t.control);
    let done = Rect::from_min_size(rect.min, vec2(rect.width() * progress, rect.height()));
    ui.painter().rect_filled(done, 2.0, t.accent);
}

/// Where a command is, in a line.
pub fn state_line(command: &CommandInfo, model: &Model) -> String {
    let took = changed_at(command).micros_since(issued_at(command));
    match command.state {
        CommandState::Queued if model.devices.get(&command.device).is_none_or(|d| !d.info.connected) => {
            "waiting for the device".to_owned()
        }
        CommandState::Expired => "expired before it was delivered".to_owned(),
        CommandState::Running => match command.progress.filter(|p| p.is_finite()) {
            Some(progress) => format!("running, {:.0} %", progress.clamp(0.0, 1.0) * 100.0),
            None => "running".to_owned(),
        },
        CommandState::Unresolved => outcome::label(command.state).to_owned(),
        state if state.is_final() => format!("{} after {}", outcome::label(state), format::duration(took)),
        state => outcome::label(state).to_owned(),
    }
}

/// The arguments in one line, in the order of the form: `21.5 °C, eco`. Switches that are off are left out.
pub fn arguments(command: &CommandInfo, model: &Model) -> String {
    let declared = model
        .devices
        .get(&command.device)
        .and_then(|d| d.info.commands.iter().find(|c| c.name == command.name))
        .map_or(&[][..], |c| c.params.as_slice());
    let place = |name: &str| declared.iter().position(|p| p.name.as_str() == name).unwrap_or(usize::MAX);
    let mut args: Vec<_> = command.args.iter().filter(|(_, value)| **value != Json::Bool(false)).collect();
    args.sort_by_key(|(name, _)| place(name));
    let values: Vec<String> = args
        .into_iter()
        .map(|(name, value)| {
            let unit = declared.get(place(name)).and_then(|p| p.unit.as_deref());
            format::with_unit(argument(name, value), unit)
        })
        .collect();
    format::ellipsis(&values.join(", "), 60)
}

fn argument(name: &str, value: &Json) -> String {
    match value {
        Json::Number(n) => n.as_f64().map(format::number).unwrap_or_default(),
        Json::Bool(true) => format::humanize(name).to_lowercase(),
        Json::Bool(false) => format!("{} off", format::humanize(name).to_lowercase()),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn result_text(result: &Json) -> Option<String> {
    match result {
        Json::Null => None,
        Json::Object(map) if map.is_empty() => None,
        Json::Object(map) => {
            Some(map.iter().map(|(k, v)| format!("{k} {}", argument(k, v))).collect::<Vec<_>>().join("  "))
        }
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
