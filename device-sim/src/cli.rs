//! The command line: what can be asked for, and what is done for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use client::{Endpoint, EndpointError, Given, TokenRole};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::faults::{CommandFault, FaultPlan, Outage};
use crate::fleet::{Fleet, FleetConfig};
use crate::kinds::DeviceKind;
use crate::load::{self, LoadConfig, Target};
use crate::printer::{self, Progress};

/// Longest time that may be given anywhere.
const TIME_MAX: Duration = Duration::from_hours(10_000);
/// Time between two looks at a running fleet.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Simulates a fleet of devices for a hub, or measures what a hub takes.
#[derive(Debug, Parser)]
#[command(name = "device-sim", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a fleet that behaves like a real one, until Ctrl-C
    Run(Box<Run>),
    /// Send as fast as the hub acknowledges, or at a rate, and report what it takes and how soon
    Load(Box<Load>),
    /// Get the token of a device with a code of `hub claim add`, and print it
    Claim(Box<Claim>),
}

#[derive(Debug, Args)]
struct Claim {
    /// The code, as it was given
    code: String,
    #[command(flatten)]
    hub: Hub,
}

/// Where the hub is, and how to be let in.
#[derive(Debug, Args)]
struct Hub {
    #[arg(
        long = "hub",
        value_name = "URL",
        help = "URL of the hub [default: $TELEMETRY_HUB, else the hub that runs on the data folder, else ws://127.0.0.1:7878]"
    )]
    url: Option<String>,
    #[arg(
        long,
        value_name = "TOKEN",
        help = "Token of the fleet, or of the one device [default: $TELEMETRY_TOKEN, else fleet.token in the data folder]"
    )]
    token: Option<String>,
    #[arg(
        long,
        value_name = "FOLDER",
        help = "Data folder of a hub on this machine, which has its address and its tokens [default: $TELEMETRY_DATA, else telemetry-hub in the user's data folder]"
    )]
    data: Option<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        help = "File of CAs in PEM to trust instead of the system's, for a hub at wss:// [default: $TELEMETRY_CA]"
    )]
    ca: Option<PathBuf>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Certificate in PEM by which the hub knows the device, instead of a token [default: $TELEMETRY_CERTIFICATE]"
    )]
    certificate: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Key of the certificate, in PEM [default: $TELEMETRY_KEY]")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    hub: Hub,
    /// How many devices
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 6, value_parser = whole::<u32>(1, 100_000))]
    devices: u32,
    /// Kinds of devices, in turn: pump,solar [default: all of them]
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    kinds: Vec<DeviceKind>,
    /// How often everything is measured, as a multiple of the usual
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = above_zero, allow_negative_numbers = true)]
    rate: f64,
    /// How fast time passes for what the devices measure: with 60, an hour of sun takes a minute
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = above_zero, allow_negative_numbers = true)]
    speed: f64,
    /// Seed of all that is left to chance: the same number gives the same fleet
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = whole::<u64>(0, u64::MAX), allow_negative_numbers = true)]
    seed: u64,
    /// Shortest time between two messages of a device
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration)]
    batch: Duration,
    /// Memory of a device for readings that are not acknowledged, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = client::device::OUTBOX_BYTES, value_parser = whole::<usize>(1_024, 1 << 40))]
    outbox_bytes: usize,
    /// Text that every device id begins with
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// Folder in which devices remember which commands they did; without it a fleet that is started again has forgotten
    #[arg(long, value_name = "DIR")]
    memory: Option<std::path::PathBuf>,
    /// Stop after this time: 90s, 5m, 1h [default: at Ctrl-C]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// How long to wait at the end until everything is acknowledged
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    drain: Duration,
    /// How often a connection breaks, per device and minute
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = not_negative)]
    disconnects: f64,
    /// How often a device falls silent and keeps its connection, per device and minute
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = not_negative)]
    silences: f64,
    /// How long a silence takes
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = duration)]
    silence: Duration,
    /// How often a device restarts and loses what was not acknowledged, per device and minute
    #[arg(long, value_name = "RATE", default_value_t = 0.0, value_parser = not_negative)]
    reboots: f64,
    /// Share of messages that are sent twice, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// Largest error of a device's clock, either way
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    clock_skew: Duration,
    /// All devices lose their connection at a time for a time, and then send everything at once: 30s+20s
    #[arg(long, value_name = "AT+LENGTH", value_parser = outage)]
    outage: Vec<Outage>,
    /// What goes wrong with commands, and with which share of them: slow=0.2,fail=0.1. Also reject, disconnect, power-cut,
    /// late (the connection is gone until long after the end), overdue (connected, and told long after the end), twice, mute
    #[arg(long, value_name = "FAULT=SHARE", value_delimiter = ',', value_parser = command_fault)]
    command_faults: Vec<(CommandFault, f64)>,
    /// The longest that such a command takes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    command_time: Duration,
    /// With late and overdue: how long after its end a command is said to have ended
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    late: Duration,
    /// File to which what devices did with commands is added, as lines of JSON
    #[arg(long, value_name = "FILE")]
    deeds: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Load {
    #[command(flatten)]
    hub: Hub,
    /// How many connections, each a device
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = whole::<u32>(1, 10_000))]
    connections: u32,
    /// Readings in one message
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = whole::<u32>(1, 4_096))]
    readings_per_message: u32,
    /// Most messages of a connection that wait for their acknowledgement at a time
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = whole::<u32>(1, 256))]
    in_flight: u32,
    /// Metrics of each device; they take turns
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = whole::<u32>(1, 256))]
    series: u32,
    /// Readings a second over all connections, evenly; times are then counted from when a message was due [default: as fast as
    /// the hub acknowledges]
    #[arg(long, value_name = "READINGS", value_parser = whole::<u64>(1, 1_000_000_000))]
    rate: Option<u64>,
    /// How long to send before measuring
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    warm_up: Duration,
    /// How long to send and measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Send the same messages to an MQTT broker instead, at QoS 1
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = broker, conflicts_with_all = ["url", "token", "data"])]
    mqtt: Option<String>,
    /// Also measure what this process uses: that of the hub or broker
    #[arg(long, value_name = "PID", value_parser = whole::<u32>(1, u64::from(u32::MAX)))]
    server: Option<u32>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

async fn run_claim(claim: Claim) -> anyhow::Result<ExitCode> {
    let endpoint = Endpoint::find_hub(claim.hub.given()).map_err(of_flag)?;
    let claimed = client::claim::claim(&endpoint, &claim.code).await?;
    tracing::info!(device = %claimed.device, "the code was taken");
    printer::result(claimed.token.reveal());
    Ok(ExitCode::SUCCESS)
}

impl Hub {
    fn given(&self) -> Given<'_> {
        Given {
            url: self.url.as_deref(),
            token: self.token.as_deref(),
            data: self.data.as_deref(),
            ca: self.ca.as_deref(),
            certificate: self.certificate.as_deref(),
            key: self.key.as_deref(),
        }
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        Endpoint::find(TokenRole::Device, self.given()).map_err(of_flag)
    }
}

/// The same error, said of the flag from which it came; those of variables name theirs.
fn of_flag(error: EndpointError) -> anyhow::Error {
    let flag = match &error {
        EndpointError::BadUrl { .. } => Some("--hub"),
        EndpointError::BadToken(_) => Some("--token"),
        _ => None,
    };
    match flag {
        Some(flag) => anyhow::Error::new(error).context(flag),
        None => error.into(),
    }
}

/// A value on the command line that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadUsage(String);

/// Whether something was typed that cannot be meant: the exit code is 2 then, as where clap finds it.
pub fn is_bad_usage(error: &anyhow::Error) -> bool {
    error.is::<BadUsage>() || error.downcast_ref().is_some_and(EndpointError::is_bad_usage)
}

/// What `RUST_LOG` says.
fn log_filter(text: &str) -> Result<EnvFilter, BadUsage> {
    EnvFilter::builder().parse(text).map_err(|error| {
        let variable = EnvFilter::DEFAULT_ENV;
        BadUsage(format!(
            "the variable {variable} is {text:?}: {error}; give a level, or filters as in info,client=debug"
        ))
    })
}

/// Does what was asked for. The exit code is 0 only if every reading arrived.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // The WebSocket library logs whole requests, tokens included, at trace.
    let quiet = ["tungstenite=info", "tokio_tungstenite=info"].into_iter().filter_map(|d| d.parse().ok());
    // What a fleet's connections warn of, the report tells once instead of once for each device.
    let filter = match std::env::var(EnvFilter::DEFAULT_ENV) {
        Ok(text) if !text.trim().is_empty() => log_filter(&text)?,
        _ => EnvFilter::new("warn,client=error"),
    };
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match arguments.command {
        Command::Run(run) => run_fleet(*run).await,
        Command::Load(load) => run_load(*load).await,
        Command::Claim(claim) => run_claim(*claim).await,
    }
}

async fn run_fleet(run: Run) -> anyhow::Result<ExitCode> {
    let shares: f64 = run.command_faults.iter().map(|(_, share)| share).sum();
    if shares > 1.0 + 1e-9 {
        let problem = format!("--command-faults: the shares are {shares:.3} in all: at most 1");
        return Err(BadUsage(problem).into());
    }
    if let Some(folder) = &run.memory {
        std::fs::create_dir_all(folder).with_context(|| {
            format!("--memory: the folder {} cannot be made: name another", folder.display())
        })?;
    }
    let mut config = FleetConfig {
        seed: run.seed,
        rate: run.rate,
        speed: run.speed,
        batch_interval: run.batch.max(Duration::from_millis(1)),
        outbox_bytes: run.outbox_bytes,
        drain: run.drain,
        prefix: run.prefix,
        memory: run.memory,
        deeds: run.deeds,
        faults: FaultPlan {
            disconnects: run.disconnects,
            silences: run.silences,
            silence: run.silence,
            reboots: run.reboots,
            duplicates: run.duplicates,
            clock_skew: run.clock_skew,
            outages: run.outage,
            commands: run.command_faults,
            command_time: run.command_time,
            late: run.late,
        },
        ..FleetConfig::new(run.hub.endpoint()?, run.devices as usize)
    };
    if !run.kinds.is_empty() {
        config.kinds = run.kinds;
    }
    let (mut interrupt, mut terminate) = signals()?;
    let fleet = Fleet::start(&config)?;
    let mut progress = Progress::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let end = async {
        match run.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            _ = looks.tick() => {
                let report = fleet.report();
                progress.show(&report.line());
                if report.gave_up == report.devices {
                    break;
                }
            }
        }
    }
    progress.end();
    let report = fleet.stop().await;
    let text = if run.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    printer::result(&text);
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_load(load: Load) -> anyhow::Result<ExitCode> {
    let config = LoadConfig {
        target: match load.mqtt {
            Some(address) => Target::Mqtt(address),
            None => Target::Hub(load.hub.endpoint()?),
        },
        connections: load.connections,
        readings_per_message: load.readings_per_message,
        in_flight: load.in_flight,
        series: load.series,
        rate: load.rate,
        warm_up: load.warm_up,
        duration: load.duration,
        server: load.server,
    };
    let report = load::run(config).await?;
    let text = if load.json { serde_json::to_string_pretty(&report)? } else { report.to_string() };
    printer::result(&text);
    Ok(if report.waiting == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn signals() -> anyhow::Result<(Signal, Signal)> {
    let interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be listened for")?;
    let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    Ok((interrupt, terminate))
}

fn number(text: &str) -> Result<f64, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a number"))
}

/// A whole number from `min` to `max`.
fn whole<T: TryFrom<u64>>(
    min: u64,
    max: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("must be a whole number from {min} to {max}"))
    }
}

/// `HOST:PORT` of a broker.
fn broker(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
        Some(1..) => Ok(text.to_owned()),
        _ => Err("give a host and a port from 1 to 65535: localhost:1883".into()),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if number > 0.0 && number <= 1e6 {
        Ok(number)
    } else {
        Err("must be above 0 and at most 1 000 000".into())
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if (0.0..=6_000.0).contains(&number) { Ok(number) } else { Err("must be 0 to 6 000".into()) }
}

fn share(text: &str) -> Result<f64, String> {
    let number = number(text)?;
    if (0.0..=1.0).contains(&number) { Ok(number) } else { Err("must be 0 to 1".into()) }
}

fn command_fault(text: &str) -> Result<(CommandFault, f64), String> {
    let (name, of_all) =
        text.split_once('=').ok_or("give a fault and its share of all commands: fail=0.1")?;
    let fault = CommandFault::parse(name).ok_or_else(|| {
        format!("{name:?} is not one of {}", CommandFault::ALL.map(CommandFault::as_str).join(", "))
    })?;
    Ok((fault, share(of_all)?))
}

/// Reads `250ms`, `10s`, `5m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.trim().parse().map_err(|_| format!("{text:?} is not a time: give 30s, say"))?;
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        other => return Err(format!("{other:?} is not a unit of time: give ms, s, m or h")),
    };
    let time = Duration::try_from_secs_f64(number * seconds).ok().filter(|time| *time <= TIME_MAX);
    time.ok_or_else(|| format!("{text:?} is not a time from 0 to 10000h"))
}

fn outage(text: &str) -> Result<Outage, String> {
    let (at, length) = text.split_once('+').ok_or("give when it begins and how long it takes: 30s+20s")?;
    Ok(Outage { at: duration(at)?, length: duration(length)? })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_filter_of_the_log_that_cannot_be_is_named_with_its_variable() {
        assert!(log_filter("info,client=debug").is_ok());
        let error = log_filter("client=loud").unwrap_err().to_string();
        assert!(
            error.contains("RUST_LOG is \"client=loud\"") && error.contains("info,client=debug"),
            "{error}"
        );
    }

    #[test]
    fn faults_of_commands_are_read_with_their_shares() {
        assert_eq!(command_fault("power-cut=0.25"), Ok((CommandFault::PowerCut, 0.25)));
        assert!(command_fault("explode=0.1").unwrap_err().contains("power-cut"));
        assert!(command_fault("fail").is_err() && command_fault("fail=2").is_err());
    }

    #[test]
    fn a_bad_value_is_named_with_its_flag_and_what_it_may_be() {
        for (words, part) in [
            (&["run", "-n", "x"][..], "a whole number from 1 to 100000"),
            (&["run", "--devices", "0"], "a whole number from 1 to 100000"),
            (&["run", "--rate", "x"], "\"x\" is not a number"),
            (&["run", "--speed", "-1"], "must be above 0"),
            (&["run", "--batch", "x"], "is not a time: give 30s"),
            (&["run", "--outbox-bytes", "0"], "a whole number from 1024"),
            (&["run", "--duplicates", "2"], "must be 0 to 1"),
            (&["run", "--seed", "-1"], "a whole number from 0"),
            (&["load", "--mqtt", "x"], "a host and a port"),
            (&["load", "--mqtt", "localhost:99999"], "a host and a port"),
            (&["load", "--server", "0"], "a whole number from 1"),
        ] {
            let words = [&["device-sim"], words].concat();
            let error = Arguments::try_parse_from(&words).unwrap_err().to_string();
            assert!(error.contains("invalid value") && error.contains(part), "{words:?}: {error}");
        }
        let hub =
            |url, token| Hub { url: Some(url), token, data: None, ca: None, certificate: None, key: None };
        let error = hub("http//x".into(), None).endpoint().unwrap_err();
        assert!(is_bad_usage(&error) && format!("{error:#}").starts_with("--hub: \"http//x\""), "{error:#}");
        let error = hub("a:1".into(), Some("two words".into())).endpoint().unwrap_err();
        assert!(is_bad_usage(&error) && format!("{error:#}").starts_with("--token: "), "{error:#}");
    }

    #[test]
    fn times_are_read_with_and_without_their_unit() {
        for (text, millis) in
            [("250ms", 250), ("10s", 10_000), ("1.5m", 90_000), ("2h", 7_200_000), ("3", 3_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, problem) in [
            ("10 parsecs", "is not a unit of time"),
            ("x", "is not a time: give 30s"),
            ("-1s", "is not a time from 0"),
            ("nan", "is not a time"),
            ("100000h", "to 10000h"),
        ] {
            assert!(duration(text).unwrap_err().contains(problem), "{text}");
        }
        let expected = Outage { at: Duration::from_secs(30), length: Duration::from_millis(500) };
        assert_eq!(outage("30s+500ms"), Ok(expected));
        assert!(outage("30s").is_err());
    }
}
