//! All that a database holds, in a form that can be compared.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::command::CommandState;
use protocol::{DeviceId, SeriesId, Timestamp, Value};
use store::{CommandFilter, Reader, StreamLedger};

/// The batches of one stream in numbers: the last, stored, refused, skipped, duplicate, readings.
pub(crate) type Account = [u64; 6];

/// A command: its state, its attempts, and the states it has been in.
pub(crate) type Life = (CommandState, u32, Vec<CommandState>);

/// All that a database holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture {
    /// Readings that were ever stored.
    pub(crate) position: i64,
    /// The readings of each series, each time once.
    pub(crate) series: BTreeMap<SeriesId, Vec<(Timestamp, Value)>>,
    /// The streams of each device, oldest first.
    pub(crate) accounts: BTreeMap<DeviceId, Vec<Account>>,
    pub(crate) commands: BTreeMap<String, Life>,
    pub(crate) seen: BTreeMap<DeviceId, Timestamp>,
}

fn account(ledger: &StreamLedger) -> Account {
    [ledger.last_seq.0, ledger.stored, ledger.refused, ledger.skipped, ledger.duplicate, ledger.readings]
}

impl Picture {
    /// What is in the database at `path`, which a writer has open. Sees that it is sound and adds up.
    pub(crate) fn take(path: &Path) -> Self {
        let reader = Reader::open(path).unwrap();
        let mut picture = Self { position: reader.position().unwrap().0, ..Self::default() };
        for device in reader.devices().unwrap() {
            for metric in &device.info.metrics {
                let all = (Timestamp(0), Timestamp::END_READING);
                let raw = reader.raw(metric.series, all.0, all.1, usize::MAX).unwrap();
                assert_eq!(raw.position.0, picture.position);
                picture.series.insert(metric.series, raw.points);
            }
            let ledger = reader.ledger(&device.info.id).unwrap();
            picture.accounts.insert(device.info.id.clone(), ledger.iter().map(account).collect());
            if let Some(at) = device.info.last_seen {
                picture.seen.insert(device.info.id, at);
            }
        }
        for command in reader.commands(&CommandFilter::default(), usize::MAX).unwrap() {
            let states = command.transitions.iter().map(|transition| transition.state).collect();
            let life = (command.state, command.attempt, states);
            picture.commands.insert(command.id.as_str().to_owned(), life);
        }
        let booked: u64 = picture.accounts.values().flatten().map(|account| account[5]).sum();
        assert_eq!(booked as i64, picture.position, "the accounts and the positions differ");
        let stats = reader.stats().unwrap();
        let shown: usize = picture.series.values().map(Vec::len).sum();
        assert!(stats.readings >= shown as u64);
        check(path, stats.conflicts, picture.position);
        picture
    }
}

/// SQLite's own check, and that each reading is in one place.
fn check(path: &Path, conflicts: u64, position: i64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let count: i64 = connection
        .query_row(
            "SELECT (SELECT count(*) FROM reading, sealed WHERE position > through) +
                    (SELECT coalesce(sum(count), 0) FROM block, sealed WHERE position <= through) +
                    (SELECT coalesce(sum(count), 0) FROM bundle, sealed WHERE position <= through)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(count + conflicts as i64, position, "every reading is in one place");
    let orphans: i64 = connection
        .query_row(
            "SELECT (SELECT count(*) FROM block WHERE block_id NOT IN (SELECT block_id FROM block_data)) +
                    (SELECT count(*) FROM block_data WHERE block_id NOT IN (SELECT block_id FROM block))",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(orphans, 0, "blocks without readings, or readings without a block");
}
