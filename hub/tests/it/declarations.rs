//! Hello: what a device may declare, as whom, and that it has one session (I-13).

use protocol::{DEVICE_PATH, limits};
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, stdout};
use crate::wire::{Bystander, Heard, counted, hello, series_in};

#[tokio::test]
async fn i_13_a_newer_session_of_a_device_closes_the_older_with_4000() {
    let hub = TestHub::start().await;
    let mut older = hub.welcomed("pump").await;
    older.say(counted(1, 1, 1)).await;
    older.acked(1).await;
    let mut newer = hub.device().await;
    newer.say(hello("pump")).await;
    assert_eq!(newer.next().await["acked_seq"], 1);
    let (code, reason) = older.closed().await;
    assert_eq!((code, reason.as_str()), (4000, "another connection of this device took over"));
    newer.say(counted(2, 2, 2)).await;
    newer.acked(2).await;
    // The end of the older session does not make the device look offline.
    let (_, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(devices[0]["connected"], true);
}

#[tokio::test]
async fn i_13_batches_of_two_sessions_of_one_device_are_stored_once() {
    let hub = TestHub::start().await;
    let mut older = hub.welcomed("pump").await;
    for seq in 1..=100 {
        older.say(counted(seq, seq as i64, seq as i64)).await;
    }
    let mut newer = hub.device().await;
    newer.say(hello("pump")).await;
    let acked = newer.next_of("welcome").await["acked_seq"].as_u64().unwrap();
    for seq in acked + 1..=120 {
        newer.say(counted(seq, seq as i64, seq as i64)).await;
    }
    // The older session may have settled some in between: then those here are duplicates, which is as good.
    let mut settled = acked;
    while settled < 120 {
        let answer = newer.answer().await;
        if answer["type"] == "ack" {
            settled = answer["seq"].as_u64().unwrap();
        } else {
            assert_eq!(answer["code"], "out_of_order", "{answer}");
            for seq in answer["seq"].as_u64().unwrap()..=120 {
                newer.say(counted(seq, seq as i64, seq as i64)).await;
            }
        }
    }
    assert_eq!(hub.reader().stats().unwrap().readings, 120);
}

#[tokio::test]
async fn a_first_message_that_is_no_valid_hello_closes_with_4001_and_says_why() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let long = "x".repeat(65);
    let many: Vec<Json> = (0..=limits::METRICS_MAX).map(|n| json!({"name": format!("m{n}")})).collect();
    for (first, place) in [
        (json!("hello"), "not a message"),
        (json!({"type": "readings", "seq": 1, "points": []}), "hello"),
        (json!({"type": "hallo"}), "hallo"),
        (json!({"type": "hello", "device": "pump"}), "epoch"),
        (json!({"type": "hello", "epoch": "1"}), "device"),
        (json!({"type": "hello", "device": "", "epoch": "1"}), "hello"),
        (json!({"type": "hello", "device": "a b", "epoch": "1"}), "a b"),
        (json!({"type": "hello", "device": long, "epoch": "1"}), "64"),
        (json!({"type": "hello", "device": "pump", "epoch": long}), "40"),
        (json!({"type": "hello", "device": "pump", "epoch": "1", "model": "x".repeat(257)}), "model"),
        (
            json!({"type": "hello", "device": "pump", "epoch": "1", "metrics": [{"name": "a", "kind": "int"}]}),
            "int",
        ),
        (
            json!({"type": "hello", "device": "pump", "epoch": "1", "metrics": [{"name": "a"}, {"name": "a"}]}),
            "a",
        ),
        (
            json!({"type": "hello", "device": "pump", "epoch": "1", "metrics": [{"name": "a", "min": 2, "max": 1}]}),
            "min",
        ),
        (json!({"type": "hello", "device": "pump", "epoch": "1", "metrics": many}), "256"),
        (
            json!({"type": "hello", "device": "pump", "epoch": "1", "commands": [{"name": "go", "timeout": 0}]}),
            "timeout",
        ),
        (
            json!({"type": "hello", "device": "pump", "epoch": "1",
                "commands": [{"name": "go", "params": [{"name": "how", "kind": "text", "choices": ["a"], "default": "b"}]}]}),
            "default",
        ),
    ] {
        let mut device = hub.device().await;
        device.say(first.clone()).await;
        let (code, reason) = device.closed().await;
        assert_eq!(code, 4001, "{first}: {reason}");
        assert!(reason.contains(place), "{first}: {reason}");
        bystander.is_undisturbed().await;
    }
    let mut device = hub.device().await;
    device.say_text("{not json").await;
    assert_eq!(device.closed().await.0, 4001);
}

#[tokio::test]
async fn the_least_hello_is_enough() {
    let hub = TestHub::start().await;
    let mut device = hub.device().await;
    device.say(json!({"type": "hello", "device": "pump-07", "epoch": "1"})).await;
    assert_eq!(device.next().await["type"], "welcome");
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    device.acked(1).await;
}

#[tokio::test]
async fn a_metric_keeps_its_kind() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    let mut device = hub.device().await;
    device.say(json!({"type": "hello", "device": "pump", "epoch": "e1", "metrics": [{"name": "count", "kind": "text"}]})).await;
    let (code, reason) = device.closed().await;
    assert_eq!(code, 4001, "{reason}");
    assert!(reason.contains("count"), "{reason}");
}

#[tokio::test]
async fn what_a_device_declares_no_more_is_refused_and_keeps_its_history() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    let series = hub.series("pump", "count").await;
    let mut device = hub.device().await;
    device.say(json!({"type": "hello", "device": "pump", "epoch": "e1", "metrics": [{"name": "mode", "kind": "text"}]})).await;
    assert_eq!(device.next().await["type"], "welcome");
    device.say(counted(2, 2, 2)).await;
    assert_eq!(device.answer().await["code"], "unknown_metric");
    let (mut viewer, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(series_in(&devices, "pump", "count"), series);
    viewer.say(json!({"type": "history", "id": 1, "series": series, "from": 0, "to": 4_102_444_800_000_000_i64, "step": "raw"})).await;
    assert_eq!(viewer.next_of("history").await["points"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn i_12_a_token_of_one_device_is_not_good_for_another() {
    let hub = TestHub::process(&[]).await;
    let added = hub.cli(&["device", "add", "pump"]).await;
    assert!(added.status.success());
    let token = stdout(&added).trim().to_owned();
    let mut wrong = hub.dial(DEVICE_PATH, &token).await;
    wrong.say(hello("boiler")).await;
    assert_eq!(wrong.closed().await, (4007, "credential is for another device: pump, not boiler".to_owned()));
    let mut right = hub.dial(DEVICE_PATH, &token).await;
    right.say(hello("pump")).await;
    assert!(matches!(right.hear().await, Heard::Message(welcome) if welcome["type"] == "welcome"));
    let (_, devices) = hub.viewer(Role::Viewer).await;
    assert!(devices.iter().all(|device| device["id"] != "boiler"), "nothing of the refused hello is kept");
}
