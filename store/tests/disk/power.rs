//! Power cuts: whatever was acknowledged is there, once, and what was never sent is not.
//!
//! `CRASH_CUTS=all` cuts at every write and sync of every seed; `CRASH_SEEDS=100` takes so many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crash_vfs::{Chance, Disk, Replay, Trace};

use crate::picture::Picture;
use crate::workload::{FILE, Step, Stream, Workload, go_on, open};

/// Calls of one workload.
const STEPS: usize = 250;
/// Cuts of one workload, if not all.
const CUTS: u64 = 50;
/// Workloads.
const SEEDS: u64 = 3;

fn seeds() -> std::ops::Range<u64> {
    0..std::env::var("CRASH_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

/// The places at which the power fails.
fn places(events: usize, chance: &mut Chance) -> Vec<usize> {
    if std::env::var("CRASH_CUTS").is_ok_and(|cuts| cuts == "all") {
        return (0..=events).collect();
    }
    let mut places: Vec<usize> = (0..CUTS).map(|_| chance.below(events as u64 + 1) as usize).collect();
    // Every cut while the file is made.
    places.extend(0..60);
    places.sort_unstable();
    places.dedup();
    places
}

fn run(seed: u64) -> Workload {
    let mut run = Workload::new(seed);
    run.begin().unwrap();
    for _ in 0..STEPS {
        run.go().unwrap();
    }
    run.writer = None;
    run
}

/// The states that the database may be in when the power fails at a place: what the last call that had returned left,
/// or what the call under way leaves.
fn allowed(steps: &[Step], place: usize) -> Vec<Picture> {
    let returned = steps.iter().rposition(|step| step.done <= place).unwrap();
    let mut pictures = vec![steps[returned].after.picture()];
    if let Some(under_way) = steps.get(returned + 1)
        && under_way.begun < place
    {
        pictures.push(under_way.after.picture());
    }
    pictures
}

/// Opens what a cut left, and sees that it is one of what is allowed.
pub(crate) fn recover(disk: &Disk, allowed: &[Picture]) -> (store::Writer, Picture) {
    let writer = open(disk).unwrap();
    let picture = Picture::take(&disk.path(FILE));
    assert_eq!(writer.position().0, picture.position);
    let positions: Vec<i64> = allowed.iter().map(|picture| picture.position).collect();
    assert!(positions.contains(&picture.position), "{} readings, not {positions:?}", picture.position);
    assert!(allowed.contains(&picture), "{picture:#?}\nis none of\n{allowed:#?}");
    (writer, picture)
}

/// What was left after a kill is shown, and then kept through a power cut; and so is what the next process acknowledges.
pub(crate) fn recover_and_go_on(disk: &Disk, allowed: &[Picture], streams: &[Stream], chance: &mut Chance) {
    let cut = |disk: &Disk, chance: &mut Chance| {
        let mut again = Replay::new(disk.trace());
        again.advance(disk.events());
        Disk::holding(again.cut(chance)).unwrap()
    };
    let (mut writer, picture) = recover(disk, allowed);
    recover(&cut(disk, chance), &[picture]);
    go_on(disk, &mut writer, streams);
    let picture = Picture::take(&disk.path(FILE));
    let after = cut(disk, chance);
    drop(writer);
    recover(&after, &[picture]);
}

/// Says where it went wrong.
pub(crate) fn named(what: &str, seed: u64, place: usize, test: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(test)) {
        let text = panic.downcast_ref::<String>().map_or("see above", |text| text);
        panic!("{what}, seed {seed}, place {place}: {text}");
    }
}

#[test]
fn i_1_i_2_after_a_power_cut_at_any_write_or_sync_everything_acknowledged_is_there_once() {
    for seed in seeds() {
        let run = run(seed);
        let trace = run.disk.trace();
        let mut chance = Chance(seed).fork(1);
        let mut replay = Replay::new(trace.clone());
        for place in places(trace.events.len(), &mut chance) {
            replay.advance(place);
            named("power cut", seed, place, || {
                let mut chance = Chance(seed).fork(2 + place as u64);
                let allowed = allowed(&run.steps, place);
                let disk = Disk::holding(replay.cut(&mut chance)).unwrap();
                let (mut writer, picture) = recover(&disk, &allowed);
                let opened = disk.events();
                if chance.one_in(4) {
                    go_on(&disk, &mut writer, &run.streams);
                }
                drop(writer);
                // The power fails again, while the file is opened or just afterwards.
                let mut again = Replay::new(disk.trace());
                if chance.one_in(2) {
                    again.advance(chance.below(opened as u64 + 1) as usize);
                    recover(&Disk::holding(again.cut(&mut chance)).unwrap(), &allowed);
                } else {
                    // What was shown to a device that came back is as good as acknowledged.
                    again.advance(opened);
                    recover(&Disk::holding(again.cut(&mut chance)).unwrap(), &[picture]);
                }
            });
        }
    }
}

#[test]
fn i_1_what_a_killed_process_left_is_synced_before_anyone_is_told_of_it() {
    for seed in seeds() {
        let run = run(seed);
        let trace = run.disk.trace();
        let mut chance = Chance(seed).fork(1);
        let mut replay = Replay::new(trace.clone());
        for place in places(trace.events.len(), &mut chance) {
            replay.advance(place);
            named("kill, then power cut", seed, place, || {
                let mut chance = Chance(seed).fork(2 + place as u64);
                let disk = replay.kill().unwrap();
                recover_and_go_on(&disk, &allowed(&run.steps, place), &run.streams, &mut chance);
            });
        }
    }
}

/// How many of the cuts of a trace lose something that was acknowledged.
fn losses(seed: u64, trace: &Trace, steps: &[Step]) -> usize {
    let mut chance = Chance(seed).fork(1);
    let mut replay = Replay::new(trace.clone());
    let mut lost = 0;
    for place in places(trace.events.len(), &mut chance) {
        replay.advance(place);
        let mut chance = Chance(seed).fork(2 + place as u64);
        let disk = Disk::holding(replay.cut(&mut chance)).unwrap();
        let writer = open(&disk).unwrap();
        // It is consistent all the same: that much NORMAL promises.
        let picture = Picture::take(&disk.path(FILE));
        drop(writer);
        lost += usize::from(allowed(steps, place).iter().all(|allowed| picture != *allowed));
    }
    lost
}

#[test]
fn without_the_syncs_of_commits_the_same_cuts_lose_what_was_acknowledged() {
    let run = run(1);
    let trace = run.disk.trace();
    assert_eq!(losses(1, &trace, &run.steps), 0);
    let lost = losses(1, &trace.without_syncs_of_commits(), &run.steps);
    assert!(lost > 10, "only {lost} cuts lost anything: the disk is not as nasty as it should be");
}
