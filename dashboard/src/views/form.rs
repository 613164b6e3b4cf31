//! The form of a command, built from its declaration: a control for each kind, checked before it is sent.

use egui::{RichText, Ui, vec2};
use protocol::declare::ParamDeclaration;
use protocol::{Kind, limits};
use serde_json::Value as Json;

use crate::action::Action;
use crate::format;
use crate::model::commands::FormProblem;
use crate::model::{Form, FormStage, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Most choices that are shown as buttons side by side; more are a list.
const CHIPS_MAX: usize = 4;

/// Draws the form.
pub fn form(ui: &mut Ui, model: &Model, form: &Form, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let problem = form.check().err();
    // What is missing is said only after the first try; what is wrong is said at once.
    let shown = problem.as_ref().filter(|p| form.tried || !is_missing(form, p));
    egui::Frame::new()
        .stroke(egui::Stroke::new(1.0, t.line))
        .corner_radius(tokens::RADIUS_CONTROL)
        .inner_margin(egui::Margin::same(10))
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing = vec2(8.0, 4.0);
            for param in &form.declaration.params {
                parameter(ui, form, param, actions);
                if let Some(problem) = shown.filter(|p| p.param.as_deref() == Some(param.name.as_str())) {
                    error_text(ui, &problem.text);
                }
                ui.add_space(6.0);
            }
            if let Some(problem) = shown.filter(|p| p.param.is_none()) {
                error_text(ui, &problem.text);
            }
            if let Some(refused) = &form.refused {
                error_text(ui, refused);
            }
            ui.horizontal(|ui| {
                send_button(ui, model, form, shown.is_some(), actions);
                if let Some(seconds) = form.declaration.timeout.filter(|s| s.is_finite()) {
                    let text = format!("takes up to {}", format::duration((seconds * 1e6) as i64));
                    ui.label(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak));
                }
            });
            ui.take_available_width();
        });
    if form.stage == FormStage::Editing
        && ui.input(|i| i.modifiers.command && i.key_pressed(egui::Key::Enter))
    {
        actions.push(Action::Submit);
    }
}

fn is_missing(form: &Form, problem: &FormProblem) -> bool {
    problem.param.as_deref().is_some_and(|name| !form.args.contains_key(name))
}

fn error_text(ui: &mut Ui, text: &str) {
    let t = Tokens::of(ui);
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(t.error)).wrap());
}

fn send_button(ui: &mut Ui, model: &Model, form: &Form, wrong: bool, actions: &mut Vec<Action>) {
    let sending = matches!(form.stage, FormStage::Sending(_));
    let text = match (sending, form.declaration.confirm) {
        (true, _) => "Sending…",
        (false, true) => "Send…",
        (false, false) => "Send",
    };
    let enabled = !sending && !wrong && model.connection.may_send();
    ui.add_enabled_ui(enabled, |ui| {
        let response = widgets::accent_button(ui, text).on_hover_text("Ctrl+Enter");
        if response.clicked() {
            actions.push(Action::Submit);
        }
    });
}

fn parameter(ui: &mut Ui, form: &Form, param: &ParamDeclaration, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let name = param.name.as_str();
    let label = format::humanize(name);
    let value = form.args.get(name);
    let optional = !param.required && param.default.is_none();
    let mut set = |value: Option<Json>| actions.push(Action::SetArg { name: name.to_owned(), value });

    if param.kind == Kind::Bool {
        let mut on = value.and_then(Json::as_bool).unwrap_or(false);
        if ui.checkbox(&mut on, &label).changed() {
            set(Some(Json::Bool(on)));
        }
        return;
    }
    ui.horizontal(|ui| {
        ui.label(RichText::new(&label).font(fonts::regular(12.5)).color(t.text_secondary));
        let mut hint = range(param);
        if optional {
            hint = if hint.is_empty() { "optional".into() } else { format!("{hint}, optional") };
        }
        ui.label(RichText::new(hint).font(fonts::regular(11.5)).color(t.text_weak));
        if optional && value.is_some() {
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if widgets::chip(ui, "Leave out", false).clicked() {
                    set(None);
                }
            });
        }
    });
    match param.kind {
        Kind::Number => number(ui, param, &label, value, &mut set),
        Kind::Text if !param.choices.is_empty() => choices(ui, param, &label, value, &mut set),
        Kind::Bool | Kind::Text => {
            let mut text = value.and_then(Json::as_str).unwrap_or_default().to_owned();
            let edit = egui::TextEdit::singleline(&mut text)
                .hint_text(RichText::new(&label).color(t.text_weak))
                .char_limit(limits::TEXT_VALUE_MAX_BYTES)
                .desired_width(f32::INFINITY);
            if ui.add(edit).changed() {
                set((!text.is_empty() || param.required).then_some(Json::String(text)));
            }
        }
    }
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

/// A bound as it was declared, without decimals made up.
fn plain(n: f64) -> String {
    format!("{n}").replace('-', "−")
}

fn number(
    ui: &mut Ui,
    param: &ParamDeclaration,
    label: &str,
    value: Option<&Json>,
    set: &mut impl FnMut(Option<Json>),
) {
    let (low, high) = (param.min.filter(|m| m.is_finite()), param.max.filter(|m| m.is_finite()));
    let start = low.map_or(0.0, |low| high.map_or(low, |high| f64::midpoint(low, high)));
    let mut n = value.and_then(Json::as_f64).unwrap_or(start);
    let unit = param.unit.as_deref().map(format::unit).filter(|u| !u.is_empty());
    let suffix = unit.map(|u| format!(" {u}")).unwrap_or_default();
    let before = n;
    let changed = ui
        .name_inputs(label, |ui| {
            ui.horizontal(|ui| {
                if let (Some(low), Some(high)) = (low, high)
                    && low < high
                {
                    // What is typed may leave the range: it is said to be wrong, not silently changed.
                    ui.spacing_mut().slider_width = (ui.available_width() - 104.0).max(60.0);
                    let span = high - low;
                    let step = 10f64.powf((span / 200.0).log10().ceil());
                    slider_look(ui);
                    let slider = egui::Slider::new(&mut n, low..=high)
                        .clamping(egui::SliderClamping::Never)
                        .step_by(step)
                        .max_decimals(6)
                        .suffix(suffix);
                    ui.add(slider).changed()
                } else {
                    let drag = egui::DragValue::new(&mut n).speed(0.1).max_decimals(6).suffix(suffix);
                    ui.add_sized(vec2(120.0, 24.0), drag).changed()
                }
            })
        })
        .inner;
    if changed || (n - before).abs() > 0.0 {
        // Whole numbers are sent as such: a device that reads an integer takes them.
        let whole = (n.fract() == 0.0 && n.abs() < 9e15).then(|| Json::from(n as i64));
        set(whole.or_else(|| serde_json::Number::from_f64(n).map(Json::Number)));
    }
    if value.is_none() {
        let t = Tokens::of(ui);
        ui.label(RichText::new("not set").font(fonts::regular(11.5)).color(t.text_weak));
    }
}

/// A filled rail and a round handle in the colour of the accent.
fn slider_look(ui: &mut Ui) {
    let t = Tokens::of(ui);
    let visuals = ui.visuals_mut();
    visuals.handle_shape = egui::style::HandleShape::Circle;
    visuals.selection.bg_fill = t.accent;
    ui.spacing_mut().slider_rail_height = 4.0;
}

fn choices(
    ui: &mut Ui,
    param: &ParamDeclaration,
    label: &str,
    value: Option<&Json>,
    set: &mut impl FnMut(Option<Json>),
) {
    let chosen = value.and_then(Json::as_str);
    let few = param.choices.len() <= CHIPS_MAX && param.choices.iter().map(String::len).sum::<usize>() <= 28;
    if few {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing.x = 2.0;
            for choice in &param.choices {
                if widgets::chip(ui, choice, chosen == Some(choice)).clicked() {
                    set(Some(Json::String(choice.clone())));
                }
            }
        });
        return;
    }
    ui.name_inputs(label, |ui| {
        egui::ComboBox::from_id_salt(param.name.as_str())
            .width(ui.available_width())
            .selected_text(chosen.unwrap_or("Choose…").to_owned())
            .show_ui(ui, |ui| {
                for choice in &param.choices {
                    if ui.selectable_label(chosen == Some(choice), choice.as_str()).clicked() {
                        set(Some(Json::String(choice.clone())));
                    }
                }
            });
    });
}

/// Draws the question before a command that a person should mean.
pub fn confirmation(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = model.form.as_ref().filter(|f| f.stage == FormStage::Confirming) else { return };
    let t = Tokens::of(ui);
    let label = model.command_label(&form.device, form.declaration.name.as_str());
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("confirmation")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(340.0);
        ui.spacing_mut().item_spacing.y = 8.0;
        let title = format!("{label} {}?", form.device);
        ui.label(RichText::new(title).font(fonts::semibold(15.0)).color(t.text));
        for (name, value) in &form.args {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            ui.label(RichText::new(format!("{} {}", format::humanize(name), format::ellipsis(&value, 80))));
        }
        let text = "The device asks that a person confirms this command.";
        ui.label(RichText::new(text).color(t.text_secondary));
        ui.add_space(6.0);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if widgets::danger_button(ui, "Send now").clicked() {
                actions.push(Action::Confirm);
            }
            if widgets::plain_button(ui, "Do not send").clicked() {
                actions.push(Action::Dismiss);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::Dismiss);
    }
}
