//! Commands: every state is stored before anyone is told, and the end of each is known (I-14).

use protocol::CommandId;
use protocol::limits::COMMANDS_OPEN_PER_DEVICE_MAX;
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, until};
use crate::wire::{Peer, ask};

fn hello(device: &str) -> Json {
    json!({"type": "hello", "device": device, "epoch": "e1", "metrics": [{"name": "count"}], "commands": [
        {"name": "set_speed", "params": [
            {"name": "speed", "unit": "Hz", "min": 0, "max": 60, "required": true},
            {"name": "ramp", "kind": "text", "choices": ["soft", "hard"], "default": "soft"},
            {"name": "dry", "kind": "bool"}]},
        {"name": "reset"}]})
}

async fn join(hub: &TestHub, device: &str) -> Peer {
    let mut peer = hub.device().await;
    peer.say(hello(device)).await;
    peer.next_of("welcome").await;
    peer
}

/// A hub, a device that is known to it and connected, an operator, and a viewer that looks on.
async fn scene() -> (TestHub, Peer, Peer, Peer) {
    let hub = TestHub::start().await;
    let device = join(&hub, "pump").await;
    let (operator, _) = hub.viewer(Role::Operator).await;
    let (viewer, _) = hub.viewer(Role::Viewer).await;
    (hub, device, operator, viewer)
}

/// Leaves, and waits until the hub has noticed.
async fn leave(device: Peer, operator: &mut Peer) {
    drop(device);
    while operator.next_of("devices").await["devices"][0]["connected"] != false {}
}

/// Issues a command and returns its id.
async fn issue(operator: &mut Peer, request: Json) -> String {
    let mut message = json!({"type": "send_command", "id": 1, "device": "pump", "name": "reset"});
    message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    let answer = ask(operator, message).await;
    assert_eq!(answer["type"], "command", "{answer}");
    answer["command"]["id"].as_str().unwrap().to_owned()
}

async fn update(device: &mut Peer, id: &str, update: Json) {
    let mut message = json!({"type": "command_update", "id": id});
    message.as_object_mut().unwrap().extend(update.as_object().unwrap().clone());
    device.say(message).await;
}

/// Waits until a viewer is told that the command is in `state`. All that is told on the way is in the store already,
/// and what was told before stays true. Returns the command.
async fn told(hub: &TestHub, viewer: &mut Peer, id: &str, state: &str) -> Json {
    let reader = hub.reader();
    let mut before = Vec::new();
    loop {
        let event = viewer.next_of("command").await;
        if event["command"]["id"] != id {
            continue;
        }
        let told = event["command"]["transitions"].as_array().unwrap().clone();
        assert!(told.starts_with(&before), "{told:?} after {before:?}");
        assert_eq!(told.last().unwrap()["state"], event["command"]["state"], "{event}");
        let stored = reader.command(&CommandId::new(id).unwrap()).unwrap().unwrap();
        let stored = serde_json::to_value(&stored.transitions).unwrap();
        assert!(stored.as_array().unwrap().starts_with(&told), "{told:?} is told and not stored: {stored}");
        if event["command"]["state"] == state {
            return event["command"].clone();
        }
        before = told;
    }
}

/// The states of a command and who caused each, in order.
fn life(command: &Json) -> Vec<(&str, &str)> {
    let transitions = command["transitions"].as_array().unwrap();
    assert!(transitions.is_sorted_by_key(|t| t["at"].as_i64().unwrap()), "{command}");
    transitions.iter().map(|t| (t["state"].as_str().unwrap(), t["by"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn i_14_a_command_lives_from_queued_to_succeeded_and_everyone_is_told_what_is_stored() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id =
        issue(&mut operator, json!({"name": "set_speed", "args": {"speed": 42.5}, "expires_in_ms": 60_000}))
            .await;
    let command = device.next_of("command").await;
    assert_eq!(
        (&command["id"], &command["name"], &command["attempt"]),
        (&json!(id), &json!("set_speed"), &json!(1))
    );
    assert_eq!(command["args"], json!({"speed": 42.5, "ramp": "soft"}), "defaults are filled in");
    update(&mut device, &id, json!({"state": "received"})).await;
    update(&mut device, &id, json!({"state": "running"})).await;
    update(&mut device, &id, json!({"state": "running", "progress": 0.5})).await;
    told(&hub, &mut viewer, &id, "received").await;
    while told(&hub, &mut viewer, &id, "running").await["progress"] != 0.5 {}
    update(&mut device, &id, json!({"state": "succeeded", "result": {"speed": 42.5}})).await;
    for watcher in [&mut viewer, &mut operator] {
        let command = told(&hub, watcher, &id, "succeeded").await;
        assert_eq!(
            life(&command),
            [
                ("queued", "local operator"),
                ("sent", "hub"),
                ("received", "pump"),
                ("running", "pump"),
                ("succeeded", "pump")
            ]
        );
        assert_eq!(command["result"], json!({"speed": 42.5}));
        assert_eq!(command["attempt"], 1);
        assert_eq!(
            command["expires_at"].as_i64().unwrap() - command["transitions"][0]["at"].as_i64().unwrap(),
            60_000_000
        );
    }
}

#[tokio::test]
async fn a_device_may_answer_at_once_with_the_end_and_says_why_it_did_not_succeed() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    for (state, error) in
        [("rejected", "the pump is locked out"), ("failed", "no pressure"), ("succeeded", "")]
    {
        let id = issue(&mut operator, json!({})).await;
        device.next_of("command").await;
        update(&mut device, &id, json!({"state": state, "error": error})).await;
        let command = told(&hub, &mut viewer, &id, state).await;
        assert_eq!(life(&command), [("queued", "local operator"), ("sent", "hub"), (state, "pump")]);
        assert_eq!(command["error"], error);
    }
}

#[tokio::test]
async fn an_answer_that_moves_nothing_forward_changes_nothing() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id = issue(&mut operator, json!({})).await;
    device.next_of("command").await;
    for state in ["running", "running", "received"] {
        update(&mut device, &id, json!({"state": state})).await;
    }
    assert!(device.error("wrong_state").await.contains(&id), "only the step back is an error");
    for state in ["succeeded", "succeeded", "running", "failed"] {
        update(&mut device, &id, json!({"state": state})).await;
    }
    let command = told(&hub, &mut viewer, &id, "succeeded").await;
    assert_eq!(life(&command)[2..], [("running", "pump"), ("succeeded", "pump")]);
    // It has ended: the next thing that the device hears is the answer to the next thing that it says.
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert_eq!(device.next().await, json!({"type": "ack", "seq": 1}));
    let stored = hub.reader().command(&CommandId::new(&id).unwrap()).unwrap().unwrap();
    assert_eq!(stored.transitions.len(), 4);
    // A device has no say in the commands of another.
    let mut other = join(&hub, "boiler").await;
    let open = issue(&mut operator, json!({})).await;
    update(&mut other, &open, json!({"state": "failed"})).await;
    assert!(other.error("not_found").await.contains(&open));
}

#[tokio::test]
async fn a_command_that_waits_is_cancelled_at_once_and_never_delivered() {
    let (hub, device, mut operator, mut viewer) = scene().await;
    leave(device, &mut operator).await;
    let cancelled = issue(&mut operator, json!({})).await;
    let kept = issue(&mut operator, json!({"name": "set_speed", "args": {"speed": 1}})).await;
    let answer = ask(&mut operator, json!({"type": "cancel_command", "id": 2, "command": cancelled})).await;
    assert_eq!(answer["command"]["state"], "cancelled", "{answer}");
    let command = told(&hub, &mut viewer, &cancelled, "cancelled").await;
    assert_eq!(life(&command), [("queued", "local operator"), ("cancelled", "local operator")]);
    let mut device = join(&hub, "pump").await;
    assert_eq!(device.next_of("command").await["id"], kept);
    for command in [cancelled.as_str(), "never-was"] {
        let answer = ask(&mut operator, json!({"type": "cancel_command", "id": 3, "command": command})).await;
        assert_eq!(answer["code"], "not_found", "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(command), "{answer}");
    }
}

#[tokio::test]
async fn a_command_that_runs_is_cancelled_when_the_device_says_so() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id = issue(&mut operator, json!({})).await;
    device.next_of("command").await;
    update(&mut device, &id, json!({"state": "running"})).await;
    told(&hub, &mut viewer, &id, "running").await;
    let answer = ask(&mut operator, json!({"type": "cancel_command", "id": 2, "command": id})).await;
    assert_eq!(answer["command"]["state"], "running", "{answer}");
    assert_eq!(device.next_of("cancel").await["id"], id);
    update(&mut device, &id, json!({"state": "cancelled", "error": "stopped half way"})).await;
    let command = told(&hub, &mut viewer, &id, "cancelled").await;
    assert_eq!(life(&command).last(), Some(&("cancelled", "pump")));
    assert_eq!(command["error"], "stopped half way");
}

#[tokio::test]
async fn a_command_that_was_sent_to_a_device_that_left_is_cancelled_when_it_comes_back() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id = issue(&mut operator, json!({})).await;
    let sent = device.next_of("command").await;
    leave(device, &mut operator).await;
    let answer = ask(&mut operator, json!({"type": "cancel_command", "id": 2, "command": id})).await;
    assert_eq!(answer["command"]["state"], "unknown", "{answer}");
    assert_eq!(answer["command"]["code"], "disconnected", "{answer}");
    let asked = &answer["command"]["cancel"];
    assert_eq!(asked["by"], "local operator");
    assert!(asked["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{asked}");
    let mut device = join(&hub, "pump").await;
    // Not the command, which it could begin.
    let cancel = json!({"type": "cancel", "id": id, "sent_at": sent["sent_at"]});
    assert_eq!(device.next().await, cancel);
    update(&mut device, &id, json!({"state": "cancelled", "code": "never_received"})).await;
    let command = told(&hub, &mut viewer, &id, "cancelled").await;
    assert_eq!(command["code"], "never_received");
    assert_eq!(command["cancel"], *asked);
}

#[tokio::test]
async fn an_undeclared_command_is_sent_only_when_forced() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id = issue(&mut operator, json!({"name": "self_test", "args": {"deep": 1}, "force": true})).await;
    let command = device.next_of("command").await;
    assert_eq!((&command["name"], &command["args"]), (&json!("self_test"), &json!({"deep": 1})));
    update(&mut device, &id, json!({"state": "failed", "code": "no_sensor", "error": "no sensor"})).await;
    let command = told(&hub, &mut viewer, &id, "failed").await;
    assert_eq!((&command["forced"], &command["code"]), (&json!(true), &json!("no_sensor")));
    // Force does not let through what the declaration of a known command forbids.
    let request = json!({"type": "send_command", "id": 9, "device": "pump", "name": "set_speed",
                         "args": {"speed": 61}, "force": true});
    assert_eq!(ask(&mut operator, request).await["code"], "bad_command");
}

#[tokio::test]
async fn commands_wait_for_those_before_them_as_asked() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let first = issue(&mut operator, json!({})).await;
    let received = issue(&mut operator, json!({"delivery": "after_received"})).await;
    let finished = issue(&mut operator, json!({"delivery": "after_finished"})).await;
    let last = issue(&mut operator, json!({})).await;
    assert_eq!(device.next().await["id"], first);
    update(&mut device, &first, json!({"state": "received"})).await;
    assert_eq!(device.next().await["id"], received);
    update(&mut device, &received, json!({"state": "succeeded"})).await;
    told(&hub, &mut viewer, &received, "succeeded").await;
    let stored = hub.reader().command(&CommandId::new(&finished).unwrap()).unwrap().unwrap();
    assert_eq!(stored.state.as_str(), "queued", "the first has not ended");
    update(&mut device, &first, json!({"state": "succeeded"})).await;
    assert_eq!(device.next().await["id"], finished);
    assert_eq!(device.next().await["id"], last, "at once, and not before those issued earlier");
}

#[tokio::test]
async fn a_device_that_says_nothing_leaves_its_commands_unknown_and_then_unresolved() {
    let settings = "[commands]\nanswer_seconds = 1\nend_seconds = 1\nsettle_seconds = 2\n";
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), settings).unwrap();
    hub.launch().await;
    let mut device = join(&hub, "pump").await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    // One for each: which of them is told of first is nobody's promise.
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let (mut other, _) = hub.viewer(Role::Viewer).await;
    let silent = issue(&mut operator, json!({})).await;
    let stuck = issue(&mut operator, json!({})).await;
    for _ in 0..2 {
        device.next_of("command").await;
    }
    update(&mut device, &stuck, json!({"state": "running"})).await;
    let command = told(&hub, &mut viewer, &silent, "unknown").await;
    assert_eq!(command["code"], "no_answer", "{command}");
    let command = told(&hub, &mut other, &stuck, "unresolved").await;
    assert_eq!(command["code"], "timeout", "{command}");
    let command = told(&hub, &mut viewer, &silent, "unresolved").await;
    assert_eq!(command["code"], "never_answered", "{command}");
    assert!(hub.reader().open_commands().unwrap().is_empty());
    // Nobody waits any more, but what the device says after all is how it ended; and that is the last word.
    for state in ["running", "succeeded", "failed"] {
        update(&mut device, &stuck, json!({"state": state, "result": {"state": state}})).await;
    }
    let command = told(&hub, &mut other, &stuck, "succeeded").await;
    let states: Vec<&str> = life(&command).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["queued", "sent", "running", "unresolved", "succeeded"]);
    assert_eq!(command["result"], json!({"state": "succeeded"}));
    assert_eq!((&command["code"], &command["error"]), (&Json::Null, &Json::Null));
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert_eq!(device.next_of("ack").await["seq"], 1);
    let mut stranger = join(&hub, "press").await;
    update(&mut stranger, &silent, json!({"state": "succeeded"})).await;
    stranger.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert_eq!(stranger.next_of("ack").await["seq"], 1);
    let state = |id| hub.reader().command(&CommandId::new(id).unwrap()).unwrap().unwrap().state.as_str();
    assert_eq!((state(&stuck), state(&silent)), ("succeeded", "unresolved"));
}

#[tokio::test]
async fn a_command_whose_time_runs_out_before_its_delivery_expires() {
    let (hub, device, mut operator, mut viewer) = scene().await;
    leave(device, &mut operator).await;
    let lasting = issue(&mut operator, json!({})).await;
    let short = issue(&mut operator, json!({"expires_in_ms": 50})).await;
    let command = told(&hub, &mut viewer, &short, "expired").await;
    assert_eq!(life(&command), [("queued", "local operator"), ("expired", "hub")]);
    assert!(command["transitions"][1]["at"].as_i64() >= command["expires_at"].as_i64(), "{command}");
    let mut device = join(&hub, "pump").await;
    assert_eq!(device.next_of("command").await["id"], lasting);
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert_eq!(device.next().await["type"], "ack", "and nothing but the lasting one");
}

#[tokio::test]
async fn a_device_that_was_away_gets_its_commands_in_the_order_of_issue() {
    let (hub, device, mut operator, _) = scene().await;
    leave(device, &mut operator).await;
    let mut issued = Vec::new();
    for speed in 0..20 {
        issued.push(issue(&mut operator, json!({"name": "set_speed", "args": {"speed": speed}})).await);
    }
    let mut device = join(&hub, "pump").await;
    for (speed, id) in issued.iter().enumerate() {
        let command = device.next_of("command").await;
        assert_eq!((&command["id"], &command["args"]["speed"]), (&json!(id), &json!(speed)));
        assert_eq!(command["attempt"], 1);
    }
}

#[tokio::test]
async fn i_14_a_device_that_goes_before_it_answers_leaves_the_command_unknown_and_is_asked_again() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    let id = issue(&mut operator, json!({})).await;
    device.next_of("command").await;
    drop(device);
    told(&hub, &mut viewer, &id, "unknown").await;
    let mut device = join(&hub, "pump").await;
    let again = device.next_of("command").await;
    assert_eq!((&again["id"], &again["attempt"]), (&json!(id), &json!(2)));
    update(&mut device, &id, json!({"state": "succeeded"})).await;
    let command = told(&hub, &mut viewer, &id, "succeeded").await;
    assert_eq!(
        life(&command),
        [("queued", "local operator"), ("sent", "hub"), ("unknown", "hub"), ("succeeded", "pump")]
    );
    assert_eq!(command["attempt"], 2);
}

#[tokio::test]
async fn i_14_commands_live_on_when_the_hub_is_killed() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = join(&hub, "pump").await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let sent = issue(&mut operator, json!({})).await;
    let running = issue(&mut operator, json!({})).await;
    let done = issue(&mut operator, json!({})).await;
    for _ in 0..3 {
        device.next_of("command").await;
    }
    update(&mut device, &running, json!({"state": "running"})).await;
    update(&mut device, &done, json!({"state": "succeeded"})).await;
    told(&hub, &mut operator, &done, "succeeded").await;
    drop(device);
    until("the device to be seen to leave", async || {
        let stored = hub.reader().command(&CommandId::new(&sent).unwrap()).unwrap().unwrap();
        stored.state.as_str() == "unknown"
    })
    .await;
    let waiting = issue(&mut operator, json!({})).await;
    hub.kill().await;
    hub.launch().await;

    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let all = ask(&mut operator, json!({"type": "commands", "id": 1})).await;
    let states: Vec<(&str, &str)> = all["commands"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["id"].as_str().unwrap(), c["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            (waiting.as_str(), "queued"),
            (done.as_str(), "succeeded"),
            (running.as_str(), "running"),
            (sent.as_str(), "unknown")
        ],
        "newest first"
    );
    let mut device = join(&hub, "pump").await;
    for (id, attempt) in [(&sent, 2), (&running, 2), (&waiting, 1)] {
        let command = device.next_of("command").await;
        assert_eq!((&command["id"], &command["attempt"]), (&json!(id), &json!(attempt)));
        update(&mut device, id, json!({"state": "succeeded"})).await;
    }
    told(&hub, &mut operator, &waiting, "succeeded").await;
    assert!(hub.reader().open_commands().unwrap().is_empty());
}

#[tokio::test]
async fn i_14_what_was_sent_when_the_hub_was_killed_is_unknown_after_it() {
    let mut hub = TestHub::process(&[]).await;
    let mut device = join(&hub, "pump").await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let id = issue(&mut operator, json!({})).await;
    device.next_of("command").await;
    hub.kill().await;
    hub.launch().await;
    until("the command to be unknown", async || {
        let stored = hub.reader().command(&CommandId::new(&id).unwrap()).unwrap().unwrap();
        stored.state.as_str() == "unknown"
    })
    .await;
}

#[tokio::test]
async fn each_bad_command_is_refused_by_name_and_nothing_of_it_is_kept() {
    let (hub, mut device, mut operator, _) = scene().await;
    let long = "x".repeat(17_000);
    for (request, code, place) in [
        (json!({"device": "kettle"}), "not_found", "kettle"),
        (json!({"name": "explode"}), "bad_command", "explode"),
        (json!({"name": "set_speed"}), "bad_command", "args.speed"),
        (json!({"name": "set_speed", "args": {"speed": 61}}), "bad_command", "60 Hz"),
        (json!({"name": "set_speed", "args": {"speed": -0.5}}), "bad_command", "args.speed"),
        (json!({"name": "set_speed", "args": {"speed": "fast"}}), "bad_command", "args.speed"),
        (json!({"name": "set_speed", "args": {"speed": null}}), "bad_command", "args.speed"),
        (json!({"name": "set_speed", "args": {"speed": 1, "ramp": "steep"}}), "bad_command", "soft, hard"),
        (json!({"name": "set_speed", "args": {"speed": 1, "dry": 1}}), "bad_command", "args.dry"),
        (json!({"name": "set_speed", "args": {"speed": 1, "sped": 1}}), "bad_command", "args.sped"),
        (json!({"name": "reset", "args": {"hard": true}}), "bad_command", "args.hard"),
        (json!({"name": "reset", "args": {"a": long}}), "", "args"),
        (json!({"name": "reset", "args": [1]}), "bad_field", "send_command"),
        (json!({"expires_in_ms": 0}), "bad_field", "expires_in_ms"),
        (json!({"expires_in_ms": 2_592_000_001_u64}), "bad_field", "expires_in_ms"),
        (json!({"expires_in_ms": -1}), "bad_field", "-1"),
        (json!({"device": "a b"}), "bad_field", "a b"),
    ] {
        let mut message = json!({"type": "send_command", "id": 5, "device": "pump", "name": "reset"});
        message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let answer = ask(&mut operator, message).await;
        assert_eq!(answer["type"], "error", "{request}: {answer}");
        assert!(code.is_empty() || answer["code"] == code, "{request}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(place), "{request}: {answer}");
    }
    let all = ask(&mut operator, json!({"type": "commands", "id": 6})).await;
    assert_eq!(all["commands"], json!([]));
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert_eq!(device.next().await["type"], "ack", "the device heard nothing of it");
    drop(hub);
}

#[tokio::test]
async fn i_6_a_device_has_no_more_open_commands_than_the_limit() {
    let (_hub, device, mut operator, _) = scene().await;
    leave(device, &mut operator).await;
    let mut first = String::new();
    for n in 0..COMMANDS_OPEN_PER_DEVICE_MAX {
        let id = issue(&mut operator, json!({})).await;
        if n == 0 {
            first = id;
        }
    }
    let request = json!({"type": "send_command", "id": 2, "device": "pump", "name": "reset"});
    let answer = ask(&mut operator, request).await;
    assert_eq!(answer["code"], "limit_reached", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("256"), "{answer}");
    ask(&mut operator, json!({"type": "cancel_command", "id": 3, "command": first})).await;
    issue(&mut operator, json!({})).await;
}

#[tokio::test]
async fn commands_of_the_past_are_listed_newest_first_by_device_and_time() {
    let (hub, mut device, mut operator, mut viewer) = scene().await;
    join(&hub, "boiler").await;
    let mut issued = Vec::new();
    for n in 0..6 {
        let name = if n % 2 == 0 { "pump" } else { "boiler" };
        issued.push(issue(&mut operator, json!({"device": name})).await);
    }
    device.next_of("command").await;
    let mut list = async |request: Json| -> Vec<Json> {
        let mut message = json!({"type": "commands", "id": 4});
        message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        ask(&mut viewer, message).await["commands"].as_array().unwrap().clone()
    };
    let ids = |list: &[Json]| -> Vec<String> {
        list.iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(json!({})).await;
    assert_eq!(ids(&all), issued.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(ids(&list(json!({"limit": 2})).await), [issued[5].clone(), issued[4].clone()]);
    assert_eq!(
        ids(&list(json!({"device": "pump"})).await),
        [issued[4].clone(), issued[2].clone(), issued[0].clone()]
    );
    assert_eq!(list(json!({"device": "kettle"})).await, Vec::<Json>::new());
    let before = all[3]["transitions"][0]["at"].clone();
    assert_eq!(ids(&list(json!({"before": before})).await), [issued[1].clone(), issued[0].clone()]);
}
