//! The devices of the comparison, and what they measure.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use protocol::{DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::Kind;

/// Devices with telemetry as fast as it is acknowledged, one message in flight each.
const BUSY: usize = 20;
/// Readings of a message.
const READINGS: usize = 10;
/// Devices that get commands, and say something once a second.
const COMMANDED: usize = 20;
/// Between two commands, whoever they are for.
const COMMAND_EVERY: Duration = Duration::from_millis(53);
/// Between two messages of telemetry of a device that gets commands.
const QUIET: Duration = Duration::from_secs(1);
/// Between two polls.
const POLL: Duration = Duration::from_secs(1);
/// Connections that do nothing.
const IDLE: usize = 1_000;

#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) socket: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) token: String,
    pub(crate) operator: String,
    pub(crate) server: u32,
}

/// What went over all connections of this run, above TCP.
#[derive(Default)]
struct Wire {
    bytes: AtomicU64,
    /// Of these, what is no text of a message.
    messages: AtomicU64,
    payload: AtomicU64,
    requests: AtomicU64,
}

impl Wire {
    fn said(&self, text: &str) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.payload.fetch_add(text.len() as u64, Ordering::Relaxed);
    }

    fn now(&self) -> [f64; 4] {
        [&self.bytes, &self.messages, &self.payload, &self.requests]
            .map(|count| count.load(Ordering::Relaxed) as f64)
    }
}

struct Counted {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Counted {
    async fn connect(address: SocketAddr, wire: &Arc<Wire>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, wire: Arc::clone(wire) })
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.wire.bytes.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.wire.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One keep-alive connection of HTTP.
struct Http {
    sender: SendRequest<Full<bytes::Bytes>>,
    target: Target,
    wire: Arc<Wire>,
}

impl Http {
    async fn connect(target: &Target, wire: &Arc<Wire>) -> Result<Self> {
        let stream = TokioIo::new(Counted::connect(target.http, wire).await?);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender, target: target.clone(), wire: Arc::clone(wire) })
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<hyper::Response<hyper::body::Incoming>> {
        self.wire.requests.fetch_add(1, Ordering::Relaxed);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.target.http.to_string())
            .header("authorization", format!("Bearer {}", self.target.token));
        if let Some(body) = &body {
            self.wire.said(body);
            request = request.header("content-type", "application/json");
        }
        if self.target.kind == Kind::Post {
            request = request.header("x-commands", "1");
        }
        let request = request.body(Full::new(body.unwrap_or_default().into()))?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if !response.status().is_success() {
            bail!("{method} {path}: {}", response.status());
        }
        Ok(response)
    }

    /// Lines of the answer.
    async fn lines(&mut self, method: &str, path: &str, body: Option<String>) -> Result<Vec<String>> {
        let response = self.ask(method, path, body).await?;
        let body = response.into_body().collect().await?.to_bytes();
        let lines: Vec<String> = String::from_utf8_lossy(&body).lines().map(str::to_owned).collect();
        for line in &lines {
            self.wire.said(line);
        }
        Ok(lines)
    }
}

/// A run's common state.
struct Run {
    target: Target,
    wire: Arc<Wire>,
    stop: AtomicBool,
    readings: AtomicU64,
    /// When each command was handed to the hub, and the times until devices had them.
    latencies: Mutex<Vec<Duration>>,
    commands: AtomicU64,
}

fn hello(device: &str) -> String {
    let metrics: Vec<Json> = (0..READINGS).map(|n| json!({"name": format!("m{n}")})).collect();
    json!({"type": "hello", "device": device, "epoch": "e1", "metrics": metrics, "commands": [{"name": "go", "params": [{"name": "at"}]}]}).to_string()
}

fn batch(seq: u64, readings: usize) -> String {
    let at = super::front::now().micros();
    let values: Vec<String> = (0..readings).map(|n| format!("\"m{n}\":{}.5", n + 20)).collect();
    format!(r#"{{"type":"readings","seq":{seq},"points":[{{"at":{at},"values":{{{}}}}}]}}"#, values.join(","))
}

impl Run {
    fn new(target: &Target) -> Arc<Self> {
        Arc::new(Self {
            target: target.clone(),
            wire: Arc::default(),
            stop: AtomicBool::new(false),
            readings: AtomicU64::new(0),
            latencies: Mutex::default(),
            commands: AtomicU64::new(0),
        })
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A command has come. Returns what the device says of it.
    fn commanded(&self, text: &str) -> Option<String> {
        let command: Json = serde_json::from_str(text).ok()?;
        let sent = command["args"]["at"].as_i64()?;
        let took = super::front::now().micros() - sent;
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Duration::from_micros(took.unsigned_abs()));
        self.commands.fetch_add(1, Ordering::Relaxed);
        let id = command["id"].as_str()?;
        Some(json!({"type": "command_update", "id": id, "state": "succeeded"}).to_string())
    }

    async fn socket(&self, device: &str) -> Result<WebSocketStream<Counted>> {
        let stream = Counted::connect(self.target.socket, &self.wire).await?;
        let uri = format!("ws://{}{DEVICE_PATH}", self.target.socket);
        let request = ClientRequestBuilder::new(uri.parse()?)
            .with_header("Authorization", format!("Bearer {}", self.target.token))
            .with_sub_protocol(SUBPROTOCOL);
        let config = hub::session::socket_config(1024, 64 * 1024, 64 * 1024);
        let (mut socket, _) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        socket.send(Message::text(hello(device))).await?;
        socket.next().await.context("no welcome")??;
        Ok(socket)
    }

    /// A device on a WebSocket; `pause` between its messages, of so many readings.
    async fn on_socket(self: Arc<Self>, device: String, pause: Option<Duration>) -> Result<()> {
        let mut socket = self.socket(&device).await?;
        let mut seq = 0;
        let mut acked = true;
        let mut timer = tokio::time::interval(pause.unwrap_or(Duration::from_secs(3_600)));
        timer.tick().await;
        while !self.over() {
            let due = pause.is_none() && acked;
            if due {
                seq += 1;
                let text = batch(seq, READINGS);
                self.wire.said(&text);
                socket.send(Message::text(text)).await?;
                acked = false;
            }
            tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        self.wire.said(&text);
                        if text.starts_with(r#"{"type":"ack""#) {
                            self.readings.fetch_add(READINGS as u64, Ordering::Relaxed);
                            acked = true;
                        } else if let Some(answer) = self.commanded(&text) {
                            self.wire.said(&answer);
                            socket.send(Message::text(answer)).await?;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the hub closed"),
                },
                _ = timer.tick(), if pause.is_some() => {
                    seq += 1;
                    let text = batch(seq, READINGS);
                    self.wire.said(&text);
                    socket.send(Message::text(text)).await?;
                }
            }
        }
        Ok(())
    }

    /// A device over HTTP: posts, and a second connection where commands are asked for.
    async fn on_http(
        self: Arc<Self>,
        device: String,
        pause: Option<Duration>,
        telemetry: bool,
    ) -> Result<()> {
        let mut http = Http::connect(&self.target, &self.wire).await?;
        let path = |end: &str| format!("/v1/http/{device}/{end}");
        http.ask("POST", &path("hello"), Some(hello(&device))).await?;
        let asking = match self.target.kind {
            Kind::WebSocket | Kind::Post => None,
            Kind::Poll | Kind::LongPoll | Kind::Events => {
                Some(tokio::spawn(Arc::clone(&self).ask_for_commands(device.clone())))
            }
        };
        let mut seq = 0;
        while !self.over() {
            if !telemetry {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            seq += 1;
            let said = http.lines("POST", &path("readings"), Some(batch(seq, READINGS))).await?;
            self.readings.fetch_add(READINGS as u64, Ordering::Relaxed);
            for line in said.iter().skip(1) {
                if let Some(answer) = self.commanded(line) {
                    http.lines("POST", &path("updates"), Some(answer)).await?;
                }
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        if let Some(asking) = asking {
            asking.abort();
        }
        Ok(())
    }

    async fn ask_for_commands(self: Arc<Self>, device: String) -> Result<()> {
        let path = |end: &str| format!("/v1/http/{device}/{end}");
        let mut http = Http::connect(&self.target, &self.wire).await?;
        if self.target.kind == Kind::Events {
            let mut updates = None;
            let mut body = http.ask("GET", &path("commands/events"), None).await?.into_body();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame?.into_data() else { continue };
                for line in String::from_utf8_lossy(&data).lines() {
                    if let Some(command) = line.strip_prefix("data: ") {
                        self.wire.said(command);
                        if let Some(answer) = self.commanded(command) {
                            let updates = match &mut updates {
                                Some(updates) => updates,
                                none => none.insert(Http::connect(&self.target, &self.wire).await?),
                            };
                            updates.lines("POST", &path("updates"), Some(answer)).await?;
                        }
                    }
                }
            }
            return Ok(());
        }
        let end = if self.target.kind == Kind::Poll { "commands" } else { "commands/wait" };
        // Devices do not all ask at the same moment.
        if self.target.kind == Kind::Poll {
            tokio::time::sleep(POLL.mul_f64(f64::from(device.len() as u32 * 37 % 100) / 100.0)).await;
        }
        loop {
            for line in http.lines("GET", &path(end), None).await? {
                if let Some(answer) = self.commanded(&line) {
                    http.lines("POST", &path("updates"), Some(answer)).await?;
                }
            }
            if self.target.kind == Kind::Poll {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    fn device(self: &Arc<Self>, name: String, pause: Option<Duration>, telemetry: bool) {
        let run = Arc::clone(self);
        tokio::spawn(async move {
            let done = match (run.target.kind, telemetry) {
                (Kind::WebSocket, true) => run.on_socket(name, pause).await,
                (Kind::WebSocket, false) => run.on_socket(name, Some(Duration::from_secs(3_600))).await,
                _ => run.on_http(name, pause, telemetry).await,
            };
            if let Err(error) = done {
                #[expect(clippy::print_stderr, reason = "a device that fails makes the numbers worthless")]
                {
                    eprintln!("a device failed: {error:#}");
                }
            }
        });
    }
}

/// CPU seconds and resident bytes of a process.
fn usage(pid: u32) -> Result<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("no stat")?.1.split_ascii_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let resident: f64 = resident.trim().trim_end_matches("kB").trim().parse()?;
    Ok((ticks / 100.0, resident))
}

async fn operator(target: &Target) -> Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(target.socket).await?;
    let request = ClientRequestBuilder::new(format!("ws://{}{VIEWER_PATH}", target.socket).parse()?)
        .with_header("Authorization", format!("Bearer {}", target.operator))
        .with_sub_protocol(SUBPROTOCOL);
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

/// What a request and its answer cost besides the text in them: a post of readings, and a poll that brings nothing. Bytes.
async fn heads(target: &Target) -> Result<Json> {
    let wire = Arc::<Wire>::default();
    let mut http = Http::connect(target, &wire).await?;
    let device = format!("heads-{:?}-0001", target.kind).to_lowercase();
    let path = |end: &str| format!("/v1/http/{device}/{end}");
    http.lines("POST", &path("hello"), Some(hello(&device))).await?;
    let besides = |before: [f64; 4], after: [f64; 4]| after[0] - before[0] - (after[2] - before[2]);
    let start = wire.now();
    http.lines("POST", &path("readings"), Some(batch(1, READINGS))).await?;
    let posted = wire.now();
    http.lines("GET", &path("commands"), None).await?;
    Ok(json!({ "post": besides(start, posted), "empty_poll": besides(posted, wire.now()) }))
}

/// Measures all of it for one transport; in no seconds, the heads of requests alone.
pub(crate) async fn run(target: Target, seconds: u64) -> Result<Json> {
    let length = Duration::from_secs(seconds);
    let heads = if target.kind == Kind::WebSocket { Json::Null } else { heads(&target).await? };
    if seconds == 0 {
        return Ok(json!({ "heads": heads }));
    }
    let name = |what: &str, n: usize| format!("{what}-{:?}-{n:04}", target.kind).to_lowercase();

    // Telemetry as fast as it is acknowledged.
    let run = Run::new(&target);
    for n in 0..BUSY {
        run.device(name("busy", n), None, true);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (start, before, (cpu, _)) = (Instant::now(), run.wire.now(), usage(target.server)?);
    let readings = run.readings.load(Ordering::Relaxed);
    tokio::time::sleep(length).await;
    let readings = (run.readings.load(Ordering::Relaxed) - readings) as f64;
    let (after, (cpu_after, _), took) = (run.wire.now(), usage(target.server)?, start.elapsed());
    run.stop.store(true, Ordering::Relaxed);
    let grew = |place: usize| after[place] - before[place];
    let telemetry = json!({
        "readings_per_second": readings / took.as_secs_f64(),
        "bytes_per_reading": grew(0) / readings,
        "overhead_per_message": (grew(0) - grew(2)) / grew(1),
        "requests_per_message": grew(3) / (readings / READINGS as f64),
        "cpu_per_million": (cpu_after - cpu) * 1e6 / readings,
    });
    tokio::time::sleep(Duration::from_secs(1)).await;

    // Commands to devices that say something once a second: first without, to know what is there anyway.
    let run = Run::new(&target);
    for n in 0..COMMANDED {
        run.device(name("told", n), Some(QUIET), true);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = run.wire.now()[0];
    tokio::time::sleep(length).await;
    let quiet = run.wire.now()[0] - before;
    let (before, start) = (run.wire.now()[0], Instant::now());
    let mut operator = operator(&target).await?;
    let mut n = 0;
    let mut timer = tokio::time::interval(COMMAND_EVERY);
    while start.elapsed() < length {
        tokio::select! {
            _ = timer.tick() => {
                n += 1;
                let at = super::front::now().micros();
                let device = name("told", n % COMMANDED);
                let send = json!({"type": "send_command", "id": n, "device": device, "name": "go", "args": {"at": at}});
                operator.send(Message::text(send.to_string())).await?;
            }
            said = operator.next() => {
                said.context("the hub closed")??;
            }
        }
    }
    let bytes = run.wire.now()[0] - before;
    tokio::time::sleep(Duration::from_secs(2)).await;
    run.stop.store(true, Ordering::Relaxed);
    let mut latencies = std::mem::take(&mut *run.latencies.lock().unwrap_or_else(PoisonError::into_inner));
    latencies.sort_unstable();
    let at = |part: f64| {
        let place = (latencies.len() as f64 * part) as usize;
        latencies.get(place.min(latencies.len().saturating_sub(1))).map(|took| took.as_secs_f64() * 1e3)
    };
    let commands = json!({
        "issued": n,
        "arrived": latencies.len(),
        "bytes_per_command": (bytes - quiet) / n as f64,
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
    });

    // Nothing happens.
    let run = Run::new(&target);
    let (_, memory) = usage(target.server)?;
    for n in 0..IDLE {
        run.device(name("idle", n), None, false);
        if n % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, start, (cpu, memory_after)) = (run.wire.now(), Instant::now(), usage(target.server)?);
    tokio::time::sleep(length.max(Duration::from_secs(20))).await;
    let (after, (cpu_after, _), took) =
        (run.wire.now(), usage(target.server)?, start.elapsed().as_secs_f64());
    let idle = json!({
        "kib_each": (memory_after - memory) / IDLE as f64,
        "bytes_per_second_each": (after[0] - before[0]) / took / IDLE as f64,
        "requests_per_second": (after[3] - before[3]) / took,
        "cpu_percent": (cpu_after - cpu) / took * 100.0,
    });
    run.stop.store(true, Ordering::Relaxed);
    Ok(json!({ "heads": heads, "telemetry": telemetry, "commands": commands, "idle": idle }))
}
