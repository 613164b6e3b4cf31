//! What devices say of their commands: kept in order, refused by name, and not in the way of anything else.

use protocol::CommandId;
use rusqlite::Connection;
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub};
use crate::wire::Peer;

fn hello() -> Json {
    json!({"type": "hello", "device": "pump", "epoch": "e1", "metrics": [{"name": "count"}],
           "commands": [{"name": "reset"}]})
}

/// Issues a command and returns its id.
async fn issue(operator: &mut Peer, more: Json) -> String {
    let mut message = json!({"type": "send_command", "id": 1, "device": "pump", "name": "reset"});
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    operator.say(message).await;
    answer(operator, 1).await["command"]["id"].as_str().unwrap().to_owned()
}

/// The answer to a request; what else comes is passed over.
async fn answer(operator: &mut Peer, id: u64) -> Json {
    loop {
        let message = operator.next().await;
        if message["id"] == id {
            return message;
        }
    }
}

async fn joined(hub: &TestHub) -> Peer {
    let mut device = hub.device().await;
    device.say(hello()).await;
    device.next_of("welcome").await;
    device
}

#[tokio::test]
async fn a_device_says_more_than_may_wait_and_each_word_counts_in_its_order() {
    let hub = TestHub::start().await;
    let mut device = joined(&hub).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(issue(&mut operator, json!({})).await);
        device.next_of("command").await;
    }
    // All of it before anything is heard: some wait in the hub, the others on the line.
    const WORDS: u64 = 400;
    for n in 1..=WORDS {
        let id = &ids[n as usize % ids.len()];
        let word = |state| json!({"type": "command_update", "id": id, "state": state});
        let mut running = word("running");
        running["progress"] = json!(n as f64 / WORDS as f64);
        device.say(running).await;
        device.say(word("received")).await;
        device.say(json!({"type": "readings", "seq": n, "points": []})).await;
    }
    for id in &ids {
        device.say(json!({"type": "command_update", "id": id, "state": "succeeded"})).await;
    }
    let (mut refused, mut acked) = (0, 0);
    while refused < WORDS || acked < WORDS {
        let message = device.next().await;
        if message["type"] == "error" {
            refused += 1;
            assert_eq!(message["code"], "wrong_state", "{message}");
            let id = &ids[refused as usize % ids.len()];
            assert!(message["message"].as_str().unwrap().contains(id), "{message} is not about {id}");
        } else {
            assert_eq!(message["type"], "ack", "{message}");
            acked = message["seq"].as_u64().unwrap();
        }
    }
    let mut progress = vec![0.0; ids.len()];
    let mut ended = 0;
    while ended < ids.len() {
        let told = operator.next_of("command").await;
        let of = ids.iter().position(|id| told["command"]["id"] == **id).unwrap();
        let now = told["command"]["progress"].as_f64().unwrap_or(0.0);
        assert!(now >= progress[of], "{told} after {}", progress[of]);
        progress[of] = now;
        ended += usize::from(told["command"]["state"] == "succeeded");
    }
    for id in &ids {
        let stored = hub.reader().command(&CommandId::new(id).unwrap()).unwrap().unwrap();
        let states: Vec<&str> = stored.transitions.iter().map(|t| t.state.as_str()).collect();
        assert_eq!(states, ["queued", "sent", "running", "succeeded"]);
    }
}

#[tokio::test]
async fn a_device_is_heard_while_its_word_waits_for_the_disk_and_what_is_not_stored_did_not_happen() {
    let hub = TestHub::start().await;
    let mut device = joined(&hub).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let begun = issue(&mut operator, json!({})).await;
    device.next_of("command").await;
    let waiting = issue(&mut operator, json!({"delivery": "after_finished"})).await;

    let lock = Connection::open(hub.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    device.say(json!({"type": "command_update", "id": begun, "state": "succeeded"})).await;
    device.say(json!({"type": "nonsense"})).await;
    device.error("unknown_type").await;
    assert!(device.error("internal").await.contains(&begun), "the lock outlives the hub's patience");
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(device.closed().await.0, 1011);

    // It is asked again, and both commands are still known, and whose they are.
    let mut device = joined(&hub).await;
    let again = device.next_of("command").await;
    assert_eq!((&again["id"], &again["attempt"]), (&json!(begun), &json!(2)));
    operator.say(json!({"type": "cancel_command", "id": 2, "command": waiting})).await;
    assert_eq!(answer(&mut operator, 2).await["command"]["state"], "cancelled");
    device.say(json!({"type": "command_update", "id": begun, "state": "succeeded"})).await;
    loop {
        let told = operator.next_of("command").await;
        if told["command"]["id"] == *begun && told["command"]["state"] == "succeeded" {
            break;
        }
    }
    assert!(hub.reader().open_commands().unwrap().is_empty());
}

#[tokio::test]
async fn an_operator_asks_for_more_than_may_wait_and_is_answered_in_order_and_sees_all_of_it() {
    let hub = TestHub::start().await;
    drop(joined(&hub).await);
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    // All of it before anything is heard.
    const ASKED: u64 = 600;
    for id in 1..=ASKED {
        let kind = if id % 2 == 1 { "send_command" } else { "cancel_command" };
        operator
            .say(json!({"type": kind, "id": id, "device": "pump", "name": "reset", "command": "never-was"}))
            .await;
    }
    operator.say(json!({"type": "commands", "id": ASKED + 1, "limit": 1_000})).await;
    let mut issued = Vec::new();
    for id in 1..=ASKED {
        let message = loop {
            let message = operator.next().await;
            if message["id"].is_u64() {
                break message;
            }
        };
        assert_eq!(message["id"], id, "{message}");
        match message["type"].as_str() {
            Some("command") => issued.push(message["command"]["id"].clone()),
            _ if id % 2 == 0 => assert_eq!(message["code"], "not_found", "{message}"),
            _ => assert_eq!(message["code"], "limit_reached", "{message}"),
        }
    }
    let listed = answer(&mut operator, ASKED + 1).await;
    let listed: Vec<Json> =
        listed["commands"].as_array().unwrap().iter().rev().map(|command| command["id"].clone()).collect();
    assert_eq!(listed, issued);
    assert_eq!(issued.len(), protocol::limits::COMMANDS_OPEN_PER_DEVICE_MAX);
}
