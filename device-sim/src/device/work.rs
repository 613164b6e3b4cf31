//! What a device does with its commands: at once or on its bench, well or with a fault of the plan, and each of it written down.

use std::time::Duration;

use client::device::{DeviceError, Fault};
use protocol::command::DeviceCommandState;
use protocol::declare::check_args;
use protocol::device::{CommandRequest, CommandUpdate};
use protocol::{CommandId, MetricName};
use serde_json::Value as Json;
use tokio::time::Instant;

use super::{Device, new_epoch};
use crate::deeds::{Deed, Did};
use crate::faults::CommandFault;
use crate::job::{Progress, Reply};
use crate::kinds::Args;

/// Time between two progress reports of a running command.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// The code of a command that goes wrong because the plan says so.
const FAILED: &str = "fault_played";
/// The code of a command that is not tried because the plan says so.
const REFUSED: &str = "refusal_played";

/// The command that the device works on.
pub(super) struct Running {
    id: CommandId,
    told_at: Instant,
    played: Option<Played>,
}

/// What is played with it.
struct Played {
    fault: CommandFault,
    /// What the model does at its end.
    then: Option<(MetricName, Args)>,
    /// Whether what happens on the way has happened.
    happened: bool,
}

impl Running {
    pub(super) fn is(&self, id: &CommandId) -> bool {
        self.id == *id
    }

    fn plays(&self, fault: CommandFault) -> bool {
        self.played.as_ref().is_some_and(|played| played.fault == fault)
    }
}

/// How a command ended.
struct End {
    state: DeviceCommandState,
    result: Option<Json>,
    error: Option<String>,
    code: Option<&'static str>,
}

impl End {
    const fn done(result: Json) -> Self {
        Self { state: DeviceCommandState::Succeeded, result: Some(result), error: None, code: None }
    }

    const fn because(state: DeviceCommandState, error: String) -> Self {
        Self { state, result: None, error: Some(error), code: None }
    }

    fn of(reply: Reply) -> Option<Self> {
        match reply {
            Reply::Started => None,
            Reply::Done(result) => Some(Self::done(result)),
            Reply::Failed(why) => Some(Self::because(DeviceCommandState::Failed, why)),
            Reply::Rejected(why) => Some(Self::because(DeviceCommandState::Rejected, why)),
        }
    }

    fn update(self, id: CommandId) -> CommandUpdate {
        let Self { state, result, error, code } = self;
        let code = code.and_then(|code| MetricName::new(code).ok());
        CommandUpdate { result, error, code, ..CommandUpdate::new(id, state) }
    }
}

impl Device {
    pub(super) async fn on_command(&mut self, request: CommandRequest) -> Result<(), DeviceError> {
        self.tally.count(|counts| counts.received += 1);
        let declared = self.commands.iter().find(|c| c.name == request.name);
        let quick = declared.is_some_and(|declared| declared.timeout.is_none());
        let checked = match declared {
            Some(declared) => check_args(declared, &request.args).map_err(|e| e.to_string()),
            None => Err(format!("this device has no command {}", request.name)),
        };
        let reply = match checked {
            Ok(args) => {
                if let Some((fault, time)) = self.schedule.command() {
                    let then = quick.then(|| (request.name.clone(), args));
                    return self.play_with(request, fault, time, then).await;
                }
                self.sampler.model().command(request.name.as_str(), &args)
            }
            Err(why) => Reply::Rejected(why),
        };
        // A command that stops the device stops what it is working on.
        if self.running.is_some()
            && reply != Reply::Started
            && self.sampler.model().bench().running().is_none()
        {
            self.tell_progress().await?;
            self.stop_work(DeviceCommandState::Failed, &format!("stopped by {}", request.name)).await?;
        }
        self.begin(request.id, reply, None).await
    }

    /// Takes a command that goes as the plan says.
    async fn play_with(
        &mut self,
        request: CommandRequest,
        fault: CommandFault,
        time: Duration,
        then: Option<(MetricName, Args)>,
    ) -> Result<(), DeviceError> {
        if fault == CommandFault::Reject {
            *self.faults.commands.of(fault) += 1;
            let why = "not now, because the plan says so".to_owned();
            let end = End { code: Some(REFUSED), ..End::because(DeviceCommandState::Rejected, why) };
            return self.end(request.id, None, end).await;
        }
        let model = self.sampler.model();
        let name = model.about().commands.iter().find(|c| c.name == request.name.as_str()).map(|c| c.name);
        let failure = (fault == CommandFault::Fail).then(|| "the plan says that it fails".to_owned());
        let seconds = time.as_secs_f64() * self.speed;
        let reply = model.bench().begin(name.unwrap_or("command"), seconds, failure);
        let started = reply == Reply::Started;
        if started {
            *self.faults.commands.of(fault) += 1;
        }
        self.begin(request.id, reply, Some(Played { fault, then, happened: false })).await?;
        if started && fault == CommandFault::Late {
            self.handle.inject(Fault::Offline(time + self.schedule.late())).await?;
        }
        Ok(())
    }

    /// Tells what a command was answered with.
    async fn begin(
        &mut self,
        id: CommandId,
        reply: Reply,
        played: Option<Played>,
    ) -> Result<(), DeviceError> {
        if !matches!(reply, Reply::Rejected(_)) {
            self.note(&id, Did::Begun);
        }
        if let Some(end) = End::of(reply) {
            return self.end(id, None, end).await;
        }
        let running = Running { id: id.clone(), told_at: Instant::now(), played };
        let told = !running.plays(CommandFault::Mute);
        self.running = Some(running);
        if !told {
            return Ok(());
        }
        let running = CommandUpdate::new(id, DeviceCommandState::Running);
        self.handle.command_update(CommandUpdate { progress: Some(0.0), ..running }).await
    }

    pub(super) async fn tell_progress(&mut self) -> Result<(), DeviceError> {
        if self.running.is_none() {
            return Ok(());
        }
        let progress = self.sampler.model().bench().poll();
        let half_way = match &progress {
            Some(Progress::Running(progress)) => *progress >= 0.5,
            Some(Progress::Done(_)) => true,
            Some(Progress::Failed(_)) | None => false,
        };
        if half_way && self.happen().await? {
            return Ok(());
        }
        match progress {
            Some(Progress::Done(result)) => {
                let then = self.running.as_mut().and_then(|running| running.played.as_mut()?.then.take());
                let end = match then {
                    None => End::done(result),
                    Some((name, args)) => match self.sampler.model().command(name.as_str(), &args) {
                        Reply::Done(result) => End::done(result),
                        Reply::Started => return Ok(()),
                        Reply::Failed(why) | Reply::Rejected(why) => {
                            End::because(DeviceCommandState::Failed, why)
                        }
                    },
                };
                self.finish(end).await
            }
            Some(Progress::Failed(why)) => {
                let played = self.running.as_ref().is_some_and(|running| running.plays(CommandFault::Fail));
                let code = played.then_some(FAILED);
                self.finish(End { code, ..End::because(DeviceCommandState::Failed, why) }).await
            }
            Some(Progress::Running(progress)) => self.on_the_way(progress).await,
            // The device stopped it by itself: a fault, say.
            None => self.stop_work(DeviceCommandState::Failed, "interrupted by a fault").await,
        }
    }

    /// What happens on the way happens, once. Returns whether the device has lost its power.
    async fn happen(&mut self) -> Result<bool, DeviceError> {
        let played = self.running.as_mut().and_then(|running| running.played.as_mut());
        let Some(played) = played.filter(|played| !played.happened) else { return Ok(false) };
        played.happened = true;
        match played.fault {
            CommandFault::Disconnect => self.handle.inject(Fault::Disconnect).await.map(|()| false),
            CommandFault::PowerCut => self.cut_power().await.map(|()| true),
            _ => Ok(false),
        }
    }

    async fn on_the_way(&mut self, progress: f64) -> Result<(), DeviceError> {
        let now = Instant::now();
        let Some(running) = &mut self.running else { return Ok(()) };
        if now - running.told_at < PROGRESS_EVERY || running.plays(CommandFault::Mute) {
            return Ok(());
        }
        running.told_at = now;
        let told = CommandUpdate::new(running.id.clone(), DeviceCommandState::Running);
        self.handle.command_update(CommandUpdate { progress: Some(progress), ..told }).await
    }

    /// The device loses its power: it can say nothing, and forgets what it does not store.
    async fn cut_power(&mut self) -> Result<(), DeviceError> {
        if let Some(running) = self.running.take() {
            self.note(&running.id, Did::Cut);
        }
        self.held.clear();
        self.again.clear();
        self.start_model();
        self.off = true;
        self.handle.inject(Fault::PowerCut(new_epoch()?)).await
    }

    /// Ends the running command before its time, if there is one.
    pub(super) async fn stop_work(
        &mut self,
        state: DeviceCommandState,
        why: &str,
    ) -> Result<(), DeviceError> {
        self.finish(End::because(state, why.to_owned())).await
    }

    /// Ends the running command, if there is one.
    async fn finish(&mut self, end: End) -> Result<(), DeviceError> {
        match self.running.take() {
            Some(running) => self.end(running.id, running.played, end).await,
            None => Ok(()),
        }
    }

    /// Writes down how a command ended, then tells it, or does not.
    async fn end(&mut self, id: CommandId, played: Option<Played>, end: End) -> Result<(), DeviceError> {
        match end.state {
            DeviceCommandState::Succeeded => self.note(&id, Did::Done),
            DeviceCommandState::Failed => self.note(&id, Did::Failed),
            DeviceCommandState::Rejected => self.note(&id, Did::Refused),
            DeviceCommandState::Cancelled => self.note(&id, Did::Stopped),
            DeviceCommandState::Received | DeviceCommandState::Running | DeviceCommandState::Unresolved => {}
        }
        let fault = played.map(|played| played.fault);
        let state = end.state;
        self.tally.count(|counts| match state {
            _ if fault == Some(CommandFault::Mute) => counts.untold += 1,
            DeviceCommandState::Succeeded => counts.succeeded += 1,
            DeviceCommandState::Failed => counts.failed += 1,
            DeviceCommandState::Rejected => counts.rejected += 1,
            DeviceCommandState::Cancelled => counts.cancelled += 1,
            DeviceCommandState::Unresolved => counts.unresolved += 1,
            DeviceCommandState::Received | DeviceCommandState::Running => {}
        });
        let update = end.update(id.clone());
        match fault {
            Some(CommandFault::Mute) => Ok(()),
            Some(CommandFault::Overdue) => {
                self.held.push((Instant::now() + self.schedule.late(), update));
                Ok(())
            }
            Some(CommandFault::Twice) => {
                self.again.push(id);
                self.handle.command_update(update).await
            }
            _ => self.handle.command_update(update).await,
        }
    }

    /// Says what was held back until `now`, or all of it, and says again what is to be said twice.
    pub(super) async fn say_held(&mut self, now: Option<Instant>) -> Result<(), DeviceError> {
        for id in std::mem::take(&mut self.again) {
            self.handle.inject(Fault::Repeat(id)).await?;
        }
        let is_due = |(at, _): &mut (Instant, CommandUpdate)| now.is_none_or(|now| *at <= now);
        let due: Vec<CommandUpdate> = self.held.extract_if(.., is_due).map(|(_, update)| update).collect();
        for update in due {
            self.handle.command_update(update).await?;
        }
        Ok(())
    }

    fn note(&self, id: &CommandId, did: Did) {
        self.tally.deeds.note(&Deed {
            at: self.clock.now(),
            device: self.id.clone(),
            command: id.clone(),
            did,
        });
    }
}
