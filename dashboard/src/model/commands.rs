//! Commands: all that are known with every state they went through, and the form a new one is made in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use protocol::command::CommandState;
use protocol::declare::{CommandDeclaration, DeclarationError, check_args};
use protocol::viewer::CommandInfo;
use protocol::{CommandId, DeviceId, Kind, Timestamp};
use serde_json::{Map, Value as Json};

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

/// Where a form is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormStage {
    /// Being filled in.
    Editing,
    /// The person is asked whether it is meant.
    Confirming,
    /// On its way; the hub has not answered this request yet.
    Sending(u64),
}

/// The form of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// For which device.
    pub device: DeviceId,
    /// Which command, as the device declared it.
    pub declaration: CommandDeclaration,
    /// The arguments so far; a parameter that is not here is left out.
    pub args: Map<String, Json>,
    /// Where it is.
    pub stage: FormStage,
    /// What the hub had against it.
    pub refused: Option<String>,
    /// Whether sending was tried, so that what is missing is worth saying.
    pub tried: bool,
}

/// What is wrong with a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormProblem {
    /// At which parameter, if at one.
    pub param: Option<String>,
    /// What.
    pub text: String,
}

impl Form {
    /// The form with the declared defaults filled in.
    pub fn new(device: DeviceId, declaration: CommandDeclaration) -> Self {
        let mut args = Map::new();
        for param in &declaration.params {
            let start = param.default.clone().or_else(|| {
                // A required switch or choice always says something: begin with what its control shows.
                match param.kind {
                    Kind::Bool if param.required => Some(Json::Bool(false)),
                    Kind::Text if param.required => param.choices.first().cloned().map(Json::String),
                    _ => None,
                }
            });
            if let Some(value) = start {
                args.insert(param.name.as_str().to_owned(), value);
            }
        }
        Self { device, declaration, args, stage: FormStage::Editing, refused: None, tried: false }
    }

    /// The arguments as they would be sent, or the first thing wrong with them.
    pub fn check(&self) -> Result<Map<String, Json>, FormProblem> {
        check_args(&self.declaration, &self.args).map_err(|e| self.problem(e))
    }

    fn problem(&self, error: DeclarationError) -> FormProblem {
        let param = error.place.strip_prefix("args.").map(str::to_owned);
        let mut text = error.problem;
        let code = param
            .as_deref()
            .and_then(|name| self.declaration.params.iter().find(|p| p.name.as_str() == name))
            .and_then(|p| p.unit.as_deref());
        if let Some(code) = code
            && let Some(stem) = text.strip_suffix(code)
        {
            text = format!("{stem}{}", crate::format::unit(code));
        }
        FormProblem { param, text: crate::format::humanize(&text) }
    }
}

/// What a state says about how it went.
pub const fn is_bad_end(state: CommandState) -> bool {
    matches!(
        state,
        CommandState::Failed | CommandState::Rejected | CommandState::Expired | CommandState::Unresolved
    )
}
