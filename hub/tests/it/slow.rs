//! A viewer that stops reading harms nobody but itself, and is told what it missed (I-4, I-5).

use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, within};
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
    assert!(start.elapsed().as_secs() < 30, "the stuck viewers are not closed yet");

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
