//! Makes a database old: what it holds goes into a file of schema version 1, which the next start has to migrate.

use std::path::Path;

use rusqlite::Connection;
use store::{Reader, SealPolicy, Writer};

/// The schema of version 1, which never changes again.
const SCHEMA: &str = include_str!("../../../store/src/migrations/0001.sql");

/// Takes the place of a database whose hub was stopped in order. What version 1 has no column for is left out: that is the
/// account of what retention took, which is returned, in readings.
pub(crate) fn make_old(database: &Path) -> u64 {
    // It has no place for bundles either: they become large ones first, and blocks the next time.
    for _ in 0..2 {
        let mut writer = Writer::open(database).unwrap();
        writer.set_seal_policy(SealPolicy { pieces: 1, ..SealPolicy::default() });
        while writer.merge(100_000).unwrap().more {}
    }
    let reader = Reader::open(database).unwrap();
    assert_eq!(reader.sizes().unwrap().bundles, 0);
    let removed = reader.stats().unwrap().removed;
    drop(reader);
    let old = database.with_extension("old");
    let connection = Connection::open(&old).unwrap();
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; PRAGMA synchronous = OFF").unwrap();
    connection.execute_batch(&format!("BEGIN; {SCHEMA}; PRAGMA user_version = 1; COMMIT")).unwrap();
    connection.execute("ATTACH ?1 AS now", [database.to_str().unwrap()]).unwrap();
    let tables: String = connection
        .query_row("SELECT group_concat(name) FROM main.sqlite_schema WHERE type = 'table'", [], |row| {
            row.get(0)
        })
        .unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for table in tables.split(',') {
        let columns: String = connection
            .query_row("SELECT group_concat(name) FROM pragma_table_info(?1, 'main')", [table], |row| {
                row.get(0)
            })
            .unwrap();
        // Version 1 had no administrators; the hub makes the token of its file known again.
        let rows = if table == "credential" { "WHERE role != 'admin'" } else { "" };
        connection
            .execute_batch(&format!(
                "DELETE FROM main.{table};
                 INSERT INTO main.{table} ({columns}) SELECT {columns} FROM now.{table} {rows}"
            ))
            .unwrap();
    }
    connection.execute_batch("COMMIT; DETACH now").unwrap();
    connection.close().unwrap();
    for leftover in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(leftover);
        if Path::new(&name).exists() {
            std::fs::remove_file(&name).unwrap();
        }
    }
    std::fs::rename(&old, database).unwrap();
    removed
}

/// Whether it still is to be migrated. The hub must not be running.
pub(crate) fn is_old(database: &Path) -> bool {
    let connection = Connection::open(database).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    version == 1
}
