//! Groups of commands as they are asked for: whom a request chooses, what each would answer, and whom a retry is for.
//!
//! The same for viewers and over HTTP. What follows is decided in `commands`.

use protocol::command::CommandState;
use protocol::desk::Actor;
use protocol::group::MemberState;
use protocol::viewer::{GroupInfo, GroupRequest, Member};
use protocol::{DeviceId, ErrorCode, GroupId};
use store::StoreError;

use crate::commands::{Answer, Chosen, NewGroup, already_retried, check_request, error, lifetime};
use crate::limits::{Limit, Limits};
use crate::serve::Hub;

/// What is retried unless asked otherwise. Not `unresolved`: those may have done it.
const RETRIED: [MemberState; 3] = [
    MemberState::Issued(CommandState::Failed),
    MemberState::Issued(CommandState::Rejected),
    MemberState::Issued(CommandState::Expired),
];

/// Issues a group. When this returns, it is stored; its commands follow.
pub async fn send(hub: &Hub, request: GroupRequest, actor: Actor) -> Answer<GroupInfo> {
    let members = choose(hub, &request)?;
    hub.commands.new_group(NewGroup { request, retry_of: None, members }, actor).await
}

/// Says who would get a command, and who would not and why.
pub fn dry_run(hub: &Hub, request: &GroupRequest) -> Answer<Vec<Member>> {
    let member = |(device, error): (DeviceId, Option<String>)| {
        let state = if error.is_some() { MemberState::Refused } else { MemberState::Waiting };
        Member { device, state, command: None, error, code: None }
    };
    Ok(choose(hub, request)?.into_iter().map(member).collect())
}

/// Issues the command of a group again to those of its members that are in one of these states; those that failed if none is
/// named.
pub async fn retry(hub: &Hub, id: GroupId, states: Vec<MemberState>, actor: Actor) -> Answer<GroupInfo> {
    let states = if states.is_empty() { RETRIED.to_vec() } else { states };
    if let Some(open) = states.iter().find(|state| !has_ended(**state)) {
        let problem = format!("states: {open} is not over: cancel it, or wait for its end");
        return Err(error(ErrorCode::BadField, problem));
    }
    let (asked, wanted) = (id.clone(), states.clone());
    let found = hub.readers.read(move |reader| {
        let (group, again) = (reader.group(&asked)?, reader.retried(&asked)?);
        Ok((group, again, reader.members(&asked, &wanted)?.unwrap_or_default()))
    });
    let (group, again, members) = found.await.map_err(|problem| trouble(&problem))?;
    let group = group.ok_or_else(|| no_group(&id))?;
    if let Some(again) = again {
        return Err(already_retried(&id, &again));
    }
    let known = members.into_iter().filter_map(|member| hub.directory.device(&member.device));
    let request = group.request;
    let members: Chosen = known.map(|device| check(&hub.config.limits, &device, &request)).collect();
    if members.is_empty() {
        let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        let problem = format!("no member of {id} is {}: there is nothing to retry", states.join(" or "));
        return Err(error(ErrorCode::NotFound, problem));
    }
    hub.commands.new_group(NewGroup { request, retry_of: Some(id), members }, actor).await
}

const fn has_ended(state: MemberState) -> bool {
    match state {
        MemberState::Waiting => false,
        MemberState::Refused | MemberState::Skipped => true,
        MemberState::Issued(state) => state.is_final(),
    }
}

/// The members of a group that are in one of these states, or all of them.
pub async fn members(hub: &Hub, id: GroupId, states: Vec<MemberState>) -> Answer<Vec<Member>> {
    let asked = id.clone();
    let found = hub.readers.read(move |reader| reader.members(&asked, &states)).await;
    found.map_err(|problem| trouble(&problem))?.ok_or_else(|| no_group(&id))
}

pub(crate) fn no_group(id: &GroupId) -> protocol::device::ErrorMessage {
    error(ErrorCode::NotFound, format!("no group {id}"))
}

pub(crate) fn trouble(problem: &StoreError) -> protocol::device::ErrorMessage {
    tracing::error!(error = %problem, "groups could not be read");
    error(ErrorCode::Internal, problem.to_string())
}

/// The devices that a request names, by id, each checked.
fn choose(hub: &Hub, request: &GroupRequest) -> Answer<Chosen> {
    let directory = &hub.directory;
    let bad = |problem: String| error(ErrorCode::BadField, problem);
    let refused = |problem: &String| hub.metrics.reached_in(problem);
    request.to.check().inspect_err(refused).map_err(bad)?;
    let to = &request.to;
    let patterns = to.devices.len() + to.models.len() + to.tags.len() - to.ids().count();
    if patterns > hub.config.limits.count(Limit::GroupPatterns) {
        hub.metrics.reached(Limit::GroupPatterns);
        let refusal = hub.config.limits.refusal(Limit::GroupPatterns, format!("to: {patterns} patterns"));
        return Err(bad(refusal.to_string()));
    }
    for (field, count) in [("at_once", request.at_once), ("stop_after", request.stop_after)] {
        if count == Some(0) {
            return Err(bad(format!("{field}: 0 is none: it must be 1 or more")));
        }
    }
    lifetime(&hub.config.limits, request.expires_in_ms)
        .inspect_err(|refusal| hub.metrics.reached_in(&refusal.message))?;
    for id in request.to.ids() {
        let known = DeviceId::new(id).map_err(|problem| bad(format!("to.devices: {problem}")))?;
        if directory.device(&known).is_none() {
            return Err(error(ErrorCode::NotFound, format!("no device {id}")));
        }
    }
    let chooser = request.to.chooser();
    let devices = directory.snapshot().into_iter().filter(|device| chooser.matches(device));
    let members: Chosen = devices.map(|device| check(&hub.config.limits, &device, request)).collect();
    if members.len() > hub.config.limits.count(Limit::GroupDevices) {
        hub.metrics.reached(Limit::GroupDevices);
        let found = format!("{} devices are chosen", members.len());
        let refusal = hub.config.limits.refusal(Limit::GroupDevices, found);
        return Err(error(ErrorCode::LimitReached, refusal.to_string()));
    }
    match members.iter().map(|(_, refused)| refused.as_ref()).min() {
        None => Err(error(ErrorCode::NotFound, "to: no device fits".to_owned())),
        // None of them: whatever is wrong with the first one is what to say.
        Some(Some(problem)) => {
            let count = members.len();
            Err(error(ErrorCode::BadCommand, format!("none of {count} devices can take it: {problem}")))
        }
        Some(None) => Ok(members),
    }
}

fn check(
    limits: &Limits,
    device: &protocol::viewer::DeviceInfo,
    request: &GroupRequest,
) -> (DeviceId, Option<String>) {
    let checked = check_request(limits, device, &request.name, &request.args, request.force);
    (device.id.clone(), checked.err().map(|problem| problem.message))
}
