//! Readings that came late and batches that were lost are told to viewers, and the order in which they came does not
//! matter.

use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub};
use crate::wire::{Peer, START, counted};

const MILLI: i64 = 1_000;

/// What the next change of a device that says something of it says of late and lost readings.
async fn told(viewer: &mut Peer) -> Vec<Json> {
    loop {
        let devices = viewer.next_of("devices").await;
        if let Some(told) = devices["devices"][0]["late_or_lost"].as_array() {
            return told.clone();
        }
    }
}

#[tokio::test]
async fn readings_that_came_late_and_batches_that_were_lost_are_told_to_viewers() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    // All of it was measured long before the connection.
    device.say(counted(1, 0, 9)).await;
    device.acked(1).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    device.say(json!({"type": "skip", "seq": 4})).await;
    device.acked(4).await;
    device.say(counted(5, 50, 59)).await;
    device.acked(5).await;
    let lost = told(&mut viewer).await;
    let (from, to) = (START + 9 * MILLI, START + 50 * MILLI);
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!((&lost[0]["what"], &lost[0]["batches"]), (&json!("lost"), &json!(3)));
    assert_eq!((&lost[0]["from"], &lost[0]["to"]), (&json!(from), &json!(to)));

    drop(device);
    let both = loop {
        let both = told(&mut viewer).await;
        if both.len() == 2 {
            break both;
        }
    };
    assert_eq!(both[0], lost[0]);
    assert_eq!((&both[1]["what"], &both[1]["batches"]), (&json!("late"), &json!(2)));
    assert_eq!((&both[1]["from"], &both[1]["to"]), (&json!(START), &json!(START + 59 * MILLI)));

    // A viewer that comes later is told as well, and what is punctual changes nothing.
    let mut device = hub.welcomed("pump").await;
    let at = protocol_now() + 1_000_000;
    device.say(json!({"type": "readings", "seq": 6, "points": [{"at": at, "values": {"count": 1}}]})).await;
    device.acked(6).await;
    let (_, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(devices[0]["late_or_lost"], json!(both));
}

fn protocol_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}
