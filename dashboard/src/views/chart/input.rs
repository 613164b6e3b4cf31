//! What the pointer does in a chart: wheel zooms at the pointer, dragging pans, with Shift it measures, the secondary
//! button draws a box.
//!
//! Everything works while the view follows what arrives.

use egui::{PointerButton, Rect, Response, Ui, pos2};
use protocol::Timestamp;

use super::Scene;
use super::cache::PerChart;
use crate::action::Action;

/// Points of wheel movement that zoom by the factor e. Chosen: a notch of a mouse is 50 and zooms by a fifth.
const WHEEL_E_PX: f32 = 220.0;
/// A box narrower than this was a slip.
const BOX_MIN_PX: f32 = 6.0;

/// Turns input into actions.
pub(super) fn input(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    cached: &mut PerChart,
    actions: &mut Vec<Action>,
) {
    let times = scene.times();
    let per_point = scene.to.micros_since(scene.from) as f64 / f64::from(scene.area.width());
    let pointer = response.hover_pos().filter(|at| scene.area.contains(*at));
    let under_pointer = pointer.map(|at| Timestamp(times.time(at.x)));

    if let Some(at) = under_pointer {
        let (scroll, pinch) = ui.input_mut(|i| (std::mem::take(&mut i.smooth_scroll_delta), i.zoom_delta()));
        let factor = f64::from((-scroll.y / WHEEL_E_PX).exp() / pinch);
        if (factor - 1.0).abs() > 1e-6 {
            actions.push(Action::Zoom { at, factor });
        }
        if scroll.x != 0.0 {
            actions.push(Action::Pan { micros: (-f64::from(scroll.x) * per_point) as i64 });
        }
    }
    let is_measuring = measure(ui, scene, response, cached, actions);
    if !is_measuring && response.dragged_by(PointerButton::Primary) && response.drag_delta().x != 0.0 {
        ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
        actions.push(Action::Pan { micros: (-f64::from(response.drag_delta().x) * per_point) as i64 });
    }
    select_range(ui, scene, response, cached, actions);
    if response.clicked_by(PointerButton::Primary) {
        // What the keys then do, they do here.
        response.request_focus();
    }
    if response.double_clicked() {
        actions.push(Action::ClearPins);
        actions.push(Action::Follow);
    } else if response.clicked_by(PointerButton::Primary)
        && let Some(at) = under_pointer
    {
        actions.push(Action::Pin(at));
    }

    // A dragged chart moves under the pointer: the time there stays the same.
    let is_moving = !is_measuring && response.dragged_by(PointerButton::Primary);
    match under_pointer {
        Some(at) if !is_moving => {
            if scene.model.cursor != Some(at) {
                actions.push(Action::SetCursor(Some(at)));
            }
            cached.was_hovered = true;
        }
        None if cached.was_hovered => {
            actions.push(Action::SetCursor(None));
            cached.was_hovered = false;
        }
        _ => {}
    }
}

/// Dragging with Shift sets both measuring cursors. Returns whether that goes on.
fn measure(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    cached: &mut PerChart,
    actions: &mut Vec<Action>,
) -> bool {
    let times = scene.times();
    if response.drag_started_by(PointerButton::Primary) && ui.input(|i| i.modifiers.shift) {
        let pressed = ui.input(|i| i.pointer.press_origin());
        cached.measure_from = pressed.map(|at| Timestamp(times.time(at.x)));
    }
    let Some(from) = cached.measure_from else { return false };
    if !response.dragged_by(PointerButton::Primary) {
        cached.measure_from = None;
        return false;
    }
    if let Some(at) = response.interact_pointer_pos() {
        let x = at.x.clamp(scene.area.left(), scene.area.right());
        actions.push(Action::Measure { from, to: Timestamp(times.time(x)) });
    }
    true
}

/// Dragging with the secondary button chooses what to show.
fn select_range(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    cached: &mut PerChart,
    actions: &mut Vec<Action>,
) {
    let times = scene.times();
    if response.drag_started_by(PointerButton::Secondary) {
        cached.box_from = ui.input(|i| i.pointer.press_origin()).map(|at| at.x);
    }
    let Some(from) = cached.box_from else { return };
    let Some(at) = response.interact_pointer_pos().or_else(|| ui.input(|i| i.pointer.latest_pos())) else {
        return;
    };
    let x = at.x.clamp(scene.area.left(), scene.area.right());
    let (left, right) = (from.min(x), from.max(x));
    if response.dragged_by(PointerButton::Secondary) {
        let rect = Rect::from_min_max(pos2(left, scene.area.top()), pos2(right, scene.area.bottom()));
        let tokens = scene.tokens;
        ui.painter().rect_filled(rect, 0.0, tokens.accent.gamma_multiply(0.14));
        for x in [left, right] {
            ui.painter().vline(x, scene.area.y_range(), (1.0, tokens.accent));
        }
    } else {
        cached.box_from = None;
        if right - left >= BOX_MIN_PX {
            actions.push(Action::ShowRange {
                from: Timestamp(times.time(left)),
                to: Timestamp(times.time(right)),
            });
        }
    }
}
