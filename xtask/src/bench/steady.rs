//! A constant rate, and latencies counted from when a message was due: with backups beside it, and for a long time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Args;
use super::load::{Asked, Left, Measured, Stats, resident_kib, send_to_hub, settle};
use super::plan::{Load, Server};
use crate::process::{Running, program, start_hub};
use crate::say;

/// Readings a second beside which backups are made.
const BACKUP_RATE: u64 = 100_000;
/// So many of them may wait at a constant rate: all that a device may have in flight.
const IN_FLIGHT: u32 = 256;
/// How often it is looked at the database in a long run.
const LOOK_EVERY: Duration = Duration::from_secs(30);

const LOAD: Load =
    Load { server: Server::Hub, connections: 50, series_each: 10, readings: 10, in_flight: IN_FLIGHT };

/// A load without and with backups beside it.
pub(super) struct WithBackup {
    pub(super) what: &'static str,
    pub(super) measured: Measured,
    /// Backups that were finished.
    pub(super) backups: u64,
    /// How long they took on average, in seconds.
    pub(super) seconds_each: f64,
    /// Hot readings a moment later.
    pub(super) hot: u64,
}

/// The same load twice, the second time with one backup after another beside it.
pub(super) fn backup(args: &Args, data: &Path) -> Result<Vec<WithBackup>> {
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let asked = Asked { load: LOAD, rate: Some(BACKUP_RATE), warm_up: args.warm_up, seconds: args.seconds };
    let without = send_to_hub(&asked, &hub, data)?;
    let hot = Stats::ask(data)?.hot;
    let over = AtomicBool::new(false);
    let (with, backups) = thread::scope(|scope| {
        let backups = scope.spawn(|| back_up_until(&over, data));
        let with = send_to_hub(&asked, &hub, data);
        over.store(true, Ordering::Relaxed);
        (with, backups.join())
    });
    let Ok(backups) = backups else { bail!("the backups broke off") };
    let (backups, seconds) = backups?;
    let hot_with = Stats::ask(data)?.hot;
    hub.running.stop(Duration::from_secs(10))?;
    Ok(vec![
        WithBackup { what: "without", measured: without, backups: 0, seconds_each: 0.0, hot },
        WithBackup {
            what: "with",
            measured: with?,
            backups,
            seconds_each: seconds / backups.max(1) as f64,
            hot: hot_with,
        },
    ])
}

/// Makes one backup after another. Returns how many were finished, and how long those took.
fn back_up_until(over: &AtomicBool, data: &Path) -> Result<(u64, f64)> {
    let (mut count, mut seconds) = (0, 0.0);
    loop {
        let start = Instant::now();
        let mut command = Command::new(program("release", "hub"));
        command.arg("backup").arg(data.join("backup.db")).args(["--force", "--data"]).arg(data);
        let mut running = Running::start("backup", command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let status = loop {
            if over.load(Ordering::Relaxed) {
                return Ok((count, seconds));
            }
            if let Some(status) = running.ended()? {
                break status;
            }
            thread::sleep(Duration::from_millis(10));
        };
        if !status.success() {
            bail!("hub backup failed: {status}");
        }
        count += 1;
        seconds += start.elapsed().as_secs_f64();
    }
}

/// A constant rate for a long time.
pub(super) struct Long {
    /// Readings a second that were asked for; 0: as fast as it goes.
    pub(super) rate: u64,
    pub(super) measured: Measured,
    pub(super) left: Left,
    pub(super) looks: Vec<Look>,
}

/// A look at the database while it runs.
pub(super) struct Look {
    pub(super) seconds: f64,
    pub(super) stats: Stats,
    pub(super) resident_mib: f64,
}

/// Sends at a constant rate, and looks at the database meanwhile.
pub(super) fn long(args: &Args, data: &Path) -> Result<Long> {
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let in_flight = if args.rate == 0 { 16 } else { IN_FLIGHT };
    let asked = Asked {
        load: Load { in_flight, ..LOAD },
        rate: (args.rate > 0).then_some(args.rate),
        warm_up: args.warm_up,
        seconds: args.long_seconds,
    };
    let over = AtomicBool::new(false);
    let pid = hub.running.id();
    let (measured, looks) = thread::scope(|scope| {
        let looks = scope.spawn(|| look_until(&over, pid, data));
        let measured = send_to_hub(&asked, &hub, data);
        over.store(true, Ordering::Relaxed);
        (measured, looks.join())
    });
    let Ok(looks) = looks else { bail!("the looks at the database broke off") };
    Ok(Long { rate: args.rate, measured: measured?, looks: looks?, left: settle(hub, data)? })
}

fn look_until(over: &AtomicBool, pid: u32, data: &Path) -> Result<Vec<Look>> {
    let start = Instant::now();
    let mut looks = Vec::new();
    while !over.load(Ordering::Relaxed) {
        if start.elapsed() < LOOK_EVERY * (looks.len() as u32 + 1) {
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        let seconds = start.elapsed().as_secs_f64();
        let stats = Stats::ask(data)?;
        let look = Look { seconds, stats, resident_mib: resident_kib(pid)? / 1024.0 };
        say(&format!("{seconds:.0} s: {} readings, {} of them hot", look.stats.readings, look.stats.hot));
        looks.push(look);
    }
    Ok(looks)
}
