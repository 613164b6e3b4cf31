//! Merging on shelves: many small bundles become a large one, and what is enough becomes blocks.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use protocol::{Position, SeriesId, Timestamp};
use rusqlite::Connection;

use super::seal;
use super::shelf::{self, BUNDLE_MAX};
use crate::error::StoreError;
use crate::points::Points;
use crate::types::Merged;
use crate::writer::{Commit, Writer};

/// Readings in the bundles of a shelf that are enough for blocks: 2 000 for each of its series.
const EMPTY_MIN: i64 = BUNDLE_MAX as i64;
/// Shelves that one look takes in.
const LOOK: i64 = 1_000;

/// Where merging is among the shelves.
#[derive(Debug)]
pub(crate) struct Shelves {
    /// Shelves whose bundles are to be merged, and how.
    queue: VecDeque<(i64, Work)>,
    /// Every shelf up to this one has been looked at in this pass.
    after: i64,
    /// Whether a pass is under way.
    awake: bool,
}

/// What is to be done with the bundles of a shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Those of level 0 become one of level 1.
    Gather,
    /// All become blocks. However few the readings of a series are: what stayed behind would never get old.
    Empty,
}

impl Default for Shelves {
    /// Begins with a pass: what the file holds is not known.
    fn default() -> Self {
        Self { queue: VecDeque::new(), after: -1, awake: true }
    }
}

impl Shelves {
    /// Notes that there are new bundles.
    pub(super) const fn wake(&mut self) {
        self.awake = true;
    }
}

impl Writer {
    /// Does one slice of merging on shelves; `None` if there is nothing to do.
    pub(super) fn merge_shelves(&mut self, max_rows: usize) -> Result<Option<Merged>, StoreError> {
        if self.merging.shelves.queue.is_empty() && self.merging.shelves.awake {
            self.look_at_shelves()?;
        }
        if self.merging.shelves.queue.is_empty() {
            let more = self.merging.shelves.awake;
            return Ok(more.then(|| Merged { more, ..Merged::default() }));
        }
        tracing::debug!(work = "merge bundles");
        let through = super::sealed_through(&self.link.connection)?;
        let (queue, retention) = (&mut self.merging.shelves.queue, &mut self.retention);
        let mut merged = Merged { more: true, ..Merged::default() };
        self.link.transact(Commit::Lazy, |connection| {
            while merged.readings < max_rows.max(1) as u64 {
                let Some((shelf, work)) = queue.pop_front() else { break };
                let done = match work {
                    Work::Gather => gather(connection, shelf, through)?,
                    Work::Empty => empty(connection, shelf, through, |series, first_at| {
                        retention.note_block(series, first_at);
                    })?,
                };
                merged.readings += done.readings;
                merged.from_blocks += done.from_blocks;
                merged.into_blocks += done.into_blocks;
            }
            Ok(())
        })?;
        Ok(Some(merged))
    }

    /// Looks for shelves whose bundles are worth merging, after those looked at.
    fn look_at_shelves(&mut self) -> Result<(), StoreError> {
        let connection = &self.link.connection;
        let through = super::sealed_through(connection)?.0;
        let mut statement = connection.prepare_cached(
            "SELECT shelf, sum(level = 0), sum(level > 0), sum(count), min(position), max(position) FROM bundle
             WHERE shelf > ?1 AND position <= ?2 GROUP BY shelf ORDER BY shelf LIMIT ?3",
        )?;
        let waited = self.retention.bundles_waited(connection)?.0;
        let shelves = &mut self.merging.shelves;
        let mut rows = statement.query((shelves.after, through, LOOK))?;
        let policy = &self.seal_policy;
        let pieces = policy.pieces.max(1) as i64;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            let (shelf, small, large): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (count, oldest, newest): (i64, i64, i64) = (row.get(3)?, row.get(4)?, row.get(5)?);
            shelves.after = shelf;
            let is_quiet = newest.saturating_add_unsigned(policy.quiet) <= through;
            if count >= EMPTY_MIN || large >= pieces || oldest <= waited {
                shelves.queue.push_back((shelf, Work::Empty));
            } else if small >= pieces || is_quiet && small >= 2 {
                shelves.queue.push_back((shelf, Work::Gather));
            }
        }
        if seen < LOOK {
            shelves.after = -1;
            shelves.awake = false;
        }
        Ok(())
    }
}

/// Makes one large bundle of the small ones of a shelf. They are its newest.
fn gather(connection: &Connection, shelf: i64, through: Position) -> Result<Merged, StoreError> {
    let taken = take(connection, shelf, 0, through)?;
    let done = taken.merged(u64::from(!taken.readings.is_empty()));
    shelf::insert(connection, 1, taken.position, taken.readings.into_iter().collect())?;
    remove(connection, &taken.bundles)?;
    Ok(done)
}

/// Makes blocks of all that a shelf has in bundles up to a position. `note` hears of each series, and the first time of its
/// blocks.
pub(crate) fn empty(
    connection: &Connection,
    shelf: i64,
    upto: Position,
    mut note: impl FnMut(SeriesId, Timestamp),
) -> Result<Merged, StoreError> {
    let taken = take(connection, shelf, 1, upto)?;
    let mut done = taken.merged(0);
    for (series, points) in taken.readings {
        done.into_blocks += seal::store(connection, series, &points, taken.position)? as u64;
        if let Some(first_at) = points.times().first() {
            note(series, Timestamp(*first_at));
        }
    }
    remove(connection, &taken.bundles)?;
    Ok(done)
}

/// What is in bundles that are to go.
struct Taken {
    bundles: Vec<i64>,
    /// The highest of their positions.
    position: i64,
    /// In the order of their times, each time once.
    readings: BTreeMap<SeriesId, Points>,
}

impl Taken {
    fn merged(&self, into_blocks: u64) -> Merged {
        let readings = self.readings.values().map(|points| points.len() as u64).sum();
        Merged { readings, from_blocks: self.bundles.len() as u64, into_blocks, more: false }
    }
}

/// Opens the bundles of a shelf up to a level and a position, and books conflicts among them. One that is damaged is left out.
fn take(connection: &Connection, shelf: i64, level: i64, upto: Position) -> Result<Taken, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM bundle WHERE shelf = ?1 AND level <= ?2 AND position <= ?3 ORDER BY position",
        shelf::COLUMNS
    ))?;
    let mut rows = statement.query((shelf, level, upto.0))?;
    let mut taken = Taken { bundles: Vec::new(), position: 0, readings: BTreeMap::new() };
    while let Some(row) = rows.next()? {
        let (meta, pieces) = match shelf::read_meta(row).and_then(|meta| Ok((shelf::open(&meta, row)?, meta)))
        {
            Ok((pieces, meta)) => (meta, pieces),
            Err(StoreError::Corrupt(problem)) => {
                tracing::error!(shelf, problem, "a damaged bundle stays as it is");
                continue;
            }
            Err(error) => return Err(error),
        };
        taken.bundles.push(meta.id);
        taken.position = taken.position.max(meta.position);
        for (series, points) in pieces {
            match taken.readings.entry(series) {
                Entry::Vacant(entry) => drop(entry.insert(points)),
                Entry::Occupied(mut entry) => entry.get_mut().append(points)?,
            }
        }
    }
    for (series, points) in &mut taken.readings {
        super::count_conflicts(connection, *series, points.tidy())?;
    }
    Ok(taken)
}

/// Removes bundles, after what takes their place was written: so that is found behind them by whoever goes by number.
fn remove(connection: &Connection, bundles: &[i64]) -> Result<(), StoreError> {
    let mut delete = connection.prepare_cached("DELETE FROM bundle WHERE bundle_id = ?1")?;
    for bundle in bundles {
        delete.execute([bundle])?;
    }
    Ok(())
}
