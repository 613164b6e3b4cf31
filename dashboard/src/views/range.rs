//! The dialog in which a stretch of time is typed.

use egui::{Key, RichText, Ui};

use crate::action::Action;
use crate::format;
use crate::model::Model;
use crate::model::range::{self, Asked};
use crate::theme::{Tokens, fonts};
use crate::views::widgets;

/// Draws the dialog while it is open.
pub fn range(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.range_form else { return };
    let t = Tokens::of(ui);
    let (now, zone) = (model.now(), &model.zone);
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("range")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(380.0_f32.min(ui.ctx().content_rect().width() - 60.0));
        ui.label(RichText::new("Show a stretch of time").font(fonts::semibold(15.0)).color(t.text));
        ui.add_space(10.0);
        let mut has_mistake = false;
        for (is_end, name, text) in [(false, "From", &form.from), (true, "To", &form.to)] {
            ui.label(RichText::new(name).font(fonts::medium(12.0)).color(t.text_secondary));
            let mut typed = text.clone();
            let edit = egui::TextEdit::singleline(&mut typed)
                .font(fonts::mono(13.0))
                .char_limit(40)
                .background_color(t.panel)
                .desired_width(f32::INFINITY);
            let response = ui.add(edit).accessible_name(name);
            // Whoever opened it by a key goes on typing.
            if !is_end && ui.ctx().memory(egui::Memory::focused).is_none() {
                response.request_focus();
            }
            if response.changed() {
                actions.push(Action::TypeRange { is_end, text: typed });
            }
            let (said, color) = match range::moment(text, now, zone) {
                Ok(at) => (format::full(at, zone), t.text_weak),
                Err(why) => {
                    has_mistake = true;
                    (why, t.error)
                }
            };
            ui.label(RichText::new(said).font(fonts::regular(11.5)).color(color));
            ui.add_space(8.0);
        }
        let asked = form.asked(now, zone);
        let (said, color) = match &asked {
            Ok(Asked::Stretch(from, to)) => (format::duration(to.micros_since(*from)), t.text_secondary),
            Ok(Asked::UpToNow(micros)) => {
                (format!("{}, following what arrives", format::duration(*micros)), t.text_secondary)
            }
            // The mistake of a field stands below it already.
            Err(_) if has_mistake => (String::new(), t.text_weak),
            Err(why) => (why.clone(), t.error),
        };
        ui.label(RichText::new(said).font(fonts::regular(12.0)).color(color));
        ui.add_space(12.0);
        ui.horizontal(|ui| {
            let show = ui.add_enabled_ui(asked.is_ok(), |ui| widgets::accent_button(ui, "Show")).inner;
            let close = widgets::plain_button(ui, "Close");
            let is_entered = ui.input(|i| i.key_pressed(Key::Enter)) && !close.has_focus();
            if close.clicked() {
                actions.push(Action::ToggleRange);
            } else if show.clicked() || (is_entered && asked.is_ok()) {
                actions.push(Action::ShowTyped);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::ToggleRange);
    }
}
