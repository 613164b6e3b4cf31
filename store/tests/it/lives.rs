//! The lives of commands, decided by `protocol::desk` and stored by the store, against a simple model of both.
//!
//! Events come in any order: commands, answers that fit and such that do not, connections that come and go, cancellations, a
//! clock that jumps, commits that fail, and hubs that start again. Whatever comes, states only move forward, what has ended
//! stays as it is until a device says late how it ended what is unresolved, each transition is stored with its time and who
//! caused it, what is told is what is stored, and every command ends. `STORE_SEEDS=5000` runs more cases than the usual ones.

use std::collections::BTreeMap;

use protocol::command::{CommandState, Delivery, DeviceCommandState};
use protocol::desk::{Actor, Desk, Step, Timing, answered_late};
use protocol::device::CommandUpdate;
use protocol::viewer::{CommandInfo, Transition};
use protocol::{CommandId, DeviceId, Timestamp};
use serde_json::json;
use store::{CommandFilter, Reader, StoreError, Writer};

use crate::support::{Base, Chance, NOW, register};

const SECOND: i64 = 1_000_000;
/// The patience of a hub in a hurry.
const TIMING: Timing = Timing { answer: 10 * SECOND, settle: 300 * SECOND };
/// The document's table of what may follow what.
const MAY_BECOME: [(CommandState, &[CommandState]); 6] = {
    use CommandState::{
        Cancelled, Expired, Failed, Queued, Received, Rejected, Running, Sent, Succeeded, Unknown, Unresolved,
    };
    [
        (Queued, &[Sent, Expired, Cancelled]),
        (Sent, &[Unknown, Received, Running, Succeeded, Failed, Rejected, Cancelled, Unresolved]),
        (Unknown, &[Received, Running, Succeeded, Failed, Rejected, Cancelled, Unresolved]),
        (Received, &[Running, Succeeded, Failed, Rejected, Cancelled, Unresolved]),
        (Running, &[Succeeded, Failed, Cancelled, Unresolved]),
        (Unresolved, &[Succeeded, Failed, Rejected, Cancelled]),
    ]
};

fn may_become(from: CommandState, to: CommandState) -> bool {
    MAY_BECOME.iter().any(|(state, follows)| *state == from && follows.contains(&to))
}

fn has_ended(command: &CommandInfo) -> bool {
    command.state == CommandState::Unresolved || !MAY_BECOME.iter().any(|(state, _)| *state == command.state)
}

#[test]
fn what_may_follow_what_is_as_the_document_says() {
    for from in CommandState::ALL {
        for to in CommandState::ALL {
            assert_eq!(from.may_become(to), may_become(from, to), "{from} to {to}");
        }
    }
}

/// Who may cause which state.
fn may_cause(state: CommandState, by: &str) -> bool {
    match state {
        CommandState::Queued => by == "operator",
        CommandState::Sent | CommandState::Unknown | CommandState::Expired => by == "hub",
        CommandState::Received
        | CommandState::Running
        | CommandState::Succeeded
        | CommandState::Failed
        | CommandState::Rejected => by == "pump",
        CommandState::Cancelled => by == "operator" || by == "pump",
        CommandState::Unresolved => by == "hub" || by == "pump",
    }
}

/// A hub with one device, as `hub::commands` drives it, and what the world has seen of it.
struct World {
    chance: Chance,
    writer: Writer,
    reader: Reader,
    desk: Desk,
    now: Timestamp,
    connected: bool,
    /// The desk went back to what it was: it may not know whether the device is connected.
    unsettled: bool,
    /// Everything ever told, by id; ids sort in the order of issue.
    told: BTreeMap<String, CommandInfo>,
    /// How often each state was entered.
    entered: BTreeMap<&'static str, u64>,
    failed_commits: u64,
    /// Commands that were unresolved and are not any more.
    resolved: u64,
    /// Commands made so far.
    order: u64,
}

impl World {
    fn actor(by: &str) -> Actor {
        Actor { by: by.into(), address: (by != "hub").then(|| format!("10.0.0.1:{}", by.len())) }
    }

    /// Lets the desk decide something. It is stored, or it did not happen.
    fn touch<T>(&mut self, by: &str, work: impl FnOnce(&mut Desk, Timestamp, &mut Vec<Step>) -> T) -> T {
        let (before, now) = (self.desk.clone(), self.now);
        let mut steps = Vec::new();
        if std::mem::take(&mut self.unsettled) {
            if self.connected {
                self.desk.connected(now, &mut steps);
            } else {
                self.desk.disconnected(now, &mut steps);
            }
            self.desk.poll(now, &mut steps);
        }
        let result = work(&mut self.desk, now, &mut steps);
        if self.save(&steps) {
            self.tell(by, steps);
        } else {
            self.desk = before;
            self.unsettled = true;
        }
        result
    }

    /// Stores how commands are after these steps. Now and then the commit fails, all of it.
    fn save(&mut self, steps: &[Step]) -> bool {
        let mut changed: BTreeMap<&CommandId, &CommandInfo> = BTreeMap::new();
        for step in steps {
            if let Step::Changed(info) = step {
                changed.insert(&info.id, info);
            }
        }
        let mut changed: Vec<&CommandInfo> = changed.into_values().collect();
        if changed.is_empty() || !self.chance.one_in(10) {
            self.writer.save_commands(&[], &changed).unwrap();
            return true;
        }
        self.failed_commits += 1;
        let nobody = self.new_command("nobody", 1, Delivery::AtOnce);
        changed.push(&nobody);
        assert!(matches!(self.writer.save_commands(&[], &changed), Err(StoreError::NotFound("device"))));
        for command in changed {
            let stored = self.reader.command(&command.id).unwrap();
            assert_eq!(stored.as_ref(), self.told.get(command.id.as_str()), "nothing of it is stored");
        }
        false
    }

    fn tell(&mut self, by: &str, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Changed(info) => self.told_so(by, &info),
                Step::Deliver(request) => {
                    let command = &self.told[request.id.as_str()];
                    assert!(self.connected && command.state.is_out(), "delivered: {command:?}");
                    assert!(command.cancel.is_none(), "delivered, though it is to stop: {command:?}");
                    assert_eq!((request.attempt, &request.args), (command.attempt, &command.args));
                    let sent = command.transitions.iter().find(|t| t.state == CommandState::Sent).unwrap();
                    assert_eq!(request.sent_at, Some(sent.at));
                    if request.attempt > 1 {
                        continue;
                    }
                    assert!(self.now < command.expires_at, "delivered after its time: {command:?}");
                    let earlier = self.told.range(..request.id.to_string()).map(|(_, earlier)| earlier);
                    for earlier in earlier.filter(|earlier| !has_ended(earlier)) {
                        let may_go = match command.delivery {
                            Delivery::AtOnce => earlier.state != CommandState::Queued,
                            Delivery::AfterReceived => {
                                matches!(earlier.state, CommandState::Received | CommandState::Running)
                            }
                            Delivery::AfterFinished => false,
                        };
                        assert!(may_go, "{command:?} is delivered before {earlier:?}");
                    }
                }
                Step::Stop(cancel) => {
                    let command = &self.told[cancel.id.as_str()];
                    assert!(self.connected && command.cancel.is_some() && !has_ended(command), "{command:?}");
                }
            }
        }
        // What is told is stored, as it was told, and nothing else is.
        let open: Vec<CommandInfo> = self.told.values().filter(|told| !has_ended(told)).cloned().collect();
        assert_eq!(self.reader.open_commands().unwrap(), open);
        assert!(self.desk.ids().eq(open.iter().map(|command| &command.id)));
        for command in &open {
            assert_eq!(**self.desk.get(&command.id).unwrap(), *command);
        }
    }

    /// A viewer is told that a command is so.
    fn told_so(&mut self, by: &str, info: &CommandInfo) {
        let before = self.told.get(info.id.as_str());
        let known = before.map_or(&[][..], |before| &before.transitions);
        assert!(info.transitions.starts_with(known), "{info:?} was {before:?}");
        assert_eq!(info.transitions.last().unwrap().state, info.state);
        let mut from = before.map(|before| before.state);
        for Transition { state, at, by: who, address } in &info.transitions[known.len()..] {
            match from {
                Some(from) => assert!(may_become(from, *state), "{from} became {state}: {info:?}"),
                None => assert_eq!(*state, CommandState::Queued),
            }
            assert_eq!(*at, self.now);
            assert!((who == by || who == "hub") && may_cause(*state, who), "{state} by {who}: {info:?}");
            assert_eq!(*address, Self::actor(who).address);
            from = Some(*state);
            *self.entered.entry(state.as_str()).or_default() += 1;
        }
        if let Some(before) = before {
            let late = before.state == CommandState::Unresolved && by == "pump";
            assert!(!has_ended(before) || late, "{before:?} has ended, and became {info:?}");
            assert!(info.attempt >= before.attempt);
            assert!(before.cancel.is_none() || info.cancel == before.cancel);
            let issued = CommandInfo {
                state: before.state,
                attempt: before.attempt,
                progress: before.progress,
                result: before.result.clone(),
                error: before.error.clone(),
                code: before.code.clone(),
                cancel: before.cancel.clone(),
                transitions: before.transitions.clone(),
                ..info.clone()
            };
            assert_eq!(issued, *before, "what was issued does not change");
        }
        self.told.insert(info.id.to_string(), info.clone());
    }

    fn new_command(&mut self, device: &str, lifetime: i64, delivery: Delivery) -> CommandInfo {
        let by = Self::actor("operator");
        self.order += 1;
        let id = format!("c{:06}", self.order);
        CommandInfo {
            id: CommandId::new(&id).unwrap(),
            device: DeviceId::new(device).unwrap(),
            name: "reset".parse().unwrap(),
            args: json!({"n": self.chance.below(9) as f64}).as_object().unwrap().clone(),
            state: CommandState::Queued,
            issued_by: by.by.clone(),
            expires_at: self.now.plus_micros(lifetime),
            attempt: 0,
            progress: None,
            result: None,
            error: None,
            code: None,
            delivery,
            forced: false,
            group: None,
            cancel: None,
            transitions: vec![Transition {
                state: CommandState::Queued,
                at: self.now,
                by: by.by,
                address: by.address,
            }],
        }
    }

    /// One of the commands that ever were, or none; mostly one that is out.
    fn any_id(&mut self) -> Option<CommandId> {
        let out: Vec<&CommandInfo> = self.told.values().filter(|command| command.state.is_out()).collect();
        if !out.is_empty() && !self.chance.one_in(3) {
            let place = self.chance.below(out.len() as u64) as usize;
            return out.get(place).map(|command| command.id.clone());
        }
        let recent = (self.told.len() as u64).min(6);
        let place = self.chance.below(recent.max(1)) as usize;
        self.told.values().rev().nth(place).map(|command| command.id.clone())
    }

    fn patience(&mut self) -> i64 {
        (1 + self.chance.below(60) as i64) * SECOND
    }

    fn event(&mut self) {
        // Mostly forward. Two commands never have the same time of issue: the hub sees to that.
        let jump = match self.chance.below(60) {
            0 => -(self.chance.below(3_000) as i64) * SECOND,
            1 => self.chance.below(400) as i64 * SECOND,
            _ => self.chance.below(3_000) as i64 * 1_000,
        };
        self.now = self.now.plus_micros(jump);
        match self.chance.below(20) {
            0..=4 => {
                let delivery = [Delivery::AtOnce, Delivery::AfterReceived, Delivery::AfterFinished]
                    [self.chance.below(3) as usize];
                let lifetime = (1 + self.chance.below(200_000) as i64) * 1_000;
                let (command, patience) = (self.new_command("pump", lifetime, delivery), self.patience());
                self.touch("operator", |desk, now, steps| desk.issue(command, patience, now, steps));
            }
            5..=11 => {
                let Some(id) = self.any_id() else { return };
                let update = self.update(id);
                let actor = Self::actor("pump");
                let asked = CommandState::from(update.state);
                let before = self.told[update.id.as_str()].clone();
                if has_ended(&before) && self.desk.get(&before.id).is_none() {
                    return self.late(&before, update);
                }
                let refused =
                    self.touch("pump", |desk, now, steps| desk.update(update, &actor, now, steps)).is_err();
                // A desk that was put right meanwhile may know more than was told.
                if before.state == CommandState::Queued || has_ended(&before) {
                    let stored = !self.unsettled;
                    assert!(
                        refused || !stored || self.told[before.id.as_str()] != before,
                        "{asked} to {before:?}"
                    );
                }
            }
            12..=14 => {
                self.connected = true;
                self.touch("hub", Desk::connected);
            }
            15 if self.chance.one_in(2) => {
                self.connected = false;
                self.touch("hub", Desk::disconnected);
            }
            16 => {
                let Some(id) = self.any_id() else { return };
                let actor = Self::actor("operator");
                self.touch("operator", |desk, now, steps| desk.cancel(&id, &actor, now, steps)).ok();
            }
            17 => {
                let Some(id) = self.any_id() else { return };
                self.touch("hub", |desk, now, steps| desk.undelivered(&id, now, steps));
            }
            18 if self.chance.one_in(3) => self.restart(),
            _ => self.poll(),
        }
    }

    /// A device speaks of a command for which nobody waits any more.
    fn late(&mut self, before: &CommandInfo, update: CommandUpdate) {
        let to = CommandState::from(update.state);
        let stored = self.writer.command(&before.id).unwrap().unwrap();
        assert_eq!(stored, *before);
        let resolved = answered_late(&stored, update, &Self::actor("pump"), self.now);
        assert_eq!(resolved.is_some(), may_become(before.state, to), "{to} after {before:?}");
        if let Some(resolved) = resolved {
            self.writer.save_commands(&[], &[&resolved]).unwrap();
            self.resolved += 1;
            self.tell("pump", vec![Step::Changed(resolved.into())]);
        }
    }

    fn update(&mut self, id: CommandId) -> CommandUpdate {
        use DeviceCommandState as S;
        let states = [
            S::Received,
            S::Running,
            S::Running,
            S::Succeeded,
            S::Failed,
            S::Rejected,
            S::Cancelled,
            S::Unresolved,
        ];
        let mut update = CommandUpdate::new(id, states[self.chance.below(8) as usize]);
        match update.state {
            S::Received => {}
            S::Running => update.progress = Some(self.chance.below(5) as f64 / 4.0),
            S::Succeeded => update.result = Some(json!({"n": self.chance.below(3)})),
            _ => {
                update.error = Some("no oil".into());
                update.code = Some("dry".parse().unwrap());
            }
        }
        update
    }

    fn poll(&mut self) {
        self.touch("hub", Desk::poll);
        if !self.unsettled {
            assert!(self.desk.due().is_none_or(|due| due > self.now), "what is due was done");
        }
    }

    /// The hub is killed and started again.
    fn restart(&mut self) {
        self.connected = false;
        let open = self.writer.open_commands().unwrap();
        loop {
            self.unsettled = false;
            self.desk = Desk::new(TIMING);
            let patience = self.patience();
            let open = open.clone();
            self.touch("hub", |desk, now, steps| {
                for command in open {
                    desk.restore(command, patience, now, steps);
                }
            });
            if !self.unsettled {
                return;
            }
        }
    }

    /// Time goes on, and the device never comes back.
    fn end(&mut self) {
        self.connected = false;
        self.touch("hub", Desk::disconnected);
        for _ in 0..10_000 {
            let Some(due) = self.desk.due() else { break };
            self.now = self.now.max(due);
            self.poll();
        }
        assert!(self.desk.is_empty(), "not every command ends: {:?}", self.told);
        let mut stored = self.reader.commands(&CommandFilter::default(), usize::MAX).unwrap();
        stored.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(stored, self.told.values().cloned().collect::<Vec<_>>());
        // What has ended does not change any more, whoever says so; but what is unresolved may become known, once.
        for told in self.told.values() {
            let mut known = false;
            for state in CommandState::ALL {
                let mut more = told.clone();
                let by = "pump".to_owned();
                more.transitions.push(Transition { state, at: self.now, by, address: None });
                more.state = state;
                let may = may_become(told.state, state) && !known;
                let saved = self.writer.save_commands(&[], &[&more]).is_ok();
                assert_eq!(saved, may, "{} to {state}", told.state);
                known |= saved;
            }
        }
    }
}

fn run(seed: u64, events: u64) -> (BTreeMap<&'static str, u64>, u64, u64) {
    let base = Base::in_memory();
    let mut writer = base.writer();
    register(&mut writer, "pump");
    let mut world = World {
        chance: Chance(seed),
        reader: base.reader(),
        writer,
        desk: Desk::new(TIMING),
        now: NOW,
        connected: false,
        unsettled: false,
        told: BTreeMap::new(),
        entered: BTreeMap::new(),
        failed_commits: 0,
        resolved: 0,
        order: 0,
    };
    for _ in 0..events {
        world.event();
    }
    world.end();
    (world.entered, world.failed_commits, world.resolved)
}

#[test]
fn i_14_whatever_happens_lives_move_forward_are_stored_as_told_and_end() {
    let seeds = std::env::var("STORE_SEEDS").map_or(120, |seeds| seeds.parse().unwrap());
    let (mut entered, mut failed, mut resolved) = (BTreeMap::new(), 0, 0);
    for seed in 0..seeds {
        match std::panic::catch_unwind(|| run(seed, 120)) {
            Ok((states, commits, late)) => {
                for (state, count) in states {
                    *entered.entry(state).or_insert(0) += count;
                }
                failed += commits;
                resolved += late;
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().map_or("see above", String::as_str);
                panic!("seed {seed}: {message}");
            }
        }
    }
    println!("{entered:?}, {failed} commits failed, {resolved} ends came late");
    for state in CommandState::ALL {
        assert!(entered.contains_key(state.as_str()), "no command was ever {state}: {entered:?}");
    }
    assert!(failed > 0 && resolved > 0);
}
