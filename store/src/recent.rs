//! The readings committed last, as the writer remembers them, so that sealing need not read them from the file again.

use std::collections::VecDeque;

use crate::types::Row;

/// Readings that are remembered at most: about 40 MB. Of more the oldest are forgotten, and sealing reads those from
/// the file.
const KEPT: usize = 1_000_000;

/// The newest committed readings without a gap, in the order of their positions.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Position of the first.
    first: i64,
    rows: VecDeque<Row>,
}

impl Recent {
    /// Forgets everything; the next reading gets position `next`.
    pub(crate) fn restart(&mut self, next: i64) {
        self.first = next;
        self.rows.clear();
    }

    /// Adds what was just committed.
    pub(crate) fn push(&mut self, rows: impl Iterator<Item = Row>) {
        self.rows.extend(rows);
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

    /// The readings after `done` up to `end`, if all of them are remembered.
    pub(crate) fn between(&self, done: i64, end: i64) -> Option<impl Iterator<Item = &Row>> {
        let from = usize::try_from(done + 1 - self.first).ok()?;
        let to = usize::try_from(end + 1 - self.first).ok().filter(|to| *to <= self.rows.len())?;
        Some(self.rows.range(from..to.max(from)))
    }
}
