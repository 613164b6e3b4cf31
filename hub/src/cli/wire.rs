//! `hub wire`: what a device's connection carries, frame by frame, as it happens; also into files.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use protocol::viewer::{EndedBy, HubToViewer};
use protocol::wire::pcap::Capture;
use protocol::wire::polling::{POLL_SECONDS, Polling};
use protocol::wire::{Ended, Event, Figures, Follow, Frame, Handshake, Inspect, Record, Side, Wire};
use protocol::{DeviceId, limits};
use serde_json::json;

use super::{Remote, print, remote};

/// Characters of a payload in a line.
const SHOWN: usize = 160;

#[derive(Debug, Args)]
pub(super) struct WireArgs {
    /// Id of the device
    device: DeviceId,
    /// One JSON object a line: records as in docs/protocol.md, with what each frame answers
    #[arg(long)]
    json: bool,
    /// Write a capture as well, which Wireshark opens
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Write the lines of --json into a file as well
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Bytes that are kept of each payload [default: 512, with --pcap 65536]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=i64::from(limits::INSPECT_PAYLOAD_MAX_BYTES)))]
    payload: Option<u32>,
    /// Stop after so many frames
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    seconds: Option<f64>,
    /// Print no more than how the connection was made and its figures, and stop
    #[arg(long, conflicts_with_all = ["count", "seconds", "pcap", "jsonl"])]
    figures: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn run(args: WireArgs) -> anyhow::Result<ExitCode> {
    let limit = args.seconds.map(Duration::try_from_secs_f64).transpose().context("--seconds")?;
    remote::block_on(async {
        let watching = watch(args);
        match limit {
            None => watching.await,
            // What came until then is in the files already.
            Some(limit) => tokio::time::timeout(limit, watching).await.unwrap_or(Ok(ExitCode::SUCCESS)),
        }
    })
}

/// Where the records go.
struct Outputs {
    json: bool,
    capture: Option<(File, Capture)>,
    lines: Option<File>,
    /// What answers what, on the connection of this name.
    follow: (String, Follow),
}

async fn watch(args: WireArgs) -> anyhow::Result<ExitCode> {
    let create = |path: &PathBuf| File::create(path).with_context(|| path.display().to_string());
    let mut outputs = Outputs {
        json: args.json,
        capture: args.pcap.as_ref().map(create).transpose()?.map(|file| (file, Capture::default())),
        lines: args.jsonl.as_ref().map(create).transpose()?,
        follow: (String::new(), Follow::default()),
    };
    if let Some((file, _)) = &mut outputs.capture {
        file.write_all(&Capture::head())?;
    }
    let mut viewer = remote::Viewer::must_connect(&args.remote).await?;
    let payload = args.payload.or(args.pcap.as_ref().map(|_| limits::INSPECT_PAYLOAD_MAX_BYTES));
    viewer.say(Inspect { id: 1, device: args.device.clone(), payload_bytes: payload }).await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    loop {
        let wire = match viewer.next().await? {
            HubToViewer::Wire(wire) => wire,
            HubToViewer::Error(error) => bail!("{}: {}", error.code, error.message),
            _ => continue,
        };
        let Wire { figures, records, left_out, .. } = wire;
        if records.is_empty() && figures.is_none() {
            print::error(&format!("{} is not connected", args.device));
        }
        for record in records {
            let is_frame = matches!(record.event, Event::Frame(_));
            if is_frame && left == 0 || !outputs.record(&record)? {
                viewer.close().await;
                return Ok(ExitCode::SUCCESS);
            }
            left -= u64::from(is_frame);
        }
        if left_out > 0 {
            let line = json!({"event": "left_out", "frames": left_out}).to_string();
            outputs.line(&line)?;
            if !args.json {
                print::line(&format!("        {left_out} frames were left out: there are too many"));
            }
        }
        if args.figures {
            if let Some(figures) = figures {
                print::line(&if args.json { serde_json::to_string(&figures)? } else { told(&figures) });
            }
            viewer.close().await;
            return Ok(ExitCode::SUCCESS);
        }
        if left == 0 {
            viewer.close().await;
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Outputs {
    /// A line of JSON, to wherever such lines go. False: nobody reads any more.
    fn line(&mut self, line: &str) -> anyhow::Result<bool> {
        if let Some(file) = &mut self.lines {
            writeln!(file, "{line}")?;
        }
        Ok(!self.json || print::line(line))
    }

    fn record(&mut self, record: &Record) -> anyhow::Result<bool> {
        if let Some((file, capture)) = &mut self.capture {
            file.write_all(&capture.record(record))?;
        }
        if self.follow.0 != record.session {
            self.follow = (record.session.clone(), Follow::default());
        }
        let answers = match &record.event {
            Event::Frame(frame) => self.follow.1.on_frame(frame),
            Event::Opened(_) | Event::Ended(_) => Vec::new(),
        };
        if self.json || self.lines.is_some() {
            let mut line = serde_json::to_value(record)?;
            if !answers.is_empty() {
                line["answers"] = json!(answers);
            }
            if !self.line(&line.to_string())? {
                return Ok(false);
            }
        }
        if self.json {
            return Ok(true);
        }
        let at = remote::time(record.at);
        let at = at.split_once('T').map_or(at.as_str(), |(_, time)| time).trim_end_matches('Z');
        Ok(match &record.event {
            Event::Opened(handshake) => {
                opened(&record.session, handshake).iter().all(|line| print::line(line))
            }
            Event::Frame(frame) => print::line(&format!("{at} {}", row(frame, &answers))),
            Event::Ended(ended) => print::line(&format!("{at} {}", end(&record.session, ended))),
        })
    }
}

fn millis(micros: i64) -> String {
    format!("{:.3} ms", micros as f64 / 1e3)
}

fn opened(session: &str, handshake: &Handshake) -> Vec<String> {
    let Handshake { address, tls, accepted_at, tls_at, requested_at, upgraded_at, hello_at, .. } = handshake;
    let after = |at: &protocol::Timestamp| millis(at.micros_since(*accepted_at));
    let mut lines =
        vec![format!("connection {session} from {address}, TCP at {}", remote::time(*accepted_at))];
    if let (Some(tls), Some(at)) = (tls, tls_at) {
        lines.push(format!("  + {:>12}  {} with {}", after(at), tls.version, tls.cipher));
    }
    lines.push(format!("  + {:>12}  the head of the request was there", after(requested_at)));
    lines.extend(
        handshake.request.lines().filter(|line| !line.is_empty()).map(|line| format!("      > {line}")),
    );
    lines.push(format!("  + {:>12}  the hub answered", after(upgraded_at)));
    lines.extend(
        handshake.response.lines().filter(|line| !line.is_empty()).map(|line| format!("      < {line}")),
    );
    if let Some(at) = hello_at {
        lines.push(format!("  + {:>12}  hello was read", after(at)));
    }
    lines
}

fn row(frame: &Frame, answers: &[u64]) -> String {
    let arrow = match frame.from {
        Side::Device => "->",
        Side::Hub => "<-",
    };
    let mut marks = Vec::new();
    if !frame.fin {
        marks.push("more follows".to_owned());
    }
    if frame.rsv != 0 {
        marks.push(format!("rsv {:03b}", frame.rsv));
    }
    if let Some(came) = frame.came_bytes {
        marks.push(format!("{came} bytes came"));
    }
    if let Some(micros) = frame.round_trip {
        marks.push(format!("round trip {}", millis(micros as i64)));
    }
    if let Some(close) = &frame.close {
        marks.push(format!("{} {}", close.code, close.reason));
    }
    match *answers {
        [] => {}
        [one] => marks.push(format!("answers #{one}")),
        [first, .., last] => marks.push(format!("answers {} frames, #{first} to #{last}", answers.len())),
    }
    marks.extend(frame.problems.iter().map(|problem| format!("BREAKS A RULE: {problem}")));
    let marks = if marks.is_empty() { String::new() } else { format!(" [{}]", marks.join("; ")) };
    let payload = frame.text.as_deref().or(frame.hex.as_deref()).unwrap_or_default();
    let mut shown: String = payload.chars().take(SHOWN).collect();
    if shown.len() < payload.len() {
        shown.push('…');
    }
    format!(
        "#{:<6} {arrow} {:<12} {:>2}+{:<6}{marks} {shown}",
        frame.n,
        frame.kind(),
        frame.header_bytes,
        frame.payload_bytes
    )
    .trim_end()
    .to_owned()
}

fn end(session: &str, ended: &Ended) -> String {
    let who = match ended.by {
        EndedBy::Device => "the device ended it",
        EndedBy::Hub => "the hub ended it",
        EndedBy::Lost => "it was lost",
    };
    let how = if ended.in_order { "both sent a close frame" } else { "without both close frames" };
    let close =
        ended.close.as_ref().map_or_else(String::new, |close| format!(": {} {}", close.code, close.reason));
    format!("connection {session} is over: {who}, {how}{close}")
}

fn told(figures: &Figures) -> String {
    let seconds = (figures.at.micros_since(figures.opened_at) as f64 / 1e6).max(0.001);
    let mut text = format!("connection {} for {seconds:.0} s\n", figures.session);
    text.push_str(&format!(
        "{:<8} {:>14} {:>12} {:>12} {:>10} {:>14} {:>10}\n",
        "FROM", "BYTES", "FRAMES", "MESSAGES", "PER SECOND", "HEADER BYTES", "PER FRAME"
    ));
    for (name, traffic) in [("device", &figures.device), ("hub", &figures.hub)] {
        text.push_str(&format!(
            "{name:<8} {:>14} {:>12} {:>12} {:>10.1} {:>14} {:>10.2}\n",
            traffic.bytes,
            traffic.frames,
            traffic.messages,
            traffic.messages as f64 / seconds,
            traffic.header_bytes,
            traffic.overhead_per_frame(),
        ));
    }
    let round_trip =
        figures.round_trip.map_or_else(|| "not known yet".into(), |micros| millis(micros as i64));
    let ahead = figures.clock_ahead.map_or_else(|| "not known yet".into(), millis);
    text.push_str(&format!(
        "round trip {round_trip}; the device's clock is ahead by {ahead}, as its readings tell\n"
    ));
    let polling = Polling::of(figures);
    text.push_str(&format!(
        "over HTTP with a poll in {POLL_SECONDS} s it would have been {} requests and {} bytes instead of {}",
        polling.requests, polling.bytes, polling.socket_bytes
    ));
    text
}
