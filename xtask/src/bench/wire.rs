//! What it costs to make the wire visible: one device at a constant rate of one reading a message, watched by nobody and by
//! `hub wire`, in turns beside each other; and what the tap does with each frame while nobody watches.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use super::Args;
use super::load::{Asked, Measured, send_to_hub};
use super::plan::{Load, Server};
use crate::process::{Running, program, start_hub};

/// Messages a second of one device, each a frame with one reading.
const RATE: u64 = 50_000;
/// The device of the load generator.
const DEVICE: &str = "load-00000";
/// How often each is measured.
const TURNS: usize = 3;

/// What was measured: CPU seconds of the hub for a million frames.
pub(super) struct Wire {
    pub(super) unwatched: Vec<Measured>,
    pub(super) watched: Vec<Measured>,
    /// What `tap_cost` printed: nanoseconds for each frame while nobody watches.
    pub(super) nanos: f64,
}

/// Measures both in turns.
pub(super) fn measure(args: &Args, data: &Path) -> Result<Wire> {
    let output = Command::new(program("release", "examples/tap_cost")).stderr(Stdio::inherit()).output()?;
    let nanos: Json = serde_json::from_slice(&output.stdout).context("tap_cost printed no JSON")?;
    let nanos = nanos["nanos_per_frame"].as_f64().context("no nanos_per_frame")?;
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let asked = Asked {
        load: Load { server: Server::Hub, connections: 1, series_each: 10, readings: 1, in_flight: 256 },
        rate: Some(RATE),
        warm_up: 2,
        seconds: args.seconds,
    };
    // The device has to be known before it can be inspected.
    send_to_hub(&Asked { seconds: 1, rate: Some(1_000), ..asked }, &hub, data)?;
    let (mut unwatched, mut watched) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        unwatched.push(send_to_hub(&asked, &hub, data)?);
        let mut command = Command::new(program("release", "hub"));
        let folder = data.to_string_lossy();
        command.args(["wire", DEVICE, "--json", "--hub", &hub.url, "--data", &folder]);
        let mut watching = Running::start("hub wire", command.stdout(Stdio::null()))?;
        thread::sleep(Duration::from_millis(500));
        watched.push(send_to_hub(&asked, &hub, data)?);
        if let Some(status) = watching.ended()? {
            bail!("hub wire ended by itself: {status}");
        }
        watching.stop(Duration::from_secs(5))?;
    }
    hub.running.stop(Duration::from_secs(10))?;
    Ok(Wire { unwatched, watched, nanos })
}

/// The one in the middle.
pub(super) fn median(runs: &[Measured]) -> f64 {
    let mut cpu: Vec<f64> = runs.iter().map(|run| run.cpu_per_million).collect();
    cpu.sort_by(f64::total_cmp);
    cpu.get(cpu.len() / 2).copied().unwrap_or_default()
}
