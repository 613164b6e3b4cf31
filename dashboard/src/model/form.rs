//! The form in which a command is made: what was typed, what is wrong with it, and what would be sent.
//!
//! A declared command is checked by [`protocol::declare::check_args`], each parameter by itself, so that every field
//! can say its own mistake in the same words as the hub. An undeclared one has a name and raw JSON arguments.

use std::collections::BTreeMap;

use protocol::command::Delivery;
use protocol::declare::{CommandDeclaration, ParamDeclaration, check_args};
use protocol::viewer::SendCommand;
use protocol::{DeviceId, Kind, MetricName, limits};
use serde_json::{Map, Value as Json};

use crate::format;

/// Where a form is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormStage {
    /// Being filled in.
    Editing,
    /// The person is asked whether it is meant.
    Confirming,
    /// On its way; the hub has not answered this request yet.
    Sending(u64),
    /// The connection went before the hub answered this request. Its list of commands will tell.
    InDoubt(u64),
}

/// A place of a form that is typed into.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// A parameter, by its name.
    Param(String),
    /// The name of an undeclared command.
    Name,
    /// The arguments of an undeclared command, as JSON.
    Args,
    /// How long it may wait for its delivery.
    Lifetime,
    /// Ids of the devices of a group, or patterns of them.
    Devices,
    /// Patterns of their models.
    Models,
    /// Patterns of their tags.
    Tags,
    /// How many of them at a time.
    AtOnce,
    /// After how many failures no more are begun.
    StopAfter,
}

/// What is wrong with a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormProblem {
    /// At which field.
    pub field: Field,
    /// What, and which bound.
    pub text: String,
    /// Whether there is just nothing there yet.
    pub missing: bool,
}

/// The form of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// For which device; `None`: for a group.
    pub device: Option<DeviceId>,
    /// Which command, as the device declared it; `None`: one that it did not declare.
    pub declaration: Option<CommandDeclaration>,
    /// The arguments so far; a parameter that is not here is left out.
    pub args: Map<String, Json>,
    /// What stands in fields where that is not the value itself.
    pub typed: BTreeMap<Field, String>,
    /// When it is handed over, if not as declared.
    pub delivery: Option<Delivery>,
    /// Whether what few need is unfolded.
    pub unfolded: bool,
    /// Where it is.
    pub stage: FormStage,
    /// What the hub had against it.
    pub refused: Option<String>,
}

impl Form {
    /// The form of a declared command, with the declared defaults filled in.
    pub fn new(device: DeviceId, declaration: CommandDeclaration) -> Self {
        Self::declared(Some(device), declaration)
    }

    /// The form of a command for the devices of a group.
    pub fn for_group(declaration: CommandDeclaration) -> Self {
        Self::declared(None, declaration)
    }

    fn declared(device: Option<DeviceId>, declaration: CommandDeclaration) -> Self {
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
        Self { args, ..Self::empty(device, Some(declaration)) }
    }

    /// The form of a command that the device did not declare.
    pub fn undeclared(device: DeviceId) -> Self {
        Self::empty(Some(device), None)
    }

    fn empty(device: Option<DeviceId>, declaration: Option<CommandDeclaration>) -> Self {
        Self {
            device,
            declaration,
            args: Map::new(),
            typed: BTreeMap::new(),
            delivery: None,
            unfolded: false,
            stage: FormStage::Editing,
            refused: None,
        }
    }

    /// What stands in a field.
    pub fn text(&self, field: &Field) -> String {
        if let Some(typed) = self.typed.get(field) {
            return typed.clone();
        }
        match field {
            Field::Param(name) => match self.args.get(name) {
                Some(Json::String(text)) => text.clone(),
                // -18.0 is written -18, as its bounds are.
                Some(Json::Number(n)) => n.as_f64().map_or_else(|| n.to_string(), |n| n.to_string()),
                Some(value) => value.to_string(),
                None => String::new(),
            },
            _ => String::new(),
        }
    }

    /// Takes in what was typed. A number is kept as it was written until it is one.
    pub(super) fn set_text(&mut self, field: Field, text: String) {
        self.refused = None;
        if let Field::Param(name) = &field {
            let is_number = self.param(name).is_some_and(|p| p.kind == Kind::Number);
            let is_required = self.param(name).is_some_and(|p| p.required);
            if text.is_empty() && (is_number || !is_required) {
                self.args.remove(name);
            } else {
                let value = if is_number { number(&text) } else { None };
                self.args.insert(name.clone(), value.unwrap_or_else(|| Json::String(text.clone())));
            }
        }
        self.typed.insert(field, text);
    }

    /// Gives a parameter a value, or leaves it out.
    pub(super) fn set_arg(&mut self, name: &str, value: Option<Json>) {
        self.refused = None;
        self.typed.remove(&Field::Param(name.to_owned()));
        match value {
            Some(value) => self.args.insert(name.to_owned(), value),
            None => self.args.remove(name),
        };
    }

    /// The same form for what the device declares now, with what was typed as far as it still has a place.
    pub(super) fn redeclared(&self, declaration: CommandDeclaration) -> Self {
        let keeps = |name: &str| declaration.params.iter().any(|p| p.name.as_str() == name);
        let mut fresh = Self::declared(self.device.clone(), declaration.clone());
        for (name, value) in self.args.iter().filter(|(name, _)| keeps(name)) {
            fresh.args.insert(name.clone(), value.clone());
        }
        let stays = |field: &Field| !matches!(field, Field::Param(name) if !keeps(name));
        fresh.typed =
            self.typed.iter().filter(|(f, _)| stays(f)).map(|(f, t)| (f.clone(), t.clone())).collect();
        fresh.delivery = self.delivery;
        fresh.unfolded = self.unfolded;
        fresh.stage = self.stage.clone();
        fresh
    }

    fn param(&self, name: &str) -> Option<&ParamDeclaration> {
        self.declaration.as_ref()?.params.iter().find(|p| p.name.as_str() == name)
    }

    /// The name of the command, as far as there is one.
    pub fn name(&self) -> String {
        match &self.declaration {
            Some(declaration) => declaration.name.as_str().to_owned(),
            None => self.text(&Field::Name).trim().to_owned(),
        }
    }

    /// Whether a person is asked before it is sent: where the device wants that, and for what nobody checks.
    pub fn asks_first(&self) -> bool {
        self.declaration.as_ref().is_none_or(|d| d.confirm)
    }

    /// When it is handed over, and whether that is what the device declares.
    pub fn delivery(&self) -> Delivery {
        self.delivery.unwrap_or_else(|| self.declared_delivery())
    }

    /// When it is handed over unless the operator says otherwise.
    pub fn declared_delivery(&self) -> Delivery {
        self.declaration.as_ref().map(|d| d.delivery).unwrap_or_default()
    }

    /// How long it may wait for its delivery, in milliseconds. `Err` with what is wrong.
    pub fn lifetime(&self) -> Result<u64, String> {
        let text = self.text(&Field::Lifetime);
        if text.trim().is_empty() {
            return Ok(limits::COMMAND_LIFETIME_DEFAULT_MILLIS);
        }
        let millis = format::parse_duration(&text)
            .ok_or_else(|| format!("{:?} is not a time: write 90 s, 5 min, 2 h or 1 d", text.trim()))?;
        match millis {
            0 => Err("it must be above 0".to_owned()),
            m if m > limits::COMMAND_LIFETIME_MAX_MILLIS => {
                let max = format::lifetime(limits::COMMAND_LIFETIME_MAX_MILLIS);
                Err(format!("{} is above the maximum of {max}", text.trim()))
            }
            millis => Ok(millis),
        }
    }

    /// Everything that is wrong with it, in the order of its fields.
    pub fn problems(&self) -> Vec<FormProblem> {
        let mut problems = Vec::new();
        match &self.declaration {
            Some(declaration) => {
                for param in &declaration.params {
                    problems.extend(self.check_param(declaration, param));
                }
            }
            None => {
                let name = self.name();
                if let Err(error) = MetricName::new(&name) {
                    let (field, missing) = (Field::Name, name.is_empty());
                    problems.push(FormProblem { field, text: error.to_string(), missing });
                }
                if let Err(text) = self.raw_args() {
                    problems.push(FormProblem { field: Field::Args, text, missing: false });
                }
            }
        }
        if let Err(text) = self.lifetime() {
            problems.push(FormProblem { field: Field::Lifetime, text, missing: false });
        }
        problems
    }

    fn check_param(&self, declaration: &CommandDeclaration, param: &ParamDeclaration) -> Option<FormProblem> {
        let name = param.name.as_str();
        let alone = CommandDeclaration { params: vec![param.clone()], ..declaration.clone() };
        let args = self.args.get_key_value(name).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect();
        let error = check_args(&alone, &args).err()?;
        let mut text = error.problem;
        if let Some(code) = param.unit.as_deref()
            && let Some(stem) = text.strip_suffix(code)
        {
            text = format!("{stem}{}", format::unit(code));
        }
        let missing = !self.args.contains_key(name);
        Some(FormProblem { field: Field::Param(name.to_owned()), text, missing })
    }

    fn raw_args(&self) -> Result<Map<String, Json>, String> {
        let text = self.text(&Field::Args);
        if text.trim().is_empty() {
            return Ok(Map::new());
        }
        if text.len() > limits::COMMAND_PAYLOAD_MAX_BYTES {
            return Err(format!(
                "{} bytes long: at most {} are allowed",
                text.len(),
                limits::COMMAND_PAYLOAD_MAX_BYTES
            ));
        }
        match serde_json::from_str(&text) {
            Ok(Json::Object(map)) => Ok(map),
            Ok(_) => Err("must be an object: {\"name\": value}".to_owned()),
            Err(error) => Err(format!("is not JSON: {error}")),
        }
    }

    /// What is wrong at a field, if anything.
    pub fn problem(&self, field: &Field) -> Option<FormProblem> {
        self.problems().into_iter().find(|p| p.field == *field)
    }

    /// What would be sent, or all that is wrong.
    pub fn body(&self) -> Result<Body, Vec<FormProblem>> {
        let problems = self.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        let whole = |text: String| vec![FormProblem { field: Field::Args, text, missing: false }];
        let args = match &self.declaration {
            Some(declaration) => check_args(declaration, &self.args).map_err(|e| whole(e.to_string()))?,
            None => self.raw_args().map_err(whole)?,
        };
        let lifetime = self.lifetime().map_err(whole)?;
        Ok(Body {
            name: MetricName::new(&self.name()).map_err(|e| whole(e.to_string()))?,
            args,
            expires_in_ms: (lifetime != limits::COMMAND_LIFETIME_DEFAULT_MILLIS).then_some(lifetime),
            delivery: self.delivery.filter(|way| *way != self.declared_delivery()),
        })
    }

    /// What would be sent to its device with this number; `None` if anything is wrong.
    pub fn request(&self, id: u64) -> Option<SendCommand> {
        let Body { name, args, expires_in_ms, delivery } = self.body().ok()?;
        let force = self.declaration.is_none();
        Some(SendCommand { id, device: self.device.clone()?, name, args, expires_in_ms, delivery, force })
    }
}

/// What a form says.
#[derive(Debug, Clone, PartialEq)]
pub struct Body {
    /// The command.
    pub name: MetricName,
    /// The arguments, defaults filled in.
    pub args: Map<String, Json>,
    /// How long it may wait, if not as usual, in milliseconds.
    pub expires_in_ms: Option<u64>,
    /// When it is handed over, if not as declared.
    pub delivery: Option<Delivery>,
}

/// A number as a person types it: with a decimal comma, or with the minus sign that this window writes.
fn number(text: &str) -> Option<Json> {
    let mut plain = text.trim().replace('−', "-");
    if !plain.contains('.') {
        plain = plain.replacen(',', ".", 1);
    }
    json_number(plain.parse().ok()?)
}

/// A number as it is sent. Whole ones are written as such: a device that reads an integer takes them.
pub fn json_number(n: f64) -> Option<Json> {
    let whole = (n.fract() == 0.0 && n.abs() < 9e15).then(|| Json::from(n as i64));
    whole.or_else(|| serde_json::Number::from_f64(n).map(Json::Number))
}
