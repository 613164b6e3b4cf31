//! `hub device add | list | show`: through the hub if it runs, else straight on its database.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use client::TokenRole;
use http_body_util::{BodyExt as _, Full};
use hyper::Method;
use hyper_util::rt::TokioIo;
use protocol::desk::Actor;
use protocol::limits::LIST_PAGE;
use protocol::viewer::{ConnectionInfo, DeviceInfo};
use protocol::{DeviceId, Tag, Timestamp, local};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use store::{Reader, Writer};

use super::{Remote, print, remote};
use crate::config::data_folder;
use crate::{auth, clock};

pub(super) fn add(id: &DeviceId, remote: &Remote) -> anyhow::Result<ExitCode> {
    let token = match remote::block_on(add_through_hub(id, remote))? {
        Some(token) => token,
        None => add_to_database(id, remote)?,
    };
    print::line(&token);
    Ok(ExitCode::SUCCESS)
}

/// `None`: no hub answers there.
async fn add_through_hub(id: &DeviceId, remote: &Remote) -> anyhow::Result<Option<String>> {
    let Some(body) = administer(Method::PUT, &path_of(id, ""), None, remote).await? else {
        return Ok(None);
    };
    let token = body.get("token").and_then(Json::as_str).context("the hub's answer has no token")?;
    Ok(Some(token.to_owned()))
}

/// The path of a device on the hub.
fn path_of(id: &DeviceId, rest: &str) -> String {
    format!("/v1/devices/{}{rest}", id.as_str().replace('/', "%2F"))
}

/// Asks the hub over HTTP, as an operator. `None`: no hub answers there; a refusal is an error.
pub(super) async fn request(method: Method, path: &str, remote: &Remote) -> anyhow::Result<Option<Json>> {
    request_as(TokenRole::Operator, method, path, None, remote).await
}

/// The same as an administrator, with a body.
pub(super) async fn administer(
    method: Method,
    path: &str,
    body: Option<&Json>,
    remote: &Remote,
) -> anyhow::Result<Option<Json>> {
    request_as(TokenRole::Admin, method, path, body, remote).await
}

/// All rows of one of the hub's lists for administrators, `/v1/NAME`, page by page; where no hub answers, from its database.
/// The newest last, where the eye is.
pub(super) fn whole_list<T: DeserializeOwned>(
    name: &str,
    remote: &Remote,
    key: impl Fn(&T) -> i64,
    stored: impl FnOnce(&Reader) -> anyhow::Result<Vec<T>>,
) -> anyhow::Result<Vec<T>> {
    let mut rows: Vec<T> = Vec::new();
    loop {
        let before = rows.last().map_or_else(String::new, |row| format!("&before={}", key(row)));
        let path = format!("/v1/{name}?limit={LIST_PAGE}{before}");
        let Some(answer) = remote::block_on(administer(Method::GET, &path, None, remote))? else {
            rows = stored(&open_database(remote)?)?;
            break;
        };
        let page: Vec<T> = serde_json::from_value(answer.get(name).cloned().unwrap_or_default())
            .with_context(|| format!("the hub's answer is not a list of {name}"))?;
        let is_last = page.len() < LIST_PAGE;
        rows.extend(page);
        if is_last {
            break;
        }
    }
    rows.reverse();
    Ok(rows)
}

async fn request_as(
    role: TokenRole,
    method: Method,
    path: &str,
    body: Option<&Json>,
    remote: &Remote,
) -> anyhow::Result<Option<Json>> {
    let body = body.map(Json::to_string).unwrap_or_default();
    let endpoint = remote::endpoint(remote)?;
    let Some(stream) = remote::dial(&endpoint).await? else { return Ok(None) };
    let endpoint = remote::with_token(remote, endpoint, role)?;
    // A proxy may want a path before ours.
    let path = format!("{}{path}", endpoint.url.path().trim_end_matches('/'));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header(hyper::header::HOST, endpoint.address())
        .header(hyper::header::AUTHORIZATION, remote::bearer(&endpoint))
        .body(Full::new(bytes::Bytes::from(body)))?;
    let response = sender.send_request(request).await.context("the hub did not answer")?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    drop(connection.await);
    let body: Json = serde_json::from_slice(&body).context("the hub's answer is not JSON")?;
    if status.is_success() {
        return Ok(Some(body));
    }
    Err(remote::refused(&endpoint, status, body.get("error").and_then(Json::as_str).unwrap_or("")))
}

fn add_to_database(id: &DeviceId, remote: &Remote) -> anyhow::Result<String> {
    let path = database(remote)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("data folder {}", folder.display()))?;
    }
    let mut writer = Writer::open(&path)?;
    let (_, token) = auth::add_device(&mut writer, id, &by_hand(), clock::now())?;
    writer.checkpoint()?;
    Ok(token.reveal().to_owned())
}

/// Whoever works on the database itself.
pub(super) fn by_hand() -> Actor {
    Actor { by: "command line".into(), address: None }
}

/// The database that is used where no hub answers; says so. Only for a hub on this machine.
pub(super) fn database(remote: &Remote) -> anyhow::Result<PathBuf> {
    let endpoint = remote::endpoint(remote)?;
    if !endpoint.is_here() {
        return Err(remote::no_answer(&endpoint));
    }
    let path = data_folder(remote.data.as_deref())?.join(local::DATABASE_FILE);
    let what = if path.exists() { "is used" } else { "is made" };
    print::error(&format!(
        "no hub answers at {}: the database {} {what}",
        endpoint.describe(),
        path.display()
    ));
    Ok(path)
}

/// Opens the database to read, where no hub answers; says so.
pub(super) fn open_database(remote: &Remote) -> anyhow::Result<Reader> {
    let path = data_folder(remote.data.as_deref())?.join(local::DATABASE_FILE);
    if !path.exists() {
        return Err(remote::no_answer(&remote::endpoint(remote)?))
            .with_context(|| format!("there is no database {}, and", path.display()));
    }
    open_reader(&database(remote)?)
}

/// Opens the database of a data folder to read.
pub(super) fn open_reader(path: &Path) -> anyhow::Result<Reader> {
    if !path.exists() {
        bail!(
            "there is no database {}: a hub makes it when it starts for the first time; name another data folder with --data or {}",
            path.display(),
            local::DATA_VARIABLE
        );
    }
    Reader::open(path).with_context(|| format!("database {}", path.display()))
}

pub(super) fn show(id: &DeviceId, json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let ledger = match remote::block_on(request(Method::GET, &path_of(id, "/ledger"), remote))? {
        Some(ledger) => ledger,
        None => match open_database(remote)?.account(id)? {
            Some(account) => serde_json::to_value(account.told())?,
            None => bail!("no device {id}"),
        },
    };
    if json {
        print::line(&ledger.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let number = |json: &Json, key: &str| json.get(key).and_then(Json::as_u64).unwrap_or_default();
    print::line(&format!(
        "{:<24} {:>12} {:>12} {:>9} {:>9} {:>9} {:>14}  LAST BATCH",
        "EPOCH", "SENT", "STORED", "REFUSED", "MISSING", "DUPLICATE", "READINGS"
    ));
    for stream in ledger.get("streams").and_then(Json::as_array).into_iter().flatten() {
        let time = |key: &str| {
            stream.get(key).and_then(Json::as_i64).map_or_else(String::new, |at| remote::time(Timestamp(at)))
        };
        print::line(&format!(
            "{:<24} {:>12} {:>12} {:>9} {:>9} {:>9} {:>14}  {}",
            stream.get("epoch").and_then(Json::as_str).unwrap_or_default(),
            number(stream, "sent"),
            number(stream, "stored"),
            number(stream, "refused"),
            number(stream, "skipped"),
            number(stream, "duplicate"),
            number(stream, "readings"),
            time("changed_at"),
        ));
    }
    let of = |key| number(&ledger, key);
    print::line(&format!(
        "batches: sent = stored + refused + missing; readings: {} = {} hot + {} sealed + {} conflicts + {} removed + {} damaged",
        of("readings"),
        of("hot"),
        of("sealed"),
        of("conflicts"),
        of("removed"),
        of("damaged")
    ));
    if ledger.get("adds_up").and_then(Json::as_bool) == Some(true) {
        print::line("it adds up");
        return Ok(ExitCode::SUCCESS);
    }
    print::line("IT DOES NOT ADD UP: `hub verify` says more");
    Ok(ExitCode::FAILURE)
}

pub(super) fn connections(id: &DeviceId, json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let path = path_of(id, "/connections");
    let connections: Vec<ConnectionInfo> = match remote::block_on(request(Method::GET, &path, remote))? {
        Some(mut body) => serde_json::from_value(body["connections"].take()).context("the hub's answer")?,
        None => match open_database(remote)?.connections(id)? {
            Some(connections) => connections,
            None => bail!("no device {id}"),
        },
    };
    if !json
        && !print::line(&format!(
            "{:<27} {:<27} {:<22} {:<8} {:<7} {:>5} {}",
            "OPENED", "ENDED", "FROM", "SESSION", "BY", "CODE", "WHY"
        ))
    {
        return Ok(ExitCode::SUCCESS);
    }
    for connection in connections {
        let text = if json { serde_json::to_string(&connection)? } else { connection_row(&connection) };
        if !print::line(&text) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn connection_row(connection: &ConnectionInfo) -> String {
    let ConnectionInfo { session, address, opened_at, end } = connection;
    let ended = match end {
        None => "open".to_owned(),
        Some(end) => end.at.map_or_else(|| "unknown".to_owned(), remote::time),
    };
    let by = end.as_ref().map_or("", |end| end.by.as_str());
    let code = end.as_ref().and_then(|end| end.code).map_or_else(String::new, |code| code.to_string());
    let why = end.as_ref().map_or("", |end| end.reason.as_str());
    let opened = remote::time(*opened_at);
    format!("{opened:<27} {ended:<27} {address:<22} {session:<8} {by:<7} {code:>5} {why}")
        .trim_end()
        .to_owned()
}

pub(super) fn list(json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let devices = match remote::block_on(remote::devices(remote))? {
        Some(devices) => devices,
        None => {
            let reader = open_database(remote)?;
            reader.devices()?.into_iter().map(|record| record.info).collect()
        }
    };
    if !json
        && !print::line(&format!(
            "{:<24} {:<8} {:<27} {:>7} {:>8} {:<12} {}",
            "DEVICE", "STATE", "LAST SEEN", "METRICS", "COMMANDS", "MODEL", "TAGS"
        ))
    {
        return Ok(ExitCode::SUCCESS);
    }
    for device in devices {
        let text = if json { serde_json::to_string(&device)? } else { row(&device) };
        if !print::line(&text) {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(device: &DeviceInfo) -> String {
    let tags: Vec<&str> = device.tags.iter().map(Tag::as_str).collect();
    let row = format!(
        "{:<24} {:<8} {:<27} {:>7} {:>8} {:<12} {}",
        device.id.as_str(),
        if device.connected { "online" } else { "offline" },
        device.last_seen.map_or_else(|| "never".into(), remote::time),
        device.metrics.len(),
        device.commands.len(),
        device.model.as_deref().unwrap_or_default(),
        tags.join(" ")
    );
    row.trim_end().to_owned()
}
