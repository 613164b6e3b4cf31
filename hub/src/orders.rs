//! Commands over HTTP: issue, look up, list, cancel; and the list as text, which is the audit trail.
//!
//! Who may do it stands in `access`: an operator may do all of it, a viewer may look.

pub(crate) mod caller;
pub mod groups;

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::command::CommandState;
use protocol::viewer::{CommandInfo, SendCommand};
use protocol::{CommandId, DeviceId, ErrorCode, GroupId, MetricName, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use store::CommandFilter;

use crate::access::{Looker, Operator};
use crate::exchange::TimeText;
use crate::serve::Hub;
use caller::Refused;

/// The columns of the CSV.
const COLUMNS: [&str; 19] = [
    "id",
    "device",
    "name",
    "args",
    "issued_at",
    "issued_by",
    "address",
    "expires_at",
    "delivery",
    "forced",
    "attempts",
    "state",
    "ended_at",
    "code",
    "error",
    "result",
    "cancel_asked_at",
    "cancel_asked_by",
    "group",
];

/// Reads a body of fields, with these added that stand in the path or are not wanted here.
pub(crate) fn fields<T: DeserializeOwned>(body: &Bytes, add: &Value) -> Result<T, Refused> {
    let mut fields: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(fields) => fields,
        // Nothing to say is nothing to write.
        Err(_) if body.is_empty() => Map::new(),
        Err(error) => {
            let problem = format!("the body is no JSON object: {error}");
            return Err(Refused::new(ErrorCode::Malformed, problem));
        }
    };
    fields.extend(add.as_object().cloned().unwrap_or_default());
    serde_json::from_value(Value::Object(fields)).map_err(|error| Refused::bad_field(error.to_string()))
}

fn name<T: std::str::FromStr<Err = protocol::NameError>>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: protocol::NameError| Refused::bad_field(error.to_string()))
}

/// How many rows of a list are asked for.
pub(crate) fn check_limit(hub: &Hub, limit: Option<u32>) -> Result<usize, Refused> {
    hub.config.limits.list_rows(limit).map_err(Refused::bad_field)
}

/// Issues a command. The body is `send_command` without `type` and `id`.
pub(crate) async fn issue(
    State(hub): State<Arc<Hub>>,
    Operator(actor): Operator,
    body: Bytes,
) -> Result<Response, Refused> {
    let request: SendCommand = fields(&body, &json!({ "id": 0 }))?;
    let command = hub.commands.issue(request, actor).await?;
    Ok((StatusCode::CREATED, Json(&*command)).into_response())
}

/// Takes a command back, or asks the device to stop it.
pub(crate) async fn cancel(
    State(hub): State<Arc<Hub>>,
    Operator(actor): Operator,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let command = hub.commands.cancel(name(&id)?, actor).await?;
    Ok(Json(&*command).into_response())
}

/// One command with its life.
pub(crate) async fn show(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    Path(id): Path<String>,
) -> Result<Json<CommandInfo>, Refused> {
    let id: CommandId = name(&id)?;
    let asked = id.clone();
    let found = hub.readers.read(move |reader| reader.command(&asked)).await?;
    found.map(Json).ok_or_else(|| Refused::new(ErrorCode::NotFound, format!("no command {id}")))
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    device: Option<DeviceId>,
    state: Option<String>,
    name: Option<MetricName>,
    by: Option<String>,
    group: Option<GroupId>,
    since: Option<i64>,
    before: Option<i64>,
    limit: Option<u32>,
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Jsonl,
    Csv,
}

/// The commands that a query asks for.
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Refused> {
    let Query(query) = query?;
    let states = query.state.as_deref().map(parse_states).transpose();
    let states = states.map_err(|problem| Refused::bad_field(format!("state: {problem}")))?;
    let limit = check_limit(&hub, query.limit)?;
    let filter = CommandFilter {
        device: query.device,
        states: states.unwrap_or_default(),
        name: query.name,
        by: query.by,
        since: query.since.map(Timestamp),
        before: query.before.map(Timestamp),
        group: query.group,
    };
    let commands = hub.readers.read(move |reader| reader.commands(&filter, limit)).await?;
    Ok(match query.format.unwrap_or_default() {
        Format::Json => Json(json!({ "commands": commands })).into_response(),
        Format::Jsonl => json_lines(&commands),
        Format::Csv => csv_text(to_csv(&commands, true))?,
    })
}

fn json_lines(items: &[impl serde::Serialize]) -> Response {
    let lines: Vec<String> = items.iter().map(|item| json!(item).to_string() + "\n").collect();
    text("application/jsonl", lines.concat())
}

fn csv_text(rows: Result<String, csv::Error>) -> Result<Response, Refused> {
    rows.map(|rows| text("text/csv; charset=utf-8", rows))
        .map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))
}

fn text(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// States with commas between them.
pub fn parse_states(text: &str) -> Result<Vec<CommandState>, String> {
    let parse = |word: &str| {
        CommandState::parse(word.trim()).ok_or_else(|| {
            let known: Vec<&str> = CommandState::ALL.iter().map(|state| state.as_str()).collect();
            format!("{word:?} is not one of {}", known.join(", "))
        })
    };
    text.split(',').map(parse).collect()
}

/// Rows of CSV, one a command; times in RFC 3339.
pub fn to_csv(commands: &[CommandInfo], header: bool) -> Result<String, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    if header {
        out.write_record(COLUMNS)?;
    }
    let mut text = TimeText::new();
    let mut time = |at: Option<Timestamp>| {
        at.map_or_else(String::new, |at| String::from_utf8_lossy(text.write(at)).into_owned())
    };
    for command in commands {
        let issued = command.transitions.first();
        let ended = command.transitions.last().filter(|last| last.state.is_final());
        let cancel = command.cancel.as_deref();
        out.write_record([
            command.id.as_str(),
            command.device.as_str(),
            command.name.as_str(),
            &json!(command.args).to_string(),
            &time(issued.map(|t| t.at)),
            &command.issued_by,
            issued.and_then(|t| t.address.as_deref()).unwrap_or_default(),
            &time(Some(command.expires_at)),
            command.delivery.as_str(),
            if command.forced { "true" } else { "false" },
            &command.attempt.to_string(),
            command.state.as_str(),
            &time(ended.map(|t| t.at)),
            command.code.as_ref().map(MetricName::as_str).unwrap_or_default(),
            command.error.as_deref().unwrap_or_default(),
            &command.result.as_ref().map(Value::to_string).unwrap_or_default(),
            &time(cancel.map(|cancel| cancel.at)),
            cancel.map(|cancel| cancel.by.as_str()).unwrap_or_default(),
            command.group.as_ref().map(GroupId::as_str).unwrap_or_default(),
        ])?;
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
