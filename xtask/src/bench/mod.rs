//! `cargo xtask bench`: the hub beside its yardsticks, in one run: bare SQLite, bare WebSockets, and Mosquitto.
//!
//! Machines differ and drift, so what counts are CPU seconds and ratios within a run. The load generator runs on the same
//! machine and takes its share of the cores.

mod commands;
mod load;
mod mosquitto;
mod plan;
mod report;
mod steady;
mod transports;
mod ui;
mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::process::{Interrupt, cargo, program, run as run_to_end};
use crate::say;
use plan::{Part, Server, Work};
use report::Report;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the parts whose names begin so, as with --only; `ui` is measured only if it is named
    #[arg(value_name = "NAME")]
    parts: Vec<String>,
    /// Only the parts whose names begin so, `batch-10` or `series-100-16-hub`, say; --list has them all
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Print the names of the parts and measure nothing
    #[arg(long)]
    list: bool,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Seconds before each, so that sealing and merging have come to their steady state; yardsticks take 1
    #[arg(long, default_value_t = 10)]
    warm_up: u32,
    /// Measure each row of batches and series so many times, in turns, and show the run in the middle by CPU time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Idle connections for the memory of one
    #[arg(long, default_value_t = 2_000)]
    idle: u32,
    /// Only the part `long`: a constant rate for a long time
    #[arg(long)]
    long: bool,
    /// Seconds of the part `long`
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    long_seconds: u32,
    /// Readings a second in the part `long`; 0: as fast as it goes
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// Folder on the disk to measure [default: cargo's target folder]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Measures, and prints tables in Markdown.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let parts = choose(args)?;
    if args.list {
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        report::print(&format!("{}\n", names.join("\n")))?;
        return Ok(ExitCode::SUCCESS);
    }
    // The programs run in process groups of their own: without this Ctrl-C would leave them behind.
    let interrupt = Interrupt::watch()?;
    prepare(&parts)?;
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir_in(program("release", "").parent().context("no target folder")?),
    }?;
    let mut report = Report::default();
    let again = parts.iter().filter(|part| matches!(part.work, Work::Load(_)));
    let turns: Vec<&Part> = parts.iter().chain((1..args.rounds).flat_map(|_| again.clone())).collect();
    for (i, part) in turns.iter().enumerate() {
        if interrupt.came() {
            say("interrupted: what was measured so far");
            break;
        }
        say(&format!("{} of {}: {}", i + 1, turns.len(), part.name));
        // Each has a folder of its own, which goes when it is done: some of them fill gigabytes.
        let data = folder.path().join(&part.name);
        std::fs::create_dir_all(&data)?;
        if let Err(error) = measure(args, part, &data, &mut report) {
            say(&format!("{} failed: {error:#}", part.name));
            report.failed.push(part.name.clone());
        }
        std::fs::remove_dir_all(&data)?;
    }
    report.take_medians();
    report::print(&report.to_string())?;
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn choose(args: &Args) -> Result<Vec<Part>> {
    let all = plan::all();
    let only: Vec<&str> = if args.long {
        vec!["long"]
    } else {
        args.parts.iter().chain(&args.only).map(String::as_str).collect()
    };
    if let Some(unknown) = only.iter().find(|only| !all.iter().any(|part| part.is_called(only))) {
        bail!("no part is called {unknown}: `cargo xtask bench --list` has the names");
    }
    let chosen = |part: &Part| {
        if only.is_empty() {
            args.list || !matches!(part.work, Work::Long | Work::Ui)
        } else {
            only.iter().any(|only| part.is_called(only))
        }
    };
    Ok(all.into_iter().filter(chosen).collect())
}

/// Builds what is measured, and installs the broker if it takes part.
fn prepare(parts: &[Part]) -> Result<()> {
    if parts.iter().any(|part| matches!(&part.work, Work::Load(row) if row.server == Server::Mosquitto)) {
        mosquitto::ensure()?;
    }
    say("building in release");
    if parts.iter().any(|part| matches!(part.work, Work::Ui)) {
        ui::prepare()?;
    }
    run_to_end(&mut cargo(&["build", "--locked", "--release", "--bins", "-p", "hub", "-p", "device-sim"]))?;
    run_to_end(&mut cargo(&["build", "--locked", "--release", "--examples", "-p", "hub", "-p", "store"]))
}

fn measure(args: &Args, part: &Part, data: &Path, report: &mut Report) -> Result<()> {
    match &part.work {
        Work::Load(row) => report.rows.push(load::row(args, row, data)?),
        Work::Backup => report.backup = steady::backup(args, data)?,
        Work::Long => report.long = Some(steady::long(args, data)?),
        Work::Commands => report.commands = Some(commands::measure(args, data)?),
        Work::Transports => report.transports = Some(transports::measure(args, data)?),
        Work::Wire => report.wire = Some(wire::measure(args, data)?),
        Work::Ui => report.ui = Some(ui::measure(data)?),
        Work::Idle => report.idle = Some((args.idle, load::idle(args.idle, data)?)),
        Work::Store(name) => report.store.push(store(name, data)?),
    }
    Ok(())
}

/// What `rates` prints of one of its parts.
fn store(name: &str, data: &Path) -> Result<String> {
    let output = Command::new(program("release", "examples/rates"))
        .arg(data)
        .arg(name)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("rates failed: {}", output.status);
    }
    if output.stdout.is_empty() {
        bail!("store/examples/rates.rs has no part {name}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
