//! Commands: how long one takes beside a bare fsync, many of them beside readings, and the memory that ended ones leave.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use super::Args;
use super::load::{Asked, Measured, send_to_hub};
use super::plan::{Load, Server};
use crate::process::{Hub, program, start_hub};

/// Commands that are sent one at a time.
const ONE_BY_ONE: u32 = 3_000;
/// Devices that take commands at a constant rate.
const DEVICES: u32 = 1_000;
/// Commands a second.
pub(super) const RATE: u32 = 1_000;
/// Readings a second beside them.
const READINGS: u64 = 50_000;
/// Commands of which the hub is to keep no memory.
const MANY: u32 = 100_000;
/// So many of those are on the way at once.
const ON_THE_WAY: u32 = 500;
/// Seconds that readings come before commands do, and after.
const MARGIN: u32 = 2;

/// What was measured.
pub(super) struct Commands {
    pub(super) rows: Vec<Row>,
    /// Readings beside the last row.
    pub(super) beside: Measured,
    /// How many have ended, and the memory of the hub in MiB then.
    pub(super) memory: Vec<(u64, f64)>,
    /// The rate at which those ended.
    pub(super) many_per_second: f64,
}

/// Commands of one kind.
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) count: u64,
    pub(super) per_second: Option<f64>,
    /// From the operator to the device: p50, p99, worst, in milliseconds.
    pub(super) received: [f64; 3],
    /// From the operator until it is told the end.
    pub(super) succeeded: Option<[f64; 3]>,
    /// CPU seconds of the hub a second, with those for readings.
    pub(super) cpu: Option<f64>,
}

/// Measures all of it, with one hub.
pub(super) fn measure(args: &Args, data: &Path) -> Result<Commands> {
    let folder = data.to_string_lossy();
    let count = ONE_BY_ONE.to_string();
    let yardstick = row("yardstick: fsync", &send(&["yardstick", "--folder", &folder, "--count", &count])?)?;
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let one_by_one = row("one at a time", &to_hub(&hub, data, &["one-by-one", "--count", &count])?)?;
    let (rate, devices) = (RATE.to_string(), DEVICES.to_string());
    let (seconds, warm_up) = (args.seconds.to_string(), args.warm_up.to_string());
    let words = ["steady", "--devices", &devices, "--rate", &rate, "--seconds", &seconds];
    let words = [&words[..], &["--warm-up", &warm_up]].concat();
    let alone = row("constant rate", &to_hub(&hub, data, &words)?)?;
    let asked = Asked {
        load: Load { server: Server::Hub, connections: 50, series_each: 10, readings: 10, in_flight: 256 },
        rate: Some(READINGS),
        warm_up: args.warm_up + MARGIN,
        seconds: args.seconds,
    };
    let (together, beside) = thread::scope(|scope| {
        let beside = scope.spawn(|| send_to_hub(&asked, &hub, data));
        thread::sleep(Duration::from_secs(u64::from(MARGIN)));
        (to_hub(&hub, data, &words), beside.join())
    });
    let Ok(beside) = beside else { bail!("the readings broke off") };
    let together = row("constant rate, beside 50 000 readings/s", &together?)?;
    let (many, on_the_way) = (MANY.to_string(), ON_THE_WAY.to_string());
    let words = ["many", "--devices", &devices, "--count", &many, "--on-the-way", &on_the_way];
    let many = to_hub(&hub, data, &words)?;
    hub.running.stop(Duration::from_secs(10))?;
    let memory = many["resident_mib"].as_array().context("no resident_mib")?;
    let memory = memory.iter().filter_map(|pair| Some((pair[0].as_u64()?, pair[1].as_f64()?))).collect();
    Ok(Commands {
        rows: vec![yardstick, one_by_one, alone, together],
        beside: beside?,
        memory,
        many_per_second: many["per_second"].as_f64().context("no per_second")?,
    })
}

fn to_hub(hub: &Hub, data: &Path, words: &[&str]) -> Result<Json> {
    let (data, server) = (data.to_string_lossy(), hub.running.id().to_string());
    send(&[words, &["--hub", &hub.url, "--data", &data, "--server", &server]].concat())
}

fn send(words: &[&str]) -> Result<Json> {
    let mut command = Command::new(program("release", "examples/command_load"));
    let output = command.args(words).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("command_load {} failed: {}", words[0], output.status);
    }
    serde_json::from_slice(&output.stdout).context("command_load printed no JSON")
}

fn row(what: &'static str, said: &Json) -> Result<Row> {
    let latencies = |name: &str| {
        let at = |place: &str| said[name][place].as_f64();
        Some([at("p50")?, at("p99")?, at("max")?])
    };
    Ok(Row {
        what,
        count: said["commands"].as_u64().context("no commands")?,
        per_second: said["per_second"].as_f64(),
        received: latencies("received_ms").context("no received_ms")?,
        succeeded: latencies("succeeded_ms"),
        cpu: said["cpu_seconds_per_second"].as_f64(),
    })
}
