//! Retention by size: while the file uses more than it may, the oldest blocks go.
//!
//! Oldest by the time at which they were observed, over all series, those that no rule names too. Of a series whose rule
//! keeps buckets, the readings go first and the statistics stay; statistics go when there are no readings left to go.
//! A device whose clock stands in 1970 loses its readings first.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use protocol::{Step, Timestamp};
use rusqlite::Connection;

use super::rules::{Rules, Series};
use super::running::Running;
use super::{Retained, Slice, thin};
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
    /// The first block of each series is looked up; series before this place have been.
    Looking(usize),
    /// Blocks go.
    Removing,
}

/// A pass, or the time until the next look.
#[derive(Debug, Default)]
pub(super) struct Pass {
    state: State,
    taking: Taking,
    /// Series by the time of their first block, as place in the rules.
    oldest: BinaryHeap<Reverse<(Timestamp, usize)>>,
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
                    self.push(slice, &rules.series[at], at)?;
                    self.state = State::Looking(at + 1);
                }
                State::Removing if used_bytes(slice.connection)? <= max - max / SLACK => more = false,
                State::Removing => match (self.oldest.pop(), self.taking) {
                    (Some(Reverse((first, at))), _) => {
                        let Some(series) = rules.series.get(at) else { continue };
                        if self.take(slice, rules, series, first)? {
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

    /// Puts the first block of a series among the others.
    fn push(&mut self, slice: &mut Slice<'_>, series: &Series, at: usize) -> Result<(), StoreError> {
        slice.spend(Slice::LOOK);
        let first = match self.taking {
            Taking::Readings => thin::first_with_readings(slice, series.id, series.done)?,
            Taking::Everything => thin::first(slice, series.id, Timestamp(i64::MIN))?,
        };
        if let Some(first) = first {
            self.oldest.push(Reverse((first, at)));
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
