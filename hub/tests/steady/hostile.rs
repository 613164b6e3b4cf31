//! Peers that mean harm, beside neighbours that do not: what each costs the hub, and that it costs the others nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use protocol::{DEVICE_PATH, VIEWER_PATH};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::line::{self, BEGIN, Ended, GO_ON, PING, TEXT, frame};
use crate::measure::{Watch, mib, resident};
use crate::neighbours::Neighbours;
use crate::process::Hub;
use crate::{ALONE, setting};

/// Memory that one connection may cost the hub, whatever it does.
const CONNECTION_MAX_BYTES: u64 = 1024 * 1024;
/// The same of a viewer that is sent much and takes nothing, until it is closed: messages that wait for it, and readings that
/// wait to become messages.
const VIEWER_MAX_BYTES: u64 = 6 * 1024 * 1024;
/// What the neighbours' own readings may move the hub's memory by meanwhile: caches of the database fill, buffers come and go.
const SWAY_BYTES: u64 = 12 * 1024 * 1024;
/// Attackers of one kind at once.
const ATTACKERS: u32 = 12;
/// How much later than its deadline the hub may close what does not come to an end.
const LATE: Duration = Duration::from_secs(5);

/// Who is at the other end of an attack.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    fleet: String,
    viewer: String,
}

impl Target {
    /// In turn: a device that said hello, one that has not, a viewer. With little room for what the hub says.
    async fn connect(&self, n: u32) -> TcpStream {
        let mut stream = line::dial(n, self.address, true).await.unwrap();
        let (path, token) = if n % 3 == 2 { (VIEWER_PATH, &self.viewer) } else { (DEVICE_PATH, &self.fleet) };
        line::upgrade(&mut stream, path, token).await.unwrap();
        if n.is_multiple_of(3) {
            stream.write_all(&line::hello(&format!("hostile-{n}"))).await.unwrap();
        }
        stream
    }

    async fn device(&self, n: u32) -> TcpStream {
        line::welcomed(n, self.address, &self.fleet, &format!("hostile-{n}")).await.unwrap()
    }
}

/// What goes over the line of one attacker, in pieces, of which each is repeated.
struct Attack {
    name: &'static str,
    /// What comes first.
    first: Vec<u8>,
    /// What is sent again and again, as many frames in one piece as fit well.
    piece: Vec<u8>,
    frames: u64,
    /// Frames of all attackers together.
    total: u64,
    devices_only: bool,
}

/// Runs an attack. Returns how it ended for each attacker, and the memory that it cost.
async fn run(attack: Attack, target: &Target, hub: &mut Hub, neighbours: &Neighbours) {
    let before = resident(hub.id());
    let watch = Watch::start(hub.id());
    let start = Instant::now();
    let times = (attack.total / u64::from(ATTACKERS)).div_ceil(attack.frames);
    let mut tasks = JoinSet::new();
    for n in 0..ATTACKERS {
        let (target, first, piece) = (target.clone(), attack.first.clone(), attack.piece.clone());
        let devices_only = attack.devices_only;
        tasks.spawn(async move {
            let mut stream = if devices_only { target.device(n).await } else { target.connect(n).await };
            let mut sent = 0;
            let mut end = Ended::Taken;
            if !first.is_empty()
                && let Err(ended) = line::pour(&mut stream, &first).await
            {
                end = ended;
            }
            while sent < times && end == Ended::Taken {
                match line::pour(&mut stream, &piece).await {
                    Ok(()) => sent += 1,
                    Err(ended) => end = ended,
                }
            }
            (line::ended(stream, end).await, sent)
        });
    }
    let (mut ends, mut pieces) = (BTreeMap::<Ended, u32>::new(), 0);
    while let Some(ended) = tasks.join_next().await {
        let (end, sent) = ended.unwrap();
        *ends.entry(end).or_default() += 1;
        pieces += sent;
    }
    let grown = watch.most().saturating_sub(before);
    let fared = neighbours.fare(attack.name).await;
    println!(
        "{}: {} frames taken of {} in {:.1} s from {ATTACKERS} connections; memory {:.1} -> {:.1} MiB at most; {ends:?}; the neighbours' acks: p99 {:.1} ms, worst {:.1} ms",
        attack.name,
        pieces * attack.frames,
        attack.total,
        start.elapsed().as_secs_f64(),
        mib(before),
        mib(before + grown),
        fared.p99_ms,
        fared.worst_ms,
    );
    let allowed = u64::from(ATTACKERS) * CONNECTION_MAX_BYTES + SWAY_BYTES;
    assert!(grown < allowed, "{}: {:.1} MiB more", attack.name, mib(grown));
    hub.is_well();
}

fn repeated(one: &[u8], frames: u64) -> Vec<u8> {
    one.repeat(frames as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_5_floods_cost_only_whoever_floods() {
    let _alone = ALONE.lock().await;
    let mut hub = Hub::start("");
    println!("memory of the hub: {}", hub.bound.kept_by());
    let target = Target { address: hub.address, fleet: hub.fleet_token(), viewer: hub.viewer_token() };
    let neighbours = Neighbours::move_in(&hub, 10).await;
    // What is allocated once, and kept, is there before it is measured.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let attack = |name, first: &[u8], one: &[u8], frames, total| Attack {
        name,
        first: first.to_vec(),
        piece: repeated(one, frames),
        frames,
        total,
        devices_only: false,
    };
    let pings = setting("HOSTILE_PINGS", 120_000);
    let fragments = setting("HOSTILE_FRAGMENTS", 60_000);
    let empty = setting("HOSTILE_EMPTY", 120_000);
    let words = setting("HOSTILE_WORDS", 60_000);
    let all = [
        attack("pings that nobody reads the answers of", b"", &frame(PING, &[b'p'; 125]), 500, pings),
        attack("fragments of one byte", &frame(BEGIN, b"{"), &frame(GO_ON, b" "), 500, fragments),
        attack("empty fragments", &frame(BEGIN, b"{"), &frame(GO_ON, b""), 1_000, empty),
        attack("empty messages", b"", &frame(TEXT, b""), 1_000, empty),
        attack("words that are no messages", b"", &frame(TEXT, b"[1,2"), 500, words),
        Attack {
            devices_only: true,
            ..attack(
                "large messages that are none",
                b"",
                &frame(
                    TEXT,
                    format!("{{\"type\":\"readings\",\"points\":[{}", " ".repeat(200_000)).as_bytes(),
                ),
                1,
                words / 100,
            )
        },
    ];
    for attack in all {
        run(attack, &target, &mut hub, &neighbours).await;
    }
    garbage(&target, words / 60).await;
    hub.is_well();
    let readings = neighbours.move_out().await;
    if let Some(most) = hub.bound.used_most() {
        println!(
            "the neighbours' {readings} readings are stored; most memory of all: {:.1} MiB with page cache",
            mib(most)
        );
    }
    hub.is_well();
}

/// Connections that say something that is neither HTTP nor TLS, and do not wait for the answer.
async fn garbage(target: &Target, connections: u64) {
    let mut tasks = JoinSet::new();
    for n in 0..connections as u32 {
        let address = target.address;
        tasks.spawn(async move {
            let mut stream = line::dial(n, address, false).await.unwrap();
            let bytes: Vec<u8> = (0..512).map(|_| rand::random()).collect();
            // It may be closed already.
            drop(stream.write_all(&bytes).await);
        });
        if tasks.len() >= 64 {
            tasks.join_next().await.unwrap().unwrap();
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_are_closed_by_their_deadlines_and_good_clients_connect_meanwhile() {
    let _alone = ALONE.lock().await;
    let count = setting("HOSTILE_HALF", 600) as u32;
    let deadline = Duration::from_secs(setting("HOSTILE_DEADLINE", 2));
    let connect_max = Duration::from_millis(setting("HOSTILE_CONNECT_MS", 2_000));
    let seconds = deadline.as_secs();
    let mut hub =
        Hub::start(&format!("[limits]\nrequest_head_seconds = {seconds}\nhello_seconds = {seconds}\n"));
    let neighbours = Neighbours::move_in(&hub, 5).await;
    let (address, token) = (hub.address, hub.fleet_token());
    let whole = line::request(DEVICE_PATH, &token);
    let before = resident(hub.id());
    let watch = Watch::start(hub.id());
    let mut strangers = JoinSet::new();
    for n in 0..count {
        // Nothing; one letter; half a head; a head whose last line is missing; an upgrade without the hello after it.
        let said = match n % 5 {
            0 => String::new(),
            1 => "G".into(),
            2 => whole[..whole.len() / 2].to_owned(),
            3 => whole[..whole.len() - 2].to_owned(),
            _ => whole.clone(),
        };
        strangers.spawn(async move {
            let mut stream = line::dial(n, address, true).await.unwrap();
            let start = Instant::now();
            stream.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            // A reset is an end as well.
            drop(stream.read_to_end(&mut heard).await);
            start.elapsed()
        });
    }
    // Meanwhile good clients come, one after the other.
    let mut connects = Vec::new();
    let mut last = Duration::ZERO;
    let mut closed = 0;
    let mut open: u32 = 0;
    let mut knock = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            ended = strangers.join_next() => match ended {
                Some(ended) => {
                    last = last.max(ended.unwrap());
                    closed += 1;
                }
                None => break,
            },
            _ = knock.tick() => {
                let start = Instant::now();
                let stream = line::welcomed(open, address, &token, "good").await.unwrap();
                connects.push(start.elapsed());
                open += 1;
                drop(stream);
            }
        }
    }
    connects.sort();
    let p99 = connects[connects.len() * 99 / 100];
    let grown = watch.most().saturating_sub(before);
    let fared = neighbours.fare("half handshakes").await;
    println!(
        "half handshakes: {closed} closed, the last {:.1} s after it began (deadline {seconds} s); {} good clients connected and were welcomed meanwhile: median {:.1} ms, p99 {:.1} ms, worst {:.1} ms; {:.1} KiB of memory each; the neighbours' acks: p99 {:.1} ms; memory: {}",
        last.as_secs_f64(),
        connects.len(),
        connects[connects.len() / 2].as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        connects[connects.len() - 1].as_secs_f64() * 1e3,
        grown as f64 / 1024.0 / f64::from(count),
        fared.p99_ms,
        hub.bound.kept_by(),
    );
    assert_eq!(closed, count);
    assert!(last < deadline + LATE, "closed after {last:?}");
    assert!(p99 < connect_max, "a good client waited for {p99:?}");
    assert!(grown < u64::from(count) * CONNECTION_MAX_BYTES / 8 + SWAY_BYTES, "{:.1} MiB", mib(grown));
    neighbours.move_out().await;
    hub.is_well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_5_viewers_that_never_read_cost_a_bounded_amount_and_are_closed() {
    // Beside the others: most of its time it waits for the hub to give up on them.
    let count = setting("HOSTILE_VIEWERS", 12) as u32;
    let mut hub = Hub::start("");
    let neighbours = Neighbours::move_in(&hub, 10).await;
    let talker = talk(&hub);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident(hub.id());
    let watch = Watch::start(hub.id());
    let start = Instant::now();
    let subscribe = json!({"type": "subscribe", "id": 1, "max_hz": 60}).to_string();
    let history =
        json!({"type": "history", "id": 2, "series": 1, "from": 0, "to": 4_000_000_000_000_000_i64, "step": "raw"})
            .to_string();
    let mut stuck = JoinSet::new();
    for n in 0..count {
        let (address, token) = (hub.address, hub.viewer_token());
        let mut said = frame(TEXT, subscribe.as_bytes());
        // Some also ask for much that they do not take.
        if n % 2 == 1 {
            said.extend(frame(TEXT, history.as_bytes()).repeat(200));
        }
        stuck.spawn(async move {
            let mut stream = line::dial(n, address, true).await.unwrap();
            line::upgrade(&mut stream, VIEWER_PATH, &token).await.unwrap();
            line::pour(&mut stream, &said).await.unwrap_or_default();
            // Until the hub has given up: then nothing can be written any more.
            while line::pour(&mut stream, &frame(PING, b"")).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    let all = async { while stuck.join_next().await.is_some() {} };
    let closed = tokio::time::timeout(Duration::from_secs(60), all).await.is_ok();
    let grown = watch.most().saturating_sub(before);
    let fared = neighbours.fare("viewers that never read").await;
    talker.abort();
    println!(
        "viewers that never read: {count}, all closed after {:.1} s; memory {:.1} -> {:.1} MiB at most; the neighbours' acks: p99 {:.1} ms, worst {:.1} ms",
        start.elapsed().as_secs_f64(),
        mib(before),
        mib(before + grown),
        fared.p99_ms,
        fared.worst_ms,
    );
    assert!(closed, "some are still open: {}", hub.log());
    assert!(grown < u64::from(count) * VIEWER_MAX_BYTES + SWAY_BYTES, "{:.1} MiB", mib(grown));
    neighbours.move_out().await;
    hub.is_well();
}

/// A device with much to say: some 40 000 readings a second for some seconds, which is more than waits for any viewer.
fn talk(hub: &Hub) -> tokio::task::JoinHandle<()> {
    let config = crate::neighbours::device(&format!("ws://{}", hub.address), &hub.fleet_token(), "talker");
    tokio::spawn(async move {
        let (device, mut events) = client::device::DeviceClient::spawn(config).unwrap();
        let mut at = 1_767_225_600_000_000;
        let mut again = tokio::time::interval(Duration::from_millis(25));
        let end = Instant::now() + Duration::from_secs(6);
        loop {
            tokio::select! {
                _ = again.tick(), if Instant::now() < end => {
                    let points = crate::neighbours::points(&mut at, 1_000);
                    if device.push(points).await.is_err() {
                        return;
                    }
                }
                event = events.recv() => if event.is_none() { return },
            }
        }
    })
}
