//! Remembers what was answered for each command, so that none runs twice and no answer is lost with a connection.
//!
//! An answer is written as soon as there is a connection. It counts as arrived when the hub has answered a ping that
//! was written after it; until then each new connection repeats it.

use std::collections::{HashMap, VecDeque};

use protocol::command::DeviceCommandState;
use protocol::device::{CommandRequest, CommandUpdate};
use protocol::name::CommandId;

/// Most commands remembered. Chosen: four times what a hub keeps open for one device.
const REMEMBERED_MAX: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Queued,
    /// Written before the ping of this number.
    Written {
        before_ping: u64,
    },
    Arrived,
}

#[derive(Debug)]
struct Answer {
    update: CommandUpdate,
    delivery: Delivery,
    /// It was delivered before and we have forgotten it: it may have been begun then, so that it cannot be refused
    /// any more, only fail.
    maybe_begun: bool,
}

/// What to do with a command that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It is new, and is answered with `received`: hand it to the device.
    New,
    /// It was here before: its last answer is repeated, and nothing else happens.
    Known,
}

/// The last answer for each command.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<CommandId, Answer>,
    /// All ids, oldest first.
    order: VecDeque<CommandId>,
    /// Those to be written, in order.
    queue: VecDeque<CommandId>,
}

impl Answers {
    /// A command arrived.
    pub(super) fn on_command(&mut self, request: &CommandRequest) -> Arrival {
        if self.known.contains_key(&request.id) {
            self.repeat(&request.id);
            return Arrival::Known;
        }
        self.set(update(request.id.clone(), DeviceCommandState::Received, None));
        if let Some(answer) = self.known.get_mut(&request.id) {
            answer.maybe_begun = request.attempt > 1;
        }
        Arrival::New
    }

    /// A cancellation arrived. Returns whether the device must be asked to stop.
    pub(super) fn on_cancel(&mut self, id: &CommandId) -> bool {
        match self.known.get(id).map(|answer| is_final(answer.update.state)) {
            Some(false) => true,
            Some(true) => {
                self.repeat(id);
                false
            }
            None => {
                let error = Some("cancelled before it was delivered".to_owned());
                self.set(update(id.clone(), DeviceCommandState::Cancelled, error));
                false
            }
        }
    }

    fn repeat(&mut self, id: &CommandId) {
        if let Some(answer) = self.known.get_mut(id)
            && answer.delivery != Delivery::Queued
        {
            answer.delivery = Delivery::Queued;
            self.queue.push_back(id.clone());
        }
    }

    /// The device says what became of a command. An answer after the last one is left out.
    pub(super) fn set(&mut self, mut update: CommandUpdate) {
        let id = update.id.clone();
        match self.known.get_mut(&id) {
            Some(answer) if is_final(answer.update.state) => return,
            Some(answer) => {
                if answer.maybe_begun && update.state == DeviceCommandState::Rejected {
                    update.state = DeviceCommandState::Failed;
                }
                answer.update = update;
                if answer.delivery == Delivery::Queued {
                    return;
                }
                answer.delivery = Delivery::Queued;
            }
            None => {
                self.make_room();
                self.order.push_back(id.clone());
                self.known
                    .insert(id.clone(), Answer { update, delivery: Delivery::Queued, maybe_begun: false });
            }
        }
        self.queue.push_back(id);
    }

    /// Forgets the oldest command that has ended and whose end has arrived, else the oldest of all.
    fn make_room(&mut self) {
        if self.order.len() < REMEMBERED_MAX {
            return;
        }
        let done = |id: &CommandId| {
            self.known.get(id).is_none_or(|a| is_final(a.update.state) && a.delivery == Delivery::Arrived)
        };
        let index = self.order.iter().position(done).unwrap_or(0);
        if let Some(id) = self.order.remove(index) {
            self.known.remove(&id);
            self.queue.retain(|queued| *queued != id);
        }
    }

    /// The next answer to write, on a connection whose next ping has this number.
    pub(super) fn poll(&mut self, next_ping: u64) -> Option<CommandUpdate> {
        while let Some(id) = self.queue.pop_front() {
            if let Some(answer) = self.known.get_mut(&id) {
                answer.delivery = Delivery::Written { before_ping: next_ping };
                return Some(answer.update.clone());
            }
        }
        None
    }

    /// The hub answered a ping: what was written before it has arrived.
    pub(super) fn on_pong(&mut self, number: u64) {
        for answer in self.known.values_mut() {
            if matches!(answer.delivery, Delivery::Written { before_ping } if before_ping <= number) {
                answer.delivery = Delivery::Arrived;
            }
        }
    }

    /// A new connection is up: everything that may not have arrived is written again.
    pub(super) fn on_connected(&mut self) {
        for id in &self.order {
            if let Some(answer) = self.known.get_mut(id)
                && matches!(answer.delivery, Delivery::Written { .. })
            {
                answer.delivery = Delivery::Queued;
                self.queue.push_back(id.clone());
            }
        }
    }

    /// Whether every answer is written.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_empty()
    }
}

/// An answer without progress or result.
pub(super) const fn update(id: CommandId, state: DeviceCommandState, error: Option<String>) -> CommandUpdate {
    CommandUpdate { id, state, progress: None, result: None, error }
}

const fn is_final(state: DeviceCommandState) -> bool {
    match state {
        DeviceCommandState::Received | DeviceCommandState::Running => false,
        DeviceCommandState::Succeeded
        | DeviceCommandState::Failed
        | DeviceCommandState::Rejected
        | DeviceCommandState::Cancelled => true,
    }
}

#[cfg(test)]
mod tests {
    use protocol::Timestamp;
    use protocol::name::MetricName;

    use super::*;

    fn request(id: &str) -> CommandRequest {
        CommandRequest {
            id: CommandId::new(id).unwrap(),
            name: MetricName::new("start").unwrap(),
            args: serde_json::Map::new(),
            attempt: 1,
            expires_at: Timestamp(0),
        }
    }

    fn answer(id: &str, state: DeviceCommandState) -> CommandUpdate {
        update(CommandId::new(id).unwrap(), state, None)
    }

    fn states(answers: &mut Answers, next_ping: u64) -> Vec<DeviceCommandState> {
        std::iter::from_fn(|| answers.poll(next_ping)).map(|u| u.state).collect()
    }

    #[test]
    fn a_command_that_comes_again_gets_its_last_answer_again_and_does_not_run() {
        let mut answers = Answers::default();
        assert_eq!(answers.on_command(&request("a")), Arrival::New);
        answers.set(answer("a", DeviceCommandState::Succeeded));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Succeeded]);
        assert_eq!(answers.on_command(&request("a")), Arrival::Known);
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Succeeded]);
    }

    #[test]
    fn an_answer_is_repeated_on_the_next_connection_until_a_later_ping_was_answered() {
        let mut answers = Answers::default();
        answers.on_command(&request("a"));
        assert_eq!(states(&mut answers, 1), [DeviceCommandState::Received]);
        answers.on_pong(0);
        answers.on_connected();
        assert_eq!(states(&mut answers, 1), [DeviceCommandState::Received], "the ping was before the answer");
        answers.on_pong(1);
        answers.on_connected();
        assert_eq!(states(&mut answers, 1), []);
    }

    #[test]
    fn what_has_ended_stays_ended() {
        let mut answers = Answers::default();
        answers.on_command(&request("a"));
        answers.set(answer("a", DeviceCommandState::Cancelled));
        answers.set(answer("a", DeviceCommandState::Succeeded));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
        assert!(!answers.on_cancel(&CommandId::new("a").unwrap()));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
    }

    #[test]
    fn a_command_cancelled_before_it_came_never_runs() {
        let mut answers = Answers::default();
        assert!(!answers.on_cancel(&CommandId::new("a").unwrap()));
        assert_eq!(answers.on_command(&request("a")), Arrival::Known);
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Cancelled]);
    }

    #[test]
    fn a_command_that_may_have_been_begun_before_fails_instead_of_being_rejected() {
        let mut answers = Answers::default();
        answers.on_command(&CommandRequest { attempt: 2, ..request("a") });
        answers.set(answer("a", DeviceCommandState::Rejected));
        assert_eq!(states(&mut answers, 0), [DeviceCommandState::Failed]);
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_what_has_ended_first() {
        let mut answers = Answers::default();
        answers.on_command(&request("running"));
        for i in 0..REMEMBERED_MAX * 2 {
            let id = format!("c{i}");
            answers.on_command(&request(&id));
            answers.set(answer(&id, DeviceCommandState::Succeeded));
            states(&mut answers, 0);
            answers.on_pong(0);
        }
        assert_eq!(answers.known.len(), REMEMBERED_MAX);
        assert_eq!(answers.order.len(), REMEMBERED_MAX);
        assert_eq!(answers.on_command(&request("running")), Arrival::Known);
    }
}
