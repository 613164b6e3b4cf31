//! The hub's logic behind HTTP: a device posts its hello and its batches, and gets its commands in one of four ways.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream;
use hub::Hub;
use hub::directory::{LastHeard, Present, SESSION_QUEUE, ToSession};
use hub::ingest::{Arrival, Completions, Fate};
use hub::mailbox::mailbox;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use protocol::desk::Actor;
use protocol::device::{Ack, DeviceMessage, HubToDevice, RawReadings};
use protocol::inbox::{Inbox, Verdict};
use protocol::{DeviceId, SeriesId, Timestamp};
use store::{BatchContent, Registered, Row};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How long a poll is held while there is nothing to say: below what proxies cut.
const HOLD: Duration = Duration::from_secs(25);
/// A comment is sent so often on a stream of events, as often as the hub pings a WebSocket.
const BEAT: Duration = Duration::from_secs(10);

struct Device {
    registered: Registered,
    series: HashMap<String, SeriesId>,
    inbox: tokio::sync::Mutex<Inbox>,
    commands: Mutex<VecDeque<String>>,
    news: Notify,
}

struct Front {
    hub: Arc<Hub>,
    /// As a server would keep them: a token is looked up once and not with every request.
    token: String,
    devices: Mutex<HashMap<DeviceId, Arc<Device>>>,
}

pub(crate) async fn start(hub: Arc<Hub>) -> anyhow::Result<SocketAddr> {
    let token = std::fs::read_to_string(hub.config.data.join("fleet.token"))?;
    let token = format!("Bearer {}", token.trim());
    let front = Arc::new(Front { hub, token, devices: Mutex::default() });
    let router = Router::new()
        .route("/v1/http/{device}/hello", post(hello))
        .route("/v1/http/{device}/readings", post(readings))
        .route("/v1/http/{device}/updates", post(update))
        .route("/v1/http/{device}/commands", get(poll))
        .route("/v1/http/{device}/commands/wait", get(long_poll))
        .route("/v1/http/{device}/commands/events", get(events))
        .with_state(front);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service = TowerToHyperService::new(router);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                drop(stream.set_nodelay(true));
                let http = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(http);
            });
        }
    });
    Ok(address)
}

impl Front {
    fn device(&self, headers: &HeaderMap, id: &str) -> Result<(DeviceId, Arc<Device>), StatusCode> {
        let id = self.named(headers, id)?;
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let device = devices.get(&id).map(Arc::clone).ok_or(StatusCode::NOT_FOUND)?;
        Ok((id, device))
    }

    fn named(&self, headers: &HeaderMap, id: &str) -> Result<DeviceId, StatusCode> {
        if headers.get(header::AUTHORIZATION).is_none_or(|value| value != self.token.as_str()) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        DeviceId::new(id).map_err(|_| StatusCode::BAD_REQUEST)
    }
}

impl Device {
    /// The commands that wait, one a line.
    fn take(&self) -> String {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.drain(..).collect::<Vec<_>>().join("\n")
    }
}

async fn hello(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<StatusCode, StatusCode> {
    let id = front.named(&headers, &id)?;
    let Ok(DeviceMessage::Hello(hello)) = DeviceMessage::decode(&body) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let hub = &front.hub;
    let now = hub::clock::now();
    let registered = hub.ingest.register(hello.clone(), now).await;
    let registered = registered.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let (sender, inward) = mailbox(SESSION_QUEUE);
    let session = hub.next_session();
    let present = Present { id: session, sender: sender.clone(), heard: LastHeard::new(now) };
    hub.directory.connected(&hello, &registered, present, now);
    let metrics = hello.metrics.iter().map(|metric| metric.name.to_string());
    let device = Arc::new(Device {
        series: metrics.zip(registered.series.iter().copied()).collect(),
        inbox: tokio::sync::Mutex::new(Inbox::new(registered.settled)),
        registered,
        commands: Mutex::default(),
        news: Notify::new(),
    });
    front.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::clone(&device));
    tokio::spawn(async move {
        loop {
            if let ToSession::Command(command) = inward.take().await {
                let text = HubToDevice::from(*command).encode();
                device.commands.lock().unwrap_or_else(PoisonError::into_inner).push_back(text);
                device.news.notify_one();
            }
        }
    });
    hub.commands.connected(id, session, sender).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores a batch and answers once it is on disk, as the hub does: an `ack`, and the commands that wait behind it.
async fn readings(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<String, StatusCode> {
    let (_, device) = front.device(&headers, &id)?;
    let arrival = Arrival { read: Instant::now(), measured: None };
    let batch = RawReadings::decode(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let row = |reading: protocol::device::RawReading<'_>| {
        let series = *device.series.get(reading.metric.as_ref())?;
        Some(Row { series, at: reading.at, value: reading.value.into_owned() })
    };
    let seq = batch.seq;
    let rows: Option<Vec<Row>> = batch.readings.into_iter().map(row).collect();
    let rows = rows.ok_or(StatusCode::BAD_REQUEST)?;
    let mut inbox = device.inbox.lock().await;
    let Verdict::Take(ticket) = inbox.on_batch(seq) else { return Err(StatusCode::CONFLICT) };
    let completions = Arc::new(Completions::default());
    let content = BatchContent::Readings(rows);
    let submitted =
        front.hub.ingest.submit(device.registered.stream, ticket, content, arrival, &completions).await;
    submitted.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    completions.wait().await;
    let mut done = Vec::new();
    completions.take(&mut done);
    for (ticket, fate, _) in done {
        match fate {
            Fate::Settled => inbox.on_settled(ticket),
            Fate::OutOfOrder | Fate::StorageFull | Fate::Failed => {
                return Err(StatusCode::SERVICE_UNAVAILABLE);
            }
        }
    }
    let seq = inbox.poll_ack().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
    let mut answer = HubToDevice::from(Ack { seq }).encode();
    // Whoever asks for commands in another way does not ask here.
    if headers.contains_key("x-commands") {
        let commands = device.take();
        if !commands.is_empty() {
            answer.push('\n');
            answer.push_str(&commands);
        }
    }
    Ok(answer)
}

async fn update(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Result<StatusCode, StatusCode> {
    let (id, _) = front.device(&headers, &id)?;
    let Ok(DeviceMessage::CommandUpdate(update)) = DeviceMessage::decode(&body) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let actor = Actor { by: id.to_string(), address: None };
    let answer = front.hub.commands.update(id, update, actor).await;
    answer.await.map_err(|_| StatusCode::CONFLICT)?;
    Ok(StatusCode::NO_CONTENT)
}

fn commands(text: String) -> Response {
    if text.is_empty() { StatusCode::NO_CONTENT.into_response() } else { text.into_response() }
}

async fn poll(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let (_, device) = front.device(&headers, &id)?;
    Ok(commands(device.take()))
}

async fn long_poll(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let (_, device) = front.device(&headers, &id)?;
    let wait = async {
        loop {
            let text = device.take();
            if !text.is_empty() {
                return text;
            }
            device.news.notified().await;
        }
    };
    Ok(commands(tokio::time::timeout(HOLD, wait).await.unwrap_or_default()))
}

async fn events(
    State(front): State<Arc<Front>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, StatusCode> {
    let (_, device) = front.device(&headers, &id)?;
    let events = stream::unfold(device, |device| async move {
        loop {
            let text = device.take();
            if !text.is_empty() {
                let mut events = String::new();
                for line in text.lines() {
                    events.push_str("data: ");
                    events.push_str(line);
                    events.push_str("\n\n");
                }
                return Some((Ok::<Bytes, Infallible>(events.into()), device));
            }
            if tokio::time::timeout(BEAT, device.news.notified()).await.is_err() {
                return Some((Ok(Bytes::from_static(b":\n\n")), device));
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    Ok((kind, Body::from_stream(events)).into_response())
}

/// The time of the readings of a run, as the hub's clock has it.
pub(crate) fn now() -> Timestamp {
    hub::clock::now()
}
