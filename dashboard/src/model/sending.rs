//! Sending commands: from the form to the hub's answer, also over a connection that breaks in between.
//!
//! A request whose answer was lost is in doubt, not failed: the hub may have taken it. When the hub is back its list of
//! commands is asked, and only then the form says what became of it.

use std::collections::HashSet;

use protocol::command::CommandState;
use protocol::declare::CommandDeclaration;
use protocol::viewer::{CancelCommand, CommandEvent, Commands, CommandsRequest, ErrorMessage, SendCommand};
use protocol::{CommandId, DeviceId, ErrorCode, Timestamp};

use super::commands::{changed_at, issued_at};
use super::form::{Field, Form, FormStage};
use super::{Effect, Level, Model, Request, TEXT_MAX, outcome};
use crate::format;

/// How far the hub's clock may be off from what is believed of it here, in microseconds, when a command is looked up.
const CLOCK_MARGIN_MICROS: i64 = 10_000_000;
/// Most commands looked through for one whose answer was lost. Chosen: what a person can send in a bad minute.
const LOOKUP_MAX: u32 = 50;

/// A command that was handed to the link and not answered yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) request: SendCommand,
    pub(super) label: String,
    /// When, by the hub's clock.
    at: Timestamp,
    /// Commands of that name that were known before: none of them is this one.
    before: HashSet<CommandId>,
}

impl Sent {
    fn is_answered_by(&self, command: &protocol::viewer::CommandInfo) -> bool {
        let SendCommand { device, name, args, .. } = &self.request;
        command.device == *device
            && command.name == *name
            && command.args == *args
            && issued_at(command) >= self.earliest()
            && !self.before.contains(&command.id)
    }

    const fn earliest(&self) -> Timestamp {
        self.at.plus_micros(-CLOCK_MARGIN_MICROS)
    }
}

impl Model {
    /// Closes the form if its device does not take the command any more; keeps what was typed if it only changed.
    pub(super) fn check_form(&mut self) {
        let Some(form) = &mut self.form else { return };
        let (Some(known), Some(device)) = (&form.declaration, &form.device) else { return };
        let declared =
            self.devices.get(device).and_then(|d| d.info.commands.iter().find(|c| c.name == known.name));
        match declared {
            Some(now) if now == known => {}
            Some(now) => *form = form.redeclared(now.clone()),
            None => {
                let text = format!("{device} does not take {} any more", known.name);
                self.form = None;
                self.toast(Level::Warning, &text, None);
            }
        }
    }

    pub(super) fn open_form(&mut self, name: Option<&str>) {
        self.form = name.and_then(|name| {
            let device = self.selected_device()?;
            let declaration = device.info.commands.iter().find(|c| c.name.as_str() == name)?;
            Some(Form::new(device.info.id.clone(), declaration.clone()))
        });
    }

    pub(super) fn open_undeclared(&mut self) {
        self.form = self.selected_device().map(|device| Form::undeclared(device.info.id.clone()));
    }

    pub(super) fn type_into_form(&mut self, field: Field, text: String) {
        if self.composer.is_some() {
            self.type_into_composer(field, text);
        } else if let Some(form) = &mut self.form {
            form.set_text(field, text);
        }
    }

    /// The form that is being filled in: that of a group covers all else.
    pub(super) fn active_form(&mut self) -> Option<&mut Form> {
        match &mut self.composer {
            Some(composer) => composer.form.as_mut(),
            None => self.form.as_mut(),
        }
    }

    /// What is wrong with the open form; besides its own fields, a name that has a form of its own.
    pub fn form_problems(&self) -> Vec<super::form::FormProblem> {
        let Some(form) = &self.form else { return Vec::new() };
        let mut problems = form.problems();
        if form.declaration.is_none()
            && let Some(device) = &form.device
            && let Some(declared) = self.declaration(device, &form.name())
        {
            let text = format!("{device} declares {}: use its form, which checks it", declared.name);
            problems.insert(0, super::form::FormProblem { field: Field::Name, text, missing: false });
        }
        problems
    }

    /// What a device says of one of its commands.
    pub fn declaration(&self, device: &DeviceId, name: &str) -> Option<&CommandDeclaration> {
        self.devices.get(device)?.info.commands.iter().find(|c| c.name.as_str() == name)
    }

    pub(super) fn submit(&mut self, confirmed: bool) -> Vec<Effect> {
        let problems = self.form_problems();
        let may_send = self.connection.may_send();
        let id = self.next_request;
        let now = self.now();
        let Some(form) = &mut self.form else { return Vec::new() };
        form.refused = None;
        if matches!(form.stage, FormStage::Sending(_) | FormStage::InDoubt(_)) || !may_send {
            return Vec::new();
        }
        let Some(request) = form.request(id).filter(|_| problems.is_empty()) else {
            form.stage = FormStage::Editing;
            return Vec::new();
        };
        if form.asks_first() && !(confirmed && form.stage == FormStage::Confirming) {
            form.stage = FormStage::Confirming;
            return Vec::new();
        }
        form.stage = FormStage::Sending(id);
        self.next_request += 1;
        let label = self.command_label(&request.device, request.name.as_str());
        let mut sent = Sent { request: request.clone(), label, at: now, before: HashSet::new() };
        sent.before = self
            .commands
            .of_device(&request.device)
            .take_while(|c| issued_at(c) >= sent.earliest())
            .map(|c| c.id.clone())
            .collect();
        self.requests.insert(id, Request::Send(Box::new(sent)));
        vec![Effect::Send(request.into())]
    }

    pub(super) fn cancel(&mut self, command: CommandId) -> Vec<Effect> {
        if !self.connection.may_send() {
            return Vec::new();
        }
        let id = self.request(Request::Cancel(command.clone()));
        vec![Effect::Send(CancelCommand { id, command }.into())]
    }

    /// The hub answered a request of this number with this command.
    fn sent_is_known(&mut self, id: u64, command: &CommandId) -> bool {
        if let Some(form) = self
            .form
            .as_mut()
            .filter(|f| f.stage == FormStage::Sending(id) || f.stage == FormStage::InDoubt(id))
        {
            form.stage = FormStage::Editing;
        }
        self.commands.mark_ours(command);
        // It may have ended before it was known to be ours.
        self.commands.get(command).is_some_and(|c| c.state.is_final())
    }

    pub(super) fn on_command(&mut self, event: CommandEvent) {
        let CommandEvent { id, command } = event;
        let command_id = command.id.clone();
        self.groups.on_command(&command);
        let mut ended = self.commands.put(command);
        match id.and_then(|id| self.requests.remove(&id).map(|request| (id, request))) {
            Some((id, Request::Send(_))) => ended |= self.sent_is_known(id, &command_id),
            // The window may have been told of it before its list could be asked.
            None => ended |= self.settle_doubt(&command_id),
            Some(_) => {}
        }
        if ended {
            self.tell_end(&command_id);
        }
    }

    fn settle_doubt(&mut self, command: &CommandId) -> bool {
        let Some(info) = self.commands.get(command) else { return false };
        let doubt = self.requests.iter().find_map(|(id, request)| match request {
            Request::InDoubt(sent) if sent.is_answered_by(info) => Some(*id),
            _ => None,
        });
        let Some(id) = doubt else { return false };
        let Some(Request::InDoubt(sent)) = self.requests.remove(&id) else { return false };
        let text = format!("{} reached the hub after all", sent.label);
        self.toast(Level::Info, &text, Some(format!("It was sent to {} once.", sent.request.device)));
        self.sent_is_known(id, command)
    }

    fn tell_end(&mut self, id: &CommandId) {
        let Some(command) = self.commands.get(id) else { return };
        let label = self.command_label(&command.device, command.name.as_str());
        let took = changed_at(command).micros_since(issued_at(command));
        let (level, end) = match command.state {
            CommandState::Succeeded => (Level::Success, format!("done in {}", format::duration(took))),
            CommandState::Cancelled => (Level::Info, "cancelled".to_owned()),
            CommandState::Unresolved => (Level::Warning, outcome::label(command.state).to_owned()),
            state => (Level::Error, outcome::label(state).to_owned()),
        };
        let text = format!("{label} on {}: {end}", command.device);
        let detail = match command.state {
            CommandState::Failed | CommandState::Rejected => command.error.clone(),
            CommandState::Succeeded | CommandState::Cancelled => None,
            _ => outcome::meaning(command, true).or_else(|| command.error.clone()),
        };
        let detail = detail.as_deref().map(|e| format::ellipsis(e, TEXT_MAX));
        self.toast(level, &text, detail);
    }

    /// A command could not be sent, or nobody knows whether it was.
    pub(super) fn on_send_error(&mut self, id: u64, sent: Box<Sent>, error: &ErrorMessage) -> Vec<Effect> {
        let form = self.form.as_mut().filter(|f| f.stage == FormStage::Sending(id));
        if error.code == ErrorCode::Internal {
            let (text, label) = (format!("No answer to {} yet", sent.label), sent.label.clone());
            match form {
                Some(form) => form.stage = FormStage::InDoubt(id),
                None => {
                    let detail = format!("Whether the hub took {label} is looked up when it is back.");
                    self.toast(Level::Warning, &text, Some(detail));
                }
            }
            self.requests.insert(id, Request::InDoubt(sent));
            return if self.connection.is_connected() { self.look_up_doubts() } else { Vec::new() };
        }
        let message = format::ellipsis(&error.message, TEXT_MAX);
        if let Some(form) = form {
            form.stage = FormStage::Editing;
            form.refused = Some(message);
        } else {
            let text = format!("{} was not sent to {}", sent.label, sent.request.device);
            self.toast(Level::Error, &text, Some(message));
        }
        Vec::new()
    }

    /// Asks the hub for the commands whose answers were lost.
    pub(super) fn look_up_doubts(&mut self) -> Vec<Effect> {
        let is_looked_up =
            |id: &u64| self.requests.values().any(|r| matches!(r, Request::Lookup(of) if of == id));
        let mut doubts: Vec<(u64, CommandsRequest)> = self
            .requests
            .iter()
            .filter(|(id, _)| !is_looked_up(id))
            .filter_map(|(id, request)| match request {
                Request::InDoubt(sent) => Some((
                    *id,
                    CommandsRequest {
                        device: Some(sent.request.device.clone()),
                        name: Some(sent.request.name.clone()),
                        since: Some(sent.earliest()),
                        limit: Some(LOOKUP_MAX),
                        ..CommandsRequest::default()
                    },
                )),
                _ => None,
            })
            .collect();
        doubts.sort_by_key(|(id, _)| *id);
        doubts
            .into_iter()
            .map(|(of, request)| {
                let id = self.request(Request::Lookup(of));
                Effect::Send(CommandsRequest { id, ..request }.into())
            })
            .collect()
    }

    /// The hub has told which commands of that name it has: the one in doubt is among them, or did not get there.
    pub(super) fn on_lookup(&mut self, of: u64, commands: Commands) {
        let ids: Vec<CommandId> = commands.commands.iter().map(|c| c.id.clone()).collect();
        for command in commands.commands {
            self.commands.put(command);
        }
        for id in &ids {
            if self.requests.contains_key(&of) && self.settle_doubt(id) {
                self.tell_end(id);
            }
        }
        if let Some(Request::InDoubt(sent)) = self.requests.remove(&of) {
            let text = "It did not get there: the hub does not have it. Send it again if it is still wanted.";
            if let Some(form) = self.form.as_mut().filter(|f| f.stage == FormStage::InDoubt(of)) {
                form.stage = FormStage::Editing;
                form.refused = Some(text.to_owned());
            } else {
                let title = format!("{} was not sent to {}", sent.label, sent.request.device);
                self.toast(Level::Error, &title, Some(text.to_owned()));
            }
        }
    }
}
