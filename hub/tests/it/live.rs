//! Subscriptions: a snapshot and then the tail from exactly there, and after a reconnect on from where it was.

use std::collections::HashMap;

use serde_json::{Value as Json, json};
use tokio::task::JoinHandle;

use crate::harness::{Role, TestHub, within};
use crate::wire::{Peer, START, counted, hello};

/// Readings in a batch of these tests.
const BATCH: i64 = 10;

/// Sends `count` from `from` to `to` in batches, each when the one before is acknowledged.
async fn send(device: &mut Peer, from: i64, to: i64) {
    for first in (from..=to).step_by(BATCH as usize) {
        let seq = (first / BATCH + 1) as u64;
        device.say(counted(seq, first, first + BATCH - 1)).await;
        device.acked(seq).await;
    }
}

fn send_along(mut device: Peer, from: i64, to: i64) -> JoinHandle<Peer> {
    tokio::spawn(async move {
        send(&mut device, from, to).await;
        device
    })
}

/// The values of one series in a `readings` message, whose times must fit them.
fn values(message: &Json, series: i64) -> Vec<i64> {
    let all = message["series"].as_array().unwrap();
    let points = all.iter().filter(|s| s["series"] == series).flat_map(|s| s["points"].as_array().unwrap());
    points
        .map(|point| {
            let value = point[1].as_f64().unwrap() as i64;
            assert_eq!(point[0], START + value * 1_000, "{message}");
            value
        })
        .collect()
}

/// Reads until `next` has come to be after `last`, each value once and in order. Returns the next value and position.
async fn follow(viewer: &mut Peer, series: i64, mut next: i64, last: i64) -> (i64, i64) {
    let mut position = 0;
    while next <= last {
        let message = viewer.next_of("readings").await;
        assert_eq!(message.get("snapshot"), None, "{message}");
        assert_eq!(message.get("omitted"), None, "{message}");
        for value in values(&message, series) {
            assert_eq!(value, next, "no hole, nothing twice");
            next += 1;
        }
        let now = message["position"].as_i64().unwrap();
        assert!(now >= position, "positions only grow: {message}");
        position = now;
    }
    (next, position)
}

#[tokio::test]
async fn i_3_i_4_a_subscription_is_a_snapshot_and_then_each_reading_once() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    send(&mut device, 0, 499).await;
    let series = hub.series("pump", "count").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let sending = send_along(device, 500, 2_999);
    for id in 1..=3 {
        viewer.say(json!({"type": "subscribe", "id": id, "max_hz": 60})).await;
        let subscribed = viewer.next_of("subscribed").await;
        assert_eq!((&subscribed["id"], &subscribed["resumed"]), (&json!(id), &json!(false)));
        assert_eq!(subscribed["series"], 3, "three metrics are declared");
        let snapshot = viewer.next_of("readings").await;
        assert_eq!(snapshot["snapshot"], true, "{snapshot}");
        assert_eq!(snapshot["position"], subscribed["position"]);
        let newest = values(&snapshot, series);
        assert!(newest.len() == 1 && newest[0] >= 499, "{snapshot}");
        assert_eq!(subscribed["position"].as_i64().unwrap(), newest[0] + 1, "one position a reading");
        follow(&mut viewer, series, newest[0] + 1, 2_999.min(newest[0] + 500)).await;
        viewer.say(json!({"type": "unsubscribe", "id": id})).await;
        viewer.say(json!({"type": "unsubscribe", "id": 99})).await;
        // What was on its way may still come; the answer to another request shows that all of it has.
        viewer.say(json!({"type": "commands", "id": 7})).await;
        viewer.next_of("commands").await;
    }
    within("the device", sending).await.unwrap();
}

#[tokio::test]
async fn i_4_since_goes_on_after_a_reconnect_without_a_hole_or_a_duplicate() {
    let mut hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    send(&mut device, 0, 9).await;
    let series = hub.series("pump", "count").await;
    let sending = send_along(device, 10, 1_999);
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1, "max_hz": 60})).await;
    let snapshot = viewer.next_of("readings").await;
    let mut next = values(&snapshot, series)[0] + 1;
    let mut position = snapshot["position"].as_i64().unwrap();
    // Some ten times; fewer where the viewer is so slow that it gets more at once.
    while next <= 1_999 {
        (next, position) = follow(&mut viewer, series, next, 1_999.min(next + 150)).await;
        // Without a close frame, as a connection ends in the field.
        drop(viewer);
        (viewer, _) = hub.viewer(Role::Viewer).await;
        viewer.say(json!({"type": "subscribe", "id": 1, "max_hz": 60, "since": position})).await;
        let subscribed = viewer.next_of("subscribed").await;
        assert_eq!((&subscribed["resumed"], &subscribed["position"]), (&json!(true), &json!(position)));
    }
    drop((viewer, within("the device", sending).await.unwrap()));

    // Also over a restart of the hub, and with what was stored while nobody looked.
    hub.stop().await;
    hub.start_again().await;
    send(&mut hub.welcomed("pump").await, 2_000, 2_099).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1, "since": position})).await;
    assert_eq!(viewer.next_of("subscribed").await["resumed"], true);
    follow(&mut viewer, series, next, 2_099).await;
}

#[tokio::test]
async fn since_a_position_that_never_was_begins_with_a_snapshot() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    send(&mut device, 0, 9).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1, "since": 1_000_000})).await;
    let subscribed = viewer.next_of("subscribed").await;
    assert_eq!((&subscribed["resumed"], &subscribed["position"]), (&json!(false), &json!(10)));
    assert_eq!(viewer.next_of("readings").await["snapshot"], true);
}

#[tokio::test]
async fn the_latest_of_each_series_comes_at_the_rate_that_was_asked_for_and_ends_with_the_last() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    send(&mut device, 0, 9).await;
    let series = hub.series("pump", "count").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1, "detail": "latest", "max_hz": 5})).await;
    viewer.next_of("subscribed").await;
    let sending = send_along(device, 10, 999);
    let (mut seen, mut last) = (0, -1);
    let start = std::time::Instant::now();
    while last < 999 {
        let message = viewer.next_of("readings").await;
        assert_eq!(message.get("omitted"), None, "what lies between is not wanted");
        let values = values(&message, series);
        assert_eq!(values.len(), 1, "{message}");
        assert!(values[0] > last, "{message}");
        last = values[0];
        seen += 1;
    }
    let most = 2.0 + start.elapsed().as_secs_f64() * 5.0;
    assert!(f64::from(seen) <= most, "{seen} messages, {most} at most at 5 a second");
    within("the device", sending).await.unwrap();
}

#[tokio::test]
async fn a_selection_chooses_by_pattern_and_by_series() {
    let hub = TestHub::start().await;
    for device in ["pump-1", "pump-2", "boiler-1"] {
        let mut device = hub.welcomed(device).await;
        let point = json!({"at": START, "values": {"count": 1, "open": true, "mode": "idle"}});
        device.say(json!({"type": "readings", "seq": 1, "points": [point]})).await;
        device.acked(1).await;
    }
    let open = hub.series("boiler-1", "open").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    for (select, count) in [
        (json!({}), 9),
        (json!({"devices": ["pump-*"]}), 6),
        (json!({"metrics": ["mode", "open"]}), 6),
        (json!({"devices": ["*-1"], "metrics": ["count"]}), 2),
        (json!({"devices": ["?ump-1"], "series": [open]}), 4),
        (json!({"series": [open]}), 1),
        (json!({"series": [open, 4_711]}), 1),
        (json!({"devices": ["kettle"]}), 0),
    ] {
        viewer.say(json!({"type": "subscribe", "id": 1, "select": select})).await;
        assert_eq!(viewer.next_of("subscribed").await["series"], count, "{select}");
        let snapshot = viewer.next_of("readings").await;
        assert_eq!(snapshot["snapshot"], true);
        assert_eq!(snapshot["series"].as_array().unwrap().len(), count, "{select}: {snapshot}");
    }
    viewer.say(json!({"type": "subscribe", "id": 1, "select": {"series": [open]}})).await;
    assert_eq!(
        viewer.next_of("readings").await["series"],
        json!([{"series": open, "points": [[START, true]]}])
    );
}

#[tokio::test]
async fn i_4_readings_of_devices_that_appear_later_are_not_missed() {
    const DEVICES: usize = 60;
    let hub = TestHub::start().await;
    let (mut early, _) = hub.viewer(Role::Viewer).await;
    early.say(json!({"type": "subscribe", "id": 1, "max_hz": 60})).await;
    early.next_of("subscribed").await;
    let mut joining = Vec::new();
    for n in 0..DEVICES {
        let mut device = hub.device().await;
        joining.push(tokio::spawn(async move {
            device.say(hello(&format!("pump-{n}"))).await;
            device.next_of("welcome").await;
            for seq in 1..=5 {
                device.say(counted(seq, seq as i64, seq as i64)).await;
            }
            device.acked(5).await;
        }));
    }
    // Others subscribe while the devices join, anew and from where they believe to be.
    let mut late = Vec::new();
    for n in 0..10 {
        let (mut viewer, _) = hub.viewer(Role::Viewer).await;
        let mut subscribe = json!({"type": "subscribe", "id": 1, "max_hz": 60});
        if n % 2 == 0 {
            subscribe["since"] = json!(0);
        }
        viewer.say(subscribe).await;
        late.push(viewer);
    }
    for device in joining {
        within("a device", device).await.unwrap();
    }
    let mut seen: HashMap<i64, Vec<i64>> = HashMap::new();
    while seen.values().map(Vec::len).sum::<usize>() < DEVICES * 5 {
        let message = early.next_of("readings").await;
        for series in message["series"].as_array().unwrap() {
            let series = series["series"].as_i64().unwrap();
            seen.entry(series).or_default().extend(values(&message, series));
        }
    }
    assert_eq!(seen.len(), DEVICES);
    assert!(seen.values().all(|values| *values == [1, 2, 3, 4, 5]), "{seen:?}");
    for mut viewer in late {
        let mut newest: HashMap<i64, i64> = HashMap::new();
        while newest.values().filter(|value| **value == 5).count() < DEVICES {
            let message = viewer.next_of("readings").await;
            for series in message["series"].as_array().unwrap() {
                let series = series["series"].as_i64().unwrap();
                for value in values(&message, series) {
                    let before = newest.insert(series, value);
                    assert!(before.is_none_or(|before| before + 1 == value), "{before:?} then {value}");
                }
            }
        }
    }
}

#[tokio::test]
async fn viewers_are_told_when_devices_come_and_go() {
    let hub = TestHub::start().await;
    let (mut viewer, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(devices, Vec::<Json>::new());
    let device = hub.welcomed("pump").await;
    let change = viewer.next_of("devices").await;
    assert_eq!(change.get("snapshot"), None);
    let told = &change["devices"][0];
    assert_eq!((&told["id"], &told["connected"]), (&json!("pump"), &json!(true)));
    assert_eq!(told["metrics"].as_array().unwrap().len(), 3);
    let since = told["since"].as_i64().unwrap();
    drop(device);
    let change = viewer.next_of("devices").await;
    assert_eq!(change["devices"][0]["connected"], false);
    assert!(change["devices"][0]["since"].as_i64().unwrap() >= since);
    assert!(change["devices"][0]["last_seen"].as_i64().unwrap() >= since);
}

#[tokio::test]
async fn a_connected_device_was_seen_when_it_was_last_heard() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let before = hub::clock::now();
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    let (mut viewer, devices) = hub.viewer(Role::Viewer).await;
    let seen = devices[0]["last_seen"].as_i64().unwrap();
    assert!(seen >= before.0 && devices[0]["since"].as_i64().unwrap() <= before.0, "{devices:?}");

    // A change of it, here that batches are lost, does not turn that back.
    device.say(json!({"type": "skip", "seq": 4})).await;
    device.acked(4).await;
    device.say(counted(5, 50, 59)).await;
    let change = viewer.next_of("devices").await;
    assert!(change["devices"][0]["last_seen"].as_i64().unwrap() >= seen, "{change}");
}
