//! The sheet of shortcuts: the keys of all verbs, and what the pointer does.

use egui::{RichText, Ui, vec2};

use crate::action::Action;
use crate::theme::{Tokens, fonts};
use crate::verb::{Chord, GESTURES, Group, Verb};
use crate::views::widgets;

/// Width of one column.
const COLUMN: f32 = 420.0;
/// Width of the keys in it.
const KEYS: f32 = 168.0;

/// Draws the sheet.
pub fn help(ui: &Ui, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("help")).frame(frame).show(ui.ctx(), |ui| {
        let two = screen.width() > 2.0 * COLUMN + 104.0;
        let width = if two { 2.0 * COLUMN + 24.0 } else { COLUMN.min(screen.width() - 80.0) };
        ui.set_width(width);
        ui.set_max_width(width);
        ui.label(RichText::new("Shortcuts").font(fonts::semibold(15.0)).color(t.text));
        ui.add_space(4.0);
        let height = screen.height() - 140.0;
        let area = egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height);
        widgets::scrolled(ui, area, |ui| {
            if two {
                ui.columns_const(|[left, right]| {
                    keys(left, &[Group::Time, Group::Window]);
                    keys(right, &[Group::Charts, Group::Devices]);
                    gestures(right);
                });
            } else {
                keys(ui, &Group::ALL);
                gestures(ui);
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::ToggleHelp);
    }
}

fn keys(ui: &mut Ui, groups: &[Group]) {
    for group in groups {
        let of_group = Verb::ALL.iter().map(|verb| verb.about()).filter(|a| a.group == *group);
        let rows: Vec<(String, &str)> = of_group
            .filter_map(|about| {
                let keys: Vec<String> = about.keys().map(Chord::text).collect();
                (!keys.is_empty()).then(|| (keys.join(" or "), about.name))
            })
            .collect();
        section(ui, group.label(), &rows);
    }
}

fn gestures(ui: &mut Ui) {
    let rows: Vec<(String, &str)> = GESTURES.iter().map(|(how, what)| ((*how).to_owned(), *what)).collect();
    section(ui, "Pointer and lists", &rows);
}

fn section(ui: &mut Ui, title: &str, rows: &[(String, &str)]) {
    if rows.is_empty() {
        return;
    }
    let t = Tokens::of(ui);
    ui.add_space(8.0);
    widgets::caption(ui, title);
    ui.spacing_mut().item_spacing.y = 2.0;
    ui.spacing_mut().interact_size.y = 18.0;
    for (keys, what) in rows {
        ui.horizontal(|ui| {
            let keys = RichText::new(keys).font(fonts::mono(11.5)).color(t.text);
            ui.allocate_ui(vec2(KEYS, 18.0), |ui| {
                ui.set_min_width(KEYS);
                ui.label(keys);
            });
            let what = RichText::new(*what).font(fonts::regular(12.5)).color(t.text_secondary);
            ui.add(egui::Label::new(what).wrap());
        });
    }
}
