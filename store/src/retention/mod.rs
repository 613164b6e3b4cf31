//! Retention: what goes after some time, or when the file gets too large, and what is left of it.
//!
//! A block goes when both are longer ago than its rule keeps readings: the time at which its last reading was observed, and
//! the time at which the hub took its readings in. The second is counted in time that the hub has run ([`running`]), not by
//! a clock on the wall; so a clock that jumps, a device that stands in 1970 or an import of old readings wipes nothing.
//! Where the rule keeps buckets, only the readings of a block go and its statistics stay ([`thin`]). Bundles that have
//! something to go become blocks first. Hot rows never go.
//!
//! It works in slices beside ingest: each is one transaction that also keeps the account (`series.removed`,
//! `series.thinned`), so a kill between two costs nothing, and one that a power cut takes back is done again.

mod age;
mod rules;
mod running;
mod shrink;
mod size;
mod thin;

use std::time::Duration;

use protocol::{Position, SeriesId, Step, Timestamp};
use rusqlite::Connection;

use crate::block::{self, Meta, Sealing};

use crate::error::StoreError;
use crate::writer::{Commit, Writer};

use rules::Rules;
use running::Running;

pub use rules::{KeptBuckets, RetentionPolicy, RetentionRule};
pub use shrink::Shrunk;

/// Running time that bundles wait at most to grow large, if no rule is shorter: blocks end with the day.
const BUNDLES_WAIT: i64 = Step::D1.micros();

/// What a slice of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Readings that went for good.
    pub removed: u64,
    /// Readings of which statistics are left.
    pub thinned: u64,
    /// Blocks that they were in.
    pub blocks: u64,
    /// The time of the earliest of them.
    pub oldest: Option<Timestamp>,
    /// The time of the latest of them.
    pub newest: Option<Timestamp>,
    /// Whether a pass is under way: call again.
    pub more: bool,
}

impl Retained {
    fn add(&mut self, other: &Self) {
        self.removed += other.removed;
        self.thinned += other.thinned;
        self.blocks += other.blocks;
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
        self.newest = self.newest.into_iter().chain(other.newest).max();
    }
}

/// Where retention is.
#[derive(Debug)]
pub(crate) struct Retention {
    rules: Rules,
    running: Running,
    age: age::Pass,
    size: size::Pass,
    shrinking: bool,
}

impl Retention {
    /// Reads from the file how long the hub has run.
    pub(crate) fn open(connection: &Connection) -> Result<Self, StoreError> {
        Ok(Self {
            rules: Rules::default(),
            running: Running::read(connection)?,
            age: age::Pass::default(),
            size: size::Pass::default(),
            shrinking: false,
        })
    }

    /// What was received up to this position has waited long enough in bundles: longer, and it would be kept too long, for
    /// what is merged is as old as the newest of it.
    pub(crate) fn bundles_waited(&self, connection: &Connection) -> Result<Position, StoreError> {
        let most = self.rules.shortest().map_or(BUNDLES_WAIT, |shortest| shortest.min(BUNDLES_WAIT));
        Ok(Position(self.running.received_before(connection, most)?))
    }

    /// Notes that a series has got a block that begins at this time.
    pub(crate) fn note_block(&mut self, series: SeriesId, first_at: Timestamp) {
        self.rules.look_again(series, first_at);
    }
}

/// What a slice works with, and what it has done.
struct Slice<'a> {
    connection: &'a Connection,
    /// Blocks after this position do not count yet.
    through: Position,
    /// Whether bundles became blocks.
    emptied: bool,
    /// Work that may still be done, in about the time that handling one reading takes.
    budget: i64,
    retained: Retained,
}

impl<'a> Slice<'a> {
    /// For looking at a series or a block.
    const LOOK: i64 = 10;
    /// For removing or changing a block, beside its readings. Estimated, not measured.
    const BLOCK: i64 = 150;

    fn new(connection: &'a Connection, max_rows: usize) -> Result<Self, StoreError> {
        let budget = i64::try_from(max_rows.max(1)).unwrap_or(i64::MAX);
        let through = block::sealed_through(connection)?;
        Ok(Self { connection, through, emptied: false, budget, retained: Retained::default() })
    }

    const fn spend(&mut self, work: i64) {
        self.budget = self.budget.saturating_sub(work);
    }

    const fn is_spent(&self) -> bool {
        self.budget <= 0
    }

    /// Makes blocks of the bundles of a shelf up to a position; returns whether there were any.
    ///
    /// What is damaged is told, and stays.
    fn empty(&mut self, rules: &mut Rules, shelf: i64, upto: Position) -> Result<bool, StoreError> {
        let note = |series, first_at| rules.look_again(series, first_at);
        match block::empty(self.connection, shelf, upto.min(self.through), note) {
            Ok(done) => {
                self.spend(done.readings as i64 + Self::BLOCK * done.into_blocks as i64);
                self.emptied |= done.from_blocks > 0;
                Ok(done.from_blocks > 0)
            }
            Err(StoreError::Corrupt(problem)) => {
                tracing::error!(shelf, problem, "retention passes over damaged bundles");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&mut self, block: &Meta) {
        let (retained, oldest, newest) = (&mut self.retained, block.first_at, block.last_at);
        retained.add(&Retained {
            blocks: 1,
            oldest: Some(oldest),
            newest: Some(newest),
            ..Retained::default()
        });
    }
}

impl Writer {
    /// Says what goes when. Until it is called, nothing goes.
    pub fn set_retention(&mut self, policy: RetentionPolicy) {
        let retention = &mut self.retention;
        retention.rules = Rules::new(policy);
        retention.age = age::Pass::default();
        retention.size = size::Pass::default();
    }

    /// Does one slice of retention, of about as much work as `max_rows` readings; call it between commits while it says that
    /// there is more, and else now and then.
    ///
    /// `now` is the hub's clock, `elapsed` the time that has really passed since the last call, by a clock that only runs.
    pub fn retain(
        &mut self,
        now: Timestamp,
        elapsed: Duration,
        max_rows: usize,
    ) -> Result<Retained, StoreError> {
        self.link.check()?;
        let last = self.next - 1;
        let Retention { rules, running, age, size, .. } = &mut self.retention;
        running.advance(elapsed);
        if running.is_due(rules.mark_interval(), last) {
            self.link.transact(Commit::Lazy, |connection| running.note(connection, rules, last))?;
        }
        if matches!(self.sealing, Sealing::Writing { .. } | Sealing::Failed) {
            // Blocks that do not count yet lie about; a pass would take them for dealt with.
            return Ok(Retained::default());
        }
        let age_is_due = age.is_due(rules, running);
        let size_is_due = size.is_due(&self.link.connection, rules, running)?;
        if !age_is_due && !size_is_due {
            return Ok(Retained::default());
        }
        tracing::debug!(work = "retain");
        let result = self.link.transact(Commit::Lazy, |connection| {
            let mut slice = Slice::new(connection, max_rows)?;
            if age_is_due {
                slice.retained.more = age.run(&mut slice, rules, running, now)?;
            }
            if size_is_due && !slice.retained.more {
                slice.retained.more = size.run(&mut slice, rules)?;
            }
            Ok((slice.retained, slice.emptied))
        });
        if matches!(result, Ok((_, true))) {
            self.merging.wake();
        }
        if result.is_err() {
            // What was rolled back is looked for again.
            rules.forget();
            age.put_off(running);
            size.put_off(running);
        }
        result.map(|(retained, _)| retained)
    }
}
