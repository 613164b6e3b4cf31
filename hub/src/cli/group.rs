//! `hub group send | list | show | cancel | retry`: one command to many devices.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use hyper::Method;
use protocol::command::{CommandState, Delivery};
use protocol::group::{MemberState, Targets};
use protocol::limits::LIST_DEFAULT;
use protocol::viewer::{
    CancelGroup, GroupInfo, GroupRequest, HubToViewer, Member, MembersRequest, RetryGroup, SendGroup,
    ViewerMessage,
};
use protocol::{GroupId, MetricName, Timestamp};
use serde_json::json;

use super::order::{OTHER_END, UNRESOLVED, lifetime, parse_args};
use super::remote::{Viewer, block_on, time};
use super::{BadUsage, Remote, device, print};
use crate::orders::groups::{parse_states, to_csv};

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Send a command to every device that fits
    Send(Box<SendArgs>),
    /// List groups, newest first, with how many of their devices are in which state
    List {
        /// At most so many, the newest
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Show a group and its members
    Show {
        /// Id of the group
        id: GroupId,
        /// Only members in one of these states: failed,unresolved
        #[arg(long, value_name = "STATES", value_parser = states)]
        state: Option<States>,
        /// The group as a JSON object, then one for each member
        #[arg(long, conflicts_with = "csv")]
        json: bool,
        /// The members as CSV with a header
        #[arg(long)]
        csv: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Begin no more of a group, and take back what was not sent
    Cancel {
        /// Id of the group
        id: GroupId,
        /// Also ask the devices that have begun to stop
        #[arg(long)]
        begun: bool,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        remote: Remote,
    },
    /// Send the command of a group again to those of its devices that failed
    Retry {
        /// Id of the group
        id: GroupId,
        /// Which members: their states [default: failed,rejected,expired]. Unresolved ones may have done it
        #[arg(long, value_name = "STATES", value_parser = states)]
        state: Option<States>,
        #[command(flatten)]
        follow: Follow,
        #[command(flatten)]
        remote: Remote,
    },
}

/// To whom a group is sent, and how.
#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Name of the command
    name: MetricName,
    /// Arguments: KEY=VALUE. A value that is JSON is taken as such, anything else as a text
    args: Vec<String>,
    /// Devices with this id; * stands for any text, ? for any one character; may be given several times
    #[arg(long = "device", value_name = "PATTERN")]
    devices: Vec<String>,
    /// Only devices of this model; patterns as above
    #[arg(long = "model", value_name = "PATTERN")]
    models: Vec<String>,
    /// Only devices with this tag; patterns as above
    #[arg(long = "tag", value_name = "PATTERN")]
    tags: Vec<String>,
    /// Rolling: so many devices at a time, the next when one has ended [default: all]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    at_once: Option<u32>,
    /// Begin no more after so many failures [default: never]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    stop_after: Option<u32>,
    /// Only say who would get it, and who would not and why
    #[arg(long)]
    dry_run: bool,
    /// Seconds each may wait until its device gets it, from its turn on; then it expires [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = super::seconds)]
    lifetime: Option<f64>,
    /// When each device gets it: `at_once`, or after those before it were received (`after_received`) or have ended
    /// (`after_finished`) [default: as the device declares]
    #[arg(long, value_name = "WAY", value_parser = super::delivery)]
    delivery: Option<Delivery>,
    /// Send it even to devices that did not say that they know it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    remote: Remote,
}

/// How long a group is watched.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Follow {
    /// Wait until every member has ended; exit code 0 only if all of them succeeded
    #[arg(long)]
    wait: bool,
    /// One JSON object for each change
    #[arg(long)]
    json: bool,
}

/// States that were typed with commas between them.
#[derive(Debug, Clone)]
pub(super) struct States(Vec<MemberState>);

fn states(text: &str) -> Result<States, String> {
    parse_states(text).map(States)
}

pub(super) fn run(command: GroupCommand) -> anyhow::Result<ExitCode> {
    match command {
        GroupCommand::Send(args) => send(*args),
        GroupCommand::List { limit, json, remote } => list(limit, json, &remote),
        GroupCommand::Show { id, state, json, csv, remote } => {
            show(&id, &state.map(|states| states.0).unwrap_or_default(), json, csv, &remote)
        }
        GroupCommand::Cancel { id, begun, follow, remote } => {
            ask(CancelGroup { id: 1, group: id, begun }, follow, &remote)
        }
        GroupCommand::Retry { id, state, follow, remote } => {
            let states = state.map(|states| states.0).unwrap_or_default();
            ask(RetryGroup { id: 1, group: id, states }, follow, &remote)
        }
    }
}

fn send(args: SendArgs) -> anyhow::Result<ExitCode> {
    let SendArgs { devices, models, tags, remote, follow, dry_run, .. } = args;
    let to = Targets { devices, models, tags };
    if to == Targets::default() {
        let problem = "to whom? name --device, --model or --tag; --device '*' is every device";
        return Err(BadUsage(problem.into()).into());
    }
    let request = GroupRequest {
        args: parse_args(&args.args)?,
        expires_in_ms: lifetime(args.lifetime),
        delivery: args.delivery,
        force: args.force,
        at_once: args.at_once,
        stop_after: args.stop_after,
        ..GroupRequest::new(to, args.name)
    };
    let message = SendGroup { id: 1, request, dry_run };
    if dry_run {
        return block_on(async {
            let mut viewer = Viewer::must_connect(&remote).await?;
            viewer.say(message).await?;
            let members = members(&mut viewer).await?;
            viewer.close().await;
            for member in &members {
                print_member(member, follow.json);
            }
            let refused = members.iter().filter(|member| member.state == MemberState::Refused).count();
            if !follow.json {
                let some = members.len() - refused;
                print::line(&format!("{some} devices would get it, {refused} would not; nothing was sent"));
            }
            Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(OTHER_END) })
        });
    }
    ask(message, follow, &remote)
}

/// Sends a request that is answered by a group, and prints what becomes of that.
fn ask(message: impl Into<ViewerMessage>, follow: Follow, remote: &Remote) -> anyhow::Result<ExitCode> {
    block_on(async {
        let mut viewer = Viewer::must_connect(remote).await?;
        viewer.say(message).await?;
        let mut told: Option<GroupInfo> = None;
        loop {
            let heard = viewer.next().await.with_context(|| match &told {
                Some(group) => {
                    format!("nobody waits any more, and {0} goes on: see `hub group show {0}`", group.id)
                }
                None => "the hub did not say whether it has the group: see `hub group list`".to_owned(),
            });
            let group = match heard? {
                HubToViewer::Error(error) if error.id == Some(1) => {
                    bail!("{}: {}", error.code, error.message)
                }
                HubToViewer::Group(event) if event.id == Some(1) => *event.group,
                HubToViewer::Group(event) if told.as_ref().is_some_and(|told| told.id == event.group.id) => {
                    *event.group
                }
                _ => continue,
            };
            if told.as_ref() != Some(&group) {
                if follow.json {
                    print::line(&serde_json::to_string(&group)?);
                } else if told.is_none() {
                    print::line(&summary(&group));
                } else {
                    print::line(&tally(&group));
                }
            }
            let ended = group.ended_at.is_some();
            let end = code(&group);
            let id = group.id.clone();
            told = Some(group);
            if !follow.wait {
                viewer.close().await;
                return Ok(ExitCode::SUCCESS);
            }
            if ended {
                if end != 0 && !follow.json {
                    viewer.say(MembersRequest { id: 1, group: id, states: bad_ends() }).await?;
                    for member in members(&mut viewer).await? {
                        print_member(&member, false);
                    }
                }
                viewer.close().await;
                return Ok(ExitCode::from(end));
            }
        }
    })
}

/// Every state but `succeeded` in which a member of an ended group can be.
fn bad_ends() -> Vec<MemberState> {
    MemberState::all()
        .filter(|state| match state {
            MemberState::Refused => true,
            // Known from the tally; there may be thousands.
            MemberState::Waiting | MemberState::Skipped => false,
            MemberState::Issued(state) => state.is_final() && *state != CommandState::Succeeded,
        })
        .collect()
}

/// The answer to request 1, all parts of it.
async fn members(viewer: &mut Viewer) -> anyhow::Result<Vec<Member>> {
    let mut members = Vec::new();
    loop {
        match viewer.next().await? {
            HubToViewer::Error(error) if error.id == Some(1) => bail!("{}: {}", error.code, error.message),
            HubToViewer::Members(part) if part.id == 1 => {
                members.extend(part.members);
                if !part.more {
                    return Ok(members);
                }
            }
            _ => {}
        }
    }
}

/// The exit code of a group that has ended.
fn code(group: &GroupInfo) -> u8 {
    let of = |state| group.tally.of(MemberState::Issued(state));
    if of(CommandState::Succeeded) == group.tally.total() {
        0
    } else if of(CommandState::Unresolved) > 0 {
        UNRESOLVED
    } else {
        OTHER_END
    }
}

fn list(limit: usize, json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let (mut left, mut before) = (limit, None::<Timestamp>);
    loop {
        let count = left.min(LIST_DEFAULT);
        if count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let before_text = before.map(|at| format!("&before={}", at.0)).unwrap_or_default();
        let path = format!("/v1/groups?limit={count}{before_text}");
        let groups: Vec<GroupInfo> = match block_on(device::request(Method::GET, &path, remote))? {
            Some(answer) => serde_json::from_value(answer.get("groups").cloned().unwrap_or_default())
                .context("the hub's answer is not a list of groups")?,
            None => device::open_database(remote)?.groups(before, count)?,
        };
        for group in &groups {
            let line = if json {
                serde_json::to_string(group)?
            } else {
                format!("{}: {}", summary(group), counts(group))
            };
            if !print::line(&line) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if groups.len() < count {
            return Ok(ExitCode::SUCCESS);
        }
        left -= groups.len();
        before = groups.last().map(|group| group.issued_at);
    }
}

fn show(
    id: &GroupId,
    states: &[MemberState],
    json: bool,
    csv: bool,
    remote: &Remote,
) -> anyhow::Result<ExitCode> {
    let path = format!("/v1/groups/{}", id.as_str().replace('/', "%2F"));
    let states_text: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let query = if states.is_empty() { String::new() } else { format!("?state={}", states_text.join(",")) };
    let (group, members): (GroupInfo, Vec<Member>) =
        match block_on(device::request(Method::GET, &path, remote))? {
            Some(group) => {
                let answer =
                    block_on(device::request(Method::GET, &format!("{path}/members{query}"), remote))?;
                let members = answer.and_then(|answer| answer.get("members").cloned()).unwrap_or_default();
                let group = serde_json::from_value(group).context("the hub's answer is not a group")?;
                (group, serde_json::from_value(members).context("the hub's answer is not a list of members")?)
            }
            None => {
                let reader = device::open_database(remote)?;
                match (reader.group(id)?, reader.members(id, states)?) {
                    (Some(group), Some(members)) => (group, members),
                    _ => bail!("no group {id}"),
                }
            }
        };
    if csv {
        print::line(to_csv(&members)?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    if json {
        print::line(&serde_json::to_string(&group)?);
    } else {
        print::line(&summary(&group));
        print::line(&tally(&group));
        if let Some(stopped) = &group.stopped {
            let from = stopped.address.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
            print::line(&format!("{} stopped by {}{from}", time(stopped.at), stopped.by));
        }
    }
    for member in &members {
        if !print_member(member, json) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What was asked of whom.
fn summary(group: &GroupInfo) -> String {
    let request = &group.request;
    let args: Vec<String> = request.args.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let lists = [("device", &request.to.devices), ("model", &request.to.models), ("tag", &request.to.tags)];
    let to: Vec<String> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(kind, list)| format!("{kind} {}", list.join(" or ")))
        .collect();
    let retry = group.retry_of.as_ref().map(|old| format!(", again after {old}")).unwrap_or_default();
    format!(
        "{} {} {}{} to {} devices ({}{retry}), issued by {}",
        time(group.issued_at),
        group.id,
        request.name,
        args.concat(),
        group.tally.total(),
        to.join(", "),
        group.issued_by
    )
}

fn counts(group: &GroupInfo) -> String {
    let counts: Vec<String> = group.tally.counts().map(|(state, count)| format!("{count} {state}")).collect();
    counts.join(", ")
}

/// How far it has come.
fn tally(group: &GroupInfo) -> String {
    match (group.ended_at, &group.stopped) {
        (Some(at), _) => format!("{} ended: {}", time(at), counts(group)),
        (None, Some(stopped)) => format!("{} stopped: {}", time(stopped.at), counts(group)),
        (None, None) => format!("{:24} {}", "", counts(group)),
    }
}

/// False: nobody reads it any more.
fn print_member(member: &Member, json: bool) -> bool {
    if json {
        return print::line(&json!(member).to_string());
    }
    let Member { device, state, command, error, code } = member;
    let code = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let command = command.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    print::line(&format!("{device} {state}{code}{error}{command}"))
}
