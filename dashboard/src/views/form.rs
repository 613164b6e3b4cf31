//! The form of a command, built from its declaration: a control for each kind, with its own mistake beside it.

use egui::{RichText, Ui, vec2};
use protocol::command::Delivery;
use protocol::declare::ParamDeclaration;
use protocol::{Kind, limits};
use serde_json::Value as Json;

use crate::action::Action;
use crate::format;
use crate::model::form::{Field, FormProblem, json_number};
use crate::model::{Form, FormStage, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Most choices that are shown side by side, if there is room; more are a list.
const SEGMENTS_MAX: usize = 5;
/// Width of a field for a number beside its slider.
const NUMBER_WIDTH: f32 = 74.0;
/// Lifetimes that can be chosen with one click.
const LIFETIMES: [&str; 4] = ["30 s", "5 min", "1 h", "1 d"];

/// Draws the form.
pub fn form(ui: &mut Ui, model: &Model, form: &Form, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let problems = model.form_problems();
    let edge = if form.declaration.is_some() { t.line } else { tokens::mix(t.line, t.warn, 0.5) };
    egui::Frame::new()
        .stroke(egui::Stroke::new(1.0, edge))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::same(10))
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(8.0, 4.0);
            fields(ui, form, &problems, actions);
            if let Some(refused) = &form.refused {
                error_text(ui, refused);
            }
            ui.add_space(2.0);
            send_row(ui, model, form, &problems, actions);
            ui.take_available_width();
        });
    let sends = |i: &egui::InputState| {
        // Not while the key is held down: that would send again and again.
        i.events.iter().any(|e| {
            matches!(e, egui::Event::Key { key: egui::Key::Enter, pressed: true, repeat: false, modifiers, .. }
                if modifiers.command)
        })
    };
    if form.stage == FormStage::Editing && ui.input(sends) {
        actions.push(Action::Submit);
    }
}

/// Draws its fields: the parameters, or name and raw arguments; and how it is delivered.
pub fn fields(ui: &mut Ui, form: &Form, problems: &[FormProblem], actions: &mut Vec<Action>) {
    match &form.declaration {
        Some(declaration) => {
            for param in &declaration.params {
                parameter(ui, form, param, actions);
                problem_at(ui, problems, &Field::Param(param.name.as_str().to_owned()));
                ui.add_space(8.0);
            }
        }
        None => undeclared(ui, form, problems, actions),
    }
    advanced(ui, form, problems, actions);
}

/// Says what is wrong at a field; not that nothing was typed yet.
fn problem_at(ui: &mut Ui, problems: &[FormProblem], field: &Field) {
    if let Some(problem) = problems.iter().find(|p| p.field == *field && !p.missing) {
        error_text(ui, &problem.text);
    }
}

pub(super) fn error_text(ui: &mut Ui, text: &str) {
    let t = Tokens::of(ui);
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.error)).wrap());
}

pub(super) fn weak_text(ui: &mut Ui, text: &str) {
    let t = Tokens::of(ui);
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak)).wrap());
}

fn send_row(ui: &mut Ui, model: &Model, form: &Form, problems: &[FormProblem], actions: &mut Vec<Action>) {
    let busy = matches!(form.stage, FormStage::Sending(_) | FormStage::InDoubt(_));
    let text = match (&form.stage, form.declaration.is_none(), form.asks_first()) {
        (FormStage::Sending(_), ..) => "Sending…",
        (FormStage::InDoubt(_), ..) => "Looking it up…",
        (_, true, _) => "Send unchecked…",
        (_, false, true) => "Send…",
        (_, false, false) => "Send",
    };
    let note = if let Some(why) = model.connection.why_not_send() {
        Some(why.to_owned())
    } else if let Some(missing) = problems.iter().find(|p| p.missing) {
        Some(match &missing.field {
            Field::Param(name) => format!("{} {}", format::humanize(name), missing.text),
            _ => "The command needs a name".to_owned(),
        })
    } else if !problems.is_empty() {
        Some("See above what is wrong".to_owned())
    } else {
        let timeout = form.declaration.as_ref().and_then(|d| d.timeout).filter(|s| s.is_finite());
        timeout.map(|s| format!("takes up to {}", format::duration((s * 1e6) as i64)))
    };
    ui.horizontal(|ui| {
        let enabled = !busy && problems.is_empty() && model.connection.may_send();
        ui.add_enabled_ui(enabled, |ui| {
            if widgets::accent_button(ui, text).on_hover_text("Ctrl+Enter").clicked() {
                actions.push(Action::Submit);
            }
        });
        if let Some(note) = note.filter(|_| !busy) {
            weak_text(ui, &note);
        }
    });
    if matches!(form.stage, FormStage::InDoubt(_)) {
        let t = Tokens::of(ui);
        let text = "The connection was lost before the hub answered. Whether it has the command is looked up as soon \
                    as the hub is back.";
        ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.warn)).wrap());
    }
}

/// The label of a parameter, what it takes, and at the right end the way back.
pub(super) fn heading(ui: &mut Ui, label: &str, hint: &str, reset: Option<&str>) -> bool {
    let t = Tokens::of(ui);
    let mut clicked = false;
    ui.horizontal(|ui| {
        ui.label(RichText::new(label).font(fonts::regular(12.5)).color(t.text_secondary));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if let Some(reset) = reset {
                clicked = widgets::link(ui, reset).clicked();
            }
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                let text = RichText::new(hint).font(fonts::regular(11.5)).color(t.text_weak);
                ui.add(egui::Label::new(text).truncate());
            });
        });
    });
    clicked
}

fn parameter(ui: &mut Ui, form: &Form, param: &ParamDeclaration, actions: &mut Vec<Action>) {
    let name = param.name.as_str();
    let label = format::humanize(name);
    let value = form.args.get(name);
    let optional = !param.required && param.default.is_none();
    let mut hints: Vec<String> = Vec::new();
    hints.extend(Some(range(param)).filter(|r| !r.is_empty()));
    match &param.default {
        Some(default) => hints.push(format!("default {}", shown(param, default))),
        None if optional => hints.push("optional".to_owned()),
        None => hints.push("required".to_owned()),
    }
    let reset = match &param.default {
        Some(default) if value != Some(default) => Some((format!("Reset {label}"), Some(default.clone()))),
        None if optional && value.is_some() => Some((format!("Leave out {label}"), None)),
        _ => None,
    };
    let set = |value: Option<Json>| Action::SetArg { name: name.to_owned(), value };
    if param.kind == Kind::Bool && !optional {
        let mut on = value.and_then(Json::as_bool).unwrap_or(false);
        ui.horizontal(|ui| {
            if widgets::switch(ui, &label, &mut on).changed() {
                actions.push(set(Some(Json::Bool(on))));
            }
            heading(ui, &label, &hints.join(" · "), None);
        });
        return;
    }
    let reset_label = reset.as_ref().map(|(text, _)| text.as_str());
    if heading(ui, &label, &hints.join(" · "), reset_label)
        && let Some((_, value)) = reset.clone()
    {
        actions.push(set(value));
    }
    match param.kind {
        Kind::Bool => {
            let chosen = value.and_then(Json::as_bool).map(usize::from);
            if let Some(on) = widgets::segmented(ui, &label, &["Off", "On"], chosen) {
                actions.push(set(Some(Json::Bool(on == 1))));
            }
        }
        Kind::Number => number(ui, form, param, &label, actions),
        Kind::Text if !param.choices.is_empty() => {
            let chosen = param.choices.iter().position(|c| value.and_then(Json::as_str) == Some(c));
            if let Some(index) = choices(ui, param, &label, chosen) {
                actions.push(set(param.choices.get(index).cloned().map(Json::String)));
            }
        }
        Kind::Text => {
            let field = Field::Param(name.to_owned());
            text_field(ui, form, &field, &label, "", f32::INFINITY, actions);
        }
    }
    if optional && value.is_none() {
        weak_text(ui, "Left out: the device decides.");
    }
}

/// A value as it is said in words, with its unit.
pub(super) fn shown(param: &ParamDeclaration, value: &Json) -> String {
    let text = match value {
        Json::Number(n) => n.as_f64().map_or_else(|| n.to_string(), plain),
        Json::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    format::with_unit(format::ellipsis(&text, 40), param.unit.as_deref())
}

/// The range and the unit of a number: `5 to 30 °C`.
fn range(param: &ParamDeclaration) -> String {
    if param.kind != Kind::Number {
        return String::new();
    }
    let unit = param.unit.as_deref();
    match (param.min, param.max) {
        (Some(min), Some(max)) => format::with_unit(format!("{} to {}", plain(min), plain(max)), unit),
        (Some(min), None) => format!("from {}", format::with_unit(plain(min), unit)),
        (None, Some(max)) => format!("up to {}", format::with_unit(plain(max), unit)),
        (None, None) => unit.map(format::unit).unwrap_or_default().to_owned(),
    }
}

/// A number as it was declared, without decimals made up.
fn plain(n: f64) -> String {
    format!("{n}").replace('-', "−")
}

fn text_field(
    ui: &mut Ui,
    form: &Form,
    field: &Field,
    label: &str,
    hint: &str,
    width: f32,
    actions: &mut Vec<Action>,
) -> egui::Response {
    let t = Tokens::of(ui);
    let mut text = form.text(field);
    let max =
        if *field == Field::Args { limits::COMMAND_PAYLOAD_MAX_BYTES } else { limits::TEXT_VALUE_MAX_BYTES };
    let edit = if *field == Field::Args {
        egui::TextEdit::multiline(&mut text).desired_rows(3).code_editor()
    } else {
        egui::TextEdit::singleline(&mut text)
    };
    let mono = !matches!(field, Field::Param(name) if is_text(form, name));
    let edit = edit
        .font(if mono { fonts::mono(12.5) } else { fonts::regular(12.5) })
        .hint_text(RichText::new(hint).color(t.text_weak))
        .char_limit(max)
        .margin(egui::Margin::symmetric(7, 4))
        .desired_width(width);
    let response = ui.add(edit).accessible_name(label);
    if form.problem(field).is_some_and(|p| !p.missing) {
        let stroke = egui::Stroke::new(1.0, t.error);
        let radius = f32::from(tokens::RADIUS_CONTROL);
        ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
    } else if !response.has_focus() {
        let stroke = egui::Stroke::new(1.0, t.line);
        let radius = f32::from(tokens::RADIUS_CONTROL);
        ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
    }
    if response.changed() {
        actions.push(Action::TypeText { field: field.clone(), text });
    }
    response
}

fn is_text(form: &Form, name: &str) -> bool {
    let declared = form.declaration.as_ref();
    declared.is_some_and(|d| d.params.iter().any(|p| p.name.as_str() == name && p.kind == Kind::Text))
}

/// A field for the number, and a slider beside it where both bounds are known.
fn number(ui: &mut Ui, form: &Form, param: &ParamDeclaration, label: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let name = param.name.as_str();
    let field = Field::Param(name.to_owned());
    let value = form.args.get(name).and_then(Json::as_f64);
    let unit = param.unit.as_deref().map(format::unit).unwrap_or_default();
    let bounds = match (param.min, param.max) {
        (Some(low), Some(high)) if low < high && low.is_finite() && high.is_finite() => Some((low, high)),
        _ => None,
    };
    let step = bounds.map_or(1.0, |(low, high)| 10f64.powf(((high - low) / 200.0).log10().ceil()));
    ui.horizontal(|ui| {
        if let Some((low, high)) = bounds {
            let unit_width = if unit.is_empty() { 0.0 } else { 30.0 };
            ui.spacing_mut().slider_width =
                (ui.available_width() - NUMBER_WIDTH - 30.0 - unit_width).max(60.0);
            slider_look(ui, value.is_some());
            let mut at = value.unwrap_or(low).clamp(low, high);
            let slider = egui::Slider::new(&mut at, low..=high).step_by(step).show_value(false);
            let slid = ui.name_inputs(format!("{label} slider"), |ui| ui.add(slider));
            if slid.changed() {
                // Steps are powers of ten: what is left of 0.1 + 0.2 is cut off.
                let tidy = (at / step).round() * step;
                let tidy = format!("{tidy:.9}").parse().unwrap_or(at).clamp(low, high);
                actions.push(Action::SetArg { name: name.to_owned(), value: json_number(tidy) });
            }
        }
        let width = if bounds.is_some() { NUMBER_WIDTH } else { 2.0 * NUMBER_WIDTH };
        let response = text_field(ui, form, &field, label, "", width, actions);
        if response.has_focus() {
            let steps = ui.input(|i| {
                f64::from(u8::from(i.key_pressed(egui::Key::ArrowUp)))
                    - f64::from(u8::from(i.key_pressed(egui::Key::ArrowDown)))
            });
            if steps != 0.0 {
                let (low, high) =
                    (param.min.unwrap_or(f64::NEG_INFINITY), param.max.unwrap_or(f64::INFINITY));
                let next = format!("{:.9}", value.unwrap_or(0.0) + steps * step).parse().unwrap_or(0.0_f64);
                let next = if low <= high { next.clamp(low, high) } else { next };
                actions.push(Action::SetArg { name: name.to_owned(), value: json_number(next) });
            }
        }
        if !unit.is_empty() {
            ui.label(RichText::new(unit).font(fonts::regular(12.0)).color(t.text_secondary));
        }
    });
}

/// A filled rail and a round handle in the colour of the accent; grey while nothing is set.
fn slider_look(ui: &mut Ui, set: bool) {
    let t = Tokens::of(ui);
    let visuals = ui.visuals_mut();
    visuals.handle_shape = egui::style::HandleShape::Circle;
    visuals.selection.bg_fill = if set { t.accent } else { t.control };
    ui.spacing_mut().slider_rail_height = 4.0;
}

/// A few choices stand side by side, many are a list. Returns the one that was clicked.
fn choices(ui: &mut Ui, param: &ParamDeclaration, label: &str, chosen: Option<usize>) -> Option<usize> {
    let names: Vec<&str> = param.choices.iter().map(String::as_str).collect();
    if names.len() <= SEGMENTS_MAX && widgets::segments_fit(ui, &names) {
        return widgets::segmented(ui, label, &names, chosen);
    }
    let mut clicked = None;
    ui.name_inputs(label, |ui| {
        egui::ComboBox::from_id_salt(param.name.as_str())
            .width(ui.available_width())
            .selected_text(chosen.and_then(|c| names.get(c)).map_or("Choose…", |name| name))
            .show_ui(ui, |ui| {
                for (index, name) in names.iter().enumerate() {
                    if ui.selectable_label(chosen == Some(index), *name).clicked() {
                        clicked = Some(index);
                    }
                }
            });
    });
    clicked
}

/// Name and raw arguments of a command that the device did not declare, clearly marked.
fn undeclared(ui: &mut Ui, form: &Form, problems: &[FormProblem], actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let text = "The device has not declared this command. It is sent as it stands: neither this window nor the hub \
                checks it, and the device may refuse it.";
    egui::Frame::new()
        .fill(t.tint(t.warn))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::symmetric(8, 6))
        .show(ui, |ui| {
            ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.text)).wrap());
        });
    ui.add_space(6.0);
    heading(ui, "Name", "required", None);
    text_field(
        ui,
        form,
        &Field::Name,
        "Name of the command",
        "as the device knows it",
        f32::INFINITY,
        actions,
    );
    problem_at(ui, problems, &Field::Name);
    ui.add_space(8.0);
    heading(ui, "Arguments", "JSON, may be left out", None);
    text_field(ui, form, &Field::Args, "Arguments as JSON", "{\"speed\": 12}", f32::INFINITY, actions);
    problem_at(ui, problems, &Field::Args);
    ui.add_space(8.0);
}

/// What few need: how long the command may wait, and for what.
fn advanced(ui: &mut Ui, form: &Form, problems: &[FormProblem], actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let wrong = problems.iter().any(|p| p.field == Field::Lifetime);
    let open = form.unfolded || wrong;
    let summary = match form.lifetime() {
        Ok(millis) => {
            format!("within {}, {}", format::lifetime(millis), delivery_name(form.delivery()).to_lowercase())
        }
        Err(_) => String::new(),
    };
    if widgets::fold(ui, "Delivery", &summary, open).clicked() {
        actions.push(Action::ToggleAdvanced);
    }
    if !open {
        ui.add_space(4.0);
        return;
    }
    ui.indent("advanced", |ui| {
        ui.label(
            RichText::new("Waits for delivery at most").font(fonts::regular(12.0)).color(t.text_secondary),
        );
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 2.0;
            text_field(ui, form, &Field::Lifetime, "Lifetime", "5 min", 58.0, actions);
            ui.add_space(4.0);
            let now = form.lifetime().ok();
            for preset in LIFETIMES {
                if widgets::chip(ui, preset, now.is_some() && now == format::parse_duration(preset)).clicked()
                {
                    actions.push(Action::TypeText { field: Field::Lifetime, text: preset.to_owned() });
                }
            }
        });
        problem_at(ui, problems, &Field::Lifetime);
        weak_text(ui, "After that it expires, and is never delivered.");
        ui.add_space(6.0);
        ui.label(RichText::new("Handed over").font(fonts::regular(12.0)).color(t.text_secondary));
        for way in Delivery::ALL {
            let mut name = delivery_name(way).to_owned();
            if way == form.declared_delivery() && form.declaration.is_some() {
                name.push_str(" (as declared)");
            }
            if ui.radio(form.delivery() == way, name).on_hover_text(delivery_meaning(way)).clicked() {
                actions.push(Action::SetDelivery(way));
            }
        }
        weak_text(ui, delivery_meaning(form.delivery()));
    });
    ui.add_space(6.0);
}

/// A way of delivery in a word or two.
pub const fn delivery_name(way: Delivery) -> &'static str {
    match way {
        Delivery::AtOnce => "At once",
        Delivery::AfterReceived => "After received",
        Delivery::AfterFinished => "After finished",
    }
}

const fn delivery_meaning(way: Delivery) -> &'static str {
    match way {
        Delivery::AtOnce => "Without waiting for what the device was told before.",
        Delivery::AfterReceived => "When the device has confirmed that it has the commands before this one.",
        Delivery::AfterFinished => "When the commands before this one have ended.",
    }
}

/// Draws the row that opens the form of an undeclared command.
pub fn undeclared_row(ui: &mut Ui, open: bool, actions: &mut Vec<Action>) {
    if widgets::fold(ui, "Undeclared command", "not checked", open).clicked() {
        actions.push(if open { Action::OpenForm(None) } else { Action::OpenUndeclared });
    }
}

/// Draws the question before a command that a person should mean.
///
/// The keyboard begins on the way out, so that Enter sends nothing by accident.
pub fn confirmation(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = model.form.as_ref().filter(|f| f.stage == FormStage::Confirming) else { return };
    let (Some(request), Some(device)) = (form.request(0), &form.device) else { return };
    let t = Tokens::of(ui);
    let name = form.name();
    let label = if form.declaration.is_some() { model.command_label(device, &name) } else { name.clone() };
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("confirmation")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(380.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.spacing_mut().item_spacing.y = 8.0;
        let title = format!("{label} {device}?");
        ui.label(RichText::new(title).font(fonts::semibold(15.0)).color(t.text));
        let mut rows = vec![("Device".to_owned(), device.to_string()), ("Command".to_owned(), name.clone())];
        for (argument, value) in &request.args {
            let param =
                form.declaration.as_ref().and_then(|d| d.params.iter().find(|p| p.name.as_str() == argument));
            let text = match param {
                Some(param) => shown(param, value),
                None => format::ellipsis(&value.to_string(), 80),
            };
            rows.push((format::humanize(argument), text));
        }
        if let Ok(millis) = form.lifetime() {
            let way = delivery_name(form.delivery()).to_lowercase();
            rows.push(("Delivery".to_owned(), format!("within {}, {way}", format::lifetime(millis))));
        }
        widgets::facts(ui, "confirmation facts", &rows);
        if form.declaration.is_none() {
            error_text(
                ui,
                "The device has not declared this command: nobody checks it before the device does.",
            );
        } else {
            ui.label(
                RichText::new("The device asks that a person confirms this command.").color(t.text_secondary),
            );
        }
        if model.devices.get(device).is_some_and(|d| !d.info.connected) {
            let text =
                "The device is offline now: it gets the command when it is back, unless that expires before.";
            ui.add(egui::Label::new(RichText::new(text).color(t.warn)).wrap());
        }
        ui.add_space(6.0);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let send = widgets::danger_button(ui, "Send now");
            let leave = widgets::plain_button(ui, "Do not send");
            if send.clicked() {
                actions.push(Action::Confirm);
            }
            if leave.clicked() {
                actions.push(Action::Dismiss);
            }
            if !send.has_focus() && !leave.has_focus() {
                leave.request_focus();
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::Dismiss);
    }
}
