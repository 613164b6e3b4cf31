//! A greenhouse: sun heats it, a vent cools it, a heater warms it, plants breathe and drink.

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, text_arg, unknown};
use crate::catalog::{About, Command, amount, choice, command, flag, number, slow, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random, Sky};

static ABOUT: About = About {
    prefix: "greenhouse",
    model: "Greenhouse GH-12",
    firmware: "1.9.3",
    metrics: &[
        number("air_temperature", "Air temperature", "Cel", 1.0, (0.0, 50.0)),
        number("humidity", "Humidity", "%RH", 1.0, (10.0, 100.0)),
        number("co2", "CO2", "ppm", 0.5, (250.0, 2_500.0)),
        number("light", "Light", "lx", 2.0, (0.0, 110_000.0)),
        number("soil_moisture", "Soil moisture", "%", 0.1, (0.0, 100.0)),
        number("vent", "Vent opening", "%", 1.0, (0.0, 100.0)),
        number("heating_power", "Heating power", "W", 1.0, (0.0, 20_000.0)),
        number("setpoint", "Setpoint", "Cel", 0.2, (5.0, 35.0)),
        flag("irrigating", "Irrigating", 1.0),
        text("state", "State", 1.0),
    ],
    commands: &[
        command("set_temperature", "Set temperature", &[amount("setpoint", "Cel", (5.0, 35.0), 22.0)]),
        command(
            "set_vent",
            "Set vent",
            &[choice("mode", &["auto", "manual"]), amount("opening", "%", (0.0, 100.0), 40.0)],
        ),
        Command {
            name: "irrigate",
            label: "Irrigate",
            params: &[amount("seconds", "s", (5.0, 60.0), 12.0)],
            confirm: false,
            timeout: 60.0,
        },
        slow("calibrate_co2", "Calibrate CO2 sensor", 8.0),
        command("start", "Start climate control", &[]),
        command("stop", "Stop climate control", &[]).confirmed(),
    ],
};

pub(super) struct Greenhouse {
    random: Random,
    bench: Bench,
    sky: Sky,
    on: bool,
    setpoint: f64,
    air: Lag,
    humidity: Lag,
    co2: Lag,
    co2_drift: Drift,
    soil: f64,
    vent: Lag,
    manual_vent: Option<f64>,
    heating: Lag,
}

impl Greenhouse {
    pub(super) fn new(seed: u64, second_of_day: f64) -> Self {
        let mut random = Random::new(seed);
        let setpoint = random.between(19.0, 23.0).round();
        Self {
            bench: Bench::default(),
            sky: Sky::new(second_of_day, &mut random),
            on: true,
            setpoint,
            air: Lag::new(setpoint, 14.0),
            humidity: Lag::new(65.0, 40.0),
            co2: Lag::new(520.0, 60.0),
            co2_drift: Drift::new(12.0, 7_200.0, &mut random),
            soil: random.between(35.0, 60.0),
            vent: Lag::new(10.0, 6.0),
            manual_vent: None,
            heating: Lag::new(4_000.0, 5.0),
            random,
        }
    }

    fn state(&self) -> &'static str {
        if !self.on {
            "off"
        } else if self.bench.running() == Some("calibrate_co2") {
            "calibrating"
        } else if self.bench.running().is_some() {
            "irrigating"
        } else if self.heating.value > 500.0 {
            "heating"
        } else if self.vent.value > 15.0 {
            "venting"
        } else {
            "holding"
        }
    }
}

impl Model for Greenhouse {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.sky.step(dt, &mut self.random);
        self.co2_drift.step(dt, &mut self.random);
        let outside = self.sky.temperature();
        let gain = 14.0 * self.sky.irradiance() / 950.0;
        // What the house would settle at by itself, and what is missing from the setpoint.
        let by_itself = outside + gain + 2.0;
        let error = self.setpoint - by_itself;
        let heat = if self.on {
            (error * 1_000.0 + 300.0 * (self.setpoint - self.air.value)).clamp(0.0, 20_000.0)
        } else {
            0.0
        };
        self.heating.step(heat, dt);
        let auto_vent = if self.on {
            (-error * 9.0 + 12.0 * (self.air.value - self.setpoint)).clamp(0.0, 100.0)
        } else {
            0.0
        };
        self.vent.step(self.manual_vent.unwrap_or(auto_vent), dt);
        let open = self.vent.value / 100.0;
        let target = outside + (gain + 2.0) * (1.0 - 0.85 * open) + self.heating.value / 1_000.0;
        self.air.step(target.min(48.0), dt);

        let irrigating = self.bench.running() == Some("irrigate");
        let damp = 88.0 - 1.1 * (self.air.value - 12.0) - 18.0 * open + if irrigating { 12.0 } else { 0.0 };
        self.humidity.step(damp.clamp(20.0, 99.0), dt);
        // By day the plants take CO2, by night they give it; the vent brings the air outside.
        let breath = 650.0 - 330.0 * self.sky.sun();
        self.co2.step(breath + (420.0 - breath) * open, dt);
        let thirst = 0.0008 + 0.003 * self.sky.sun();
        self.soil = (self.soil + dt * if irrigating { 0.9 } else { -thirst }).clamp(8.0, 95.0);
        // Nobody lets it dry out.
        if self.on && self.soil < 25.0 && self.bench.running().is_none() {
            self.soil += 0.4 * dt;
        }
        match self.bench.step(dt) {
            Some("calibrate_co2") => {
                let offset = self.co2_drift.value;
                self.co2_drift.value = 0.0;
                self.bench.set_result(json!({ "offset_ppm": offset.round() }));
            }
            Some(_) => self.bench.set_result(json!({ "soil_moisture": self.soil.round() })),
            None => {}
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        Some(Value::Number(match metric {
            "air_temperature" => self.air.value + self.random.normal(0.05),
            "humidity" => (self.humidity.value + self.random.normal(0.3)).clamp(0.0, 100.0),
            "co2" => self.co2.value + self.co2_drift.value + self.random.normal(3.0),
            "light" => (self.sky.irradiance() * 105.0 * (1.0 + self.random.normal(0.01)) + 2.0).max(0.0),
            "soil_moisture" => (self.soil + self.random.normal(0.1)).clamp(0.0, 100.0),
            "vent" => self.vent.value.clamp(0.0, 100.0),
            "heating_power" => (self.heating.value + self.random.normal(8.0)).max(0.0),
            "setpoint" => self.setpoint,
            "irrigating" => return Some(Value::Bool(self.bench.running() == Some("irrigate"))),
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
            "set_vent" => {
                let manual = text_arg(args, "mode") == "manual";
                self.manual_vent = manual.then(|| number_arg(args, "opening", 40.0));
                Reply::Done(json!({ "mode": if manual { "manual" } else { "auto" } }))
            }
            "irrigate" if self.soil > 85.0 => {
                Reply::Rejected(format!("the soil is wet already: {:.0} %, 85 % at most", self.soil))
            }
            "irrigate" => self.bench.begin("irrigate", number_arg(args, "seconds", 12.0), None),
            "calibrate_co2" => {
                let failure = (self.vent.value < 3.0 && self.random.unit() < 0.5)
                    .then(|| "no fresh air for reference: open the vent and try again".to_owned());
                self.bench.begin("calibrate_co2", 8.0, failure)
            }
            "start" => {
                self.on = true;
                Reply::Done(json!({ "state": "holding" }))
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
