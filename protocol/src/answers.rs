//! The device's side of commands: remembers what was answered for each, so that none runs twice and no answer is lost.
//!
//! An answer is written as soon as there is a connection. It counts as arrived when the hub has answered a ping that
//! was written after it; until then each new connection repeats it.
//!
//! The memory is bounded, and knows how far back it reaches: a command that was first delivered before that may have been
//! begun, so that it is answered with `unresolved` and not done. A device with storage keeps what [`Answers::unsaved`] gives
//! it, before it starts a command and before it tells its end, and begins with [`Answers::restore`].

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::command::{DeviceCommandState, code};
use crate::device::{Cancel, CommandRequest, CommandUpdate};
use crate::limits::COMMANDS_REMEMBERED_MAX;
use crate::name::{CommandId, MetricName};
use crate::time::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Queued,
    /// Written before the ping of this number.
    Written {
        before_ping: u64,
    },
    Arrived,
}

#[derive(Debug, Clone)]
struct Answer {
    update: CommandUpdate,
    sent_at: Option<Timestamp>,
    sending: Sending,
}

/// What to do with a command that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is new, and is answered with `received`: hand it to the device.
    New,
    /// It was here before: its last answer is repeated, and nothing else happens.
    Known,
    /// It must not be started any more, and is answered so.
    Refused,
}

/// What a device keeps of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The answer.
    pub update: CommandUpdate,
    /// When the command was first delivered, by the hub's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

/// The last answer for each command.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    known: HashMap<CommandId, Answer>,
    /// All ids, oldest first.
    order: VecDeque<CommandId>,
    /// Those to be written, in order.
    queue: VecDeque<CommandId>,
    /// Every command first delivered at this time or later, by the hub's clock, is remembered.
    known_since: Option<Timestamp>,
    unsaved: Vec<Record>,
}

impl Answers {
    /// What a device with storage has kept: `known_since` and the records, oldest first. A command that had not ended was
    /// interrupted, and nobody can say how far it came.
    pub fn restore(known_since: Option<Timestamp>, records: Vec<Record>) -> Self {
        let mut answers = Self { known_since, ..Self::default() };
        for Record { update, sent_at } in records {
            let id = update.id.clone();
            if !answers.known.contains_key(&id) {
                answers.make_room();
                answers.order.push_back(id.clone());
            }
            answers.known.insert(id, Answer { update, sent_at, sending: Sending::Arrived });
        }
        let open = |answer: &&Answer| !answer.update.state.is_final();
        let interrupted: Vec<CommandId> =
            answers.known.values().filter(open).map(|answer| answer.update.id.clone()).collect();
        for id in interrupted {
            answers.set(because(
                id,
                DeviceCommandState::Unresolved,
                code::INTERRUPTED,
                "the device was switched off while it did it",
            ));
        }
        answers
    }

    /// How far back the memory reaches, by the hub's clock; `None` before the first connection of all.
    pub const fn known_since(&self) -> Option<Timestamp> {
        self.known_since
    }

    /// Everything that is remembered, oldest first: for a device that writes its storage anew.
    pub fn records(&self) -> Vec<Record> {
        let record = |id| self.known.get(id).map(|a| Record { update: a.update.clone(), sent_at: a.sent_at });
        self.order.iter().filter_map(record).collect()
    }

    /// What came to be remembered since this was last called.
    pub fn unsaved(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unsaved)
    }

    /// A command arrived. `hub_now` is the time by the hub's clock, as far as the device can tell.
    pub fn on_command(&mut self, request: &CommandRequest, hub_now: Option<Timestamp>) -> Arrival {
        if self.known.contains_key(&request.id) {
            self.repeat(&request.id);
            return Arrival::Known;
        }
        let id = request.id.clone();
        if request.attempt > 1 && !self.reaches(request.sent_at) {
            self.remember(forgotten(id), request.sent_at);
            return Arrival::Refused;
        }
        if hub_now.is_some_and(|now| now >= request.expires_at) {
            let error = "its time ran out before it reached the device";
            let update = because(id, DeviceCommandState::Rejected, code::EXPIRED, error);
            self.remember(update, request.sent_at);
            return Arrival::Refused;
        }
        self.remember(CommandUpdate::new(id, DeviceCommandState::Received), request.sent_at);
        Arrival::New
    }

    /// A cancellation arrived. Returns whether the device must be asked to stop.
    pub fn on_cancel(&mut self, cancel: &Cancel) -> bool {
        let id = &cancel.id;
        match self.known.get(id).map(|answer| answer.update.state.is_final()) {
            Some(false) => true,
            Some(true) => {
                self.repeat(id);
                false
            }
            None => {
                let update = if self.reaches(cancel.sent_at) {
                    let error = "cancelled before the device had it";
                    because(id.clone(), DeviceCommandState::Cancelled, code::NEVER_RECEIVED, error)
                } else {
                    forgotten(id.clone())
                };
                self.remember(update, cancel.sent_at);
                false
            }
        }
    }

    /// Whether a command that was first delivered at this time would be remembered.
    fn reaches(&self, sent_at: Option<Timestamp>) -> bool {
        matches!((sent_at, self.known_since), (Some(sent), Some(since)) if sent >= since)
    }

    /// Writes the last answer for a command again.
    pub fn repeat(&mut self, id: &CommandId) {
        if let Some(answer) = self.known.get_mut(id)
            && answer.sending != Sending::Queued
        {
            answer.sending = Sending::Queued;
            self.queue.push_back(id.clone());
        }
    }

    fn remember(&mut self, update: CommandUpdate, sent_at: Option<Timestamp>) {
        self.make_room();
        let id = update.id.clone();
        self.unsaved.push(Record { update: update.clone(), sent_at });
        self.order.push_back(id.clone());
        self.queue.push_back(id.clone());
        self.known.insert(id, Answer { update, sent_at, sending: Sending::Queued });
    }

    /// The device says what became of a command. An answer after the last one is left out.
    pub fn set(&mut self, update: CommandUpdate) {
        let id = update.id.clone();
        let Some(answer) = self.known.get_mut(&id) else { return self.remember(update, None) };
        if answer.update.state.is_final() {
            return;
        }
        if update.state.is_final() {
            self.unsaved.push(Record { update: update.clone(), sent_at: answer.sent_at });
        }
        answer.update = update;
        if answer.sending != Sending::Queued {
            answer.sending = Sending::Queued;
            self.queue.push_back(id);
        }
    }

    /// Forgets the oldest command that has ended and whose end has arrived, else the oldest of all.
    fn make_room(&mut self) {
        if self.order.len() < COMMANDS_REMEMBERED_MAX {
            return;
        }
        let done = |id: &CommandId| {
            self.known.get(id).is_none_or(|a| a.update.state.is_final() && a.sending == Sending::Arrived)
        };
        let index = self.order.iter().position(done).unwrap_or(0);
        let Some(id) = self.order.remove(index) else { return };
        self.queue.retain(|queued| *queued != id);
        if let Some(sent_at) = self.known.remove(&id).and_then(|answer| answer.sent_at) {
            self.known_since = self.known_since.max(Some(sent_at.plus_micros(1)));
        }
    }

    /// The next answer to write, on a connection whose next ping has this number.
    pub fn poll(&mut self, next_ping: u64) -> Option<CommandUpdate> {
        while let Some(id) = self.queue.pop_front() {
            if let Some(answer) = self.known.get_mut(&id) {
                answer.sending = Sending::Written { before_ping: next_ping };
                return Some(answer.update.clone());
            }
        }
        None
    }

    /// The hub answered a ping: what was written before it has arrived.
    pub fn on_pong(&mut self, number: u64) {
        for answer in self.known.values_mut() {
            if matches!(answer.sending, Sending::Written { before_ping } if before_ping <= number) {
                answer.sending = Sending::Arrived;
            }
        }
    }

    /// A new connection is up, at this time by the hub's clock: everything that may not have arrived is written again.
    pub fn on_connected(&mut self, hub_now: Timestamp) {
        self.known_since.get_or_insert(hub_now);
        for id in &self.order {
            if let Some(answer) = self.known.get_mut(id)
                && matches!(answer.sending, Sending::Written { .. })
            {
                answer.sending = Sending::Queued;
                self.queue.push_back(id.clone());
            }
        }
    }

    /// Whether every answer is written.
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }
}

/// An answer of the library's own, with its reason.
fn because(id: CommandId, state: DeviceCommandState, code: &str, error: &str) -> CommandUpdate {
    let code = MetricName::new(code).ok();
    CommandUpdate { error: Some(error.to_owned()), code, ..CommandUpdate::new(id, state) }
}

fn forgotten(id: CommandId) -> CommandUpdate {
    because(
        id,
        DeviceCommandState::Unresolved,
        code::FORGOTTEN,
        "it was delivered before, at a time that the device has forgotten: it may have been done",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> CommandRequest {
        CommandRequest {
            id: CommandId::new(id).unwrap(),
            name: MetricName::new("start").unwrap(),
            args: serde_json::Map::new(),
            attempt: 1,
            expires_at: Timestamp(1_000),
            sent_at: Some(Timestamp(10)),
        }
    }

    fn cancel(id: &str, sent_at: i64) -> Cancel {
        Cancel { id: CommandId::new(id).unwrap(), sent_at: Some(Timestamp(sent_at)) }
    }

    fn answer(id: &str, state: DeviceCommandState) -> CommandUpdate {
        CommandUpdate::new(CommandId::new(id).unwrap(), state)
    }

    fn states(answers: &mut Answers, next_ping: u64) -> Vec<DeviceCommandState> {
        std::iter::from_fn(|| answers.poll(next_ping)).map(|u| u.state).collect()
    }

    /// Connected since 5, by the hub's clock.
    fn connected() -> Answers {
        let mut answers = Answers::default();
        answers.on_connected(Timestamp(5));
        answers
    }

    fn arrives(answers: &mut Answers, request: &CommandRequest) -> Arrival {
        answers.on_command(request, Some(Timestamp(20)))
    }

    #[test]
    fn a_command_that_comes_again_gets_its_last_answer_again_and_does_not_run() {
        let mut answers = connected();
        assert_eq!(arrives(&mut answers, &request("a")), Arrival::New);
        answers.set(answer("a", DeviceCommandState::Succeeded));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Succeeded]);
        let again = CommandRequest { attempt: 2, ..request("a") };
        assert_eq!(answers.on_command(&again, Some(Timestamp(5_000))), Arrival::Known);
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Succeeded]);
    }

    #[test]
    fn an_answer_is_repeated_on_the_next_connection_until_a_later_ping_was_answered() {
        let mut answers = connected();
        arrives(&mut answers, &request("a"));
        assert_eq!(states(&mut answers, 1), [DeviceCommandState::Received]);
        answers.on_pong(0);
        answers.on_connected(Timestamp(30));
        assert_eq!(states(&mut answers, 1), [DeviceCommandState::Received], "the ping was before the answer");
        answers.on_pong(1);
        answers.on_connected(Timestamp(40));
        assert_eq!(states(&mut answers, 1), []);
    }

    #[test]
    fn what_has_ended_stays_ended() {
        let mut answers = connected();
        arrives(&mut answers, &request("a"));
        answers.set(answer("a", DeviceCommandState::Cancelled));
        answers.set(answer("a", DeviceCommandState::Succeeded));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
        assert!(!answers.on_cancel(&cancel("a", 10)));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
    }

    #[test]
    fn a_command_cancelled_before_it_came_never_runs() {
        let mut answers = connected();
        assert!(!answers.on_cancel(&cancel("a", 10)));
        assert_eq!(arrives(&mut answers, &request("a")), Arrival::Known);
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
    }

    #[test]
    fn a_command_from_before_the_memory_begins_is_not_done_and_its_end_is_said_to_be_unknown() {
        let mut answers = connected();
        for sent_at in [None, Some(Timestamp(4))] {
            let id = format!("a{}", sent_at.is_some());
            let again = CommandRequest { attempt: 2, sent_at, ..request(&id) };
            assert_eq!(arrives(&mut answers, &again), Arrival::Refused);
        }
        assert!(!answers.on_cancel(&cancel("b", 4)));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Unresolved; 3]);
        let lost_on_the_line = CommandRequest { attempt: 2, ..request("c") };
        assert_eq!(arrives(&mut answers, &lost_on_the_line), Arrival::New);
    }

    #[test]
    fn a_command_whose_time_has_run_out_is_not_done() {
        let mut answers = connected();
        assert_eq!(answers.on_command(&request("a"), Some(Timestamp(1_000))), Arrival::Refused);
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Rejected]);
        assert_eq!(answers.on_command(&request("b"), Some(Timestamp(999))), Arrival::New);
    }

    #[test]
    fn a_device_with_storage_knows_after_a_restart_what_it_did_and_what_was_cut_short() {
        let mut answers = connected();
        for id in ["done", "cut"] {
            arrives(&mut answers, &request(id));
        }
        answers.set(answer("cut", DeviceCommandState::Running));
        answers.set(answer("done", DeviceCommandState::Succeeded));
        let kept = answers.unsaved();
        assert_eq!(kept.len(), 3, "each command before it starts, and each end; not what lies between");
        let mut answers = Answers::restore(answers.known_since(), kept);
        assert_eq!(answers.known_since(), Some(Timestamp(5)));
        assert_eq!(
            states(&mut answers, 0),
            [DeviceCommandState::Unresolved],
            "of the one that was cut short"
        );
        for id in ["done", "cut"] {
            let again = CommandRequest { attempt: 2, ..request(id) };
            assert_eq!(arrives(&mut answers, &again), Arrival::Known);
        }
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Succeeded, DeviceCommandState::Unresolved]);
        assert_eq!(answers.records().len(), 2);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_has_ended_first() {
        let mut answers = connected();
        arrives(&mut answers, &request("running"));
        for i in 0..COMMANDS_REMEMBERED_MAX * 2 {
            let id = format!("c{i}");
            arrives(
                &mut answers,
                &CommandRequest { sent_at: Some(Timestamp(100 + i as i64)), ..request(&id) },
            );
            answers.set(answer(&id, DeviceCommandState::Succeeded));
            states(&mut answers, 0);
            answers.on_pong(0);
        }
        assert_eq!(answers.known.len(), COMMANDS_REMEMBERED_MAX);
        assert_eq!(answers.order.len(), COMMANDS_REMEMBERED_MAX);
        assert_eq!(arrives(&mut answers, &request("running")), Arrival::Known);
        // What was forgotten is not begun again.
        let again = CommandRequest { attempt: 2, sent_at: Some(Timestamp(100)), ..request("c0") };
        assert_eq!(arrives(&mut answers, &again), Arrival::Refused);
    }
}
