//! `cargo xtask screenshot`: the picture of the README, made by the real dashboard on a real hub and a real fleet.
//!
//! No display is needed: the dashboard's own renderer for tests draws the same triangles as the window.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::process::{Running, cargo, program, run as run_to_end, start_hub};
use crate::{root, say};

/// The device whose panel is open, and the command half-way whose step response the picture shows.
const DEVICE: &str = "cold-room-01";
const COMMAND: &str = "cold-room-01:set_temperature:setpoint=-12";

/// What the picture can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to put the picture [default: docs/images/dashboard-THEME.png]
    #[arg(long)]
    out: Option<PathBuf>,
    /// dark or light
    #[arg(long, default_value = "dark")]
    theme: String,
    /// Seconds of live data before the picture is taken
    #[arg(long, default_value_t = 100)]
    seconds: u32,
    /// Number of devices
    #[arg(long, default_value_t = 12)]
    devices: u32,
}

/// Makes the picture.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    say("building");
    run_to_end(&mut cargo(&["build", "--locked", "--bins", "--package", "hub", "--package", "device-sim"]))?;
    run_to_end(&mut cargo(&[
        "build",
        "--locked",
        "--package",
        "dashboard",
        "--example",
        "screenshot",
        "--all-features",
    ]))?;
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let hub = start_hub("debug", &data, "127.0.0.1:0", &folder.path().join("hub.log"))?;
    let mut fleet = Command::new(program("debug", "device-sim"));
    fleet
        .arg("run")
        .args(["--devices", &args.devices.to_string(), "--hub", &hub.url])
        .arg("--data")
        .arg(&data);
    let fleet = Running::start("fleet", &mut fleet)?;
    let out =
        args.out.clone().unwrap_or_else(|| root().join(format!("docs/images/dashboard-{}.png", args.theme)));
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    say(&format!("the fleet runs for {} s, with a command on the way", args.seconds));
    let mut picture = Command::new(program("debug", "examples/screenshot"));
    picture
        .args(["--hub", &hub.url, "--theme", &args.theme, "--wait", &args.seconds.to_string()])
        .args(["--select", DEVICE, "--send", COMMAND])
        .args(["--send-at", &(args.seconds / 2).to_string(), "--span", &args.seconds.max(60).to_string()])
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&out);
    let status = Running::start("screenshot", &mut picture)?.wait()?;
    fleet.stop(Duration::from_secs(20))?;
    hub.running.stop(Duration::from_secs(10))?;
    say(&format!("picture: {}", out.display()));
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
