//! From the sensor to the screen: the way of a reading, told to viewers that ask.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, until};
use crate::limits::metrics;
use crate::wire::hello;

const SECOND: i64 = 1_000_000;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

/// A batch whose last reading is of another metric, a second later.
fn batch(seq: u64, at: i64) -> Json {
    json!({"type": "readings", "seq": seq, "points": [
        {"at": at - SECOND, "values": {"count": seq}}, {"at": at, "values": {"mode": "on"}}]})
}

#[tokio::test]
async fn the_way_of_a_reading_is_told_by_the_hubs_clock_whatever_the_devices_clock_shows() {
    let hub = TestHub::process(&[]).await;
    let mut device = hub.device().await;
    // Its clock is an hour ahead, and it says so.
    let ahead = 3_600 * SECOND;
    let mut words = hello("pump");
    words["now"] = json!(now() + ahead);
    device.say(words).await;
    device.next_of("welcome").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    // A chart shows one of its metrics, which is not the last of a batch.
    let series = hub.series("pump", "count").await;
    let select = json!({"series": [series]});
    viewer.say(json!({"type": "subscribe", "id": 7, "select": select, "max_hz": 60, "traces": 2})).await;
    viewer.next_of("subscribed").await;

    let begun = now();
    // The first was measured two minutes ago: it waited in the device.
    for (seq, age) in [(1, 120 * SECOND), (2, 0)] {
        device.say(batch(seq, now() + ahead - age)).await;
        device.acked(seq).await;
        let traces = loop {
            let readings = viewer.next_of("readings").await;
            assert_eq!(readings["id"], 7);
            if let Some(traces) = readings["traces"].as_array() {
                break traces.clone();
            }
        };
        assert_eq!(traces.len(), 1, "{traces:?}");
        let time = |name: &str| traces[0][name].as_i64().unwrap();
        let stages = ["measured", "received", "committed", "sent"].map(time);
        assert!(stages.is_sorted(), "{traces:?}");
        assert!(begun <= stages[1] && stages[3] <= now(), "{traces:?}");
        let way = stages[1] - stages[0];
        assert!((age..age + 10 * SECOND).contains(&way), "{way} of {age}: {traces:?}");
    }

    // What the viewer says of it is among the metrics.
    viewer.say(json!({"type": "painted", "id": 7, "waits": [[150, 4_000], [90, 30_000]]})).await;
    until("the waits are among the metrics", async || {
        let metrics = metrics(&hub).await;
        ["telemetry_arrived_seconds_count 2", "telemetry_painted_seconds_count 2"]
            .iter()
            .all(|line| metrics.contains(line))
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_of_traces_who_did_not_ask_and_nobody_gets_too_many() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1})).await;
    viewer.next_of("subscribed").await;
    device.say(batch(1, now())).await;
    loop {
        let readings = viewer.next_of("readings").await;
        assert_eq!(readings["traces"], Json::Null);
        if readings["series"].as_array().is_some_and(|series| !series.is_empty()) {
            break;
        }
    }
    viewer.say(json!({"type": "subscribe", "id": 2, "traces": 17})).await;
    assert!(viewer.error("bad_field").await.contains("traces: 17: traces is 16 (per subscription)"));
    viewer.say(json!({"type": "painted", "id": 2, "waits": vec![[1, 1]; 513]})).await;
    assert!(viewer.error("bad_field").await.contains("waits: 513: painted_waits is 512 (per message)"));
}
