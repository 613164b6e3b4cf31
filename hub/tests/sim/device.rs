//! A device: the real client, which counts, and does what it is told once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::device::{DeviceClient, DeviceConfig, DeviceEvent, DeviceHandle, Fault};
use client::{BackoffConfig, Endpoint};
use protocol::command::DeviceCommandState;
use protocol::device::{CommandUpdate, Point};
use protocol::{CommandId, MetricName, Timestamp, Value};
use serde_json::json;
use tokio::sync::mpsc;

use crate::chance::Chance;
use crate::network::Network;

/// When the first reading was made.
const START: i64 = 1_767_225_600_000_000;

pub(crate) fn backoff(seed: u64) -> BackoffConfig {
    BackoffConfig { base: Duration::from_millis(100), cap: Duration::from_secs(2), seed: Some(seed) }
}

#[derive(Default)]
pub(crate) struct Shared {
    /// Readings made: they count from 1, and the value of each is its number.
    pub(crate) made: u64,
    /// How often each command was done.
    pub(crate) done: BTreeMap<CommandId, u32>,
    pub(crate) quiet: bool,
}

/// Readings after which a flood is over.
const FLOOD: u64 = 75_000;

/// How much a device measures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    Calm,
    Busy,
    /// More than waits for a viewer that does not read.
    Flood,
}

pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) handle: DeviceHandle,
    pub(crate) shared: Arc<Mutex<Shared>>,
}

/// The time of a reading, and back.
pub(crate) const fn time(number: u64) -> Timestamp {
    Timestamp(START + number as i64 * 1_000)
}

impl Device {
    /// Switches it on.
    pub(crate) fn start(seed: u64, host: usize, network: &Network, token: &str, pace: Pace) -> Self {
        let name = format!("device-{host}");
        let mut endpoint = Endpoint::new("ws://hub:1", token).unwrap();
        endpoint.dialer = Some(network.dialer(host));
        let hello = json!({"device": name, "epoch": format!("e{seed}"), "metrics": [{"name": "n"}],
            "commands": [{"name": "work", "timeout": 20}]});
        let config = DeviceConfig {
            backoff: backoff(seed + host as u64),
            connect_deadline: Duration::from_secs(3),
            // However long it is cut off, it gives nothing up.
            outbox_bytes: 256 * 1024 * 1024,
            ..DeviceConfig::new(endpoint, serde_json::from_value(hello).unwrap())
        };
        let (handle, events) = DeviceClient::spawn(config).unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        tokio::spawn(measure(
            handle.clone(),
            Arc::clone(&shared),
            Chance::new(seed, 100 + host as u64),
            pace,
        ));
        tokio::spawn(obey(handle.clone(), events, Arc::clone(&shared), Chance::new(seed, 200 + host as u64)));
        Self { name, handle, shared }
    }

    /// Readings of which the device was told that they are on disk: its first ones.
    pub(crate) fn acked(&self) -> u64 {
        self.handle.status().counts.acked
    }

    pub(crate) fn made(&self) -> u64 {
        self.shared.lock().unwrap().made
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.acked() == self.made()
    }

    pub(crate) fn play(&self, fault: Fault) {
        let handle = self.handle.clone();
        tokio::spawn(async move { drop(handle.inject(fault).await) });
    }
}

async fn measure(handle: DeviceHandle, shared: Arc<Mutex<Shared>>, mut chance: Chance, pace: Pace) {
    let name = MetricName::new("n").unwrap();
    loop {
        let pace = if shared.lock().unwrap().made > FLOOD { Pace::Calm } else { pace };
        let (wait, count) = match pace {
            Pace::Calm => (chance.between(50, 400), chance.between(1, 5)),
            Pace::Busy => (chance.between(10, 60), chance.between(10, 30)),
            Pace::Flood => (chance.between(10, 30), chance.between(150, 250)),
        };
        tokio::time::sleep(Duration::from_millis(wait)).await;
        let points = {
            let mut shared = shared.lock().unwrap();
            if shared.quiet {
                continue;
            }
            let first = shared.made + 1;
            shared.made += count;
            (first..first + count)
                .map(|n| Point { at: time(n), values: vec![(name.clone(), Value::Number(n as f64))] })
        };
        if handle.push(points.collect()).await.is_err() {
            return;
        }
    }
}

async fn obey(
    handle: DeviceHandle,
    mut events: mpsc::Receiver<DeviceEvent>,
    shared: Arc<Mutex<Shared>>,
    mut chance: Chance,
) {
    while let Some(event) = events.recv().await {
        match event {
            DeviceEvent::Command(command) => {
                *shared.lock().unwrap().done.entry(command.id.clone()).or_default() += 1;
                let (handle, takes) = (handle.clone(), chance.between(0, 3_000));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(takes)).await;
                    let update = CommandUpdate::new(command.id, DeviceCommandState::Succeeded);
                    drop(handle.command_update(update).await);
                });
            }
            DeviceEvent::Refused(refuse) => assert!(refuse.code.is_retryable(), "{refuse:?}"),
            _ => {}
        }
    }
}
