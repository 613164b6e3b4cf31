//! A whole fleet loses its hub at one instant and comes back: all of it, soon, with nothing lost and nobody turned away.

use std::time::{Duration, Instant};

use store::Reader;

use crate::fleet::{Part, Report};
use crate::measure::{Watch, listen_overflows, mib, resident};
use crate::process::Hub;
use crate::{ALONE, setting, until};

/// All back, and what they had measured meanwhile acknowledged, within this of the hub's start.
const BACK: Duration = Duration::from_secs(30);
/// The fleet is switched on within this.
const SWITCHED_ON: Duration = Duration::from_secs(120);
/// Processes that the fleet runs in.
const PARTS: u64 = 2;
/// Each device sends so often, in seconds.
const EVERY: u64 = 5;

struct Fleet {
    parts: Vec<Part>,
    devices: u64,
    marks: u64,
}

impl Fleet {
    fn sum(&self, of: impl Fn(&Report) -> u64) -> u64 {
        self.parts.iter().map(|part| of(&part.report())).sum()
    }

    fn tell(&mut self, word: &str) {
        for part in &mut self.parts {
            part.tell(word);
        }
    }

    async fn all_connected(&self, patience: Duration) -> Duration {
        until("everyone to be connected", patience, || self.sum(|report| report.connected) == self.devices)
            .await
    }

    /// Waits until everything is acknowledged that they have now.
    async fn drained(&mut self, patience: Duration) -> Duration {
        self.tell("mark");
        self.marks += 1;
        until("everything to be acknowledged", patience, || {
            let done = |report: Report| report.marks == self.marks && report.behind == Some(0);
            self.parts.iter().all(|part| done(part.report()))
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_the_hub_everyone_is_back_and_drained_and_nobody_was_turned_away() {
    let _alone = ALONE.lock().await;
    let devices = setting("STORM_DEVICES", 500) / PARTS * PARTS;
    // 10 000 are as many as a hub takes unless told otherwise.
    let heartbeat = Duration::from_secs(setting("STORM_HEARTBEAT", 2));
    let settings =
        format!("max_connections = {}\nheartbeat_seconds = {}\n", devices + 100, heartbeat.as_secs());
    let mut hub = Hub::start(&settings);
    let empty = resident(hub.id());
    println!("{devices} devices in {PARTS} processes; memory of the hub: {}", hub.bound.kept_by());
    let overflows = listen_overflows();
    let start = Instant::now();
    let parts = (0..PARTS)
        .map(|part| Part::start(hub.address, &hub.fleet_token(), part, devices / PARTS, EVERY))
        .collect();
    let mut fleet = Fleet { parts, devices, marks: 0 };
    fleet.all_connected(SWITCHED_ON).await;
    until("an ack for everyone", SWITCHED_ON, || fleet.sum(|report| report.heard) == devices).await;
    println!(
        "switched on: all connected and each acknowledged after {:.1} s; memory {:.1} -> {:.1} MiB, {:.1} KiB a device",
        start.elapsed().as_secs_f64(),
        mib(empty),
        mib(resident(hub.id())),
        (resident(hub.id()) - empty) as f64 / 1024.0 / devices as f64,
    );
    for (way, down) in
        [("killed", 0), ("stopped in order", 0), ("killed, and down for a while", setting("STORM_DOWN", 1))]
    {
        // A connection that lasted for a heartbeat counts as one: whoever loses it begins with the shortest wait.
        tokio::time::sleep(heartbeat + Duration::from_millis(500)).await;
        let welcomes = fleet.sum(|report| report.welcomes);
        let stopped = if way == "stopped in order" {
            let (status, took) = hub.terminate();
            assert!(status.success(), "{status}: {}", hub.log());
            assert!(took < Duration::from_secs(10), "it took {took:?} to stop");
            took
        } else {
            hub.kill();
            Duration::ZERO
        };
        tokio::time::sleep(Duration::from_secs(down)).await;
        hub.again();
        let start = Instant::now();
        let watch = Watch::start(hub.id());
        // Whoever has not noticed yet still seems to be connected.
        until("everyone to come back", BACK, || fleet.sum(|report| report.welcomes) >= welcomes + devices)
            .await;
        fleet.all_connected(BACK).await;
        let back = start.elapsed();
        fleet.drained(BACK).await;
        let drained = start.elapsed();
        println!(
            "{way}{}: all back after {:.2} s, drained after {:.2} s; memory at most {:.1} MiB; {} connections found the queue full",
            if down > 0 { format!(" ({down} s)") } else { format!(" (in {:.2} s)", stopped.as_secs_f64()) },
            back.as_secs_f64(),
            drained.as_secs_f64(),
            mib(watch.most()),
            listen_overflows() - overflows,
        );
        assert!(drained < BACK, "{way}: it took {drained:?}");
        hub.is_well();
    }
    assert_eq!(listen_overflows(), overflows, "connections found the accept queue full");
    let waits = fleet.parts.iter().map(Part::report).fold([0; 10], |all: [u64; 10], report| {
        std::array::from_fn(|tenth| all[tenth] + report.waits[tenth])
    });
    println!("first waits, by tenths of their bound: {waits:?}");
    let each = devices as f64 / 10.0;
    // Five standard deviations of a fair draw.
    let sway = 5.0 * (each * 0.9).sqrt();
    assert_eq!(waits.iter().sum::<u64>(), devices);
    assert!(waits.iter().all(|n| (*n as f64 - each).abs() < sway), "no full jitter: {waits:?}");

    fleet.tell("stop");
    until("everyone to stop", BACK, || fleet.parts.iter().all(|part| part.report().stopped)).await;
    fleet.drained(BACK).await;
    let (pushed, acked) = (fleet.sum(|report| report.pushed), fleet.sum(|report| report.acked));
    assert_eq!((fleet.sum(|report| report.lost), fleet.sum(|report| report.refused)), (0, 0));
    assert_eq!(acked, pushed);
    let stored = Reader::open(&hub.database()).unwrap().stats().unwrap().readings;
    println!("{pushed} readings were measured, all acknowledged, {stored} are stored");
    assert_eq!(stored, pushed, "what was acknowledged is stored, once");
    hub.is_well();
}
