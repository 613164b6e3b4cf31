//! What was just committed, for viewers: the latest value of each series and the stream of commits (I-3, I-4).
//!
//! The ingest thread publishes each commit after it is on disk, never before. Viewers take commits from a bounded
//! ring; one that falls behind is told by the ring that it did, and reads what it missed from the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protocol::trace::Trace;
use protocol::{Position, SeriesId, Timestamp, Value};
use store::{Latest, Row};
use tokio::sync::broadcast;

use crate::ingest::Arrival;

/// Readings that were committed together.
#[derive(Debug)]
pub struct Commit {
    /// Position of the first reading.
    pub first: Position,
    /// Position of the last reading.
    pub last: Position,
    /// The readings, batch by batch, in the order of their positions, with when each batch came.
    pub batches: Vec<(Vec<Row>, Arrival)>,
    /// When it was on disk.
    pub made: Instant,
    /// The same, by the wall clock.
    pub at: Timestamp,
}

impl Commit {
    /// All readings with their positions.
    pub fn rows(&self) -> impl Iterator<Item = (Position, &Row)> {
        (self.first.0..).map(Position).zip(self.batches.iter().flat_map(|(rows, _)| rows))
    }

    /// The way of a reading of one of its batches so far; `None` if it is not known when that was measured.
    pub fn trace(&self, batch: &(Vec<Row>, Arrival), row: &Row) -> Option<Trace> {
        let (rows, arrival) = batch;
        let since = self.made.saturating_duration_since(arrival.read);
        let received = self.at.plus_micros(-i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
        let sooner = rows.last()?.at.micros_since(row.at);
        // What was heard of its clock is rounded by the time that reading a batch takes.
        let measured = arrival.measured?.min(received).plus_micros(sooner.saturating_neg());
        Some(Trace { series: row.series, measured, received, committed: self.at, sent: self.at })
    }
}

struct State {
    position: Position,
    /// By the number of the series: the store counts them from one.
    latest: Vec<Option<(Timestamp, Value)>>,
}

impl State {
    /// Takes a reading in, unless a later one is known.
    fn note(&mut self, row: &Row) {
        let Ok(place) = usize::try_from(row.series.0) else { return };
        if place >= self.latest.len() {
            self.latest.resize(place + 1, None);
        }
        match &mut self.latest[place] {
            Some((at, value)) if row.at > *at => {
                *at = row.at;
                value.clone_from(&row.value);
            }
            Some(_) => {}
            none => *none = Some((row.at, row.value.clone())),
        }
    }

    fn latest(&self, series: SeriesId) -> Option<&(Timestamp, Value)> {
        self.latest.get(usize::try_from(series.0).ok()?)?.as_ref()
    }
}

/// The latest values, and the way new commits go to viewers.
pub struct Live {
    state: Mutex<State>,
    commits: broadcast::Sender<Arc<Commit>>,
}

impl Live {
    /// Starts from what the database holds. A viewer may lag `behind` commits behind: a commit holds some 16 000 readings at
    /// most, so a ring of 256 holds some 200 MB in the worst case, and in practice a few.
    pub fn new(latest: Latest, behind: usize) -> Self {
        let mut state = State { position: latest.position, latest: Vec::new() };
        for row in &latest.readings {
            state.note(row);
        }
        Self { state: Mutex::new(state), commits: broadcast::channel(behind).0 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a commit visible. Called by the ingest thread, once it is on disk.
    pub fn publish(&self, commit: Commit) {
        let mut state = self.lock();
        for (_, row) in commit.rows() {
            state.note(row);
        }
        state.position = commit.last;
        // Inside the lock, so that a snapshot and the commits after it fit together.
        drop(self.commits.send(Arc::new(commit)));
    }

    /// The commits from now on.
    pub fn commits(&self) -> broadcast::Receiver<Arc<Commit>> {
        self.commits.subscribe()
    }

    /// Where the hub is in its order of commits.
    pub fn position(&self) -> Position {
        self.lock().position
    }

    /// The latest reading of each of these series, and the position up to which that is so.
    pub fn latest(&self, series: &[SeriesId]) -> (Position, Vec<(SeriesId, Timestamp, Value)>) {
        let state = self.lock();
        let readings = series
            .iter()
            .filter_map(|series| state.latest(*series).map(|(at, value)| (*series, *at, value.clone())))
            .collect();
        (state.position, readings)
    }
}
