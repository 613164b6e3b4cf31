//! The hot path: batches of readings into the file, each exactly once (I-1, I-2).

use std::collections::HashMap;

use protocol::{Position, Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use crate::error::StoreError;
use crate::types::{Appended, Batch, BatchContent, Outcome, Row, StreamKey};
use crate::writer::{Commit, Memory, Writer};
use crate::{hot_row, row};

/// What the batches of one call change in the account of one stream.
#[derive(Debug, Clone, Copy, Default)]
struct Account {
    last: u64,
    moved: bool,
    stored: i64,
    refused: i64,
    skipped: i64,
    duplicate: i64,
    readings: i64,
}

impl Account {
    /// Decides on a batch, and books it if it is to be stored.
    fn settle(&mut self, batch: &Batch) -> Outcome {
        if batch.seq.0 <= self.last {
            self.duplicate += 1;
            return Outcome::Duplicate;
        }
        // Only a skip may pass over numbers: a hole is declared, or it is a mistake.
        let hole = batch.seq.0 - self.last > 1 && batch.content != BatchContent::Skipped;
        if batch.after.0 != self.last || hole || batch.seq > Seq::MAX {
            return Outcome::OutOfOrder;
        }
        match &batch.content {
            BatchContent::Readings(rows) => {
                self.stored += 1;
                self.readings += rows.len() as i64;
            }
            BatchContent::Refused => self.refused += 1,
            BatchContent::Skipped => self.skipped += (batch.seq.0 - self.last) as i64,
        }
        self.last = batch.seq.0;
        self.moved = true;
        Outcome::Settled
    }
}

impl Writer {
    /// Settles batches in one transaction. When it returns `Ok`, every batch with [`Outcome::Settled`] is on disk,
    /// synced, and may be acknowledged; when it returns an error, nothing of any of them is stored.
    ///
    /// Batches of one stream are taken in the order given. `received_at` is noted with every reading.
    pub fn append(&mut self, batches: &[Batch], received_at: Timestamp) -> Result<Appended, StoreError> {
        self.link.check()?;
        tracing::debug!(work = "append");
        let first = self.next;
        if batches.is_empty() {
            return Ok(Appended { outcomes: Vec::new(), first: Position(first), last: Position(first - 1) });
        }
        let mut stored: Vec<&Row> = Vec::new();
        let mut accounts = HashMap::new();
        let mut outcomes = Vec::with_capacity(batches.len());
        let memory = &self.memory;
        let result = self.link.transact(Commit::Synced, |connection| {
            for batch in batches {
                let account = find_account(connection, memory, &mut accounts, batch.stream)?;
                let outcome = account.settle(batch);
                if outcome == Outcome::Settled
                    && let BatchContent::Readings(rows) = &batch.content
                {
                    stored.extend(rows);
                }
                outcomes.push(outcome);
            }
            hot_row::insert(connection, memory, &stored, received_at, first)?;
            book(connection, &accounts, received_at)
        });
        match result {
            Ok(()) => {
                self.next = first + stored.len() as i64;
                self.recent.push(stored.into_iter().cloned());
                for (stream, account) in accounts {
                    self.memory.learn_stream(stream, account.last);
                }
                Ok(Appended { outcomes, first: Position(first), last: Position(self.next - 1) })
            }
            Err(error) => {
                for stream in accounts.keys() {
                    self.memory.streams.remove(stream);
                }
                Err(error)
            }
        }
    }
}

fn find_account<'a>(
    connection: &Connection,
    memory: &Memory,
    accounts: &'a mut HashMap<StreamKey, Account>,
    stream: StreamKey,
) -> Result<&'a mut Account, StoreError> {
    use std::collections::hash_map::Entry;
    match accounts.entry(stream) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let last = match memory.streams.get(&stream) {
                Some(last) => *last,
                None => read_last(connection, stream)?,
            };
            Ok(entry.insert(Account { last, ..Account::default() }))
        }
    }
}

fn read_last(connection: &Connection, stream: StreamKey) -> Result<u64, StoreError> {
    let last = connection
        .prepare_cached("SELECT last_seq FROM stream WHERE stream_key = ?1")?
        .query_row([stream.0], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("stream"))?;
    row::count(last)
}

/// Writes the accounts, in the order of their keys so that neighbours share a page.
fn book(
    connection: &Connection,
    accounts: &HashMap<StreamKey, Account>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let mut changed: Vec<(i64, Account)> = accounts
        .iter()
        .filter(|(_, account)| account.moved || account.duplicate > 0)
        .map(|(stream, account)| (stream.0, *account))
        .collect();
    changed.sort_unstable_by_key(|(stream, _)| *stream);
    let mut statement = connection.prepare_cached(
        "UPDATE stream SET last_seq = ?2, stored = stored + ?3, refused = refused + ?4, skipped = skipped + ?5,
                duplicate = duplicate + ?6, readings = readings + ?7,
                changed_at = CASE WHEN ?8 THEN ?9 ELSE changed_at END
         WHERE stream_key = ?1",
    )?;
    for (stream, a) in changed {
        statement.execute((
            stream,
            a.last as i64,
            a.stored,
            a.refused,
            a.skipped,
            a.duplicate,
            a.readings,
            a.moved,
            at.0,
        ))?;
    }
    Ok(())
}
