//! The legend of a chart: for each series a swatch, its name, and its value.
//!
//! It stands beside the title where there is room, or with the part of the names that tells them apart; otherwise in a few
//! rows below it. What finds no place even there is behind a button.
//!
//! Values are the latest ones, or those under the cursor while there is one: a reading, or the mean of those that share
//! a pixel with their range beside it. A click hides a series or shows it again, with Alt it is the only one shown;
//! pointing at one dims the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use egui::{Align2, Galley, Id, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use protocol::SeriesId;

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
const ENTRY_GAP: f32 = 14.0;
/// Room for how many entries found no place.
const MORE_WIDTH: f32 = 34.0;
/// The share of a row that a title has at least beside entries.
const TITLE_SHARE: f32 = 0.42;
/// Height of a row below the title, and how far it reaches up into the air around that.
pub(super) const ROW: f32 = 18.0;
const ROW_LIFT: f32 = 4.0;
/// Columns below the title are so many points wide, or twice as many, and so on: they stay where they are while numbers
/// change.
const COLUMN_STEP: f32 = 12.0;
/// Room that is left over where rows below the title go away again.
const SLACK: f32 = 24.0;
/// Longest name where there is little room, in characters.
const SHORT_NAME: usize = 14;

/// What the legend says of a series.
pub(super) struct Entry {
    name: Arc<Galley>,
    /// The name as it is told from the others of the chart where there is little room.
    short: Option<Arc<Galley>>,
    value: Arc<Galley>,
    /// Smallest and largest value, where the value is a mean.
    range: Option<Arc<Galley>>,
    label: String,
    /// How much of what is shown is beyond the limits of the series.
    beyond: Option<(Level, Arc<Galley>)>,
    /// Age of a value that is too old to stand for what is now, in microseconds.
    stale: Option<i64>,
    /// Whether another one is looked at.
    is_faint: bool,
}

impl Entry {
    fn named(&self, name: Name) -> Option<&Arc<Galley>> {
        match name {
            Name::None => None,
            Name::Short => self.short.as_ref(),
            Name::Full => Some(&self.name),
        }
    }

    fn width(&self, name: Name, is_ranged: bool) -> f32 {
        let name = self.named(name).map_or(0.0, |name| name.size().x + NAME_GAP);
        let range = self.range.as_ref().filter(|_| is_ranged).map_or(0.0, |r| r.size().x + NAME_GAP);
        let beyond = self.beyond.as_ref().map_or(0.0, |(_, count)| ALERT + count.size().x + NAME_GAP);
        SWATCH + name + self.value.size().x + range + beyond
    }
}

/// How much of a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Nothing: the title names a single series.
    None,
    Short,
    Full,
}

/// The rows of a legend below the title that a chart of some width and some series had: they do not come and go with the
/// width of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rows {
    width: f32,
    series: usize,
    count: usize,
}

/// Where the entries of a legend are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    name: Name,
    is_ranged: bool,
    /// How many are shown; the others are behind a button.
    shown: usize,
    /// The columns below the title and their width; `None`: beside the title.
    grid: Option<(usize, f32)>,
    /// Rows below the title.
    rows: usize,
}

impl Plan {
    /// The room that is taken below the title.
    pub(super) fn height(&self) -> f32 {
        self.rows as f32 * ROW
    }

    /// The room beside a title of this width that the entries leave in a row of that width.
    pub(super) fn room_for_title(&self, entries: &[Entry], width: f32, title: f32) -> f32 {
        if self.grid.is_some() {
            return if self.shown < entries.len() { width - MORE_WIDTH } else { width };
        }
        let left = width - needed(entries, self.name, false);
        left.max(width * TITLE_SHARE).min(width - MORE_WIDTH).min(title.max(0.0))
    }
}

fn needed(entries: &[Entry], name: Name, is_ranged: bool) -> f32 {
    entries.iter().map(|entry| entry.width(name, is_ranged) + ENTRY_GAP).sum()
}

/// Decides where the entries are, so that each has its name: beside a title of this width, with short names there, or in
/// at most `rows_max` rows below.
pub(super) fn plan(
    scene: &Scene<'_>,
    painter: &egui::Painter,
    entries: &mut [Entry],
    (width, title): (f32, f32),
    rows_max: usize,
    kept: &mut Rows,
) -> Plan {
    let all = entries.len();
    let beside = |entries: &[Entry], name| {
        let is_ranged = title + needed(entries, name, true) <= width;
        Plan { name, is_ranged, shown: all, grid: None, rows: 0 }
    };
    if all <= 1 {
        return beside(entries, Name::None);
    }
    if (kept.width, kept.series) != (width, all) {
        *kept = Rows { width, series: all, count: 0 };
    }
    // Rows that are there go away only when there is more than enough room without them.
    let stays = kept.count.min(rows_max);
    let slack = if stays > 0 { SLACK } else { 0.0 };
    let fits = |entries: &[Entry], name| title + needed(entries, name, false) + slack <= width;
    if fits(entries, Name::Full) {
        kept.count = 0;
        return beside(entries, Name::Full);
    }
    shorten(scene, painter, entries);
    if rows_max == 0 || fits(entries, Name::Short) {
        kept.count = 0;
        let mut plan = beside(entries, Name::Short);
        let room = width - plan.room_for_title(entries, width, title);
        if needed(entries, Name::Short, false) > room {
            let mut taken = MORE_WIDTH;
            let fits = |entry: &&Entry| {
                taken += entry.width(Name::Short, false) + ENTRY_GAP;
                taken <= room
            };
            plan.shown = entries.iter().take_while(fits).count();
        }
        return plan;
    }
    let grid = |name, slack: f32| {
        let widest = entries.iter().map(|entry| entry.width(name, false)).fold(0.0, f32::max) + slack;
        let column = (widest / COLUMN_STEP).ceil() * COLUMN_STEP + ENTRY_GAP;
        let columns = (((width + ENTRY_GAP) / column) as usize).max(1);
        (columns, column, all.div_ceil(columns))
    };
    let (full, short) = (grid(Name::Full, 0.0), grid(Name::Short, 0.0));
    // Short names only where they save a row.
    let (name, (columns, column, rows)) =
        if full.2 <= short.2 { (Name::Full, full) } else { (Name::Short, short) };
    let stays = stays.min(grid(name, SLACK).2);
    let shown = all.min(columns * rows_max);
    let rows = rows.min(rows_max).max(stays);
    kept.count = rows;
    Plan { name, is_ranged: true, shown, grid: Some((columns, column)), rows }
}

/// Gives each entry the part of its name that tells it from the others.
fn shorten(scene: &Scene<'_>, painter: &egui::Painter, entries: &mut [Entry]) {
    let names: Vec<&str> = scene.curves.iter().map(|curve| curve.name.as_str()).collect();
    for (entry, short) in entries.iter_mut().zip(short_names(&names)) {
        let tokens = scene.tokens;
        let color = if entry.is_faint { tokens.text_weak } else { tokens.text_secondary };
        entry.short = Some(painter.layout_no_wrap(short, fonts::regular(TEXT_SIZE), color));
    }
}

/// Names without what they all begin with, and without the middle of what is long; each still differs from the others.
fn short_names(names: &[&str]) -> Vec<String> {
    let first = names.first().copied().unwrap_or_default();
    let common = names.iter().fold(first.len(), |common, name| {
        let same = first.char_indices().zip(name.chars()).take_while(|((_, a), b)| a == b);
        same.map(|((at, a), _)| at + a.len_utf8()).last().unwrap_or(0).min(common)
    });
    // Words and numbers stay whole.
    let is_end = |c: char| !c.is_alphanumeric();
    let common =
        first[..common].char_indices().rfind(|(_, c)| is_end(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let rests: Vec<&str> = names.iter().map(|name| &name[common..]).collect();
    let mark = if common > 1 { "…" } else { "" };
    let short = |rest: &&str| {
        let chars: Vec<char> = rest.chars().collect();
        let (head, tail) = (SHORT_NAME / 2 - 1, SHORT_NAME / 2);
        if chars.len() <= SHORT_NAME {
            return format!("{mark}{rest}");
        }
        let (head, tail) = (chars[..head].iter(), chars[chars.len() - tail..].iter());
        head.chain(&['…']).chain(tail).collect()
    };
    let cut: Vec<String> = rests.iter().map(short).collect();
    let differ = cut.iter().collect::<BTreeSet<_>>().len() == names.iter().collect::<BTreeSet<_>>().len();
    if differ { cut } else { names.iter().map(ToString::to_string).collect() }
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
                is_faint: faint,
                short: None,
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

/// Draws the entries, and returns the left edge of those beside the title.
pub(super) fn legend(
    ui: &mut Ui,
    scene: &Scene<'_>,
    id: Id,
    rect: Rect,
    entries: &[Entry],
    plan: &Plan,
    cached: &mut PerChart,
) -> f32 {
    let (shown, rest) = entries.split_at(plan.shown.min(entries.len()));
    let mut highlighted = None;
    let mut left = rect.right();
    if !rest.is_empty() {
        let place = Rect::from_min_max(pos2(left - MORE_WIDTH + ENTRY_GAP, rect.top()), rect.max);
        left = place.left() - ENTRY_GAP;
        highlighted = more(ui, scene, id, place, &scene.curves[shown.len()..], rest, cached);
    }
    if let Some((columns, width)) = plan.grid {
        for (i, (curve, shown)) in scene.curves.iter().zip(shown).enumerate() {
            let at = vec2((i % columns) as f32 * width, (i / columns) as f32 * ROW - ROW_LIFT);
            let place = Rect::from_min_size(rect.left_bottom() + at, vec2(width - ENTRY_GAP, ROW));
            let is_ranged = shown.width(plan.name, true) <= place.width();
            if entry(ui, scene, id, place, curve, shown, (plan.name, is_ranged), cached) {
                highlighted = Some(curve.id);
            }
        }
    } else {
        for (curve, shown) in scene.curves.iter().zip(shown).rev() {
            let width = shown.width(plan.name, plan.is_ranged);
            let place = Rect::from_min_max(pos2(left - width, rect.top()), pos2(left, rect.bottom()));
            if entry(ui, scene, id, place, curve, shown, (plan.name, plan.is_ranged), cached) {
                highlighted = Some(curve.id);
            }
            left = place.left() - ENTRY_GAP;
        }
    }
    cached.highlighted = highlighted;
    left
}

/// A button with how many series found no place, which shows them. Returns the one that the pointer is over.
fn more(
    ui: &Ui,
    scene: &Scene<'_>,
    id: Id,
    place: Rect,
    curves: &[Curve<'_>],
    entries: &[Entry],
    cached: &mut PerChart,
) -> Option<SeriesId> {
    let tokens = scene.tokens;
    let text = format!("+{}", entries.len());
    let response = ui.interact(place, id.with("more"), Sense::click());
    let name = format!("{} more series", entries.len());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
    let color = if response.hovered() { tokens.text } else { tokens.text_secondary };
    let at = place.left_center();
    ui.painter().text(at, Align2::LEFT_CENTER, text, fonts::mono(TEXT_SIZE), color);
    widgets::focus_ring(ui, &response, place);
    let mut highlighted = None;
    let width = entries.iter().map(|entry| entry.width(Name::Full, false)).fold(0.0, f32::max);
    let response = response.on_hover_cursor(egui::CursorIcon::PointingHand);
    egui::Popup::menu(&response).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        let height = ui.ctx().content_rect().height() * 0.5;
        let margin = egui::Margin { left: 4, right: 12, ..egui::Margin::ZERO };
        let area = egui::ScrollArea::vertical().max_height(height).content_margin(margin);
        area.show(ui, |ui| {
            for (curve, rest) in curves.iter().zip(entries) {
                let (place, _) = ui.allocate_exact_size(vec2(width, ROW + 4.0), Sense::hover());
                if entry(ui, scene, id, place, curve, rest, (Name::Full, false), cached) {
                    highlighted = Some(curve.id);
                }
            }
        });
    });
    highlighted
}

/// Draws one entry. Returns whether its series is to be shown before the others.
#[expect(clippy::too_many_arguments, reason = "where, what, how")]
fn entry(
    ui: &Ui,
    scene: &Scene<'_>,
    id: Id,
    place: Rect,
    curve: &Curve<'_>,
    entry: &Entry,
    (name, is_ranged): (Name, bool),
    cached: &mut PerChart,
) -> bool {
    let tokens = scene.tokens;
    let painter = ui.painter();
    let grown = if place.height() > ROW + 4.0 { vec2(4.0, -4.0) } else { vec2(4.0, 0.0) };
    let response = ui.interact(place.expand2(grown), id.with(("legend", curve.id)), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, true, !curve.is_hidden, &entry.label));
    let is_hovered = response.hovered();
    if is_hovered {
        ui.ctx().set_cursor_icon(egui::CursorIcon::PointingHand);
    }
    let response = response.on_hover_ui(|ui| explain(ui, scene, curve, cached.trace(curve.id)));
    if response.clicked() {
        let is_alone = ui.input(|i| i.modifiers.alt);
        toggle(scene, cached, curve, is_alone);
    }
    let y = place.center().y;
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
    let mut x = place.left() + SWATCH;
    if let Some(name) = entry.named(name) {
        painter.galley(pos2(x, y - name.size().y / 2.0), Arc::clone(name), tokens.text);
        x += name.size().x + NAME_GAP;
    }
    painter.galley(pos2(x, y - entry.value.size().y / 2.0), Arc::clone(&entry.value), tokens.text);
    x += entry.value.size().x + NAME_GAP;
    if let Some((level, count)) = &entry.beyond {
        let color = widgets::level_color(tokens, *level);
        widgets::alert_on(painter, pos2(x + 4.0, y), 4.0, color);
        painter.galley(pos2(x + ALERT, y - count.size().y / 2.0), Arc::clone(count), color);
        x += ALERT + count.size().x + NAME_GAP;
    }
    if let Some(range) = entry.range.as_ref().filter(|_| is_ranged) {
        painter.galley(pos2(x, y - range.size().y / 2.0), Arc::clone(range), tokens.text_weak);
    }
    is_hovered && !curve.is_hidden
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_keep_what_tells_them_apart() {
        assert_eq!(short_names(&["cold-room-01", "cold-room-02"]), ["…01", "…02"]);
        assert_eq!(short_names(&["cold-room-01", "cold-room"]), ["…room-01", "…room"]);
        assert_eq!(short_names(&["Temperature", "Humidity"]), ["Temperature", "Humidity"]);
        assert_eq!(short_names(&["boiler-1", "a"]), ["boiler-1", "a"]);
        let long = ["press-01 Oil temperature", "press-02 Oil temperature"];
        assert_eq!(short_names(&long), ["01 Oil…erature", "02 Oil…erature"]);
        // What would be the same when it is cut stays whole; the same name twice stays the same.
        let same = ["pump-17-outer-ring-north-x", "pump-1b-outer-ring-north-x", "other"];
        assert_eq!(short_names(&same), same);
        assert_eq!(short_names(&["é-1", "é-2", "é-1"]), ["…1", "…2", "…1"]);
        assert_eq!(short_names(&[]), Vec::<String>::new());
    }
}
