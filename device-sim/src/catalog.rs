//! How a kind of device describes itself, as constants, and how that becomes a `hello`.

use protocol::command::Delivery;
use protocol::declare::{CommandDeclaration, MetricDeclaration, ParamDeclaration};
use protocol::device::Hello;
use protocol::{DeviceId, Epoch, Kind, MetricName, NameError, Tag};
use serde_json::{Value as Json, json};

/// A kind of device.
#[derive(Debug)]
pub struct About {
    /// Start of its device ids: `cold-room`.
    pub prefix: &'static str,
    /// What it is, for people.
    pub model: &'static str,
    /// The version it claims.
    pub firmware: &'static str,
    /// What it measures.
    pub metrics: &'static [Metric],
    /// What it can be told.
    pub commands: &'static [Command],
}

/// A metric and how often it is read.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it.
    pub label: &'static str,
    /// SenML's code, empty for none.
    pub unit: &'static str,
    /// What sort of values.
    pub kind: Kind,
    /// Readings a second.
    pub hz: f64,
    /// The plausible range of a number.
    pub range: Option<(f64, f64)>,
}

/// A metric with numbers.
pub const fn number(
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    hz: f64,
    range: (f64, f64),
) -> Metric {
    Metric { name, label, unit, kind: Kind::Number, hz, range: Some(range) }
}

/// A metric that is true or false.
pub const fn flag(name: &'static str, label: &'static str, hz: f64) -> Metric {
    Metric { name, label, unit: "", kind: Kind::Bool, hz, range: None }
}

/// A metric that names a state.
pub const fn text(name: &'static str, label: &'static str, hz: f64) -> Metric {
    Metric { name, label, unit: "", kind: Kind::Text, hz, range: None }
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it.
    pub label: &'static str,
    /// What it needs to know.
    pub params: &'static [Param],
    /// Whether a person should be asked first.
    pub confirm: bool,
    /// Seconds it takes at most; 0 for one that is done at once.
    pub timeout: f64,
}

/// A command that is done at once.
pub const fn command(name: &'static str, label: &'static str, params: &'static [Param]) -> Command {
    Command { name, label, params, confirm: false, timeout: 0.0 }
}

/// A command without parameters that takes up to `timeout` seconds.
pub const fn slow(name: &'static str, label: &'static str, timeout: f64) -> Command {
    Command { name, label, params: &[], confirm: false, timeout }
}

impl Command {
    /// The same, asking before it is sent.
    pub const fn confirmed(mut self) -> Self {
        self.confirm = true;
        self
    }
}

/// A parameter of a command. Each has a default, so that every command can be sent as it stands.
#[derive(Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
}

/// What a parameter takes, and its default.
#[derive(Debug)]
pub enum Takes {
    /// A number in a range.
    Number {
        /// SenML's code.
        unit: &'static str,
        /// Smallest and largest.
        range: (f64, f64),
        /// Default.
        default: f64,
    },
    /// True or false.
    Bool {
        /// Default.
        default: bool,
    },
    /// One of these texts; the first is the default.
    Choice(&'static [&'static str]),
}

/// A parameter that takes a number.
pub const fn amount(name: &'static str, unit: &'static str, range: (f64, f64), default: f64) -> Param {
    Param { name, takes: Takes::Number { unit, range, default } }
}

/// A parameter that takes true or false.
pub const fn switch(name: &'static str, default: bool) -> Param {
    Param { name, takes: Takes::Bool { default } }
}

/// A parameter that takes one of some texts, by default the first.
pub const fn choice(name: &'static str, choices: &'static [&'static str]) -> Param {
    Param { name, takes: Takes::Choice(choices) }
}

impl About {
    /// What a device of this kind says first.
    pub fn hello(&self, device: DeviceId, epoch: Epoch) -> Result<Hello, NameError> {
        Ok(Hello {
            model: Some(self.model.to_owned()),
            firmware: Some(self.firmware.to_owned()),
            tags: tags(&device)?,
            device,
            epoch,
            now: None,
            metrics: self.metrics.iter().map(Metric::declaration).collect::<Result<_, _>>()?,
            commands: self.commands.iter().map(Command::declaration).collect::<Result<_, _>>()?,
        })
    }
}

/// The sites that the fleet is spread over.
const SITES: [&str; 3] = ["site:north", "site:south", "site:west"];

/// Tags by which parts of the fleet can be chosen: a site for each, and every tenth of a kind is a canary.
fn tags(device: &DeviceId) -> Result<Vec<Tag>, NameError> {
    let digits = device.as_str().trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().unwrap_or_default();
    let site = SITES[number % SITES.len()];
    let canary = (number % 10 == 1).then_some("canary");
    [Some(site), canary].into_iter().flatten().map(Tag::new).collect()
}

impl Metric {
    fn declaration(&self) -> Result<MetricDeclaration, NameError> {
        Ok(MetricDeclaration {
            name: MetricName::new(self.name)?,
            unit: (!self.unit.is_empty()).then(|| self.unit.to_owned()),
            label: Some(self.label.to_owned()),
            min: self.range.map(|r| r.0),
            max: self.range.map(|r| r.1),
            kind: self.kind,
        })
    }
}

impl Command {
    fn declaration(&self) -> Result<CommandDeclaration, NameError> {
        Ok(CommandDeclaration {
            name: MetricName::new(self.name)?,
            label: Some(self.label.to_owned()),
            params: self.params.iter().map(Param::declaration).collect::<Result<_, _>>()?,
            confirm: self.confirm,
            timeout: (self.timeout > 0.0).then_some(self.timeout),
            delivery: Delivery::AtOnce,
        })
    }
}

impl Param {
    fn declaration(&self) -> Result<ParamDeclaration, NameError> {
        let (kind, default) = match &self.takes {
            Takes::Number { default, .. } => (Kind::Number, json!(default)),
            Takes::Bool { default } => (Kind::Bool, json!(default)),
            Takes::Choice(choices) => (Kind::Text, choices.first().map_or(Json::Null, |first| json!(first))),
        };
        let (unit, range) = match &self.takes {
            Takes::Number { unit, range, .. } => (Some((*unit).to_owned()), Some(*range)),
            Takes::Bool { .. } | Takes::Choice(_) => (None, None),
        };
        let choices = match &self.takes {
            Takes::Choice(choices) => choices.iter().map(|c| (*c).to_owned()).collect(),
            Takes::Number { .. } | Takes::Bool { .. } => Vec::new(),
        };
        Ok(ParamDeclaration {
            name: MetricName::new(self.name)?,
            kind,
            unit: unit.filter(|u| !u.is_empty()),
            min: range.map(|r| r.0),
            max: range.map(|r| r.1),
            choices,
            default: Some(default),
            required: true,
        })
    }
}
