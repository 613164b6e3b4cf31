//! A disk that fails, is slow or full, and a clock that jumps, under the real hub: the same devices and the same
//! comparison as in the torture.
//!
//! Faults of the disk are made by strace, which changes what system calls answer, and by a small tmpfs; those of the
//! clock by libfaketime. Debian has them as `strace` and `faketime`; mounting a tmpfs needs root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value as Json;
use tokio_tungstenite::tungstenite::Message;

use crate::device::viewer;
use crate::driver::{KEEP_ALL, Stage, compare};
use crate::process::{Ended, Process};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian puts libfaketime, as seen from the folder of libraries.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Whether a program of the system can do what a test needs. If not, says what to install.
fn can(what: &str, package: &str, works: bool) -> bool {
    if !works {
        println!("skipped: {what} does not work here; it is in Debian's package {package}");
    }
    works
}

fn strace_works() -> bool {
    let mut command = Command::new("strace");
    let works = command.args(["-D", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    can("strace", "strace", works.is_ok_and(|status| status.success()))
}

/// The words that start a program under strace, with faults injected, and a trace in a file. The program stays our
/// child: its number and its end are those of the hub.
fn strace(trace: &Path, calls: &str, faults: &[String]) -> Vec<String> {
    let mut words: Vec<String> =
        ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-y", "-s", "64", "-o"].map(str::to_owned).into();
    words.extend([trace.to_str().unwrap().to_owned(), "-e".into(), format!("trace={calls}")]);
    for fault in faults {
        words.extend(["-e".to_owned(), format!("inject={fault}")]);
    }
    words
}

/// Asks again and again until the answer is yes.
async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    start.elapsed()
}

/// Makes a database and stops, so that a fault does not meet its making.
fn make_database(stage: &Stage) {
    let quiet = stage.world.gate.try_write();
    let mut hub = stage.start(None);
    stage.listens(&hub).unwrap();
    hub.terminate();
    assert!(hub.end().status.success());
    drop(quiet);
}

/// Waits until the hub has ended by itself, sends the devices home, and compares everything.
async fn ended_and_compared(what: &str, stage: &mut Stage, mut hub: Process) -> Ended {
    let ended = tokio::task::block_in_place(|| hub.wait(PATIENCE));
    let ended = if ended { hub.end() } else { panic!("{what}: the hub goes on: {:?}", hub.kill().log) };
    assert!(!ended.log.iter().any(|line| line.contains("panicked")), "{what}: {:?}", ended.log);
    compared(what, stage).await;
    ended
}

async fn compared(what: &str, stage: &mut Stage) {
    stage.close().await;
    let (found, ended) = compare(stage);
    assert_eq!((found.lost, found.doubled), (0, 0), "{what}: {:?}", found.problems);
    assert!(found.problems.is_empty(), "{what}: {:?}: {:?}", found.problems, ended.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i_1_after_a_failed_sync_no_ack_follows_and_a_restart_has_all_that_was_acknowledged() {
    if !strace_works() {
        return;
    }
    for k in [4, 9, 30, 100] {
        let mut stage = Stage::open(1, k, None, true, KEEP_ALL);
        make_database(&stage);
        let trace = stage.data().join("trace");
        let fault = ["fdatasync", "fsync"].map(|call| format!("{call}:error=EIO:when={k}"));
        let hub = stage.start_under(&strace(&trace, "fdatasync,fsync,sendto,write,writev", &fault), &[]);
        stage.listens(&hub);
        let ended = ended_and_compared(&format!("sync {k}"), &mut stage, hub).await;
        assert_eq!(ended.status.code(), Some(1), "sync {k}: {:?}", ended.log);
        assert!(ended.log.iter().any(|line| line.contains("disk")), "sync {k}: {:?}", ended.log);
        // The device sends one batch at a time, so an ack after the failure would be for what was not synced; unless
        // the failure was that of a checkpoint, which comes after a commit and before its ack.
        let trace = std::fs::read_to_string(&trace).unwrap();
        // The last of two: the thread that starts has a fault too, and may go on where it is only a folder's.
        let (before, after) = trace.rsplit_once("(INJECTED)").expect("the fault was met");
        let checkpoint = !before.lines().last().unwrap().contains("-wal>");
        let acks = after.matches(r#"\"type\":\"ack\""#).count();
        assert!(acks <= usize::from(checkpoint), "sync {k}: {acks} acks after the failure");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i_1_whatever_write_or_sync_fails_at_full_load_the_hub_ends_and_has_all_that_it_acknowledged() {
    if !strace_works() {
        return;
    }
    for (seed, fault) in [
        "fsync,fdatasync:error=EIO:when=40",
        "pwrite64:error=EIO:when=20",
        "pwrite64:error=EIO:when=3000",
        "pwrite64:error=EIO:when=9000",
    ]
    .into_iter()
    .enumerate()
    {
        let mut stage = Stage::open(4, seed as u64, None, false, KEEP_ALL);
        make_database(&stage);
        let words = strace(Path::new("/dev/null"), "fsync,fdatasync,pwrite64", &[fault.into()]);
        let hub = stage.start_under(&words, &[]);
        stage.listens(&hub);
        let ended = ended_and_compared(fault, &mut stage, hub).await;
        assert_eq!(ended.status.code(), Some(1), "{fault}: {:?}", ended.log);
        assert!(ended.log.iter().any(|line| line.contains("the disk")), "{fault}: {:?}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_slow_disk_only_slows() {
    if !strace_works() {
        return;
    }
    let mut stage = Stage::open(8, 7, None, false, KEEP_ALL);
    make_database(&stage);
    let faults = ["fdatasync", "fsync"].map(|call| format!("{call}:delay_enter=200000"));
    let hub = stage.start_under(&strace(Path::new("/dev/null"), "fdatasync,fsync", &faults), &[]);
    stage.listens(&hub).unwrap();
    // Ten heartbeats and more: whoever would be presumed gone is.
    let mut most = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(rss_kib(hub.id()));
    }
    assert!(stage.acked() > 0, "acks come later, but they come");
    assert!(most < 256 * 1024, "{most} KiB of memory");
    hub.terminate();
    let mut hub = hub;
    let ended = tokio::task::block_in_place(|| hub.end());
    let lost = ended.log.iter().filter(|line| line.contains("Heartbeat")).count();
    assert_eq!(lost, 0, "{:?}", ended.log);
    compared("slow", &mut stage).await;
}

fn rss_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_is_full_for_a_while_costs_nothing_that_was_acknowledged() {
    if !strace_works() {
        return;
    }
    // In the log, in the file while it is checkpointed, while readings are sealed: wherever these writes happen to be. Few
    // of them fail, as each attempt to commit fails with its first.
    for (seed, range) in ["50..53", "4000..4003", "9000..9005"].into_iter().enumerate() {
        let mut stage = Stage::open(6, seed as u64, None, false, KEEP_ALL);
        make_database(&stage);
        let fault = format!("pwrite64:error=ENOSPC:when={range}");
        let words = strace(Path::new("/dev/null"), "pwrite64", &[fault]);
        let mut hub = stage.start_under(&words, &[]);
        stage.listens(&hub).unwrap();
        until("no room", || stage.accounts().iter().any(|account| account.full > 0)).await;
        let acked = stage.acked();
        until("room again", || stage.acked() > acked + 50_000).await;
        hub.terminate();
        let ended = tokio::task::block_in_place(|| hub.end());
        assert!(ended.status.success(), "{range}: {:?}", ended.log);
        compared(range, &mut stage).await;
    }
}

/// A small disk in a folder.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path, size: &str) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(folder).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(folder.to_owned()))
    }

    fn resize(&self, size: &str) {
        let option = format!("remount,{size}");
        assert!(Command::new("mount").args(["-o", &option]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_a_full_disk_devices_are_told_viewers_go_on_and_ingest_resumes_once_there_is_room() {
    let mut stage = Stage::open(6, 11, None, false, KEEP_ALL);
    let Some(disk) = Disk::mount(stage.data(), "size=24m") else {
        can("mounting a tmpfs, which only root may do,", "mount", false);
        return;
    };
    let mut hub = stage.start(None);
    stage.listens(&hub).unwrap();
    until("everyone to be told", || stage.accounts().iter().all(|account| account.full > 0)).await;
    let token = std::fs::read_to_string(stage.data().join(protocol::local::VIEWER_TOKEN_FILE)).unwrap();
    let address = stage.world.address.lock().unwrap().unwrap();
    let mut viewer = viewer(address, &token).await;
    for request in [
        r#"{"type":"subscribe","id":1}"#,
        r#"{"type":"history","id":2,"series":1,"from":0,"to":4000000000000000,"step":"1d"}"#,
    ] {
        viewer.send(Message::text(request)).await.unwrap();
    }
    let mut heard = Vec::new();
    while !["subscribed", "history"].iter().all(|kind| heard.iter().any(|h: &Json| h["type"] == *kind)) {
        let next = tokio::time::timeout(PATIENCE, viewer.next()).await.expect("an answer").unwrap().unwrap();
        if let Message::Text(text) = next {
            let message: Json = serde_json::from_str(&text).unwrap();
            assert_ne!(message["type"], "error", "{message}");
            heard.push(message);
        }
    }
    // A hub that was killed on a full disk says why it does not start, or starts and serves what there is.
    let acked = stage.acked();
    disk.resize("size=96m");
    let took = until("an ack", || stage.acked() > acked).await;
    assert!(took < Duration::from_secs(5), "ingest resumed only after {took:?}");
    until("everyone's acks", || stage.acked() > acked + 50_000).await;
    hub.terminate();
    let ended = tokio::task::block_in_place(|| hub.end());
    assert!(ended.status.success(), "{:?}", ended.log);
    compared("full", &mut stage).await;
    drop(disk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clocks_may_jump_by_years_either_way_and_nothing_is_lost_and_nobody_is_cut_off() {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let library = folders.iter().map(|folder| Path::new(folder).join(FAKETIME)).find(|path| path.exists());
    if !can("libfaketime", "faketime", library.is_some()) {
        return;
    }
    let mut stage = Stage::open(5, 13, None, true, KEEP_ALL);
    let clock = stage.data().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let environment = [
        ("LD_PRELOAD", library.unwrap().to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // The clock on the wall jumps; the one that only runs forward does not.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut hub = stage.start_under(&[], &environment);
    stage.listens(&hub).unwrap();
    let token = std::fs::read_to_string(stage.data().join(protocol::local::VIEWER_TOKEN_FILE)).unwrap();
    let address = stage.world.address.lock().unwrap().unwrap();
    let mut viewer = viewer(address, &token).await;
    let mut heard = 0;
    for jump in ["+1h", "-1h", "+3652d", "-3652d", "-25000d", "+0"] {
        std::fs::write(&clock, jump).unwrap();
        let acked = stage.acked();
        // Some heartbeats long, the viewer is pinged and answers.
        let some = tokio::time::sleep(Duration::from_millis(2_500));
        tokio::pin!(some);
        loop {
            tokio::select! {
                () = &mut some => break,
                next = viewer.next() => {
                    heard += 1;
                    let next = next.expect("the viewer is not cut off").unwrap();
                    assert!(!next.is_close(), "{jump}: {next:?}");
                }
            }
        }
        assert!(stage.acked() > acked, "{jump}: nothing was acknowledged");
    }
    assert!(heard > 10, "only {heard} messages and pings");
    hub.terminate();
    let ended = tokio::task::block_in_place(|| hub.end());
    assert!(ended.status.success(), "{:?}", ended.log);
    let connected = ended.log.iter().filter(|line| line.contains("device connected")).count();
    assert_eq!(connected, 5, "each device connected once: {:?}", ended.log);
    compared("clocks", &mut stage).await;
}
