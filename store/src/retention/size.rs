//! Retention by size: while the file uses more than it may, the oldest blocks go.
//!
//! Oldest by the time at which they were observed, over all series, those that no rule names too. Of a series whose rule
//! keeps buckets, the readings go first and the statistics stay; statistics go when there are no readings left to go.
//! A device whose clock stands in 1970 loses its readings first. A shelf whose bundles begin with the oldest becomes blocks
//! before these go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use protocol::{SeriesId, Step, Timestamp};
use rusqlite::Connection;

use super::rules::{Rules, Series};
use super::running::Running;
use super::{Retained, Slice, thin};
use crate::block::bundle::SHELF;
use crate::block::shelf::shelf_of;
use crate::error::StoreError;
use crate::history::overlapping;

/// How often the size is looked at, in microseconds of running time.
const LOOK_INTERVAL: i64 = Step::S5.micros();
/// A pass goes on until the file uses this part less than it may, so that it is not for every minute.
const SLACK: i64 = 64;

/// What a pass takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Taking {
    /// Readings, and what nothing stays of.
    #[default]
    Readings,
    /// What is left of readings too.
    Everything,
}

/// Where the pass is.
#[derive(Debug, Default)]
enum State {
    /// None is under way.
    #[default]
    Idle,
    /// The first block of each series and each shelf's first reading are looked up; series before this place have been.
    Looking(usize),
    /// Blocks go.
    Removing,
}

/// Whose oldest readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    /// Of a shelf, those in bundles.
    Shelf(i64),
    /// Of a series, as place in the rules, those in blocks.
    Series(usize),
}

/// A pass, or the time until the next look.
#[derive(Debug, Default)]
pub(super) struct Pass {
    state: State,
    taking: Taking,
    /// By the time of the first of them.
    oldest: BinaryHeap<Reverse<(Timestamp, Owner)>>,
    next: i64,
    done: Retained,
    /// It was said that nothing is left to go.
    told: bool,
}

impl Pass {
    /// Whether there is something to do.
    pub(super) fn is_due(
        &mut self,
        connection: &Connection,
        rules: &Rules,
        running: &Running,
    ) -> Result<bool, StoreError> {
        let Some(max) = max_bytes(rules) else { return Ok(false) };
        if !matches!(self.state, State::Idle) {
            return Ok(true);
        }
        if running.ran < self.next {
            return Ok(false);
        }
        self.next = running.ran + LOOK_INTERVAL;
        let over = used_bytes(connection)? > max;
        if over && self.told {
            // Nothing was left; in a while more may be sealed.
            self.next = running.ran + Step::M1.micros();
        }
        self.told &= over;
        Ok(over)
    }

    /// Tries again later, from the beginning.
    pub(super) fn put_off(&mut self, running: &Running) {
        *self = Self { next: running.ran + Step::M1.micros(), told: self.told, ..Self::default() };
    }

    /// Does a part of a pass; returns whether more of it is left.
    pub(super) fn run(&mut self, slice: &mut Slice<'_>, rules: &mut Rules) -> Result<bool, StoreError> {
        let Some(max) = max_bytes(rules) else { return Ok(false) };
        let before = slice.retained;
        slice.retained = Retained::default();
        let mut more = true;
        while more && !slice.is_spent() {
            match self.state {
                State::Idle => {
                    self.taking = Taking::Readings;
                    self.done = Retained::default();
                    self.begin();
                }
                State::Looking(at) if at >= rules.series.len() => {
                    if !rules.learn(slice)? && at >= rules.series.len() {
                        self.state = State::Removing;
                    }
                }
                State::Looking(at) => {
                    let shelf = shelf_of(rules.series[at].id);
                    if at == 0 || shelf != shelf_of(rules.series[at - 1].id) {
                        self.push_shelf(slice, shelf)?;
                    }
                    self.push(slice, &rules.series[at], at)?;
                    self.state = State::Looking(at + 1);
                }
                State::Removing if used_bytes(slice.connection)? <= max - max / SLACK => more = false,
                State::Removing => match (self.oldest.pop(), self.taking) {
                    (Some(Reverse((_, Owner::Shelf(shelf)))), _) => self.empty(slice, rules, shelf)?,
                    (Some(Reverse((first, Owner::Series(at)))), _) => {
                        let Some(series) = rules.series.get(at) else { continue };
                        // A series is there twice after its shelf became blocks.
                        let is_first = self.first(slice, series)? == Some(first);
                        if !is_first || self.take(slice, rules, series, first)? {
                            self.push(slice, series, at)?;
                        }
                    }
                    (None, Taking::Readings) => {
                        self.taking = Taking::Everything;
                        self.begin();
                    }
                    (None, Taking::Everything) => more = false,
                },
            }
        }
        self.done.add(&slice.retained);
        slice.retained.add(&before);
        if !more {
            self.end(used_bytes(slice.connection)?, max);
        }
        Ok(more)
    }

    fn begin(&mut self) {
        self.oldest.clear();
        self.state = State::Looking(0);
    }

    fn end(&mut self, used: i64, max: i64) {
        let Retained { removed, thinned, blocks, oldest, newest, .. } = self.done;
        if blocks > 0 {
            let (from, to) = (oldest.unwrap_or_default().0, newest.unwrap_or_default().0);
            tracing::info!(
                used,
                max,
                removed,
                thinned,
                blocks,
                from,
                to,
                "retention: the oldest readings have gone, the file was too large"
            );
        }
        if used > max && !self.told {
            self.told = true;
            tracing::warn!(
                used,
                max,
                "retention: the file uses more than it may, and nothing is left that can go: the newest readings stay"
            );
        }
        self.state = State::Idle;
        self.oldest.clear();
    }

    /// The time of the first block of a series that may go.
    fn first(&self, slice: &Slice<'_>, series: &Series) -> Result<Option<Timestamp>, StoreError> {
        match self.taking {
            Taking::Readings => thin::first_with_readings(slice, series.id, series.done),
            Taking::Everything => thin::first(slice, series.id, Timestamp(i64::MIN)),
        }
    }

    /// Puts the first block of a series among the others.
    fn push(&mut self, slice: &mut Slice<'_>, series: &Series, at: usize) -> Result<(), StoreError> {
        slice.spend(Slice::LOOK);
        if let Some(first) = self.first(slice, series)? {
            self.oldest.push(Reverse((first, Owner::Series(at))));
        }
        Ok(())
    }

    /// Puts the first reading in the bundles of a shelf among the others.
    fn push_shelf(&mut self, slice: &mut Slice<'_>, shelf: i64) -> Result<(), StoreError> {
        slice.spend(Slice::LOOK);
        let first: Option<i64> = slice
            .connection
            .prepare_cached("SELECT min(first_at) FROM bundle WHERE shelf = ?1 AND position <= ?2")?
            .query_row((shelf, slice.through.0), |row| row.get(0))?;
        if let Some(first) = first {
            self.oldest.push(Reverse((Timestamp(first), Owner::Shelf(shelf))));
        }
        Ok(())
    }

    /// Makes blocks of the bundles of a shelf, and puts the first of each series among the others. Merging may have done it
    /// already.
    fn empty(&mut self, slice: &mut Slice<'_>, rules: &mut Rules, shelf: i64) -> Result<(), StoreError> {
        slice.empty(rules, shelf, slice.through)?;
        let first = rules.series.partition_point(|series| series.id < SeriesId(shelf * SHELF));
        for (at, series) in rules.series.iter().enumerate().skip(first) {
            if shelf_of(series.id) != shelf {
                break;
            }
            self.push(slice, series, at)?;
        }
        Ok(())
    }

    /// Takes the oldest of a series, one block or some that overlap. False: it is damaged, and the series is passed over.
    fn take(
        &self,
        slice: &mut Slice<'_>,
        rules: &Rules,
        series: &Series,
        first: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some((mut blocks, _)) = thin::day(slice, series.id, first, 1)? else { return Ok(false) };
        if self.taking == Taking::Readings {
            blocks.retain(|block| block.step.is_none());
            if let Some(kept) = rules.buckets(series)
                && !blocks.is_empty()
            {
                let (group, _) = overlapping(&blocks);
                if thin::thin(slice, (series.id, series.kind), kept.step, group)? {
                    return Ok(true);
                }
            }
        }
        match blocks.first() {
            Some(block) => thin::remove(slice, series.id, block)?,
            None => return Ok(false),
        }
        Ok(true)
    }
}

fn max_bytes(rules: &Rules) -> Option<i64> {
    rules.policy.max_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// What the file would need without its free pages.
fn used_bytes(connection: &Connection) -> Result<i64, StoreError> {
    let bytes = connection
        .prepare_cached(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(bytes)
}
