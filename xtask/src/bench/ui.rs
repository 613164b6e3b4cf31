//! The dashboard: what a frame costs, what a reading takes in memory, and how long it waits until it is painted.
//!
//! Frames and memory are measured by `dashboard/examples/ui_cost.rs` without a screen. The rest needs a window: a real
//! one on a screen in memory, where a program makes the pixels, which costs more than a graphics card would take.

use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use super::load::resident_kib;
use crate::packages::{self, Need};
use crate::process::{Hub, Running, cargo, program, run as run_to_end, start_hub};
use crate::say;

/// What a screen in memory needs besides what the window loads.
const SCREEN: &[Need] = &[Need { thing: "Xvfb", package: "xvfb" }];
/// Devices of the fleet, and readings a second of each.
const DEVICES: u32 = 1_000;
/// Multiplies the pace of a simulated device, which takes 32 readings a second on average.
const RATE: f64 = 0.625;
/// Readings a second of all of them, roughly.
const READINGS: u32 = 20_000;
/// How long the window stays open while readings arrive.
const OPEN: Duration = Duration::from_secs(25);
/// How long the window is left alone before and while its idle processor time is counted. Ages below a minute are shown
/// in steps of five seconds.
const SETTLE: Duration = Duration::from_secs(75);
const IDLE: Duration = Duration::from_secs(40);
/// Names of the threads that make pixels where no graphics card does.
const PIXEL_THREADS: &str = "llvmpipe";
const STOP: Duration = Duration::from_secs(20);

/// Builds what is measured, and installs what it needs.
pub(super) fn prepare() -> Result<()> {
    packages::ensure("the window", packages::WINDOW)?;
    packages::ensure("a screen in memory", SCREEN)?;
    run_to_end(&mut cargo(&["build", "--locked", "--release", "-p", "dashboard", "--bin", "dashboard"]))?;
    run_to_end(&mut cargo(&["build", "--locked", "--release", "-p", "dashboard", "--example", "ui_cost"]))
}

/// Measures; returns tables in Markdown.
pub(super) fn measure(data: &Path) -> Result<String> {
    say("frames and memory, without a screen");
    let mut text = String::new();
    for part in [None, Some("exact")] {
        let output = Command::new(program("release", "examples/ui_cost"))
            .args(part)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("ui_cost failed: {}", output.status);
        }
        text.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    text.push_str(&window(data)?);
    Ok(text)
}

/// A screen in memory, and its name.
fn screen() -> Result<(Running, String)> {
    let mut command = Command::new(packages::find("Xvfb").context("no Xvfb")?);
    command.args(["-displayfd", "1", "-screen", "0", "1920x1080x24", "-nolisten", "tcp"]);
    let (screen, mut lines) = Running::start_piped("screen", command.stderr(Stdio::null()))?;
    let mut number = String::new();
    lines.read_line(&mut number)?;
    Ok((screen, format!(":{}", number.trim())))
}

fn window(data: &Path) -> Result<String> {
    let (screen, display) = screen()?;
    let hub = start_hub("release", data, "127.0.0.1:0", &data.join("hub.log"))?;
    let home = data.join("home");
    std::fs::create_dir_all(&home)?;
    let open = |for_seconds: Duration| -> Result<_> {
        let mut command = Command::new(program("release", "dashboard"));
        command
            .args(["--hub", &hub.url, "--figures", "--exit-after", &for_seconds.as_secs().to_string()])
            .arg("--data")
            .arg(data)
            .env("DISPLAY", &display)
            .env("XDG_CONFIG_HOME", &home)
            .env_remove("WAYLAND_DISPLAY")
            .stderr(Stdio::null());
        Running::start_piped("window", &mut command)
    };
    say(&format!("a window, {DEVICES} devices with some {READINGS} readings/s together"));
    let fleet = start_fleet(&hub, data)?;
    sleep(Duration::from_secs(5));
    let live = Command::new(program("release", "examples/ui_cost"))
        .args(["live", &hub.url])
        .arg(data)
        .stderr(Stdio::inherit())
        .output()?;
    if !live.status.success() {
        bail!("ui_cost live failed: {}", live.status);
    }
    let live = String::from_utf8_lossy(&live.stdout).into_owned();
    let (running, mut lines) = open(OPEN)?;
    let pid = running.id();
    sleep(Duration::from_secs(10));
    let busy = processor_share(pid, Duration::from_secs(10))?;
    let memory = resident_kib(pid)? / 1024.0;
    let mut said = String::new();
    lines.read_to_string(&mut said)?;
    running.wait()?;
    fleet.stop(STOP)?;
    let figures: Json = serde_json::from_str(said.trim()).with_context(|| format!("figures: {said:?}"))?;

    say("the same window while nothing arrives");
    let (running, lines) = open(SETTLE + IDLE + Duration::from_secs(5))?;
    sleep(SETTLE);
    let idle = processor_share(running.id(), IDLE)?;
    running.stop(STOP)?;
    drop(lines);
    hub.running.stop(STOP)?;
    screen.stop(STOP)?;

    let figure = |name: &str| match figures.get(name).and_then(Json::as_f64) {
        Some(millis) => format!("{millis:.0} ms"),
        None => "never".into(),
    };
    Ok(format!(
        "{live}\n### A window of 1440x860 on a screen in memory\n\n| what | reached | goal |\n|---|---|---|\n\
         | start to first frame | {} | 300 ms |\n\
         | start to first chart with data | {} | 1 000 ms |\n\
         | reading received to painted, p50 of {} frames | {} | |\n\
         | reading received to painted, p99, pixels by a program | {} | |\n\
         | processor while {} readings/s reach the hub | {:.1} % of a core, and {:.1} % for pixels by a program | |\n\
         | memory then, with the program that makes the pixels | {memory:.0} MiB | |\n\
         | processor while nothing arrives | {:.2} % of a core, and {:.2} % for pixels by a program | 0.0 % |\n",
        figure("first_frame_ms"),
        figure("first_data_ms"),
        figures.get("frames").and_then(Json::as_u64).unwrap_or(0),
        figure("painted_p50_ms"),
        figure("painted_p99_ms"),
        READINGS,
        busy.own,
        busy.pixels,
        idle.own,
        idle.pixels,
    ))
}

fn start_fleet(hub: &Hub, data: &Path) -> Result<Running> {
    let mut command = Command::new(program("release", "device-sim"));
    command
        .arg("run")
        .args(["--devices", &DEVICES.to_string(), "--rate", &RATE.to_string(), "--batch", "10ms"])
        .args(["--hub", &hub.url])
        .arg("--data")
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Running::start("fleet", &mut command)
}

/// What a process takes of a core, in per cent.
struct Share {
    own: f64,
    /// Of the threads that make pixels.
    pixels: f64,
}

fn processor_share(pid: u32, time: Duration) -> Result<Share> {
    let (before, started) = (processor_ticks(pid)?, std::time::Instant::now());
    sleep(time);
    let after = processor_ticks(pid)?;
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let share = |ticks: u64| ticks as f64 / per_second / started.elapsed().as_secs_f64() * 100.0;
    Ok(Share { own: share(after.0 - before.0), pixels: share(after.1 - before.1) })
}

/// Processor time of a process so far, its own and the kernel's for it, in ticks of the clock: that of its threads, and
/// that of those that make pixels.
fn processor_ticks(pid: u32) -> Result<(u64, u64)> {
    let mut ticks = (0, 0);
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("stat"))?;
        // The name in brackets may hold anything; fields 14 and 15 are the times.
        let (name, rest) = text.rsplit_once(')').context("no stat")?;
        let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let sum = times.collect::<Result<Vec<_>, _>>()?.iter().sum::<u64>();
        if name.contains(PIXEL_THREADS) { ticks.1 += sum } else { ticks.0 += sum }
    }
    Ok(ticks)
}
