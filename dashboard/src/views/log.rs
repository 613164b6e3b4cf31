//! The log of notices: what happened while nobody may have been looking, newest first.

use egui::{Align2, RichText, Sense, Ui, vec2};

use crate::action::Action;
use crate::format;
use crate::model::toasts::Entry;
use crate::model::{Level, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets::{self, Icon};

/// Width of the panel where there is room.
const WIDTH: f32 = 380.0;

/// Draws the log below the bell.
pub fn log(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    egui::Area::new(egui::Id::unique("log"))
        .anchor(Align2::RIGHT_TOP, vec2(-8.0, tokens::TOP_BAR + 4.0))
        .order(egui::Order::Foreground)
        .fade_in(false)
        .show(ui.ctx(), |ui| {
            egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(12)).show(ui, |ui| {
                ui.set_width(WIDTH.min(screen.width() - 44.0));
                ui.horizontal(|ui| {
                    ui.label(RichText::new("Notices").font(fonts::semibold(14.0)).color(t.text));
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        if widgets::icon_button(ui, Icon::Cross, "Close the notices").clicked() {
                            actions.push(Action::ToggleLog);
                        }
                        if model.toasts.log().len() > 0 && widgets::chip(ui, "Clear", false).clicked() {
                            actions.push(Action::ClearLog);
                        }
                    });
                });
                ui.add_space(4.0);
                if model.toasts.log().len() == 0 {
                    let text = "Nothing has happened that you should know: devices that go offline, commands \
                        that fail and what this window cannot do will stand here.";
                    ui.add(egui::Label::new(RichText::new(text).color(t.text_weak)).wrap());
                    return;
                }
                let height = (screen.height() - 150.0).max(80.0);
                let area = egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]);
                widgets::scrolled(ui, area, |ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    for entry in model.toasts.log() {
                        row(ui, model, entry);
                    }
                });
            });
        });
}

fn row(ui: &mut Ui, model: &Model, entry: &Entry) {
    let t = Tokens::of(ui);
    let color = match entry.level {
        Level::Info => t.accent,
        Level::Success => t.ok,
        Level::Warning => t.warn,
        Level::Error => t.error,
    };
    let times = if entry.times > 1 { format!(" ({} times)", entry.times) } else { String::new() };
    let at = format::clock_or_date(entry.at, model.local_now(), &model.zone);
    ui.horizontal_top(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(12.0, 18.0), Sense::hover());
        shape(ui, rect.center(), entry.level, color);
        ui.vertical(|ui| {
            ui.spacing_mut().item_spacing.y = 1.0;
            let text =
                RichText::new(format!("{}{times}", entry.text)).font(fonts::medium(12.5)).color(t.text);
            ui.add(egui::Label::new(text).wrap());
            if let Some(detail) = &entry.detail {
                let text = RichText::new(detail).font(fonts::regular(12.0)).color(t.text_secondary);
                ui.add(egui::Label::new(text).wrap());
            }
            ui.label(RichText::new(at).font(fonts::mono(11.0)).color(t.text_weak));
            ui.add_space(4.0);
        });
    });
}

/// A shape beside the colour: a dot tells, a tick is done, a triangle warns, a cross went wrong.
fn shape(ui: &Ui, center: egui::Pos2, level: Level, color: egui::Color32) {
    let line = egui::Stroke::new(1.75, color);
    let at = |x: f32, y: f32| center + vec2(x, y);
    match level {
        Level::Info => {
            ui.painter().circle_filled(center, 3.0, color);
        }
        Level::Success => {
            ui.painter().line(vec![at(-4.0, 0.5), at(-1.0, 3.5), at(4.5, -3.0)], line);
        }
        Level::Warning => {
            let corners = vec![at(0.0, -4.5), at(4.5, 3.6), at(-4.5, 3.6)];
            ui.painter().add(egui::Shape::convex_polygon(corners, color, egui::Stroke::NONE));
        }
        Level::Error => {
            ui.painter().line_segment([at(-3.5, -3.5), at(3.5, 3.5)], line);
            ui.painter().line_segment([at(3.5, -3.5), at(-3.5, 3.5)], line);
        }
    }
}
