//! Commands over HTTP: issue, look up, list, cancel; and the list as text, which is the audit trail.
//!
//! The same rules as for a viewer: an operator may do all of it, a viewer may look.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use protocol::command::CommandState;
use protocol::desk::Actor;
use protocol::device::ErrorMessage;
use protocol::viewer::{CommandInfo, SendCommand};
use protocol::{CommandId, DeviceId, ErrorCode, MetricName, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{CommandFilter, CredentialRole, StoreError};

use crate::auth::Principal;
use crate::exchange::TimeText;
use crate::serve::Hub;

/// Commands in one list unless asked otherwise, and at most.
const LIST_DEFAULT: u32 = 100;
/// Most commands in one list.
pub const LIST_MAX: u32 = 1_000;
/// The columns of the CSV.
const COLUMNS: [&str; 18] = [
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
];

/// The status that goes with an error.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::WrongState => StatusCode::CONFLICT,
        ErrorCode::LimitReached => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Malformed
        | ErrorCode::UnknownType
        | ErrorCode::BadField
        | ErrorCode::Unexpected
        | ErrorCode::BadCommand => StatusCode::BAD_REQUEST,
    }
}

pub(crate) fn refuse(code: ErrorCode, message: impl Into<String>) -> Response {
    (status(code), Json(json!({ "error": message.into(), "code": code }))).into_response()
}

fn answer(status: StatusCode, result: Result<Arc<CommandInfo>, ErrorMessage>) -> Response {
    match result {
        Ok(command) => (status, Json(&*command)).into_response(),
        Err(error) => refuse(error.code, error.message),
    }
}

fn trouble(error: &StoreError) -> Response {
    tracing::error!(%error, "commands could not be read");
    refuse(ErrorCode::Internal, error.to_string())
}

/// Whoever asks, if it may send commands.
fn operator(principal: Principal, address: SocketAddr) -> Result<Actor, Box<Response>> {
    if principal.role == CredentialRole::Operator {
        return Ok(Actor { by: principal.label, address: Some(address.to_string()) });
    }
    Err(Box::new(refuse(ErrorCode::Forbidden, "only an operator may send and cancel commands")))
}

fn may_look(principal: &Principal) -> Result<(), Box<Response>> {
    match principal.role {
        CredentialRole::Viewer | CredentialRole::Operator => Ok(()),
        CredentialRole::Device(_) | CredentialRole::Fleet => {
            Err(Box::new(refuse(ErrorCode::Forbidden, "only a viewer or an operator may look at commands")))
        }
    }
}

/// Issues a command. The body is `send_command` without `type` and `id`.
pub(crate) async fn issue(hub: &Hub, principal: Principal, address: SocketAddr, body: &Bytes) -> Response {
    let actor = match operator(principal, address) {
        Ok(actor) => actor,
        Err(response) => return *response,
    };
    let mut fields: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(fields) => fields,
        Err(error) => return refuse(ErrorCode::Malformed, format!("the body is no JSON object: {error}")),
    };
    fields.insert("id".into(), json!(0));
    match serde_json::from_value::<SendCommand>(Value::Object(fields)) {
        Ok(request) => answer(StatusCode::CREATED, hub.commands.issue(request, actor).await),
        Err(error) => refuse(ErrorCode::BadField, error.to_string()),
    }
}

/// Takes a command back, or asks the device to stop it.
pub(crate) async fn cancel(hub: &Hub, principal: Principal, address: SocketAddr, id: &str) -> Response {
    let actor = match operator(principal, address) {
        Ok(actor) => actor,
        Err(response) => return *response,
    };
    match CommandId::new(id) {
        Ok(id) => answer(StatusCode::OK, hub.commands.cancel(id, actor).await),
        Err(error) => refuse(ErrorCode::BadField, error.to_string()),
    }
}

/// One command with its life.
pub(crate) async fn show(hub: &Hub, principal: &Principal, id: &str) -> Response {
    if let Err(response) = may_look(principal) {
        return *response;
    }
    let id = match CommandId::new(id) {
        Ok(id) => id,
        Err(error) => return refuse(ErrorCode::BadField, error.to_string()),
    };
    let asked = id.clone();
    match hub.readers.read(move |reader| reader.command(&asked)).await {
        Ok(Some(command)) => Json(command).into_response(),
        Ok(None) => refuse(ErrorCode::NotFound, format!("no command {id}")),
        Err(error) => trouble(&error),
    }
}

/// What a list may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    device: Option<DeviceId>,
    state: Option<String>,
    name: Option<MetricName>,
    by: Option<String>,
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
pub(crate) async fn list(hub: &Hub, principal: &Principal, query: ListQuery) -> Response {
    if let Err(response) = may_look(principal) {
        return *response;
    }
    let states = match query.state.as_deref().map(parse_states).transpose() {
        Ok(states) => states.unwrap_or_default(),
        Err(problem) => return refuse(ErrorCode::BadField, format!("state: {problem}")),
    };
    let limit = query.limit.unwrap_or(LIST_DEFAULT);
    if !(1..=LIST_MAX).contains(&limit) {
        return refuse(ErrorCode::BadField, format!("limit: {limit} is outside 1 to {LIST_MAX}"));
    }
    let filter = CommandFilter {
        device: query.device,
        states,
        name: query.name,
        by: query.by,
        since: query.since.map(Timestamp),
        before: query.before.map(Timestamp),
    };
    let commands = match hub.readers.read(move |reader| reader.commands(&filter, limit as usize)).await {
        Ok(commands) => commands,
        Err(error) => return trouble(&error),
    };
    let text = |kind: &'static str, text: String| {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
    };
    match query.format.unwrap_or_default() {
        Format::Json => Json(json!({ "commands": commands })).into_response(),
        Format::Jsonl => {
            let lines: Vec<String> =
                commands.iter().map(|command| json!(command).to_string() + "\n").collect();
            text("application/jsonl", lines.concat())
        }
        Format::Csv => match to_csv(&commands, true) {
            Ok(rows) => text("text/csv; charset=utf-8", rows),
            Err(error) => refuse(ErrorCode::Internal, error.to_string()),
        },
    }
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
        ])?;
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
