//! One simulated device: a task that lets a model live in real time, sends its readings, and does what it is told.

mod work;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::device::{
    DeviceClient, DeviceClock, DeviceConfig, DeviceError, DeviceEvent, DeviceHandle, DeviceStatus, Fault,
    draw_epoch,
};
use hdrhistogram::Histogram;
use protocol::command::DeviceCommandState;
use protocol::declare::CommandDeclaration;
use protocol::device::CommandUpdate;
use protocol::{CommandId, DeviceId, Epoch, NameError};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::deeds::Deeds;
use crate::faults::{Due, FaultCounts, FaultPlan, Schedule};
use crate::kinds::DeviceKind;
use crate::parts::Random;
use crate::report::CommandCounts;
use crate::sampler::Sampler;
use work::Running;

/// What all devices of a fleet count together. The locks are held for a few instructions and never across an await.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Microseconds from the writing of a batch to its ack.
    pub(crate) latency: Mutex<Histogram<u64>>,
    pub(crate) commands: Mutex<CommandCounts>,
    /// Why the hub refused a device for good, if it did: the first that was heard.
    pub(crate) refusal: Mutex<Option<String>>,
    /// What they do with commands.
    pub(crate) deeds: Deeds,
}

/// What a device is made from.
pub(crate) struct Spec {
    pub(crate) kind: DeviceKind,
    pub(crate) config: DeviceConfig,
    pub(crate) seed: u64,
    pub(crate) rate: f64,
    pub(crate) speed: f64,
    pub(crate) batch_interval: Duration,
    pub(crate) plan: FaultPlan,
    pub(crate) clock: Clock,
    pub(crate) tally: Arc<Tally>,
    /// How long the stop waits for acks.
    pub(crate) drain: Duration,
}

/// What is left of a device at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remains {
    pub(crate) status: DeviceStatus,
    pub(crate) faults: FaultCounts,
}

pub(crate) struct Device {
    kind: DeviceKind,
    id: DeviceId,
    handle: DeviceHandle,
    events: mpsc::Receiver<DeviceEvent>,
    commands: Vec<CommandDeclaration>,
    sampler: Sampler,
    random: Random,
    schedule: Schedule,
    faults: FaultCounts,
    clock: Clock,
    clock_error: i64,
    batch_interval: Duration,
    drain: Duration,
    tally: Arc<Tally>,
    speed: f64,
    running: Option<Running>,
    /// Ends that are said at a time.
    held: Vec<(Instant, CommandUpdate)>,
    /// Commands whose end is said once more.
    again: Vec<CommandId>,
    /// The power was cut: what comes before the next connection is of the time before.
    off: bool,
}

impl Device {
    /// Switches a device on. Its task is [`Device::run`]; its connection starts at once.
    pub(crate) fn start(spec: Spec) -> Result<Self, DeviceError> {
        let invalid = |e: NameError| DeviceError::Invalid(e.to_string());
        let mut random = Random::new(spec.seed);
        let second = spec.clock.base().micros().rem_euclid(86_400_000_000) as f64 / 1e6;
        let model = spec.kind.build(random.seed(), second);
        let offset = random.between(0.0, 1e6) as i64;
        let sampler = Sampler::new(model, spec.rate, spec.speed, offset).map_err(invalid)?;
        let mut schedule = Schedule::new(&spec.plan, random.seed());
        let clock_error = schedule.clock_error();
        let commands = spec.config.hello.commands.clone();
        let id = spec.config.hello.device.clone();
        // Where time runs faster than it does, no clock shows what is measured.
        let clock = spec.clock;
        let shows = DeviceClock::new(move || clock.now().plus_micros(clock_error));
        let config = DeviceConfig { clock: (spec.speed == 1.0).then_some(shows), ..spec.config };
        let (handle, events) = DeviceClient::spawn(config)?;
        Ok(Self {
            kind: spec.kind,
            id,
            handle,
            events,
            commands,
            sampler,
            random,
            schedule,
            faults: FaultCounts { skewed_clocks: u64::from(clock_error != 0), ..FaultCounts::default() },
            clock: spec.clock,
            clock_error,
            batch_interval: spec.batch_interval,
            drain: spec.drain,
            tally: spec.tally,
            speed: spec.speed,
            running: None,
            held: Vec::new(),
            again: Vec::new(),
            off: false,
        })
    }

    pub(crate) fn handle(&self) -> DeviceHandle {
        self.handle.clone()
    }

    /// Lives until `stop`, then drains and closes.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Remains {
        let mut earliest = Instant::now() + self.batch_interval.mul_f64(self.random.unit());
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(self.due(earliest)) => {
                    earliest = Instant::now() + self.batch_interval;
                    self.tick().await
                }
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event).await,
                    None => break,
                },
            };
            if ended.is_err() {
                break;
            }
        }
        self.stop().await
    }

    /// When there is something to do, at `earliest` or later: a reading after a quiet time is sent at once, and then they
    /// gather for as long as a batch.
    fn due(&self, earliest: Instant) -> Instant {
        if self.running.is_some() || !self.held.is_empty() || !self.again.is_empty() {
            return earliest;
        }
        let reading = self.sampler.next().map(|micros| self.clock.instant(micros));
        let fault = self.schedule.next().map(|time| self.clock.instant(time.as_micros() as i64));
        [reading, fault].into_iter().flatten().min().unwrap_or(earliest).max(earliest)
    }

    async fn stop(mut self) -> Remains {
        let last = async {
            if self.running.is_some() {
                self.sampler.model().bench().cancel();
                self.stop_work(DeviceCommandState::Failed, "the device was switched off").await?;
            }
            self.say_held(None).await?;
            self.send().await
        };
        if last.await.is_err() {
            tracing::debug!("the device's connection was closed before the device");
        }
        // Acks go on being counted while the outbox drains.
        let Self { handle, mut events, tally, faults, drain, .. } = self;
        let counting = async {
            while let Some(event) = events.recv().await {
                if let DeviceEvent::Acked { latency, .. } = event {
                    tally.acked(latency);
                }
            }
        };
        let (status, ()) = tokio::join!(handle.close(drain), counting);
        Remains { status, faults: FaultCounts { duplicates: status.duplicates, ..faults } }
    }

    /// Sends what is due, tells how the running command stands, plays what is due of the faults.
    async fn tick(&mut self) -> Result<(), DeviceError> {
        self.send().await?;
        self.tell_progress().await?;
        self.say_held(Some(Instant::now())).await?;
        let now = Duration::from_micros(u64::try_from(self.clock.elapsed_micros()).unwrap_or(0));
        while let Some(due) = self.schedule.poll(now) {
            self.play(due).await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), DeviceError> {
        let mut points = self.sampler.advance(self.clock.elapsed_micros());
        if points.is_empty() {
            return Ok(());
        }
        let base = self.clock.base().plus_micros(self.clock_error).micros();
        for point in &mut points {
            point.at = point.at.plus_micros(base);
        }
        if self.schedule.duplicate() {
            self.handle.inject(Fault::Duplicate(1)).await?;
        }
        self.handle.push(points).await
    }

    async fn play(&mut self, due: Due) -> Result<(), DeviceError> {
        let fault = match due {
            Due::Disconnect => {
                self.faults.disconnects += 1;
                Fault::Disconnect
            }
            Due::Silence(time) => {
                self.faults.silences += 1;
                Fault::Silence(time)
            }
            Due::Outage(time) => {
                self.faults.outages += 1;
                Fault::Offline(time)
            }
            Due::Reboot => {
                self.faults.reboots += 1;
                self.start_model();
                self.stop_work(DeviceCommandState::Failed, "the device rebooted").await?;
                Fault::Reboot(new_epoch()?)
            }
        };
        self.handle.inject(fault).await
    }

    /// The model begins as one that has just been switched on.
    fn start_model(&mut self) {
        let second = self.clock.now().micros().rem_euclid(86_400_000_000) as f64 / 1e6;
        let model = self.kind.build(self.random.seed(), second);
        self.sampler.reboot(model);
    }

    async fn on_event(&mut self, event: DeviceEvent) -> Result<(), DeviceError> {
        match event {
            DeviceEvent::Acked { latency, .. } => self.tally.acked(latency),
            DeviceEvent::Connected(_) => self.off = false,
            DeviceEvent::Command(_) | DeviceEvent::Cancel(_) if self.off => {}
            DeviceEvent::Command(request) => self.on_command(request).await?,
            DeviceEvent::Cancel(id) => {
                if self.running.as_ref().is_some_and(|running| running.is(&id)) {
                    self.sampler.model().bench().cancel();
                    self.stop_work(DeviceCommandState::Cancelled, "stopped as asked").await?;
                }
            }
            DeviceEvent::Disconnected { reason, retry_in: None, .. } => self.tally.refused(reason),
            DeviceEvent::Refused(refuse) if !refuse.code.is_retryable() => {
                tracing::warn!(seq = refuse.seq.0, code = %refuse.code, message = refuse.message, "batch refused");
            }
            DeviceEvent::Disconnected { .. } | DeviceEvent::Refused(_) | DeviceEvent::Error(_) => {}
        }
        Ok(())
    }
}

fn new_epoch() -> Result<Epoch, DeviceError> {
    draw_epoch().map_err(|e| DeviceError::Invalid(e.to_string()))
}

impl Tally {
    fn acked(&self, latency: Duration) {
        if let Ok(mut histogram) = self.latency.lock() {
            histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn count(&self, change: impl FnOnce(&mut CommandCounts)) {
        if let Ok(mut counts) = self.commands.lock() {
            change(&mut counts);
        }
    }

    fn refused(&self, reason: String) {
        if let Ok(mut refusal) = self.refusal.lock() {
            refusal.get_or_insert(reason);
        }
    }
}
