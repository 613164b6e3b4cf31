//! What one subscription owes its viewer: readings that wait to be sent, and an account of those left out (I-4).
//!
//! Pure: it is fed commits and asked for messages. Its memory is bounded by `readings_waiting`; a viewer that
//! reads more slowly than that is given the newest value of each series and told what was left out.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use protocol::select::Select;
use protocol::trace::Trace;
use protocol::viewer::{Detail, LiveReadings, Omitted, SeriesReadings, Subscribe};
use protocol::{Position, SeriesId, Timestamp, Value};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use store::Row;
use tokio::time::Instant;

use crate::clock;
use crate::live::Commit;

/// One subscription of one viewer.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    /// What it chooses, to be asked again when a new series appears.
    pub select: Select,
    detail: Detail,
    period: Duration,
    due: Instant,
    chosen: HashSet<SeriesId>,
    /// Everything up to here was taken in or does not concern it.
    pub position: Position,
    /// Everything up to here was said, or named as omitted.
    said: Position,
    pending: BTreeMap<SeriesId, Vec<(Timestamp, Value)>>,
    pending_count: usize,
    pending_max: usize,
    omitted: Option<Omitted>,
    snapshot: bool,
    traces: Traces,
}

impl Subscription {
    /// Makes a subscription that goes on after `position`. `max_hz` was checked. `pending_max` readings may wait, or two for
    /// each of its series where that is more.
    pub fn new(
        request: Subscribe,
        chosen: Vec<SeriesId>,
        position: Position,
        max_hz: f64,
        pending_max: usize,
        now: Instant,
    ) -> Self {
        Self {
            id: request.id,
            select: request.select,
            detail: request.detail,
            period: Duration::from_secs_f64(1.0 / max_hz),
            due: now,
            chosen: chosen.into_iter().collect(),
            position,
            said: position,
            pending: BTreeMap::new(),
            pending_count: 0,
            pending_max,
            omitted: None,
            snapshot: false,
            traces: Traces::new(request.traces.unwrap_or(0) as usize),
        }
    }

    /// The same subscription with nothing waiting, to go on after `position`.
    pub fn restart(self, position: Position) -> Self {
        Self {
            position,
            said: position,
            pending: BTreeMap::new(),
            pending_count: 0,
            omitted: None,
            traces: Traces::new(self.traces.max),
            ..self
        }
    }

    /// Puts the next message off because the viewer has not read the last ones.
    pub fn postpone(&mut self, now: Instant) {
        self.due = now + self.period.max(Duration::from_millis(50));
    }

    /// How many series it has chosen.
    pub fn series(&self) -> u64 {
        self.chosen.len() as u64
    }

    /// Whether parts of its snapshot are still to be sent.
    pub const fn is_snapshot(&self) -> bool {
        self.snapshot
    }

    /// A series that appeared later.
    pub fn add_series(&mut self, series: SeriesId) {
        self.chosen.insert(series);
    }

    /// Fills it with the latest values, to be sent as its snapshot.
    pub fn fill_snapshot(&mut self, latest: Vec<(SeriesId, Timestamp, Value)>) {
        self.pending_count = latest.len();
        for (series, at, value) in latest {
            self.pending.insert(series, vec![(at, value)]);
        }
        self.snapshot = true;
    }

    /// Takes one reading in. The caller sees to the order of positions. Returns whether others were left out for it.
    pub fn take(&mut self, row: &Row) -> bool {
        self.chosen.contains(&row.series) && self.put(row)
    }

    fn put(&mut self, row: &Row) -> bool {
        let waiting = self.pending.entry(row.series).or_default();
        match (self.detail, waiting.last_mut()) {
            (Detail::Latest, Some(newest)) => {
                if row.at >= newest.0 {
                    *newest = (row.at, row.value.clone());
                }
            }
            (Detail::All, _) | (Detail::Latest, None) => {
                waiting.push((row.at, row.value.clone()));
                self.pending_count += 1;
                // Twice the series at least: one of each stays, and to leave out nothing each time would cost the more.
                if self.pending_count > self.pending_max.max(2 * self.pending.len()) {
                    self.conflate();
                    return true;
                }
            }
        }
        false
    }

    /// Takes in what of a commit it has not seen, and a trace of each batch. Returns whether others were left out for it.
    pub fn take_commit(&mut self, commit: &Commit) -> bool {
        if commit.first <= self.position {
            return self.take_rows(commit.last, commit.rows());
        }
        let mut left_out = false;
        for batch in &commit.batches {
            let mut last = None;
            for row in &batch.0 {
                if self.chosen.contains(&row.series) {
                    left_out |= self.put(row);
                    last = Some(row);
                }
            }
            if self.traces.max > 0
                && let Some(trace) = last.and_then(|row| commit.trace(batch, row))
            {
                self.traces.draw(trace);
            }
        }
        self.position = commit.last;
        left_out
    }

    /// Takes in every reading up to `last` that it has not seen. Returns whether others were left out for them.
    pub fn take_rows<'a>(&mut self, last: Position, rows: impl Iterator<Item = (Position, &'a Row)>) -> bool {
        if last <= self.position {
            return false;
        }
        let after = self.position;
        let mut left_out = false;
        for (_, row) in rows.filter(|(position, _)| *position > after) {
            left_out |= self.take(row);
        }
        self.position = last;
        left_out
    }

    /// Leaves out all but the newest reading of each series, and notes what was left out.
    fn conflate(&mut self) {
        // They may be of what is left out.
        self.traces = Traces::new(self.traces.max);
        for waiting in self.pending.values_mut() {
            let newest = waiting.iter().enumerate().max_by_key(|(_, (at, _))| *at).map(|(i, _)| i);
            let Some(newest) = newest else { continue };
            waiting.swap(0, newest);
            for (at, _) in waiting.drain(1..) {
                note_omitted(&mut self.omitted, at);
            }
        }
        self.pending_count = self.pending.len();
    }

    /// Notes that `count` readings between two times were left out; nobody knows more of them.
    pub fn omit(&mut self, count: u64, from: Timestamp, to: Timestamp) {
        let omitted = self.omitted.get_or_insert(Omitted { count: 0, from, to });
        omitted.count += count;
        omitted.from = omitted.from.min(from);
        omitted.to = omitted.to.max(to);
    }

    /// When the next message may be sent, if there is anything to send.
    pub fn due(&self) -> Option<Instant> {
        (!self.pending.is_empty() || self.omitted.is_some() || self.snapshot).then_some(self.due)
    }

    /// The next message, of at most some `readings_max` readings so that it stays below the size of a message.
    pub fn message(&mut self, readings_max: usize, now: Instant) -> LiveReadings {
        let mut series = Vec::new();
        let (mut count, mut used) = (0, 0);
        while used < readings_max
            && let Some((id, mut points)) = self.pending.pop_first()
        {
            let mut taken = 0;
            while taken < points.len() && used < readings_max {
                used += weight(&points[taken].1);
                taken += 1;
            }
            if taken < points.len() {
                let rest = points.split_off(taken);
                self.pending.insert(id, rest);
            }
            count += points.len();
            series.push(SeriesReadings { series: id, points });
        }
        self.pending_count -= count.min(self.pending_count);
        let complete = self.pending.is_empty();
        if complete {
            self.said = self.position;
        }
        self.due = if complete { now + self.period } else { now };
        LiveReadings {
            id: self.id,
            // Before its last part nobody can go on from a snapshot.
            position: if self.snapshot && !complete { Position(0) } else { self.said },
            snapshot: if complete { std::mem::take(&mut self.snapshot) } else { self.snapshot },
            series,
            omitted: self.omitted.take(),
            traces: if complete { self.traces.take() } else { Vec::new() },
        }
    }
}

/// Some traces of a message, drawn by lot: each of them is in it with the same chance.
#[derive(Debug)]
struct Traces {
    max: usize,
    seen: u64,
    drawn: Vec<Trace>,
    lots: ChaCha8Rng,
}

impl Traces {
    fn new(max: usize) -> Self {
        Self { max, seen: 0, drawn: Vec::new(), lots: ChaCha8Rng::seed_from_u64(0) }
    }

    /// Puts one in the urn (Vitter's algorithm R).
    fn draw(&mut self, trace: Trace) {
        self.seen += 1;
        if self.drawn.len() < self.max {
            return self.drawn.push(trace);
        }
        let place = self.lots.random_range(0..self.seen);
        if let Some(drawn) = self.drawn.get_mut(place as usize) {
            *drawn = trace;
        }
    }

    /// Those that were drawn, as they are sent now.
    fn take(&mut self) -> Vec<Trace> {
        self.seen = 0;
        let sent = clock::now();
        self.drawn.drain(..).map(|trace| Trace { sent, ..trace }).collect()
    }
}

/// What a reading counts in a message: a text by its length, because JSON may write six bytes for one of its own.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => 1 + text.len() / 8,
        Value::Number(_) | Value::Bool(_) => 1,
    }
}

fn note_omitted(omitted: &mut Option<Omitted>, at: Timestamp) {
    let omitted = omitted.get_or_insert(Omitted { count: 0, from: at, to: at });
    omitted.count += 1;
    omitted.from = omitted.from.min(at);
    omitted.to = omitted.to.max(at);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PENDING_MAX: usize = 50_000;

    fn subscription(detail: Detail) -> Subscription {
        let request =
            Subscribe { id: 1, select: Select::all(), detail, max_hz: None, since: None, traces: None };
        Subscription::new(
            request,
            vec![SeriesId(1), SeriesId(2)],
            Position(0),
            10.0,
            PENDING_MAX,
            Instant::now(),
        )
    }

    fn row(series: i64, at: i64) -> Row {
        Row { series: SeriesId(series), at: Timestamp(at), value: Value::Number(at as f64) }
    }

    #[test]
    fn i_4_every_reading_is_sent_or_named_as_omitted() {
        let mut subscription = subscription(Detail::All);
        let total = PENDING_MAX as u64 + 10_000;
        for at in 0..total {
            subscription.take(&row(1, at as i64));
        }
        let (mut sent, mut omitted) = (0, 0);
        while subscription.due().is_some() {
            let message = subscription.message(1_000, Instant::now());
            sent += message.series.iter().map(|s| s.points.len() as u64).sum::<u64>();
            omitted += message.omitted.map_or(0, |o| o.count);
        }
        assert_eq!(sent + omitted, total);
        assert!(omitted > 0);
    }

    #[test]
    fn traces_are_drawn_with_the_same_chance_and_only_as_many_as_are_wanted() {
        let trace = |series| Trace {
            series: SeriesId(series),
            measured: Timestamp(0),
            received: Timestamp(0),
            committed: Timestamp(0),
            sent: Timestamp(0),
        };
        let mut traces = Traces::new(4);
        let mut drawn = [0; 40];
        for _ in 0..10_000 {
            for series in 0..40 {
                traces.draw(trace(series));
            }
            let taken = traces.take();
            assert_eq!(taken.len(), 4);
            for trace in taken {
                drawn[trace.series.0 as usize] += 1;
            }
        }
        // 1 000 of each are expected; 5 standard deviations are 150.
        assert!(drawn.iter().all(|count| (850..=1_150).contains(count)), "{drawn:?}");
    }

    #[test]
    fn a_subscription_to_the_latest_keeps_one_reading_a_series() {
        let mut subscription = subscription(Detail::Latest);
        for at in [1, 5, 3] {
            subscription.take(&row(1, at));
        }
        subscription.take(&row(3, 9));
        let message = subscription.message(1_000, Instant::now());
        assert_eq!(message.series.len(), 1);
        assert_eq!(message.series[0].points, vec![(Timestamp(5), Value::Number(5.0))]);
    }

    #[test]
    fn what_a_commit_repeats_is_not_taken_twice() {
        let mut subscription = subscription(Detail::All);
        for (from, to) in [(1, 3), (1, 3), (2, 4)] {
            let rows: Vec<(Position, Row)> = (from..=to).map(|p| (Position(p), row(1, p))).collect();
            subscription.take_rows(Position(to), rows.iter().map(|(position, row)| (*position, row)));
        }
        assert_eq!(subscription.message(100, Instant::now()).series[0].points.len(), 4);
    }
}
