//! Merging: many small blocks of a series become few large ones. Shelves come first, as they make new blocks.
//!
//! A day of a series is merged when it has gathered enough pieces, or when nothing has been added to it for long; the
//! [`SealPolicy`](crate::SealPolicy) says how many and how long. Merged is a run of neighbours that is closed under overlap:
//! no block outside it holds a time between its first and its last, so merging cannot change which of two readings at
//! the same microsecond was stored first.

use std::collections::VecDeque;

use protocol::{Kind, Position, SeriesId, Step, Timestamp};
use rusqlite::Connection;

use super::merge_shelf::Shelves;
use super::{Meta, SMALL, cut};
use crate::error::StoreError;
use crate::types::Merged;
use crate::writer::{Commit, Writer};

/// Most readings of a run of several blocks.
const RUN_MAX: usize = 2 * cut::CUT_MAX;
/// Most readings of blocks that overlap; more are left as they are, and queries put them together each time.
pub(crate) const OVERLAP_MAX: usize = 6 * cut::CUT_MAX;
/// Entries of the index of pieces that one look takes in.
const LOOK: i64 = 20_000;

/// Where merging is.
#[derive(Debug)]
pub(crate) struct Merging {
    pub(super) shelves: Shelves,
    /// Days that have something to merge.
    queue: VecDeque<(SeriesId, Timestamp)>,
    /// Every series up to this one has been looked at in this pass.
    after: i64,
    /// Whether a pass over the series is under way.
    awake: bool,
}

impl Default for Merging {
    /// Begins with a pass: what the file holds is not known.
    fn default() -> Self {
        Self { shelves: Shelves::default(), queue: VecDeque::new(), after: -1, awake: true }
    }
}

impl Merging {
    /// Notes that there are new blocks and bundles.
    pub(crate) const fn wake(&mut self) {
        self.shelves.wake();
        self.awake = true;
    }
}

impl Writer {
    /// Does one slice of merging, of about `max_rows` readings; call it between commits while it says that there is more.
    pub fn merge(&mut self, max_rows: usize) -> Result<Merged, StoreError> {
        self.link.check()?;
        if let Some(merged) = self.merge_shelves(max_rows)? {
            self.merging.awake |= merged.into_blocks > 0;
            return Ok(merged);
        }
        let mut merged = Merged::default();
        if self.merging.queue.is_empty() {
            if !self.merging.awake {
                return Ok(merged);
            }
            self.look()?;
        }
        let through = super::sealed_through(&self.link.connection)?;
        let (memory, queue, quiet) = (&self.memory, &mut self.merging.queue, self.seal_policy.quiet);
        if !queue.is_empty() {
            tracing::debug!(work = "merge");
            self.link.transact(Commit::Lazy, |connection| {
                while merged.readings < max_rows.max(1) as u64 {
                    let Some((series, day)) = queue.pop_front() else { break };
                    if let Some(kind) = memory.kind(series) {
                        merge_day(connection, (series, kind), day, (through, quiet), &mut merged)?;
                    }
                }
                Ok(())
            })?;
        }
        merged.more = self.merging.awake || !self.merging.queue.is_empty();
        Ok(merged)
    }

    /// Looks for days with pieces to merge, in the series after those looked at.
    fn look(&mut self) -> Result<(), StoreError> {
        let connection = &self.link.connection;
        let through = super::sealed_through(connection)?.0;
        let mut statement = connection.prepare_cached(
            "SELECT series_id, first_at, position FROM block WHERE piece = 1 AND series_id > ?1
             ORDER BY series_id, first_at LIMIT ?2",
        )?;
        let mut rows = statement.query((self.merging.after, LOOK))?;
        let mut days: Vec<(i64, Timestamp, usize, i64)> = Vec::new();
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            let (series, day) = (row.get(0)?, Step::D1.floor(Timestamp(row.get(1)?)));
            let position: i64 = row.get(2)?;
            match days.last_mut() {
                _ if position > through => {}
                Some(last) if last.0 == series && last.1 == day => {
                    last.2 += 1;
                    last.3 = last.3.max(position);
                }
                _ => days.push((series, day, 1, position)),
            }
        }
        if seen < LOOK {
            self.merging.after = -1;
            self.merging.awake = false;
        } else {
            // The last series may have more: it comes again, unless it is the only one.
            let last = days.last().map_or(self.merging.after + 1, |day| day.0);
            if days.first().is_some_and(|day| day.0 < last) {
                days.retain(|day| day.0 < last);
                self.merging.after = last - 1;
            } else {
                self.merging.after = last;
            }
        }
        let policy = self.seal_policy;
        let ripe = |(_, _, pieces, newest): &&(i64, Timestamp, usize, i64)| {
            *pieces >= policy.pieces || newest.saturating_add_unsigned(policy.quiet) <= through
        };
        self.merging
            .queue
            .extend(days.iter().filter(ripe).map(|(series, day, _, _)| (SeriesId(*series), *day)));
        Ok(())
    }
}

/// Merges what there is to merge in one day of one series.
fn merge_day(
    connection: &Connection,
    (series, kind): (SeriesId, Kind),
    day: Timestamp,
    (through, quiet): (Position, u64),
    merged: &mut Merged,
) -> Result<(), StoreError> {
    let end = day.plus_micros(Step::D1.micros());
    let mut blocks = super::find(connection, series, day, end, through)?;
    // What has no readings any more has no microsecond to lose either.
    blocks.retain(|block| block.step.is_none());
    let newest = blocks.iter().map(|block| block.position).max().unwrap_or_default();
    let quiet = newest.saturating_add_unsigned(quiet) <= through.0;
    let runs = runs(&blocks);
    let last = runs.len().saturating_sub(1);
    for (place, run) in runs.into_iter().enumerate() {
        // The end of the day may still grow; what lies before it is merged for good.
        let grows = place == last && !quiet;
        let count: usize = run.iter().map(|block| block.count).sum();
        if !run.iter().any(|block| block.piece) {
            continue;
        }
        if run.len() == 1 || count > OVERLAP_MAX {
            if !grows || count > OVERLAP_MAX {
                keep(connection, series, run)?;
            }
            continue;
        }
        merge_run(connection, series, kind, run, grows, merged)?;
    }
    Ok(())
}

/// Splits the blocks of a day, by their first time, into runs to be merged: closed under overlap, of small blocks and
/// pieces, and not too large.
fn runs(blocks: &[Meta]) -> Vec<&[Meta]> {
    let mut runs: Vec<(std::ops::Range<usize>, usize, bool)> = Vec::new();
    let mut first = 0;
    while first < blocks.len() {
        let mut last_at = blocks[first].last_at;
        let mut end = first + 1;
        while end < blocks.len() && blocks[end].first_at <= last_at {
            last_at = last_at.max(blocks[end].last_at);
            end += 1;
        }
        let overlapping = &blocks[first..end];
        let count: usize = overlapping.iter().map(|block| block.count).sum();
        let open = overlapping.iter().any(|block| block.piece) || count < SMALL;
        match runs.last_mut() {
            Some((range, total, true)) if open && *total + count <= RUN_MAX => {
                range.end = end;
                *total += count;
            }
            _ => runs.push((first..end, count, open)),
        }
        first = end;
    }
    runs.into_iter().map(|(range, _, _)| &blocks[range]).collect()
}

/// Lets blocks be as they are from now on.
fn keep(connection: &Connection, series: SeriesId, run: &[Meta]) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "UPDATE block SET piece = 0 WHERE series_id = ?1 AND first_at = ?2 AND block_id = ?3",
    )?;
    for block in run.iter().filter(|block| block.piece) {
        statement.execute((series.0, block.first_at.0, block.id))?;
    }
    Ok(())
}

fn merge_run(
    connection: &Connection,
    series: SeriesId,
    kind: Kind,
    run: &[Meta],
    grows: bool,
    merged: &mut Merged,
) -> Result<(), StoreError> {
    let (points, lost) = super::read_together(connection, kind, run)?;
    let position = run.iter().map(|block| block.position).max().unwrap_or_default();
    for block in run {
        super::remove(connection, series, block)?;
    }
    let ranges = cut::merged(points.times());
    for (place, range) in ranges.iter().enumerate() {
        let piece = grows && place + 1 == ranges.len() && range.len() < cut::CUT_MAX / 2;
        super::insert(connection, series, &points.slice(range.clone()), position, piece)?;
    }
    super::count_conflicts(connection, series, lost)?;
    merged.readings += points.len() as u64;
    merged.from_blocks += run.len() as u64;
    merged.into_blocks += ranges.len() as u64;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_do_not_overlap_each_other_and_leave_nothing_out() {
        let mut state = 1_u64;
        let mut chance = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        for _ in 0..2_000 {
            let mut blocks: Vec<Meta> = (0..chance(30))
                .map(|id| {
                    let first = chance(1_000) as i64;
                    let count = [3, 500, 3_000, 9_000][chance(4) as usize];
                    Meta {
                        id: id as i64,
                        first_at: Timestamp(first),
                        last_at: Timestamp(first + chance(80) as i64),
                        count,
                        position: id as i64,
                        piece: count < SMALL && chance(3) > 0,
                        step: None,
                        summary: None,
                    }
                })
                .collect();
            blocks.sort_by_key(|block| block.first_at);
            let runs = runs(&blocks);
            let ids = |blocks: &[Meta]| blocks.iter().map(|block| block.id).collect::<Vec<_>>();
            assert_eq!(runs.iter().flat_map(|run| ids(run)).collect::<Vec<_>>(), ids(&blocks));
            for pair in runs.windows(2) {
                let last_at = pair[0].iter().map(|block| block.last_at).max().unwrap();
                assert!(pair[1].iter().all(|block| block.first_at > last_at));
            }
        }
    }
}
