//! The dialog in which the axes and limits of a chart are typed.

use egui::{Key, RichText, ScrollArea, Ui};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::chart_form::{ChartForm, LIMITS};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Width of the field of a number.
const FIELD: f32 = 104.0;
/// The most height that the fields take; beyond it they scroll.
const HEIGHT_MAX: f32 = 420.0;

/// Draws the dialog while it is open.
pub fn chart_form(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.chart_form else { return };
    let t = Tokens::of(ui);
    let mut edited = form.as_ref().clone();
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("chart form")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width((4.0 * FIELD + 40.0).min(ui.ctx().content_rect().width() - 60.0));
        ui.label(RichText::new("Axes and limits").font(fonts::semibold(15.0)).color(t.text));
        ui.label(RichText::new(&form.title).font(fonts::regular(12.0)).color(t.text_secondary));
        ui.add_space(10.0);
        let room = (ui.ctx().content_rect().height() - 180.0).clamp(80.0, HEIGHT_MAX);
        let area = ScrollArea::vertical().max_height(room).auto_shrink(true);
        widgets::scrolled(ui, area, |ui| fields(ui, &mut edited));
        ui.add_space(12.0);
        let asked = edited.asked();
        ui.horizontal(|ui| {
            let apply = ui.add_enabled_ui(asked.is_some(), |ui| widgets::accent_button(ui, "Apply")).inner;
            let close = widgets::plain_button(ui, "Close");
            let is_entered = ui.input(|i| i.key_pressed(Key::Enter)) && !close.has_focus();
            if close.clicked() {
                actions.push(Action::EditChart(None));
            } else if let Some(settings) = asked
                && (apply.clicked() || is_entered)
            {
                actions.push(Action::SetChart { chart: form.chart, settings: Box::new(settings) });
            }
        });
    });
    if edited != **form {
        actions.insert(0, Action::EditChart(Some(Box::new(edited))));
    }
    if modal.should_close() {
        actions.push(Action::EditChart(None));
    }
}

fn fields(ui: &mut Ui, form: &mut ChartForm) {
    let t = Tokens::of(ui);
    for axis in &mut form.axes {
        let unit = match format::unit(&axis.unit) {
            "" => "no unit",
            unit => unit,
        }
        .to_owned();
        widgets::caption(ui, &format!("Axis, {unit}"));
        ui.add_space(2.0);
        let mistakes = [axis.mistake(false), axis.mistake(true)];
        let logarithmic = |ui: &mut Ui, log: &mut bool| {
            ui.vertical(|ui| {
                ui.label(RichText::new("Logarithmic").font(fonts::regular(11.5)).color(t.text_secondary));
                ui.add_space(2.0);
                widgets::switch(ui, &format!("Logarithmic axis of {unit}"), log);
            });
        };
        let in_row = in_row(ui);
        ui.horizontal_top(|ui| {
            let ends = [("Lowest", &mut axis.min), ("Highest", &mut axis.max)];
            for ((name, text), mistake) in ends.into_iter().zip(mistakes) {
                field(ui, name, &format!("{name} value of {unit}"), "automatic", text, mistake);
            }
            if in_row > 2 {
                logarithmic(ui, &mut axis.log);
            }
        });
        if in_row <= 2 {
            logarithmic(ui, &mut axis.log);
        }
        ui.add_space(10.0);
    }
    for limits in &mut form.limits {
        widgets::caption(ui, &format!("Limits, {}", format::ellipsis(&limits.name, 48)));
        ui.add_space(2.0);
        let places: Vec<(usize, &str)> = LIMITS.into_iter().enumerate().collect();
        // Two and two where four have no room: what is above, and what is below.
        for row in places.chunks(if in_row(ui) < LIMITS.len() { 2 } else { LIMITS.len() }) {
            ui.horizontal_top(|ui| {
                for &(place, name) in row {
                    let mistake = limits.mistake(place);
                    let spoken = format!("{}: {name}", limits.name);
                    let Some(text) = limits.texts.get_mut(place) else { continue };
                    field(ui, &format::humanize(name), &spoken, "none", text, mistake);
                }
            });
        }
        ui.add_space(10.0);
    }
    if form.axes.is_empty() {
        let text = if form.limits.is_empty() {
            "This chart shows states only: there is no axis to set. Drop a series of numbers on it to have one."
        } else {
            "There is no axis to set."
        };
        ui.label(RichText::new(text).color(t.text_weak));
    }
}

/// How many fields have room beside each other.
fn in_row(ui: &Ui) -> usize {
    let gap = ui.spacing().item_spacing.x;
    (((ui.available_width() + gap) / (FIELD + gap)) as usize).max(1)
}

/// A field with its name above and what is wrong with it below.
fn field(ui: &mut Ui, name: &str, spoken: &str, hint: &str, text: &mut String, mistake: Option<String>) {
    let t = Tokens::of(ui);
    ui.vertical(|ui| {
        ui.set_width(FIELD);
        ui.label(RichText::new(name).font(fonts::regular(11.5)).color(t.text_secondary));
        let edit = egui::TextEdit::singleline(text)
            .font(fonts::mono(12.5))
            .hint_text(RichText::new(hint).font(fonts::regular(12.0)).color(t.text_weak))
            .char_limit(24)
            .background_color(t.panel)
            .desired_width(FIELD);
        let response = ui.add(edit).accessible_name(spoken);
        if ui.ctx().memory(egui::Memory::focused).is_none() {
            response.request_focus();
        }
        if let Some(mistake) = mistake {
            ui.add(egui::Label::new(RichText::new(mistake).font(fonts::regular(11.0)).color(t.error)).wrap());
        }
    });
}
