//! The hub, devices and viewers on a network that does whatever a seed says: delays, stalls, cuts, a slow disk, a hub that is
//! killed or stopped and started again. The code is that of the real programs; time and network are made here.
//!
//! The hub runs on one runtime and the devices and viewers on another, both with paused clocks, in turns of [`TICK`] on one
//! thread. A killed hub is a runtime that is dropped, with the files of its database as they are at that instant.
//!
//! After each kill and at the end the invariants I-1 to I-4 are checked; then everything heals, and all must drain (I-5, and
//! liveness). `SIM_SEEDS` says how many seeds, `SIM_SEED` which one: what is printed when one fails repeats its schedule.
//! Not repeated are the order of hash tables, and which of several things that are ready at one instant a session takes first.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "clippy allows these in tests, but does not see that what tests share is a test too"
)]

mod chance;
mod device;
mod host;
mod network;
mod viewer;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A turn of either side.
const TICK: Duration = Duration::from_millis(5);

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn i_1_i_2_i_3_i_4_i_5_hold_on_every_schedule_and_when_all_heals_everything_drains() {
    if let Some(seed) = setting("SIM_SEED") {
        println!("{}", world::run(seed, true));
        return;
    }
    let (first, count) = (setting("SIM_FIRST").unwrap_or(1), setting("SIM_SEEDS").unwrap_or(120));
    let next = AtomicU64::new(first);
    let work = || {
        let mut told = world::Story::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(told);
            }
            match std::panic::catch_unwind(|| world::run(seed, false)) {
                Ok(story) => told.add(&story),
                Err(_) => return Err(seed),
            }
        }
    };
    let ends: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut all = world::Story::default();
    for end in ends {
        match end {
            Ok(story) => all.add(&story),
            Err(seed) => {
                println!("seed {seed} failed. The same again, told aloud:");
                println!("    SIM_SEED={seed} cargo test --package hub --test sim -- --nocapture");
                std::process::exit(1);
            }
        }
    }
    println!("{count} seeds from {first}: {all}");
    if count < 100 {
        return;
    }
    assert!(all.kills > 0 && all.stops > 0 && all.cuts > 0 && all.stalls > 0, "the faults are alive: {all}");
    assert!(all.omitted > 0 && all.resent > 0 && all.executed > 0, "and are felt: {all}");
}
