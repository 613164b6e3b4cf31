//! `cargo xtask demo`: a hub, a fleet and the window, on defaults, until Ctrl-C or until the window is closed.
//!
//! Down in order: the window, then the fleet (it drains and reports), then the hub (it commits and checkpoints).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::packages;
use crate::process::{Hub, Interrupt, Running, cargo, program, run as run_to_end, start_hub};
use crate::{root, say};

/// The port that is tried first.
const PORT: u16 = 7878;
/// How long the fleet may take to drain and report.
const FLEET_PATIENCE: Duration = Duration::from_secs(20);
/// How long the hub may take to stop in order; it cuts itself off before.
const HUB_PATIENCE: Duration = Duration::from_secs(10);

/// What is built.
const PROGRAMS: [&str; 3] = ["hub", "device-sim", "dashboard"];

/// How often a hub that was killed is started again. Chosen: enough to play with, few enough to end a loop.
const RESTARTS_MAX: u32 = 100;

/// What the demo can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Number of devices
    #[arg(long, default_value_t = 12)]
    devices: u32,
    /// Run without the window
    #[arg(long)]
    headless: bool,
    /// Folder of the hub's data; kept from run to run [default: demo-data in the workspace]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Stop after this many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let window = window_is_possible(args);
    build(window)?;
    let interrupt = Interrupt::watch()?;
    let data = args.data.clone().unwrap_or_else(|| root().join("demo-data"));
    let log = data.join("hub.log");
    let hub = start(&data, &log)?;
    say(&format!("hub at {}, data in {}, its log in {}", hub.url, data.display(), log.display()));
    let fleet = start_fleet(args, &hub, &data)?;
    let mut window = if window { Some(start_window(&hub, &data)?) } else { None };
    if window.is_none() {
        say_how_to_open_a_window(&data);
    }
    say("Ctrl-C ends all of it");

    let until = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut hub = hub;
    let mut fleet = fleet;
    let mut ended_well = true;
    let mut restarts = 0;
    while !interrupt.came() && until.is_none_or(|until| Instant::now() < until) {
        thread::sleep(Duration::from_millis(100));
        if let Some(running) = &mut window
            && let Some(status) = running.ended()?
        {
            window = None;
            if status.success() {
                say("the window is closed");
                break;
            }
            say(&format!("the window did not open or failed ({status}): the demo goes on without it"));
            say_how_to_open_a_window(&data);
        }
        if let Some(status) = hub.running.ended()? {
            restarts += 1;
            if status.code().is_some() || restarts > RESTARTS_MAX {
                say(&format!("the hub has ended by itself ({status}): see {}", log.display()));
                ended_well = false;
                break;
            }
            say(&format!(
                "the hub was killed ({status}): it is started again, and the fleet goes on where it was"
            ));
            let address = hub.url.trim_start_matches("ws://").to_owned();
            hub = start_hub("debug", &data, &address, &log)?;
        }
        if let Some(status) = fleet.ended()? {
            say(&format!("the fleet has ended by itself ({status})"));
            ended_well = false;
            break;
        }
    }
    say("stopping: window, fleet, hub");
    if let Some(window) = window {
        window.stop(Duration::from_secs(5))?;
    }
    let fleet = fleet.stop(FLEET_PATIENCE)?;
    let hub = hub.running.stop(HUB_PATIENCE)?;
    say(&format!("stopped. The next start goes on with the data in {}", data.display()));
    Ok(if ended_well && fleet.success() && hub.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether a window can be opened here; if not, says why. Installs what it loads, where that is allowed.
fn window_is_possible(args: &Args) -> bool {
    if args.headless {
        return false;
    }
    let display = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !display("DISPLAY") && !display("WAYLAND_DISPLAY") {
        say("no display here (neither DISPLAY nor WAYLAND_DISPLAY is set): the demo runs without its window");
        return false;
    }
    if let Err(error) = packages::ensure("the window", packages::WINDOW) {
        say(&format!("{error:#}"));
        say("the demo runs without its window");
        return false;
    }
    true
}

fn build(window: bool) -> Result<()> {
    let lacks = |name| !program("debug", name).exists();
    say(match (lacks("hub"), window && lacks("dashboard")) {
        (true, true) => {
            "building hub, fleet and window: the first time 5 to 8 minutes on two cores, seconds later on"
        }
        (true, false) => {
            "building hub and fleet: the first time 2 to 4 minutes on two cores, seconds later on"
        }
        (false, true) => "building the window: the first time 3 to 5 minutes on two cores, seconds later on",
        (false, false) => "building what has changed",
    });
    // With all three named, whatever is built of them: what is shared has the features that they need together, and is
    // not built again for another choice.
    let mut words = vec!["build", "--locked"];
    words.extend(PROGRAMS.iter().flat_map(|name| ["--package", name]));
    let wanted = PROGRAMS.iter().filter(|name| window || **name != "dashboard");
    words.extend(wanted.flat_map(|name| ["--bin", name]));
    run_to_end(&mut cargo(&words))
}

fn start(data: &Path, log: &Path) -> Result<Hub> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    if let Err(error) = TcpListener::bind(address) {
        let by = holder_of(PORT).unwrap_or_else(|| "another program".into());
        say(&format!("port {PORT} is taken by {by} ({error}): another one is picked"));
        return start_hub("debug", data, "127.0.0.1:0", log);
    }
    start_hub("debug", data, &address.to_string(), log)
}

/// Who listens on a port, as far as `/proc` lets us see: `hub (process 4711)`.
fn holder_of(port: u16) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let wanted = format!(":{port:04X}");
    let inode = table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Columns 1, 3 and 9: local address, state (0A is LISTEN), inode.
        let listens = columns.get(1)?.ends_with(&wanted) && *columns.get(3)? == "0A";
        if listens { columns.get(9).copied() } else { None }
    })?;
    let socket = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str())
        });
        if holds {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    None
}

fn start_fleet(args: &Args, hub: &Hub, data: &Path) -> Result<Running> {
    let mut command = Command::new(program("debug", "device-sim"));
    command
        .arg("run")
        .args(["--devices", &args.devices.to_string()])
        .args(["--hub", &hub.url])
        .arg("--data")
        .arg(data);
    Running::start("fleet", &mut command)
}

fn start_window(hub: &Hub, data: &Path) -> Result<Running> {
    let mut command = Command::new(program("debug", "dashboard"));
    command.args(["--hub", &hub.url]).arg("--data").arg(data);
    Running::start("window", &mut command).context("the dashboard")
}

fn say_how_to_open_a_window(data: &Path) {
    let dashboard = program("debug", "dashboard");
    let build = if dashboard.exists() {
        String::new()
    } else {
        format!("cargo build --package {} && ", PROGRAMS.join(" --package "))
    };
    say(&format!(
        "this opens the window where there is a display: {build}{} --data {}",
        dashboard.display(),
        data.display()
    ));
}
