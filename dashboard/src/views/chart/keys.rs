//! What the keyboard does in the chart that has it: it moves the cursor from reading to reading, goes from command to
//! command, and everything that it does is said.
//!
//! Moving and zooming without a cursor needs no chart and is a [`crate::verb::Verb`].

use egui::{EventFilter, Id, Key, Modifiers, Response, Role, Sense, Ui, WidgetInfo};
use protocol::Timestamp;

use super::Scene;
use super::cache::PerChart;
use crate::action::Action;
use crate::format;

/// A step with Ctrl, and by how much Shift moves the view: a share of the view.
const LEAP: i64 = 10;
/// What Up does to the view; Down undoes it.
const ZOOM: f64 = 0.8;
/// A row of the table, in points.
const SCROLL: f32 = 22.0;
/// Most series that are said at the cursor. Chosen: more cannot be listened to.
const SAID_MAX: usize = 8;

/// Does what the keys ask for, if the chart has the keyboard.
pub(super) fn keys(
    ui: &Ui,
    scene: &Scene<'_>,
    response: &Response,
    cached: &mut PerChart,
    actions: &mut Vec<Action>,
) {
    if !response.has_focus() {
        if std::mem::take(&mut cached.has_keyboard) {
            cached.spans.selected = None;
            // A cursor that the pointer has taken over stays.
            if !cached.was_hovered {
                actions.push(Action::SetCursor(None));
            }
        }
        return;
    }
    cached.has_keyboard = true;
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let pressed =
        |modifiers: Modifiers, key: Key| ui.input(|i| i.modifiers == modifiers && i.key_pressed(key));
    let plain = |key| pressed(Modifiers::NONE, key);
    if plain(Key::T) {
        cached.is_table = !cached.is_table;
    }
    if plain(Key::Space) {
        actions.push(if scene.model.viewport.is_following() { Action::Pause } else { Action::Follow });
    }
    let leap = scene.to.micros_since(scene.from) / LEAP;
    for (key, sign) in [(Key::ArrowLeft, -1), (Key::ArrowRight, 1)] {
        if pressed(Modifiers::SHIFT, key) {
            actions.push(Action::Pan { micros: sign * leap });
        }
    }
    if cached.is_table {
        for (key, rows) in
            [(Key::ArrowUp, -1.0), (Key::ArrowDown, 1.0), (Key::PageUp, -15.0), (Key::PageDown, 15.0)]
        {
            if plain(key) {
                cached.table_scroll += rows * SCROLL;
            }
        }
        return;
    }
    let cursor = scene.model.cursor.filter(|at| *at >= scene.from && *at <= scene.to);
    for (key, is_later) in [(Key::ArrowLeft, false), (Key::ArrowRight, true)] {
        if plain(key) {
            match neighbour(scene, cached, cursor, is_later) {
                Some(at) => actions.push(Action::SetCursor(Some(at))),
                None => actions.push(Action::Pan { micros: if is_later { leap } else { -leap } }),
            }
        }
        if pressed(Modifiers::COMMAND, key) || pressed(Modifiers::CTRL, key) {
            let from = cursor.unwrap_or(scene.to);
            let at = from.plus_micros(if is_later { leap } else { -leap });
            actions.push(Action::SetCursor(Some(at.clamp(scene.from, scene.to))));
        }
    }
    for (key, factor) in [(Key::ArrowUp, ZOOM), (Key::ArrowDown, 1.0 / ZOOM)] {
        if plain(key) {
            actions.push(Action::Zoom { at: cursor.unwrap_or(scene.to), factor });
        }
    }
    if plain(Key::Period) {
        cached.spans.step(true);
    }
    if plain(Key::Comma) {
        cached.spans.step(false);
    }
    if plain(Key::Enter) {
        match (cached.spans.selected.clone(), cursor) {
            (Some(command), _) => actions.push(Action::ShowCommand(Some(command))),
            (None, Some(at)) => actions.push(Action::Pin(at)),
            (None, None) => {}
        }
    }
    say(ui, scene, response.id, cached, cursor);
}

/// The time of the reading next to the cursor, at least a pixel away; without a cursor the last one in view.
fn neighbour(
    scene: &Scene<'_>,
    cached: &PerChart,
    cursor: Option<Timestamp>,
    is_later: bool,
) -> Option<Timestamp> {
    let pixel = (scene.micros_per_pixel as i64).max(1);
    let traces =
        scene.curves.iter().filter(|curve| !curve.is_hidden).filter_map(|curve| cached.trace(curve.id));
    let (from, to) = (scene.from.0, scene.to.0);
    let found = traces.filter_map(|trace| {
        let columns = &trace.columns;
        let place = match (cursor, is_later) {
            (None, _) => columns.partition_point(|column| column.at <= to).checked_sub(1)?,
            (Some(at), true) => columns.partition_point(|column| column.at < at.0 + pixel),
            (Some(at), false) => {
                columns.partition_point(|column| column.at <= at.0 - pixel).checked_sub(1)?
            }
        };
        columns.get(place).map(|column| column.at).filter(|at| (from..=to).contains(at))
    });
    let nearest = if is_later && cursor.is_some() { found.min() } else { found.max() };
    nearest.map(Timestamp)
}

/// Says where the cursor is and what stands there, to those who do not see it.
fn say(ui: &Ui, scene: &Scene<'_>, id: Id, cached: &PerChart, cursor: Option<Timestamp>) {
    let text = match (&cached.spans.selected, cursor) {
        (Some(command), _) => format!("{}: Enter shows its life", super::spans::spoken(scene, command)),
        (None, Some(at)) => {
            let mut text = format::full(at, &scene.model.zone);
            for curve in scene.curves.iter().filter(|curve| !curve.is_hidden).take(SAID_MAX) {
                text.push_str(&format!(
                    ", {} {}",
                    curve.name,
                    scene.said_at(curve, cached.trace(curve.id), at)
                ));
            }
            text
        }
        (None, None) => return,
    };
    let response = ui.interact(scene.area, id.with("said"), Sense::empty());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
    ui.ctx().accesskit_node_builder(response.id, |node| node.set_live(egui::accesskit::Live::Polite));
}
