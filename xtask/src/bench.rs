//! `cargo xtask bench`: the hub beside its yardsticks, bare SQLite and bare WebSockets, in one run.
//!
//! These machines differ and drift, so what counts are CPU seconds and ratios within a run. The load generator runs on
//! the same machine and takes its share of the cores.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use crate::process::{Running, cargo, program, run as run_to_end, start_hub};
use crate::say;

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that Rust runs on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Connections
    #[arg(long, default_value_t = 50)]
    connections: u32,
    /// Readings in a message
    #[arg(long, default_value_t = 10)]
    readings: u32,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Idle connections for the memory of one
    #[arg(long, default_value_t = 2_000)]
    idle: u32,
}

/// What one run of the load generator gave.
struct Measured {
    what: &'static str,
    in_flight: u32,
    readings_per_second: f64,
    cpu_per_million: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_mib: f64,
}

/// Measures, and prints a table in Markdown.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    say("building in release");
    run_to_end(&mut cargo(&["build", "--locked", "--release", "--bins", "-p", "hub", "-p", "device-sim"]))?;
    run_to_end(&mut cargo(&["build", "--locked", "--release", "--examples", "-p", "hub", "-p", "store"]))?;
    let folder = tempfile::tempdir()?;
    say("bare SQLite, and the store, appending on one thread");
    let rates = Command::new(program("release", "examples/rates")).arg(folder.path()).output()?;
    let rates = String::from_utf8_lossy(&rates.stdout).into_owned();

    let mut all = Vec::new();
    for in_flight in [1, 16] {
        say(&format!("bare WebSockets, {in_flight} in flight"));
        all.push(bare(args, in_flight)?);
        say(&format!("the hub, {in_flight} in flight"));
        all.push(hub(args, in_flight, &folder.path().join(format!("hub-{in_flight}")))?);
    }
    say("idle connections");
    let idle = idle(args, &folder.path().join("idle"))?;

    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} connections, {} readings a message, {} s each\n",
        args.connections, args.readings, args.seconds
    )?;
    writeln!(
        out,
        "| | in flight | acknowledged readings/s | server CPU s per million | ack p50 ms | ack p99 ms | server MiB |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for m in all {
        writeln!(
            out,
            "| {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} |",
            m.what, m.in_flight, m.readings_per_second, m.cpu_per_million, m.p50_ms, m.p99_ms, m.rss_mib
        )?;
    }
    writeln!(out, "\n```\n{rates}```\n")?;
    writeln!(out, "{} idle connections: {idle:.1} KiB of hub memory each", args.idle)?;
    Ok(ExitCode::SUCCESS)
}

fn bare(args: &Args, in_flight: u32) -> Result<Measured> {
    let mut command = Command::new(program("release", "examples/bare_socket"));
    let (running, mut lines) = Running::start_piped("bare sockets", command.arg("127.0.0.1:0"))?;
    let mut address = String::new();
    lines.read_line(&mut address)?;
    let url = format!("ws://{}", address.trim());
    load(args, "bare WebSockets, nothing stored", in_flight, &running, &url, &["--token", "none"])
}

fn hub(args: &Args, in_flight: u32, data: &Path) -> Result<Measured> {
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let data = data.to_string_lossy().into_owned();
    let measured =
        load(args, "hub, every ack after fsync", in_flight, &hub.running, &hub.url, &["--data", &data])?;
    hub.running.stop(Duration::from_secs(10))?;
    Ok(measured)
}

fn load(
    args: &Args,
    what: &'static str,
    in_flight: u32,
    server: &Running,
    url: &str,
    credential: &[&str],
) -> Result<Measured> {
    let before = cpu_seconds(server.id())?;
    let output = Command::new(program("release", "device-sim"))
        .args(["load", "--json", "--hub", url])
        .args(credential)
        .args(["--connections", &args.connections.to_string()])
        .args(["--readings-per-message", &args.readings.to_string()])
        .args(["--in-flight", &in_flight.to_string()])
        .args(["--duration", &format!("{}s", args.seconds)])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the load generator failed: {}", output.status);
    }
    let cpu = cpu_seconds(server.id())? - before;
    let report: Json =
        serde_json::from_slice(&output.stdout).context("the load generator printed no JSON")?;
    let number = |pointer: &str| {
        report.pointer(pointer).and_then(Json::as_f64).with_context(|| format!("no {pointer} in {report}"))
    };
    Ok(Measured {
        what,
        in_flight,
        readings_per_second: number("/readings_per_second")?,
        cpu_per_million: cpu / (number("/acknowledged")? / 1e6),
        p50_ms: number("/ack_latency_ms/p50")?,
        p99_ms: number("/ack_latency_ms/p99")?,
        rss_mib: rss_kib(server.id())? / 1024.0,
    })
}

/// The memory of one idle connection, in KiB.
fn idle(args: &Args, data: &Path) -> Result<f64> {
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let before = rss_kib(hub.running.id())?;
    let mut child = Command::new(program("release", "examples/idle_connections"))
        .arg(&hub.url)
        .arg(data.join("fleet.token"))
        .arg(args.idle.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    if line.trim() != "ready" {
        bail!("the idle connections did not come up");
    }
    let after = rss_kib(hub.running.id())?;
    drop(child.stdin.take());
    child.wait()?;
    hub.running.stop(Duration::from_secs(10))?;
    Ok((after - before) / f64::from(args.idle))
}

/// User and system time of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    let rest = stat.rsplit_once(')').context("/proc/PID/stat")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).context("/proc/PID/stat");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn rss_kib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
