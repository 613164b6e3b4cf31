//! Peers that vanish without a word: behind a line that swallows everything, either side notices by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use client::viewer::{ViewerClient, ViewerConfig, ViewerEvent};
use client::{BackoffConfig, Endpoint};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::{Role, TestHub, until};
use crate::wire::hello;

/// A line between a hub and whoever dials it, which can be made to swallow whatever is sent, and to keep silent about it.
struct Line {
    address: std::net::SocketAddr,
    hole: watch::Sender<bool>,
    dialled: Arc<AtomicUsize>,
}

impl Line {
    async fn to(hub: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (hole, swallows) = watch::channel(false);
        let dialled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dialled);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                if *swallows.borrow() {
                    // Accepted, and never heard of again.
                    tokio::spawn(carry_all(near, None, swallows.clone()));
                    continue;
                }
                let far = TcpStream::connect(hub).await.unwrap();
                tokio::spawn(carry_all(near, Some(far), swallows.clone()));
            }
        });
        Self { address, hole, dialled }
    }

    fn dialled(&self) -> usize {
        self.dialled.load(Ordering::Relaxed)
    }
}

async fn carry_all(near: TcpStream, far: Option<TcpStream>, swallows: watch::Receiver<bool>) {
    let Some(far) = far else {
        let _kept_open = near;
        return std::future::pending().await;
    };
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::join!(carry(near_in, far_out, swallows.clone()), carry(far_in, near_out, swallows));
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut swallows: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 4_096];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            _ = swallows.wait_for(|hole| *hole) => break,
        };
        let Ok(count @ 1..) = read else { return };
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // No end, no reset: both sides hear nothing any more.
    let _kept_open = (from, to);
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_behind_a_black_hole_is_noticed_by_the_hub_and_the_hub_by_device_and_viewer() {
    let hub = TestHub::process(&["--heartbeat-seconds", "1"]).await;
    let (near, far) = (Line::to(hub.address).await, Line::to(hub.address).await);
    let backoff = BackoffConfig {
        base: Duration::from_millis(20),
        cap: Duration::from_millis(200),
        ..BackoffConfig::default()
    };
    let endpoint =
        |line: &Line, role| Endpoint::new(&format!("ws://{}", line.address), &hub.token(role)).unwrap();
    let config = client::device::DeviceConfig {
        endpoint: endpoint(&near, Role::Fleet),
        ..hub.device_config(serde_json::from_value(hello("pump")).unwrap())
    };
    let (device, _events) = client::device::DeviceClient::spawn(config).unwrap();
    let (events, mut heard) = tokio::sync::mpsc::channel(1_024);
    let config = ViewerConfig { backoff, ..ViewerConfig::new(endpoint(&far, Role::Viewer)) };
    let viewer = ViewerClient::spawn(config, events);
    tokio::spawn(async move { while let Some(ViewerEvent::Connecting { .. } | _) = heard.recv().await {} });

    let sessions = |role: &str, count: u64| {
        let line = format!("telemetry_sessions{{role=\"{role}\"}} {count}");
        let hub = &hub;
        async move { crate::limits::metrics(hub).await.lines().any(|l| l == line) }
    };
    until("both to be there", async || sessions("fleet", 1).await && sessions("viewer", 1).await).await;
    let before = (near.dialled(), far.dialled());
    assert_eq!(before, (1, 1));

    // With the shortest heartbeat the hub has 4 seconds, and they have 3.
    near.hole.send(true).unwrap();
    far.hole.send(true).unwrap();
    until("the hub to notice", async || sessions("fleet", 0).await && sessions("viewer", 0).await).await;
    until("device and viewer to notice", async || near.dialled() > before.0 && far.dialled() > before.1)
        .await;
    let (mut other, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(devices[0]["connected"], false, "{devices:?}");
    other.say(json!({"type": "connections", "id": 1, "device": "pump"})).await;
    let answer = other.next_of("connections").await;
    assert_eq!(answer["connections"][0]["end"]["code"], 4004, "{answer}");
    drop((device, viewer));
}
