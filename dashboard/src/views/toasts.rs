//! Toasts in the lower right corner.

use egui::{Align2, RichText, Ui, vec2};

use crate::action::Action;
use crate::model::{Level, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets::{self, Icon};

/// Draws the toasts.
pub fn toasts(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    if model.toasts.iter().next().is_none() {
        return;
    }
    let t = Tokens::of(ui);
    egui::Area::new(egui::Id::unique("toasts"))
        .anchor(Align2::RIGHT_BOTTOM, vec2(-16.0, -(tokens::STATUS_BAR + 16.0)))
        .order(egui::Order::Foreground)
        .fade_in(false)
        .show(ui.ctx(), |ui| {
            ui.spacing_mut().item_spacing.y = 8.0;
            for toast in model.toasts.iter() {
                let color = match toast.level {
                    Level::Info => t.accent,
                    Level::Success => t.ok,
                    Level::Warning => t.warn,
                    Level::Error => t.error,
                };
                let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin {
                    left: 14,
                    right: 8,
                    top: 8,
                    bottom: 8,
                });
                let response = frame.show(ui, |ui| {
                    let width = 320.0_f32.min(ui.ctx().content_rect().width() - 60.0);
                    ui.set_width(width);
                    ui.horizontal_top(|ui| {
                        ui.vertical(|ui| {
                            ui.set_width(width - 30.0);
                            let times = if toast.times > 1 {
                                format!(" ({} times)", toast.times)
                            } else {
                                String::new()
                            };
                            let text =
                                RichText::new(format!("{}{times}", toast.text)).font(fonts::medium(12.5));
                            ui.add(egui::Label::new(text.color(t.text)).wrap());
                            if let Some(detail) = &toast.detail {
                                let text =
                                    RichText::new(detail).font(fonts::regular(12.0)).color(t.text_secondary);
                                ui.add(egui::Label::new(text).wrap());
                            }
                        });
                        if widgets::icon_button(ui, Icon::Cross, "Dismiss").clicked() {
                            actions.push(Action::DismissToast(toast.id));
                        }
                    });
                });
                let rect = response.response.rect;
                let bar =
                    egui::Rect::from_min_size(rect.min + vec2(1.0, 6.0), vec2(3.0, rect.height() - 12.0));
                ui.painter().rect_filled(bar, 1.5, color);
            }
        });
}
