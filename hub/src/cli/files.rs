//! `hub export` and `hub import`: readings into files and out of them.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Args;
use protocol::{Timestamp, local};
use store::{Reader, StoreError, Writer};

use super::{BadUsage, device, print, when};
use crate::clock;
use crate::config::data_folder;
use crate::exchange::{self, Choice, ExchangeError, Format, Progress};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// File to write: its name ends with .csv or .parquet. - is standard output, as CSV
    file: PathBuf,
    /// Only devices that match: 'pump-*'; may be given several times
    #[arg(long = "device", value_name = "PATTERN")]
    devices: Vec<String>,
    /// Only metrics that match; may be given several times
    #[arg(long = "metric", value_name = "PATTERN")]
    metrics: Vec<String>,
    /// Earliest time: -7d (s, m, h, d or w before now), 2026-01-31, 2026-01-31T12:00:00Z [default: the beginning]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Time at which it ends, itself not included [default: the end]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// Format, where the name does not say it
    #[arg(long)]
    format: Option<Format>,
    /// Data folder of the hub, which may run [default: telemetry-hub in the user's data folder]
    #[arg(long, env = local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// File to read: .csv or .parquet
    file: PathBuf,
    /// Format, where the name does not say it
    #[arg(long)]
    format: Option<Format>,
    /// Data folder; no hub may run on it [default: telemetry-hub in the user's data folder]
    #[arg(long, env = local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(super) fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let to_stdout = args.file.as_os_str() == "-";
    let format = match (args.format, to_stdout) {
        (Some(Format::Parquet), true) => {
            return Err(BadUsage("Parquet needs a file: only CSV goes to standard output".into()).into());
        }
        (None, true) => Format::Csv,
        (format, _) => format_of(&args.file, format)?,
    };
    let now = clock::now();
    let time = |text: &Option<String>, default, flag: &str| match text {
        Some(text) => {
            when::parse(text, now).map_err(|BadUsage(problem)| BadUsage(format!("{flag}: {problem}")))
        }
        None => Ok(default),
    };
    let choice = Choice {
        devices: args.devices.clone(),
        metrics: args.metrics.clone(),
        from: time(&args.from, Timestamp::MIN_READING, "--from")?,
        to: time(&args.to, Timestamp::END_READING, "--to")?,
    };
    if choice.from >= choice.to {
        return Err(BadUsage("--from is not before --to: there is nothing between them".into()).into());
    }
    let database = data_folder(args.data.as_deref())?.join(local::DATABASE_FILE);
    let reader = device::open_reader(&database)?;
    let mut report = Report::begin()?;
    let exported = if to_stdout {
        let result = exchange::export(&reader, &choice, format, std::io::stdout(), &mut |p| report.show(p));
        match result {
            // Whoever read it has had enough.
            Err(ExchangeError::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            result => result.map(|(exported, _)| exported),
        }
    } else {
        export_to_file(&reader, &choice, format, &args.file, &mut report)
    };
    report.line.clear();
    let exported = exported.with_context(|| format!("export to {}", args.file.display()))?;
    print::error(&format!(
        "exported {} readings of {} series in {:.1} s",
        exported.readings,
        exported.series,
        report.begun.elapsed().as_secs_f64()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes beside the file and renames at the end: under its name there is all of it or nothing.
fn export_to_file(
    reader: &Reader,
    choice: &Choice,
    format: Format,
    file: &Path,
    report: &mut Report,
) -> Result<exchange::Exported, ExchangeError> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut write = || {
        let out = BufWriter::new(File::create(&partial)?);
        let (exported, out) = exchange::export(reader, choice, format, out, &mut |p| report.show(p))?;
        let out = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        out.sync_all()?;
        std::fs::rename(&partial, file)?;
        Ok(exported)
    };
    let result = write();
    if result.is_err() {
        // It may not be there; and if it cannot be removed, the first error says more.
        drop(std::fs::remove_file(&partial));
    }
    result
}

pub(super) fn import(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let format = format_of(&args.file, args.format)?;
    // Before anything is made for it.
    File::open(&args.file).with_context(|| args.file.display().to_string())?;
    let folder = data_folder(args.data.as_deref())?;
    std::fs::create_dir_all(&folder).with_context(|| format!("data folder {}", folder.display()))?;
    let database = folder.join(local::DATABASE_FILE);
    let mut writer = match Writer::open(&database) {
        Err(StoreError::Busy(problem)) => bail!(
            "{problem}: a hub runs on it. Stop the hub, import, and start it again; its devices keep what they measure \
             meanwhile"
        ),
        writer => writer.with_context(|| format!("database {}", database.display()))?,
    };
    let reader = Reader::open(&database)?;
    let mut report = Report::begin()?;
    let result =
        exchange::import(&mut writer, &reader, &args.file, format, clock::now(), &mut |p| report.show(p));
    report.line.clear();
    if matches!(result, Err(ExchangeError::Stopped)) {
        bail!("stopped: run the same again to go on where it was");
    }
    let imported = result.with_context(|| format!("import of {}", args.file.display()))?;
    writer.checkpoint()?;
    print::line(&format!(
        "{} readings stored, {} were there already, {} in conflict: {} series of {} devices",
        imported.stored, imported.already, imported.conflicts, imported.series, imported.devices
    ));
    if let Some(conflict) = imported.conflict {
        print::error(&format!(
            "what was stored first counts: the first conflict is {} of {} at {}, stored as {} and in the file {}",
            conflict.metric, conflict.device, conflict.at, conflict.stored, conflict.given
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn format_of(file: &Path, named: Option<Format>) -> Result<Format, BadUsage> {
    named.or_else(|| Format::of(file)).ok_or_else(|| {
        let file = file.display();
        BadUsage(format!("{file}: the name says no format: end it with .csv or .parquet, or give --format"))
    })
}

/// Tells a person how far it has come, and listens to Ctrl-C.
struct Report {
    stop: Arc<AtomicBool>,
    begun: Instant,
    line: print::Progress,
}

impl Report {
    fn begin() -> anyhow::Result<Self> {
        Ok(Self { stop: stop_flag()?, begun: Instant::now(), line: print::Progress::default() })
    }

    /// False: stop.
    fn show(&mut self, progress: Progress) -> bool {
        let Progress { done, readings, part } = progress;
        let rate = readings as f64 / self.begun.elapsed().as_secs_f64().max(1e-3) / 1e6;
        self.line.show(&format!("{:.1} %: {readings} readings {done}, {rate:.2} million/s", part * 100.0));
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Becomes true when Ctrl-C is pressed, or the program is asked to end; at the second time it ends at once.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_stopped_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        let mut writer = Writer::open(&database).unwrap();
        let hello =
            serde_json::from_str(r#"{"device": "d", "epoch": "e", "metrics": [{"name": "m"}]}"#).unwrap();
        let device = writer.register(&hello, Timestamp(0)).unwrap();
        let row = store::Row { series: device.series[0], at: Timestamp(1), value: 1.0.into() };
        let batch = store::Batch {
            stream: device.stream,
            after: protocol::Seq(0),
            seq: protocol::Seq(1),
            content: store::BatchContent::Readings(vec![row]),
        };
        writer.append(&[batch], Timestamp(2)).unwrap();
        let reader = Reader::open(&database).unwrap();
        let choice =
            Choice { devices: vec![], metrics: vec![], from: Timestamp(0), to: Timestamp::END_READING };
        for format in [Format::Csv, Format::Parquet] {
            let file = folder.path().join("out");
            let mut report = Report::begin().unwrap();
            report.stop.store(true, Ordering::Relaxed);
            let stopped = export_to_file(&reader, &choice, format, &file, &mut report);
            assert!(matches!(stopped, Err(ExchangeError::Stopped)));
            assert!(!file.exists() && !folder.path().join("out.partial").exists());
            report.stop.store(false, Ordering::Relaxed);
            let exported = export_to_file(&reader, &choice, format, &file, &mut report).unwrap();
            assert_eq!((exported.readings, file.exists()), (1, true));
            std::fs::remove_file(&file).unwrap();
        }
    }
}
