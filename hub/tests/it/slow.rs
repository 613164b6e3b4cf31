//! A viewer that stops reading harms nobody but itself, and is told what it missed (I-4, I-5).

use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::closes::memory_kib;
use crate::harness::{Role, TestHub, within};
use crate::limits::metrics;
use crate::wire::{Bystander, Peer, counted};

const BATCH: i64 = 4_000;
const BATCHES: i64 = 100;
const TOTAL: i64 = BATCH * BATCHES;

struct Told {
    readings: i64,
    omitted: i64,
    newest: i64,
}

/// Reads until every reading was said or named.
async fn read_all(viewer: &mut Peer) -> Told {
    let mut told = Told { readings: 0, omitted: 0, newest: -1 };
    while told.readings + told.omitted < TOTAL {
        let message = viewer.next_of("readings").await;
        assert_eq!(message.get("snapshot"), None);
        for point in
            message["series"].as_array().unwrap().iter().flat_map(|s| s["points"].as_array().unwrap())
        {
            told.readings += 1;
            let value = point[1].as_f64().unwrap() as i64;
            assert!(value > told.newest, "{value} after {}", told.newest);
            told.newest = value;
        }
        if let Some(omitted) = message.get("omitted") {
            let count = omitted["count"].as_i64().unwrap();
            assert!(count > 0, "{omitted}");
            assert!(omitted["from"].as_i64().unwrap() <= omitted["to"].as_i64().unwrap(), "{omitted}");
            told.omitted += count;
        }
    }
    told
}

async fn subscribed(mut viewer: Peer) -> Peer {
    viewer.say(json!({"type": "subscribe", "id": 1, "max_hz": 60})).await;
    viewer.next_of("subscribed").await;
    let snapshot = viewer.next_of("readings").await;
    assert_eq!(
        (&snapshot["snapshot"], &snapshot["series"]),
        (&json!(true), &json!([])),
        "there are none yet"
    );
    viewer
}

#[tokio::test]
async fn i_4_i_5_a_viewer_that_does_not_read_disturbs_nobody_and_is_told_what_it_missed() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.welcomed("pump").await;
    let mut bystander = Bystander::join(&hub).await;
    let mut stuck = Vec::new();
    for _ in 0..3 {
        stuck.push(subscribed(hub.narrow_viewer().await).await);
    }
    let mut reads = subscribed(hub.viewer(Role::Viewer).await.0).await;
    let reading = tokio::spawn(async move { read_all(&mut reads).await });

    let start = Instant::now();
    let mut slowest = 0.0_f64;
    for n in 0..BATCHES {
        let sent = Instant::now();
        device.say(counted(n as u64 + 1, n * BATCH, (n + 1) * BATCH - 1)).await;
        device.acked(n as u64 + 1).await;
        slowest = slowest.max(sent.elapsed().as_secs_f64());
    }
    assert!(slowest < 5.0, "an ack took {slowest} s");
    let told = within("the viewer that reads", reading).await.unwrap();
    assert_eq!(told.readings + told.omitted, TOTAL);
    assert_eq!(told.newest, TOTAL - 1);
    assert!(start.elapsed().as_secs() < 20, "the stuck viewers are not closed yet");

    for mut viewer in stuck {
        let told = read_all(&mut viewer).await;
        assert!(told.omitted > 0, "it was behind, and all {} readings came", told.readings);
        assert_eq!(told.readings + told.omitted, TOTAL, "every reading, or a notice");
        assert_eq!(told.newest, TOTAL - 1, "the newest is always told");
    }
    bystander.is_undisturbed().await;
    assert_eq!(hub.reader().stats().unwrap().readings, TOTAL as u64 + 1);
}

#[tokio::test]
async fn i_5_a_device_that_does_not_read_its_acks_disturbs_nobody() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let mut flood = hub.welcomed("flood").await;
    for seq in 1..=2_000 {
        flood.say(counted(seq, seq as i64, seq as i64)).await;
        // An unread error each, which the hub has to write.
        flood.say(Json::Null).await;
    }
    bystander.is_undisturbed().await;
    let mut errors = 0;
    let mut acked = 0;
    while errors < 2_000 || acked < 2_000 {
        let message = flood.next().await;
        match message["type"].as_str().unwrap() {
            "error" => errors += 1,
            "ack" => acked = message["seq"].as_u64().unwrap(),
            other => panic!("{other}"),
        }
    }
    bystander.is_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_5_a_viewer_that_stays_stalled_is_closed_by_name_and_twenty_others_miss_nothing() {
    const VIEWERS: usize = 20;
    const BATCH: i64 = 500;
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "[limits]\nviewer_stuck_seconds = 2\n").unwrap();
    hub.launch().await;
    let mut device = hub.welcomed("pump").await;
    let mut stalled = subscribed(hub.narrow_viewer().await).await;
    let mut healthy = Vec::new();
    for _ in 0..VIEWERS {
        healthy.push(subscribed(hub.viewer(Role::Viewer).await.0).await);
    }
    let (stop, stopped) = tokio::sync::watch::channel(None::<i64>);
    let readers: Vec<_> = healthy
        .into_iter()
        .map(|mut viewer| {
            let stopped = stopped.clone();
            tokio::spawn(async move {
                let mut heard = 0;
                while stopped.borrow().is_none_or(|total| heard < total) {
                    let message = viewer.next_of("readings").await;
                    assert_eq!(message.get("omitted"), None, "one that reads misses nothing");
                    let series = message["series"].as_array().unwrap();
                    heard += series.iter().map(|s| s["points"].as_array().unwrap().len() as i64).sum::<i64>();
                }
                heard
            })
        })
        .collect();
    let closed = "telemetry_refused_total{limit=\"viewer_stuck_seconds\"} 1";
    let mut batches = 0;
    within("the stalled viewer to be given up", async {
        while !metrics(&hub).await.contains(closed) {
            for _ in 0..20 {
                batches += 1;
                device.say(counted(batches as u64, (batches - 1) * BATCH, batches * BATCH - 1)).await;
                device.acked(batches as u64).await;
            }
        }
    })
    .await;
    // A last one, so that everybody has something to hear after it is said how much there is.
    stop.send(Some((batches + 1) * BATCH)).unwrap();
    batches += 1;
    device.say(counted(batches as u64, (batches - 1) * BATCH, batches * BATCH - 1)).await;
    device.acked(batches as u64).await;
    for reader in readers {
        assert_eq!(within("a healthy viewer", reader).await.unwrap(), batches * BATCH);
    }
    let memory = memory_kib(&hub);
    assert!(memory < 256 * 1024, "the hub has {memory} KiB");

    // It reads on at last: what was on the line, and then the reason.
    let (code, reason) = stalled.closed().await;
    assert_eq!(code, 4005);
    let expected =
        "reads too slowly: viewer_stuck_seconds is 2 (per viewer); read what comes, and try again at once";
    assert_eq!(reason, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_a_command_goes_before_readings_that_wait() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.device().await;
    device
        .say(json!({"type": "hello", "device": "pump", "epoch": "e1", "metrics": [{"name": "count"}],
            "commands": [{"name": "stop"}]}))
        .await;
    device.next_of("welcome").await;
    let mut slow = subscribed(hub.narrow_viewer().await).await;
    for n in 0..BATCHES {
        device.say(counted(n as u64 + 1, n * BATCH, (n + 1) * BATCH - 1)).await;
        device.acked(n as u64 + 1).await;
    }
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    operator.say(json!({"type": "send_command", "id": 1, "device": "pump", "name": "stop"})).await;
    assert_eq!(device.next_of("command").await["name"], "stop");

    let (mut told, mut after_it, mut is_told) = (0, 0, false);
    while told < TOTAL {
        let message = slow.next().await;
        match message["type"].as_str().unwrap() {
            "command" => is_told = true,
            "readings" => {
                let series = message["series"].as_array().unwrap();
                told += series.iter().map(|s| s["points"].as_array().unwrap().len() as i64).sum::<i64>();
                told += message.get("omitted").map_or(0, |omitted| omitted["count"].as_i64().unwrap());
                after_it += i64::from(is_told);
            }
            other => assert_eq!(other, "devices"),
        }
    }
    // Sixteen messages of readings waited to be written, besides what was not made into messages yet.
    assert!(after_it >= 12, "{after_it} messages of readings came after the command");
}
