//! Groups: commands to many devices. Those that are known with their tallies, the members of the one that is shown, and
//! the form in which a new one is made.
//!
//! Who would get a command is never guessed here: the hub is asked by a dry run whenever the form has changed, and only
//! what it said can be sent.

use std::collections::{BTreeMap, HashMap, HashSet};

use protocol::group::{MemberState, Tally, Targets};
use protocol::viewer::{CommandInfo, GroupInfo, GroupRequest, Member, MembersRequest, SendGroup};
use protocol::{DeviceId, GroupId, Timestamp, limits};

use super::devices::{Device, Devices};
use super::form::{Field, Form};
use crate::format;

/// Groups asked for at the start.
pub(super) const GROUPS_AT_START: u32 = 100;
/// Most groups that are kept. Chosen: months of them.
const GROUPS_MAX: usize = 1_000;
/// Least time between two requests for the members of a group, in microseconds.
const MEMBERS_PACE_MICROS: i64 = 1_000_000;

/// The members of the group that is shown.
#[derive(Debug, Default)]
struct Shown {
    members: Vec<Member>,
    /// Where the member of a device is.
    places: HashMap<DeviceId, usize>,
    /// Parts of an answer that is not complete.
    arriving: Vec<Member>,
    asked: Option<u64>,
    asked_at: Option<Timestamp>,
    loaded: bool,
    error: Option<String>,
}

/// All groups that are known.
#[derive(Debug, Default)]
pub struct Groups {
    /// Whether their panel is shown.
    pub open: bool,
    /// Groups that were sent from this window and have not ended yet.
    ours: HashSet<GroupId>,
    /// By the time of their issue, which no two have the same.
    by_time: BTreeMap<Timestamp, GroupInfo>,
    shown: Option<GroupId>,
    members: Shown,
    /// Only members in this state are listed.
    pub only: Option<MemberState>,
    /// Why those of the past could not be loaded.
    pub error: Option<String>,
}

impl Groups {
    /// The groups, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &GroupInfo> {
        self.by_time.values().rev()
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.by_time.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// How many have not ended.
    pub fn open_count(&self) -> usize {
        self.by_time.values().filter(|g| g.ended_at.is_none()).count()
    }

    /// One group.
    pub fn get(&self, id: &GroupId) -> Option<&GroupInfo> {
        self.by_time.values().rev().find(|g| g.id == *id)
    }

    /// The group that is shown: the chosen one, or the newest.
    pub fn shown(&self) -> Option<&GroupInfo> {
        match &self.shown {
            Some(id) => self.get(id),
            None => self.newest_first().next(),
        }
    }

    /// The members of the group that is shown; those of other states are left out if only one is wanted.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.members.iter().filter(|m| self.only.is_none_or(|only| only == m.state))
    }

    /// Whether the members have come.
    pub const fn members_loaded(&self) -> bool {
        self.members.loaded
    }

    /// Why they have not.
    pub fn members_error(&self) -> Option<&str> {
        self.members.error.as_deref()
    }

    pub(super) fn show(&mut self, group: Option<GroupId>) {
        self.open = true;
        if self.shown != group || group.is_none() {
            self.shown = group;
            self.members = Shown::default();
            self.only = None;
        }
    }

    pub(super) fn mark_ours(&mut self, group: &GroupId) {
        self.ours.insert(group.clone());
    }

    /// Takes in what the hub says of a group. Returns whether it has just ended and was sent from here.
    pub(super) fn put(&mut self, info: GroupInfo) -> bool {
        let known = self.by_time.get(&info.issued_at).filter(|g| g.id == info.id);
        if known.is_some_and(|known| known.ended_at.is_some() && info.ended_at.is_none()) {
            return false;
        }
        let ended = info.ended_at.is_some() && self.ours.remove(&info.id);
        self.by_time.insert(info.issued_at, info);
        if self.by_time.len() > GROUPS_MAX {
            self.by_time.pop_first();
        }
        ended
    }

    /// A command has changed: its member has.
    pub(super) fn on_command(&mut self, command: &CommandInfo) {
        let Some(group) = &command.group else { return };
        if self.shown().is_none_or(|shown| shown.id != *group) {
            return;
        }
        let place = self.members.places.get(&command.device).copied();
        if let Some(member) = place.and_then(|place| self.members.members.get_mut(place)) {
            member.state = MemberState::Issued(command.state);
            member.command = Some(command.id.clone());
            member.error.clone_from(&command.error);
            member.code.clone_from(&command.code);
        }
    }

    /// Asks for the members of the shown group when they are not known, or are not those that the tally counts.
    pub(super) fn wanted(&mut self, id: u64, now: Timestamp) -> Option<MembersRequest> {
        if !self.open || self.members.asked.is_some() {
            return None;
        }
        let shown = self.shown()?;
        let early = self.members.asked_at.is_some_and(|at| now.micros_since(at) < MEMBERS_PACE_MICROS);
        if early || (self.members.loaded && tally_of(&self.members.members) == shown.tally) {
            return None;
        }
        let group = shown.id.clone();
        // What is asked for belongs to this one, also when a newer one comes meanwhile.
        self.shown = Some(group.clone());
        self.members.asked = Some(id);
        self.members.asked_at = Some(now);
        self.members.arriving.clear();
        Some(MembersRequest { id, group, states: Vec::new() })
    }

    /// When the members have to be asked for again although nothing arrives.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let shown = self.shown().filter(|_| self.open && self.members.asked.is_none())?;
        let differs = !self.members.loaded || tally_of(&self.members.members) != shown.tally;
        differs.then(|| self.members.asked_at.map(|at| at.plus_micros(MEMBERS_PACE_MICROS)))?
    }

    pub(super) fn on_members(&mut self, id: u64, members: Vec<Member>, more: bool) {
        if self.members.asked != Some(id) {
            return;
        }
        let room = limits::GROUP_DEVICES_MAX.saturating_sub(self.members.arriving.len());
        self.members.arriving.extend(members.into_iter().take(room));
        if !more {
            self.members.members = std::mem::take(&mut self.members.arriving);
            let places = self.members.members.iter().enumerate();
            self.members.places = places.map(|(place, member)| (member.device.clone(), place)).collect();
            self.members.asked = None;
            self.members.loaded = true;
            self.members.error = None;
        }
    }

    pub(super) fn members_failed(&mut self, id: u64, why: String) {
        if self.members.asked == Some(id) {
            self.members.asked = None;
            self.members.error = Some(why);
        }
    }
}

fn tally_of(members: &[Member]) -> Tally {
    let mut tally = Tally::default();
    for member in members {
        tally.add(member.state, 1);
    }
    tally
}

/// From where the devices of a new group are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Those that were chosen in the list.
    Chosen,
    /// Those that fit the filter of the list.
    Listed,
    /// Patterns of ids, models and tags.
    Patterns,
}

/// Where the form of a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposerStage {
    /// Being filled in.
    Editing,
    /// The person is asked whether it is meant.
    Confirming,
    /// On its way.
    Sending(u64),
    /// The connection went before the hub answered. Its list of groups will tell.
    InDoubt(u64),
}

/// A command that some of the devices declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub name: String,
    /// What a person calls it.
    pub label: String,
    /// How many of the devices declare it.
    pub devices: usize,
}

/// What the hub says would happen.
#[derive(Debug, Default)]
pub struct Preview {
    /// What it was asked about.
    of: Option<GroupRequest>,
    asked: Option<u64>,
    members: Vec<Member>,
    done: bool,
    error: Option<String>,
}

/// The form of a group.
#[derive(Debug)]
pub struct Composer {
    /// Devices by name; empty: by patterns.
    pub devices: Vec<DeviceId>,
    /// What stands in its own fields.
    texts: BTreeMap<Field, String>,
    /// Whether only some get it at a time.
    pub rolling: bool,
    /// The command and its arguments, once one is chosen.
    pub form: Option<Form>,
    /// How many devices fit, as far as is known here.
    pub matching: usize,
    /// What can be chosen.
    pub offers: Vec<Offer>,
    /// Where it is.
    pub stage: ComposerStage,
    /// What the hub had against it.
    pub refused: Option<String>,
    preview: Preview,
    sent: Option<Sent>,
}

/// A group that was handed to the link.
#[derive(Debug)]
struct Sent {
    request: GroupRequest,
    at: Timestamp,
    before: HashSet<GroupId>,
}

impl Composer {
    pub(super) fn new(devices: Vec<DeviceId>) -> Self {
        Self {
            devices,
            texts: BTreeMap::new(),
            rolling: false,
            form: None,
            matching: 0,
            offers: Vec::new(),
            stage: ComposerStage::Editing,
            refused: None,
            preview: Preview::default(),
            sent: None,
        }
    }

    /// What stands in one of its own fields.
    pub fn text(&self, field: &Field) -> &str {
        self.texts.get(field).map_or("", String::as_str)
    }

    pub(super) fn set_text(&mut self, field: Field, text: String) {
        self.refused = None;
        if matches!(field, Field::Devices | Field::Models | Field::Tags | Field::AtOnce | Field::StopAfter) {
            self.texts.insert(field, text);
        } else if let Some(form) = &mut self.form {
            form.set_text(field, text);
        }
    }

    /// To whom, as the hub is told.
    pub fn targets(&self) -> Targets {
        if !self.devices.is_empty() {
            let devices = self.devices.iter().map(ToString::to_string).collect();
            return Targets { devices, ..Targets::default() };
        }
        let list = |field: &Field| -> Vec<String> {
            let text = self.text(field);
            text.split(|c: char| c == ',' || c.is_whitespace())
                .filter(|t| !t.is_empty())
                .map(str::to_owned)
                .collect()
        };
        // Names of models hold spaces: only commas part them.
        let models = self.text(&Field::Models).split(',').map(str::trim).filter(|t| !t.is_empty());
        Targets {
            devices: list(&Field::Devices),
            models: models.map(str::to_owned).collect(),
            tags: list(&Field::Tags),
        }
    }

    /// Counts the devices that fit, and what they can be told.
    pub(super) fn refresh(&mut self, devices: &Devices) {
        let targets = self.targets();
        let mut offers: BTreeMap<String, Offer> = BTreeMap::new();
        self.matching = 0;
        if targets.check().is_ok() {
            let chooser = targets.chooser();
            for device in devices.iter().filter(|d| chooser.matches(&d.info)) {
                self.matching += 1;
                for command in &device.info.commands {
                    let name = command.name.as_str();
                    let offer = offers.entry(name.to_owned()).or_insert_with(|| Offer {
                        name: name.to_owned(),
                        label: command.label.clone().unwrap_or_else(|| format::humanize(name)),
                        devices: 0,
                    });
                    offer.devices += 1;
                }
            }
        }
        self.offers = offers.into_values().collect();
        self.offers.sort_by(|a, b| b.devices.cmp(&a.devices).then_with(|| a.label.cmp(&b.label)));
    }

    /// Takes the command of this name, as the first of the devices declares it.
    pub(super) fn choose(&mut self, name: &str, devices: &Devices) {
        self.refused = None;
        let targets = self.targets();
        let chooser = targets.chooser();
        let declares = |d: &&Device| chooser.matches(&d.info);
        let declaration = devices
            .iter()
            .filter(declares)
            .find_map(|d| d.info.commands.iter().find(|c| c.name.as_str() == name))
            .cloned();
        self.form = declaration.map(Form::for_group);
    }

    fn number(&self, field: &Field, what: &str) -> Result<Option<u32>, String> {
        let text = self.text(field).trim();
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<u32>() {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(format!("{what}: {text:?} is not a whole number of 1 or more")),
        }
    }

    /// What is wrong at one of its own fields.
    pub fn problem(&self, field: &Field) -> Option<String> {
        match field {
            Field::AtOnce => self.number(field, "at a time").err(),
            Field::StopAfter => self.number(field, "failures").err(),
            _ => None,
        }
    }

    /// What would be sent; `Err` with what is missing or wrong.
    pub fn request(&self) -> Result<GroupRequest, String> {
        let to = self.targets();
        if to == Targets::default() {
            return Err("Say to which devices".to_owned());
        }
        to.check()?;
        let form = self.form.as_ref().ok_or("Choose a command")?;
        let body = form.body().map_err(|problems| {
            problems.first().map_or_else(String::new, |p| match &p.field {
                Field::Param(name) => format!("{} {}", format::humanize(name), p.text),
                _ => p.text.clone(),
            })
        })?;
        let (at_once, stop_after) = if self.rolling {
            (self.number(&Field::AtOnce, "at a time")?, self.number(&Field::StopAfter, "failures")?)
        } else {
            (None, None)
        };
        Ok(GroupRequest {
            args: body.args,
            expires_in_ms: body.expires_in_ms,
            delivery: body.delivery,
            at_once,
            stop_after,
            ..GroupRequest::new(to, body.name)
        })
    }

    /// The next dry run, if the form has changed since the last.
    pub(super) fn wanted(&mut self, id: u64) -> Option<SendGroup> {
        if self.preview.asked.is_some() || self.stage != ComposerStage::Editing {
            return None;
        }
        let request = self.request().ok();
        if request == self.preview.of {
            return None;
        }
        self.preview = Preview { of: request.clone(), ..Preview::default() };
        let request = request?;
        self.preview.asked = Some(id);
        Some(SendGroup { id, request, dry_run: true })
    }

    pub(super) fn on_members(&mut self, id: u64, members: Vec<Member>, more: bool) {
        if self.preview.asked == Some(id) {
            let room = limits::GROUP_DEVICES_MAX.saturating_sub(self.preview.members.len());
            self.preview.members.extend(members.into_iter().take(room));
            if !more {
                self.preview.asked = None;
                self.preview.done = true;
            }
        }
    }

    pub(super) fn preview_failed(&mut self, id: u64, why: String) {
        if self.preview.asked == Some(id) {
            self.preview.asked = None;
            self.preview.error = Some(why);
        }
    }

    /// The connection is gone: the hub has to be asked again.
    /// What the hub said of who would get it is asked for again.
    pub(super) fn ask_again(&mut self) {
        self.preview = Preview::default();
    }

    /// What the hub said of just what the form says now: who would get it, and who would not.
    pub fn preview(&self) -> Option<(Vec<&Member>, Vec<&Member>)> {
        let is_current = self.preview.done && self.request().ok() == self.preview.of;
        is_current.then(|| self.preview.members.iter().partition(|m| m.state == MemberState::Waiting))
    }

    /// Why the hub would not take it.
    pub fn preview_error(&self) -> Option<&str> {
        self.preview.error.as_deref()
    }

    /// Begins to send what the hub was asked about.
    pub(super) fn send(&mut self, id: u64, groups: &Groups, now: Timestamp) -> Option<SendGroup> {
        self.preview().filter(|(get, _)| !get.is_empty())?;
        let request = self.request().ok()?;
        self.stage = ComposerStage::Sending(id);
        let before = groups.by_time.values().map(|g| g.id.clone()).collect();
        self.sent = Some(Sent { request: request.clone(), at: now, before });
        Some(SendGroup { id, request, dry_run: false })
    }

    /// Whether this group is the one whose answer was lost.
    pub(super) fn is_answered_by(&self, group: &GroupInfo) -> bool {
        let earliest = |sent: &Sent| sent.at.plus_micros(-10_000_000);
        matches!(self.stage, ComposerStage::InDoubt(_))
            && self.sent.as_ref().is_some_and(|sent| {
                group.request == sent.request
                    && group.issued_at >= earliest(sent)
                    && !sent.before.contains(&group.id)
            })
    }

    /// Most devices that can be named outright.
    pub const fn names_max() -> usize {
        limits::SELECT_MAX
    }
}
