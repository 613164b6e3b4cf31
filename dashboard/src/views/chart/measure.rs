//! The stretch between the two measuring cursors, A and B: what each series amounts to there, in rows below the plot.

use std::collections::HashMap;
use std::sync::Arc;

use egui::{Galley, Id, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};
use protocol::{SeriesId, Timestamp};

use super::{Curve, Scene};
use crate::format;
use crate::series::Measure;
use crate::theme::fonts;
use crate::views::widgets;

const ROW_HEIGHT: f32 = 18.0;
/// Gap between two columns.
const GAP: f32 = 16.0;
/// Room of a swatch with the gap behind it.
const SWATCH: f32 = 18.0;
/// Room of the triangle that warns of numbers that are not of all readings.
const WARNING: f32 = 13.0;
/// Least room for what the numbers lack; the triangle and the label say it too.
const NOTE_MIN: f32 = 60.0;
/// Most series that have a row; the table of the cursor says the others' values. Chosen: the plot must stay a plot.
const ROWS_MAX: usize = 8;
/// The least height of a plot above the rows.
const PLOT_MIN: f32 = 90.0;

/// What was measured, kept as long as nothing has changed.
#[derive(Default)]
pub(super) struct Measured {
    found: HashMap<SeriesId, (Key, Option<Measure>)>,
}

/// Everything that a measure depends on.
type Key = ((u64, i64), Timestamp, Timestamp, f64);

/// The two cursors, the earlier first.
pub(super) fn stretch(pins: &[Timestamp]) -> Option<(Timestamp, Timestamp)> {
    if let [one, other] = *pins { Some((one.min(other), one.max(other))) } else { None }
}

/// Room that the rows take below a plot with so much room; 0 if nothing is measured or there is not enough.
pub(super) fn height(pins: &[Timestamp], numbers: usize, room: f32) -> f32 {
    if stretch(pins).is_none() || numbers == 0 {
        return 0.0;
    }
    let rows = numbers.min(ROWS_MAX).min(((room - PLOT_MIN) / ROW_HEIGHT - 1.5).max(0.0) as usize);
    if rows == 0 { 0.0 } else { (rows as f32 + 1.5) * ROW_HEIGHT }
}

/// A row: its name, and what is said in each column.
struct Row<'a> {
    curve: Option<&'a Curve<'a>>,
    name: Arc<Galley>,
    cells: Vec<Arc<Galley>>,
    label: String,
    /// What the numbers lack, and what they are made of.
    note: String,
    /// Whether the numbers are not those of all readings.
    is_warned: bool,
}

/// What of a stretch the numbers of a series do not cover, and why.
fn lacks(
    scene: &Scene<'_>,
    curve: &Curve<'_>,
    found: Option<&Measure>,
    (from, to): (Timestamp, Timestamp),
) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Some(silent) = found.map(|measure| measure.silent).filter(|silent| *silent > 0) {
        lacks.push(format!("{} without readings", format::duration(silent)));
    }
    if scene.model.series_info(curve.id).is_some_and(|info| info.device.has_lost_between(from, to)) {
        lacks.push("some readings are lost for good".to_owned());
    }
    // What the view shows is on its way; what lies outside of it is not asked for.
    let is_outside = from < scene.from || to > scene.to;
    if found.is_none_or(|measure| measure.is_partial) {
        let store = &scene.model.series;
        let why = match (scene.model.connection.is_connected(), is_outside) {
            (false, _) => Some("history that is not here waits for the hub"),
            (true, true) => Some("what lies outside of the view may not be loaded: zoom out"),
            (true, false) if store.is_loading(curve.id) => Some("some is still loading"),
            (true, false) => found.map(|_| "some is not loaded yet"),
        };
        lacks.extend(why.map(str::to_owned));
    }
    lacks
}

/// What the numbers are made of, where that is not single readings.
fn basis(measure: &Measure) -> Option<String> {
    match (measure.thinned, measure.bucket) {
        (0, 0) => None,
        (0, bucket) => Some(format!("of buckets of {}", format::precise(bucket))),
        (thinned, _) => {
            let width = format::lifetime(thinned.unsigned_abs() / 1_000);
            Some(format!("thinned by retention, so partly of buckets of {width}"))
        }
    }
}

/// Draws the rows.
pub(super) fn rows(ui: &Ui, scene: &Scene<'_>, measured: &mut Measured, id: Id, rect: Rect) {
    let Some((from, to)) = stretch(&scene.model.pins).filter(|_| rect.height() > 0.0) else { return };
    let tokens = scene.tokens;
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let text = |text: String, font, color| painter.layout_no_wrap(text, font, color);
    let scale = Scale::of(to.micros_since(from));
    let count = (rect.height() / ROW_HEIGHT - 1.5).round().max(0.0) as usize;
    measured.found.retain(|id, _| scene.curves.iter().any(|curve| curve.id == *id));
    let mut rows = Vec::new();
    let numbers = scene.curves.iter().filter(|curve| !Scene::is_state(curve) && !curve.is_hidden);
    for curve in numbers.take(count) {
        let key = (scene.model.series.stamp(curve.id, from, to), from, to, scene.micros_per_pixel);
        let entry = measured.found.get(&curve.id).filter(|(known, _)| *known == key);
        let found = match entry {
            Some((_, found)) => *found,
            None => {
                let found = scene.model.series.measure(curve.id, from, to);
                measured.found.insert(curve.id, (key, found));
                found
            }
        };
        let lacks = lacks(scene, curve, found.as_ref(), (from, to));
        let basis = found.and_then(|measure| basis(&measure));
        let note = lacks.iter().chain(&basis).cloned().collect::<Vec<_>>().join("; ");
        let said = found.map(|measure| scale.say(&measure, curve.unit));
        let mut label = match &said {
            None => format!("{} between A and B: no readings", curve.name),
            Some(said) => {
                let parts: Vec<_> =
                    NAMES.iter().zip(said).map(|(name, value)| format!("{name} {value}")).collect();
                format!("{} between A and B: {}", curve.name, parts.join(", "))
            }
        };
        if !note.is_empty() {
            label.push_str(": ");
            label.push_str(&note);
        }
        let color = tokens.text;
        let cells = said.map_or_else(
            || vec![text("no readings".to_owned(), fonts::regular(11.5), tokens.text_weak)],
            |said| said.into_iter().map(|value| text(value, fonts::mono(11.5), color)).collect(),
        );
        let is_warned = !lacks.is_empty() || found.is_some_and(|measure| measure.thinned > 0);
        let name = text(format::ellipsis(&curve.name, 32), fonts::regular(12.0), tokens.text_secondary);
        rows.push(Row { curve: Some(curve), name, cells, label, note, is_warned });
    }
    let clock = |at| format::clock_or_date(at, scene.model.now(), &scene.model.zone);
    let span = format::duration(to.micros_since(from));
    let heading = Row {
        curve: None,
        name: text(format!("A–B {span}"), fonts::mono(11.0), tokens.accent),
        cells: NAMES
            .iter()
            .map(|name| text((*name).to_owned(), fonts::regular(11.0), tokens.text_weak))
            .collect(),
        label: format!("From A at {} to B at {}: {span}", clock(from), clock(to)),
        note: String::new(),
        is_warned: false,
    };
    rows.insert(0, heading);
    paint(ui, scene, id, rect, &rows);
}

fn paint(ui: &Ui, scene: &Scene<'_>, id: Id, rect: Rect, rows: &[Row<'_>]) {
    let tokens = scene.tokens;
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    painter.hline(rect.x_range(), rect.top(), Stroke::new(1.0, tokens.line));
    let widest = |of: &dyn Fn(&Row<'_>) -> f32| rows.iter().map(of).fold(0.0, f32::max);
    let warning = if rows.iter().any(|row| row.is_warned) { WARNING } else { 0.0 };
    let name_width = widest(&|row| row.name.size().x) + SWATCH + warning;
    let widths: Vec<f32> = (0..NAMES.len())
        .map(|i| widest(&|row| if row.cells.len() > 1 { row.cells[i].size().x } else { 0.0 }) + GAP)
        .collect();
    for (i, row) in rows.iter().enumerate() {
        let y = rect.top() + ROW_HEIGHT * (i as f32 + 0.8);
        let place =
            Rect::from_min_size(pos2(rect.left(), y - ROW_HEIGHT / 2.0), vec2(rect.width(), ROW_HEIGHT));
        let response = ui.interact(place, id.with(("measure", i)), Sense::empty());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &row.label));
        if !row.note.is_empty() {
            response.on_hover_text(format::humanize(&row.note));
        }
        if let Some(curve) = row.curve {
            painter.line_segment(
                [pos2(rect.left(), y), pos2(rect.left() + 10.0, y)],
                Stroke::new(2.5, curve.color),
            );
        }
        let mut indent = if row.curve.is_some() { SWATCH } else { 0.0 };
        if row.is_warned {
            widgets::alert_on(&painter, pos2(rect.left() + indent + 4.0, y), 4.0, tokens.warn);
            indent += WARNING;
        }
        painter.galley(
            pos2(rect.left() + indent, y - row.name.size().y / 2.0),
            Arc::clone(&row.name),
            tokens.text,
        );
        let mut right = rect.left() + name_width;
        let mut has_room = true;
        for (cell, width) in row.cells.iter().zip(&widths) {
            right += if row.cells.len() > 1 { *width } else { cell.size().x + GAP };
            // What does not fit is left out; the label says all.
            if right > rect.right() {
                has_room = false;
                break;
            }
            let at = pos2(right - cell.size().x, y - cell.size().y / 2.0);
            painter.galley(at, Arc::clone(cell), tokens.text);
        }
        if has_room && !row.note.is_empty() {
            let (at, room) = (pos2(right + GAP, y), rect.right() - right - GAP);
            let color = if row.is_warned { tokens.warn } else { tokens.text_weak };
            if room >= NOTE_MIN {
                widgets::text_in(ui, at, room, &row.note, fonts::regular(11.0), color);
            }
        }
    }
}

/// What is said of each series, in this order.
const NAMES: [&str; 7] = ["min", "max", "mean", "change", "rate", "integral", "readings"];

/// The unit of time in which rates and integrals are told: what fits the stretch.
#[derive(Clone, Copy)]
struct Scale {
    seconds: f64,
    name: &'static str,
}

impl Scale {
    const fn of(micros: i64) -> Self {
        match micros / 1_000_000 {
            0..120 => Self { seconds: 1.0, name: "s" },
            120..7_200 => Self { seconds: 60.0, name: "min" },
            _ => Self { seconds: 3_600.0, name: "h" },
        }
    }

    fn say(self, measure: &Measure, unit: Option<&str>) -> [String; 7] {
        let unit = unit.map(format::unit).unwrap_or_default();
        let signed = |n: f64| if n > 0.0 { format!("+{}", format::number(n)) } else { format::number(n) };
        let name = self.name;
        let times = if unit.is_empty() { name.to_owned() } else { format!("{unit}·{name}") };
        let rough = if measure.bucket > 0 || measure.thinned > 0 { "≈" } else { "" };
        [
            format::number(measure.min),
            format::number(measure.max),
            format::number(measure.mean),
            signed(measure.change()),
            measure.rate().map_or_else(
                || "–".to_owned(),
                |rate| format!("{} {unit}/{name}", signed(rate * self.seconds)),
            ),
            format!("{} {times}", format::number(measure.integral / self.seconds)),
            format!("{rough}{}", format::count(measure.count)),
        ]
    }
}
