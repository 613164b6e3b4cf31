//! `hub latest`: what the fleet shows now, or showed at a time; through the hub if it runs, else from its database.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use protocol::select::Select;
use protocol::viewer::{DeviceInfo, HubToViewer, LatestRequest};
use protocol::{SeriesId, Timestamp, Value};
use serde_json::json;
use store::Reader;

use super::{Remote, device, print, remote, when};
use crate::clock;

#[derive(Debug, Args)]
pub(super) struct LatestArgs {
    /// As of this time: -7d (s, m, h, d or w before now), 2026-01-31, 2026-01-31T12:00:00Z [default: the latest of all]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    at: Option<String>,
    /// Only devices that match: 'pump-*'; may be given several times
    #[arg(long = "device", value_name = "PATTERN")]
    devices: Vec<String>,
    /// Only metrics that match; may be given several times
    #[arg(long = "metric", value_name = "PATTERN")]
    metrics: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What was answered.
struct Answer {
    devices: Vec<DeviceInfo>,
    points: Vec<(SeriesId, Timestamp, Value)>,
}

pub(super) fn run(args: LatestArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let at = args.at.as_deref().map(|text| when::parse(text, now)).transpose().context("--at")?;
    let select = Select { devices: args.devices, metrics: args.metrics, series: Vec::new() };
    let answer = match remote::block_on(ask(&args.remote, select.clone(), at))? {
        Some(answer) => answer,
        None => read(&args.remote, &select, at)?,
    };
    let mut names = HashMap::new();
    for device in &answer.devices {
        for metric in &device.metrics {
            names.insert(metric.series, (&device.id, &metric.declaration));
        }
    }
    for (series, at, value) in &answer.points {
        let Some((device, metric)) = names.get(series) else { continue };
        let unit = metric.unit.as_deref().unwrap_or_default();
        let line = if args.json {
            json!({"at": at, "device": device, "metric": metric.name, "unit": unit, "value": value})
                .to_string()
        } else {
            format!("{} {device} {} {value} {unit}", remote::time(*at), metric.name)
        };
        if !print::line(line.trim_end()) {
            break;
        }
    }
    if answer.points.is_empty() {
        print::error("no metric that matches has a reading up to then");
    }
    Ok(ExitCode::SUCCESS)
}

/// `None`: no hub answers there.
async fn ask(remote: &Remote, select: Select, at: Option<Timestamp>) -> anyhow::Result<Option<Answer>> {
    let Some(mut viewer) = remote::Viewer::connect(remote).await? else { return Ok(None) };
    let devices = viewer.devices().await?;
    viewer.say(LatestRequest { id: 1, select, at }).await?;
    let mut points = Vec::new();
    loop {
        match viewer.next().await? {
            HubToViewer::Latest(part) if part.id == 1 => {
                points.extend(part.points);
                if !part.more {
                    viewer.close().await;
                    return Ok(Some(Answer { devices, points }));
                }
            }
            HubToViewer::Error(error) => anyhow::bail!("{}: {}", error.code, error.message),
            _ => {}
        }
    }
}

fn read(remote: &Remote, select: &Select, at: Option<Timestamp>) -> anyhow::Result<Answer> {
    let reader: Reader = device::open_database(remote)?;
    let devices: Vec<DeviceInfo> = reader.devices()?.into_iter().map(|record| record.info).collect();
    let mut chosen: Vec<SeriesId> = Vec::new();
    for device in &devices {
        for metric in &device.metrics {
            if select.matches(metric.series, device.id.as_str(), metric.declaration.name.as_str()) {
                chosen.push(metric.series);
            }
        }
    }
    chosen.sort_unstable();
    let latest = reader.as_of(at.unwrap_or(Timestamp(i64::MAX)), Some(&chosen))?;
    let points = latest.readings.into_iter().map(|row| (row.series, row.at, row.value)).collect();
    Ok(Answer { devices, points })
}
