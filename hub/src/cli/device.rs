//! `hub device add | list`: through the hub if it runs, else straight on its database.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use protocol::viewer::DeviceInfo;
use protocol::{DeviceId, local};
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
    let (host, port) = remote::host_and_port(remote)?;
    let Ok(stream) = tokio::net::TcpStream::connect((host.as_str(), port)).await else {
        return Ok(None);
    };
    let token = remote::token(remote)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = hyper::Request::put(format!("/v1/devices/{}", id.as_str().replace('/', "%2F")))
        .header(hyper::header::HOST, format!("{host}:{port}"))
        .header(hyper::header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await.context("the hub did not answer")?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    drop(connection.await);
    let body: Json = serde_json::from_slice(&body).context("the hub's answer is not JSON")?;
    match body.get("token").and_then(Json::as_str) {
        Some(token) => Ok(Some(token.to_owned())),
        None => {
            bail!("the hub refused: {status}: {}", body.get("error").and_then(Json::as_str).unwrap_or(""))
        }
    }
}

fn add_to_database(id: &DeviceId, remote: &Remote) -> anyhow::Result<String> {
    let path = database(remote)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("data folder {}", folder.display()))?;
    }
    let mut writer = Writer::open(&path)?;
    let (_, token) = auth::add_device(&mut writer, id, clock::now())?;
    writer.checkpoint()?;
    Ok(token.reveal().to_owned())
}

/// The database that is used where no hub answers; says so. Only for a hub on this machine.
fn database(remote: &Remote) -> anyhow::Result<PathBuf> {
    if !remote::is_here(remote)? {
        bail!("no hub answers at {}", remote.hub);
    }
    let path = data_folder(remote.data.as_deref())?.join(local::DATABASE_FILE);
    print::error(&format!("no hub answers at {}: the database {} is used", remote.hub, path.display()));
    Ok(path)
}

pub(super) fn list(json: bool, remote: &Remote) -> anyhow::Result<ExitCode> {
    let devices = match remote::block_on(remote::devices(remote))? {
        Some(devices) => devices,
        None => {
            let path = database(remote)?;
            let reader = Reader::open(&path).with_context(|| format!("database {}", path.display()))?;
            reader.devices()?.into_iter().map(|record| record.info).collect()
        }
    };
    if !json
        && !print::line(&format!(
            "{:<24} {:<8} {:<27} {:>7} {:>8}",
            "DEVICE", "STATE", "LAST SEEN", "METRICS", "COMMANDS"
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
    format!(
        "{:<24} {:<8} {:<27} {:>7} {:>8}",
        device.id.as_str(),
        if device.connected { "online" } else { "offline" },
        device.last_seen.map_or_else(|| "never".into(), remote::time),
        device.metrics.len(),
        device.commands.len()
    )
}
