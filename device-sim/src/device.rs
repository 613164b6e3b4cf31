//! One simulated device: a task that lets a model live in real time, sends its readings, and does what it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::device::{
    DeviceClient, DeviceConfig, DeviceError, DeviceEvent, DeviceHandle, DeviceStatus, Fault, draw_epoch,
};
use hdrhistogram::Histogram;
use protocol::NameError;
use protocol::command::DeviceCommandState;
use protocol::declare::{CommandDeclaration, check_args};
use protocol::device::{CommandRequest, CommandUpdate};
use protocol::name::CommandId;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::faults::{Due, FaultCounts, FaultPlan, Schedule};
use crate::job::{Progress, Reply};
use crate::kinds::DeviceKind;
use crate::parts::Random;
use crate::report::CommandCounts;
use crate::sampler::Sampler;

/// Time between two progress reports of a running command.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What all devices of a fleet count together. The locks are held for a few instructions and never across an await.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Microseconds from the writing of a batch to its ack.
    pub(crate) latency: Mutex<Histogram<u64>>,
    pub(crate) commands: Mutex<CommandCounts>,
    /// Why the hub refused a device for good, if it did: the first that was heard.
    pub(crate) refusal: Mutex<Option<String>>,
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

struct Running {
    id: CommandId,
    told_at: Instant,
}

pub(crate) struct Device {
    kind: DeviceKind,
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
    running: Option<Running>,
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
        let (handle, events) = DeviceClient::spawn(spec.config)?;
        Ok(Self {
            kind: spec.kind,
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
            running: None,
        })
    }

    pub(crate) fn handle(&self) -> DeviceHandle {
        self.handle.clone()
    }

    /// Lives until `stop`, then drains and closes.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Remains {
        let first = Instant::now() + self.batch_interval.mul_f64(self.random.unit());
        let mut ticks = tokio::time::interval_at(first, self.batch_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.tick().await,
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

    async fn stop(mut self) -> Remains {
        let last = async {
            if self.running.is_some() {
                self.sampler.model().bench().cancel();
                self.finish(DeviceCommandState::Failed, None, Some("the device was switched off".into()))
                    .await?;
            }
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
                let second = self.clock.now().micros().rem_euclid(86_400_000_000) as f64 / 1e6;
                let model = self.kind.build(self.random.seed(), second);
                self.sampler.reboot(model);
                self.finish(DeviceCommandState::Failed, None, Some("the device rebooted".into())).await?;
                let epoch = draw_epoch().map_err(|e| DeviceError::Invalid(e.to_string()))?;
                Fault::Reboot(epoch)
            }
        };
        self.handle.inject(fault).await
    }

    async fn on_event(&mut self, event: DeviceEvent) -> Result<(), DeviceError> {
        match event {
            DeviceEvent::Acked { latency, .. } => self.tally.acked(latency),
            DeviceEvent::Command(request) => self.on_command(request).await?,
            DeviceEvent::Cancel(id) => {
                if self.running.as_ref().is_some_and(|running| running.id == id) {
                    self.sampler.model().bench().cancel();
                    let why = Some("stopped as asked".to_owned());
                    self.finish(DeviceCommandState::Cancelled, None, why).await?;
                }
            }
            DeviceEvent::Disconnected { reason, retry_in: None, .. } => self.tally.refused(reason),
            DeviceEvent::Refused(refuse) if !refuse.code.is_retryable() => {
                tracing::warn!(seq = refuse.seq.0, code = %refuse.code, message = refuse.message, "batch refused");
            }
            DeviceEvent::Connected(_)
            | DeviceEvent::Disconnected { .. }
            | DeviceEvent::Refused(_)
            | DeviceEvent::Error(_) => {}
        }
        Ok(())
    }

    async fn on_command(&mut self, request: CommandRequest) -> Result<(), DeviceError> {
        self.tally.count(|counts| counts.received += 1);
        let declared = self.commands.iter().find(|c| c.name == request.name);
        let checked = match declared {
            Some(declared) => check_args(declared, &request.args).map_err(|e| e.to_string()),
            None => Err(format!("this device has no command {}", request.name)),
        };
        let reply = match checked {
            Ok(args) => self.sampler.model().command(request.name.as_str(), &args),
            Err(why) => Reply::Rejected(why),
        };
        // A command that stops the device stops what it is working on.
        if self.running.is_some()
            && reply != Reply::Started
            && self.sampler.model().bench().running().is_none()
        {
            self.tell_progress().await?;
            let why = Some(format!("stopped by {}", request.name));
            self.finish(DeviceCommandState::Failed, None, why).await?;
        }
        let (state, result, error) = match reply {
            Reply::Started => {
                self.running = Some(Running { id: request.id.clone(), told_at: Instant::now() });
                let running = CommandUpdate {
                    progress: Some(0.0),
                    ..CommandUpdate::new(request.id, DeviceCommandState::Running)
                };
                return self.handle.command_update(running).await;
            }
            Reply::Done(result) => (DeviceCommandState::Succeeded, Some(result), None),
            Reply::Failed(why) => (DeviceCommandState::Failed, None, Some(why)),
            Reply::Rejected(why) => (DeviceCommandState::Rejected, None, Some(why)),
        };
        self.end(request.id, state, result, error).await
    }

    async fn tell_progress(&mut self) -> Result<(), DeviceError> {
        if self.running.is_none() {
            return Ok(());
        }
        match self.sampler.model().bench().poll() {
            Some(Progress::Done(result)) => {
                self.finish(DeviceCommandState::Succeeded, Some(result), None).await
            }
            Some(Progress::Failed(why)) => self.finish(DeviceCommandState::Failed, None, Some(why)).await,
            Some(Progress::Running(progress)) => {
                let now = Instant::now();
                match &mut self.running {
                    Some(running) if now - running.told_at >= PROGRESS_EVERY => {
                        running.told_at = now;
                        let told = CommandUpdate::new(running.id.clone(), DeviceCommandState::Running);
                        self.handle.command_update(CommandUpdate { progress: Some(progress), ..told }).await
                    }
                    _ => Ok(()),
                }
            }
            // The device stopped it by itself: a fault, say.
            None => {
                self.finish(DeviceCommandState::Failed, None, Some("interrupted by a fault".into())).await
            }
        }
    }

    /// Ends the running command, if there is one.
    async fn finish(
        &mut self,
        state: DeviceCommandState,
        result: Option<Json>,
        error: Option<String>,
    ) -> Result<(), DeviceError> {
        match self.running.take() {
            Some(running) => self.end(running.id, state, result, error).await,
            None => Ok(()),
        }
    }

    async fn end(
        &self,
        id: CommandId,
        state: DeviceCommandState,
        result: Option<Json>,
        error: Option<String>,
    ) -> Result<(), DeviceError> {
        self.tally.count(|counts| match state {
            DeviceCommandState::Succeeded => counts.succeeded += 1,
            DeviceCommandState::Failed => counts.failed += 1,
            DeviceCommandState::Rejected => counts.rejected += 1,
            DeviceCommandState::Cancelled => counts.cancelled += 1,
            DeviceCommandState::Unresolved => counts.unresolved += 1,
            DeviceCommandState::Received | DeviceCommandState::Running => {}
        });
        self.handle.command_update(CommandUpdate { result, error, ..CommandUpdate::new(id, state) }).await
    }
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
