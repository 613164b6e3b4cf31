//! `hub verify | backup | restore | stats`: care for the database file, beside a running hub or without one.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use protocol::{Timestamp, local};
use serde_json::{Value as Json, json};
use store::{CopyNotice, Depth, DeviceStats, Finding, Notice, Pace, Reader, Stage, StoreError, Verified};

use super::print::Progress;
use super::{BadUsage, COULD_NOT_RUN, device, print, remote};
use crate::config::data_folder;

/// Copied in a second unless told otherwise. Measured: acknowledgements at 100 000 readings/s do not wait for it, see
/// docs/operations.md.
const BACKUP_BYTES_PER_SECOND: u64 = 32 * 1024 * 1024;

/// Which database.
#[derive(Debug, Clone, Args)]
pub(super) struct Folder {
    /// Data folder of the hub [default: telemetry-hub in the user's data folder]
    #[arg(long, env = local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Folder {
    fn database(&self) -> anyhow::Result<PathBuf> {
        Ok(data_folder(self.data.as_deref())?.join(local::DATABASE_FILE))
    }
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// A database file, such as a backup [default: that of the data folder]
    file: Option<PathBuf>,
    /// Check only whether the counts add up, which is fast; do not open the stored readings or check the whole file
    #[arg(long)]
    quick: bool,
    /// One JSON object a line: each finding, then what was checked
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to make
    file: PathBuf,
    /// Copy as fast as it goes: acknowledgements of a running hub may wait for it
    #[arg(long)]
    full_speed: bool,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A file that `hub backup` made
    file: PathBuf,
    /// Replace a database that is there already; the old one is kept beside it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    folder: Folder,
}

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Also what each device has in the database
    #[arg(long)]
    devices: bool,
    /// One JSON object a line: the whole, then each device
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    folder: Folder,
}

/// Checks a database. 0: clean; 1: damaged; [`COULD_NOT_RUN`]: neither is known.
pub(super) fn verify(args: &VerifyArgs) -> ExitCode {
    match check(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print::error(&format!("{error:#}"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Whether it is clean.
fn check(args: &VerifyArgs) -> anyhow::Result<bool> {
    let path = match &args.file {
        Some(file) => file.clone(),
        None => args.folder.database()?,
    };
    if path.is_dir() {
        bail!("{} is a folder: name the file in it, or the hub's data folder with --data", path.display());
    }
    if !path.is_file() {
        bail!("{}: there is no such file", path.display());
    }
    let tell = |finding: &Finding| {
        print::line(&if args.json { finding_json(finding).to_string() } else { finding_text(finding) });
    };
    let reader = match Reader::open(&path) {
        Ok(reader) => reader,
        Err(StoreError::Corrupt(what)) => {
            // So damaged that it cannot even be opened.
            tell(&Finding { what, ..Finding::default() });
            return Ok(false);
        }
        Err(error) => return Err(error).with_context(|| format!("database {}", path.display())),
    };
    let depth = if args.quick { Depth::Quick } else { Depth::Whole };
    let mut progress = Progress::default();
    let verified = reader.verify(depth, &mut |notice| {
        match notice {
            Notice::Finding(finding) => {
                progress.clear();
                tell(&finding);
            }
            Notice::Progress { stage, done, total } => progress.show(&stage_text(stage, done, total)),
        }
        ControlFlow::Continue(())
    })?;
    progress.clear();
    let clean = verified.findings == 0;
    print::line(&if args.json {
        verified_json(&verified).to_string()
    } else {
        format!("{}: {}", path.display(), verified_text(&verified, depth))
    });
    Ok(clean)
}

fn stage_text(stage: Stage, done: u64, total: u64) -> String {
    match stage {
        Stage::Structure => "checking: SQLite's structures, the whole file".into(),
        Stage::Tables => "checking: devices, series, streams, commands".into(),
        Stage::Accounts => "checking: accounts and hot readings".into(),
        Stage::Blocks => format!("checking: blocks, {}", share(done, total, "readings")),
    }
}

fn finding_text(finding: &Finding) -> String {
    let mut place: Vec<String> = Vec::new();
    place.extend(finding.device.iter().cloned());
    place.extend(finding.metric.iter().cloned());
    place.extend(finding.block.map(|block| format!("block {block}")));
    place.extend(finding.times.map(|(from, to)| {
        if from == to {
            remote::time(from)
        } else {
            format!("{} to {}", remote::time(from), remote::time(to))
        }
    }));
    if place.is_empty() { finding.what.clone() } else { format!("{}: {}", place.join(" "), finding.what) }
}

fn finding_json(finding: &Finding) -> Json {
    json!({"finding": finding.what, "device": finding.device, "metric": finding.metric, "block": finding.block,
           "from": finding.times.map(|times| times.0), "to": finding.times.map(|times| times.1)})
}

fn verified_text(verified: &Verified, depth: Depth) -> String {
    let Verified { devices, series, hot, blocks, bundles, opened, damaged, findings, .. } = *verified;
    let blocks = match depth {
        Depth::Whole => format!("{blocks} blocks and {bundles} bundles with {opened} readings"),
        Depth::Quick | Depth::Copy => format!("{blocks} blocks and {bundles} bundles, which were not opened"),
    };
    let result = match findings {
        0 => "clean".to_owned(),
        1 => "DAMAGED, 1 finding".to_owned(),
        n => format!("DAMAGED, {n} findings"),
    };
    let aside = match damaged {
        0 => String::new(),
        n => format!("; {n} readings were found damaged earlier and put aside, see the table damaged"),
    };
    format!("{result}. Checked: {devices} devices, {series} series, {hot} hot readings, {blocks}{aside}")
}

fn verified_json(verified: &Verified) -> Json {
    json!({"clean": verified.findings == 0, "findings": verified.findings, "devices": verified.devices,
           "series": verified.series, "hot": verified.hot, "blocks": verified.blocks, "bundles": verified.bundles, "opened": verified.opened,
           "damaged": verified.damaged, "position": verified.position})
}

/// Shows how a copy comes along.
fn show_copy(progress: &mut Progress, notice: CopyNotice) -> ControlFlow<()> {
    match notice {
        CopyNotice::Leftover(path) => {
            print::error(&format!("{}: the rest of an interrupted one is written over", path.display()));
        }
        CopyNotice::Copied { done, total } => {
            progress.show(&format!("copying: {}", share(done / 1_000_000, total / 1_000_000, "MB")));
        }
        CopyNotice::Checking => progress.show("checking the copy"),
    }
    ControlFlow::Continue(())
}

pub(super) fn backup(args: &BackupArgs) -> anyhow::Result<ExitCode> {
    if args.file.is_dir() {
        let name = args.file.join("backup.db");
        let problem =
            format!("{} is a folder: name a file in it, as {}", args.file.display(), name.display());
        return Err(BadUsage(problem).into());
    }
    let path = args.folder.database()?;
    let reader = device::open_reader(&path)?;
    let pace = Pace { bytes_per_second: (!args.full_speed).then_some(BACKUP_BYTES_PER_SECOND) };
    let mut progress = Progress::default();
    let made = reader.backup(&args.file, pace, args.force, &mut |notice| show_copy(&mut progress, notice));
    progress.clear();
    let made = made.map_err(|error| match error {
        StoreError::Exists(_) => {
            anyhow!("{}: there is such a file: name another, or replace it with --force", args.file.display())
        }
        error => error.into(),
    })?;
    print::line(&format!(
        "{}: {}, {} readings up to position {}, checked; the log of the database grew by {} meanwhile",
        args.file.display(),
        size(made.bytes),
        made.verified.hot + made.verified.sealed,
        made.verified.position.0,
        size(made.log_growth),
    ));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(args: &RestoreArgs) -> anyhow::Result<ExitCode> {
    let path = args.folder.database()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("data folder {}", folder.display()))?;
    }
    let mut progress = Progress::default();
    let restored =
        store::restore(&args.file, &path, args.force, &mut |notice| show_copy(&mut progress, notice));
    progress.clear();
    let restored = restored.map_err(|error| match error {
        StoreError::Busy(problem) => anyhow!("{problem}: stop the hub first"),
        StoreError::Exists(_) => anyhow!(
            "{}: there is a database: name another folder with --data, or keep that one aside with --force",
            path.display()
        ),
        error => error.into(),
    })?;
    if let Some(kept) = &restored.kept {
        print::line(&format!("{}: the database that was there", kept.display()));
    }
    print::line(&format!(
        "{}: {}, up to position {}, checked. Start the hub, and viewers anew",
        path.display(),
        size(restored.bytes),
        restored.verified.position.0,
    ));
    Ok(ExitCode::SUCCESS)
}

pub(super) fn stats(args: &StatsArgs) -> anyhow::Result<ExitCode> {
    let path = args.folder.database()?;
    let reader = device::open_reader(&path)?;
    let (stats, sizes) = (reader.stats()?, reader.sizes()?);
    let devices = if args.devices { reader.device_stats()? } else { Vec::new() };
    let sealed = stats.readings.saturating_sub(stats.hot);
    let each = |bytes: u64, readings: u64| {
        if readings == 0 { None } else { Some((bytes as f64 / readings as f64 * 100.0).round() / 100.0) }
    };
    if args.json {
        let whole = json!({
            "devices": stats.devices, "series": stats.series, "readings": stats.readings, "hot": stats.hot,
            "sealed": sealed, "thinned": stats.thinned, "conflicts": stats.conflicts, "removed": stats.removed,
            "damaged": stats.damaged, "blocks": sizes.blocks, "bundles": sizes.bundles,
            "block_bytes": sizes.block_bytes, "block_bytes_per_reading": each(sizes.block_bytes, sealed),
            "file_bytes": sizes.file_bytes, "file_bytes_per_reading": each(sizes.file_bytes, stats.readings),
            "free_bytes": sizes.free_bytes, "log_bytes": sizes.log_bytes, "oldest": stats.oldest,
            "newest": stats.newest,
        });
        print::line(&whole.to_string());
        for device in &devices {
            if !print::line(&device_json(device).to_string()) {
                break;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let a_reading = |bytes, readings| {
        each(bytes, readings).map_or_else(String::new, |each| format!(", {each} bytes a reading"))
    };
    let time = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), remote::time);
    for (name, value) in [
        ("database", path.display().to_string()),
        ("devices", stats.devices.to_string()),
        ("series", stats.series.to_string()),
        ("readings", stats.readings.to_string()),
        ("  hot", stats.hot.to_string()),
        ("  sealed", sealed.to_string()),
        ("  thinned", format!("{} of the sealed: only their statistics are left", stats.thinned)),
        ("removed", format!("{} by retention", stats.removed)),
        ("damaged", format!("{} put aside when they were to be sealed", stats.damaged)),
        ("conflicts", format!("{} left out: their microsecond was taken", stats.conflicts)),
        ("oldest", time(stats.oldest)),
        ("newest", time(stats.newest)),
        (
            "blocks",
            format!(
                "{}, and {} bundles, {}{}",
                sizes.blocks,
                sizes.bundles,
                size(sizes.block_bytes),
                a_reading(sizes.block_bytes, sealed)
            ),
        ),
        ("file", format!("{}{}", size(sizes.file_bytes), a_reading(sizes.file_bytes, stats.readings))),
        ("  free", size(sizes.free_bytes)),
        (
            "log",
            format!(
                "{}, the write-ahead log: beside the file, and written over and over",
                size(sizes.log_bytes)
            ),
        ),
    ] {
        if !print::line(&format!("{name:<10} {value}")) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if args.devices {
        print::line(&format!(
            "\n{:<24} {:>6} {:>12} {:>9} {:>12} {:>9} {:>9} {:>8} {:>10}  {:<24}  NEWEST",
            "DEVICE",
            "SERIES",
            "READINGS",
            "HOT",
            "SEALED",
            "CONFLICTS",
            "REMOVED",
            "BLOCKS",
            "BYTES",
            "OLDEST"
        ));
    }
    for d in &devices {
        let row = format!(
            "{:<24} {:>6} {:>12} {:>9} {:>12} {:>9} {:>9} {:>8} {:>10}  {:<24}  {}",
            d.device.as_str(),
            d.series,
            d.readings,
            d.hot,
            d.sealed,
            d.conflicts,
            d.removed,
            d.blocks,
            size(d.block_bytes),
            time(d.oldest),
            time(d.newest)
        );
        if !print::line(&row) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a device has in the database, as JSON.
fn device_json(d: &DeviceStats) -> Json {
    json!({"device": d.device, "series": d.series, "readings": d.readings, "hot": d.hot, "sealed": d.sealed,
           "conflicts": d.conflicts, "removed": d.removed,
           "damaged": d.damaged, "blocks": d.blocks, "block_bytes": d.block_bytes, "oldest": d.oldest,
           "newest": d.newest})
}

/// `5 of 20 MB, 25 %`.
fn share(done: u64, total: u64, unit: &str) -> String {
    if total == 0 {
        return format!("{done} {unit}");
    }
    format!("{done} of {total} {unit}, {} %", (done * 100 / total).min(100))
}

/// A size for a person, in thousands.
fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 1_000.0 {
            return if unit == "bytes" { format!("{size} {unit}") } else { format!("{size:.1} {unit}") };
        }
        size /= 1_000.0;
    }
    format!("{size:.1} TB")
}
