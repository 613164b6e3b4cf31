//! A weather station on a mast: slow sensors, a wind vane that swings, showers.

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, text_arg, unknown};
use crate::catalog::{About, amount, choice, command, flag, number, slow, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random, Sky};

static ABOUT: About = About {
    prefix: "weather",
    model: "Weather station WS-8",
    firmware: "3.0.2",
    metrics: &[
        number("temperature", "Air temperature", "Cel", 0.2, (-30.0, 45.0)),
        number("humidity", "Humidity", "%RH", 0.2, (5.0, 100.0)),
        number("pressure", "Air pressure", "hPa", 0.1, (950.0, 1_060.0)),
        number("wind_speed", "Wind speed", "m/s", 1.0, (0.0, 45.0)),
        number("wind_direction", "Wind direction", "deg", 1.0, (0.0, 360.0)),
        number("rain_rate", "Rain", "mm/h", 0.2, (0.0, 60.0)),
        number("irradiance", "Sunlight", "W/m2", 0.5, (0.0, 1_200.0)),
        number("battery_voltage", "Battery", "V", 0.1, (10.5, 14.5)),
        number("mast_temperature", "Mast temperature", "Cel", 0.5, (-30.0, 60.0)),
        flag("heater_on", "Heater on", 0.5),
        text("state", "State", 0.2),
    ],
    commands: &[
        command("set_heater", "Set heater", &[choice("mode", &["auto", "on", "off"])]),
        command("set_averaging", "Set wind averaging", &[amount("window", "s", (0.5, 60.0), 3.0)]),
        slow("self_test", "Self-test", 8.0),
        slow("calibrate_wind", "Calibrate wind vane", 6.0),
        command("restart_sensors", "Restart sensors", &[]).confirmed(),
    ],
};

pub(super) struct Weather {
    random: Random,
    bench: Bench,
    sky: Sky,
    pressure: Drift,
    heading: Drift,
    gusts: Drift,
    wind: Lag,
    window: f64,
    shower_left: f64,
    rain: Lag,
    battery: f64,
    heater: &'static str,
    mast: Lag,
    warming_up: f64,
}

impl Weather {
    pub(super) fn new(seed: u64, second_of_day: f64) -> Self {
        let mut random = Random::new(seed);
        let sky = Sky::new(second_of_day, &mut random);
        Self {
            bench: Bench::default(),
            pressure: Drift::new(6.0, 12.0 * 3_600.0, &mut random),
            heading: Drift::new(60.0, 3_600.0, &mut random),
            gusts: Drift::new(0.25, 4.0, &mut random),
            wind: Lag::new(sky.wind(), 3.0),
            window: 3.0,
            shower_left: 0.0,
            rain: Lag::new(0.0, 12.0),
            battery: random.between(12.4, 13.2),
            heater: "auto",
            mast: Lag::new(sky.temperature(), 10.0),
            warming_up: 0.0,
            sky,
            random,
        }
    }

    fn heater_on(&self) -> bool {
        match self.heater {
            "on" => true,
            "off" => false,
            _ => self.sky.temperature() < 2.0,
        }
    }

    fn state(&self) -> &'static str {
        match self.bench.running() {
            Some("self_test") => "testing",
            Some(_) => "calibrating",
            None if self.warming_up > 0.0 => "starting",
            None if self.rain.value > 0.1 => "rain",
            None => "measuring",
        }
    }
}

impl Model for Weather {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.sky.step(dt, &mut self.random);
        self.pressure.step(dt, &mut self.random);
        self.heading.step(dt, &mut self.random);
        self.gusts.step(dt, &mut self.random);
        self.warming_up = (self.warming_up - dt).max(0.0);
        let gusty = (self.sky.wind() * (1.0 + self.gusts.value)).clamp(0.0, 40.0);
        let mut wind = Lag::new(self.wind.value, self.window.max(0.1));
        wind.step(gusty, dt);
        self.wind = wind;
        if self.shower_left > 0.0 {
            self.shower_left -= dt;
        } else if self.random.happens(dt, 5_400.0 * (1.6 - self.sky.cloud_cover())) {
            self.shower_left = self.random.between(120.0, 1_200.0);
        }
        let rain = if self.shower_left > 0.0 { 4.0 + 14.0 * self.sky.cloud_cover() } else { 0.0 };
        self.rain.step(rain, dt);
        let drain = if self.heater_on() { 0.9 } else { 0.06 };
        let charge = 1.6 * self.sky.irradiance() / 950.0 - drain;
        self.battery = (self.battery + charge * dt / 14_400.0).clamp(11.4, 14.1);
        let heat = if self.heater_on() { 18.0 } else { 0.0 };
        self.mast.step(self.sky.temperature() + heat, dt);
        match self.bench.step(dt) {
            Some("self_test") => {
                self.bench.set_result(
                    json!({ "battery": (self.battery * 100.0).round() / 100.0, "sensors": "good" }),
                );
            }
            Some(_) => self.bench.set_result(json!({ "offset_degrees": self.random.normal(2.0).round() })),
            None => {}
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        Some(Value::Number(match metric {
            "temperature" => self.sky.temperature() + self.random.normal(0.05),
            "humidity" => {
                let dry = 78.0 - 2.2 * (self.sky.temperature() - 12.0);
                let wet = (self.rain.value * 3.0).min(25.0);
                (dry + wet + self.random.normal(0.4)).clamp(8.0, 100.0)
            }
            "pressure" => 1_013.0 + self.pressure.value + self.random.normal(0.05),
            "wind_speed" => (self.wind.value + self.random.normal(0.08)).max(0.0),
            "wind_direction" => {
                (240.0 + self.heading.value + 40.0 * self.gusts.value + self.random.normal(3.0))
                    .rem_euclid(360.0)
            }
            "rain_rate" => {
                let rain = self.rain.value;
                if rain < 0.05 { 0.0 } else { (rain * (1.0 + self.random.normal(0.05))).max(0.0) }
            }
            "irradiance" => (self.sky.irradiance() * (1.0 + self.random.normal(0.01))).max(0.0),
            "battery_voltage" => self.battery + self.random.normal(0.005),
            "mast_temperature" => self.mast.value + self.random.normal(0.05),
            "heater_on" => return Some(Value::Bool(self.heater_on())),
            "state" => return Some(Value::from(self.state())),
            _ => return None,
        }))
    }

    fn command(&mut self, name: &str, args: &Args) -> Reply {
        match name {
            "set_heater" => {
                self.heater = match text_arg(args, "mode") {
                    "on" => "on",
                    "off" => "off",
                    _ => "auto",
                };
                Reply::Done(json!({ "mode": self.heater }))
            }
            "set_averaging" => {
                self.window = number_arg(args, "window", self.window);
                Reply::Done(json!({ "window": self.window }))
            }
            "self_test" => self.bench.begin("self_test", 8.0, None),
            "calibrate_wind" => {
                let failure = (self.wind.value > 3.5).then(|| {
                    format!("too windy: {:.1} m/s, the vane needs less than 3.5 m/s", self.wind.value)
                });
                self.bench.begin("calibrate_wind", 6.0, failure)
            }
            "restart_sensors" => {
                self.bench.cancel();
                self.warming_up = 10.0;
                Reply::Done(json!({ "state": "starting" }))
            }
            other => unknown(other),
        }
    }

    fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
