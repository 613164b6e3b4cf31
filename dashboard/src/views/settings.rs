//! The settings: what is chosen is used and kept at once; a number that cannot be says so beside its field.

use egui::{Key, RichText, Sense, Ui, vec2};

use crate::action::Action;
use crate::format;
use crate::model::{Model, SettingsForm};
use crate::settings::{Number, ThemeChoice, Times};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Width of the dialog where there is room.
const WIDTH: f32 = 480.0;
/// Width of the names at the left.
const NAMES: f32 = 130.0;

/// Draws the settings while they are open. `held` readings are in memory.
pub fn settings(ui: &Ui, model: &Model, held: u64, actions: &mut Vec<Action>) {
    let Some(form) = &model.settings_form else { return };
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("settings")).frame(frame).show(ui.ctx(), |ui| {
        let width = WIDTH.min(screen.width() - 60.0);
        ui.set_width(width);
        ui.set_max_width(width);
        ui.label(RichText::new("Settings").font(fonts::semibold(15.0)).color(t.text));
        let height = screen.height() - 150.0;
        let area = egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height);
        widgets::scrolled(ui, area, |ui| {
            ui.spacing_mut().item_spacing.y = 4.0;
            ui.add_space(6.0);
            choices(ui, model, actions);
            number(ui, form, Number::Scale, "Scale", "Ctrl+Plus and Ctrl+Minus do it too.", actions);
            let hint = "Frames for readings that arrive, at most. What you do is always shown at once.";
            number(ui, form, Number::Frames, "Frame rate", hint, actions);
            let hint = "For readings. What does not fit is asked of the hub again when it is shown.";
            number(ui, form, Number::Memory, "Memory", hint, actions);
            row(ui, "", |ui| used(ui, model, held));
        });
        ui.add_space(8.0);
        if widgets::plain_button(ui, "Close").clicked() {
            actions.push(Action::ToggleSettings);
        }
    });
    if modal.should_close() {
        actions.push(Action::ToggleSettings);
    }
}

fn row(ui: &mut Ui, name: &str, what: impl FnOnce(&mut Ui)) {
    let t = Tokens::of(ui);
    ui.horizontal_top(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(NAMES, 26.0), Sense::hover());
        let at = egui::pos2(rect.left(), rect.center().y);
        widgets::text_in(ui, at, NAMES - 8.0, name, fonts::regular(13.0), t.text_secondary);
        ui.vertical(what);
    });
}

fn choices(ui: &mut Ui, model: &Model, actions: &mut Vec<Action>) {
    row(ui, "Colours", |ui| {
        let all = [ThemeChoice::Dark, ThemeChoice::Light, ThemeChoice::System];
        let chosen = all.iter().position(|theme| *theme == model.settings.theme);
        if let Some(i) = widgets::segmented(ui, "theme", &all.map(ThemeChoice::label), chosen) {
            actions.push(Action::SetTheme(all[i]));
        }
    });
    row(ui, "Times", |ui| {
        let all = [Times::Local, Times::Utc];
        let chosen = all.iter().position(|times| *times == model.settings.times);
        if let Some(i) = widgets::segmented(ui, "times", &["Of this place", "UTC"], chosen) {
            actions.push(Action::SetTimes(all[i]));
        }
        let now = format!("Now: {}", format::full(model.now(), &model.zone));
        explain(ui, &now, Tokens::of(ui).text_weak);
    });
}

fn explain(ui: &mut Ui, text: &str, color: egui::Color32) {
    ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(11.5)).color(color)).wrap());
    ui.add_space(4.0);
}

fn number(
    ui: &mut Ui,
    form: &SettingsForm,
    number: Number,
    name: &str,
    hint: &str,
    actions: &mut Vec<Action>,
) {
    let t = Tokens::of(ui);
    row(ui, name, |ui| {
        let typed = form.typed(number);
        let problem = number.parse(typed).err();
        ui.horizontal(|ui| {
            let mut text = typed.to_owned();
            let edit = egui::TextEdit::singleline(&mut text)
                .font(fonts::mono(13.0))
                .char_limit(12)
                .background_color(t.panel)
                .margin(egui::Margin::symmetric(8, 4))
                .desired_width(72.0);
            let response = ui.add(edit).accessible_name(name);
            if problem.is_some() {
                let stroke = egui::Stroke::new(1.0, t.error);
                let radius = f32::from(tokens::RADIUS_CONTROL);
                ui.painter().rect_stroke(response.rect, radius, stroke, egui::StrokeKind::Inside);
            }
            if response.changed() {
                actions.push(Action::TypeSetting { number, text });
            }
            // Used when it is finished: half of a number is a number too.
            if response.lost_focus() && !ui.input(|i| i.key_pressed(Key::Escape)) {
                actions.push(Action::UseSetting(number));
            }
            ui.label(RichText::new(number.unit()).font(fonts::regular(12.5)).color(t.text_weak));
            let range = number.range();
            let limits = format!("{} to {}", range.start(), range.end());
            match &problem {
                Some(why) => ui.label(RichText::new(why).font(fonts::regular(12.0)).color(t.error)),
                None => ui.label(RichText::new(limits).font(fonts::regular(11.5)).color(t.text_weak)),
            };
        });
        explain(ui, hint, t.text_weak);
    });
}

/// How much of the memory is used.
fn used(ui: &mut Ui, model: &Model, held: u64) {
    let t = Tokens::of(ui);
    let (bytes, limit) = (model.series.bytes(), model.settings.memory_bytes());
    let share = (bytes as f32 / limit.max(1) as f32).clamp(0.0, 1.0);
    let text = format!(
        "{} of {} used, {} readings",
        format::bytes(bytes),
        format::bytes(limit),
        format::short_count(held)
    );
    let width = ui.available_width().min(240.0);
    let (rect, response) = ui.allocate_exact_size(vec2(width, 6.0), Sense::hover());
    response.widget_info(|| {
        let mut info = egui::WidgetInfo::labeled(egui::Role::ProgressIndicator, true, "Memory used");
        info.value = Some(f64::from(share));
        info
    });
    ui.painter().rect_filled(rect, 3.0, t.control);
    let done = egui::Rect::from_min_size(rect.min, vec2(rect.width() * share, rect.height()));
    ui.painter().rect_filled(done, 3.0, t.accent);
    explain(ui, &text, t.text_secondary);
}
