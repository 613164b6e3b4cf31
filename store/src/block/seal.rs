//! Sealing: the oldest hot rows become blocks, or bundles where they are too few, in slices that ingest hardly notices.
//!
//! One run goes through three phases, of many slices each:
//!
//! 1. *read*: the rows up to a target are gathered by series. Nothing is written.
//! 2. *write*: the blocks and bundles of some series are stored, with the target as their position; no query sees them
//!    yet. The last slice moves `sealed.through` to the target: from one moment to the next they count and the rows do not.
//! 3. *delete*: the rows below the line go.
//!
//! The commits of slices are not synced on their own: nobody is told of them, and the next commit of readings syncs all
//! that lies before it in the log. A power cut that takes some of them back leaves an earlier phase.

use std::collections::BTreeMap;

use protocol::{Position, SeriesId, Timestamp};
use rusqlite::Connection;

use super::shelf::{self, bit_of, shelf_of};
use super::{SMALL, cut};
use crate::error::StoreError;
use crate::hot_row;
use crate::points::Points;
use crate::retention::Retention;
use crate::types::{SealPolicy, Sealed};
use crate::writer::{Commit, Memory, Writer};

/// Readings of a series in one run that are worth a block: it costs two rows and pages of its own, which this many
/// readings outweigh. Chosen: more would keep more rows hot. Fewer go into a bundle.
const BLOCK_MIN: usize = 256;

/// How far a run of sealing has come.
#[derive(Debug, Default)]
pub(crate) enum Sealing {
    /// None is under way, but rows below the line may be left to delete.
    #[default]
    Idle,
    /// Rows after `done` up to `target` are being gathered.
    Reading { done: i64, target: i64, gathered: BTreeMap<SeriesId, Points> },
    /// Blocks and bundles are being written.
    Writing { target: i64, gathered: BTreeMap<SeriesId, Points>, conflicts: Vec<(SeriesId, usize)> },
    /// Rows below the line are being deleted.
    Deleting,
    /// A slice failed while they were being written; they must be cleared away first.
    Failed,
}

impl Writer {
    /// Says when sealing begins and how much it leaves.
    pub const fn set_seal_policy(&mut self, policy: SealPolicy) {
        self.seal_policy = policy;
    }

    /// Does one slice of sealing, of about `max_rows` readings; call it between commits while it says that there is more.
    ///
    /// With 10 000 rows a slice takes a few milliseconds. Every reading stays visible in every query throughout.
    pub fn seal(&mut self, max_rows: usize) -> Result<Sealed, StoreError> {
        let max_rows = max_rows.max(1);
        self.link.check()?;
        let state = std::mem::take(&mut self.sealing);
        let writing = matches!(state, Sealing::Writing { .. } | Sealing::Failed);
        let result = self.step(state, max_rows);
        if result.is_err() && writing {
            self.sealing = Sealing::Failed;
        }
        let sealed_readings = result?;
        let through = super::sealed_through(&self.link.connection)?.0;
        Ok(Sealed {
            readings: sealed_readings,
            hot: (self.next - 1 - through).max(0) as u64,
            more: !matches!(self.sealing, Sealing::Idle),
        })
    }

    /// Goes one step from `state`; `self.sealing` is `Idle` meanwhile, and stays so if reading fails.
    fn step(&mut self, state: Sealing, max_rows: usize) -> Result<u64, StoreError> {
        match state {
            Sealing::Failed => {
                self.link.transact(Commit::Lazy, super::recover)?;
                self.step(Sealing::Idle, max_rows)
            }
            Sealing::Idle => {
                self.sealing = self.begin()?;
                match std::mem::take(&mut self.sealing) {
                    Sealing::Idle => Ok(0),
                    state => self.step(state, max_rows),
                }
            }
            Sealing::Reading { mut done, target, mut gathered } => {
                tracing::debug!(work = "gather");
                done = self.gather(done, target, max_rows, &mut gathered)?;
                self.sealing = if done < target {
                    Sealing::Reading { done, target, gathered }
                } else {
                    Sealing::Writing { target, gathered, conflicts: Vec::new() }
                };
                Ok(0)
            }
            Sealing::Writing { target, gathered, conflicts } => {
                tracing::debug!(work = "write blocks");
                self.write(target, gathered, conflicts, max_rows)
            }
            Sealing::Deleting => {
                tracing::debug!(work = "delete sealed");
                let left = self.link.transact(Commit::Lazy, |connection| {
                    hot_row::delete(connection, super::sealed_through(connection)?, max_rows)
                })?;
                self.sealing = if left { Sealing::Deleting } else { Sealing::Idle };
                Ok(0)
            }
        }
    }

    /// Decides whether there is anything to do.
    fn begin(&self) -> Result<Sealing, StoreError> {
        let connection = &self.link.connection;
        let through = super::sealed_through(connection)?;
        if hot_row::first_sealed(connection, through)?.is_some() {
            return Ok(Sealing::Deleting);
        }
        let through = through.0;
        let hot = (self.next - 1 - through).max(0) as u64;
        let policy = &self.seal_policy;
        let run_max = policy.run_max.max(1);
        let wanted = (self.memory.series_count() as u64 * BLOCK_MIN as u64).max(policy.run_min).min(run_max);
        if hot < policy.keep.saturating_add(wanted) || hot == policy.keep {
            return Ok(Sealing::Idle);
        }
        let run = (hot - policy.keep).min(run_max) as i64;
        Ok(Sealing::Reading { done: through, target: through + run, gathered: BTreeMap::new() })
    }

    /// Gathers rows after `done`, from memory if they are there, and returns how far it came.
    fn gather(
        &self,
        done: i64,
        target: i64,
        max_rows: usize,
        gathered: &mut BTreeMap<SeriesId, Points>,
    ) -> Result<i64, StoreError> {
        let end = target.min(done.saturating_add(i64::try_from(max_rows).unwrap_or(i64::MAX)));
        let Some(rows) = self.recent.between(done, end) else {
            read_rows(&self.link.connection, &self.memory, done, end, gathered)?;
            return Ok(end);
        };
        for row in rows {
            let points = gathered.entry(row.series).or_insert_with(|| Points::new(row.value.kind()));
            points.push(row.at.0, row.value.clone())?;
        }
        Ok(end)
    }

    fn write(
        &mut self,
        target: i64,
        mut gathered: BTreeMap<SeriesId, Points>,
        mut conflicts: Vec<(SeriesId, usize)>,
        max_rows: usize,
    ) -> Result<u64, StoreError> {
        let mut written = 0;
        let retention = &mut self.retention;
        let finished = self.link.transact(Commit::Lazy, |connection| {
            connection.prepare_cached("UPDATE sealed SET target = ?1")?.execute([target])?;
            while written < max_rows as u64 {
                let Some((first, points)) = gathered.pop_first() else { break };
                let mut shelf = vec![(first, points)];
                while let Some(entry) = gathered.first_entry()
                    && shelf_of(*entry.key()) == shelf_of(first)
                {
                    shelf.push(entry.remove_entry());
                }
                written += shelf.iter().map(|(_, points)| points.len() as u64).sum::<u64>();
                store_shelf(connection, shelf, target, &mut conflicts, retention)?;
            }
            if !gathered.is_empty() {
                return Ok(false);
            }
            for (series, lost) in &conflicts {
                super::count_conflicts(connection, *series, *lost)?;
            }
            connection.prepare_cached("UPDATE sealed SET through = ?1, target = NULL")?.execute([target])?;
            Ok(true)
        })?;
        self.sealing = if finished {
            self.recent.forget(target);
            self.merging.wake();
            Sealing::Deleting
        } else {
            Sealing::Writing { target, gathered, conflicts }
        };
        Ok(written)
    }

    /// The last sealed position, for those who need a number and not a query.
    pub fn sealed_through(&self) -> Result<Position, StoreError> {
        super::sealed_through(&self.link.connection)
    }
}

/// Gathers rows after `done` up to `end` from the file.
fn read_rows(
    connection: &Connection,
    memory: &Memory,
    done: i64,
    end: i64,
    gathered: &mut BTreeMap<SeriesId, Points>,
) -> Result<(), StoreError> {
    let mut count = hot_row::count_damaged(connection, done, end)?;
    hot_row::visit(connection, Position(done), |row| {
        let rest = row.position < end;
        for (_, row) in row.after(done)?.take_while(|(position, _)| *position <= end) {
            let kind = hot_row::kind_of(&row, memory)?;
            gathered.entry(row.series).or_insert_with(|| Points::new(kind)).push(row.at.0, row.value)?;
            count += 1;
        }
        Ok::<_, StoreError>(rest)
    })?;
    if count == end - done {
        Ok(())
    } else {
        Err(StoreError::corrupt(format!("{count} readings where {} were committed", end - done)))
    }
}

/// Writes the readings of the series of one shelf: blocks of those that have enough, and a bundle of the others. Adds to
/// `conflicts` how many were left out because their microsecond was taken.
fn store_shelf(
    connection: &Connection,
    mut shelf: Vec<(SeriesId, Points)>,
    position: i64,
    conflicts: &mut Vec<(SeriesId, usize)>,
    retention: &mut Retention,
) -> Result<(), StoreError> {
    for (series, points) in &mut shelf {
        let lost = points.tidy();
        if lost > 0 {
            conflicts.push((*series, lost));
        }
        super::note_latest(connection, *series, points)?;
    }
    let first = shelf.first().map(|(series, _)| shelf_of(*series));
    let is_large = |points: &Points| points.len() >= BLOCK_MIN;
    let bundled = match first.filter(|_| shelf.iter().any(|(_, points)| is_large(points))) {
        Some(shelf) => shelf::series_in_bundles(connection, shelf)?,
        None => 0,
    };
    // What a series has in bundles stays newer than what it has in blocks.
    let (blocks, bundle): (Vec<_>, Vec<_>) =
        shelf.into_iter().partition(|(series, points)| is_large(points) && bundled & bit_of(*series) == 0);
    for (series, points) in blocks {
        if let Some(first) = points.times().first() {
            retention.note_block(series, Timestamp(*first));
        }
        store(connection, series, &points, position)?;
    }
    shelf::insert(connection, 0, position, bundle)
}

/// Writes ordered readings of one series as blocks; returns how many.
pub(super) fn store(
    connection: &Connection,
    series: SeriesId,
    points: &Points,
    position: i64,
) -> Result<usize, StoreError> {
    let ranges = cut::pieces(points.times());
    let count = ranges.len();
    for range in ranges {
        let piece = range.len() < SMALL;
        if range.len() == points.len() {
            super::insert(connection, series, points, position, piece)?;
        } else {
            super::insert(connection, series, &points.slice(range), position, piece)?;
        }
    }
    Ok(count)
}
