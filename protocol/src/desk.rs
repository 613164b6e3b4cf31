//! The hub's side of the commands of one device: what is handed over when, and what becomes of each (I-14).
//!
//! Pure: time is an argument, and what is to be done comes out as [`Step`]s. Whoever drives it stores every
//! [`Step::Changed`] before it takes any step of the same call to the outside; where that fails, it goes back to a clone.
//!
//! Every command ends: one that was never handed over expires, and one that was is `unresolved` when its device has had its
//! time to answer ([`Timing`]).

use std::sync::Arc;

use crate::command::{CommandState, Delivery, code};
use crate::device::{Cancel, CommandRequest, CommandUpdate};
use crate::limits;
use crate::name::{CommandId, MetricName};
use crate::time::Timestamp;
use crate::viewer::{CancelAsked, CommandInfo, Transition};

/// How long is waited for what, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For the first word of a connected device; then the command is `unknown`.
    pub answer: i64,
    /// For a device that is away, or has not said a word, to answer for a command; then it is `unresolved`.
    pub settle: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: i64::from(limits::COMMAND_ANSWER_SECONDS) * 1_000_000,
            settle: i64::from(limits::COMMAND_SETTLE_SECONDS) * 1_000_000,
        }
    }
}

/// Time that devices have at least to come back after the hub was started, in microseconds: 10 minutes.
const RETURN_AFTER_START: i64 = 600 * 1_000_000;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The command is so now: store it, then tell.
    Changed(Arc<CommandInfo>),
    /// Hand this to the device.
    Deliver(Box<CommandRequest>),
    /// Ask the device to stop this.
    Stop(Cancel),
}

/// Who did something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The name: of a credential, a device, or `hub`.
    pub by: String,
    /// The address of its connection.
    pub address: Option<String>,
}

impl Actor {
    fn hub() -> Self {
        Self { by: "hub".into(), address: None }
    }
}

/// Why something cannot be done with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It has ended, or it is not this device's, or there is none.
    NotOpen,
    /// The state that it is in cannot become this one.
    WrongState {
        /// What it is.
        from: CommandState,
        /// What it cannot become.
        to: CommandState,
    },
}

#[derive(Debug, Clone)]
struct Open {
    info: Arc<CommandInfo>,
    /// How long a connected device may be silent about it once it has it, in microseconds.
    patience: i64,
    /// When something last happened from which the present wait of a connected device counts.
    since: Timestamp,
    /// When it last entered a state, or the device last said a word about it. A device that comes and goes does not move it.
    heard: Timestamp,
}

/// Why a command enters a state.
struct Why {
    code: Option<MetricName>,
    error: Option<String>,
}

impl Why {
    const NOTHING: Self = Self { code: None, error: None };

    fn because(code: &str, error: &str) -> Self {
        // The codes of this crate are names; a test sees to it.
        Self { code: MetricName::new(code).ok(), error: Some(error.to_owned()) }
    }
}

impl Open {
    fn enter(&mut self, state: CommandState, at: Timestamp, actor: &Actor, why: Why) {
        let info = Arc::make_mut(&mut self.info);
        info.state = state;
        info.code = why.code;
        info.error = why.error;
        let (by, address) = (actor.by.clone(), actor.address.clone());
        info.transitions.push(Transition { state, at, by, address });
        (self.since, self.heard) = (at, at);
    }

    fn changed(&self) -> Step {
        Step::Changed(Arc::clone(&self.info))
    }

    fn sent_at(&self) -> Option<Timestamp> {
        self.info.transitions.iter().find(|t| t.state == CommandState::Sent).map(|t| t.at)
    }

    fn request(&self) -> Step {
        Step::Deliver(Box::new(CommandRequest {
            id: self.info.id.clone(),
            name: self.info.name.clone(),
            args: self.info.args.clone(),
            attempt: self.info.attempt,
            expires_at: self.info.expires_at,
            sent_at: self.sent_at(),
        }))
    }

    fn stop(&self) -> Step {
        Step::Stop(Cancel { id: self.info.id.clone(), sent_at: self.sent_at() })
    }
}

/// The open commands of one device, in the order of issue.
#[derive(Debug, Clone)]
pub struct Desk {
    timing: Timing,
    open: Vec<Open>,
    connected: bool,
}

impl Desk {
    /// A device without commands that is not connected.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, open: Vec::new(), connected: false }
    }

    /// After a start of the hub: takes back a command that was open when it stopped, in the order of issue.
    pub fn restore(&mut self, info: CommandInfo, patience: i64, now: Timestamp, steps: &mut Vec<Step>) {
        let last = info.transitions.last().map_or(now, |t| t.at);
        // Whatever the clock did, and however long the hub was away: its device gets time to come back.
        let heard = last.min(now).max(now.plus_micros(RETURN_AFTER_START - self.timing.settle));
        let mut open = Open { info: Arc::new(info), patience, since: now, heard };
        if open.info.state == CommandState::Sent {
            let why = Why::because(code::HUB_RESTARTED, "the hub stopped before an answer");
            open.enter(CommandState::Unknown, now, &Actor::hub(), why);
            steps.push(open.changed());
        }
        self.open.push(open);
    }

    /// How many commands have not ended.
    pub const fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether every command has ended.
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// An open command.
    pub fn get(&self, id: &CommandId) -> Option<&Arc<CommandInfo>> {
        self.open.iter().find(|open| open.info.id == *id).map(|open| &open.info)
    }

    /// The ids of the open commands, in the order of issue.
    pub fn ids(&self) -> impl Iterator<Item = &CommandId> {
        self.open.iter().map(|open| &open.info.id)
    }

    /// Takes in a new command, which is `queued`. `patience` is how long the device may be silent about it once it has it,
    /// in microseconds.
    pub fn issue(&mut self, info: CommandInfo, patience: i64, now: Timestamp, steps: &mut Vec<Step>) {
        let open = Open { info: Arc::new(info), patience, since: now, heard: now };
        steps.push(open.changed());
        self.open.push(open);
        self.deliver(now, steps);
    }

    /// The device is connected: everything that is out is handed over again, then what waits.
    pub fn connected(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        self.disconnected(now, steps);
        self.connected = true;
        for open in self.open.iter_mut().filter(|open| open.info.state.is_out()) {
            open.since = now;
            if open.info.cancel.is_some() {
                steps.push(open.stop());
            } else {
                let info = Arc::make_mut(&mut open.info);
                info.attempt = info.attempt.saturating_add(1);
                steps.push(open.changed());
                steps.push(open.request());
            }
        }
        self.deliver(now, steps);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        if !self.connected {
            return;
        }
        self.connected = false;
        for open in self.open.iter_mut().filter(|open| open.info.state.is_out()) {
            open.since = now;
            lose(open, now, steps);
        }
    }

    /// A [`Step::Deliver`] could not be taken to the device's connection.
    pub fn undelivered(&mut self, id: &CommandId, now: Timestamp, steps: &mut Vec<Step>) {
        if let Some(open) = self.open.iter_mut().find(|open| open.info.id == *id) {
            lose(open, now, steps);
        }
    }

    /// The device said what became of a command.
    pub fn update(
        &mut self,
        update: CommandUpdate,
        actor: &Actor,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<(), Refused> {
        let open = self.open.iter_mut().find(|open| open.info.id == update.id).ok_or(Refused::NotOpen)?;
        let (from, to) = (open.info.state, CommandState::from(update.state));
        if from == CommandState::Queued || (from != to && !from.may_become(to)) {
            return Err(Refused::WrongState { from, to });
        }
        (open.since, open.heard) = (now, now);
        let CommandUpdate { progress, result, error, code, .. } = update;
        let news = from != to
            || (progress.is_some() && progress != open.info.progress)
            || (result.is_some() && result != open.info.result)
            || (error.is_some() && error != open.info.error)
            || (code.is_some() && code != open.info.code);
        if !news {
            return Ok(());
        }
        if from != to {
            open.enter(to, now, actor, Why::NOTHING);
        }
        let info = Arc::make_mut(&mut open.info);
        info.progress = progress.or(info.progress);
        info.result = result.or(info.result.take());
        info.error = error.or(info.error.take());
        info.code = code.or(info.code.take());
        steps.push(open.changed());
        self.drop_ended();
        self.deliver(now, steps);
        Ok(())
    }

    /// Takes a command back: at once if it is not out, else the device is asked, now or when it comes back.
    pub fn cancel(
        &mut self,
        id: &CommandId,
        actor: &Actor,
        now: Timestamp,
        steps: &mut Vec<Step>,
    ) -> Result<Arc<CommandInfo>, Refused> {
        let open = self.open.iter_mut().find(|open| open.info.id == *id).ok_or(Refused::NotOpen)?;
        if open.info.state == CommandState::Queued {
            open.enter(CommandState::Cancelled, now, actor, Why::NOTHING);
            steps.push(open.changed());
        } else {
            if open.info.cancel.is_none() {
                let (by, address) = (actor.by.clone(), actor.address.clone());
                Arc::make_mut(&mut open.info).cancel = Some(Box::new(CancelAsked { at: now, by, address }));
                steps.push(open.changed());
            }
            if self.connected {
                steps.push(open.stop());
            }
        }
        let info = Arc::clone(&open.info);
        self.drop_ended();
        self.deliver(now, steps);
        Ok(info)
    }

    /// Does what is due by now.
    pub fn poll(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let Self { timing, connected, .. } = *self;
        for open in &mut self.open {
            if open.info.state == CommandState::Queued || deadline(open, timing, connected) > now {
                continue;
            }
            let (state, why) = match open.info.state {
                CommandState::Sent => (
                    CommandState::Unknown,
                    Why::because(code::NO_ANSWER, "the device is connected and has not answered"),
                ),
                CommandState::Received | CommandState::Running if connected => (
                    CommandState::Unresolved,
                    Why::because(
                        code::TIMEOUT,
                        "the device has said nothing more for longer than the command may take",
                    ),
                ),
                _ => (
                    CommandState::Unresolved,
                    Why::because(
                        code::NEVER_ANSWERED,
                        "the device had its time and did not say how it ended",
                    ),
                ),
            };
            open.enter(state, now, &Actor::hub(), why);
            steps.push(open.changed());
        }
        self.drop_ended();
        self.deliver(now, steps);
    }

    /// When [`Desk::poll`] has something to do next.
    pub fn due(&self) -> Option<Timestamp> {
        self.open.iter().map(|open| deadline(open, self.timing, self.connected)).min()
    }

    /// Expires what has waited too long, and hands over what may go: never one that has expired, never one before another
    /// that was issued earlier.
    fn deliver(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let (mut may_go, mut all_received, mut all_ended) = (self.connected, true, true);
        for open in &mut self.open {
            if open.info.state == CommandState::Queued {
                if open.info.expires_at <= now {
                    let why = Why::because(code::EXPIRED, "its time ran out before it was delivered");
                    open.enter(CommandState::Expired, now, &Actor::hub(), why);
                    steps.push(open.changed());
                    continue;
                }
                may_go &= match open.info.delivery {
                    Delivery::AtOnce => true,
                    Delivery::AfterReceived => all_received,
                    Delivery::AfterFinished => all_ended,
                };
                if may_go {
                    Arc::make_mut(&mut open.info).attempt = 1;
                    open.enter(CommandState::Sent, now, &Actor::hub(), Why::NOTHING);
                    steps.push(open.changed());
                    steps.push(open.request());
                }
            }
            all_received &= matches!(open.info.state, CommandState::Received | CommandState::Running);
            all_ended = false;
        }
        self.drop_ended();
    }

    fn drop_ended(&mut self) {
        self.open.retain(|open| !open.info.state.is_final());
    }
}

/// What a command has become whose device says it when nobody waits any more: `None`, if its end was known.
pub fn answered_late(
    info: &CommandInfo,
    update: CommandUpdate,
    actor: &Actor,
    now: Timestamp,
) -> Option<CommandInfo> {
    let to = CommandState::from(update.state);
    if !(info.state.is_final() && info.state.may_become(to)) {
        return None;
    }
    let (by, address) = (actor.by.clone(), actor.address.clone());
    let mut info = info.clone();
    info.state = to;
    info.transitions.push(Transition { state: to, at: now, by, address });
    info.progress = update.progress.or(info.progress);
    info.result = update.result.or(info.result);
    (info.error, info.code) = (update.error, update.code);
    Some(info)
}

/// What was sent and not answered is unknown from now on.
fn lose(open: &mut Open, now: Timestamp, steps: &mut Vec<Step>) {
    if open.info.state == CommandState::Sent {
        let why = Why::because(code::DISCONNECTED, "the connection was lost before an answer");
        open.enter(CommandState::Unknown, now, &Actor::hub(), why);
        steps.push(open.changed());
    }
}

/// When the present wait for a command is over.
fn deadline(open: &Open, timing: Timing, connected: bool) -> Timestamp {
    let settled = open.heard.plus_micros(timing.settle);
    match open.info.state {
        CommandState::Queued => open.info.expires_at,
        CommandState::Sent => open.since.plus_micros(timing.answer),
        // A device that comes and goes begins the wait anew each time, but not for ever.
        CommandState::Received | CommandState::Running => {
            let settled = settled.plus_micros(open.patience);
            if connected { settled.min(open.since.plus_micros(open.patience)) } else { settled }
        }
        _ => settled,
    }
}
