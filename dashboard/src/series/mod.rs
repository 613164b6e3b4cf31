//! The readings of all series that the dashboard knows of: what arrived live, and history fetched as tiles.
//!
//! Live readings are kept raw with rollups beside them; history comes in tiles of the protocol's ladder. Both are
//! joined when a chart asks for a [`Trace`]: single readings by their time, buckets by the one that knows more, so a
//! reading that came both ways counts once. Everything is bounded by a budget in bytes; what is evicted can be fetched
//! again. Pure: no clock, no egui.
//!
//! Live data are taken as complete from [`GRACE_MICROS`] after a series was first asked for in [`SeriesStore::wanted`]
//! (its subscription has begun by then), less the holes of [`SeriesStore::mark_hole`]; everything else is history's.
//! Texts are kept as numbers that stand for them, see [`SeriesStore::text`].

mod chunk;
mod fetch;
mod measure;
mod rollup;
mod samples;
#[cfg(test)]
mod tests;
mod tiles;
mod trace;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use protocol::{Kind, SeriesId, Timestamp, Value};

pub use measure::Measure;
pub use rollup::Rollup;
pub use tiles::{BUCKETS_PER_TILE, RAW_SPAN_MICROS};
pub use trace::{Column, Trace};

use fetch::Pending;
use samples::{Inserted, Samples};
use tiles::{Fineness, Tiles};

/// How long after a series is first shown its live data are taken as complete. Chosen: the subscription's round trip.
pub const GRACE_MICROS: i64 = 2_000_000;
/// Newest values kept for a sparkline.
const SPARKLINE_MAX: usize = 64;
/// Most holes remembered; beyond it, live data count only from after the oldest.
const HOLES_MAX: usize = 64;
/// Most different texts of one series that are told apart; the rest share the last. Chosen: states, not documents.
const TEXTS_MAX: usize = 4_096;
/// The share of the budget that is left after eviction, so that it does not run with every reading.
const AFTER_EVICTION: f64 = 0.95;

/// What is known of one series.
#[derive(Debug, Default)]
struct Series {
    kind: Option<Kind>,
    latest: Option<(Timestamp, Value)>,
    sparkline: VecDeque<f32>,
    samples: Samples,
    tiles: Tiles,
    texts: Vec<Arc<str>>,
    /// From here on live data are complete; `None` while it is not shown.
    live_from: Option<i64>,
    /// The last round in which it was shown, and how finely it was asked for then.
    shown_in: u64,
    asked_for: Option<Fineness>,
    /// Grows when anything but the newest end changes.
    revision: u64,
    /// Memory of samples and tiles when last counted.
    bytes: usize,
    cadence: Option<i64>,
    appended_since_cadence: u32,
}

/// All series.
#[derive(Debug)]
pub struct SeriesStore {
    budget_bytes: usize,
    bytes: usize,
    series: HashMap<SeriesId, Series>,
    pending: HashMap<u64, Pending>,
    next_request: u64,
    round: u64,
    /// Stretches of which live data are missing, inclusive, ascending, disjoint.
    holes: Vec<(i64, i64)>,
}

impl SeriesStore {
    /// Makes a store that holds about `budget_bytes` of readings and tiles.
    pub fn new(budget_bytes: usize) -> Self {
        Self {
            budget_bytes,
            bytes: 0,
            series: HashMap::new(),
            pending: HashMap::new(),
            next_request: fetch::FIRST_REQUEST,
            round: 0,
            holes: Vec::new(),
        }
    }

    /// Holds about this much from now on; makes room at once.
    pub fn set_budget(&mut self, budget_bytes: usize) {
        self.budget_bytes = budget_bytes;
        if self.bytes > self.budget_bytes {
            self.evict();
        }
    }

    /// Takes readings that arrived live, in any order. One that is there already is left as it was.
    pub fn push_live(&mut self, series: SeriesId, points: &[(Timestamp, Value)]) {
        let holder = self.series.entry(series).or_default();
        let before = holder.bytes;
        holder.push(points);
        holder.count_bytes();
        self.bytes = self.bytes + holder.bytes - before;
        if self.bytes > self.budget_bytes {
            self.evict();
        }
    }

    /// The newest reading.
    pub fn latest(&self, series: SeriesId) -> Option<(Timestamp, Value)> {
        self.series.get(&series)?.latest.clone()
    }

    /// Notes the newest reading without keeping it for charts: the snapshot of a subscription. Older ones are ignored.
    pub fn set_latest(&mut self, series: SeriesId, at: Timestamp, value: Value) {
        let series = self.series.entry(series).or_default();
        if series.latest.as_ref().is_none_or(|(newest, _)| at > *newest) {
            series.note_latest(at, &value);
        }
    }

    /// The newest `n` values, oldest first; fewer if fewer are known. Texts have none.
    pub fn sparkline(&self, series: SeriesId, n: usize) -> Vec<f32> {
        let Some(series) = self.series.get(&series) else { return Vec::new() };
        let skip = series.sparkline.len().saturating_sub(n);
        series.sparkline.iter().skip(skip).copied().collect()
    }

    /// The text that `code` stands for in the traces of a series of texts.
    pub fn text(&self, series: SeriesId, code: f64) -> Option<&Arc<str>> {
        self.series.get(&series)?.texts.get(code as usize)
    }

    /// What sort of values the series has had so far.
    pub fn kind(&self, series: SeriesId) -> Option<Kind> {
        self.series.get(&series)?.kind
    }

    /// Notes that live readings between these times, both inclusive, were left out; history fills them in.
    pub fn mark_hole(&mut self, from: Timestamp, to: Timestamp) {
        let (from, to) = (from.0.min(to.0), from.0.max(to.0));
        for series in self.series.values_mut() {
            series.tiles.mark_stale(from, to, false);
            series.revision += 1;
        }
        self.holes.push((from, to));
        self.holes.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::with_capacity(self.holes.len());
        for &(from, to) in &self.holes {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        while merged.len() > HOLES_MAX {
            let (_, to) = merged.remove(0);
            for series in self.series.values_mut() {
                series.live_from = series.live_from.map(|from| from.max(to + 1));
            }
        }
        self.holes = merged;
    }

    /// Notes that the connection was lost and a new one does not go on where the old one ended: every tile may be out
    /// of date, nothing that was asked for will be answered, and live data begin anew.
    pub fn on_reconnected(&mut self) {
        self.pending.clear();
        self.holes.clear();
        for series in self.series.values_mut() {
            series.tiles.forget_requests();
            series.tiles.mark_stale(i64::MIN, i64::MAX, false);
            series.live_from = None;
        }
    }

    /// How many series anything is known of.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Whether anything is known of this series.
    pub fn knows(&self, series: SeriesId) -> bool {
        self.series.contains_key(&series)
    }

    /// Memory held by readings and tiles.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of readings held one by one, live and history.
    pub fn readings(&self) -> u64 {
        let of_tile = |content: &tiles::Content| content.count(i64::MIN, i64::MAX);
        self.series
            .values()
            .map(|s| {
                let tiles = s.tiles.slots.values().filter_map(|slot| slot.content.as_ref());
                (s.samples.len() + tiles.map(of_tile).sum::<usize>()) as u64
            })
            .sum()
    }

    /// Changes whenever the trace of `from..to` may have changed.
    pub fn stamp(&self, series: SeriesId, from: Timestamp, to: Timestamp) -> (u64, i64) {
        let Some(series) = self.series.get(&series) else { return (0, i64::MIN) };
        let newest = series.samples.newest().unwrap_or(i64::MIN);
        if newest < from.0 { (series.revision, i64::MIN) } else { (series.revision, newest.min(to.0)) }
    }

    /// Whether a request is under way for this series.
    pub fn is_loading(&self, series: SeriesId) -> bool {
        self.pending.values().any(|pending| pending.series == series)
    }

    /// Whether a view shows this series, so that what is missing of it is asked for.
    pub fn is_shown(&self, series: SeriesId) -> bool {
        self.series.get(&series).is_some_and(|s| s.shown_in > 0 && s.shown_in == self.round)
    }

    /// Makes room: first tiles that no view has used for longest, then the oldest live readings.
    fn evict(&mut self) {
        let target = (self.budget_bytes as f64 * AFTER_EVICTION) as usize;
        let mut tiles: Vec<(u64, SeriesId, tiles::TileKey)> = self
            .series
            .iter()
            .flat_map(|(id, series)| {
                series
                    .tiles
                    .slots
                    .iter()
                    .filter(|(_, slot)| slot.content.is_some())
                    .map(|(key, slot)| (slot.used, *id, *key))
            })
            .filter(|(used, ..)| *used < self.round)
            .collect();
        tiles.sort_unstable();
        for (_, id, key) in tiles {
            if self.bytes <= target {
                return;
            }
            self.recount(id, |series| {
                series.tiles.slots.remove(&key);
            });
        }
        let mut chunks: Vec<(bool, i64, SeriesId)> = self
            .series
            .iter()
            .filter_map(|(id, s)| Some((s.shown_in == self.round, s.samples.oldest_chunk_end()?, *id)))
            .collect();
        // Oldest first, and what is shown last. A series that gave a chunk comes back with its next one.
        let mut heap: std::collections::BinaryHeap<_> = chunks.drain(..).map(std::cmp::Reverse).collect();
        while self.bytes > target
            && let Some(std::cmp::Reverse((is_shown, _, id))) = heap.pop()
        {
            let mut next = None;
            self.recount(id, |series| {
                let first = series.samples.oldest();
                if let Some(forgotten) = series.samples.forget_oldest() {
                    // What came late was perhaps known here alone: history has to tell it from now on.
                    series.tiles.mark_stale(first.unwrap_or(forgotten), forgotten, false);
                    series.live_from = series.live_from.map(|from| from.max(forgotten + 1));
                }
                next = series.samples.oldest_chunk_end();
            });
            heap.extend(next.map(|end| std::cmp::Reverse((is_shown, end, id))));
        }
    }

    /// Changes a series other than at its newest end, and counts its bytes again.
    fn recount(&mut self, id: SeriesId, change: impl FnOnce(&mut Series)) {
        let Some(series) = self.series.get_mut(&id) else { return };
        let before = series.bytes;
        change(series);
        series.revision += 1;
        series.count_bytes();
        self.bytes = self.bytes + series.bytes - before;
    }
}

impl Series {
    fn push(&mut self, points: &[(Timestamp, Value)]) {
        // What is new to history: from where to where, and the newest, which alone is shown as a number.
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let mut newest = self.latest.as_ref().map(|(at, _)| *at);
        let mut latest = None;
        for (i, (at, value)) in points.iter().enumerate() {
            let Some(number) = self.number(value) else { continue };
            self.kind.get_or_insert(value.kind());
            match self.samples.insert(at.0, number) {
                Inserted::Duplicate => continue,
                Inserted::Appended => {
                    self.appended_since_cadence += 1;
                    if self.cadence.is_none() || self.appended_since_cadence >= 64 {
                        self.cadence = self.samples.cadence().or(self.cadence);
                        self.appended_since_cadence = 0;
                    }
                }
                Inserted::Late => self.revision += 1,
            }
            if self.live_from.is_none_or(|from| at.0 < from) {
                (first, last) = (first.min(at.0), last.max(at.0));
            }
            if newest.is_none_or(|newest| *at > newest) {
                newest = Some(*at);
                latest = Some((*at, value));
                if i + SPARKLINE_MAX >= points.len() {
                    self.note_in_sparkline(value);
                }
            }
        }
        if first <= last && self.tiles.mark_stale(first, last, true) {
            self.revision += 1;
        }
        if let Some((at, value)) = latest {
            self.latest = Some((at, value.clone()));
        }
    }

    fn note_in_sparkline(&mut self, value: &Value) {
        if let Some(number) = value.to_number().filter(|n| n.is_finite()) {
            if self.sparkline.len() == SPARKLINE_MAX {
                self.sparkline.pop_front();
            }
            self.sparkline.push_back(number as f32);
        }
    }

    fn note_latest(&mut self, at: Timestamp, value: &Value) {
        self.note_in_sparkline(value);
        self.latest = Some((at, value.clone()));
    }

    /// The value as it is kept: a number, 0 or 1, or the code of a text. `None` if it is not finite.
    fn number(&mut self, value: &Value) -> Option<f64> {
        match value {
            Value::Number(number) => number.is_finite().then_some(*number),
            Value::Bool(truth) => Some(if *truth { 1.0 } else { 0.0 }),
            Value::Text(text) => {
                let known = self.texts.iter().rposition(|t| t == text);
                Some(known.unwrap_or_else(|| {
                    if self.texts.len() < TEXTS_MAX {
                        self.texts.push(Arc::clone(text));
                    }
                    self.texts.len() - 1
                }) as f64)
            }
        }
    }

    fn count_bytes(&mut self) {
        self.bytes = self.samples.bytes() + self.tiles.bytes();
    }
}
