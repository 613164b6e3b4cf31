//! Commands: all that are known, with every state they went through, in the order of their issue.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Timestamp};

/// Most commands that are kept; beyond it the oldest go. Chosen: what can be scrolled through, some 20 MB.
pub const COMMANDS_MAX: usize = 20_000;

/// When a command was issued.
pub fn issued_at(info: &CommandInfo) -> Timestamp {
    info.transitions.first().map_or(Timestamp(0), |t| t.at)
}

/// When a command entered its present state.
pub fn changed_at(info: &CommandInfo) -> Timestamp {
    info.transitions.last().map_or(Timestamp(0), |t| t.at)
}

/// When a command ended; `None` while it goes on.
pub fn ended_at(info: &CommandInfo) -> Option<Timestamp> {
    info.state.is_final().then(|| changed_at(info))
}

/// How long a command took from its issue to its end, in microseconds; `None` while it goes on.
pub fn took(info: &CommandInfo) -> Option<i64> {
    ended_at(info).map(|end| end.micros_since(issued_at(info)).max(0))
}

/// Commands by the time of their issue; those of one microsecond in the order in which they were told.
type ByTime = BTreeMap<Timestamp, Vec<CommandId>>;

/// The commands that are known.
#[derive(Debug, Default)]
pub struct CommandLog {
    by_id: HashMap<CommandId, CommandInfo>,
    by_time: ByTime,
    by_device: BTreeMap<DeviceId, ByTime>,
    /// Commands that were sent from this window and have not ended yet.
    ours: HashSet<CommandId>,
    /// Commands that have not ended yet.
    open: HashSet<CommandId>,
    /// The longest that any took, in microseconds: how far before a view its spans may begin.
    longest: i64,
    /// Everything issued up to this time may have been forgotten.
    forgotten_to: Option<Timestamp>,
    revision: u64,
}

impl CommandLog {
    /// One command.
    pub fn get(&self, id: &CommandId) -> Option<&CommandInfo> {
        self.by_id.get(id)
    }

    /// All commands, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &CommandInfo> {
        self.infos(self.by_time.values().rev().flat_map(|ids| ids.iter().rev()))
    }

    /// The commands of a device, newest first.
    pub fn of_device(&self, device: &DeviceId) -> impl Iterator<Item = &CommandInfo> {
        let of_device = self.by_device.get(device).into_iter();
        self.infos(of_device.flat_map(|times| times.values().rev().flat_map(|ids| ids.iter().rev())))
    }

    /// The commands of a device that were under way at some time from `from` up to `to`, oldest first.
    pub fn under_way(
        &self,
        device: &DeviceId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &CommandInfo> {
        // What is open may have begun at any time; it is few.
        let earliest = from.plus_micros(-self.longest).min(to);
        let mut open: Vec<&CommandInfo> =
            self.infos(self.open.iter()).filter(|c| c.device == *device && issued_at(c) < earliest).collect();
        open.sort_by_key(|c| issued_at(c));
        let recent = self.by_device.get(device).into_iter();
        let recent =
            self.infos(recent.flat_map(move |times| times.range(earliest..=to).flat_map(|(_, ids)| ids)));
        open.into_iter().chain(recent).filter(move |c| ended_at(c).is_none_or(|end| end >= from))
    }

    fn infos<'a>(
        &'a self,
        ids: impl Iterator<Item = &'a CommandId> + 'a,
    ) -> impl Iterator<Item = &'a CommandInfo> + 'a {
        ids.filter_map(|id| self.by_id.get(id))
    }

    /// The commands that have not ended, in no order.
    pub fn open(&self) -> impl Iterator<Item = &CommandInfo> {
        self.infos(self.open.iter())
    }

    /// How many have not ended.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// How many were issued from `from` up to `to`; counts no further than `max`.
    pub fn count_between(&self, from: Timestamp, to: Timestamp, max: usize) -> usize {
        if from > to {
            return 0;
        }
        self.by_time.range(from..=to).flat_map(|(_, ids)| ids).take(max).count()
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

    /// Everything issued up to this time may have been forgotten, because more came than is kept.
    pub const fn forgotten_to(&self) -> Option<Timestamp> {
        self.forgotten_to
    }

    /// Takes in what the hub says of a command. Something older than what is known changes nothing (I-14).
    ///
    /// Returns whether the command has just ended and was sent from here.
    pub(super) fn put(&mut self, info: CommandInfo) -> bool {
        if let Some(known) = self.by_id.get(&info.id) {
            let older = known.transitions.len() > info.transitions.len()
                || (known.state.is_final()
                    && known.state != info.state
                    && !known.state.may_become(info.state))
                || (known.transitions.len() == info.transitions.len()
                    && known.state == info.state
                    && known.progress > info.progress);
            if older || *known == info {
                return false;
            }
            let (at, device) = (issued_at(known), known.device.clone());
            self.take_out(at, &device, &info.id);
        }
        self.revision += 1;
        let ended = info.state.is_final() && self.ours.remove(&info.id);
        if info.state.is_final() {
            self.open.remove(&info.id);
            self.longest = self.longest.max(took(&info).unwrap_or(0));
        } else {
            self.open.insert(info.id.clone());
        }
        let at = issued_at(&info);
        self.by_time.entry(at).or_default().push(info.id.clone());
        let of_device = self.by_device.entry(info.device.clone()).or_default();
        of_device.entry(at).or_default().push(info.id.clone());
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

    fn take_out(&mut self, at: Timestamp, device: &DeviceId, id: &CommandId) {
        remove(&mut self.by_time, at, id);
        if let Some(times) = self.by_device.get_mut(device) {
            remove(times, at, id);
            if times.is_empty() {
                self.by_device.remove(device);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((at, id)) =
            self.by_time.first_key_value().and_then(|(at, ids)| Some((*at, ids.first()?.clone())))
        else {
            return;
        };
        if let Some(info) = self.by_id.remove(&id) {
            self.take_out(at, &info.device, &id);
        }
        self.ours.remove(&id);
        self.open.remove(&id);
        self.forgotten_to = self.forgotten_to.max(Some(at));
    }
}

fn remove(times: &mut ByTime, at: Timestamp, id: &CommandId) {
    if let Some(ids) = times.get_mut(&at) {
        ids.retain(|known| known != id);
        if ids.is_empty() {
            times.remove(&at);
        }
    }
}
