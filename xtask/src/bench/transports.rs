//! The same telemetry and the same commands over other transports: `hub/examples/transports.rs` for each in turn, with a hub
//! of its own.

use std::fmt;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value as Json;

use super::Args;
use crate::process::{Running, program};

/// The transports, with what they are called in the table.
const KINDS: [(&str, &str); 5] = [
    ("websocket", "WebSocket"),
    ("post", "HTTP POST, commands in its answers"),
    ("poll", "HTTP POST, polling once a second"),
    ("long_poll", "HTTP POST, long-polling"),
    ("events", "HTTP POST, Server-Sent Events"),
];

/// What was measured of each.
pub(super) struct Transports(Vec<(&'static str, Json)>);

/// Measures all of them.
pub(super) fn measure(args: &Args, data: &Path) -> Result<Transports> {
    let mut rows = Vec::new();
    for (kind, name) in KINDS {
        let folder = data.join(kind);
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(program("release", "examples/transports"));
        command.arg("serve").arg(&folder);
        let (server, mut lines) = Running::start_piped("transports", &mut command)?;
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let (socket, http) = line.trim().split_once(' ').context("no addresses")?;
        let output = Command::new(program("release", "examples/transports"))
            .args(["load", kind, socket, http])
            .arg(&folder)
            .args([&server.id().to_string(), &args.seconds.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            bail!("{kind} failed: {}", output.status);
        }
        rows.push((name, serde_json::from_slice(&output.stdout).context("no JSON")?));
    }
    Ok(Transports(rows))
}

impl fmt::Display for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| | bytes per reading | overhead bytes per message | requests per message | readings/s | server CPU s per million readings | bytes per command | hub to device p50 ms | p99 ms | idle: bytes/s each | requests/s of 1 000 | CPU % of 1 000 | KiB each |"
        )?;
        writeln!(f, "|{}", "---|".repeat(13))?;
        for (name, row) in &self.0 {
            let cell = |pointer: &str, digits: usize| {
                let number = row.pointer(pointer).and_then(Json::as_f64);
                number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
            };
            let cells = [
                cell("/telemetry/bytes_per_reading", 1),
                cell("/telemetry/overhead_per_message", 1),
                cell("/telemetry/requests_per_message", 2),
                cell("/telemetry/readings_per_second", 0),
                cell("/telemetry/cpu_per_million", 2),
                cell("/commands/bytes_per_command", 0),
                cell("/commands/p50_ms", 1),
                cell("/commands/p99_ms", 1),
                cell("/idle/bytes_per_second_each", 1),
                cell("/idle/requests_per_second", 0),
                cell("/idle/cpu_percent", 1),
                cell("/idle/kib_each", 1),
            ];
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        writeln!(f)
    }
}
