//! Time and number: over tens of thousands of connections of every kind nothing stays behind, neither a descriptor nor memory.

use std::time::{Duration, Instant};

use protocol::{DEVICE_PATH, VIEWER_PATH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::line::{self, TEXT, frame};
use crate::measure::{descriptors, mib, resident};
use crate::neighbours::Neighbours;
use crate::process::Hub;
use crate::{ALONE, PATIENCE, setting, until};

/// Connections at once.
const AT_ONCE: usize = 48;
/// Devices that come and go; a device is known for ever, so there are only so many.
const DEVICES: u32 = 200;
/// How much more memory may be used at the end than when everything had been done some thousand times. Chosen: caches go on
/// filling for a while; what leaks a kilobyte a connection is far above in the long form.
const GROWTH_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Descriptors may differ by this: readers of the database come and go.
const SWAY_DESCRIPTORS: usize = 8;

/// Connects, does one of some things, and goes, in order or not.
async fn come_and_go(n: u32, to: std::net::SocketAddr, fleet: &str, viewer: &str) -> std::io::Result<()> {
    let device = format!("visitor-{}", n % DEVICES);
    match n % 8 {
        // A device that says goodbye.
        0 | 1 => {
            let mut stream = line::welcomed(n, to, fleet, &device).await?;
            stream.write_all(&frame(0x88, &1000_u16.to_be_bytes())).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
        // One that sends something and vanishes without reading the answer.
        2 => {
            let mut stream = line::welcomed(n, to, fleet, &device).await?;
            let batch = format!(
                "{{\"type\":\"readings\",\"seq\":1,\"points\":[{{\"at\":{n},\"values\":{{\"count\":1}}}}]}}"
            );
            stream.write_all(&frame(TEXT, batch.as_bytes())).await?;
            stream.readable().await?;
        }
        // One that vanishes before hello.
        3 => {
            let mut stream = line::dial(n, to, false).await?;
            line::upgrade(&mut stream, DEVICE_PATH, fleet).await?;
        }
        // A viewer that subscribes and vanishes with the answers unread.
        4 => {
            let mut stream = line::dial(n, to, false).await?;
            line::upgrade(&mut stream, VIEWER_PATH, viewer).await?;
            stream.write_all(&frame(TEXT, br#"{"type":"subscribe","id":1}"#)).await?;
            stream.readable().await?;
        }
        // A question over HTTP.
        5 => {
            let mut stream = line::dial(n, to, false).await?;
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        // Half a request, and gone.
        6 => {
            let mut stream = line::dial(n, to, false).await?;
            stream.write_all(b"GET /v1/device HTTP/1.1\r\nHost").await?;
        }
        // A violation, answered with a close frame.
        _ => {
            let mut stream = line::welcomed(n, to, fleet, &device).await?;
            stream.write_all(&frame(0x83, b"{}")).await?;
            stream.read_to_end(&mut Vec::new()).await?;
        }
    }
    Ok(())
}

/// So many connections come and go.
async fn visit(hub: &Hub, from: u32, to: u32) {
    let mut tasks = JoinSet::new();
    for n in from..to {
        if tasks.len() >= AT_ONCE {
            tasks.join_next().await.unwrap().unwrap();
        }
        let (address, fleet, viewer) = (hub.address, hub.fleet_token(), hub.viewer_token());
        tasks.spawn(async move {
            // Two visitors may be one device, of whom the newer wins: then the line of the older breaks.
            if let Err(error) = come_and_go(n, address, &fleet, &viewer).await {
                assert!(n % 8 != 5, "healthz: {error}");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_connections_no_descriptor_and_no_memory_stays_behind() {
    let _alone = ALONE.lock().await;
    let connections = setting("SOAK_CONNECTIONS", 4_000) as u32;
    let minutes = setting("SOAK_MINUTES", 0);
    let mut hub = Hub::start("");
    println!("{connections} connections; memory of the hub: {}", hub.bound.kept_by());
    let neighbours = Neighbours::move_in(&hub, 10).await;
    let step = connections / 10;
    // Whatever is allocated once is there after these.
    visit(&hub, 0, 2 * step).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (files, memory) = (descriptors(hub.id()), resident(hub.id()));
    println!("after {} connections: {files} descriptors, {:.1} MiB", 2 * step, mib(memory));
    let start = Instant::now();
    for tenth in 2..10 {
        visit(&hub, tenth * step, (tenth + 1) * step).await;
        let memory = mib(resident(hub.id()));
        println!(
            "after {} connections: {} descriptors, {memory:.1} MiB",
            (tenth + 1) * step,
            descriptors(hub.id())
        );
        hub.is_well();
    }
    println!("{:.0} connections a second", f64::from(8 * step) / start.elapsed().as_secs_f64());
    // The neighbours go on by themselves, with some visitors.
    let mut n = 10 * step;
    for minute in 0..minutes {
        let until = Instant::now() + Duration::from_mins(1);
        while Instant::now() < until {
            visit(&hub, n, n + 50).await;
            n += 50;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        println!(
            "minute {}: {} descriptors, {:.1} MiB",
            minute + 1,
            descriptors(hub.id()),
            mib(resident(hub.id()))
        );
        hub.is_well();
    }
    let fared = neighbours.fare("visitors").await;
    println!(
        "the neighbours' acks: p99 {:.1} ms, worst {:.1} ms, {} readings",
        fared.p99_ms, fared.worst_ms, fared.readings
    );
    until("the descriptors to be given back", PATIENCE, || descriptors(hub.id()) <= files + SWAY_DESCRIPTORS)
        .await;
    let grown = resident(hub.id()).saturating_sub(memory);
    println!("in the end: {} descriptors, {:.1} MiB more", descriptors(hub.id()), mib(grown));
    assert!(grown < GROWTH_MAX_BYTES, "{:.1} MiB more", mib(grown));
    let readings = neighbours.move_out().await;
    println!("the neighbours' {readings} readings are acknowledged and shown, each on one connection");
    hub.is_well();
}
