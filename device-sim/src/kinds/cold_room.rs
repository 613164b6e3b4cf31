//! A cold room: a compressor under a PI controller, a door that people open, ice that wants defrosting.

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, unknown};
use crate::catalog::{About, amount, command, flag, number, slow, switch, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random, Sky};

/// Electrical power of the compressor at full speed, in watts.
const COMPRESSOR_MAX: f64 = 4_200.0;
/// Kelvin a second that full cooling takes from the air: a step of 10 K is done in half a minute.
const COOLING: f64 = 1.1;
/// Slowest the compressor turns, as a share of full speed; below, it goes on and off.
const COMPRESSOR_MIN: f64 = 0.3;
/// Kelvin around the setpoint between which it does.
const BAND: f64 = 0.8;
/// Share of the difference to the hall outside that comes in each second, door shut.
const LEAK: f64 = 0.006;

static ABOUT: About = About {
    prefix: "cold-room",
    model: "Cold room CR-40",
    firmware: "5.1.0",
    metrics: &[
        number("temperature", "Air temperature", "Cel", 2.0, (-35.0, 25.0)),
        number("product_temperature", "Product temperature", "Cel", 0.2, (-35.0, 25.0)),
        number("setpoint", "Setpoint", "Cel", 0.5, (-30.0, 10.0)),
        number("humidity", "Humidity", "%RH", 0.5, (20.0, 100.0)),
        number("compressor_power", "Compressor power", "W", 2.0, (0.0, 5_000.0)),
        number("suction_pressure", "Suction pressure", "Pa", 5.0, (50_000.0, 700_000.0)),
        flag("door_open", "Door open", 1.0),
        text("state", "State", 1.0),
    ],
    commands: &[
        command("set_temperature", "Set temperature", &[amount("setpoint", "Cel", (-30.0, 10.0), -18.0)]),
        slow("defrost", "Defrost", 15.0),
        command("lock_door", "Lock door", &[switch("locked", true)]),
        command("start", "Start cooling", &[]),
        command("stop", "Stop cooling", &[]).confirmed(),
    ],
};

pub(super) struct ColdRoom {
    random: Random,
    bench: Bench,
    sky: Sky,
    on: bool,
    compressing: bool,
    setpoint: f64,
    air: f64,
    product: Lag,
    integral: f64,
    compressor: Lag,
    humidity: Lag,
    ice: f64,
    door_open_for: Option<f64>,
    locked: bool,
    sensor: Drift,
}

impl ColdRoom {
    pub(super) fn new(seed: u64, second_of_day: f64) -> Self {
        let mut random = Random::new(seed);
        let setpoint = random.between(-22.0, -16.0).round();
        Self {
            bench: Bench::default(),
            sky: Sky::new(second_of_day, &mut random),
            on: true,
            compressing: true,
            setpoint,
            air: setpoint,
            product: Lag::new(setpoint, 400.0),
            integral: 0.22,
            compressor: Lag::new(0.22, 1.5),
            humidity: Lag::new(72.0, 30.0),
            ice: random.between(0.0, 0.4),
            door_open_for: None,
            locked: false,
            sensor: Drift::new(0.05, 1_800.0, &mut random),
            random,
        }
    }

    fn defrosting(&self) -> bool {
        self.bench.running() == Some("defrost")
    }

    fn state(&self) -> &'static str {
        if self.defrosting() {
            "defrost"
        } else if !self.on {
            "off"
        } else if self.air > self.setpoint + 8.0 {
            "too_warm"
        } else if self.compressor.value > 0.05 {
            "cooling"
        } else {
            "idle"
        }
    }

    /// The door: opened a few times an hour for some seconds, unless locked.
    fn step_door(&mut self, dt: f64) {
        match &mut self.door_open_for {
            Some(left) => {
                *left -= dt;
                if *left <= 0.0 {
                    self.door_open_for = None;
                }
            }
            None if !self.locked && self.random.happens(dt, 180.0) => {
                self.door_open_for = Some(self.random.between(3.0, 15.0));
            }
            None => {}
        }
    }
}

impl Model for ColdRoom {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.sky.step(dt, &mut self.random);
        self.sensor.step(dt, &mut self.random);
        self.step_door(dt);
        let cooling = self.on && !self.defrosting();
        let error = self.air - self.setpoint;
        let wanted = if cooling {
            // The integral is held while the output is at its limit.
            let raw = 0.28 * error + self.integral;
            if (0.0..1.0).contains(&raw) || (raw >= 1.0 && error < 0.0) || (raw <= 0.0 && error > 0.0) {
                self.integral = (self.integral + 0.012 * error * dt).clamp(0.0, 1.0);
            }
            if error.abs() > BAND {
                self.compressing = error > 0.0;
            }
            if self.compressing { raw.clamp(COMPRESSOR_MIN, 1.0) } else { 0.0 }
        } else {
            0.0
        };
        self.compressor.step(wanted, dt);
        let hall = 0.5 * self.sky.temperature() + 9.0;
        let leak = LEAK * if self.door_open_for.is_some() { 3.0 } else { 1.0 };
        let cold = COOLING * self.compressor.value * (1.0 - 0.3 * self.ice);
        let heat = if self.defrosting() { 0.35 } else { 0.0 };
        // Exact for the leak, so that a long step cannot overshoot the hall's temperature.
        let equilibrium = hall + (heat - cold) / leak;
        self.air = equilibrium + (self.air - equilibrium) * f64::exp(-leak * dt);
        self.air = self.air.clamp(-34.0, hall.max(-34.0));
        self.product.step(self.air, dt);
        let damp = if self.door_open_for.is_some() { 92.0 } else { 74.0 - 8.0 * self.compressor.value };
        self.humidity.step(damp, dt);
        self.ice = (self.ice + dt * self.compressor.value / 7_200.0).min(1.0);
        if self.bench.step(dt) == Some("defrost") {
            let melted = self.ice * 6.0;
            self.ice = 0.0;
            self.bench.set_result(json!({ "melted_litres": (melted * 10.0).round() / 10.0 }));
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        Some(Value::Number(match metric {
            "temperature" => self.air + self.sensor.value + self.random.normal(0.03),
            "product_temperature" => self.product.value + self.random.normal(0.02),
            "setpoint" => self.setpoint,
            "humidity" => (self.humidity.value + self.random.normal(0.4)).clamp(0.0, 100.0),
            "compressor_power" => {
                let share = self.compressor.value;
                (COMPRESSOR_MAX * share + 45.0 + self.random.normal(25.0 * share)).max(0.0)
            }
            "suction_pressure" => {
                let pull = 1.0 - 0.45 * self.compressor.value;
                (310_000.0 + 6_000.0 * (self.air + 18.0)) * pull + self.random.normal(1_200.0)
            }
            "door_open" => return Some(Value::Bool(self.door_open_for.is_some())),
            "state" => return Some(Value::from(self.state())),
            _ => return None,
        }))
    }

    fn command(&mut self, name: &str, args: &Args) -> Reply {
        match name {
            "set_temperature" => {
                self.setpoint = number_arg(args, "setpoint", self.setpoint);
                Reply::Done(json!({ "setpoint": self.setpoint }))
            }
            "defrost" => self.bench.begin("defrost", 15.0, None),
            "lock_door" => {
                let locked = args.get("locked").and_then(serde_json::Value::as_bool).unwrap_or(true);
                if locked && self.door_open_for.is_some() {
                    return Reply::Failed("the door is open: close it and try again".into());
                }
                self.locked = locked;
                Reply::Done(json!({ "locked": locked }))
            }
            "start" => {
                self.on = true;
                Reply::Done(json!({ "state": "cooling" }))
            }
            "stop" => {
                self.on = false;
                self.bench.cancel();
                Reply::Done(json!({ "state": "off" }))
            }
            other => unknown(other),
        }
    }

    fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
