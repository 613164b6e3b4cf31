//! `hub command send | list | show | cancel`: through the hub; looking works on its database too.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use hyper::Method;
use protocol::command::{CommandState, Delivery};
use protocol::limits::LIST_DEFAULT;
use protocol::viewer::{CancelCommand, CommandInfo, HubToViewer, SendCommand, Transition};
use protocol::{CommandId, DeviceId, GroupId, MetricName, Timestamp};
use serde_json::{Map, Value as Json};
use store::CommandFilter;

use super::remote::{Viewer, block_on, time};
use super::{BadUsage, Remote, device, print, when};
use crate::clock;
use crate::orders::{parse_states, to_csv};

/// Exit code where a command ended in another way than wanted.
pub(super) const OTHER_END: u8 = 3;
/// Exit code where nobody knows how a command ended.
pub(super) const UNRESOLVED: u8 = 5;

/// Which commands, and how they are printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only those of this device
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Only those in one of these states: failed,unresolved
    #[arg(long, value_name = "STATES", value_parser = states)]
    state: Option<States>,
    /// Only those of this name
    #[arg(long)]
    name: Option<MetricName>,
    /// Only those of this group
    #[arg(long, value_name = "ID")]
    group: Option<GroupId>,
    /// Only those issued by this one, the label of a token: 'local operator'
    #[arg(long)]
    by: Option<String>,
    /// Only those issued at this time or later: -7d (s, m, h, d or w before now), 2026-01-31, 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only those issued before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    limit: usize,
    /// One JSON object a line
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// CSV with a header
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    remote: Remote,
}

/// States that were typed with commas between them.
#[derive(Debug, Clone)]
pub(super) struct States(Vec<CommandState>);

fn states(text: &str) -> Result<States, String> {
    parse_states(text).map(States)
}

/// A command as it was typed.
pub(super) struct Order {
    pub(super) device: DeviceId,
    pub(super) name: MetricName,
    pub(super) args: Vec<String>,
    pub(super) wait: bool,
    pub(super) json: bool,
    pub(super) lifetime: Option<f64>,
    pub(super) delivery: Option<Delivery>,
    pub(super) force: bool,
}

pub(super) fn parse_args(args: &[String]) -> anyhow::Result<Map<String, Json>> {
    let mut parsed = Map::new();
    for arg in args {
        let Some((key, value)) = arg.split_once('=') else {
            return Err(BadUsage(format!("argument {arg:?} is not KEY=VALUE")).into());
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()));
        if parsed.insert(key.to_owned(), value).is_some() {
            return Err(BadUsage(format!("argument {key} is given twice")).into());
        }
    }
    Ok(parsed)
}

/// Seconds as they were typed, in milliseconds.
pub(super) fn lifetime(seconds: Option<f64>) -> Option<u64> {
    seconds.map(|seconds| (seconds * 1_000.0) as u64)
}

pub(super) fn send(order: Order, remote: &Remote) -> anyhow::Result<ExitCode> {
    let args = parse_args(&order.args)?;
    let expires_in_ms = lifetime(order.lifetime);
    block_on(async {
        let mut viewer = Viewer::must_connect(remote).await?;
        viewer
            .say(SendCommand {
                args,
                expires_in_ms,
                delivery: order.delivery,
                force: order.force,
                ..SendCommand::new(1, order.device, order.name)
            })
            .await?;
        follow(viewer, order.wait, order.json, CommandState::Succeeded).await
    })
}

pub(super) fn cancel(id: CommandId, wait: bool, json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    block_on(async {
        let mut viewer = Viewer::must_connect(remote).await?;
        viewer.say(CancelCommand { id: 1, command: id }).await?;
        follow(viewer, wait, json, CommandState::Cancelled).await
    })
}

/// Prints what becomes of the command that request 1 is about.
async fn follow(
    mut viewer: Viewer,
    wait: bool,
    json: bool,
    wanted: CommandState,
) -> anyhow::Result<ExitCode> {
    let mut told = Told::default();
    let mut command_id = None;
    loop {
        let heard = viewer.next().await.with_context(|| match &command_id {
            Some(id) => format!("nobody waits any more, and {id} goes on: see `hub command show {id}`"),
            None => "the hub did not say whether it has the command: see `hub command list`".to_owned(),
        });
        let command = match heard? {
            HubToViewer::Error(error) if error.id == Some(1) => {
                bail!("{}: {}", error.code, error.message)
            }
            HubToViewer::Command(event) if event.id == Some(1) => {
                command_id = Some(event.command.id.clone());
                event.command
            }
            HubToViewer::Command(event) if command_id.as_ref() == Some(&event.command.id) => event.command,
            _ => continue,
        };
        tell(&command, &mut told, json)?;
        if !wait || command.state.is_final() {
            viewer.close().await;
            return Ok(match command.state {
                _ if !wait => ExitCode::SUCCESS,
                state if state == wanted => ExitCode::SUCCESS,
                CommandState::Unresolved => ExitCode::from(UNRESOLVED),
                _ => ExitCode::from(OTHER_END),
            });
        }
    }
}

pub(super) fn show(id: &CommandId, json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/commands/{}", id.as_str().replace('/', "%2F"));
    let command: CommandInfo = match block_on(device::request(Method::GET, &path, remote))? {
        Some(command) => serde_json::from_value(command).context("the hub's answer is not a command")?,
        None => match device::open_database(remote)?.command(id)? {
            Some(command) => command,
            None => bail!("no command {id}"),
        },
    };
    if json {
        print::line(&serde_json::to_string(&command)?);
        return Ok(ExitCode::SUCCESS);
    }
    print::line(&format!("{} on {}, attempt {}", summary(&command), command.device, command.attempt));
    if let Some(cancel) = &command.cancel {
        let from = cancel.address.as_ref().map(|address| format!(" from {address}")).unwrap_or_default();
        print::line(&format!("{} cancellation asked by {}{from}", time(cancel.at), cancel.by));
    }
    tell(&command, &mut Told::default(), false)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let at = |name: &'static str, text: &Option<String>| {
        text.as_deref().map(|text| when::parse(text, now)).transpose().context(name)
    };
    let mut filter = CommandFilter {
        device: args.device,
        states: args.state.map(|states| states.0).unwrap_or_default(),
        name: args.name,
        by: args.by,
        since: at("--since", &args.since)?,
        before: at("--until", &args.until)?,
        group: args.group,
    };
    let (mut left, mut first) = (args.limit, true);
    loop {
        let count = left.min(LIST_DEFAULT);
        let commands = match count {
            0 => Vec::new(),
            count => match block_on(device::request(Method::GET, &query(&filter, count), &args.remote))? {
                Some(answer) => {
                    let commands = answer.get("commands").cloned().unwrap_or_default();
                    serde_json::from_value(commands).context("the hub's answer is not a list of commands")?
                }
                None => device::open_database(&args.remote)?.commands(&filter, count)?,
            },
        };
        if !print_list(&commands, first, args.csv, args.json)? || commands.len() < count || count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        left -= commands.len();
        first = false;
        filter.before = commands.last().map(issued_at);
    }
}

/// False: nobody reads it any more.
fn print_list(commands: &[CommandInfo], first: bool, csv: bool, json: bool) -> anyhow::Result<bool> {
    if csv {
        let rows = to_csv(commands, first)?;
        return Ok(rows.is_empty() || print::line(rows.trim_end()));
    }
    for command in commands {
        let line = if json {
            serde_json::to_string(command)?
        } else {
            let code = command.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
            format!(
                "{} {} {} {}: {}{code}, issued by {}",
                time(issued_at(command)),
                command.id,
                command.device,
                summary(command),
                command.state,
                command.issued_by
            )
        };
        if !print::line(&line) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn issued_at(command: &CommandInfo) -> Timestamp {
    command.transitions.first().map_or(Timestamp(0), |first| first.at)
}

/// The command as it could be typed.
fn summary(command: &CommandInfo) -> String {
    let args: Vec<String> = command.args.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    format!("{}{}", command.name, args.concat())
}

fn query(filter: &CommandFilter, limit: usize) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    if let Some(device) = &filter.device {
        query.append_pair("device", device.as_str());
    }
    if !filter.states.is_empty() {
        let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
        query.append_pair("state", &states.join(","));
    }
    if let Some(name) = &filter.name {
        query.append_pair("name", name.as_str());
    }
    if let Some(by) = &filter.by {
        query.append_pair("by", by);
    }
    if let Some(group) = &filter.group {
        query.append_pair("group", group.as_str());
    }
    for (key, at) in [("since", filter.since), ("before", filter.before)] {
        if let Some(at) = at {
            query.append_pair(key, &at.0.to_string());
        }
    }
    format!("/v1/commands?{}", query.finish())
}

/// What was printed of a command.
#[derive(Default)]
struct Told {
    transitions: usize,
    progress: Option<f64>,
    text: String,
}

/// Prints the transitions that were not printed yet; as JSON, the whole command at each change.
fn tell(command: &CommandInfo, told: &mut Told, json: bool) -> anyhow::Result<()> {
    if json {
        let text = serde_json::to_string(command)?;
        // The answer to the request and the news to every viewer say the same once.
        if text != told.text {
            print::line(&text);
            told.text = text;
        }
        return Ok(());
    }
    let last = command.transitions.len();
    if last < told.transitions {
        // Told out of order: what it says was printed.
        return Ok(());
    }
    for (i, Transition { state, at, by, address }) in
        command.transitions.iter().enumerate().skip(told.transitions)
    {
        let mut line = format!("{} {} {state} by {by}", time(*at), command.id);
        if let Some(address) = address
            && *by != *command.device.as_str()
        {
            line.push_str(&format!(" from {address}"));
        }
        if i + 1 == last {
            if let Some(error) = &command.error {
                line.push_str(&format!(": {error}"));
            }
            if let Some(result) = &command.result {
                line.push_str(&format!(" {result}"));
            }
        }
        print::line(&line);
    }
    if told.transitions == last
        && told.progress != command.progress
        && let Some(progress) = command.progress
    {
        print::line(&format!("{:24} {} {:.0} %", "", command.id, progress * 100.0));
    }
    told.transitions = last;
    told.progress = command.progress;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_json_where_they_can_be() {
        let args = parse_args(&["setpoint=-18.5".into(), "mode=eco".into(), "on=true".into()]).unwrap();
        assert_eq!(Json::Object(args), json!({"setpoint": -18.5, "mode": "eco", "on": true}));
        assert!(parse_args(&["setpoint".into()]).unwrap_err().to_string().contains("KEY=VALUE"));
    }
}
