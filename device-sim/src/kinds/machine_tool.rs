//! A milling machine: a spindle that is fast, cuts in cycles, shakes, heats up, and sometimes breaks a tool.

use std::f64::consts::TAU;

use protocol::Value;
use serde_json::json;

use super::{Args, Model, number_arg, text_arg, unknown};
use crate::catalog::{About, Command, amount, choice, command, flag, number, slow, text};
use crate::job::{Bench, Reply};
use crate::parts::{Drift, Lag, Random};

/// Seconds of one part: cut for most of it, then the door opens and the part is changed.
const CYCLE: f64 = 48.0;
/// Seconds of a cycle in which it cuts.
const CUTTING: f64 = 38.0;
const TOOLS: &[&str] = &["T01", "T02", "T03", "T04", "T05", "T06"];

static ABOUT: About = About {
    prefix: "machine-tool",
    model: "Milling machine MX-5",
    firmware: "7.2.0",
    metrics: &[
        number("vibration", "Vibration", "m/s2", 50.0, (-60.0, 60.0)),
        number("spindle_speed", "Spindle speed", "1/min", 20.0, (0.0, 12_500.0)),
        number("spindle_load", "Spindle load", "%", 10.0, (0.0, 130.0)),
        number("position_x", "Position X", "mm", 20.0, (-310.0, 310.0)),
        number("power", "Power", "W", 5.0, (0.0, 25_000.0)),
        number("spindle_temperature", "Spindle temperature", "Cel", 1.0, (10.0, 90.0)),
        number("coolant_flow", "Coolant flow", "l/s", 1.0, (0.0, 1.0)),
        number("parts", "Parts made", "count", 0.5, (0.0, 1_000_000.0)),
        text("tool", "Tool", 0.5),
        flag("door_open", "Door open", 1.0),
        text("state", "State", 2.0),
    ],
    commands: &[
        command(
            "set_spindle_speed",
            "Set spindle speed",
            &[amount("speed", "1/min", (500.0, 12_000.0), 6_000.0)],
        ),
        command("start", "Start cycle", &[]),
        command("stop", "Stop cycle", &[]),
        Command {
            name: "change_tool",
            label: "Change tool",
            params: &[choice("tool", TOOLS)],
            confirm: false,
            timeout: 10.0,
        },
        slow("home", "Home axes", 8.0),
        command("reset_fault", "Reset fault", &[]),
        command("emergency_stop", "Emergency stop", &[]).confirmed(),
    ],
};

pub(super) struct MachineTool {
    random: Random,
    bench: Bench,
    on: bool,
    fault: Option<&'static str>,
    fault_for: f64,
    setpoint: f64,
    speed: Lag,
    load: Lag,
    heat: Lag,
    coolant: Lag,
    in_cycle: f64,
    phase: f64,
    parts: u32,
    tool: &'static str,
    next_tool: &'static str,
    wear: f64,
    hardness: Drift,
}

impl MachineTool {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let setpoint = (random.between(5.0, 9.0)).round() * 1_000.0;
        Self {
            bench: Bench::default(),
            on: true,
            fault: None,
            fault_for: 0.0,
            setpoint,
            speed: Lag::new(setpoint, 1.6),
            load: Lag::new(40.0, 0.4),
            heat: Lag::new(random.between(35.0, 45.0), 150.0),
            coolant: Lag::new(0.5, 1.0),
            in_cycle: random.between(0.0, CYCLE),
            phase: 0.0,
            parts: (random.unit() * 400.0) as u32,
            tool: TOOLS[(random.unit() * TOOLS.len() as f64) as usize % TOOLS.len()],
            next_tool: TOOLS[0],
            wear: random.between(0.0, 0.5),
            hardness: Drift::new(0.12, 3.0, &mut random),
            random,
        }
    }

    fn producing(&self) -> bool {
        self.on && self.fault.is_none() && self.bench.running().is_none()
    }

    fn cutting(&self) -> bool {
        self.producing() && self.in_cycle < CUTTING
    }

    fn door_open(&self) -> bool {
        self.producing() && self.in_cycle > CUTTING + 3.0
    }

    fn state(&self) -> &'static str {
        match (self.fault, self.bench.running()) {
            (Some(_), _) => "fault",
            (None, Some("home")) => "homing",
            (None, Some(_)) => "changing_tool",
            (None, None) if !self.on => "idle",
            (None, None) if self.cutting() => "cutting",
            (None, None) => "loading",
        }
    }
}

impl Model for MachineTool {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn step(&mut self, dt: f64) {
        self.hardness.step(dt, &mut self.random);
        if self.producing() {
            self.in_cycle += dt;
            if self.in_cycle >= CYCLE {
                self.in_cycle = self.in_cycle.rem_euclid(CYCLE);
                self.parts += 1;
                self.wear = (self.wear + 0.01).min(1.0);
            }
        }
        if self.cutting() && self.random.happens(dt, 2_400.0 / (1.0 + 3.0 * self.wear)) {
            self.fault = Some("tool broken");
            self.fault_for = 0.0;
        }
        if self.fault.is_some() {
            self.fault_for += dt;
            if self.fault_for > 60.0 {
                self.fault = None;
                self.wear = 0.0;
            }
        }
        let cutting = self.cutting();
        self.speed.step(if cutting { self.setpoint } else { 0.0 }, dt);
        let share = self.speed.value / 12_000.0;
        let bite = if cutting {
            32.0 + 30.0 * share + 25.0 * self.wear + 100.0 * self.hardness.value
        } else {
            3.0 * share
        };
        self.load.step(bite.clamp(0.0, 125.0), dt);
        self.heat.step(22.0 + 30.0 * share + 0.15 * self.load.value, dt);
        self.coolant.step(if cutting { 0.55 } else { 0.0 }, dt);
        self.phase = (self.phase + dt * self.speed.value / 60.0).rem_euclid(1.0);
        if self.bench.step(dt) == Some("change_tool") {
            self.tool = self.next_tool;
            self.wear = 0.0;
            self.bench.set_result(json!({ "tool": self.tool }));
        }
    }

    fn read(&mut self, metric: &str) -> Option<Value> {
        let share = self.speed.value / 12_000.0;
        Some(Value::Number(match metric {
            "vibration" => {
                let size = 1.5 * share + self.load.value * 0.06 * (1.0 + 2.0 * self.wear);
                let wave = (TAU * self.phase).sin() + 0.4 * (TAU * 3.0 * self.phase).sin();
                size * wave + self.random.normal(0.15 + 0.3 * size)
            }
            "spindle_speed" => (self.speed.value + self.random.normal(20.0 * share)).max(0.0),
            "spindle_load" => (self.load.value + self.random.normal(1.2)).clamp(0.0, 130.0),
            "position_x" => {
                // To and fro while cutting, parked otherwise.
                if self.cutting() { 280.0 * (TAU * self.in_cycle / 9.5).sin() } else { 0.0 }
            }
            "power" => {
                let work = 15_000.0 * share * self.load.value / 100.0;
                (450.0 + 2_500.0 * share + work + self.random.normal(40.0)).max(0.0)
            }
            "spindle_temperature" => self.heat.value + self.random.normal(0.05),
            "coolant_flow" => (self.coolant.value + self.random.normal(0.004)).max(0.0),
            "parts" => f64::from(self.parts),
            "tool" => return Some(Value::from(self.tool)),
            "door_open" => return Some(Value::Bool(self.door_open())),
            "state" => return Some(Value::from(self.state())),
            _ => return None,
        }))
    }

    fn command(&mut self, name: &str, args: &Args) -> Reply {
        let blocked = |fault: Option<&str>| {
            fault.map(|fault| Reply::Rejected(format!("{fault}: reset the fault first")))
        };
        match name {
            "set_spindle_speed" => {
                self.setpoint = number_arg(args, "speed", self.setpoint);
                Reply::Done(json!({ "speed": self.setpoint }))
            }
            "start" => blocked(self.fault).unwrap_or_else(|| {
                self.on = true;
                Reply::Done(json!({ "state": "cutting" }))
            }),
            "stop" => {
                self.on = false;
                Reply::Done(json!({ "state": "idle" }))
            }
            "change_tool" => {
                let wanted = text_arg(args, "tool");
                let Some(tool) = TOOLS.iter().find(|tool| **tool == wanted) else {
                    return Reply::Rejected(format!("{wanted} is not in the magazine"));
                };
                if let Some(rejected) = blocked(self.fault) {
                    return rejected;
                }
                let failure = (self.random.unit() < 0.25)
                    .then(|| format!("the gripper lost {tool}: check the magazine and try again"));
                let reply = self.bench.begin("change_tool", 6.0, failure);
                if reply == Reply::Started {
                    self.next_tool = tool;
                }
                reply
            }
            "home" => blocked(self.fault).unwrap_or_else(|| self.bench.begin("home", 8.0, None)),
            "reset_fault" => {
                let fault = self.fault.take();
                if fault.is_some() {
                    self.wear = 0.0;
                }
                Reply::Done(json!({ "cleared": fault }))
            }
            "emergency_stop" => {
                self.on = false;
                self.bench.cancel();
                self.speed.value *= 0.3;
                Reply::Done(json!({ "state": "idle" }))
            }
            other => unknown(other),
        }
    }

    fn bench(&mut self) -> &mut Bench {
        &mut self.bench
    }
}
