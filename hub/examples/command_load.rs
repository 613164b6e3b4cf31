//! Commands for a hub from an operator, and devices that answer them, over real sockets; for measuring how long they take.
//!
//! Prints one line of JSON. `one-by-one` waits for the end of each command before it sends the next; `steady` sends at a
//! constant rate; `many` keeps a number of them on the way until enough have ended; `yardstick` needs no hub: it is what one
//! fsync between two WebSocket messages takes.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use protocol::local::{FLEET_TOKEN_FILE, OPERATOR_TOKEN_FILE};
use protocol::{DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::Message;

/// Bytes that the yardstick appends before each sync: some pages, as a commit of one command does.
const YARDSTICK_BYTES: usize = 16 * 1024;
/// How often what is due is sent at a constant rate.
const TICK: Duration = Duration::from_millis(1);
/// How long the last commands may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// One command at a time
    OneByOne {
        #[command(flatten)]
        hub: Hub,
        #[arg(long)]
        count: u64,
    },
    /// A constant rate
    Steady {
        #[command(flatten)]
        hub: Hub,
        #[arg(long)]
        devices: u64,
        /// Commands a second
        #[arg(long)]
        rate: u64,
        /// Seconds before it is measured
        #[arg(long)]
        warm_up: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// So many, as fast as they end, and the memory of the hub meanwhile
    Many {
        #[command(flatten)]
        hub: Hub,
        #[arg(long)]
        devices: u64,
        #[arg(long)]
        count: u64,
        /// Commands on the way at once
        #[arg(long)]
        on_the_way: u64,
    },
    /// A message, an fsync, a message: no hub
    Yardstick {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        count: u64,
    },
}

#[derive(Args)]
struct Hub {
    /// ws://HOST:PORT
    #[arg(long = "hub")]
    url: String,
    /// Its data folder, for the tokens
    #[arg(long)]
    data: PathBuf,
    /// The number of its process
    #[arg(long)]
    server: u32,
}

type Socket = WebSocketStream<TcpStream>;

#[tokio::main]
async fn main() -> Result<()> {
    let report = match Cli::parse().what {
        What::OneByOne { hub, count } => one_by_one(&hub, count).await?,
        What::Steady { hub, devices, rate, warm_up, seconds } => {
            steady(&hub, devices, rate, warm_up, seconds).await?
        }
        What::Many { hub, devices, count, on_the_way } => many(&hub, devices, count, on_the_way).await?,
        What::Yardstick { folder, count } => yardstick(&folder, count).await?,
    };
    #[expect(clippy::print_stdout, reason = "the report is its only output")]
    {
        println!("{report}");
    }
    Ok(())
}

async fn open(url: &str, path: &str, token: &str) -> Result<Socket> {
    let authority = url.strip_prefix("ws://").context("the URL must begin with ws://")?;
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let request = ClientRequestBuilder::new(format!("{url}{path}").parse()?)
        .with_header("Authorization", format!("Bearer {token}"))
        .with_sub_protocol(SUBPROTOCOL);
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

fn text(message: &Json) -> Message {
    Message::Text(message.to_string().into())
}

/// The next message, as JSON.
async fn next(
    socket: &mut (impl futures_util::Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<Json> {
    loop {
        if let Message::Text(text) = socket.next().await.context("the hub closed")?? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
}

type Error = tokio_tungstenite::tungstenite::Error;

/// When each command was received by its device, in microseconds since `start`, by its number; 0: not yet.
struct Received {
    start: Instant,
    at: Vec<AtomicU64>,
}

impl Received {
    fn new(count: u64) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), at: (0..count).map(|_| AtomicU64::new(0)).collect() })
    }

    fn now(&self) -> u64 {
        (self.start.elapsed().as_micros() as u64).max(1)
    }
}

/// Devices that take every command, say so, and have done it at once.
async fn start_devices(hub: &Hub, count: u64, received: &Arc<Received>) -> Result<()> {
    let token = read_token(&hub.data, FLEET_TOKEN_FILE)?;
    for n in 0..count {
        let mut socket = open(&hub.url, DEVICE_PATH, &token).await?;
        let hello = json!({"type": "hello", "device": format!("taker-{n}"), "epoch": "e1", "commands": [
            {"name": "work", "params": [{"name": "n", "required": true}]}]});
        socket.send(text(&hello)).await?;
        next(&mut socket).await?;
        let received = Arc::clone(received);
        // The hub is gone when it ends: whoever waits for the answers says so.
        tokio::spawn(async move { serve(socket, &received).await });
    }
    Ok(())
}

async fn serve(mut socket: Socket, received: &Received) -> Result<()> {
    loop {
        let message = next(&mut socket).await?;
        if message["type"] != "command" {
            continue;
        }
        let n = message["args"]["n"].as_f64().context("a command without its number")? as usize;
        received.at[n].store(received.now(), Ordering::Relaxed);
        for state in ["received", "succeeded"] {
            let update = json!({"type": "command_update", "id": message["id"], "state": state});
            socket.feed(text(&update)).await?;
        }
        socket.flush().await?;
    }
}

fn read_token(data: &Path, name: &str) -> Result<String> {
    Ok(std::fs::read_to_string(data.join(name))?.trim().to_owned())
}

/// The two ends of an operator's connection.
async fn operator(hub: &Hub) -> Result<(SplitSink<Socket, Message>, SplitStream<Socket>)> {
    let mut socket = open(&hub.url, VIEWER_PATH, &read_token(&hub.data, OPERATOR_TOKEN_FILE)?).await?;
    next(&mut socket).await?;
    Ok(socket.split())
}

fn order(n: u64, devices: u64) -> Message {
    let device = format!("taker-{}", n % devices);
    text(&json!({"type": "send_command", "id": n, "device": device, "name": "work", "args": {"n": n}}))
}

/// The number of the next command of which is told that it succeeded.
async fn next_end(events: &mut SplitStream<Socket>) -> Result<u64> {
    loop {
        let message = next(events).await?;
        match message["type"].as_str() {
            Some("error") => bail!("the hub refused: {message}"),
            Some("command") => {
                let command = &message["command"];
                match command["state"].as_str() {
                    Some("succeeded") => {
                        let n = command["args"]["n"].as_f64().context("a command without its number")?;
                        return Ok(n as u64);
                    }
                    Some("queued" | "sent" | "received" | "running") => {}
                    _ => bail!("a command ended otherwise: {message}"),
                }
            }
            _ => {}
        }
    }
}

async fn one_by_one(hub: &Hub, count: u64) -> Result<Json> {
    let received = Received::new(count);
    start_devices(hub, 1, &received).await?;
    let (mut orders, mut events) = operator(hub).await?;
    let (mut to_device, mut to_end) = (Vec::new(), Vec::new());
    for n in 0..count {
        let sent = received.now();
        orders.send(order(n, 1)).await?;
        while next_end(&mut events).await? != n {}
        to_end.push(received.now() - sent);
        to_device.push(received.at[n as usize].load(Ordering::Relaxed) - sent);
    }
    Ok(json!({"commands": count, "received_ms": latencies(to_device), "succeeded_ms": latencies(to_end)}))
}

async fn steady(hub: &Hub, devices: u64, rate: u64, warm_up: u64, seconds: u64) -> Result<Json> {
    let count = rate * (warm_up + seconds);
    let received = Received::new(count);
    start_devices(hub, devices, &received).await?;
    let (mut orders, mut events) = operator(hub).await?;
    let begin = received.now();
    let due = move |n: u64| begin + n * 1_000_000 / rate;
    let clock = Arc::clone(&received);
    let sending = tokio::spawn(async move {
        let mut tick = tokio::time::interval(TICK);
        let mut n = 0;
        while n < count {
            tick.tick().await;
            while n < count && due(n) <= clock.now() {
                orders.feed(order(n, devices)).await?;
                n += 1;
            }
            orders.flush().await?;
        }
        anyhow::Ok(())
    });
    let first = rate * warm_up;
    let measured = begin + warm_up * 1_000_000..begin + (warm_up + seconds) * 1_000_000;
    let (mut to_end, mut ended, mut before, mut after) = (Vec::new(), 0_u64, None, None);
    for _ in 0..count {
        let n = tokio::time::timeout(PATIENCE, next_end(&mut events)).await.context("too long for one")??;
        let now = received.now();
        if now >= measured.start && before.is_none() {
            before = Some(cpu_seconds(hub.server)?);
        }
        if now >= measured.end && after.is_none() {
            after = Some(cpu_seconds(hub.server)?);
        }
        ended += u64::from(measured.contains(&now));
        if n >= first {
            to_end.push(now - due(n));
        }
    }
    sending.await??;
    let after = after.map_or_else(|| cpu_seconds(hub.server), Ok)?;
    let to_device =
        (first..count).map(|n| received.at[n as usize].load(Ordering::Relaxed) - due(n)).collect();
    Ok(json!({
        "commands": count - first,
        "per_second": ended as f64 / seconds as f64,
        "received_ms": latencies(to_device),
        "succeeded_ms": latencies(to_end),
        "cpu_seconds_per_second": (after - before.context("nothing was measured")?) / seconds as f64,
    }))
}

async fn many(hub: &Hub, devices: u64, count: u64, on_the_way: u64) -> Result<Json> {
    let received = Received::new(count);
    start_devices(hub, devices, &received).await?;
    let (mut orders, mut events) = operator(hub).await?;
    let begin = Instant::now();
    let mut sent = 0;
    let mut memory = Vec::new();
    for ended in 0..count {
        while sent < count && sent < ended + on_the_way {
            orders.feed(order(sent, devices)).await?;
            sent += 1;
        }
        orders.flush().await?;
        if ended % (count / 10).max(1) == 0 {
            memory.push(json!([ended, resident_mib(hub.server)?]));
        }
        tokio::time::timeout(PATIENCE, next_end(&mut events)).await.context("too long for one")??;
    }
    memory.push(json!([count, resident_mib(hub.server)?]));
    Ok(json!({
        "commands": count,
        "per_second": count as f64 / begin.elapsed().as_secs_f64(),
        "resident_mib": memory,
    }))
}

async fn yardstick(folder: &Path, count: u64) -> Result<Json> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (requests, mut queue) = mpsc::channel::<oneshot::Sender<()>>(1);
    let mut file = File::create(folder.join("yardstick"))?;
    let syncing = std::thread::spawn(move || {
        let bytes = vec![b'x'; YARDSTICK_BYTES];
        while let Some(done) = queue.blocking_recv() {
            file.write_all(&bytes)?;
            file.sync_data()?;
            // Whoever asked is gone: the queue ends too.
            done.send(()).unwrap_or_default();
        }
        std::io::Result::Ok(())
    });
    let serving = tokio::spawn(async move {
        let accept = async || {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            anyhow::Ok(tokio_tungstenite::accept_async(stream).await?)
        };
        let (mut from, mut to) = (accept().await?, accept().await?);
        while let Some(Ok(message)) = from.next().await {
            let (done, synced) = oneshot::channel();
            requests.send(done).await?;
            synced.await?;
            to.send(message).await?;
        }
        anyhow::Ok(())
    });
    let dial = async || {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await?.0)
    };
    let (mut from, mut to) = (dial().await?, dial().await?);
    let mut took = Vec::new();
    for n in 0..count {
        let sent = Instant::now();
        from.send(order(n, 1)).await?;
        next(&mut to).await?;
        took.push(sent.elapsed().as_micros() as u64);
    }
    drop((from, to));
    serving.await??;
    tokio::task::spawn_blocking(|| syncing.join()).await?.ok().context("the syncing thread broke off")??;
    Ok(json!({"commands": count, "received_ms": latencies(took)}))
}

/// Of times in microseconds, some percentiles in milliseconds.
fn latencies(mut micros: Vec<u64>) -> Json {
    micros.sort_unstable();
    let at = |share: f64| {
        let place = (micros.len() as f64 * share) as usize;
        micros.get(place.min(micros.len().saturating_sub(1))).map_or(0.0, |micros| *micros as f64 / 1e3)
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

/// Processor time of a process so far; hundredths of a second are what Linux counts in.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: u64 =
        fields.split_ascii_whitespace().skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1_024.0)
}
