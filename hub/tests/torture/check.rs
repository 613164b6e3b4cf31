//! Compares a database with the oracle, exactly: for each epoch some number of batches is stored, at least those that
//! were acknowledged and at most those that were sent; of these every reading is there once, with its time and value;
//! nothing else is there.

use std::path::Path;

use protocol::{Timestamp, Value};
use store::{Reader, StoreError};

use crate::content::may_go;
use crate::oracle::Account;

/// Problems of one kind that are written out; more are only counted.
const NAMED: usize = 5;

/// What a check found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Readings in the database.
    pub(crate) stored: u64,
    /// Readings that are missing: acknowledged, or of a batch that the database says it has.
    pub(crate) lost: u64,
    /// Readings that are there more than once.
    pub(crate) doubled: u64,
    /// Readings that retention may have taken, and that are not there.
    pub(crate) gone: u64,
    /// Everything that is not as it must be.
    pub(crate) problems: Vec<String>,
}

/// Reads all of the database, which no device may be writing to. `forgotten` readings were taken by retention before the
/// database was made old, which takes away the account of them.
pub(crate) fn check(database: &Path, accounts: &[Account], forgotten: u64) -> Result<Found, StoreError> {
    let reader = Reader::open(database)?;
    let mut found = Found::default();
    let mut expected = 0;
    for account in accounts {
        expected += device(&reader, account, &mut found)?;
        found.problems.extend(account.problems.iter().cloned());
    }
    // A query shows each microsecond of a series once; what is stored twice shows in the count of positions.
    let stats = reader.stats()?;
    let positions = stats.readings + stats.conflicts + stats.removed + stats.damaged;
    if positions != expected {
        found.problems.push(format!("{expected} readings are settled, but {positions} were stored"));
        found.doubled += positions.saturating_sub(expected);
    }
    // Retention may go on while this reads: what it says last is the most.
    let taken = stats.removed + forgotten;
    if found.gone > taken || stats.damaged > 0 {
        found.problems.push(format!("{} readings are missing, retention took {stats:?}", found.gone));
        found.lost += found.gone.saturating_sub(taken);
    }
    if stats.conflicts > 0 {
        let (n, expected) = (stats.conflicts, stats.readings);
        found.problems.push(format!("{n} readings were stored at a microsecond that was taken: {expected}"));
    }
    Ok(found)
}

/// Checks one device. Returns how many readings it has settled.
fn device(reader: &Reader, account: &Account, found: &mut Found) -> Result<u64, StoreError> {
    let id = account.id();
    let mut ledger = match reader.ledger(&id) {
        Ok(ledger) => ledger,
        Err(StoreError::NotFound(_)) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut settled = 0;
    let mut wanted = [Vec::new(), Vec::new(), Vec::new()];
    for epoch in &account.epochs {
        let place = ledger.iter().position(|stream| stream.epoch.as_str() == epoch.name);
        let stream = place.map(|place| ledger.swap_remove(place));
        let last = stream.as_ref().map_or(0, |stream| stream.last_seq.0);
        let (name, acked, sent) = (&epoch.name, epoch.acked, epoch.sent);
        if last < acked {
            let problem = format!("{id}, epoch {name}: {acked} batches were acknowledged, {last} are there");
            found.problems.push(problem);
        }
        if last > sent {
            found.problems.push(format!("{id}, epoch {name}: {sent} batches were sent, {last} are there"));
        }
        let mut readings = 0;
        for seq in 1..=last.max(acked).min(sent) {
            let batch = epoch.batch(account.device, seq);
            if seq <= last {
                readings += batch.readings();
            }
            for (all, more) in wanted.iter_mut().zip(batch.expected()) {
                all.extend(more);
            }
        }
        settled += readings;
        if let Some(stream) = stream
            && (stream.readings, stream.stored, stream.refused + stream.skipped) != (readings, last, 0)
        {
            found.problems.push(format!("{id}, epoch {name}: {readings} readings expected: {stream:?}"));
        }
    }
    for stream in ledger {
        found.problems.push(format!("{id}: the database has a strange epoch: {stream:?}"));
    }
    let Some(device) = reader.device(&id)? else {
        if acknowledged(account) {
            found.problems.push(format!("{id} is not in the database"));
            found.lost += wanted.iter().map(|all| all.len() as u64).sum::<u64>();
        }
        return Ok(settled);
    };
    for (place, (metric, mut wanted)) in device.info.metrics.iter().zip(wanted).enumerate() {
        wanted.sort_unstable_by_key(|(at, _)| *at);
        let stored = reader.raw(metric.series, Timestamp(0), Timestamp::END_READING, usize::MAX)?;
        let what = format!("{id}, {}", metric.declaration.name);
        found.stored += stored.points.len() as u64;
        compare(&what, &wanted, &stored.points, may_go(account.device, place), found);
    }
    Ok(settled)
}

fn acknowledged(account: &Account) -> bool {
    account.epochs.iter().any(|epoch| epoch.acked > 0)
}

/// Walks along two lists in the order of time.
fn compare(
    what: &str,
    wanted: &[(Timestamp, Value)],
    stored: &[(Timestamp, Value)],
    may_go: bool,
    found: &mut Found,
) {
    let (mut wanted, mut stored) = (wanted.iter().peekable(), stored.iter().peekable());
    let mut problems = Vec::new();
    loop {
        match (wanted.peek(), stored.peek()) {
            (None, None) => break,
            (Some(w), Some(s)) if w.0 == s.0 => {
                if w.1 != s.1 {
                    problems.push(format!("{what}: at {} {:?} was sent, {:?} is stored", w.0.0, w.1, s.1));
                }
                wanted.next();
                stored.next();
            }
            (Some(w), s) if s.is_none_or(|s| w.0 < s.0) => {
                if may_go {
                    found.gone += 1;
                } else {
                    problems.push(format!("{what}: at {} {:?} is missing", w.0.0, w.1));
                    found.lost += 1;
                }
                wanted.next();
            }
            (_, Some(s)) => {
                problems.push(format!("{what}: at {} {:?} is stored and was not sent", s.0.0, s.1));
                stored.next();
            }
            (Some(_), None) => unreachable!("the arm before the last takes it"),
        }
    }
    if problems.len() > NAMED {
        let more = problems.len() - NAMED;
        problems.truncate(NAMED);
        problems.push(format!("{what}: {more} more like these"));
    }
    found.problems.extend(problems);
}
