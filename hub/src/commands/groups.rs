//! Groups inside the task of commands: they are stored with the commands that they begin, and told not too often.
//!
//! What is next for a group is decided by `protocol::group::Roll`, which moves only by what is stored: a decision that could
//! not be stored is simply made again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use protocol::command::CommandState;
use protocol::desk::Actor;
use protocol::group::{Decision, MemberState, Roll, Tally};
use protocol::viewer::{CommandInfo, GroupInfo, GroupRequest, GroupStopped, SendCommand};
use protocol::{DeviceId, ErrorCode, GroupId};
use store::{GroupChange, OpenGroup};
use tokio::time::Instant;

use super::{Answer, Event, Reply, Task, Told, error};
use crate::clock;
use crate::limits::Limit;

/// Members of a group that are begun in one transaction; between two of them everyone else has a turn.
const TURN: usize = 256;
/// Time between two messages that tell of the same group.
const TELL: Duration = Duration::from_millis(100);

/// Whom a group is for, in the order of their turns; with each that gets no command stands why.
pub(crate) type Chosen = Vec<(DeviceId, Option<String>)>;

/// A group that was checked and whose members are chosen.
pub(crate) struct NewGroup {
    pub(crate) request: GroupRequest,
    pub(crate) retry_of: Option<GroupId>,
    pub(crate) members: Chosen,
}

struct Open {
    roll: Roll,
    /// Whether it has changed since it was told.
    news: bool,
    told: Option<Instant>,
}

/// The groups that have not ended.
#[derive(Default)]
pub(super) struct Groups {
    open: HashMap<GroupId, Open>,
    /// Those for which something may have to be decided.
    restless: BTreeSet<GroupId>,
}

impl Groups {
    pub(super) fn restore(groups: Vec<OpenGroup>) -> Self {
        let mut restored = Self::default();
        for OpenGroup { info, waiting, open } in groups {
            restored.begin(Roll::new(info, waiting, open));
        }
        restored
    }

    fn begin(&mut self, roll: Roll) {
        let id = roll.info().id.clone();
        self.restless.insert(id.clone());
        self.open.insert(id, Open { roll, news: true, told: None });
    }

    /// When something is to be done here without being asked, if no store stands in the way.
    pub(super) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        if !self.restless.is_empty() {
            return Some(now);
        }
        self.open.values().filter(|open| open.news).map(|open| open.tell_at(now)).min()
    }

    /// A command is stored as it is now.
    pub(super) fn stored(&mut self, command: &CommandInfo) {
        let Some(id) = &command.group else { return };
        if let Some(open) = self.open.get_mut(id)
            && open.roll.stored(&command.id, &command.device, command.state)
        {
            open.news = true;
            self.restless.insert(id.clone());
        }
    }

    /// It is stored what became of a command that was `unresolved`.
    pub(super) fn resolved(&mut self, command: &CommandInfo) {
        if let Some(id) = &command.group {
            self.apply(id, |roll| roll.resolved(command.state));
        }
    }

    /// A change of a group is stored. Returns the group if it has ended.
    pub(super) fn changed(&mut self, change: GroupChange) -> Option<GroupInfo> {
        match change {
            GroupChange::New(info, members) => {
                let waiting =
                    members.into_iter().filter(|(_, refused)| refused.is_none()).map(|(device, _)| device);
                self.begin(Roll::new(*info, waiting, []));
            }
            GroupChange::Refused(id, device, _) => self.apply(&id, |roll| roll.refused(&device)),
            GroupChange::Stopped(id, stopped) => self.apply(&id, |roll| roll.settled(Some(stopped), None)),
            GroupChange::Ended(id, at) => {
                self.apply(&id, |roll| roll.settled(None, Some(at)));
                self.restless.remove(&id);
                return self.open.remove(&id).map(|open| open.roll.info().clone());
            }
        }
        None
    }

    fn apply(&mut self, id: &GroupId, work: impl FnOnce(&mut Roll)) {
        if let Some(open) = self.open.get_mut(id) {
            work(&mut open.roll);
            open.news = true;
            self.restless.insert(id.clone());
        }
    }

    /// The groups that are to be told now.
    pub(super) fn tell(&mut self) -> Vec<GroupInfo> {
        let now = Instant::now();
        let due = self.open.values_mut().filter(|open| open.news && open.tell_at(now) <= now);
        due.map(|open| {
            (open.news, open.told) = (false, Some(now));
            open.roll.info().clone()
        })
        .collect()
    }

    pub(super) fn get(&self, id: &GroupId) -> Option<GroupInfo> {
        self.open.get(id).map(|open| open.roll.info().clone())
    }
}

impl Open {
    fn tell_at(&self, now: Instant) -> Instant {
        self.told.map_or(now, |told| told + TELL)
    }
}

impl Task {
    /// Takes a group in; its first commands follow when it is stored.
    pub(super) fn new_group(&mut self, new: NewGroup, actor: Actor, reply: Reply<GroupInfo>) {
        match self.make_group(new, actor) {
            Ok((info, members)) => {
                self.round.told.push(Told::Group(reply, info.id.clone()));
                self.round.groups.push(GroupChange::New(Box::new(info), members));
            }
            Err(problem) => drop(reply.send(Err(problem))),
        }
    }

    fn make_group(&mut self, new: NewGroup, actor: Actor) -> Answer<(GroupInfo, Chosen)> {
        let NewGroup { request, retry_of, members } = new;
        let issued = self.round.groups.iter().filter_map(|change| match change {
            GroupChange::New(info, _) => Some(&**info),
            _ => None,
        });
        let mut open = self.groups.open.values().map(|open| open.roll.info()).chain(issued);
        if let Some(old) = &retry_of
            && let Some(again) = open.clone().find(|group| group.retry_of.as_ref() == Some(old))
        {
            return Err(already_retried(old, &again.id));
        }
        let open = open.by_ref().count();
        if open >= self.limits.count(Limit::GroupsOpen) {
            return Err(self.limited(Limit::GroupsOpen, format!("{open} groups have not ended")));
        }
        let at = self.next_issue();
        let id = self.new_id('g', at)?;
        let refused = members.iter().filter(|(_, refused)| refused.is_some()).count();
        let count = |members: usize| u32::try_from(members).unwrap_or(u32::MAX);
        let mut tally = Tally::default();
        tally.add(MemberState::Refused, count(refused));
        tally.add(MemberState::Waiting, count(members.len() - refused));
        let Actor { by, address } = actor;
        let info = GroupInfo {
            id,
            request,
            issued_by: by,
            issued_at: at,
            address,
            retry_of,
            tally,
            stopped: None,
            ended_at: None,
        };
        Ok((info, members))
    }

    /// Begins no more of a group, takes back what was not sent, and asks for the rest to be stopped if that is wanted.
    pub(super) fn cancel_group(&mut self, id: GroupId, begun: bool, actor: &Actor, reply: Reply<GroupInfo>) {
        let Some(group) = self.groups.open.get(&id) else {
            let problem = format!("no open group {id}: it has ended or never was");
            return drop(reply.send(Err(error(ErrorCode::NotFound, problem))));
        };
        let commands = group.roll.open().filter(|(_, state)| begun || *state == CommandState::Queued);
        let commands: Vec<_> = commands.map(|(id, _)| id.clone()).collect();
        if group.roll.info().stopped.is_none() {
            let Actor { by, address } = actor.clone();
            let stopped = GroupStopped { at: clock::now(), by, address };
            self.round.groups.push(GroupChange::Stopped(id.clone(), stopped));
        }
        for command in commands {
            // What has ended in this very round needs no taking back.
            drop(self.cancel(&command, actor));
        }
        self.round.told.push(Told::Group(reply, id));
    }

    /// Decides what is next for each group, as a part of this round.
    pub(super) fn decide_groups(&mut self) {
        let restless: Vec<GroupId> = self.groups.restless.iter().cloned().collect();
        for id in restless {
            // What is decided of it in this round comes first.
            if self.round.groups.iter().any(|change| is_of(change, &id)) {
                continue;
            }
            let Some(Open { roll, .. }) = self.groups.open.get(&id) else { continue };
            match roll.decide(TURN) {
                Decision::Wait => drop(self.groups.restless.remove(&id)),
                Decision::Issue(devices) => self.begin_members(&roll.info().clone(), devices),
                Decision::Stop => {
                    let stopped = GroupStopped { at: clock::now(), by: "hub".into(), address: None };
                    self.round.groups.push(GroupChange::Stopped(id, stopped));
                }
                Decision::End => self.round.groups.push(GroupChange::Ended(id, clock::now())),
            }
        }
    }

    fn begin_members(&mut self, group: &GroupInfo, devices: Vec<DeviceId>) {
        let GroupRequest { name, args, expires_in_ms, delivery, force, .. } = &group.request;
        let actor = Actor { by: group.issued_by.clone(), address: group.address.clone() };
        for device in devices {
            let request = SendCommand {
                args: args.clone(),
                expires_in_ms: *expires_in_ms,
                delivery: *delivery,
                force: *force,
                ..SendCommand::new(0, device.clone(), name.clone())
            };
            if let Err(problem) = self.issue(request, actor.clone(), Some(group.id.clone())) {
                self.round.groups.push(GroupChange::Refused(group.id.clone(), device, problem.message));
            }
        }
    }

    /// Tells of the groups that have changed, of each not too often.
    pub(super) fn tell_groups(&mut self) {
        for info in self.groups.tell() {
            self.tell_group(info);
        }
    }

    pub(super) fn tell_group(&self, info: GroupInfo) {
        // No viewer is connected: nobody to tell.
        drop(self.events.send(Event::Group(info.into())));
    }
}

fn is_of(change: &GroupChange, id: &GroupId) -> bool {
    match change {
        GroupChange::New(info, _) => info.id == *id,
        GroupChange::Refused(of, ..) | GroupChange::Stopped(of, _) | GroupChange::Ended(of, _) => of == id,
    }
}

/// A group is retried once, so that nothing is done twice by two who think of the same.
pub(crate) fn already_retried(group: &GroupId, again: &GroupId) -> protocol::device::ErrorMessage {
    error(ErrorCode::WrongState, format!("{group} was retried by {again}: retry that one"))
}
