//! One row: a server, a load, and what both say afterwards.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use super::plan::{Load, Server};
use super::{Args, mosquitto};
use crate::process::{Hub, Running, program, start_hub};

/// How long the hub may take to seal what is left when the load is over.
const SETTLE: Duration = Duration::from_secs(60);
/// Warm-up of what has no steady state to come to, in seconds.
const WARM_UP_YARDSTICK: u32 = 1;
/// How long a hub may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// What a load is told beside where to send.
pub(super) struct Asked {
    pub(super) load: Load,
    /// Readings a second.
    pub(super) rate: Option<u64>,
    pub(super) warm_up: u32,
    pub(super) seconds: u32,
}

/// What the load generator measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) readings_per_second: f64,
    /// CPU seconds of the server for a million readings.
    pub(super) cpu_per_million: f64,
    /// The same of the load generator.
    pub(super) own_cpu_per_million: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
    /// Bytes that the server had the disk write, for each reading.
    pub(super) written: f64,
    pub(super) resident_mib: f64,
    pub(super) anonymous_mib: f64,
}

/// What is in the hub's database when the load is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Hot readings a moment after the load.
    pub(super) hot: u64,
    /// Hot readings when the hub has found nothing more to seal.
    pub(super) hot_settled: u64,
    /// Then: bytes of sealed values and times, for each sealed reading; 0 if none is sealed.
    pub(super) sealed_bytes: f64,
    /// Then: bytes of the file that are in use, for each reading, hot or sealed.
    pub(super) file_bytes: f64,
}

/// A row of the table.
pub(super) struct Row {
    pub(super) measured: Measured,
    /// `None`: the server stores nothing.
    pub(super) left: Option<Left>,
}

/// Measures one.
pub(super) fn row(args: &Args, load: &Load, data: &Path) -> Result<Row> {
    let asked = |warm_up| Asked { load: *load, rate: None, warm_up, seconds: args.seconds };
    match load.server {
        Server::Bare => {
            let mut command = Command::new(program("release", "examples/bare_socket"));
            let (running, mut lines) = Running::start_piped("bare sockets", command.arg("127.0.0.1:0"))?;
            let mut address = String::new();
            lines.read_line(&mut address)?;
            let url = format!("ws://{}", address.trim());
            let to = ["--hub", &url, "--token", "none"];
            Ok(Row { measured: send(&asked(WARM_UP_YARDSTICK), &to, running.id())?, left: None })
        }
        Server::Mosquitto => {
            let (running, address) = mosquitto::start(data)?;
            let measured = send(&asked(WARM_UP_YARDSTICK), &["--mqtt", &address], running.id())?;
            Ok(Row { measured, left: None })
        }
        Server::Hub => {
            let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
            let measured = send_to_hub(&asked(args.warm_up), &hub, data)?;
            Ok(Row { measured, left: Some(settle(hub, data)?) })
        }
    }
}

/// Lets the load generator send to a hub.
pub(super) fn send_to_hub(asked: &Asked, hub: &Hub, data: &Path) -> Result<Measured> {
    let data = data.to_string_lossy();
    send(asked, &["--hub", &hub.url, "--data", &data], hub.running.id())
}

fn send(asked: &Asked, to: &[&str], server: u32) -> Result<Measured> {
    let Asked { load, rate, warm_up, seconds } = asked;
    let mut command = Command::new(program("release", "device-sim"));
    command
        .args(["load", "--json"])
        .args(to)
        .args(["--connections", &load.connections.to_string()])
        .args(["--series", &load.series_each.to_string()])
        .args(["--readings-per-message", &load.readings.to_string()])
        .args(["--in-flight", &load.in_flight.to_string()])
        .args(["--warm-up", &format!("{warm_up}s")])
        .args(["--duration", &format!("{seconds}s")])
        .args(["--server", &server.to_string()]);
    if let Some(rate) = rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("the load generator failed: {}", output.status);
    }
    let report: Json =
        serde_json::from_slice(&output.stdout).context("the load generator printed no JSON")?;
    let number = |pointer: &str| {
        report.pointer(pointer).and_then(Json::as_f64).with_context(|| format!("no {pointer} in {report}"))
    };
    let readings = number("/measured/readings")?;
    if readings == 0.0 {
        bail!("nothing was acknowledged while it was measured");
    }
    let mib = |pointer: &str| number(pointer).map(|bytes| bytes / f64::from(1 << 20));
    Ok(Measured {
        load: *load,
        readings_per_second: number("/measured/readings_per_second")?,
        cpu_per_million: number("/measured/server/cpu_seconds")? * 1e6 / readings,
        own_cpu_per_million: number("/measured/own_cpu_seconds")? * 1e6 / readings,
        p50_ms: number("/measured/ack_latency_ms/p50")?,
        p99_ms: number("/measured/ack_latency_ms/p99")?,
        worst_ms: number("/measured/ack_latency_ms/max")?,
        written: number("/measured/server/written_bytes")? / readings,
        resident_mib: mib("/measured/server/resident_bytes")?,
        anonymous_mib: mib("/measured/server/anonymous_bytes")?,
    })
}

/// What `hub stats` says.
pub(super) struct Stats {
    pub(super) readings: u64,
    pub(super) hot: u64,
    pub(super) block_bytes: u64,
    pub(super) file_bytes: u64,
    pub(super) free_bytes: u64,
    pub(super) log_bytes: u64,
}

impl Stats {
    /// Asks a hub's database, also beside the hub.
    pub(super) fn ask(data: &Path) -> Result<Self> {
        let output =
            Command::new(program("release", "hub")).args(["stats", "--json", "--data"]).arg(data).output()?;
        if !output.status.success() {
            bail!("hub stats failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let stats: Json = serde_json::from_slice(&output.stdout).context("hub stats printed no JSON")?;
        let number = |name: &str| {
            stats.get(name).and_then(Json::as_u64).with_context(|| format!("no {name} in {stats}"))
        };
        Ok(Self {
            readings: number("readings")?,
            hot: number("hot")?,
            block_bytes: number("block_bytes")?,
            file_bytes: number("file_bytes")?,
            free_bytes: number("free_bytes")?,
            log_bytes: number("log_bytes")?,
        })
    }
}

/// Waits until the hub has nothing more to seal, stops it, and looks at what it has.
pub(super) fn settle(hub: Hub, data: &Path) -> Result<Left> {
    let hot = Stats::ask(data)?.hot;
    let until = Instant::now() + SETTLE;
    let (mut before, mut same) = (hot, 0);
    // Sealing is followed by merging, which does not change this number: it gets some more seconds.
    while same < 4 && Instant::now() < until {
        thread::sleep(Duration::from_secs(1));
        let now = Stats::ask(data)?.hot;
        same = if now == before { same + 1 } else { 0 };
        before = now;
    }
    hub.running.stop(STOP)?;
    let stats = Stats::ask(data)?;
    let used = stats.file_bytes - stats.free_bytes.min(stats.file_bytes);
    Ok(Left {
        hot,
        hot_settled: stats.hot,
        sealed_bytes: stats.block_bytes as f64 / (stats.readings - stats.hot).max(1) as f64,
        file_bytes: used as f64 / stats.readings.max(1) as f64,
    })
}

/// The memory of one idle connection, in KiB.
pub(super) fn idle(connections: u32, data: &Path) -> Result<f64> {
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let before = resident_kib(hub.running.id())?;
    let mut child = Command::new(program("release", "examples/idle_connections"))
        .arg(&hub.url)
        .arg(data.join("fleet.token"))
        .arg(connections.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    if line.trim() != "ready" {
        bail!("the idle connections did not come up");
    }
    let after = resident_kib(hub.running.id())?;
    drop(child.stdin.take());
    child.wait()?;
    hub.running.stop(STOP)?;
    Ok((after - before) / f64::from(connections))
}

/// Memory that a process holds, in KiB.
pub(super) fn resident_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
