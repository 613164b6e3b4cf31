//! Groups in the model: choosing devices, composing, sending, taking back and retrying.

use protocol::command::CommandState;
use protocol::group::MemberState;
use protocol::viewer::{
    CancelGroup, CommandsRequest, ErrorMessage, GroupEvent, GroupsRequest, Members, RetryGroup, SendGroup,
};
use protocol::{CommandId, DeviceId, ErrorCode, GroupId};

use super::form::Field;
use super::groups::{Composer, ComposerStage, GROUPS_AT_START, Source};
use super::{Effect, Level, Model, Request, TEXT_MAX, outcome};
use crate::format;

/// What a person is asked before it is done to many devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Begin no more of this group; whether those that have begun are asked to stop too.
    CancelGroup(GroupId, bool),
    /// Send the command of this group again to those that failed.
    RetryGroup(GroupId),
}

impl Model {
    /// Adds a device to those that are chosen, or takes it out; with `range` all between the last one and it are added.
    pub(super) fn choose_device(&mut self, device: DeviceId, range: bool) {
        let listed = self.devices.listed();
        let place = |id: &DeviceId| listed.iter().position(|l| l == id);
        let anchor = self.chosen_last.as_ref().and_then(place);
        if let (true, Some(from), Some(to)) = (range, anchor, place(&device)) {
            let between = &listed[from.min(to)..=from.max(to)];
            self.chosen.extend(between.iter().cloned());
        } else if !self.chosen.remove(&device) {
            // The one whose panel is open is meant too.
            if self.chosen.is_empty()
                && let Some(selected) = self.selection.clone().filter(|s| *s != device)
            {
                self.chosen.insert(selected);
            }
            self.chosen.insert(device.clone());
        }
        self.chosen_last = Some(device);
    }

    pub(super) fn compose(&mut self, source: Source) {
        let devices = match source {
            Source::Chosen => self.chosen.iter().cloned().collect(),
            Source::Listed => self.devices.listed().to_vec(),
            Source::Patterns => Vec::new(),
        };
        let mut composer = if devices.len() > Composer::names_max() {
            let mut composer = Composer::new(Vec::new());
            let text = format!(
                "{} devices cannot be named one by one, at most {} can: say which by patterns.",
                format::count(devices.len() as u64),
                format::count(Composer::names_max() as u64)
            );
            composer.refused = Some(text);
            composer
        } else {
            Composer::new(devices)
        };
        composer.refresh(&self.devices);
        self.composer = Some(composer);
    }

    pub(super) fn type_into_composer(&mut self, field: Field, text: String) {
        if let Some(composer) = &mut self.composer {
            composer.set_text(field, text);
            composer.refresh(&self.devices);
        }
    }

    /// The devices of a group are said by patterns instead of by name.
    pub(super) fn compose_by_patterns(&mut self) {
        if let Some(composer) = &mut self.composer {
            composer.devices.clear();
            composer.refresh(&self.devices);
        }
    }

    pub(super) fn choose_command(&mut self, name: &str) {
        if let Some(composer) = &mut self.composer {
            composer.choose(name, &self.devices);
        }
    }

    pub(super) fn submit_group(&mut self, confirmed: bool) -> Vec<Effect> {
        let (may_send, id, now) = (self.connection.may_send(), self.next_request, self.now());
        let Some(composer) = &mut self.composer else { return Vec::new() };
        composer.refused = None;
        match composer.stage {
            ComposerStage::Editing if may_send => {
                if composer.preview().is_some_and(|(get, _)| !get.is_empty()) {
                    composer.stage = ComposerStage::Confirming;
                }
                Vec::new()
            }
            ComposerStage::Confirming if may_send && confirmed => {
                match composer.send(id, &self.groups, now) {
                    Some(send) => {
                        self.next_request += 1;
                        self.requests.insert(id, Request::SendGroup);
                        vec![Effect::Send(send.into())]
                    }
                    None => {
                        composer.stage = ComposerStage::Editing;
                        Vec::new()
                    }
                }
            }
            _ => Vec::new(),
        }
    }

    /// Does what the person has said yes to.
    pub(super) fn answer_question(&mut self, yes: bool) -> Vec<Effect> {
        let Some(question) = self.question.take().filter(|_| yes && self.connection.may_send()) else {
            return Vec::new();
        };
        let id = self.request(Request::ChangeGroup);
        let message = match question {
            Question::CancelGroup(group, begun) => CancelGroup { id, group, begun }.into(),
            Question::RetryGroup(group) => RetryGroup { id, group, states: Vec::new() }.into(),
        };
        vec![Effect::Send(message)]
    }

    pub(super) fn ask_groups(&mut self) -> Effect {
        self.groups.error = None;
        let id = self.request(Request::Groups);
        Effect::Send(GroupsRequest { id, limit: Some(GROUPS_AT_START), ..GroupsRequest::default() }.into())
    }

    /// Asks again for what of groups could not be had.
    pub(super) fn ask_groups_again(&mut self) -> Vec<Effect> {
        if let Some(composer) = &mut self.composer {
            composer.ask_again();
        }
        let is_wanted = self.groups.error.is_some() && self.connection.is_connected();
        if is_wanted { vec![self.ask_groups()] } else { Vec::new() }
    }

    /// Whether the groups of the past are on their way.
    pub fn is_asking_groups(&self) -> bool {
        self.requests.values().any(|request| *request == Request::Groups)
    }

    /// What is to be asked of the hub for what is shown of groups.
    pub(super) fn groups_wanted(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (id, now) = (self.next_request, self.local);
        if let Some(request) = self.groups.wanted(id, now) {
            self.next_request += 1;
            self.requests.insert(id, Request::Members);
            effects.push(Effect::Send(request.into()));
        }
        let id = self.next_request;
        if self.connection.may_send()
            && let Some(request) = self.composer.as_mut().and_then(|c| c.wanted(id))
        {
            self.next_request += 1;
            self.requests.insert(id, Request::DryRun);
            effects.push(Effect::Send(SendGroup { dry_run: true, ..request }.into()));
        }
        effects
    }

    pub(super) fn on_group(&mut self, event: GroupEvent) {
        let GroupEvent { id, group } = event;
        let asked = id.and_then(|id| self.requests.remove(&id));
        let is_ours = matches!(asked, Some(Request::SendGroup))
            || self.composer.as_ref().is_some_and(|c| c.is_answered_by(&group));
        let group_id = group.id.clone();
        let is_retry = matches!(asked, Some(Request::ChangeGroup)) && self.groups.get(&group_id).is_none();
        if is_ours || is_retry {
            self.groups.mark_ours(&group_id);
        }
        if self.groups.put(*group) {
            self.tell_group_end(&group_id);
        }
        if is_ours {
            self.composer = None;
            self.chosen.clear();
        }
        if is_ours || is_retry {
            self.table.open = false;
            self.groups.show(Some(group_id));
        }
    }

    fn tell_group_end(&mut self, id: &GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        let total = group.tally.total();
        let done = group.tally.of(MemberState::Issued(CommandState::Succeeded));
        let noun = if total == 1 { "device" } else { "devices" };
        let text = format!("{} on {total} {noun} has ended", format::humanize(group.request.name.as_str()));
        let counts =
            group.tally.counts().map(|(state, count)| format!("{count} {}", outcome::member_label(state)));
        let detail = counts.collect::<Vec<_>>().join(", ");
        let level = match group.tally.failures() {
            0 if done == total => Level::Success,
            0 => Level::Info,
            _ => Level::Error,
        };
        self.toast(level, &text, Some(detail));
    }

    pub(super) fn on_groups(&mut self, answer: protocol::viewer::Groups) {
        let asked = self.requests.remove(&answer.id);
        for group in answer.groups {
            self.on_group(GroupEvent { id: None, group: Box::new(group) });
        }
        if asked == Some(Request::Groups)
            && let Some(composer) =
                self.composer.as_mut().filter(|c| matches!(c.stage, ComposerStage::InDoubt(_)))
        {
            composer.stage = ComposerStage::Editing;
            composer.refused = Some(
                "It did not get there: the hub does not have it. Send it again if it is still wanted.".into(),
            );
        }
    }

    pub(super) fn on_members(&mut self, part: Members) {
        let Members { id, members, more } = part;
        match self.requests.get(&id) {
            Some(Request::Members) => self.groups.on_members(id, members, more),
            Some(Request::DryRun) => {
                if let Some(composer) = &mut self.composer {
                    composer.on_members(id, members, more);
                }
            }
            _ => {}
        }
        if !more {
            self.requests.remove(&id);
        }
    }

    /// A request about groups could not be met.
    pub(super) fn on_group_error(&mut self, id: u64, request: &Request, error: &ErrorMessage) -> Vec<Effect> {
        let message = format::ellipsis(&error.message, TEXT_MAX);
        match request {
            Request::SendGroup => {
                let is_in_doubt = error.code == ErrorCode::Internal;
                if let Some(composer) = &mut self.composer {
                    if is_in_doubt {
                        composer.stage = ComposerStage::InDoubt(id);
                    } else {
                        composer.stage = ComposerStage::Editing;
                        composer.refused = Some(message);
                    }
                }
                if is_in_doubt && self.connection.is_connected() {
                    return vec![self.ask_groups()];
                }
            }
            Request::ChangeGroup => {
                let text = "The group could not be changed";
                self.toast(Level::Error, text, Some(message));
            }
            Request::Members => self.groups.members_failed(id, message),
            Request::Groups => self.groups.error = Some(message),
            Request::DryRun => {
                if let Some(composer) = &mut self.composer {
                    composer.preview_failed(id, message);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// The life of the command of a member; the hub is asked for it if it is not known.
    pub(super) fn show_member(
        &mut self,
        group: GroupId,
        device: DeviceId,
        command: CommandId,
    ) -> Vec<Effect> {
        let is_known = self.commands.get(&command).is_some();
        self.detail = Some(command);
        if is_known || !self.connection.is_connected() {
            return Vec::new();
        }
        let request = CommandsRequest {
            device: Some(device),
            group: Some(group),
            limit: Some(1),
            ..CommandsRequest::default()
        };
        vec![self.ask(Request::Commands, request)]
    }

    pub(super) fn forget_groups(&mut self) {
        let open = std::mem::take(&mut self.groups).open;
        self.groups.open = open;
        self.question = None;
    }
}
