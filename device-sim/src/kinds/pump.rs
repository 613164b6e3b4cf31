//! A pump station: a pump with a speed controller, a tank that it empties and that the works refill.

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, unknown};
use crate::catalog::{About, amount, command, number, slow, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random};

/// Speed at which the nominal values hold, in revolutions a minute.
const NOMINAL_SPEED: f64 = 2_900.0;

static ABOUT: About = About {
    prefix: "pump",
    model: "Pump station PS-2",
    firmware: "2.4.1",
    metrics: &[
        number("flow", "Flow", "l/s", 2.0, (0.0, 60.0)),
        number("pressure", "Outlet pressure", "Pa", 5.0, (0.0, 800_000.0)),
        number("speed", "Speed", "1/min", 5.0, (0.0, 3_000.0)),
        number("power", "Power", "W", 2.0, (0.0, 15_000.0)),
        number("vibration", "Vibration", "m/s2", 10.0, (0.0, 12.0)),
        number("motor_temperature", "Motor temperature", "Cel", 0.5, (10.0, 95.0)),
        number("tank_level", "Tank level", "%", 0.5, (0.0, 100.0)),
        text("state", "State", 1.0),
    ],
    commands: &[
        command("set_speed", "Set speed", &[amount("speed", "1/min", (600.0, 2_950.0), 2_200.0)]),
        command("start", "Start", &[]),
        command("stop", "Stop", &[]).confirmed(),
        slow("self_test", "Self-test", 10.0),
        slow("prime", "Prime", 6.0),
        command("reset_fault", "Reset fault", &[]),
    ],
};

pub(super) struct Pump {
    random: Random,
    bench: Bench,
    on: bool,
    fault: Option<&'static str>,
    /// Seconds since the fault, after which the station recovers by itself.
    fault_for: f64,
    setpoint: f64,
    speed: Lag,
    motor: Lag,
    level: f64,
    refilling: bool,
    wear: Drift,
    demand: Drift,
}

impl Pump {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let setpoint = random.between(1_900.0, 2_400.0);
        Self {
            bench: Bench::default(),
            on: true,
            fault: None,
            fault_for: 0.0,
            setpoint,
            speed: Lag::new(setpoint, 4.0),
            motor: Lag::new(random.between(45.0, 55.0), 90.0),
            level: random.between(45.0, 90.0),
            refilling: false,
            wear: Drift::new(0.15, 3_600.0, &mut random),
            demand: Drift::new(0.06, 40.0, &mut random),
            random,
        }
    }

    fn share(&self) -> f64 {
        self.speed.value / NOMINAL_SPEED
    }

    /// Flow grows with the speed; a wide-open net takes more.
    fn flow(&self) -> f64 {
        (48.0 * self.share() * (1.0 + self.demand.value)).max(0.0)
    }

    fn running(&self) -> bool {
        self.on && self.fault.is_none()
    }

    fn state(&self) -> &'static str {
        match (self.fault, self.on, self.bench.running()) {
            (Some(_), _, _) => "fault",
            (None, _, Some("self_test")) => "testing",
            (None, _, Some(_)) => "priming",
            (None, true, None) => "running",
            (None, false, None) => "idle",
        }
    }
}

impl Model for Pump {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.wear.step(dt, &mut self.random);
        self.demand.step(dt, &mut self.random);
        if self.running() && self.random.happens(dt, 1_500.0) {
            self.fault = Some("motor overload");
            self.fault_for = 0.0;
            self.bench.cancel();
        }
        if self.fault.is_some() {
            self.fault_for += dt;
            if self.fault_for > 45.0 {
                self.fault = None;
            }
        }
        let wanted = match self.bench.running() {
            Some("self_test") if self.running() => self.setpoint * 0.6,
            Some(_) if self.running() => 900.0,
            _ if self.running() => self.setpoint,
            _ => 0.0,
        };
        self.speed.step(wanted, dt);
        self.motor.step(22.0 + 52.0 * self.share().powi(2), dt);
        // 6 000 litres; the works refill it twice as fast as it empties.
        let inflow = if self.refilling { 75.0 } else { 0.0 };
        self.level = (self.level + (inflow - self.flow()) * dt / 6_000.0 * 100.0 * 0.2).clamp(5.0, 98.0);
        if self.level < 30.0 {
            self.refilling = true;
        } else if self.level > 92.0 {
            self.refilling = false;
        }
        if self.bench.step(dt) == Some("self_test") {
            let vibration = 2.0 + self.wear.value;
            self.bench
                .set_result(json!({ "vibration": (vibration * 100.0).round() / 100.0, "verdict": "good" }));
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        let share = self.share();
        let flow = self.flow();
        let noise = |random: &mut Random, value: f64, sigma: f64| value + random.normal(sigma);
        Some(Value::Number(match metric {
            "flow" => noise(&mut self.random, flow, 0.25 * share).max(0.0),
            "pressure" => {
                let head = 620_000.0 * share.powi(2) * (1.0 - 0.8 * self.demand.value);
                noise(&mut self.random, head + 20_000.0, 1_500.0).max(0.0)
            }
            "speed" => noise(&mut self.random, self.speed.value, 3.0 * share).max(0.0),
            "power" => noise(&mut self.random, 11_000.0 * share.powi(3) + 35.0, 60.0 * share).max(0.0),
            "vibration" => {
                // A resonance of the frame at 2 500 revolutions a minute.
                let resonance = f64::exp(-((self.speed.value - 2_500.0) / 120.0).powi(2));
                let level = share * (1.4 + self.wear.value + 2.2 * resonance) + 0.05;
                noise(&mut self.random, level, 0.12 * share + 0.01).max(0.0)
            }
            "motor_temperature" => noise(&mut self.random, self.motor.value, 0.05),
            "tank_level" => noise(&mut self.random, self.level, 0.1).clamp(0.0, 100.0),
            "state" => return Some(Value::from(self.state())),
            _ => return None,
        }))
    }

    fn command(&mut self, name: &str, args: &Args) -> Reply {
        match name {
            "set_speed" => {
                self.setpoint = number_arg(args, "speed", self.setpoint);
                Reply::Done(json!({ "speed": self.setpoint }))
            }
            "start" => match self.fault {
                Some(fault) => Reply::Rejected(format!("{fault}: reset the fault first")),
                None => {
                    self.on = true;
                    Reply::Done(json!({ "state": "running" }))
                }
            },
            "stop" => {
                self.on = false;
                self.bench.cancel();
                Reply::Done(json!({ "state": "idle" }))
            }
            "self_test" => match self.fault {
                Some(fault) => Reply::Rejected(format!("{fault}: reset the fault first")),
                None => {
                    let failure = (self.random.unit() < 0.2)
                        .then(|| "vibration above 4 m/s2 at 1 700 1/min: bearing worn".to_owned());
                    self.bench.begin("self_test", 10.0, failure)
                }
            },
            "prime" => {
                let failure = (self.level < 35.0)
                    .then(|| format!("no water drawn: tank level is {:.0} %, 35 % are needed", self.level));
                self.bench.begin("prime", 6.0, failure)
            }
            "reset_fault" => match self.fault.take() {
                Some(fault) => Reply::Done(json!({ "cleared": fault })),
                None => Reply::Done(json!({ "cleared": null })),
            },
            other => unknown(other),
        }
    }

    fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
