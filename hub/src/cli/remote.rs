//! What the command line does through a hub that runs, as a viewer of its own: `tail`, the list of devices.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use client::{ConnectError, Endpoint, EndpointError, Given, Token, TokenRole, Transport};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::select::Select;
use protocol::viewer::{Detail, DeviceInfo, HubToViewer, Subscribe, ViewerMessage};
use protocol::{SUBPROTOCOL, SeriesId, Timestamp, VIEWER_PATH, limits, local};
use serde_json::json;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{self, http::StatusCode, http::Uri};

use super::{BadUsage, Remote, TailArgs, print};
use crate::config::data_folder;
use crate::session::socket_config;

pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(work)
}

/// Where the hub is, and whom to trust.
pub(super) fn endpoint(remote: &Remote) -> anyhow::Result<Endpoint> {
    let given = Given {
        url: remote.hub.as_deref(),
        data: remote.data.as_deref(),
        ca: remote.ca.as_deref(),
        ..Given::default()
    };
    Endpoint::find_hub(given).map_err(|error| match error {
        EndpointError::BadUrl { .. } => {
            // What is typed and what stands in the variable come the same way.
            let typed = std::env::var(local::HUB_VARIABLE).ok() != remote.hub;
            let from = if typed { "--hub" } else { local::HUB_VARIABLE };
            BadUsage(format!("{from}: {error}")).into()
        }
        error if error.is_bad_usage() => BadUsage(error.to_string()).into(),
        error => error.into(),
    })
}

/// A connection to the hub on which nothing was said yet. `None`: no hub answers there.
pub(super) async fn dial(endpoint: &Endpoint) -> anyhow::Result<Option<Transport>> {
    match client::connect::dial(endpoint).await {
        Ok(transport) => Ok(Some(transport)),
        Err(ConnectError::Unreachable { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Adds the token: as given, else that of a role in the data folder.
pub(super) fn with_token(remote: &Remote, endpoint: Endpoint, role: TokenRole) -> anyhow::Result<Endpoint> {
    if let Some(token) = &remote.token {
        let token = Token::new(token);
        let token =
            token.map_err(|error| BadUsage(format!("--token or {}: {error}", local::TOKEN_VARIABLE)))?;
        return Ok(Endpoint { token: Some(token), ..endpoint });
    }
    if !endpoint.is_here() {
        bail!(
            "no token for {}: give one with {}; a token file is used only for a hub on this machine",
            endpoint.describe(),
            local::TOKEN_VARIABLE
        );
    }
    let path = data_folder(remote.data.as_deref())?.join(role.file_name());
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!(
            "no token in {}: name the hub's folder with --data, or a token with {}",
            path.display(),
            local::TOKEN_VARIABLE
        )
    })?;
    let token = Token::new(&text).with_context(|| path.display().to_string())?;
    Ok(Endpoint { token: Some(token), token_file: Some(path), ..endpoint })
}

/// The header that shows the token.
pub(super) fn bearer(endpoint: &Endpoint) -> String {
    format!("Bearer {}", endpoint.token.as_ref().map_or("", Token::reveal))
}

/// What the hub refused, in its words; or in ours, where it does not know the token of a file.
pub(super) fn refused(endpoint: &Endpoint, status: StatusCode, words: &str) -> anyhow::Error {
    let ours = endpoint.unknown_token().filter(|_| status == StatusCode::UNAUTHORIZED);
    anyhow::anyhow!("the hub refused: {status}: {}", ours.as_deref().unwrap_or(words))
}

/// Says where a hub was looked for in vain, the port in it, and what to do.
pub(super) fn no_answer(endpoint: &Endpoint) -> anyhow::Error {
    let at = endpoint.describe();
    anyhow::anyhow!("no hub answers at {at}: start one with `hub serve`, or name another with --hub")
}

/// A time for a person: UTC, to the millisecond.
pub(super) fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.micros())
        .map_or_else(|_| at.micros().to_string(), |t| t.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// A connection to a hub as a viewer.
pub(super) struct Viewer {
    socket: WebSocketStream<Transport>,
}

impl Viewer {
    /// `None`: no hub answers there.
    pub(super) async fn connect(remote: &Remote) -> anyhow::Result<Option<Self>> {
        let endpoint = endpoint(remote)?;
        let Some(stream) = dial(&endpoint).await? else { return Ok(None) };
        let uri: Uri = endpoint.socket_url(VIEWER_PATH).as_str().parse()?;
        let endpoint = with_token(remote, endpoint, TokenRole::Operator)?;
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", bearer(&endpoint))
            .with_sub_protocol(SUBPROTOCOL);
        let config = socket_config(16 * 1024, limits::HUB_MESSAGE_MAX_BYTES, 1024 * 1024);
        match tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Some(Self { socket })),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let said = serde_json::from_slice::<serde_json::Value>(body).ok();
                let problem = said.as_ref().and_then(|said| said.get("error")?.as_str());
                let problem = problem.map_or_else(|| String::from_utf8_lossy(body), Into::into);
                Err(refused(&endpoint, response.status(), &problem))
            }
            Err(error) => Err(error).context("the upgrade failed"),
        }
    }

    pub(super) async fn must_connect(remote: &Remote) -> anyhow::Result<Self> {
        match Self::connect(remote).await? {
            Some(viewer) => Ok(viewer),
            None => Err(no_answer(&endpoint(remote)?)),
        }
    }

    pub(super) async fn say(&mut self, message: impl Into<ViewerMessage>) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::Text(message.into().encode().into())).await?)
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<HubToViewer> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(HubToViewer::decode(&text)?),
                Some(Ok(Message::Close(Some(frame)))) => {
                    bail!("the hub closed: {} {}", frame.code, frame.reason)
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection to the hub is lost"),
            }
        }
    }

    /// The snapshot of devices that follows `welcome`.
    pub(super) async fn devices(&mut self) -> anyhow::Result<Vec<DeviceInfo>> {
        let mut devices = Vec::new();
        loop {
            if let HubToViewer::Devices(part) = self.next().await? {
                devices.extend(part.devices);
                if part.snapshot && !part.more {
                    return Ok(devices);
                }
            }
        }
    }

    pub(super) async fn close(mut self) {
        // We have what we came for; an orderly close is a courtesy.
        drop(self.socket.close(None).await);
    }
}

/// All devices, as a hub that runs knows them. `None`: no hub answers.
pub(super) async fn devices(remote: &Remote) -> anyhow::Result<Option<Vec<DeviceInfo>>> {
    let Some(mut viewer) = Viewer::connect(remote).await? else { return Ok(None) };
    let devices = viewer.devices().await?;
    viewer.close().await;
    Ok(Some(devices))
}

pub(super) fn tail(args: TailArgs) -> anyhow::Result<ExitCode> {
    block_on(async {
        let mut viewer = Viewer::must_connect(&args.remote).await?;
        let select = Select { devices: args.devices, metrics: args.metrics, series: Vec::new() };
        viewer
            .say(Subscribe { id: 1, select, detail: Detail::All, max_hz: None, since: None, traces: None })
            .await?;
        let mut names: HashMap<SeriesId, (String, String, String)> = HashMap::new();
        let mut left = args.count.unwrap_or(u64::MAX);
        loop {
            match viewer.next().await? {
                HubToViewer::Devices(devices) => {
                    for device in devices.devices {
                        for metric in device.metrics {
                            let unit = metric.declaration.unit.unwrap_or_default();
                            let name = (device.id.to_string(), metric.declaration.name.to_string(), unit);
                            names.insert(metric.series, name);
                        }
                    }
                }
                HubToViewer::Readings(readings) => {
                    if let Some(omitted) = readings.omitted {
                        print::error(&format!(
                            "{} readings left out: this end reads too slowly",
                            omitted.count
                        ));
                    }
                    if readings.snapshot {
                        continue;
                    }
                    let mut lines: Vec<(Timestamp, String)> = Vec::new();
                    for series in readings.series {
                        let Some((device, metric, unit)) = names.get(&series.series) else { continue };
                        for (at, value) in series.points {
                            let line = if args.json {
                                json!({"at": at, "device": device, "metric": metric, "unit": unit, "value": value})
                                    .to_string()
                            } else {
                                format!("{} {device} {metric} {value} {unit}", time(at))
                            };
                            lines.push((at, line));
                        }
                    }
                    lines.sort_by_key(|(at, _)| *at);
                    for (_, line) in lines {
                        if left == 0 || !print::line(line.trim_end()) {
                            viewer.close().await;
                            return Ok(ExitCode::SUCCESS);
                        }
                        left -= 1;
                    }
                    if left == 0 {
                        viewer.close().await;
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                HubToViewer::Subscribed(subscribed) if subscribed.series == 0 => {
                    print::error("no metric of any device matches now; what appears later is printed");
                }
                HubToViewer::Error(error) => bail!("{}: {}", error.code, error.message),
                _ => {}
            }
        }
    })
}
