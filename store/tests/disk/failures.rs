//! Disks that fail and disks that are full.
//!
//! `CRASH_FAULTS=all` lets every one of the first 100 writes and syncs fail, of more workloads.

use crash_vfs::{Chance, Disk, Failure, Fault, Operation, Replay, Role};
use protocol::{Seq, SeriesId, Timestamp};
use store::{Batch, BatchContent, Row, StoreError};

use crate::picture::Picture;
use crate::power::{named, recover, recover_and_go_on};
use crate::workload::{NOW, Oracle, Workload, go_on, hello, open};

/// Calls until the fault must have come.
const STEPS: usize = 260;
/// Calls after it.
const AFTER: usize = 12;
/// Highest place at which something fails.
const PLACES: u64 = 100;

/// The places at which something fails, of one kind of operation on one kind of file.
fn places(seed: u64) -> Vec<u64> {
    if std::env::var("CRASH_FAULTS").is_ok_and(|faults| faults == "all") {
        return (1..=PLACES).collect();
    }
    let mut chance = Chance(seed);
    let mut places: Vec<u64> = (1..=8).chain((0..8).map(|_| 9 + chance.below(PLACES - 8))).collect();
    // Found: closing copied what had never got to the disk, and the log came back without it.
    places.push(99);
    places.sort_unstable();
    places.dedup();
    places
}

/// Lets a workload run until something has failed. Returns the error of the call that it failed in, if it had one.
fn run_until_it_fails(run: &mut Workload, fault: Fault) -> Option<StoreError> {
    run.alone = true;
    run.disk.set_fault(Some(fault));
    if let Err(error) = run.begin() {
        return Some(error);
    }
    for _ in 0..STEPS {
        if let Err(error) = run.go() {
            return Some(error);
        }
        if run.disk.failed() > 0 {
            return None;
        }
    }
    None
}

/// What the database may hold: what was acknowledged, or that and the call that failed first.
fn allowed(run: &Workload) -> Vec<Picture> {
    let mut allowed = vec![run.steps.last().unwrap().after.picture()];
    allowed.extend(run.steps.iter().find_map(|step| step.attempted.as_ref()).map(Oracle::picture));
    allowed
}

#[test]
fn after_a_write_or_a_sync_failed_nothing_is_acknowledged_and_everything_that_was_is_there() {
    let mut stopped = 0;
    for (operation, role) in [
        (Operation::Sync, Role::Log),
        (Operation::Sync, Role::Database),
        (Operation::Write, Role::Log),
        (Operation::Write, Role::Database),
        (Operation::Truncate, Role::Log),
        (Operation::Sync, Role::Journal),
        (Operation::Write, Role::Journal),
    ] {
        for place in places(operation as u64 * 3 + role as u64) {
            let seed = place + 1_000 * operation as u64;
            named(&format!("{operation:?} of {role:?} number {place} fails"), seed, 0, || {
                let mut run = Workload::new(seed);
                // Once: the next one succeeds, and lies.
                let fault = Fault { operation, role: Some(role), place, times: 1, failure: Failure::Io };
                let error = run_until_it_fails(&mut run, fault);
                if run.disk.failed() == 0 {
                    return;
                }
                if let Some(error) = &error {
                    assert!(error.is_fatal(), "{error}");
                    stopped += 1;
                }
                let allowed = allowed(&run);
                // What it tries afterwards is refused, as long as it is the same process.
                if error.is_some() && run.writer.is_some() && !run.streams.is_empty() {
                    for _ in 0..AFTER {
                        assert!(run.append().unwrap_err().is_fatal());
                        assert!(run.touch().unwrap_err().is_fatal());
                        assert!(run.seal().unwrap_err().is_fatal());
                        assert!(run.issue().unwrap_err().is_fatal());
                    }
                }
                end(run, &allowed, seed);
            });
        }
    }
    assert!(stopped > 30, "only {stopped} faults were felt");
}

/// The process ends, in one way or the other, and the next one begins; then the power fails.
fn end(mut run: Workload, allowed: &[Picture], seed: u64) {
    let mut chance = Chance(seed);
    let closed = chance.one_in(2);
    if closed {
        run.writer = None;
    }
    let mut replay = Replay::new(run.disk.trace());
    replay.advance(run.disk.events());
    // With a power cut before the next process, and without: then it reads what never got to the disk.
    let disk = Disk::holding(replay.cut(&mut chance)).unwrap();
    let (writer, _) = recover(&disk, allowed);
    drop(writer);
    let disk = replay.kill().unwrap();
    recover_and_go_on(&disk, allowed, &run.streams, &mut chance);
}

#[test]
fn without_room_nothing_is_acknowledged_and_it_goes_on_once_there_is() {
    let mut refused = 0;
    for role in [Role::Log, Role::Database, Role::Journal] {
        for place in places(100 + role as u64) {
            let seed = place + 7_000;
            named(&format!("no room for write {place} to {role:?}"), seed, 0, || {
                let mut chance = Chance(seed);
                let mut run = Workload::new(seed);
                let times = 1 + chance.below(6);
                let fault = Fault {
                    operation: Operation::Write,
                    role: Some(role),
                    place,
                    times,
                    failure: Failure::Full,
                };
                let error = run_until_it_fails(&mut run, fault);
                let mut tries = 0;
                if let Some(error) = error {
                    assert!(matches!(error, StoreError::Full), "{error}");
                    refused += 1;
                    // Until there is room: whatever is tried fails for want of it, or succeeds.
                    while run.writer.is_none() || run.streams.len() < 3 {
                        match run.begin() {
                            Ok(()) => {}
                            Err(error) => assert!(matches!(error, StoreError::Full), "{error}"),
                        }
                        tries += 1;
                        assert!(tries < 20, "it does not open");
                    }
                    for _ in 0..2 * AFTER {
                        match run.go() {
                            Ok(()) => {}
                            Err(error) => assert!(matches!(error, StoreError::Full), "{error}"),
                        }
                    }
                }
                run.disk.set_fault(None);
                // The same writer goes on.
                for _ in 0..AFTER {
                    run.go().unwrap();
                }
                let expected = run.steps.last().unwrap().after.picture();
                assert_eq!(Picture::take(&run.path()), expected);
                let mut replay = Replay::new(run.disk.trace());
                replay.advance(run.disk.events());
                let disk = Disk::holding(replay.cut(&mut chance)).unwrap();
                let (mut writer, _) = recover(&disk, &[expected]);
                go_on(&disk, &mut writer, &run.streams);
            });
        }
    }
    assert!(refused > 15, "only {refused} times there was no room");
}

#[test]
fn when_the_log_cannot_be_copied_after_a_commit_that_commit_stands_and_is_the_last() {
    let disk = Disk::new().unwrap();
    let mut writer = open(&disk).unwrap();
    let device = writer.register(&hello("a", 1), NOW).unwrap();
    let fault = Fault {
        operation: Operation::Sync,
        role: Some(Role::Database),
        place: 1,
        times: 1,
        failure: Failure::Io,
    };
    disk.set_fault(Some(fault));
    let mut acknowledged = 0;
    let error = loop {
        let seq = acknowledged + 1;
        let rows = (0..20_000).map(|i| {
            let at = Timestamp(NOW.0 + (seq * 20_000 + i) as i64);
            Row { series: device.series[0], at, value: (i as f64).into() }
        });
        let content = BatchContent::Readings(rows.collect());
        let batch = Batch { stream: device.stream, after: Seq(seq - 1), seq: Seq(seq), content };
        match writer.append(&[batch], NOW) {
            Ok(_) => {
                assert!(disk.failed() == 0 || acknowledged == 0 || seq > acknowledged);
                acknowledged = seq;
            }
            Err(error) => break error,
        }
        assert!(acknowledged < 200, "the log is never copied");
    };
    assert!(error.is_fatal(), "{error}");
    assert_eq!(disk.failed(), 1);
    let mut replay = Replay::new(disk.trace());
    replay.advance(disk.events());
    let left = Disk::holding(replay.cut(&mut Chance(1))).unwrap();
    let mut writer = open(&left).unwrap();
    assert_eq!(writer.register(&hello("a", 1), NOW).unwrap().settled, Seq(acknowledged));
    assert_eq!(writer.position().0, acknowledged as i64 * 20_000);
    assert_eq!(device.series[0], SeriesId(1));
}
