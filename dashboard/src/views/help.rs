//! The sheet of shortcuts.

use egui::{RichText, Ui};

use crate::action::Action;
use crate::theme::{Tokens, fonts};

const SHORTCUTS: &[(&str, &str)] = &[
    ("Space", "Pause, or go on"),
    ("L or End", "Back to live"),
    ("1 to 5", "Show 1 min, 5 min, 15 min, 1 h, 24 h"),
    ("Alt+Left, Alt+Right", "The view before, the view after; also [ and ]"),
    ("R", "Type from when to when"),
    ("/", "Filter the devices"),
    ("C", "All commands, or not"),
    ("G", "Groups: commands to many devices"),
    ("Ctrl+click, Shift+click", "Choose devices in the list, to tell them something together"),
    ("Up, Down", "In the table: the command before, the command after"),
    ("Esc", "Close what is open"),
    ("Ctrl+Enter", "Send the open command"),
    ("?", "This sheet"),
    ("Wheel", "Zoom in time at the pointer"),
    ("Drag, Shift+wheel", "Move in time"),
    ("Drag, right button", "Show a stretch"),
    ("Double click", "On a chart: back to live. On a device: add a chart"),
    ("Click on a chart", "Pin a cursor; with a second one, what is between is measured"),
    ("Shift+drag, A and B", "Measure what is between; Esc ends it"),
    ("Drag a title", "Move a chart: beside, below, or into tabs"),
    ("Drag a device", "Onto a chart: show it there"),
];

/// Draws the sheet.
pub fn help(ui: &Ui, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("help")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(420.0);
        ui.label(RichText::new("Shortcuts").font(fonts::semibold(15.0)).color(t.text));
        ui.add_space(8.0);
        egui::Grid::new("shortcuts").num_columns(2).spacing(egui::vec2(24.0, 6.0)).show(ui, |ui| {
            for (keys, what) in SHORTCUTS {
                ui.label(RichText::new(*keys).font(fonts::mono(12.0)).color(t.text));
                ui.label(RichText::new(*what).color(t.text_secondary));
                ui.end_row();
            }
        });
    });
    if modal.should_close() {
        actions.push(Action::ToggleHelp);
    }
}
