//! Commands: all that are known, with every state they went through.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::command::CommandState;
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Timestamp};

/// Most commands that are kept. Chosen: a day of a busy fleet; older ones can be asked for again.
const COMMANDS_MAX: usize = 5_000;

/// When a command was issued.
pub fn issued_at(info: &CommandInfo) -> Timestamp {
    info.transitions.first().map_or(Timestamp(0), |t| t.at)
}

/// When a command entered its present state.
pub fn changed_at(info: &CommandInfo) -> Timestamp {
    info.transitions.last().map_or(Timestamp(0), |t| t.at)
}

/// The commands that are known.
#[derive(Debug, Default)]
pub struct CommandLog {
    by_id: HashMap<CommandId, CommandInfo>,
    /// By device, then by time of issue.
    order: BTreeMap<DeviceId, BTreeSet<(Timestamp, CommandId)>>,
    /// Commands that were sent from this window and have not ended yet.
    ours: HashSet<CommandId>,
    revision: u64,
}

impl CommandLog {
    /// One command.
    pub fn get(&self, id: &CommandId) -> Option<&CommandInfo> {
        self.by_id.get(id)
    }

    /// The commands of a device, newest first.
    pub fn of_device(&self, device: &DeviceId) -> impl Iterator<Item = &CommandInfo> {
        self.order
            .get(device)
            .into_iter()
            .flat_map(|list| list.iter().rev())
            .filter_map(|(_, id)| self.by_id.get(id))
    }

    /// The commands of a device issued from `from` up to `to`, oldest first.
    pub fn issued_between(
        &self,
        device: &DeviceId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &CommandInfo> {
        self.of_device(device)
            .skip_while(move |c| issued_at(c) > to)
            .take_while(move |c| issued_at(c) >= from)
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Grows with every change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Takes in what the hub says of a command. Something older than what is known changes nothing (I-14).
    ///
    /// Returns whether the command has just ended and was sent from here.
    pub(super) fn put(&mut self, info: CommandInfo) -> bool {
        if let Some(known) = self.by_id.get(&info.id) {
            let older = known.transitions.len() > info.transitions.len()
                || (known.state.is_final() && known.state != info.state)
                || (known.transitions.len() == info.transitions.len()
                    && known.state == info.state
                    && known.progress > info.progress);
            if older {
                return false;
            }
            if let Some(list) = self.order.get_mut(&known.device) {
                list.remove(&(issued_at(known), info.id.clone()));
            }
        }
        self.revision += 1;
        let ended = info.state.is_final() && self.ours.remove(&info.id);
        let list = self.order.entry(info.device.clone()).or_default();
        list.insert((issued_at(&info), info.id.clone()));
        self.by_id.insert(info.id.clone(), info);
        if self.by_id.len() > COMMANDS_MAX {
            self.forget_oldest();
        }
        ended
    }

    pub(super) fn mark_ours(&mut self, id: &CommandId) {
        if self.by_id.get(id).is_some_and(|c| !c.state.is_final()) {
            self.ours.insert(id.clone());
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .order
            .iter()
            .filter_map(|(device, list)| list.first().map(|(at, id)| (*at, device, id)))
            .min_by_key(|(at, ..)| *at)
            .map(|(at, device, id)| (at, device.clone(), id.clone()));
        if let Some((at, device, id)) = oldest {
            if let Some(list) = self.order.get_mut(&device) {
                list.remove(&(at, id.clone()));
                if list.is_empty() {
                    self.order.remove(&device);
                }
            }
            self.by_id.remove(&id);
            self.ours.remove(&id);
        }
    }
}

/// What a state says about how it went.
pub const fn is_bad_end(state: CommandState) -> bool {
    matches!(
        state,
        CommandState::Failed | CommandState::Rejected | CommandState::Expired | CommandState::Unresolved
    )
}
