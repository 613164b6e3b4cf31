//! Whole fleets, and the load generator.

use std::time::Duration;

use client::BackoffConfig;
use device_sim::faults::{FaultPlan, Outage};
use device_sim::fleet::{Fleet, FleetConfig};
use device_sim::kinds::DeviceKind;
use device_sim::load::{self, LoadConfig, Target};
use protocol::command::DeviceCommandState;

use crate::hub::Hub;

/// Waits that a test can wait for: faults come faster here than any connection lasts.
fn short_waits() -> BackoffConfig {
    BackoffConfig { cap: Duration::from_millis(50), ..BackoffConfig::default() }
}

/// Kinds that measure often.
fn busy() -> Vec<DeviceKind> {
    vec![DeviceKind::Pump, DeviceKind::MachineTool, DeviceKind::Solar]
}

/// Lets a fleet run until it has pushed so many readings.
async fn run_until(fleet: &Fleet, readings: u64) {
    let each = readings / fleet.devices().len() as u64;
    for (_, device) in fleet.devices() {
        device.wait_for(|status| status.counts.pushed >= each).await.unwrap();
    }
}

#[tokio::test]
async fn i_2_every_reading_of_a_fleet_with_faults_arrives_exactly_once() {
    let hub = Hub::start(None).await;
    let config = FleetConfig {
        rate: 4.0,
        kinds: busy(),
        backoff: short_waits(),
        batch_interval: Duration::from_millis(20),
        faults: FaultPlan {
            disconnects: 60.0,
            duplicates: 0.3,
            clock_skew: Duration::from_secs(60),
            outages: vec![Outage { at: Duration::from_millis(600), length: Duration::from_millis(500) }],
            ..FaultPlan::default()
        },
        ..FleetConfig::new(hub.endpoint.clone(), 12)
    };
    let fleet = Fleet::start(&config).unwrap();
    run_until(&fleet, 2_400).await;
    let report = fleet.stop().await;
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.readings_pushed, report.acknowledged);
    assert_eq!(hub.stored.lock().unwrap().readings(), report.acknowledged);
    assert!(
        report.faults.disconnects > 0 && report.faults.duplicates > 0 && report.reconnects > 0,
        "{report}"
    );
    assert_eq!((report.faults.outages, report.faults.skewed_clocks), (12, 12));
}

#[tokio::test]
async fn reboots_begin_new_epochs_and_their_losses_are_told_apart() {
    let hub = Hub::start(None).await;
    let config = FleetConfig {
        batch_interval: Duration::from_millis(20),
        kinds: busy(),
        backoff: short_waits(),
        faults: FaultPlan { reboots: 60.0, ..FaultPlan::default() },
        ..FleetConfig::new(hub.endpoint.clone(), 6)
    };
    let fleet = Fleet::start(&config).unwrap();
    run_until(&fleet, 600).await;
    let report = fleet.stop().await;
    assert!(report.is_complete() && report.faults.reboots > 0, "{report}");
    assert_eq!(report.readings_pushed, report.acknowledged + report.lost_in_reboots);
    let stored = hub.stored.lock().unwrap();
    assert!(stored.streams.len() > 6, "more epochs than devices");
    assert!(stored.readings() >= report.acknowledged, "the hub may have some whose ack came too late");
}

#[tokio::test]
async fn every_pump_stops_when_told_and_says_so() {
    let hub = Hub::start(Some("stop")).await;
    let config = FleetConfig {
        kinds: vec![DeviceKind::Pump],
        prefix: "north/".into(),
        batch_interval: Duration::from_millis(20),
        ..FleetConfig::new(hub.endpoint.clone(), 3)
    };
    let fleet = Fleet::start(&config).unwrap();
    run_until(&fleet, 90).await;
    let report = fleet.stop().await;
    assert_eq!((report.commands.received, report.commands.succeeded), (3, 3), "{report}");
    let stored = hub.stored.lock().unwrap();
    assert_eq!(stored.ends.get("north/pump-02"), Some(&DeviceCommandState::Succeeded));
}

#[tokio::test]
async fn a_command_that_runs_when_the_fleet_stops_has_failed() {
    let hub = Hub::start(Some("defrost")).await;
    let config = FleetConfig {
        kinds: vec![DeviceKind::ColdRoom],
        batch_interval: Duration::from_millis(20),
        ..FleetConfig::new(hub.endpoint.clone(), 2)
    };
    let fleet = Fleet::start(&config).unwrap();
    run_until(&fleet, 60).await;
    let report = fleet.stop().await;
    assert_eq!((report.commands.received, report.commands.failed), (2, 2), "{report}");
    let stored = hub.stored.lock().unwrap();
    assert_eq!(stored.ends.get("cold-room-01"), Some(&DeviceCommandState::Failed));
}

fn load(hub: &Hub) -> LoadConfig {
    LoadConfig {
        target: Target::Hub(hub.endpoint.clone()),
        connections: 3,
        readings_per_message: 10,
        in_flight: 16,
        series: 4,
        rate: None,
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(200),
        server: None,
    }
}

#[tokio::test]
async fn the_load_generator_counts_what_the_hub_has() {
    let hub = Hub::start(None).await;
    for in_flight in [1, 16] {
        let before = hub.stored.lock().unwrap().readings();
        let config = LoadConfig { in_flight, warm_up: Duration::from_millis(50), ..load(&hub) };
        let report = load::run(config).await.unwrap();
        assert!(report.acknowledged > 0 && report.waiting == 0, "{report}");
        assert!(report.measured.readings <= report.acknowledged, "{report}");
        assert_eq!(hub.stored.lock().unwrap().readings() - before, report.acknowledged);
    }
}

#[tokio::test]
async fn a_load_with_a_rate_sends_all_that_is_due_and_no_more_and_every_series_gets_its_share() {
    let hub = Hub::start(None).await;
    // Some hubs are slower than that: what is due is sent all the same, later.
    let config = LoadConfig {
        series: 20,
        readings_per_message: 7,
        rate: Some(8_000),
        warm_up: Duration::from_millis(105),
        duration: Duration::from_millis(420),
        ..load(&hub)
    };
    let report = load::run(config).await.unwrap();
    // 8 000 a second for 525 ms.
    assert_eq!((report.acknowledged, report.waiting, report.messages), (4_200, 0, 600), "{report}");
    assert_eq!(report.measured.ack_latency_ms.count, 480, "of the messages due while it was measured");
    let stored = hub.stored.lock().unwrap();
    assert_eq!(stored.readings(), 4_200);
    assert_eq!(stored.metrics.len(), 60, "all series that were declared");
    assert!(stored.metrics.values().all(|count| *count == 70), "{:?}", stored.metrics);
}
