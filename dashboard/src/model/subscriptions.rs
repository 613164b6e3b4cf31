//! What this window has asked the hub to be told of, and how far each of that has come.
//!
//! One subscription brings the latest value of every series for the list; others bring every reading of the series
//! that charts show. The link asks for them again after a reconnect; here is noticed when that left a hole.

use std::collections::{BTreeMap, HashSet};

use protocol::limits::SELECT_MAX;
use protocol::select::Select;
use protocol::viewer::{Detail, LiveReadings, Subscribe, Subscribed, Unsubscribe, ViewerMessage};
use protocol::{Position, SeriesId, Timestamp};

/// The subscription behind the list.
const LIST: u64 = 1;
/// The first of the subscriptions behind the charts; each takes as many series as a selection may name.
pub(super) const CHARTS: u64 = 10;
/// Most subscriptions behind charts.
const CHARTS_MAX: usize = 32;
/// Messages a second for the list: values that change faster cannot be read.
const LIST_HZ: f64 = 2.0;
/// Traces in each message for charts: enough for a p99 of the last minutes, and small beside the readings.
const TRACES: u32 = 1;
/// Added at the end of a hole, in microseconds: devices' clocks differ from the hub's.
const HOLE_MARGIN_MICROS: i64 = 30_000_000;

/// What a subscription brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The latest value of every series.
    Latest,
    /// Every reading of some series.
    All,
}

#[derive(Debug, Default)]
struct Chart {
    series: Vec<SeriesId>,
    position: Option<Position>,
    /// When the last of its messages came, by the hub's clock.
    heard_at: Option<Timestamp>,
    /// Whether the hub has to be told of `series`.
    stale: bool,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    list_wanted: bool,
    shown: Vec<SeriesId>,
    shown_set: HashSet<SeriesId>,
    charts: BTreeMap<u64, Chart>,
    /// Messages a second for charts: a frame needs no more.
    hz: f64,
}

impl Subscriptions {
    /// Whether a subscription of this id brings readings as often as frames are drawn.
    pub(super) const fn is_paced(id: u64) -> bool {
        id >= CHARTS
    }

    pub(super) fn shown(&self) -> &[SeriesId] {
        &self.shown
    }

    pub(super) fn is_shown(&self, series: SeriesId) -> bool {
        self.shown_set.contains(&series)
    }

    /// What a subscription of this id brings, if it is one of ours.
    pub(super) fn wanted(&self, id: u64) -> Option<Wanted> {
        if id == LIST {
            return Some(Wanted::Latest);
        }
        self.charts.contains_key(&id).then_some(Wanted::All)
    }

    /// The list is wanted from now on.
    pub(super) fn start(&mut self) {
        self.list_wanted = true;
    }

    /// Charts show these series and no others, at most so many times a second.
    pub(super) fn show(&mut self, series: &[SeriesId], hz: f64) {
        if self.hz != hz {
            self.hz = hz;
            for chart in self.charts.values_mut() {
                chart.stale = !chart.series.is_empty();
            }
        }
        if self.shown == series {
            return;
        }
        self.shown = series.to_vec();
        self.shown_set = series.iter().copied().collect();
        let mut parts = series.chunks(SELECT_MAX).take(CHARTS_MAX);
        for id in CHARTS..CHARTS + CHARTS_MAX as u64 {
            match parts.next() {
                Some(part) => {
                    let chart = self.charts.entry(id).or_default();
                    if chart.series != part {
                        chart.series = part.to_vec();
                        chart.stale = true;
                    }
                }
                None => match self.charts.get_mut(&id) {
                    Some(chart) if !chart.series.is_empty() => {
                        chart.series.clear();
                        chart.stale = true;
                    }
                    _ => {}
                },
            }
        }
    }

    /// What the hub has to be told now.
    pub(super) fn changes(&mut self) -> Vec<ViewerMessage> {
        let mut messages = Vec::new();
        if std::mem::take(&mut self.list_wanted) {
            messages.push(
                Subscribe {
                    id: LIST,
                    select: Select::all(),
                    detail: Detail::Latest,
                    max_hz: Some(LIST_HZ),
                    since: None,
                    traces: None,
                }
                .into(),
            );
        }
        for (&id, chart) in self.charts.iter_mut().filter(|(_, chart)| chart.stale) {
            chart.stale = false;
            if chart.series.is_empty() {
                chart.position = None;
                chart.heard_at = None;
                messages.push(Unsubscribe { id }.into());
            } else {
                messages.push(
                    Subscribe {
                        id,
                        select: Select::series(chart.series.iter().copied()),
                        detail: Detail::All,
                        max_hz: Some(self.hz),
                        since: chart.position,
                        traces: Some(TRACES),
                    }
                    .into(),
                );
            }
        }
        messages
    }

    /// The message for this subscription did not reach the link: it has to be said again.
    pub(super) fn on_not_sent(&mut self, id: u64) {
        if id == LIST {
            self.list_wanted = true;
        } else if let Some(chart) = self.charts.get_mut(&id) {
            chart.stale = true;
        }
    }

    /// The positions reached mean nothing any more: ask for everything anew.
    pub(super) fn forget_positions(&mut self) {
        for chart in self.charts.values_mut() {
            chart.position = None;
            chart.heard_at = None;
            chart.stale = !chart.series.is_empty();
        }
    }

    pub(super) fn on_readings(&mut self, readings: &LiveReadings, now: Timestamp) {
        if let Some(chart) = self.charts.get_mut(&readings.id) {
            chart.position = Some(chart.position.map_or(readings.position, |p| p.max(readings.position)));
            chart.heard_at = Some(now);
        }
    }

    /// Returns the stretch that was missed, if the hub could not go on where we were.
    pub(super) fn on_subscribed(
        &mut self,
        subscribed: &Subscribed,
        now: Timestamp,
    ) -> Option<(Timestamp, Timestamp)> {
        let chart = self.charts.get_mut(&subscribed.id)?;
        let before = chart.heard_at.replace(now);
        chart.position = Some(subscribed.position);
        if subscribed.resumed {
            return None;
        }
        // What was stored meanwhile may have come late, so it may be of any time.
        before.map(|_| (Timestamp::MIN_READING, now.plus_micros(HOLE_MARGIN_MICROS)))
    }
}
