//! A backup is whole or not there, and what is restored from it is what was stored.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{Seq, SeriesId};
use store::{
    BackedUp, CopyNotice, Depth, Pace, Reader, Restored, SealPolicy, Since, StoreError, Writer, restore,
};

use crate::support::{Base, NOW, hello, register, row, store, suffixed, times};

const FAST: Pace = Pace { bytes_per_second: None };

fn back_up(base: &Base, to: &Path, replace: bool) -> Result<BackedUp, StoreError> {
    base.reader().backup(to, FAST, replace, &mut |_| ControlFlow::Continue(()))
}

fn put_back(from: &Path, to: &Path, replace: bool) -> Result<Restored, StoreError> {
    restore(from, to, replace, &mut |_| ControlFlow::Continue(()))
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fill(writer: &mut Writer, seqs: std::ops::RangeInclusive<u64>) -> SeriesId {
    let device = register(writer, "pump");
    for seq in seqs {
        let at = |i: i64| NOW.0 + (seq as i64 * 100 + i) * 1_000_000;
        store(writer, device.stream, seq, (0..100).map(|i| row(device.series[0], at(i), i as f64)).collect());
    }
    device.series[0]
}

fn findings(path: &Path) -> u64 {
    let reader = Reader::open(path).unwrap();
    reader.verify(Depth::Whole, &mut |_| ControlFlow::Continue(())).unwrap().findings
}

#[test]
fn a_backup_is_one_file_that_holds_what_was_committed_also_what_is_only_in_the_log() {
    let base = Base::new();
    let mut writer = base.writer();
    let series = fill(&mut writer, 1..=30);
    crate::model::seal_some(&mut writer);
    fill(&mut writer, 31..=40);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let made = back_up(&base, &to, false).unwrap();
    assert_eq!(names(folder.path()), ["copy.db"]);
    assert_eq!((made.verified.findings, made.verified.position.0), (0, 4_000));
    assert_eq!(made.bytes, std::fs::metadata(&to).unwrap().len());
    assert_eq!(findings(&to), 0);
    assert_eq!(times(&Reader::open(&to).unwrap(), series), times(&base.reader(), series));
}

#[test]
fn a_backup_beside_a_writer_is_of_one_moment_and_the_writer_goes_on() {
    let base = Base::new();
    let mut writer = base.writer();
    writer.set_seal_policy(SealPolicy { keep: 500, run_min: 100, run_max: 2_000, pieces: 3, quiet: 2_000 });
    fill(&mut writer, 1..=200);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let done = AtomicBool::new(false);
    let (made, last) = std::thread::scope(|scope| {
        let backup = scope.spawn(|| {
            let made =
                base.reader().backup(&to, Pace { bytes_per_second: Some(4_000_000) }, false, &mut |_| {
                    ControlFlow::Continue(())
                });
            done.store(true, Ordering::Relaxed);
            made.unwrap()
        });
        let mut seq = 200;
        while !done.load(Ordering::Relaxed) {
            seq += 1;
            fill(&mut writer, seq..=seq);
            writer.seal(200).unwrap();
            writer.merge(200).unwrap();
        }
        (backup.join().unwrap(), seq)
    });
    assert!(last > 201 && made.log_growth > 0, "{made:?}");
    let copy = Reader::open(&to).unwrap();
    let position = copy.position().unwrap().0;
    assert_eq!(position % 100, 0, "no batch is cut in two");
    assert!(position >= 20_000 && position < last as i64 * 100);
    assert_eq!((findings(&to), findings(&base.path())), (0, 0));
}

#[test]
fn a_file_that_is_there_is_kept_unless_it_is_to_be_replaced() {
    let base = Base::new();
    fill(&mut base.writer(), 1..=2);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    std::fs::write(&to, "precious").unwrap();
    let error = back_up(&base, &to, false).unwrap_err();
    assert!(matches!(error, StoreError::Exists(_)), "{error}");
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    back_up(&base, &to, true).unwrap();
    assert_eq!(findings(&to), 0);
    let error = back_up(&base, &base.path(), true).unwrap_err();
    assert!(error.to_string().contains("the database itself"), "{error}");
    // Nor the database of another hub that runs.
    let other = Base::new();
    let writer = other.writer();
    assert!(matches!(back_up(&base, &other.path(), true), Err(StoreError::Busy(_))));
    drop(writer);
    assert!(back_up(&base, Path::new("/no/such/folder/copy.db"), false).is_err());
}

#[test]
fn what_an_interrupted_backup_left_is_written_over_and_two_at_once_are_refused() {
    let base = Base::new();
    fill(&mut base.writer(), 1..=2);
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("copy.db");
    let stopped = base.reader().backup(&to, FAST, false, &mut |notice| match notice {
        CopyNotice::Checking => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(stopped.is_err());
    assert_eq!(names(folder.path()), ["copy.db.partial"]);
    let mut leftover = None;
    let mut second = None;
    base.reader()
        .backup(&to, FAST, false, &mut |notice| {
            match notice {
                CopyNotice::Leftover(path) => leftover = Some(path),
                CopyNotice::Checking => second = Some(back_up(&base, &to, false).unwrap_err()),
                CopyNotice::Copied { .. } => {}
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(leftover, Some(suffixed(&to, ".partial")));
    let second = second.unwrap();
    assert!(second.to_string().contains("another backup or restore writes"), "{second}");
    assert_eq!((names(folder.path()), findings(&to)), (vec!["copy.db".to_owned()], 0));
}

/// A backup of 20 batches, and its database with ten more.
fn older_backup() -> (Base, tempfile::TempDir, PathBuf) {
    let base = Base::new();
    let mut writer = base.writer();
    fill(&mut writer, 1..=20);
    crate::model::seal_some(&mut writer);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    back_up(&base, &copy, false).unwrap();
    fill(&mut writer, 21..=30);
    drop(writer);
    (base, folder, copy)
}

#[test]
fn a_restored_database_goes_on_and_a_device_that_is_ahead_declares_what_is_lost() {
    let (_base, _folder, copy) = older_backup();
    let new = Base::new();
    let restored = put_back(&copy, &new.path(), false).unwrap();
    assert_eq!((restored.kept, restored.verified.position.0), (None, 2_000));
    let mut writer = new.writer();
    let device = writer.register(&hello("pump", "e1"), NOW).unwrap();
    assert_eq!(device.settled, Seq(20));
    // The device had an ack for 30: it skips what it no longer has and goes on.
    let skip = store::Batch {
        stream: device.stream,
        after: Seq(20),
        seq: Seq(30),
        content: store::BatchContent::Skipped,
    };
    writer.append(&[skip], NOW).unwrap();
    let series = fill(&mut writer, 31..=40);
    assert_eq!(times(&new.reader(), series).len(), 3_000);
    let ledger = &new.reader().ledger(&"pump".parse().unwrap()).unwrap()[0];
    assert_eq!((ledger.stored, ledger.skipped, ledger.last_seq), (30, 10, Seq(40)));
    assert_eq!(findings(&new.path()), 0);
    // A viewer that had seen more than the backup holds is told so, as long as the positions have not come again.
    assert_eq!(new.reader().since(protocol::Position(5_000), 10).unwrap(), Since::Gone);
}

#[test]
fn a_database_that_is_there_is_refused_or_kept_aside_whole() {
    let (base, _folder, copy) = older_backup();
    let error = put_back(&copy, &base.path(), false).unwrap_err();
    assert!(matches!(error, StoreError::Exists(_)), "{error}");
    let writer = base.writer();
    assert!(matches!(put_back(&copy, &base.path(), true), Err(StoreError::Busy(_))), "a hub runs there");
    // It was killed: its last commits are in the log.
    let dead = base.crash_copy();
    drop(writer);
    let restored = put_back(&copy, &dead.path(), true).unwrap();
    let kept = restored.kept.unwrap();
    assert_eq!(kept, suffixed(&dead.path(), ".before-restore-1"));
    assert_eq!(Reader::open(&kept).unwrap().position().unwrap().0, 3_000);
    assert_eq!(dead.reader_after_recovery().position().unwrap().0, 2_000);
    assert_eq!((findings(&kept), findings(&dead.path())), (0, 0));
    let again = put_back(&copy, &dead.path(), true).unwrap();
    assert_eq!(again.kept, Some(suffixed(&dead.path(), ".before-restore-2")));
}

#[test]
fn a_damaged_database_does_not_keep_a_backup_from_being_restored() {
    let (base, _folder, copy) = older_backup();
    std::fs::write(base.path(), b"no database at all, but long enough to be read as the head of one")
        .unwrap();
    let restored = put_back(&copy, &base.path(), true).unwrap();
    assert!(std::fs::read(restored.kept.unwrap()).unwrap().starts_with(b"no database"));
    assert_eq!(base.reader_after_recovery().position().unwrap().0, 2_000);
}

#[test]
fn what_is_no_whole_backup_is_not_restored_and_leaves_nothing_under_the_name() {
    let (base, folder, copy) = older_backup();
    let whole = std::fs::read(&copy).unwrap();
    let bad = folder.path().join("bad.db");
    let new = Base::new();
    for bytes in [&whole[..0], &whole[..50], &whole[..whole.len() / 2], b"text"] {
        std::fs::write(&bad, bytes).unwrap();
        assert!(put_back(&bad, &new.path(), false).is_err(), "{} bytes", bytes.len());
        assert!(!new.path().exists());
    }
    // A block that is not opened, but an account that does not add up.
    std::fs::write(&bad, &whole).unwrap();
    let connection = rusqlite::Connection::open(&bad).unwrap();
    connection.execute_batch("DELETE FROM stream").unwrap();
    drop(connection);
    let error = put_back(&bad, &new.path(), false).unwrap_err();
    assert!(error.to_string().contains("the streams count 0 readings"), "{error}");
    assert!(!new.path().exists());
    // A database in use is not a backup: what is in its log would be left behind.
    let _writer = base.writer();
    let dead = base.crash_copy();
    std::fs::write(suffixed(&dead.path(), "-wal"), b"something").unwrap();
    let error = put_back(&dead.path(), &new.path(), false).unwrap_err();
    assert!(error.to_string().contains("not a backup"), "{error}");
}
