//! A solar battery: panels, a charge controller, a battery, a household, and the grid.

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, text_arg, unknown};
use crate::catalog::{About, amount, choice, command, flag, number, slow, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random, Sky};

/// Usable energy of the battery, in watt hours.
const CAPACITY: f64 = 9_600.0;

static ABOUT: About = About {
    prefix: "solar",
    model: "Solar battery SB-10",
    firmware: "4.3.7",
    metrics: &[
        number("pv_voltage", "Panel voltage", "V", 2.0, (0.0, 450.0)),
        number("pv_power", "Panel power", "W", 5.0, (0.0, 6_500.0)),
        number("battery_voltage", "Battery voltage", "V", 2.0, (40.0, 60.0)),
        number("battery_current", "Battery current", "A", 5.0, (-130.0, 130.0)),
        number("state_of_charge", "State of charge", "%", 0.2, (0.0, 100.0)),
        number("load_power", "Household load", "W", 2.0, (0.0, 8_000.0)),
        number("grid_power", "Grid power", "W", 2.0, (-7_000.0, 9_000.0)),
        number("grid_frequency", "Grid frequency", "Hz", 10.0, (49.0, 51.0)),
        number("battery_temperature", "Battery temperature", "Cel", 0.1, (0.0, 55.0)),
        flag("grid_connected", "Grid connected", 0.5),
        text("state", "State", 0.5),
    ],
    commands: &[
        command("set_charge_limit", "Set charge limit", &[amount("current", "A", (5.0, 120.0), 60.0)]),
        command("set_mode", "Set mode", &[choice("mode", &["self_use", "backup", "feed_in"])]),
        command("start", "Start inverter", &[]),
        command("stop", "Stop inverter", &[]).confirmed(),
        slow("island_test", "Island test", 8.0),
        slow("equalize", "Equalize cells", 14.0).confirmed(),
    ],
};

pub(super) struct Solar {
    random: Random,
    bench: Bench,
    sky: Sky,
    on: bool,
    mode: &'static str,
    limit: f64,
    current: Lag,
    charge: f64,
    base_load: Drift,
    kettle_left: f64,
    load: Lag,
    frequency: Drift,
    temperature: Lag,
}

impl Solar {
    pub(super) fn new(seed: u64, second_of_day: f64) -> Self {
        let mut random = Random::new(seed);
        Self {
            bench: Bench::default(),
            sky: Sky::new(second_of_day, &mut random),
            on: true,
            mode: "self_use",
            limit: 60.0,
            current: Lag::new(0.0, 5.0),
            charge: random.between(35.0, 75.0),
            base_load: Drift::new(90.0, 300.0, &mut random),
            kettle_left: 0.0,
            load: Lag::new(450.0, 1.0),
            frequency: Drift::new(0.018, 20.0, &mut random),
            temperature: Lag::new(24.0, 600.0),
            random,
        }
    }

    fn panel(&self) -> f64 {
        if self.on { 6.1 * self.sky.irradiance() } else { 0.0 }
    }

    fn voltage(&self) -> f64 {
        46.5 + 0.075 * self.charge + 0.012 * self.current.value
    }

    fn island(&self) -> bool {
        self.bench.running() == Some("island_test")
    }

    fn state(&self) -> &'static str {
        match self.bench.running() {
            Some("equalize") => "equalizing",
            Some(_) => "island",
            None if !self.on => "standby",
            None if self.current.value > 1.0 => "charging",
            None if self.current.value < -1.0 => "discharging",
            None => "holding",
        }
    }
}

impl Model for Solar {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.sky.step(dt, &mut self.random);
        self.base_load.step(dt, &mut self.random);
        self.frequency.step(dt, &mut self.random);
        self.kettle_left = (self.kettle_left - dt).max(0.0);
        if self.kettle_left == 0.0 && self.random.happens(dt, 600.0) {
            self.kettle_left = self.random.between(60.0, 240.0);
        }
        let kettle = if self.kettle_left > 0.0 { 1_900.0 } else { 0.0 };
        self.load.step((430.0 + self.base_load.value).max(120.0) + kettle, dt);

        let spare = self.panel() - self.load.value;
        let wanted = match self.mode {
            _ if !self.on => 0.0,
            _ if self.bench.running() == Some("equalize") => 12.0,
            "feed_in" => 0.0,
            // Kept full from whatever there is, the grid too.
            "backup" => self.limit,
            _ => (spare / self.voltage()).clamp(-110.0, self.limit),
        };
        let full = self.charge >= 99.0 && wanted > 0.0;
        let empty = self.charge <= 10.0 && wanted < 0.0;
        self.current.step(if full || empty { 0.0 } else { wanted.clamp(-110.0, self.limit) }, dt);
        let energy = self.current.value * self.voltage() * dt / 3_600.0;
        self.charge = (self.charge + 100.0 * energy / CAPACITY).clamp(5.0, 100.0);
        self.temperature.step(18.0 + 0.2 * self.sky.temperature() + 0.1 * self.current.value.abs(), dt);
        if self.bench.step(dt) == Some("equalize") {
            self.bench.set_result(json!({ "spread_millivolts": self.random.between(4.0, 12.0).round() }));
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        Some(Value::Number(match metric {
            "pv_voltage" => {
                let lit = self.sky.irradiance();
                if lit < 2.0 {
                    0.0
                } else {
                    (300.0 + 16.0 * lit.ln() + self.random.normal(0.6)).clamp(0.0, 450.0)
                }
            }
            "pv_power" => (self.panel() * (1.0 + self.random.normal(0.006))).max(0.0),
            "battery_voltage" => self.voltage() + self.random.normal(0.02),
            "battery_current" => self.current.value + self.random.normal(0.15),
            "state_of_charge" => self.charge,
            "load_power" => (self.load.value + self.random.normal(6.0)).max(0.0),
            "grid_power" if self.island() => 0.0,
            "grid_power" => {
                self.load.value + self.current.value * self.voltage() - self.panel() + self.random.normal(8.0)
            }
            "grid_frequency" => 50.0 + self.frequency.value + self.random.normal(0.002),
            "battery_temperature" => self.temperature.value + self.random.normal(0.05),
            "grid_connected" => return Some(Value::Bool(!self.island())),
            "state" => return Some(Value::from(self.state())),
            _ => return None,
        }))
    }

    fn command(&mut self, name: &str, args: &Args) -> Reply {
        match name {
            "set_charge_limit" => {
                self.limit = number_arg(args, "current", self.limit);
                Reply::Done(json!({ "current": self.limit }))
            }
            "set_mode" => {
                self.mode = match text_arg(args, "mode") {
                    "backup" => "backup",
                    "feed_in" => "feed_in",
                    _ => "self_use",
                };
                Reply::Done(json!({ "mode": self.mode }))
            }
            "start" => {
                self.on = true;
                Reply::Done(json!({ "state": "holding" }))
            }
            "stop" => {
                self.on = false;
                self.bench.cancel();
                Reply::Done(json!({ "state": "standby" }))
            }
            "island_test" if !self.on => Reply::Rejected("the inverter is off: start it first".into()),
            "island_test" => {
                let failure = (self.load.value > 1_500.0).then(|| {
                    format!("overload: the household draws {:.0} W, 1 500 W at most", self.load.value)
                });
                self.bench.begin("island_test", 8.0, failure)
            }
            "equalize" => self.bench.begin("equalize", 14.0, None),
            other => unknown(other),
        }
    }

    fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
