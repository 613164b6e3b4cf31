//! The command palette: a field, and what it finds below it. The keyboard stays in the field.

use egui::{Align2, Key, Modifiers, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::action::Action;
use crate::layout::Layout;
use crate::model::Model;
use crate::palette::{self, Found, Row, Target};
use crate::theme::{Tokens, fonts, tokens};
use crate::views::widgets;

/// Width of the palette where there is room.
const WIDTH: f32 = 600.0;
/// Height of a row.
const ROW: f32 = 32.0;
/// Rows that are seen at once.
const ROWS: f32 = 11.0;

/// Draws the palette while it is open.
pub fn palette(ui: &Ui, model: &Model, layout: &Layout, found: &mut Found, actions: &mut Vec<Action>) {
    let Some(open) = &model.palette else {
        found.clear();
        return;
    };
    found.refresh(&open.typed, model, layout);
    let rows: Vec<(&Target, Row)> =
        found.rows().filter_map(|target| Some((target, palette::row(target, model, layout)?))).collect();
    let screen = ui.ctx().content_rect();
    let id = egui::Id::unique("palette");
    let top = (screen.height() * 0.12).clamp(8.0, 96.0);
    let area = egui::Modal::default_area(id).anchor(Align2::CENTER_TOP, vec2(0.0, top));
    let frame = egui::Frame::popup(ui.style()).inner_margin(egui::Margin::same(8));
    let modal = egui::Modal::new(id).area(area).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width(WIDTH.min(screen.width() - 40.0));
        let (moved, entered) = keys(ui, rows.len(), open.row);
        let row = moved.unwrap_or(open.row).min(rows.len().saturating_sub(1));
        if moved.is_some() {
            actions.push(Action::PointPalette(row));
        }
        field(ui, &open.typed, actions);
        ui.add_space(6.0);
        let taken = list(ui, &rows, row, moved.is_some());
        let taken = taken.or(entered.then_some(row));
        if let Some((_, Row { action: Ok(action), .. })) = taken.and_then(|i| rows.get(i)) {
            actions.push(Action::TogglePalette);
            actions.push(action.clone());
        }
    });
    if modal.should_close() {
        actions.push(Action::TogglePalette);
    }
}

/// Takes the keys that move in the list away from the field: where they lead, and whether a row was taken.
fn keys(ui: &Ui, count: usize, row: usize) -> (Option<usize>, bool) {
    ui.input_mut(|input| {
        let mut pressed = |key| input.consume_key(Modifiers::NONE, key);
        let last = count.saturating_sub(1);
        let moved = if pressed(Key::ArrowDown) {
            Some(if row >= last { 0 } else { row + 1 })
        } else if pressed(Key::ArrowUp) {
            Some(if row == 0 { last } else { row - 1 })
        } else if pressed(Key::PageDown) {
            Some((row + ROWS as usize - 1).min(last))
        } else if pressed(Key::PageUp) {
            Some(row.saturating_sub(ROWS as usize - 1))
        } else {
            None
        };
        (moved, pressed(Key::Enter))
    })
}

fn field(ui: &mut Ui, typed: &str, actions: &mut Vec<Action>) {
    let t = Tokens::of(ui);
    let mut text = typed.to_owned();
    let edit = egui::TextEdit::singleline(&mut text)
        .hint_text(egui::RichText::new("Find a command, device, chart or metric").color(t.text_weak))
        .font(fonts::regular(15.0))
        .char_limit(200)
        .margin(egui::Margin::symmetric(10, 7))
        .desired_width(f32::INFINITY);
    let response = ui.add(edit).accessible_name("Find anything");
    if !response.has_focus() {
        response.request_focus();
    }
    if response.changed() {
        actions.push(Action::TypePalette(text));
    }
}

/// Draws what was found; returns the row that was clicked.
fn list(ui: &mut Ui, rows: &[(&Target, Row)], row: usize, moved: bool) -> Option<usize> {
    let t = Tokens::of(ui);
    if rows.is_empty() {
        ui.add_space(10.0);
        ui.vertical_centered(|ui| {
            ui.label(egui::RichText::new("Nothing has that name.").color(t.text_secondary));
            let hint = "Devices are found by id, model and tags, metrics by label and device.";
            ui.label(egui::RichText::new(hint).font(fonts::regular(12.0)).color(t.text_weak));
        });
        ui.add_space(10.0);
        return None;
    }
    let mut taken = None;
    let height = (ui.ctx().content_rect().height() * 0.6).min(ROW * ROWS);
    egui::ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for (i, (target, entry)) in rows.iter().enumerate() {
            let response = list_row(ui, target, entry, i == row);
            if moved && i == row {
                response.scroll_to_me(None);
            }
            if response.clicked() {
                taken = Some(i);
            }
        }
    });
    taken
}

fn list_row(ui: &mut Ui, target: &Target, entry: &Row, chosen: bool) -> egui::Response {
    let t = Tokens::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    let can = entry.action.is_ok();
    let kind = target.kind();
    response.widget_info(|| {
        let label = if kind.is_empty() { entry.text.clone() } else { format!("{}, {kind}", entry.text) };
        WidgetInfo::selected(Role::ListBoxOption, can, chosen, label)
    });
    if chosen {
        let ground = tokens::mix(t.popup, t.accent, 0.18);
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), ground);
        let bar = egui::Rect::from_min_size(rect.min + vec2(0.0, 6.0), vec2(2.0, rect.height() - 12.0));
        ui.painter().rect_filled(bar, 1.0, t.accent);
    } else if response.hovered() {
        let ground = tokens::mix(t.popup, t.text, 0.06);
        ui.painter().rect_filled(rect, f32::from(tokens::RADIUS_CONTROL), ground);
    }
    let y = rect.center().y;
    let mut right = rect.right() - 12.0;
    if !kind.is_empty() {
        let galley = ui.painter().layout_no_wrap(kind.to_owned(), fonts::regular(11.5), t.text_weak);
        right -= galley.size().x;
        ui.painter().galley(pos2(right, y - galley.size().y / 2.0), galley, t.text_weak);
        right -= 12.0;
    }
    let (detail, font, color) = match (&entry.action, target) {
        (Err(why), _) => (*why, fonts::regular(11.5), t.text_weak),
        (Ok(_), Target::Verb(_)) => (entry.detail.as_str(), fonts::mono(11.5), t.text_secondary),
        (Ok(_), _) => (entry.detail.as_str(), fonts::regular(12.0), t.text_weak),
    };
    let left = rect.left() + 12.0;
    let color_of_text = if can { t.text } else { t.text_weak };
    let width = widgets::text_in(
        ui,
        pos2(left, y),
        right - left - 60.0,
        &entry.text,
        fonts::regular(13.0),
        color_of_text,
    );
    let room = right - (left + width + 16.0);
    let mut job = egui::text::LayoutJob::simple_singleline(detail.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(room.max(0.0));
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(pos2(right - galley.size().x, y - galley.size().y / 2.0), galley, color);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}
