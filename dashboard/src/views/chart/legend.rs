//! The legend of a chart: for each series a swatch, its name if there is room, and its value.
//!
//! Values are the latest ones, or those under the cursor while there is one: a reading, or the mean of those that share
//! a pixel with their range beside it. A click hides a series or shows it again, with Alt it is the only one shown;
//! pointing at one dims the others.

use std::sync::Arc;

use egui::{Align2, Galley, Id, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2};

use super::cache::PerChart;
use super::explain::explain;
use super::{Curve, Scene};
use crate::format;
use crate::model::thresholds::Level;
use crate::series::Column;
use crate::theme::fonts;
use crate::views::widgets;

/// Size of names and values.
const TEXT_SIZE: f32 = 12.0;
/// Size of the range beside a mean.
const RANGE_SIZE: f32 = 10.5;
/// Width of a swatch with the gap behind it.
const SWATCH: f32 = 16.0;
/// Width of the triangle of what is beyond a limit.
const ALERT: f32 = 12.0;
/// Gap between a name and its value.
const NAME_GAP: f32 = 6.0;
/// Gap between entries.
pub(super) const ENTRY_GAP: f32 = 14.0;
/// Room for how many entries found no place.
pub(super) const MORE_WIDTH: f32 = 34.0;

pub(super) struct Entry {
    name: Arc<Galley>,
    value: Arc<Galley>,
    /// Smallest and largest value, where the value is a mean.
    range: Option<Arc<Galley>>,
    label: String,
    /// How much of what is shown is beyond the limits of the series.
    beyond: Option<(Level, Arc<Galley>)>,
    /// Age of a value that is too old to stand for what is now, in microseconds.
    stale: Option<i64>,
}

impl Entry {
    pub(super) fn width(&self, is_named: bool, is_ranged: bool) -> f32 {
        let name = if is_named { self.name.size().x + NAME_GAP } else { 0.0 };
        let range = self.range.as_ref().filter(|_| is_ranged).map_or(0.0, |r| r.size().x + NAME_GAP);
        let beyond = self.beyond.as_ref().map_or(0.0, |(_, count)| ALERT + count.size().x + NAME_GAP);
        SWATCH + name + self.value.size().x + range + beyond
    }
}

/// What the legend says of each series.
pub(super) fn entries(
    ui: &Ui,
    scene: &Scene<'_>,
    painter: &egui::Painter,
    is_unit_shown: bool,
    cached: &PerChart,
) -> Vec<Entry> {
    let tokens = scene.tokens;
    scene
        .curves
        .iter()
        .map(|curve| {
            let faint = curve.is_hidden || cached.highlighted.is_some_and(|lit| lit != curve.id);
            let (name, value) = if faint {
                (tokens.text_weak, tokens.text_weak)
            } else {
                (tokens.text_secondary, tokens.text)
            };
            let (text, column) = value_text(scene, curve, cached);
            let trace = cached.trace(curve.id);
            let cursor = scene.model.cursor.filter(|at| *at >= scene.from && *at <= scene.to);
            let stale = if cursor.is_none() { scene.stale_for(curve, trace) } else { None };
            let shown = text;
            let mut label = format!("{} {}", curve.name, format::with_unit(shown.clone(), curve.unit));
            let mean = column.filter(|c| c.count > 1 && !Scene::is_state(curve));
            if let Some(Column { count, min, max, .. }) = mean {
                let (min, max) = (format::number(min), format::number(max));
                label.push_str(&format!(", the mean of {count} readings from {min} to {max}"));
            }
            if let Some(age) = stale {
                label.push_str(&format!(", stale, {}", format::age(age)));
                ui.ctx().request_repaint_after(format::age_changes_in(age));
            }
            if let (Some(at), None) = (cursor, column) {
                label.push_str(&format!(", {}", scene.silence(curve, trace, at)));
            }
            let range = mean.filter(|c| c.min < c.max && !faint).map(|c| {
                let text = format!("{}…{}", format::number(c.min), format::number(c.max));
                painter.layout_no_wrap(text, fonts::mono(RANGE_SIZE), tokens.text_weak)
            });
            let count = trace
                .filter(|_| !curve.limits.is_empty() && !curve.is_hidden)
                .map(|trace| curve.limits.count(trace, scene.from.0, scene.to.0));
            let beyond = count.and_then(|count| {
                let level = count.level()?;
                let total = count.alarms + count.warnings;
                let what = match (count.is_rough, total) {
                    (true, 1) => "column with readings",
                    (true, _) => "columns with readings",
                    (false, 1) => "reading",
                    (false, _) => "readings",
                };
                let (total, alarms) = (format::count(total), format::count(count.alarms));
                label.push_str(&format!(", {total} {what} beyond limits, {alarms} of them alarms"));
                Some((
                    level,
                    painter.layout_no_wrap(
                        total,
                        fonts::mono(RANGE_SIZE),
                        widgets::level_color(tokens, level),
                    ),
                ))
            });
            // The age of a stale value is worth more than a name: it is always shown.
            let text = |text: String| match stale {
                Some(age) => format!("{text} · {}", format::age(age)),
                None => text,
            };
            let value = if stale.is_some() { tokens.text_weak } else { value };
            let shown = if is_unit_shown { format::with_unit(shown, curve.unit) } else { shown };
            Entry {
                name: painter.layout_no_wrap(curve.name.clone(), fonts::regular(TEXT_SIZE), name),
                value: painter.layout_no_wrap(text(shown), fonts::mono(TEXT_SIZE), value),
                range,
                beyond,
                stale,
                label,
            }
        })
        .collect()
}

/// Draws as much of the legend as there is room for, and returns its left edge.
pub(super) fn legend(
    ui: &mut Ui,
    scene: &Scene<'_>,
    id: Id,
    rect: Rect,
    title_width: f32,
    entries: &[Entry],
    cached: &mut PerChart,
) -> f32 {
    let tokens = scene.tokens;
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let room = rect.width() - title_width - ENTRY_GAP;
    let needed = |is_named, is_ranged| {
        entries.iter().map(|entry| entry.width(is_named, is_ranged) + ENTRY_GAP).sum::<f32>()
    };
    // A single series is named by the title.
    let is_named = entries.len() > 1 && needed(true, false) <= room + ENTRY_GAP;
    let is_ranged = needed(is_named, true) <= room + ENTRY_GAP;
    let mut x = rect.right();
    let mut shown = entries.len();
    if needed(is_named, false) > room + ENTRY_GAP {
        let mut width = MORE_WIDTH;
        shown = entries
            .iter()
            .take_while(|entry| {
                width += entry.width(is_named, is_ranged) + ENTRY_GAP;
                width <= room
            })
            .count();
        let more = format!("+{}", entries.len() - shown);
        let at = pos2(x, rect.center().y);
        x -= painter.text(at, Align2::RIGHT_CENTER, more, fonts::mono(TEXT_SIZE), tokens.text_weak).width()
            + ENTRY_GAP;
    }
    let mut highlighted = None;
    for (curve, entry) in scene.curves.iter().zip(entries).take(shown).rev() {
        let width = entry.width(is_named, is_ranged);
        let place = Rect::from_min_max(pos2(x - width, rect.top()), pos2(x, rect.bottom()));
        let response =
            ui.interact(place.expand2(vec2(4.0, -4.0)), id.with(("legend", curve.id)), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, !curve.is_hidden, &entry.label));
        if response.hovered() {
            highlighted = Some(curve.id).filter(|_| !curve.is_hidden);
            ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
        }
        let response = response.on_hover_ui(|ui| explain(ui, scene, curve, cached.trace(curve.id)));
        if response.clicked() {
            let is_alone = ui.input(|i| i.modifiers.alt);
            toggle(scene, cached, curve, is_alone);
        }
        let y = rect.center().y;
        let color = if curve.is_hidden { tokens.line } else { curve.color };
        let swatch = [pos2(place.left(), y), pos2(place.left() + 10.0, y)];
        if entry.stale.is_some() {
            // A hollow ring says stale everywhere.
            painter.circle_stroke(pos2(place.left() + 5.0, y), 3.5, Stroke::new(1.5, color));
        } else if curve.is_dashed {
            painter.extend(egui::Shape::dashed_line(&swatch, Stroke::new(2.5, color), 4.0, 2.0));
        } else {
            painter.line_segment(swatch, Stroke::new(2.5, color));
        }
        let mut text_x = place.left() + SWATCH;
        if is_named {
            painter.galley(pos2(text_x, y - entry.name.size().y / 2.0), Arc::clone(&entry.name), tokens.text);
            text_x += entry.name.size().x + NAME_GAP;
        }
        painter.galley(pos2(text_x, y - entry.value.size().y / 2.0), Arc::clone(&entry.value), tokens.text);
        let mut range_x = text_x + entry.value.size().x + NAME_GAP;
        if let Some((level, count)) = &entry.beyond {
            let color = widgets::level_color(tokens, *level);
            widgets::alert_on(&painter, pos2(range_x + 4.0, y), 4.0, color);
            painter.galley(pos2(range_x + ALERT, y - count.size().y / 2.0), Arc::clone(count), color);
            range_x += ALERT + count.size().x + NAME_GAP;
        }
        if let Some(range) = entry.range.as_ref().filter(|_| is_ranged) {
            painter.galley(pos2(range_x, y - range.size().y / 2.0), Arc::clone(range), tokens.text_weak);
        }
        x = place.left() - ENTRY_GAP;
    }
    cached.highlighted = highlighted;
    x
}

fn toggle(scene: &Scene<'_>, cached: &mut PerChart, curve: &Curve<'_>, is_alone: bool) {
    let others: Vec<_> = scene.curves.iter().map(|c| c.id).filter(|id| *id != curve.id).collect();
    if is_alone {
        let was_alone = !curve.is_hidden && others.iter().all(|id| cached.hidden.contains(id));
        cached.hidden.clear();
        if !was_alone {
            cached.hidden.extend(others);
        }
    } else if !cached.hidden.remove(&curve.id) {
        cached.hidden.insert(curve.id);
    }
}

/// The value under the cursor with what it is made of, or the latest one; without its unit.
fn value_text(scene: &Scene<'_>, curve: &Curve<'_>, cached: &PerChart) -> (String, Option<Column>) {
    let none = || "–".to_owned();
    match scene.model.cursor {
        Some(at) if at >= scene.from && at <= scene.to => {
            let column = cached
                .trace(curve.id)
                .and_then(|trace| if Scene::is_state(curve) { trace.holding(at) } else { trace.nearest(at) });
            let text = column.map_or_else(none, |column| {
                if Scene::is_state(curve) {
                    scene.state_text(curve, column)
                } else {
                    format::number(column.mean)
                }
            });
            (text, column.copied())
        }
        _ => (scene.model.series.latest(curve.id).map_or_else(none, |(_, v)| format::value(&v)), None),
    }
}
