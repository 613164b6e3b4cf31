//! Groups: one request to many devices, each of which gets a command of its own.
//!
//! [`Targets`] says to whom, [`Tally`] how far it has come, and [`Roll`] decides whose turn it is: all at once, or some at a
//! time, and no further after so many failures. Pure: a roll moves only by what is stored, and says what is to be done next.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::command::CommandState;
use crate::limits;
use crate::name::{CommandId, DeviceId};
use crate::select::pattern_matches;
use crate::time::Timestamp;
use crate::viewer::{DeviceInfo, GroupInfo, GroupStopped};

/// To which devices: those that fit every list that is not empty. At least one list must have something in it.
///
/// A pattern is a name in which `*` stands for any text and `?` for any one character.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Targets {
    /// Ids of devices, or patterns of them. An id without `*` and `?` must be that of a device the hub knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Patterns of models: the kind of device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// Patterns of tags, of which the device has declared at least one that fits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Targets {
    /// Says what is wrong with the lists themselves.
    pub fn check(&self) -> Result<(), String> {
        let named = self.devices.len() + self.models.len() + self.tags.len();
        if named == 0 {
            return Err(
                "to: names no devices, models or tags; for every device say \"devices\": [\"*\"]".into()
            );
        }
        if named > limits::SELECT_MAX {
            return Err(format!(
                "to: {named} names and patterns: {}",
                limits::refusal(
                    "select_entries",
                    limits::SELECT_MAX,
                    "selection",
                    "use patterns, or send several groups"
                )
            ));
        }
        // Ids are looked up, patterns are tried on every device: more of those would cost more than they say.
        let patterns = named - self.ids().count();
        if patterns > limits::GROUP_PATTERNS_MAX {
            return Err(format!(
                "to: {patterns} patterns: {}",
                limits::refusal(
                    "group_patterns",
                    limits::GROUP_PATTERNS_MAX,
                    "group",
                    "use fewer, or send several groups"
                )
            ));
        }
        Ok(())
    }

    /// The devices that are named outright.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().map(String::as_str).filter(|text| !is_pattern(text))
    }

    /// The lists as they are tried on one device after another.
    pub fn chooser(&self) -> Chooser<'_> {
        Chooser {
            ids: self.ids().collect(),
            patterns: self.devices.iter().map(String::as_str).filter(|text| is_pattern(text)).collect(),
            targets: self,
        }
    }
}

/// Whether the text stands for more than itself.
fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Tells which devices are chosen.
#[derive(Debug)]
pub struct Chooser<'a> {
    ids: HashSet<&'a str>,
    patterns: Vec<&'a str>,
    targets: &'a Targets,
}

impl Chooser<'_> {
    /// Whether the device is chosen.
    pub fn matches(&self, device: &DeviceInfo) -> bool {
        let any = |patterns: &[String], name: &str| patterns.iter().any(|p| pattern_matches(p, name));
        let Targets { devices, models, tags } = self.targets;
        let id = device.id.as_str();
        (devices.is_empty()
            || self.ids.contains(id)
            || self.patterns.iter().any(|pattern| pattern_matches(pattern, id)))
            && (models.is_empty() || device.model.as_deref().is_some_and(|model| any(models, model)))
            && (tags.is_empty() || device.tags.iter().any(|tag| any(tags, tag.as_str())))
    }
}

/// Where a member of a group is: not begun yet, or in the state of its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberState {
    /// Its turn has not come.
    Waiting,
    /// It got no command, because it does not take one like this.
    Refused,
    /// It got no command, because the group was stopped before its turn.
    Skipped,
    /// It has a command, which is so.
    Issued(CommandState),
}

impl MemberState {
    /// How many there are.
    const COUNT: usize = 3 + CommandState::ALL.len();

    /// All of them, in the order of a life.
    pub fn all() -> impl Iterator<Item = Self> {
        let before = [Self::Waiting, Self::Refused, Self::Skipped];
        before.into_iter().chain(CommandState::ALL.into_iter().map(Self::Issued))
    }

    /// The state as it stands in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Issued(state) => state.as_str(),
        }
    }

    /// Reads back what [`MemberState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|state| state.as_str() == text)
    }

    /// Whether it counts against [`stop_after`](crate::viewer::GroupRequest::stop_after): the device did not do what it was asked to, or nobody knows.
    pub const fn is_failure(self) -> bool {
        use CommandState::{Expired, Failed, Rejected, Unresolved};
        matches!(self, Self::Issued(Failed | Rejected | Expired | Unresolved))
    }

    fn place(self) -> usize {
        Self::all().position(|state| state == self).unwrap_or_default()
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MemberState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MemberState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no state of a member of a group")))
    }
}

/// How many members of a group are in which state. As JSON an object of those that are not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally([u32; MemberState::COUNT]);

impl Tally {
    /// How many are in this state.
    pub fn of(&self, state: MemberState) -> u32 {
        self.0[state.place()]
    }

    /// Counts members that are in this state.
    pub fn add(&mut self, state: MemberState, count: u32) {
        let here = &mut self.0[state.place()];
        *here = here.saturating_add(count);
    }

    /// Counts a member that went from one state to another.
    pub fn go(&mut self, from: MemberState, to: MemberState) {
        let left = &mut self.0[from.place()];
        *left = left.saturating_sub(1);
        self.add(to, 1);
    }

    /// The states that at least one member is in, in the order of a life.
    pub fn counts(&self) -> impl Iterator<Item = (MemberState, u32)> + '_ {
        MemberState::all().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// How many members there are.
    pub fn total(&self) -> u32 {
        sum(self.0)
    }

    /// How many wait for their turn or have a command that has not ended.
    pub fn open(&self) -> u32 {
        let open = |state: &MemberState| match state {
            MemberState::Waiting => true,
            MemberState::Issued(state) => !state.is_final(),
            MemberState::Refused | MemberState::Skipped => false,
        };
        sum(self.counts().filter(|(state, _)| open(state)).map(|(_, count)| count))
    }

    /// How many did not do what they were asked to, or nobody knows.
    pub fn failures(&self) -> u32 {
        sum(self.counts().filter(|(state, _)| state.is_failure()).map(|(_, count)| count))
    }
}

/// Counts that a peer made up must not overflow (I-7).
fn sum(counts: impl IntoIterator<Item = u32>) -> u32 {
    counts.into_iter().fold(0, u32::saturating_add)
}

impl Serialize for Tally {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.counts())
    }
}

impl<'de> Deserialize<'de> for Tally {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = BTreeMap::<String, u32>::deserialize(deserializer)?;
        let mut tally = Self::default();
        // A state of a later version is left out rather than all of them.
        for (state, count) in counts {
            if let Some(state) = MemberState::parse(&state) {
                tally.add(state, count);
            }
        }
        Ok(tally)
    }
}

/// What is to be done next with a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Issue a command to each of these, in this order.
    Issue(Vec<DeviceId>),
    /// So many have failed that no more are begun.
    Stop,
    /// Every member has ended.
    End,
    /// Nothing until something changes.
    Wait,
}

/// A group that has not ended: who has a command, and whose turn is next.
#[derive(Debug, Clone)]
pub struct Roll {
    info: GroupInfo,
    waiting: VecDeque<DeviceId>,
    open: HashMap<CommandId, CommandState>,
}

impl Roll {
    /// A group as it is stored: its tally must count the members as they are, `waiting` in their order and `open` among them.
    pub fn new(
        info: GroupInfo,
        waiting: impl IntoIterator<Item = DeviceId>,
        open: impl IntoIterator<Item = (CommandId, CommandState)>,
    ) -> Self {
        Self { info, waiting: waiting.into_iter().collect(), open: open.into_iter().collect() }
    }

    /// The group as it is now.
    pub const fn info(&self) -> &GroupInfo {
        &self.info
    }

    /// The members whose commands have not ended.
    pub fn open(&self) -> impl Iterator<Item = (&CommandId, CommandState)> {
        self.open.iter().map(|(id, state)| (id, *state))
    }

    /// What is to be done next; of the members whose turn it is, at most `most`.
    pub fn decide(&self, most: usize) -> Decision {
        if self.info.ended_at.is_some() {
            return Decision::Wait;
        }
        if self.info.stopped.is_none() && !self.waiting.is_empty() {
            if self.info.request.stop_after.is_some_and(|most| self.info.tally.failures() >= most) {
                return Decision::Stop;
            }
            let places = self.info.request.at_once.map_or(usize::MAX, |at_once| at_once as usize);
            let turn = places.saturating_sub(self.open.len()).min(most).min(self.waiting.len());
            if turn > 0 {
                return Decision::Issue(self.waiting.iter().take(turn).cloned().collect());
            }
            return Decision::Wait;
        }
        if self.open.is_empty() { Decision::End } else { Decision::Wait }
    }

    fn take(&mut self, device: &DeviceId) -> bool {
        let place = self.waiting.iter().position(|waiting| waiting == device);
        place.is_some_and(|place| self.waiting.remove(place).is_some())
    }

    /// A command of this group is stored as it is now: a new one, or one that has changed. Returns whether it is news.
    pub fn stored(&mut self, id: &CommandId, device: &DeviceId, state: CommandState) -> bool {
        let from = match self.open.get(id).copied() {
            Some(before) if before == state => return false,
            Some(before) => MemberState::Issued(before),
            None if self.take(device) => MemberState::Waiting,
            None => return false,
        };
        self.info.tally.go(from, MemberState::Issued(state));
        if state.is_final() {
            self.open.remove(id);
        } else {
            self.open.insert(id.clone(), state);
        }
        true
    }

    /// It is stored what became of a member's command that was `unresolved`.
    pub fn resolved(&mut self, state: CommandState) {
        self.info.tally.go(MemberState::Issued(CommandState::Unresolved), MemberState::Issued(state));
    }

    /// It is stored that a member whose turn it was takes no such command.
    pub fn refused(&mut self, device: &DeviceId) {
        if self.take(device) {
            self.info.tally.go(MemberState::Waiting, MemberState::Refused);
        }
    }

    /// It is stored that no more members are begun, or that all have ended.
    pub fn settled(&mut self, stopped: Option<GroupStopped>, ended_at: Option<Timestamp>) {
        if stopped.is_some() && self.info.stopped.is_none() {
            let left = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
            for _ in 0..left {
                self.info.tally.go(MemberState::Waiting, MemberState::Skipped);
            }
            self.waiting.clear();
            self.info.stopped = stopped;
        }
        self.info.ended_at = self.info.ended_at.or(ended_at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::name::{GroupId, MetricName, Tag};
    use crate::viewer::GroupRequest;

    fn device(id: &str, model: Option<&str>, tags: &[&str]) -> DeviceInfo {
        DeviceInfo {
            id: DeviceId::new(id).unwrap(),
            model: model.map(str::to_owned),
            firmware: None,
            tags: tags.iter().map(|tag| Tag::new(tag).unwrap()).collect(),
            connected: false,
            since: None,
            last_seen: None,
            metrics: Vec::new(),
            commands: Vec::new(),
            late_or_lost: Vec::new(),
        }
    }

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn devices_are_chosen_that_fit_every_list_with_something_in_it() {
        let fleet = [
            device("pump-1", Some("PS-2"), &["site:north", "canary"]),
            device("pump-2", Some("PS-3"), &["site:south"]),
            device("press-1", None, &[]),
        ];
        for (devices, models, tags, chosen) in [
            (&["*"][..], &[][..], &[][..], &[0, 1, 2][..]),
            (&["pump-?"], &[], &[], &[0, 1]),
            (&["press-1", "pump-2"], &[], &[], &[1, 2]),
            (&[], &["PS-*"], &[], &[0, 1]),
            (&[], &[], &["site:*"], &[0, 1]),
            (&["p*"], &["PS-2", "PS-3"], &["site:south"], &[1]),
            (&["press-1"], &["PS-*"], &[], &[]),
        ] {
            let targets = Targets { devices: list(devices), models: list(models), tags: list(tags) };
            targets.check().unwrap();
            let chooser = targets.chooser();
            let found: Vec<usize> = (0..3).filter(|i| chooser.matches(&fleet[*i])).collect();
            assert_eq!(found, chosen, "{targets:?}");
        }
        assert!(Targets::default().check().unwrap_err().contains("every device"));
        let many = Targets { tags: vec!["a*".into(); limits::GROUP_PATTERNS_MAX + 1], ..Targets::default() };
        assert!(many.check().unwrap_err().contains("257 patterns"));
    }

    #[test]
    fn a_tally_is_written_as_an_object_of_what_is_not_zero() {
        let mut tally = Tally::default();
        tally.add(MemberState::Waiting, 3);
        tally.go(MemberState::Waiting, MemberState::Issued(CommandState::Running));
        let text = serde_json::to_string(&tally).unwrap();
        assert_eq!(text, r#"{"waiting":2,"running":1}"#);
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
        let later: Tally = serde_json::from_str(r#"{"running":1,"of_a_later_version":7}"#).unwrap();
        assert_eq!(later.total(), 1);
    }

    fn roll(members: u32, at_once: Option<u32>, stop_after: Option<u32>) -> Roll {
        let ids: Vec<DeviceId> = (0..members).map(|n| DeviceId::new(&format!("d{n}")).unwrap()).collect();
        let mut tally = Tally::default();
        tally.add(MemberState::Waiting, members);
        let to = Targets { devices: list(&["*"]), ..Targets::default() };
        let request =
            GroupRequest { at_once, stop_after, ..GroupRequest::new(to, MetricName::new("reset").unwrap()) };
        let info = GroupInfo {
            id: GroupId::new("g").unwrap(),
            request,
            issued_by: "someone".into(),
            issued_at: Timestamp(0),
            address: None,
            retry_of: None,
            tally,
            stopped: None,
            ended_at: None,
        };
        Roll::new(info, ids, [])
    }

    proptest! {
        #[test]
        fn never_more_than_so_many_at_a_time_none_after_too_many_failures_and_every_group_ends(
            members in 1..40_u32,
            at_once in prop::option::of(1..6_u32),
            stop_after in prop::option::of(1..4_u32),
            cancel_at in prop::option::of(0..60_usize),
            most in 1..8_usize,
            ends in prop::collection::vec((0..6_usize, any::<prop::sample::Index>()), 60),
        ) {
            let mut roll = roll(members, at_once, stop_after);
            let mut begun = Vec::new();
            let stopped = |by: &str| GroupStopped { at: Timestamp(1), by: by.into(), address: None };
            for (step, (end, which)) in ends.iter().cycle().take(1_000).enumerate() {
                if Some(step) == cancel_at {
                    roll.settled(Some(stopped("someone")), None);
                }
                let failures = roll.info().tally.failures();
                match roll.decide(most) {
                    Decision::Issue(devices) => {
                        prop_assert!(devices.len() <= most && roll.info().stopped.is_none());
                        prop_assert!(stop_after.is_none_or(|most| failures < most));
                        for device in devices {
                            prop_assert!(!begun.contains(&device), "{device} twice");
                            let id = CommandId::new(device.as_str()).unwrap();
                            if *end == 5 {
                                roll.refused(&device);
                            } else {
                                prop_assert!(roll.stored(&id, &device, CommandState::Queued));
                                prop_assert!(!roll.stored(&id, &device, CommandState::Queued), "told twice");
                            }
                            begun.push(device);
                        }
                        prop_assert!(at_once.is_none_or(|most| roll.open().count() <= most as usize));
                        continue;
                    }
                    Decision::Stop => {
                        prop_assert!(failures >= stop_after.unwrap());
                        roll.settled(Some(stopped("hub")), None);
                    }
                    Decision::End => {
                        prop_assert_eq!(roll.info().tally.open(), 0);
                        roll.settled(None, Some(Timestamp(2)));
                    }
                    Decision::Wait => {}
                }
                prop_assert_eq!(roll.info().tally.total(), members);
                let open: Vec<CommandId> = roll.open().map(|(id, _)| id.clone()).collect();
                prop_assert_eq!(roll.info().tally.open() as usize, open.len() + roll.waiting.len());
                if !open.is_empty() {
                    use CommandState::{Cancelled, Failed, Running, Sent, Succeeded, Unresolved};
                    let to = [Sent, Running, Succeeded, Failed, Unresolved, Cancelled][*end];
                    let id = which.get(&open);
                    roll.stored(id, &DeviceId::new(id.as_str()).unwrap(), to);
                }
            }
            for _ in 0..100 {
                let succeeded = |roll: &mut Roll, device: &str| {
                    let (id, device) = (CommandId::new(device).unwrap(), DeviceId::new(device).unwrap());
                    roll.stored(&id, &device, CommandState::Succeeded)
                };
                match roll.decide(most) {
                    Decision::Issue(ids) => {
                        for id in ids {
                            assert!(succeeded(&mut roll, id.as_str()));
                        }
                    }
                    Decision::Stop => roll.settled(Some(stopped("hub")), None),
                    Decision::End => roll.settled(None, Some(Timestamp(2))),
                    Decision::Wait => {
                        let open: Vec<String> = roll.open().map(|(id, _)| id.to_string()).collect();
                        for id in open {
                            assert!(succeeded(&mut roll, &id));
                        }
                    }
                }
            }
            prop_assert!(roll.info().ended_at.is_some() && roll.info().tally.open() == 0);
        }
    }
}
