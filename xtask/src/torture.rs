//! `cargo xtask torture`: the hub killed with SIGKILL again and again at full load, and its database compared with an
//! oracle. The work is done by the test target `torture` of the hub, which CI runs for fewer cycles.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::process::cargo;
use crate::say;

/// How long and how hard.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Kills
    #[arg(long, default_value_t = 1_000)]
    cycles: u64,
    /// What the moments of the kills and the faults of the devices are drawn from [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Devices that send at once
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Readings after which a new database is begun
    #[arg(long, default_value_t = 2_000_000)]
    readings: u64,
    /// A hub.toml for the hub, instead of one in which retention takes the metric `mode` after 1s
    #[arg(long)]
    config: Option<std::path::PathBuf>,
    /// Torture the hub as it is released
    #[arg(long)]
    release: bool,
}

/// Tortures, and says how it ended.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let seed = args.seed.unwrap_or_else(now);
    say(&format!("{} cycles with the seed {seed}", args.cycles));
    let mut words = vec!["test", "--locked", "--package", "hub", "--test", "torture"];
    if args.release {
        words.push("--release");
    }
    words.extend(["--", "--nocapture", "killed_at_any_moment"]);
    let mut command = cargo(&words);
    if let Some(file) = &args.config {
        command.env("TORTURE_CONFIG", file.canonicalize().with_context(|| format!("{}", file.display()))?);
    }
    let status = command
        .env("TORTURE_CYCLES", args.cycles.to_string())
        .env("TORTURE_SEED", seed.to_string())
        .env("TORTURE_CONNECTIONS", args.connections.to_string())
        .env("TORTURE_READINGS", args.readings.to_string())
        .status()?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!("failed: the same again with --seed {seed}, as far as the system's timing allows"));
    Ok(ExitCode::FAILURE)
}
