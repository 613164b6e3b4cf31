//! An orderly stop (I-15): everyone is told, everything taken is stored and acknowledged, and it does not take long.

use std::time::{Duration, Instant};

use protocol::{DEVICE_PATH, DeviceId, VIEWER_PATH};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Role, TestHub, until, within};
use crate::wire::{Heard, Peer, Raw, counted};

/// Batches that a device of this test has on the way.
const WINDOW: u64 = 64;

/// Sends as fast as it can until it is closed. Returns the last batch acknowledged.
fn flood(mut device: Peer) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let (mut sent, mut acked) = (0, 0);
        loop {
            if sent - acked < WINDOW {
                sent += 1;
                device.say(counted(sent, sent as i64 * 20, sent as i64 * 20 + 19)).await;
                continue;
            }
            match device.hear().await {
                Heard::Message(message) => {
                    assert_eq!(message["type"], "ack", "{message}");
                    acked = message["seq"].as_u64().unwrap();
                }
                Heard::Closed(code, reason) => {
                    assert_eq!((code, reason.as_str()), (1001, "going away"));
                    return acked;
                }
                Heard::Gone => panic!("not closed in order"),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_15_on_sigterm_at_full_load_everyone_is_told_1001_and_what_was_acknowledged_is_stored() {
    let mut hub = TestHub::process(&[]).await;
    let mut floods = Vec::new();
    for n in 0..6 {
        floods.push(flood(hub.welcomed(&format!("pump-{n}")).await));
    }
    let mut idle = hub.welcomed("idle").await;
    let mut before_hello = hub.device().await;
    let (mut viewer, _) = hub.viewer(Role::Operator).await;
    viewer.say(json!({"type": "subscribe", "id": 1})).await;
    let viewer = tokio::spawn(async move { viewer.closed().await });
    until("some load", async || hub.reader().stats().unwrap().readings > 20_000).await;

    let start = Instant::now();
    hub.terminate();
    let mut acked = Vec::new();
    for flood in floods {
        acked.push(within("a device to be closed", flood).await.unwrap());
    }
    assert_eq!(idle.closed().await.0, 1001);
    assert_eq!(before_hello.closed().await.0, 1001);
    assert_eq!(within("the viewer to be closed", viewer).await.unwrap().0, 1001);
    let (status, log) = hub.ended().await;
    let took = start.elapsed();
    assert!(status.success(), "{status}: {log}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(!log.contains("ERROR"), "{log}");
    for (n, acked) in acked.into_iter().enumerate() {
        let ledger = hub.reader().ledger(&DeviceId::new(&format!("pump-{n}")).unwrap()).unwrap();
        assert_eq!(ledger[0].last_seq.0, acked, "all that was taken is acknowledged, and nothing else");
        assert_eq!(ledger[0].readings, acked * 20);
    }
    let wal = std::fs::metadata(hub.data().join("telemetry.db-wal")).map_or(0, |file| file.len());
    assert_eq!(wal, 0, "the write-ahead log was taken into the file");
}

#[tokio::test]
async fn i_15_peers_that_do_nothing_do_not_hold_up_the_stop() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    // A viewer that is stuck, with more on its way to it than its line holds.
    let mut stuck = hub.narrow_viewer().await;
    stuck.say(json!({"type": "subscribe", "id": 1, "max_hz": 60})).await;
    stuck.next_of("subscribed").await;
    for seq in 1..=100 {
        device.say(counted(seq, seq as i64 * 4_000, seq as i64 * 4_000 + 3_999)).await;
        device.acked(seq).await;
    }
    // Half a request, an idle connection, an upgrade that says nothing, and peers that never answer a close frame.
    let mut half = TcpStream::connect(hub.address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    let mut idle = TcpStream::connect(hub.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    within("an answer", idle.read_u8()).await.unwrap();
    let untouched = TcpStream::connect(hub.address).await.unwrap();
    let silent = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    let deaf = Raw::connect(&hub, VIEWER_PATH, Role::Viewer).await;

    let start = Instant::now();
    hub.terminate();
    assert_eq!(device.closed().await.0, 1001);
    assert!(start.elapsed() < Duration::from_secs(2), "one that does answer is not kept waiting");
    let (status, log) = hub.ended().await;
    let took = start.elapsed();
    assert!(status.success(), "{status}: {log}");
    assert!(took < Duration::from_secs(5), "it took {took:?}: {log}");
    drop((stuck, half, idle, untouched, silent, deaf));
}

#[tokio::test]
async fn i_15_a_stop_right_after_the_start_is_in_order_too() {
    let mut hub = TestHub::nowhere(&[]);
    for _ in 0..10 {
        hub.launch().await;
        hub.terminate();
        let (status, log) = hub.ended().await;
        assert!(status.success(), "{status}: {log}");
    }
}

#[tokio::test]
async fn a_hub_that_was_stopped_or_killed_starts_again_and_has_everything() {
    let mut hub = TestHub::process(&[]).await;
    for round in 1..=3 {
        let mut device = hub.device().await;
        device.say(crate::wire::hello("pump")).await;
        assert_eq!(device.next_of("welcome").await["acked_seq"], (round - 1) * 2);
        for seq in round * 2 - 1..=round * 2 {
            device.say(counted(seq, seq as i64, seq as i64)).await;
            device.acked(seq).await;
        }
        if round == 2 {
            hub.kill().await;
        } else {
            hub.stop().await;
        }
        hub.launch().await;
    }
    assert_eq!(hub.reader().stats().unwrap().readings, 6);
}
