//! What the system tells of a process and of the network: memory, descriptors, connections that found no place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often memory is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Resident memory of a process, in bytes; 0 if it has ended.
pub(crate) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Open descriptors of a process.
pub(crate) fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// How many connections of this machine found the queue of a listener full, since it was started.
pub(crate) fn listen_overflows() -> u64 {
    let text = std::fs::read_to_string("/proc/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split(' ').position(|name| name == "ListenOverflows").unwrap();
    values.split(' ').nth(place).unwrap().parse().unwrap()
}

pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Watches the resident memory of a process and remembers the most.
pub(crate) struct Watch {
    most: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(process: u32) -> Self {
        let most = Arc::new(AtomicU64::new(resident(process)));
        let done = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (most, done) = (Arc::clone(&most), Arc::clone(&done));
            move || {
                while !done.load(Ordering::Relaxed) {
                    most.fetch_max(resident(process), Ordering::Relaxed);
                    thread::sleep(LOOK_INTERVAL);
                }
            }
        });
        Self { most, done, thread: Some(thread) }
    }

    /// The most so far, in bytes.
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
