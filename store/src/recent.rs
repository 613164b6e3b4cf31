//! The readings committed last, as the writer remembers them, so that sealing need not read them from the file again.

use std::collections::VecDeque;

use protocol::Value;

use crate::types::Row;

/// Readings that are remembered at most: about 40 MB. Of more the oldest are forgotten, and sealing reads those from
/// the file.
const KEPT: usize = 1_000_000;

/// Series, time and value.
type Entry = (i64, i64, Value);

/// The newest committed readings without a gap, in the order of their positions.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Position of the first.
    first: i64,
    rows: VecDeque<Entry>,
}

impl Recent {
    /// Nothing is remembered, and the next reading gets position `next`.
    pub(crate) const fn new(next: i64) -> Self {
        Self { first: next, rows: VecDeque::new() }
    }

    /// Adds what was just committed.
    pub(crate) fn push(&mut self, rows: &[&Row]) {
        self.rows.extend(rows.iter().map(|row| (row.series.0, row.at.0, row.value.clone())));
        if self.rows.len() > KEPT {
            self.forget(self.first + (self.rows.len() - KEPT) as i64 - 1);
        }
    }

    /// Forgets readings up to a position.
    pub(crate) fn forget(&mut self, through: i64) {
        let count = usize::try_from(through + 1 - self.first).unwrap_or(0).min(self.rows.len());
        self.rows.drain(..count);
        self.first += count as i64;
    }

    /// Series, time and value of the readings after `done` up to `end`, if all of them are remembered.
    pub(crate) fn between(&self, done: i64, end: i64) -> Option<impl Iterator<Item = &Entry>> {
        let from = usize::try_from(done + 1 - self.first).ok()?;
        let to = usize::try_from(end + 1 - self.first).ok().filter(|to| *to <= self.rows.len())?;
        Some(self.rows.range(from..to.max(from)))
    }
}
