//! Groups of commands over HTTP: issue, try dry, look up, list, cancel, retry; and their members as text.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::group::MemberState;
use protocol::viewer::{CancelGroup, GroupInfo, Member, RetryGroup, SendGroup};
use protocol::{CommandId, GroupId, MetricName, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Refused;
use super::{Format, check_limit, csv_text, fields, json_lines, name};
use crate::access::{Looker, Operator};
use crate::groups;
use crate::serve::Hub;

/// The columns of the CSV of members.
const COLUMNS: [&str; 5] = ["device", "state", "command", "code", "error"];

/// Issues a group. The body is `send_group` without `type` and `id`.
pub(crate) async fn send(
    State(hub): State<Arc<Hub>>,
    Operator(actor): Operator,
    body: Bytes,
) -> Result<Response, Refused> {
    let SendGroup { request, dry_run, .. } = fields(&body, &json!({ "id": 0 }))?;
    if dry_run {
        return Ok(Json(json!({ "members": groups::dry_run(&hub, &request)? })).into_response());
    }
    let group = groups::send(&hub, request, actor).await?;
    Ok((StatusCode::CREATED, Json(group)).into_response())
}

/// Begins no more of a group. The body, if any, is `cancel_group` without `type`, `id` and `group`.
pub(crate) async fn cancel(
    State(hub): State<Arc<Hub>>,
    Operator(actor): Operator,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<GroupInfo>, Refused> {
    let CancelGroup { group, begun, .. } = fields(&body, &json!({ "id": 0, "group": id }))?;
    Ok(Json(hub.commands.cancel_group(group, begun, actor).await?))
}

/// Tries the members of a group again that failed. The body, if any, is `retry_group` without `type`, `id` and `group`.
pub(crate) async fn retry(
    State(hub): State<Arc<Hub>>,
    Operator(actor): Operator,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Response, Refused> {
    let RetryGroup { group, states, .. } = fields(&body, &json!({ "id": 0, "group": id }))?;
    let again = groups::retry(&hub, group, states, actor).await?;
    Ok((StatusCode::CREATED, Json(again)).into_response())
}

/// One group with its tally.
pub(crate) async fn show(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    Path(id): Path<String>,
) -> Result<Json<GroupInfo>, Refused> {
    let id: GroupId = name(&id)?;
    let asked = id.clone();
    let found = hub.readers.read(move |reader| reader.group(&asked)).await?;
    Ok(Json(found.ok_or_else(|| groups::no_group(&id))?))
}

/// Which groups are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    before: Option<i64>,
    limit: Option<u32>,
}

/// Groups, newest first.
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(ListQuery { before, limit }) = query?;
    let limit = check_limit(&hub, limit)?;
    let groups = hub.readers.read(move |reader| reader.groups(before.map(Timestamp), limit)).await?;
    Ok(Json(json!({ "groups": groups })))
}

/// Which members are listed, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersQuery {
    state: Option<String>,
    format: Option<Format>,
}

/// The members of a group, in the order of their turns.
pub(crate) async fn members(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    Path(id): Path<String>,
    query: Result<Query<MembersQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(MembersQuery { state, format }) = query?;
    let states = state.as_deref().map(parse_states).transpose();
    let states = states.map_err(|problem| Refused::bad_field(format!("state: {problem}")))?;
    let members = groups::members(&hub, name(&id)?, states.unwrap_or_default()).await?;
    Ok(match format.unwrap_or_default() {
        Format::Json => Json(json!({ "members": members })).into_response(),
        Format::Jsonl => json_lines(&members),
        Format::Csv => csv_text(to_csv(&members))?,
    })
}

/// States of members with commas between them.
pub fn parse_states(text: &str) -> Result<Vec<MemberState>, String> {
    let parse = |word: &str| {
        MemberState::parse(word.trim()).ok_or_else(|| {
            let known: Vec<&str> = MemberState::all().map(MemberState::as_str).collect();
            format!("{word:?} is not one of {}", known.join(", "))
        })
    };
    text.split(',').map(parse).collect()
}

/// Rows of CSV with a header, one a member.
pub fn to_csv(members: &[Member]) -> Result<String, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(COLUMNS)?;
    for Member { device, state, command, error, code } in members {
        out.write_record([
            device.as_str(),
            state.as_str(),
            command.as_ref().map(CommandId::as_str).unwrap_or_default(),
            code.as_ref().map(MetricName::as_str).unwrap_or_default(),
            error.as_deref().unwrap_or_default(),
        ])?;
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
