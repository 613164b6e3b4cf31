//! A fleet of simulated devices: start it against a hub, look at it, stop it, get the report.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Endpoint;
use client::backoff::BackoffConfig;
use client::device::{DeviceConfig, DeviceError, DeviceHandle, DeviceStatus, OUTBOX_BYTES, draw_epoch};
use hdrhistogram::Histogram;
use protocol::{DeviceId, NameError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::deeds::Deeds;
use crate::device::{Device, Remains, Spec, Tally};
use crate::faults::{FaultCounts, FaultPlan};
use crate::kinds::DeviceKind;
use crate::parts::Random;
use crate::report::{CommandCounts, Latencies, Report};

/// Longest ack latency that is told apart, in microseconds: one hour.
const LATENCY_MAX_MICROS: u64 = 3_600 * 1_000_000;

/// What a fleet is made from.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The hub and the fleet's token.
    pub endpoint: Endpoint,
    /// How many devices.
    pub devices: usize,
    /// Of which kinds, in turn.
    pub kinds: Vec<DeviceKind>,
    /// What everything but epochs is drawn from.
    pub seed: u64,
    /// Multiplies the cadence of every metric.
    pub rate: f64,
    /// How fast the models' time passes.
    pub speed: f64,
    /// Shortest time between two batches of a device.
    pub batch_interval: Duration,
    /// Bytes of messages that a device holds until they are acknowledged.
    pub outbox_bytes: usize,
    /// The waits of each device between its attempts to connect; their seed is drawn from the fleet's.
    pub backoff: BackoffConfig,
    /// How long the stop waits for the last acks.
    pub drain: Duration,
    /// Text before every device id, so that several fleets can share a hub.
    pub prefix: String,
    /// Faults to play.
    pub faults: FaultPlan,
    /// A folder in which each device keeps what it did, over a restart of the fleet; `None`: they forget.
    pub memory: Option<PathBuf>,
    /// A file to which is added what devices did with their commands ([`crate::deeds`]).
    pub deeds: Option<PathBuf>,
}

impl FleetConfig {
    /// The usual settings for a number of devices.
    pub fn new(endpoint: Endpoint, devices: usize) -> Self {
        Self {
            endpoint,
            devices,
            kinds: DeviceKind::ALL.to_vec(),
            seed: 1,
            rate: 1.0,
            speed: 1.0,
            batch_interval: Duration::from_millis(200),
            outbox_bytes: OUTBOX_BYTES,
            backoff: BackoffConfig::default(),
            drain: Duration::from_secs(10),
            prefix: String::new(),
            faults: FaultPlan::default(),
            memory: None,
            deeds: None,
        }
    }
}

/// The file of a device's memory: its id, without what a file name cannot hold.
fn memory_name(id: &DeviceId) -> String {
    format!("{}.commands", id.as_str().replace('/', "%2F"))
}

/// Why a fleet cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// No kind of device is chosen.
    #[error("a fleet needs at least one kind of device")]
    NoKinds,
    /// The prefix makes names that are none.
    #[error("a device of the fleet cannot be named: see --prefix")]
    Name(#[from] NameError),
    /// A device cannot be started.
    #[error("a device of the fleet cannot be started")]
    Device(#[from] DeviceError),
    /// What devices do cannot be written down.
    #[error("--deeds: the file cannot be opened")]
    Deeds(#[from] std::io::Error),
    /// The histogram of latencies cannot be made.
    #[error("latencies cannot be counted")]
    Latency(#[from] hdrhistogram::CreationError),
}

/// A running fleet.
#[derive(Debug)]
pub struct Fleet {
    devices: Vec<(DeviceId, DeviceHandle)>,
    tasks: JoinSet<Remains>,
    stop: CancellationToken,
    tally: Arc<Tally>,
    clock: Clock,
}

impl Fleet {
    /// Switches every device on. Must be called within a runtime.
    pub fn start(config: &FleetConfig) -> Result<Self, FleetError> {
        if config.kinds.is_empty() {
            return Err(FleetError::NoKinds);
        }
        let tally = Arc::new(Tally {
            latency: Mutex::new(Histogram::new_with_max(LATENCY_MAX_MICROS, 3)?),
            commands: Mutex::new(CommandCounts::default()),
            refusal: Mutex::new(None),
            deeds: Deeds::open(config.deeds.as_deref())?,
        });
        let clock = Clock::start();
        let stop = CancellationToken::new();
        let mut fleet =
            Self { devices: Vec::new(), tasks: JoinSet::new(), stop, tally: Arc::clone(&tally), clock };
        let mut random = Random::new(config.seed);
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for kind in config.kinds.iter().cycle().take(config.devices) {
            let (seed, backoff_seed) = (random.seed(), random.seed());
            let about = kind.build(0, 0.0).about();
            let number = numbers.entry(about.prefix).or_default();
            *number += 1;
            let id = DeviceId::new(&format!("{}{}-{number:02}", config.prefix, about.prefix))?;
            let device = Device::start(Spec {
                kind: *kind,
                config: DeviceConfig {
                    outbox_bytes: config.outbox_bytes,
                    backoff: BackoffConfig { seed: Some(backoff_seed), ..config.backoff.clone() },
                    // Whoever started a simulation is there to read the error.
                    refused_retry: None,
                    memory: config.memory.as_ref().map(|folder| folder.join(memory_name(&id))),
                    ..DeviceConfig::new(config.endpoint.clone(), about.hello(id.clone(), draw_epoch()?)?)
                },
                seed,
                rate: config.rate,
                speed: config.speed,
                batch_interval: config.batch_interval,
                plan: config.faults.clone(),
                clock,
                tally: Arc::clone(&tally),
                drain: config.drain,
            })?;
            fleet.devices.push((id, device.handle()));
            fleet.tasks.spawn(device.run(fleet.stop.clone()));
        }
        Ok(fleet)
    }

    /// The devices and their connections, for tests that want to do something to one.
    pub fn devices(&self) -> &[(DeviceId, DeviceHandle)] {
        &self.devices
    }

    /// How it stands now. Faults are counted at the end only.
    pub fn report(&self) -> Report {
        let statuses = self.devices.iter().map(|(_, handle)| handle.status());
        self.summary(statuses, FaultCounts::default())
    }

    /// Switches every device off: each sends what it has, waits for its acks for the configured time, and closes.
    pub async fn stop(mut self) -> Report {
        self.stop.cancel();
        let (mut statuses, mut faults) = (Vec::new(), FaultCounts::default());
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(remains) => {
                    faults.add(&remains.faults);
                    statuses.push(remains.status);
                }
                Err(error) => tracing::error!(%error, "a device's task failed; it is missing in the report"),
            }
        }
        self.summary(statuses.into_iter(), faults)
    }

    fn summary(&self, statuses: impl Iterator<Item = DeviceStatus>, faults: FaultCounts) -> Report {
        let mut report = Report {
            devices: self.devices.len() as u64,
            seconds: self.clock.elapsed_micros() as f64 / 1e6,
            faults,
            ..Report::default()
        };
        for status in statuses {
            report.connected += u64::from(status.connected);
            report.readings_pushed += status.counts.pushed;
            report.acknowledged += status.counts.acked;
            report.refused += status.counts.refused;
            report.lost += status.counts.lost;
            report.lost_in_reboots += status.lost_in_reboots;
            report.waiting += status.waiting_readings;
            report.batches_resent += status.counts.batches_resent;
            report.reconnects += status.connections.saturating_sub(1);
            report.gave_up += u64::from(status.gave_up);
        }
        if let Ok(histogram) = self.tally.latency.lock() {
            report.ack_latency_ms = Latencies::from_micros(&histogram);
        }
        if let Ok(commands) = self.tally.commands.lock() {
            report.commands = *commands;
        }
        if let Ok(refusal) = self.tally.refusal.lock() {
            report.refusal.clone_from(&refusal);
        }
        report
    }
}
