//! When a device was connected and why it was not any more: asked over the line, over HTTP and on the command line.

use protocol::VIEWER_PATH;
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, stdout, until};
use crate::wire::{Heard, Peer};

async fn connections(viewer: &mut Peer, device: &str) -> Vec<Json> {
    viewer.say(json!({"type": "connections", "id": 7, "device": device})).await;
    let answer = viewer.next_of("connections").await;
    assert_eq!((&answer["id"], &answer["device"]), (&json!(7), &json!(device)));
    answer["connections"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_learns_when_a_device_was_connected_and_why_it_was_not_any_more() {
    let mut hub = TestHub::process(&[]).await;
    let leaving = hub.welcomed("pump").await;
    leaving.close(1000, "maintenance").await;
    let broken = hub.welcomed("pump").await;
    drop(broken);
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let mut ended = async |count: usize| {
        until("ends to be written down", async || {
            let found = connections(&mut viewer, "pump").await;
            found.iter().filter(|connection| connection["end"].is_object()).count() == count
        })
        .await;
    };
    // Before it is noticed that this one is lost, the next would take over from it.
    ended(2).await;
    let mut replaced = hub.welcomed("pump").await;
    let _present = hub.welcomed("pump").await;
    assert_eq!(replaced.closed().await.0, 4000);
    ended(3).await;
    let found = connections(&mut viewer, "pump").await;
    let ends: Vec<_> = found.iter().map(|c| (c["end"]["by"].as_str(), c["end"]["code"].as_u64())).collect();
    // Of those that were open at once, either may be written down first.
    assert_eq!(ends[0], (None, None), "{found:?}");
    assert!(ends.contains(&(Some("hub"), Some(4000))), "{found:?}");
    assert!(ends.contains(&(Some("lost"), None)), "{found:?}");
    assert_eq!(ends[3], (Some("device"), Some(1000)), "{found:?}");
    assert_eq!(found[3]["end"]["reason"], "maintenance");
    for connection in &found {
        assert!(connection["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{connection}");
        let opened = connection["opened_at"].as_i64().unwrap();
        assert!(connection["end"]["at"].as_i64().is_none_or(|ended| ended >= opened), "{connection}");
    }
    viewer.say(json!({"type": "connections", "id": 8, "device": "drill"})).await;
    assert!(viewer.error("not_found").await.contains("drill"));

    let listed = hub.run(&["device", "connections", "pump", "--json"]).await;
    assert!(listed.status.success(), "{listed:?}");
    let lines: Vec<Json> = stdout(&listed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, found);
    assert!(stdout(&hub.run(&["device", "connections", "pump"]).await).contains("maintenance"));

    // Killed, the hub does not know when the present one ended; stopped, it does.
    hub.kill().await;
    hub.start_again().await;
    let again = hub.welcomed("pump").await;
    hub.stop().await;
    drop(again);
    let found = hub.reader().connections(&"pump".parse().unwrap()).unwrap().unwrap();
    let end = found[0].end.as_ref().unwrap();
    assert_eq!((end.by.as_str(), end.code), ("hub", Some(1001)));
    let end = found[1].end.as_ref().unwrap();
    assert_eq!((end.at, end.by.as_str()), (None, "lost"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_may_ask_for_the_ledger_and_a_device_may_not_ask_at_all() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(crate::wire::counted(1, 0, 9)).await;
    device.acked(1).await;
    let mut viewer = hub.dial(VIEWER_PATH, &hub.token(Role::Viewer)).await;
    viewer.say(json!({"type": "ledger", "id": 3, "device": "pump"})).await;
    let ledger = viewer.next_of("ledger").await;
    assert_eq!(
        (&ledger["id"], &ledger["readings"], &ledger["adds_up"]),
        (&json!(3), &json!(10), &json!(true))
    );
    assert_eq!(ledger["streams"][0]["stored"], 1);
    viewer.say(json!({"type": "ledger", "id": 4, "device": "drill"})).await;
    assert!(viewer.error("not_found").await.contains("drill"));

    device.say(json!({"type": "connections", "id": 1, "device": "pump"})).await;
    let Heard::Message(answer) = device.hear().await else { panic!("an error was expected") };
    assert_eq!(answer["type"], "error", "{answer}");
}
