//! Which history is asked for, and what happens to the answers.

use protocol::limits::HISTORY_PENDING_MAX;
use protocol::viewer::{History, HistoryRequest};
use protocol::{Kind, SeriesId, Step, Timestamp};

use super::rollup::{Indexed, Rollup, index_of};
use super::tiles::{Content, Fineness, RAW_SPAN_MICROS, REFETCH_MICROS, RETRY_MICROS, TileKey, Tiles};
use super::{GRACE_MICROS, Series, SeriesStore};
use crate::viewport::Viewport;

/// Ids of history requests begin here, out of the way of other requests of the same connection.
pub(super) const FIRST_REQUEST: u64 = 1 << 40;
/// Most single readings of one series that a view asks for; beyond it buckets of a second are asked for, however far
/// zoomed in. Chosen: 6 MB.
const RAW_READINGS_MAX: i64 = 400_000;
/// Most tiles of texts that a view asks for: texts have no buckets, so their tiles grow with the view.
const TEXT_TILES_MAX: i64 = 8;

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) series: SeriesId,
    key: TileKey,
    asked_at: Timestamp,
    content: Content,
    coarser: Option<Step>,
}

impl SeriesStore {
    /// Says what to ask the hub for so that a view of `width_px` pixels can be drawn, and notes what is shown.
    ///
    /// Called once a frame. Never more than [`HISTORY_PENDING_MAX`] requests are under way; the newest tiles go first.
    /// A tile is asked for again when the hub may know more of it by now.
    pub fn wanted(
        &mut self,
        viewport: &Viewport,
        shown: &[SeriesId],
        width_px: f32,
        now: Timestamp,
    ) -> Vec<HistoryRequest> {
        self.round += 1;
        let (from, to) = viewport.range(now);
        let micros_per_pixel = to.micros_since(from) as f64 / f64::from(width_px.max(1.0));
        let mut wishes: Vec<(i64, SeriesId, TileKey)> = Vec::new();
        for &id in shown {
            let series = self.series.entry(id).or_default();
            if series.shown_in + 1 != self.round && series.shown_in != self.round {
                series.live_from = None;
            }
            series.shown_in = self.round;
            let live_from = *series.live_from.get_or_insert(now.0.saturating_add(GRACE_MICROS));
            let fineness = series.fineness(from, to, micros_per_pixel);
            series.asked_for = Some(fineness);
            // A line reaches beyond the edges of the view to the readings next to it.
            let margin = match fineness {
                Fineness::Raw(_) => series.gap_micros().min(RAW_SPAN_MICROS),
                Fineness::Buckets(step) => 2 * step.micros(),
            };
            let (from, to) = (from.0.saturating_sub(margin), to.0.saturating_add(margin).min(now.0));
            let mut keys: Vec<TileKey> = Tiles::keys(fineness, from, to).collect();
            if series.kind != Some(Kind::Text) {
                keys.extend(series.tiles.left_by_retention(fineness, from, to).map(|(key, _)| key));
            }
            for key in keys {
                let grain = key.fineness.grain();
                let slot = series.tiles.slots.entry(key).or_default();
                slot.used = self.round;
                let (from, to) = (key.from().max(from), key.to().min(to));
                let Some(known_to) = required(from, to, live_from, &self.holes, grain, now.0) else {
                    continue;
                };
                let pause = if slot.has_failed { RETRY_MICROS } else { REFETCH_MICROS };
                let is_due = slot.asked_at.is_none_or(|at| now.micros_since(at) >= pause);
                let is_wanting = slot.content.is_none() || slot.is_stale || slot.known_to < known_to;
                if is_wanting && is_due && slot.request.is_none() {
                    wishes.push((key.to(), id, key));
                }
            }
        }
        wishes.sort_unstable_by(|a, b| b.cmp(a));
        let free = HISTORY_PENDING_MAX.saturating_sub(self.pending.len());
        wishes.into_iter().take(free).filter_map(|(_, id, key)| self.ask(id, key, now)).collect()
    }

    fn ask(&mut self, id: SeriesId, key: TileKey, now: Timestamp) -> Option<HistoryRequest> {
        let slot = self.series.get_mut(&id)?.tiles.slots.get_mut(&key)?;
        let request = self.next_request;
        self.next_request += 1;
        slot.request = Some(request);
        slot.asked_at = Some(now);
        // What makes it stale from now on may not be in the answer.
        slot.is_stale = false;
        let content = Content::empty(key.fineness);
        self.pending.insert(request, Pending { series: id, key, asked_at: now, content, coarser: None });
        Some(HistoryRequest {
            id: request,
            series: id,
            from: Timestamp(key.from()),
            to: Timestamp(key.to()),
            step: key.fineness.resolution(),
        })
    }

    /// Takes a part of an answer. Answers that nobody waits for are ignored.
    pub fn on_history(&mut self, history: &History) {
        let Some(pending) = self.pending.get_mut(&history.id) else { return };
        let Some(series) = self.series.get_mut(&pending.series) else { return };
        pending.coarser = pending.coarser.max(history.coarser);
        // What was not asked for has no place in the tile.
        let asked_for = Timestamp(pending.key.from())..Timestamp(pending.key.to());
        match (&mut pending.content, pending.key.fineness) {
            (Content::Buckets(buckets), Fineness::Buckets(step)) => {
                buckets.extend(
                    history
                        .buckets
                        .iter()
                        .filter(|b| asked_for.contains(&b.at))
                        .filter(|b| b.min.is_finite() && b.max.is_finite() && b.sum.is_finite())
                        .map(|bucket| Indexed {
                            index: index_of(bucket.at.0, step),
                            rollup: Rollup {
                                count: u32::try_from(bucket.count).unwrap_or(u32::MAX),
                                min: bucket.min,
                                max: bucket.max,
                                sum: bucket.sum,
                            },
                        }),
                );
            }
            (Content::Readings(readings), _) => {
                for (at, value) in history.points.iter().filter(|(at, _)| asked_for.contains(at)) {
                    if let Some(number) = series.number(value) {
                        series.kind.get_or_insert(value.kind());
                        readings.push(at.0, number);
                    }
                }
            }
            (Content::Buckets(_), Fineness::Raw(_)) => {}
        }
        if history.more {
            // An answer without end would otherwise fill the memory before any of it can be evicted.
            let arriving: usize = self.pending.values().map(|pending| pending.content.bytes()).sum();
            if arriving > self.budget_bytes {
                self.on_history_error(history.id);
            }
            return;
        }
        let Some(mut pending) = self.pending.remove(&history.id) else { return };
        pending.content.settle();
        let Pending { series: id, key, asked_at, content, coarser } = pending;
        let round = self.round;
        self.recount(id, |series| {
            let slot = series.tiles.slots.entry(key).or_default();
            // An answer that was overtaken by a newer request must not replace what that one brought.
            if slot.request == Some(history.id) {
                slot.request = None;
                slot.content = Some(content);
                slot.coarser = coarser;
                slot.known_to = asked_at.0;
                slot.has_failed = false;
                slot.used = slot.used.max(round);
            }
        });
        if self.bytes > self.budget_bytes {
            self.evict();
        }
    }

    /// Notes that a request was refused; it is tried again after a while. Ids of other requests are ignored.
    pub fn on_history_error(&mut self, id: u64) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let slot = self.series.get_mut(&pending.series).and_then(|s| s.tiles.slots.get_mut(&pending.key));
        if let Some(slot) = slot.filter(|slot| slot.request == Some(id)) {
            slot.request = None;
            slot.has_failed = true;
            // It was asked for because more of it was to be known.
            slot.is_stale = true;
        }
    }
}

impl Series {
    /// How fine the tiles of a view are.
    pub(super) fn fineness(&self, from: Timestamp, to: Timestamp, micros_per_pixel: f64) -> Fineness {
        let span = to.micros_since(from);
        if self.kind == Some(Kind::Text) {
            let widest = Step::ALL
                .into_iter()
                .map(|step| step.micros() * 1_024)
                .find(|width| *width >= RAW_SPAN_MICROS && span / width < TEXT_TILES_MAX);
            return Fineness::Raw(widest.unwrap_or(Step::D1.micros() * 1_024).max(RAW_SPAN_MICROS));
        }
        match Step::at_most(micros_per_pixel as i64) {
            Some(step) => Fineness::Buckets(step),
            None if self.cadence.is_some_and(|cadence| span / cadence.max(1) > RAW_READINGS_MAX) => {
                Fineness::Buckets(Step::S1)
            }
            None => Fineness::Raw(RAW_SPAN_MICROS),
        }
    }

    /// The distance between two readings from which on there is a gap between them.
    pub(super) fn gap_micros(&self) -> i64 {
        super::trace::gap_of(self.cadence.unwrap_or(0))
    }
}

/// The time up to which history must be known so that `from..to` can be drawn; `None` if live data tell it all.
///
/// Live data are complete from `live_from` on, less the holes. The bucket in which live data begin is history's too, but
/// as long as it goes on it is not asked for again: the live part of it is joined in.
fn required(from: i64, to: i64, live_from: i64, holes: &[(i64, i64)], grain: i64, now: i64) -> Option<i64> {
    if from >= to {
        return None;
    }
    let ceil = |at: i64| -(-at).div_euclid(grain) * grain;
    let mut needed = None;
    if from < ceil(live_from) {
        let end = ceil(live_from);
        needed = Some(to.min(if end.saturating_add(GRACE_MICROS) <= now { end } else { live_from.min(now) }));
    }
    let hole = holes.iter().rev().find(|(first, last)| *first < to && *last >= from);
    if let Some(&(_, last)) = hole {
        needed = needed.max(Some(to.min(last + 1)));
    }
    needed
}
