//! `/readyz` tells the truth, and HTTP has deadlines: for whoever sends slowly, and for whoever does not read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub::Config;
use hub::config::Options;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Role, TestHub, until};
use crate::wire::{Bystander, counted, http};

const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: hub\r\n\r\n";

#[tokio::test]
async fn readyz_says_why_the_hub_cannot_take_readings_in() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        listen: Some(([127, 0, 0, 1], 0).into()),
        data: Some(folder.path().to_owned()),
        ..Options::default()
    };
    let running = hub::start(Config::resolve(&options).unwrap()).await.unwrap();
    let (address, state) = (running.address, Arc::clone(running.hub()));
    let says = async |status: u16, reasons: &str| {
        let answer = http(address, READY).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(&format!("\"reasons\":[{reasons}]")), "{answer:?}");
    };
    says(200, "").await;
    // What the last commit found: with a disk that is really full, the faults of the disk see to it.
    state.metrics.storage_full.store(true, Ordering::Relaxed);
    says(503, "\"storage_full\"").await;
    state.metrics.storage_full.store(false, Ordering::Relaxed);
    says(200, "").await;
    state.failed.cancel();
    says(503, "\"storage_failed\"").await;

    // A hub that stops takes no new connections; whoever is through the door is told.
    state.stopping.cancel();
    let request = hyper::Request::get("/readyz").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let service = hyper_util::service::TowerToHyperService::new(hub::http::router(&state));
    let answer = hyper::service::Service::call(&service, request).await.unwrap();
    assert_eq!(answer.status(), 503);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert_eq!(&body[..], br#"{"ready":false,"reasons":["storage_failed","stopping"]}"#);
    until("no new connections", async || TcpStream::connect(address).await.is_err()).await;
    drop((state, service));
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_over_http_is_given_up() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "[limits]\nwrite_seconds = 1\n").unwrap();
    hub.launch().await;
    let mut bystander = Bystander::join(&hub).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut deaf = socket.connect(hub.address).await.unwrap();
    // Asks again and again, and reads nothing of what it is told.
    let token = hub.token(Role::Viewer);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n");
    let asks = async {
        loop {
            if deaf.write_all(request.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let given_up = "telemetry_refused_total{limit=\"write_seconds\"} 1";
    tokio::select! {
        () = asks => {}
        () = until("the hub to give up", async || crate::limits::metrics(&hub).await.contains(given_up)) => {}
    }
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn the_histograms_count_each_batch_each_commit_and_each_ack() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(serde_json::json!({"type": "subscribe", "id": 1})).await;
    viewer.next_of("readings").await;
    for seq in 1..=10 {
        device.say(counted(seq, seq as i64 * 10, seq as i64 * 10 + 9)).await;
        device.acked(seq).await;
        viewer.next_of("readings").await;
    }
    until("ten of each", async || {
        let metrics = crate::limits::metrics(&hub).await;
        ["ingest", "commit", "ack", "fan_out"].iter().all(|name| {
            let count = format!("telemetry_{name}_seconds_count 10");
            metrics.lines().any(|line| line == count)
        })
    })
    .await;
    let metrics = crate::limits::metrics(&hub).await;
    let sum = |name: &str| -> f64 {
        let start = format!("telemetry_{name}_seconds_sum ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    };
    assert!(sum("ack") >= sum("commit"), "an ack takes its commit, and more");
    assert!(sum("commit") > 0.0 && Duration::from_secs_f64(sum("ingest")) < Duration::from_secs(60));
}
