//! What charts keep from frame to frame: traces, triangles, axis ranges, what the user hid.

use std::collections::{BTreeSet, HashMap};

use egui::{Id, Pos2, Shape, Vec2, pos2};
use protocol::{SeriesId, Timestamp};

use super::colors::Colors;
use super::legend::Rows;
use super::measure::Measured;
use super::mesh::{Look, Map, Pen};
use super::scale::Scale;
use super::spans::Spans;
use super::{ChartSpec, Scene};
use crate::series::Trace;
use crate::ticks::{self, TimeTick};

/// More lanes than a chart has: those of units that it had.
const LANES_MAX: usize = 16;
/// Frames after which a chart that is not drawn any more is forgotten. Chosen: a tab can be flipped there and back.
const FORGET_AFTER: u64 = 600;

/// The caches of all charts.
#[derive(Default)]
pub struct ChartCache {
    charts: HashMap<Id, PerChart>,
    round: u64,
}

impl ChartCache {
    /// How often curves were turned into triangles, in the charts that are remembered. For tests of what a frame costs.
    pub fn meshes_made(&self) -> u64 {
        self.charts.values().map(|chart| chart.meshes_made).sum()
    }

    /// Whether a chart is shown as a table.
    pub fn is_table(&self, id: Id) -> bool {
        self.charts.get(&id).is_some_and(|chart| chart.is_table)
    }

    /// Shows a chart as a table, or as a chart again.
    pub fn toggle_table(&mut self, id: Id) {
        let chart = self.of(id);
        chart.is_table = !chart.is_table;
    }

    /// A cache that has only this chart, with the same colours, series hidden and axes, and the size of the chart.
    pub(super) fn copy_of(&self, id: Id) -> Option<(Self, Vec2)> {
        let chart = self.charts.get(&id)?;
        let (scales, hidden) = (chart.scales.clone(), chart.hidden.clone());
        let copy = PerChart { scales, hidden, colors: chart.colors.clone(), ..PerChart::default() };
        Some((Self { charts: [(id, copy)].into(), round: 0 }, chart.size?))
    }

    /// The series of a chart that are not hidden, and how many microseconds a pixel of it shows.
    pub fn shown(&self, id: Id, spec: &ChartSpec) -> Option<(Vec<SeriesId>, f64)> {
        let chart = self.charts.get(&id)?;
        let shown = spec.series.iter().copied().filter(|series| !chart.hidden.contains(series));
        Some((shown.collect(), chart.micros_per_pixel?))
    }

    pub(super) fn of(&mut self, id: Id) -> &mut PerChart {
        self.round += 1;
        if self.round.is_multiple_of(FORGET_AFTER) {
            let oldest = self.round - FORGET_AFTER;
            self.charts.retain(|_, chart| chart.used > oldest);
        }
        let chart = self.charts.entry(id).or_default();
        chart.used = self.round;
        chart
    }
}

/// The cache of one chart.
#[derive(Default)]
pub(super) struct PerChart {
    used: u64,
    meshes_made: u64,
    curves: HashMap<SeriesId, Cached>,
    lanes: HashMap<Id, Drawn>,
    /// The marks of the time axis, and the view that they belong to.
    ticks: Vec<TimeTick>,
    ticks_of: Option<(Timestamp, Timestamp, f32)>,
    /// Axis ranges by unit, and whether they are powers of ten.
    pub(super) scales: HashMap<(String, bool), Scale>,
    /// Which series has which colour.
    pub(super) colors: Colors,
    /// Series that were switched off in the legend.
    pub(super) hidden: BTreeSet<SeriesId>,
    /// The series whose name in the legend is under the pointer.
    pub(super) highlighted: Option<SeriesId>,
    /// The rows that the legend takes below the title.
    pub(super) legend_rows: Rows,
    /// The commands, laid out.
    pub(super) spans: Spans,
    /// How large it was drawn last, and how many microseconds a pixel showed.
    pub(super) size: Option<Vec2>,
    pub(super) micros_per_pixel: Option<f64>,
    /// Whether it is shown as a table, and how far that is scrolled.
    pub(super) is_table: bool,
    pub(super) table_scroll: f32,
    /// Whether it had the keyboard in the last frame.
    pub(super) has_keyboard: bool,
    /// Whether the pointer was over the chart in the last frame.
    pub(super) was_hovered: bool,
    /// What was measured between the two cursors.
    pub(super) measured: Measured,
    /// Where measuring was begun.
    pub(super) measure_from: Option<Timestamp>,
    /// Where a box was begun with the secondary button.
    pub(super) box_from: Option<f32>,
}

/// One curve.
#[derive(Default)]
struct Cached {
    trace: Trace,
    trace_key: Option<TraceKey>,
    /// Where it was drawn last.
    map: Option<Map>,
}

/// The curves of one lane, and what they were drawn of.
#[derive(Default)]
struct Drawn {
    map: Option<Map>,
    curves: Vec<(SeriesId, Look, Option<TraceKey>)>,
    shapes: Vec<Shape>,
}

/// Everything that a trace depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TraceKey {
    stamp: (u64, i64),
    from: Timestamp,
    to: Timestamp,
    micros_per_pixel: f64,
}

impl PerChart {
    /// Brings the traces and the marks of the time axis up to date.
    pub(super) fn update(&mut self, scene: &Scene<'_>) {
        let view = (scene.from, scene.to, scene.area.width());
        if self.ticks_of.replace(view) != Some(view) {
            let width = f64::from(scene.area.width());
            self.ticks = ticks::time_ticks(scene.from, scene.to, width, &scene.model.zone);
        }
        self.curves.retain(|id, _| scene.curves.iter().any(|curve| curve.id == *id));
        for curve in &scene.curves {
            let cached = self.curves.entry(curve.id).or_default();
            let store = &scene.model.series;
            let key = TraceKey {
                stamp: store.stamp(curve.id, scene.from, scene.to),
                from: scene.from,
                to: scene.to,
                micros_per_pixel: scene.micros_per_pixel,
            };
            if cached.trace_key.replace(key) != Some(key) {
                store.trace(curve.id, scene.from, scene.to, scene.micros_per_pixel, &mut cached.trace);
            }
        }
    }

    /// What is known of a series in this view.
    pub(super) fn trace(&self, series: SeriesId) -> Option<&Trace> {
        self.curves.get(&series).map(|cached| &cached.trace)
    }

    /// The marks of the time axis.
    pub(super) fn ticks(&self) -> &[TimeTick] {
        &self.ticks
    }

    /// The shapes of the curves of a lane. All are drawn anew if one has changed: to gather them from what was kept of each
    /// costs as much.
    pub(super) fn shapes(&mut self, lane: Id, curves: &[(SeriesId, Look)], map: Map) -> &[Shape] {
        let trace_key = |series| self.curves.get(series).and_then(|cached: &Cached| cached.trace_key);
        let curves: Vec<_> = curves.iter().map(|(id, look)| (*id, *look, trace_key(id))).collect();
        if self.lanes.len() > LANES_MAX {
            self.lanes.clear();
        }
        let drawn = self.lanes.entry(lane).or_default();
        if drawn.map != Some(map) || drawn.curves != curves {
            let mut pen = Pen::reusing(std::mem::take(&mut drawn.shapes));
            for (series, look, _) in &curves {
                if let Some(cached) = self.curves.get_mut(series) {
                    pen.curve(&cached.trace, &map, look);
                    cached.map = Some(map);
                }
            }
            self.meshes_made += 1;
            drawn.shapes = pen.shapes();
            drawn.map = Some(map);
            drawn.curves = curves;
        }
        &drawn.shapes
    }

    /// Where the curves of numbers are at a time: the index of each in the scene, and its place.
    pub(super) fn dots<'a>(
        &'a self,
        scene: &'a Scene<'_>,
        at: Timestamp,
    ) -> impl Iterator<Item = (usize, Pos2)> + 'a {
        scene.curves.iter().enumerate().filter_map(move |(i, curve)| {
            let cached =
                self.curves.get(&curve.id).filter(|_| !curve.is_hidden && !Scene::is_state(curve))?;
            let map = cached.map?;
            let column = cached.trace.nearest(at).filter(|column| map.has(column.mean))?;
            let place = pos2(map.x(column.at), map.y(column.mean));
            map.rect.expand(1.0).contains(place).then_some((i, place))
        })
    }

    /// Whether there is anything to see.
    pub(super) fn has_data(&self, scene: &Scene<'_>) -> bool {
        let (from, to) = (scene.from.0, scene.to.0);
        scene.curves.iter().any(|curve| {
            let Some(trace) = self.trace(curve.id) else { return false };
            let is_state =
                Scene::is_state(curve) && trace.columns.first().is_some_and(|column| column.at <= to);
            is_state
                || !trace.thinned.is_empty()
                || trace
                    .columns
                    .iter()
                    .any(|column| column.at + trace.width >= from && column.at - trace.width <= to)
        })
    }

    /// Whether history is still missing.
    pub(super) fn is_partial(&self, scene: &Scene<'_>) -> bool {
        scene.curves.iter().any(|curve| {
            let is_wanted = scene.model.series.is_shown(curve.id) || scene.model.series.is_loading(curve.id);
            is_wanted && self.trace(curve.id).is_some_and(|trace| trace.is_partial)
        })
    }
}
