//! Files of past versions: they open, keep all they hold, and a kill on the way costs nothing.
//!
//! `fixtures/version-N.db` was written by a hub of schema version N: two devices with a number, a truth value and a text
//! each, 3602 readings of which 1000 are sealed, one of them left out as a conflict. Those of version 4 and later have commands too;
//! those of version 6 and 7 have a group, tags and credentials, that of version 7 a connection.

use std::path::Path;

use protocol::command::Delivery;
use protocol::{DeviceId, Seq, SeriesId, Timestamp, Value};
use rusqlite::Connection;
use store::{AuditFilter, CommandFilter, CredentialRole, NewCredential, Reader, Stats, Writer};

use crate::support::{Base, NOW, anna, row, suffixed};

/// The version that this program writes.
const NEWEST: i64 = 8;
/// The step from each version to the next, from version 1 on.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../src/migrations/0002.sql"),
    include_str!("../../src/migrations/0003.sql"),
    include_str!("../../src/migrations/0004.sql"),
    include_str!("../../src/migrations/0005.sql"),
    include_str!("../../src/migrations/0006.sql"),
    include_str!("../../src/migrations/0007.sql"),
    include_str!("../../src/migrations/0008.sql"),
];

/// A file of each past version.
fn past() -> impl Iterator<Item = (i64, Base)> {
    (1..NEWEST).map(|version| (version, fixture(version)))
}

fn fixture(version: i64) -> Base {
    let base = Base::new();
    let name = format!("tests/fixtures/version-{version}.db");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), base.path()).unwrap();
    base
}

fn version(path: &Path) -> i64 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// Sees that everything that was put into the fixtures is there, and that it goes on from there.
fn holds_everything(base: &Base) {
    let mut writer = base.writer();
    let reader = base.reader();
    for (place, name) in (0_i64..).zip(["pump", "press"]) {
        let series = |metric: i64| SeriesId(place * 3 + metric + 1);
        for metric in 0..3 {
            let found = reader.raw(series(metric), Timestamp(0), Timestamp::END_READING, usize::MAX).unwrap();
            let expected = (60..660).map(|n| {
                let value = match metric {
                    0 => Value::Number(n as f64 / 8.0),
                    1 => Value::Bool(n % 7 == 0),
                    _ => Value::from(if n % 9 < 4 { "open" } else { "shut" }),
                };
                (Timestamp(NOW.0 + n * 1_000_000 + place), value)
            });
            assert!(found.points.into_iter().eq(expected), "{name}, metric {metric}");
        }
        let device: DeviceId = name.parse().unwrap();
        let ledger = reader.ledger(&device).unwrap();
        assert_eq!((ledger[0].last_seq, ledger[0].stored, ledger[0].readings), (Seq(10), 10, 1_801));
        assert_eq!(reader.device(&device).unwrap().unwrap().info.metrics.len(), 3);
    }
    let stats = reader.stats().unwrap();
    assert!(matches!(stats, Stats { devices: 2, series: 6, readings: 3_601, conflicts: 1, .. }), "{stats:?}");
    assert_eq!((stats.removed, stats.thinned, stats.damaged), (0, 0, 0));
    let seen = reader.device(&"pump".parse().unwrap()).unwrap().unwrap().info.last_seen;
    assert_eq!(seen, Some(NOW.plus_micros(5)));

    let device = crate::support::register(&mut writer, "pump");
    assert_eq!(device.settled, Seq(10));
    crate::support::store(&mut writer, device.stream, 11, vec![row(device.series[0], NOW.0, 1.0)]);
    crate::model::seal_some(&mut writer);
}

#[test]
fn commands_of_a_past_version_are_kept_with_their_lives() {
    let base = fixture(4);
    drop(base.writer());
    let commands = base.reader().commands(&CommandFilter::default(), 10).unwrap();
    let lives: Vec<(&str, Vec<&str>)> = commands
        .iter()
        .map(|c| (c.id.as_str(), c.transitions.iter().map(|t| t.state.as_str()).collect()))
        .collect();
    assert_eq!(
        lives,
        [
            ("c3", vec!["queued"]),
            ("c2", vec!["queued", "sent", "unknown"]),
            ("c1", vec!["queued", "sent", "received", "succeeded"])
        ]
    );
    assert_eq!((commands[2].delivery, commands[2].attempt), (Delivery::AtOnce, 1));
    assert_eq!(commands[2].result, Some(serde_json::json!({"ok": 1})));
    assert_eq!(base.reader().open_commands().unwrap().len(), 2);
}

#[test]
fn a_command_that_ended_in_doubt_is_kept_as_it_was_and_belongs_to_no_group() {
    let base = fixture(5);
    drop(base.writer());
    let command = base.reader().command(&"c4".parse().unwrap()).unwrap().unwrap();
    assert_eq!((command.state.as_str(), command.attempt, &command.group), ("unresolved", 2, &None));
    assert_eq!((command.delivery, command.forced), (Delivery::AfterReceived, true));
    assert_eq!(command.cancel.unwrap().address.as_deref(), Some("10.0.0.7:50000"));
    assert!(base.reader().groups(None, 10).unwrap().is_empty());
}

#[test]
fn a_group_and_credentials_of_a_past_version_are_kept_and_nothing_is_known_of_its_connections() {
    let base = fixture(6);
    drop(base.writer());
    let reader = base.reader();
    let groups = reader.groups(None, 10).unwrap();
    assert_eq!((groups.len(), groups[0].request.name.as_str(), groups[0].tally.total()), (1, "reset", 2));
    let roles: Vec<_> =
        reader.credentials(None, 99).unwrap().iter().map(|c| (c.role.as_str(), c.label.clone())).collect();
    assert_eq!(roles.len(), 4);
    assert!(roles.contains(&("viewer", "wall".into())), "{roles:?}");
    assert_eq!(reader.connections(&"pump".parse().unwrap()).unwrap(), Some(vec![]));
}

#[test]
fn credentials_of_a_past_version_open_what_they_did_and_a_group_is_kept() {
    let base = fixture(7);
    let mut writer = base.writer();
    let credentials = base.reader().credentials(None, 99).unwrap();
    let kept: Vec<_> = credentials
        .iter()
        .map(|c| (c.key.0, c.role.as_str(), c.label.as_str(), c.revoked_at.is_some()))
        .collect();
    assert_eq!(
        kept,
        [
            (3, "viewer", "wall screen", true),
            (2, "device", "device pump", false),
            (1, "operator", "anna", false)
        ]
    );
    assert_eq!(base.reader().credential(&[1; 32]).unwrap().unwrap().label, "anna");
    assert_eq!(base.reader().credential(&[3; 32]).unwrap(), None);
    assert_eq!(base.reader().groups(None, 10).unwrap().len(), 1);
    assert_eq!(base.reader().connections(&"pump".parse().unwrap()).unwrap().unwrap().len(), 1);
    assert!(base.reader().audit(&AuditFilter::default(), 10).unwrap().is_empty());
    let admin =
        NewCredential { hash: [4; 32], role: CredentialRole::Admin, label: "boss".into(), created_at: NOW };
    assert_eq!(writer.add_credential(&admin, &anna()).unwrap().0, 4);
}

#[test]
fn a_file_of_a_past_version_opens_and_keeps_everything() {
    for (from, base) in past() {
        assert_eq!(version(&base.path()), from);
        let refused = Reader::open(&base.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("schema version {from}")), "{refused}");
        holds_everything(&base);
        assert_eq!(version(&base.path()), NEWEST);
        has_the_shape_of_a_new_file(&base);
    }
}

fn has_the_shape_of_a_new_file(base: &Base) {
    let fresh = Base::new();
    drop(fresh.writer());
    let shape = |base: &Base| -> Vec<(String, String)> {
        let connection = Connection::open(base.path()).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT m.name, c.name || c.type || c.\"notnull\" || coalesce(c.dflt_value, '') || c.pk
                      FROM sqlite_schema m JOIN pragma_table_info(m.name) c ORDER BY m.name, c.cid",
            )
            .unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(shape(base), shape(&fresh), "columns stand in the order of a new file");
}

#[test]
fn a_migration_that_is_killed_begins_again() {
    // After each statement of each step: what is not committed is gone, and the file is still of the version before it.
    for (from, step) in (1..).zip(MIGRATIONS) {
        let statements: Vec<&str> = step.split_inclusive(";\n").collect();
        assert!(statements.len() > 2);
        for count in 0..statements.len() {
            let base = fixture(from);
            let connection = Connection::open(base.path()).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
            // A page of memory, so that what is not committed stands in the log already.
            connection.pragma_update(None, "cache_size", 1).unwrap();
            connection.execute_batch(&format!("BEGIN IMMEDIATE;\n{}", statements[..count].concat())).unwrap();
            connection.execute_batch("UPDATE series SET label = 'half way'").unwrap();
            let killed = base.crash_copy();
            assert_eq!(version(&killed.path()), from, "killed after statement {count}");
            holds_everything(&killed);
        }
    }
}

#[test]
fn a_migration_whose_log_is_cut_anywhere_is_done_whole_or_not_at_all() {
    for (from, base) in past() {
        let mut writer = base.writer();
        writer.touch(&[]).unwrap();
        let log = std::fs::read(suffixed(&base.path(), "-wal")).unwrap();
        assert!(log.len() > 4 * 4_096, "the migration is in the log: {}", log.len());
        let mut versions = Vec::new();
        for cut in (0..log.len()).step_by(4_096 + 24).chain([log.len()]) {
            let copy = base.crash_copy();
            std::fs::write(suffixed(&copy.path(), "-wal"), &log[..cut]).unwrap();
            versions.push(version(&copy.path()));
            drop(Writer::open(&copy.path()).unwrap());
            if versions.len() % 5 == 1 {
                holds_everything(&copy);
            }
        }
        versions.dedup();
        assert_eq!(versions, (from..=NEWEST).collect::<Vec<_>>());
    }
}
