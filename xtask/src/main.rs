//! `cargo xtask`: everything a contributor runs.

mod bench;
mod ci;
mod demo;
mod fuzz;
mod packages;
mod process;
mod screenshot;
mod steady;
mod torture;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Everything a contributor runs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a hub, a fleet of 12 devices and the dashboard; Ctrl-C ends all of it
    Demo(demo::Args),
    /// Install what the tests need, then format check, lints, all tests, docs
    Ci,
    /// Make the picture of the README: the real dashboard on a real hub and fleet
    Screenshot(screenshot::Args),
    /// Measure the hub beside bare SQLite, bare WebSockets and Mosquitto in one run
    Bench(bench::Args),
    /// Feed hostile bytes to everything that reads bytes: blocks, messages, sessions, upgrades, config, database files and logs
    Fuzz(fuzz::Args),
    /// Kill the hub again and again at full load, and compare what is stored with what was acknowledged
    Torture(torture::Args),
    /// Floods, half handshakes and viewers that never read, beside neighbours that nothing may happen to
    Hostile(steady::Hostile),
    /// Restart a hub with thousands of connected devices, and see all of them come back
    Storm(steady::Storm),
    /// Let a hundred thousand connections come and go in a hub with little memory, and see nothing stay behind
    Soak(steady::Soak),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Ci => ci::gate(),
        Command::Screenshot(args) => screenshot::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Fuzz(args) => fuzz::run_targets(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Hostile(args) => steady::hostile(&args),
        Command::Storm(args) => steady::storm(&args),
        Command::Soak(args) => steady::soak(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells the contributor what is being done.
fn say(text: &str) {
    use std::io::Write as _;
    // Nobody reads it any more: what is being done is done all the same.
    drop(writeln!(std::io::stderr().lock(), "xtask: {text}"));
}

/// The folder of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), std::path::Path::to_path_buf)
}
