//! The command line: `hub serve`, `hub device`, `hub token`, `hub cert`, `hub command`, `hub group`, `hub tail`, `hub wire`, files of readings, and care for the database.
//!
//! Only here does the hub print: answers go to standard output, logs and errors to standard error.
//! Exit codes: 0 done, 1 failed, 2 a value that cannot be, on the command line or in the settings, 3 a command or a group that
//! ended in another way than wanted, 4 `verify` could not check, 5 a command of which nobody knows how it ended.

mod care;
mod cert;
mod claim;
mod device;
mod files;
mod group;
mod latest;
mod order;
mod print;
mod remote;
mod serve;
mod sql;
mod token;
mod usage;
mod when;
mod wire;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use protocol::command::Delivery;
use protocol::{CommandId, DeviceId, MetricName};

use crate::config::{ConfigError, Options};

/// A telemetry hub: stores what devices measure, shows it live, and brings commands to them.
///
/// Without a subcommand it runs the hub, like `hub serve`. The other commands ask a hub that runs, or work on its database.
#[derive(Debug, Parser)]
#[command(name = "hub", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Flags of `serve`, which is what runs when no subcommand is named.
    #[command(flatten)]
    serve: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub, until Ctrl-C
    Serve(Options),
    /// Add devices, list them, and see what became of what they sent
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Make, list and revoke tokens, with which devices and people connect
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Make codes, each of which gives a device its token once
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Print who connected, who was refused, and who changed who may connect, newest last
    Audit(claim::AuditArgs),
    /// Make a private CA, and certificates for a hub and its devices
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Send a command to a device, and follow, list or cancel commands
    #[command(subcommand, name = "command")]
    Order(OrderCommand),
    /// Send one command to many devices, and follow, list, cancel or retry such groups
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Print readings as they are stored, until Ctrl-C
    Tail(TailArgs),
    /// Watch what a device's connection carries, frame by frame; also as a capture for Wireshark
    Wire(wire::WireArgs),
    /// Print the newest reading of each metric, now or as of a time
    Latest(latest::LatestArgs),
    /// Check a database, also while the hub runs: exit code 0 clean, 1 damaged, 4 it could not be checked
    Verify(care::VerifyArgs),
    /// Copy the database to a file, also while the hub runs
    Backup(care::BackupArgs),
    /// Put a backup in the place of the database; the hub must not run
    Restore(care::RestoreArgs),
    /// Count devices and readings, and say how much room they take, also while the hub runs
    Stats(care::StatsArgs),
    /// Write stored readings into a file, CSV or Parquet, also while the hub runs
    Export(files::ExportArgs),
    /// Store the readings of a CSV or Parquet file; the hub must not run
    Import(files::ImportArgs),
    /// Query the database in SQL, also while the hub runs; see docs/operations.md
    Sql(sql::SqlArgs),
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Add a device, and print a token for it, which is shown only now
    Add {
        /// Id of the device
        id: DeviceId,
        #[command(flatten)]
        remote: Remote,
    },
    /// List devices, whether they are connected, and when they were last heard
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// List the last connections of a device, newest first: when, from where, and why each ended
    Connections {
        /// Id of the device
        id: DeviceId,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show what became of everything a device sent, and whether it adds up
    Show {
        /// Id of the device
        id: DeviceId,
        /// As one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Subcommand)]
enum OrderCommand {
    /// Send a command to a device
    Send {
        /// Id of the device
        device: DeviceId,
        /// Name of the command
        name: MetricName,
        /// Arguments: KEY=VALUE. A value that is JSON is taken as such, anything else as a text
        args: Vec<String>,
        /// Wait until it has ended; exit code 0 only if it succeeded
        #[arg(long)]
        wait: bool,
        /// One JSON object for each change
        #[arg(long)]
        json: bool,
        /// Seconds it may wait until the device gets it; then it expires [default: 300]
        #[arg(long, value_name = "SECONDS", value_parser = seconds)]
        lifetime: Option<f64>,
        /// When the device gets it: `at_once`, or after those before it were received (`after_received`) or have ended
        /// (`after_finished`) [default: as the device declares]
        #[arg(long, value_name = "WAY", value_parser = delivery)]
        delivery: Option<Delivery>,
        /// Send it even if the device did not say that it knows it
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// List commands, newest first: who told which device what, and what became of it
    List(order::ListArgs),
    /// Show what became of a command, step by step
    Show {
        /// Id of the command
        id: CommandId,
        /// As one JSON object
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Take a command back that was not delivered, or ask its device to stop it
    Cancel {
        /// Id of the command
        id: CommandId,
        /// Wait until it has ended; exit code 0 only if it was cancelled
        #[arg(long)]
        wait: bool,
        /// One JSON object for each change
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Debug, Args)]
struct TailArgs {
    /// Only devices that match: 'pump-*'; may be given several times
    #[arg(long = "device", value_name = "PATTERN")]
    devices: Vec<String>,
    /// Only metrics that match; may be given several times
    #[arg(long = "metric", value_name = "PATTERN")]
    metrics: Vec<String>,
    /// Stop after this many readings
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Where the hub is, and with which token.
#[derive(Debug, Clone, Args)]
struct Remote {
    /// URL of the hub [default: the hub that runs on the data folder, else 127.0.0.1:7878]
    #[arg(long, env = protocol::local::HUB_VARIABLE, value_name = "URL")]
    hub: Option<String>,
    /// Data folder of a hub on this machine, which has its address and its tokens [default: telemetry-hub in the user's data folder]
    #[arg(long, env = protocol::local::DATA_VARIABLE, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// File of CAs in PEM to trust instead of the system's, for a hub at wss://
    #[arg(long, env = protocol::local::CA_VARIABLE, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
    /// Token [default: that in the data folder]
    #[arg(long, env = protocol::local::TOKEN_VARIABLE, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Seconds, above 0.
fn seconds(text: &str) -> Result<f64, String> {
    const MOST: f64 = (protocol::limits::COMMAND_LIFETIME_MAX_MILLIS / 1_000) as f64;
    let seconds = text.trim().parse().ok().filter(|seconds| *seconds > 0.0 && *seconds <= MOST);
    seconds.ok_or_else(|| format!("it must be a number of seconds above 0, and at most {MOST}"))
}

fn delivery(text: &str) -> Result<Delivery, String> {
    Delivery::parse(text).ok_or_else(|| {
        let ways: Vec<&str> = Delivery::ALL.iter().map(|way| way.as_str()).collect();
        format!("it is one of {}", ways.join(", "))
    })
}

/// Exit code where a flag, a variable or a setting has a value that it cannot have; clap's own as well.
const BAD_USAGE: u8 = 2;
/// Exit code of `verify` where neither clean nor damaged is known.
const COULD_NOT_RUN: u8 = 4;

/// A value on the command line that cannot be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadUsage(String);

/// Reads the command line and does what it asks for.
pub fn main() -> ExitCode {
    match usage::parse(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(cli) => run(cli),
        Err(usage::Problem::Value(text)) => {
            print::error(&text);
            ExitCode::from(BAD_USAGE)
        }
        Err(usage::Problem::Usage(error)) => error.exit(),
    }
}

/// Runs what was asked for.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(options)) => serve::run(&options),
        Some(Command::Device(DeviceCommand::Add { id, remote })) => device::add(&id, &remote),
        Some(Command::Device(DeviceCommand::List { json, remote })) => device::list(json, &remote),
        Some(Command::Device(DeviceCommand::Show { id, json, remote })) => device::show(&id, json, &remote),
        Some(Command::Device(DeviceCommand::Connections { id, json, remote })) => {
            device::connections(&id, json, &remote)
        }
        Some(Command::Order(OrderCommand::Send {
            device,
            name,
            args,
            wait,
            json,
            lifetime,
            delivery,
            force,
            remote,
        })) => {
            let order = order::Order { device, name, args, wait, json, lifetime, delivery, force };
            order::send(order, &remote)
        }
        Some(Command::Order(OrderCommand::List(args))) => order::list(args),
        Some(Command::Order(OrderCommand::Show { id, json, remote })) => order::show(&id, json, &remote),
        Some(Command::Order(OrderCommand::Cancel { id, wait, json, remote })) => {
            order::cancel(id, wait, json, &remote)
        }
        Some(Command::Claim(command)) => claim::run(command),
        Some(Command::Audit(args)) => claim::audit(&args),
        Some(Command::Cert(command)) => cert::run(command),
        Some(Command::Token(command)) => token::run(command),
        Some(Command::Group(command)) => group::run(command),
        Some(Command::Tail(args)) => remote::tail(args),
        Some(Command::Wire(args)) => wire::run(args),
        Some(Command::Latest(args)) => latest::run(args),
        Some(Command::Verify(args)) => Ok(care::verify(&args)),
        Some(Command::Backup(args)) => care::backup(&args),
        Some(Command::Restore(args)) => care::restore(&args),
        Some(Command::Stats(args)) => care::stats(&args),
        Some(Command::Export(args)) => files::export(&args),
        Some(Command::Import(args)) => files::import(&args),
        Some(Command::Sql(args)) => sql::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            print::error(&format!("{error:#}"));
            if error.is::<BadUsage>() || error.is::<ConfigError>() {
                ExitCode::from(BAD_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
