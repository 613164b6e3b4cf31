//! `cargo xtask hostile`, `storm` and `soak`: the hub under everything that a network does, within 256 MiB of memory. The work
//! is done by the test target `steady` of the hub, of which the gate runs the short forms.

use std::process::ExitCode;

use anyhow::Result;

use crate::process::cargo;
use crate::say;

/// Peers that mean harm, beside neighbours that do not.
#[derive(Debug, clap::Args)]
pub(crate) struct Hostile {
    /// Pings whose answers nobody reads
    #[arg(long, default_value_t = 2_000_000)]
    pings: u64,
    /// Fragments of one byte
    #[arg(long, default_value_t = 500_000)]
    fragments: u64,
    /// Empty frames: fragments, and as many messages
    #[arg(long, default_value_t = 1_000_000)]
    empty: u64,
    /// Messages that are none
    #[arg(long, default_value_t = 300_000)]
    words: u64,
    /// Handshakes that stop half way, all at once
    #[arg(long, default_value_t = 5_000)]
    half: u64,
    /// Viewers that never read
    #[arg(long, default_value_t = 30)]
    viewers: u64,
    /// How long a good client may take to connect meanwhile, in milliseconds, at the 99th percentile
    #[arg(long, default_value_t = 200)]
    connect_ms: u64,
    #[command(flatten)]
    build: Build,
}

/// A fleet that loses its hub at one instant.
#[derive(Debug, clap::Args)]
pub(crate) struct Storm {
    /// Devices, in two processes; a process may have so many descriptors (`ulimit -n`)
    #[arg(long, default_value_t = 10_000)]
    devices: u64,
    /// For how long the hub is down the last time, in seconds
    #[arg(long, default_value_t = 10)]
    down: u64,
    /// Memory that the hub may use, in MiB
    #[arg(long, default_value_t = 256)]
    memory_mib: u64,
    #[command(flatten)]
    build: Build,
}

/// Connections that come and go, and time.
#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// Connections that come and go
    #[arg(long, default_value_t = 100_000)]
    connections: u64,
    /// Minutes to go on after that, with fewer
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    #[command(flatten)]
    build: Build,
}

/// Which hub.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Build {
    /// The hub as the tests build it, instead of as it is released
    #[arg(long)]
    debug: bool,
}

pub(crate) fn hostile(args: &Hostile) -> Result<ExitCode> {
    run(
        args.build,
        "hostile::",
        &[
            ("HOSTILE_PINGS", args.pings),
            ("HOSTILE_FRAGMENTS", args.fragments),
            ("HOSTILE_EMPTY", args.empty),
            ("HOSTILE_WORDS", args.words),
            ("HOSTILE_HALF", args.half),
            ("HOSTILE_DEADLINE", 10),
            ("HOSTILE_STUCK", 12),
            ("HOSTILE_VIEWERS", args.viewers),
            ("HOSTILE_CONNECT_MS", args.connect_ms),
        ],
    )
}

pub(crate) fn storm(args: &Storm) -> Result<ExitCode> {
    let settings = [
        ("STORM_DEVICES", args.devices),
        ("STORM_DOWN", args.down),
        ("STORM_HEARTBEAT", 10),
        ("STEADY_MEMORY_MIB", args.memory_mib),
    ];
    run(args.build, "storm::", &settings)
}

pub(crate) fn soak(args: &Soak) -> Result<ExitCode> {
    run(args.build, "soak::", &[("SOAK_CONNECTIONS", args.connections), ("SOAK_MINUTES", args.minutes)])
}

fn run(build: Build, tests: &str, settings: &[(&str, u64)]) -> Result<ExitCode> {
    let mut words = vec!["test", "--locked", "--package", "hub", "--test", "steady"];
    if !build.debug {
        words.push("--release");
    }
    // One after the other, so that one does not disturb what another measures.
    words.extend(["--", "--nocapture", "--test-threads", "1", tests]);
    let mut command = cargo(&words);
    for (name, value) in settings {
        command.env(name, value.to_string());
    }
    if command.status()?.success() {
        return Ok(ExitCode::SUCCESS);
    }
    say("failed: what was measured stands above, before the failure");
    Ok(ExitCode::FAILURE)
}
