//! The dialog of the layouts: save the charts by name, open, rename and delete, export to a file and import from one.

use egui::{Key, RichText, Sense, Ui, vec2};

use crate::action::Action;
use crate::model::layouts::{LayoutsEdit, NAME_MAX, clean_name};
use crate::model::{LayoutsForm, Model};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Width of the dialog where there is room.
const WIDTH: f32 = 460.0;

/// Draws the dialog while it is open.
pub fn layouts(ui: &Ui, model: &Model, actions: &mut Vec<Action>) {
    let Some(form) = &model.layouts_form else { return };
    let t = Tokens::of(ui);
    let screen = ui.ctx().content_rect();
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(20));
    let modal = egui::Modal::new(egui::Id::unique("layouts")).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(WIDTH.min(screen.width() - 60.0));
        ui.label(RichText::new("Layouts").font(fonts::semibold(15.0)).color(t.text));
        ui.add_space(8.0);
        save(ui, model, form, actions);
        ui.add_space(10.0);
        list(ui, model, form, actions);
        ui.add_space(12.0);
        file(ui, form, actions);
        if let Some(said) = &form.said {
            let (text, color) = match said {
                Ok(text) => (text, t.text_secondary),
                Err(text) => (text, t.error),
            };
            ui.add_space(6.0);
            ui.add(egui::Label::new(RichText::new(text).font(fonts::regular(12.0)).color(color)).wrap());
        }
        ui.add_space(10.0);
        if widgets::plain_button(ui, "Close").clicked() {
            actions.push(Action::ToggleLayouts);
        }
    });
    if modal.should_close() {
        actions.push(Action::ToggleLayouts);
    }
}

fn save(ui: &mut Ui, model: &Model, form: &LayoutsForm, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.label(RichText::new("Save these charts as").font(fonts::medium(12.0)).color(t.text_secondary));
    let name = clean_name(&form.name);
    let verb = if model.library.has(&name) { "Replace" } else { "Save" };
    let entered = field(
        ui,
        "Name of the layout",
        &form.name,
        NAME_MAX,
        &[verb],
        |text| {
            actions.push(Action::EditLayouts(LayoutsEdit::Name(text)));
        },
        |ui| ui.add_enabled_ui(!name.is_empty(), |ui| widgets::accent_button(ui, verb)).inner.clicked(),
    );
    if entered && !name.is_empty() {
        actions.push(Action::SaveLayout);
    }
}

/// A field with something to the right of it. Whether Enter was pressed in it, or what is beside it says yes.
fn field(
    ui: &mut Ui,
    name: &str,
    text: &str,
    limit: usize,
    beside: &[&str],
    changed: impl FnOnce(String),
    right: impl FnOnce(&mut Ui) -> bool,
) -> bool {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        let mut typed = text.to_owned();
        let edit = egui::TextEdit::singleline(&mut typed)
            .char_limit(limit)
            .background_color(t.panel)
            .margin(egui::Margin::symmetric(8, 4))
            .desired_width(ui.available_width() - widgets::buttons_width(ui, beside));
        let response = ui.add(edit).accessible_name(name);
        let entered = response.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        if response.changed() {
            changed(typed);
        }
        right(ui) || entered
    })
    .inner
}

fn list(ui: &mut Ui, model: &Model, form: &LayoutsForm, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "Saved");
    if model.library.names().len() == 0 {
        let text = "None yet. The charts as they are now come back at the next start anyway.";
        ui.label(RichText::new(text).font(fonts::regular(12.0)).color(t.text_weak));
        return;
    }
    let height = (ui.ctx().content_rect().height() * 0.4).clamp(80.0, 260.0);
    let area = egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]);
    widgets::scrolled(ui, area, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        for name in model.library.names() {
            match (&form.renaming, &form.deleting) {
                (Some((from, typed)), _) if from == name => rename(ui, name, typed, actions),
                (_, Some(deleting)) if deleting == name => delete(ui, name, actions),
                _ => row(ui, name, actions),
            }
        }
    });
}

fn row(ui: &mut Ui, name: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        let width = ui.available_width() - widgets::buttons_width(ui, &["Rename", "Delete"]);
        let (rect, response) = ui.allocate_exact_size(vec2(width, tokens::ROW), Sense::click());
        response.widget_info(|| {
            egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Open layout {name}"))
        });
        if response.hovered() {
            let ground = tokens::mix(t.popup, t.text, 0.06);
            ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), ground);
        }
        widgets::focus_ring(ui, &response, rect);
        let at = egui::pos2(rect.left() + 8.0, rect.center().y);
        widgets::text_in(ui, at, width - 16.0, name, fonts::regular(13.0), t.text);
        if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
            actions.push(Action::OpenLayout(name.to_owned()));
        }
        for (text, edit) in [
            ("Rename", LayoutsEdit::Rename(Some(name.to_owned()))),
            ("Delete", LayoutsEdit::Delete(Some(name.to_owned()))),
        ] {
            let response = widgets::chip(ui, text, false);
            response.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{text} {name}"))
            });
            if response.clicked() {
                actions.push(Action::EditLayouts(edit));
            }
        }
    });
}

fn rename(ui: &mut Ui, name: &str, typed: &str, actions: &mut Vec<Action>) {
    let mut leave = false;
    let entered = field(
        ui,
        &format!("New name of {name}"),
        typed,
        NAME_MAX,
        &["Rename", "Leave it"],
        |text| {
            actions.push(Action::EditLayouts(LayoutsEdit::RenameTo(text)));
        },
        |ui| {
            let go = widgets::accent_button(ui, "Rename").clicked();
            leave = widgets::plain_button(ui, "Leave it").clicked();
            go
        },
    );
    if leave {
        actions.push(Action::EditLayouts(LayoutsEdit::Rename(None)));
    } else if entered {
        actions.push(Action::RenameLayout);
    }
}

fn delete(ui: &mut Ui, name: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    ui.horizontal(|ui| {
        let text = format!("Delete {name}?");
        let width = ui.available_width() - widgets::buttons_width(ui, &["Delete", "Leave it"]);
        let (rect, response) = ui.allocate_exact_size(vec2(width, tokens::ROW), Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &text));
        let at = egui::pos2(rect.left() + 8.0, rect.center().y);
        widgets::text_in(ui, at, width - 16.0, &text, fonts::medium(13.0), t.text);
        if widgets::danger_button(ui, "Delete").clicked() {
            actions.push(Action::DeleteLayout(name.to_owned()));
        }
        if widgets::plain_button(ui, "Leave it").clicked() {
            actions.push(Action::EditLayouts(LayoutsEdit::Delete(None)));
        }
    });
}

fn file(ui: &mut Ui, form: &LayoutsForm, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    widgets::caption(ui, "File");
    let mut import = false;
    let export_text = if form.exists.is_some() { "Replace it" } else { "Export" };
    let mut export = false;
    field(
        ui,
        "File of a layout",
        &form.path,
        1_000,
        &[export_text, "Import"],
        |text| {
            actions.push(Action::EditLayouts(LayoutsEdit::Path(text)));
        },
        |ui| {
            export = widgets::plain_button(ui, if form.exists.is_some() { "Replace it" } else { "Export" })
                .clicked();
            import = widgets::plain_button(ui, "Import").clicked();
            false
        },
    );
    let text = "Export writes these charts; import shows those of a file and saves them by name.";
    ui.label(RichText::new(text).font(fonts::regular(11.5)).color(t.text_weak));
    if export {
        actions.push(Action::ExportLayout);
    }
    if import {
        actions.push(Action::ImportLayout);
    }
}
