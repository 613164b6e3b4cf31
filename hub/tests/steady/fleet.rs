//! A part of a fleet in a process of its own, because a process may have only so many descriptors: the real client, each
//! device from a source address among many, told by its standard input and reporting on its standard output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use client::Dialer;
use client::backoff::BASE;
use client::device::{DeviceClient, DeviceEvent, DeviceHandle};
use serde::{Deserialize, Serialize};
use tokio_util::either::Either;

use crate::{line, neighbours, setting};

/// How often it reports.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// What a line of a report begins with, between what the test harness prints.
const MARK: &str = "=> ";

/// How a part of a fleet is doing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) connected: u64,
    /// Connections on which a device was welcomed.
    pub(crate) welcomes: u64,
    /// Devices that were acknowledged something.
    pub(crate) heard: u64,
    /// Readings.
    pub(crate) pushed: u64,
    pub(crate) acked: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    /// Devices that have not everything acknowledged that they had at the last mark; `None`: there was none.
    pub(crate) behind: Option<u64>,
    /// Of the first waits of each device before it connected again, as shares of the bound: how many in each tenth.
    pub(crate) waits: [u64; 10],
    /// Marks that were heard.
    pub(crate) marks: u64,
    /// Whether it pushes nothing any more.
    pub(crate) stopped: bool,
}

/// A part of a fleet, from outside.
pub(crate) struct Part {
    child: Child,
    input: ChildStdin,
    report: Arc<Mutex<Report>>,
}

impl Part {
    /// Starts the n-th part, of so many devices that each send every so many seconds.
    pub(crate) fn start(address: SocketAddr, token: &str, part: u64, devices: u64, every: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "fleet::a_part_of_a_fleet", "--nocapture"])
            .env("FLEET_ADDRESS", address.to_string())
            .env("FLEET_TOKEN", token)
            .env("FLEET_PART", part.to_string())
            .env("FLEET_DEVICES", devices.to_string())
            .env("FLEET_EVERY", every.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let report = Arc::new(Mutex::new(Report::default()));
        let tell = Arc::clone(&report);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, text)) = line.split_once(MARK) {
                    *tell.lock().unwrap() = serde_json::from_str(text).unwrap();
                }
            }
        });
        Self { child, input, report }
    }

    pub(crate) fn report(&self) -> Report {
        self.report.lock().unwrap().clone()
    }

    /// `mark`: remember what was pushed until now. `stop`: push nothing more.
    pub(crate) fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Device {
    handle: DeviceHandle,
    at: i64,
    marked: Option<u64>,
}

/// Not a test of its own: [`Part::start`] runs it in a process of its own.
#[test]
#[ignore = "a part of the test of the storm, which runs it"]
fn a_part_of_a_fleet() {
    let Ok(address) = std::env::var("FLEET_ADDRESS") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(address.parse().unwrap(), std::env::var("FLEET_TOKEN").unwrap()));
}

async fn run(address: SocketAddr, token: String) {
    let (part, count, every) =
        (setting("FLEET_PART", 0), setting("FLEET_DEVICES", 1), setting("FLEET_EVERY", 5));
    let words = Arc::new(Mutex::new(Vec::new()));
    thread::spawn({
        let words = Arc::clone(&words);
        move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                words.lock().unwrap().push(line);
            }
            // Whoever started us is gone.
            words.lock().unwrap().push("end".into());
        }
    });
    let waits: Arc<[AtomicU64; 10]> = Arc::default();
    let mut devices: Vec<Device> = Vec::new();
    let mut report = Report::default();
    let mut again = tokio::time::interval(REPORT_INTERVAL);
    let start = Instant::now();
    loop {
        again.tick().await;
        for word in std::mem::take(&mut *words.lock().unwrap()) {
            match word.as_str() {
                "mark" => {
                    for device in &mut devices {
                        device.marked = Some(device.handle.status().counts.pushed);
                    }
                    report.marks += 1;
                }
                "stop" => report.stopped = true,
                _ => return,
            }
        }
        // They are switched on one after the other, 2 000 a second.
        let on = (start.elapsed().as_millis() as u64 * 2).min(count);
        for n in devices.len() as u64..on {
            devices.push(switch_on(address, &token, part, n, &waits));
        }
        // Each in its turn: in every interval all of them once.
        let ticks = every * 1_000 / REPORT_INTERVAL.as_millis() as u64;
        let turn = start.elapsed().as_millis() as u64 / REPORT_INTERVAL.as_millis() as u64;
        if !report.stopped {
            for device in devices.iter_mut().skip((turn % ticks) as usize).step_by(ticks as usize) {
                let points = neighbours::points(&mut device.at, 1);
                drop(device.handle.push(points).await);
            }
        }
        let statuses: Vec<_> = devices.iter().map(|device| device.handle.status()).collect();
        report.connected = statuses.iter().filter(|status| status.connected).count() as u64;
        report.welcomes = statuses.iter().map(|status| status.connections).sum();
        report.heard = statuses.iter().filter(|status| status.counts.acked > 0).count() as u64;
        report.pushed = statuses.iter().map(|status| status.counts.pushed).sum();
        report.acked = statuses.iter().map(|status| status.counts.acked).sum();
        report.lost = statuses.iter().map(|status| status.counts.lost).sum();
        report.refused = statuses.iter().map(|status| status.counts.refused).sum();
        report.behind = (report.marks > 0).then(|| {
            let behind = |(device, status): &(&Device, &client::device::DeviceStatus)| {
                device.marked.is_some_and(|marked| status.counts.acked < marked)
            };
            devices.iter().zip(&statuses).filter(behind).count() as u64
        });
        report.waits = std::array::from_fn(|tenth| waits[tenth].load(Ordering::Relaxed));
        println!("{MARK}{}", serde_json::to_string(&report).unwrap());
    }
}

fn switch_on(address: SocketAddr, token: &str, part: u64, n: u64, waits: &Arc<[AtomicU64; 10]>) -> Device {
    let mut config = neighbours::device(&format!("ws://{address}"), token, &format!("fleet-{part}-{n}"));
    // So many to a source.
    let from = (part * 1_000 + n / 16) as u32;
    config.endpoint.dialer =
        Some(Dialer::new(move || async move { Ok(Either::Left(line::dial(from, address, false).await?)) }));
    let (handle, mut events) = DeviceClient::spawn(config).unwrap();
    let waits = Arc::clone(waits);
    tokio::spawn(async move {
        let (mut was_up, mut counted) = (false, false);
        while let Some(event) = events.recv().await {
            match event {
                DeviceEvent::Connected(_) => was_up = true,
                DeviceEvent::Disconnected { retry_in: Some(wait), .. } if was_up && !counted => {
                    counted = true;
                    let tenth = (wait.as_secs_f64() / BASE.as_secs_f64() * 10.0) as usize;
                    waits[tenth.min(9)].fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    });
    Device { handle, at: 1_767_225_600_000_000 + n as i64 * 1_000_000, marked: None }
}
