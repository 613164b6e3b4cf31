//! The kinds of devices. Each is a pure model: no clock, no task, random only by its seed.

mod cold_room;
mod greenhouse;
mod machine_tool;
mod pump;
mod solar;
mod weather;

use protocol::Value;
use serde_json::{Map, Value as Json};

use crate::catalog::About;
use crate::job::{Bench, Reply};

/// The arguments of a command, checked against its declaration.
pub type Args = Map<String, Json>;

/// A device that lives as long as it is stepped.
pub trait Model: Send + Sync {
    /// What it is.
    fn about(&self) -> &'static About;

    /// Lets `dt` seconds pass.
    fn step(&mut self, dt: f64);

    /// Reads a metric, with the noise of its sensor. `None` for one it has not.
    fn read(&mut self, metric: &str) -> Option<Value>;

    /// Does a command, or begins it.
    fn command(&mut self, name: &str, args: &Args) -> Reply;

    /// Where its slow commands are worked on.
    fn bench(&mut self) -> &mut Bench;
}

/// The kinds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum DeviceKind {
    /// Moves water from a tank
    Pump,
    /// Keeps goods frozen
    ColdRoom,
    /// Grows tomatoes
    Greenhouse,
    /// Measures the sky
    Weather,
    /// Mills parts
    MachineTool,
    /// Charges a battery from the sun
    Solar,
}

impl DeviceKind {
    /// All kinds, in the order in which a fleet is made up.
    pub const ALL: [Self; 6] =
        [Self::Pump, Self::ColdRoom, Self::Greenhouse, Self::Weather, Self::MachineTool, Self::Solar];

    /// Makes a device of this kind that starts at a second of the day.
    pub fn build(self, seed: u64, second_of_day: f64) -> Box<dyn Model> {
        match self {
            Self::Pump => Box::new(pump::Pump::new(seed)),
            Self::ColdRoom => Box::new(cold_room::ColdRoom::new(seed, second_of_day)),
            Self::Greenhouse => Box::new(greenhouse::Greenhouse::new(seed, second_of_day)),
            Self::Weather => Box::new(weather::Weather::new(seed, second_of_day)),
            Self::MachineTool => Box::new(machine_tool::MachineTool::new(seed)),
            Self::Solar => Box::new(solar::Solar::new(seed, second_of_day)),
        }
    }
}

/// A number among the arguments; `fallback` if it is not there.
fn number_arg(args: &Args, name: &str, fallback: f64) -> f64 {
    args.get(name).and_then(Json::as_f64).unwrap_or(fallback)
}

/// A text among the arguments.
fn text_arg<'a>(args: &'a Args, name: &str) -> &'a str {
    args.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// The answer to a command that a kind does not have.
fn unknown(name: &str) -> Reply {
    Reply::Rejected(format!("this device has no command {name}"))
}
