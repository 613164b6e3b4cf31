//! Groups: one request to many devices, whose tally is told live and stored first (I-14).

use protocol::GroupId;
use protocol::group::MemberState;
use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub, stderr, stdout, until, within};
use crate::wire::{Peer, ask, http_json};

fn hello(device: &str, model: &str, tags: &[&str]) -> Json {
    json!({"type": "hello", "device": device, "epoch": "e1", "model": model, "tags": tags, "metrics": [],
           "commands": [{"name": "set_speed", "params": [{"name": "speed", "max": 60, "required": true}]},
                        {"name": "reset"}]})
}

async fn join(hub: &TestHub, hello: Json) -> Peer {
    let mut peer = hub.device().await;
    peer.say(hello).await;
    peer.next_of("welcome").await;
    peer
}

/// Pumps with these numbers, two sites, every one connected.
async fn pumps(hub: &TestHub, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for n in 0..count {
        let site = ["site:north", "site:south"][n % 2];
        peers.push(join(hub, hello(&format!("pump-{n}"), "PS-2", &[site])).await);
    }
    peers
}

/// Answers the next command of a device.
async fn answer(device: &mut Peer, state: &str) {
    let command = device.next_of("command").await;
    let id = &command["id"];
    device.say(json!({"type": "command_update", "id": id, "state": state, "error": "asked to"})).await;
}

async fn group(operator: &mut Peer, request: Json) -> (String, Json) {
    let mut message = json!({"type": "send_group", "id": 1, "name": "reset"});
    message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    let answer = ask(operator, message).await;
    assert_eq!(answer["type"], "group", "{answer}");
    (answer["group"]["id"].as_str().unwrap().to_owned(), answer["group"].clone())
}

/// Waits until a viewer is told that the tally of a group is so. What is told is in the store already, or was passed by it.
async fn tally(viewer: &mut Peer, id: &str, wanted: Json) -> Json {
    let mut last = Json::Null;
    let told = async {
        loop {
            let event = viewer.next_of("group").await;
            if event["group"]["id"] == id {
                last = event["group"].clone();
                if last["tally"] == wanted {
                    return last.clone();
                }
            }
        }
    };
    within(&format!("the tally {wanted}"), told).await
}

fn states(hub: &TestHub, id: &str) -> Vec<(String, String)> {
    let members = hub.reader().members(&GroupId::new(id).unwrap(), &[]).unwrap().unwrap();
    members.into_iter().map(|member| (member.device.to_string(), member.state.to_string())).collect()
}

#[tokio::test]
async fn a_group_goes_to_every_device_that_fits_and_its_tally_is_told_live() {
    let hub = TestHub::start().await;
    let mut devices = pumps(&hub, 4).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let (id, issued) =
        group(&mut operator, json!({"to": {"devices": ["pump-*"], "tags": ["site:north"]}})).await;
    assert_eq!(issued["tally"], json!({"waiting": 2}), "{issued}");
    assert_eq!(issued["issued_by"], "local operator");
    tally(&mut viewer, &id, json!({"sent": 2})).await;
    answer(&mut devices[0], "running").await;
    tally(&mut viewer, &id, json!({"sent": 1, "running": 1})).await;
    answer(&mut devices[2], "succeeded").await;
    tally(&mut viewer, &id, json!({"running": 1, "succeeded": 1})).await;
    let list = ask(&mut operator, json!({"type": "commands", "id": 2, "group": id})).await;
    let commands = list["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 2, "{list}");
    assert!(commands.iter().all(|command| command["group"] == json!(id)));
    let running = commands.iter().find(|command| command["state"] == "running").unwrap();
    let update = json!({"type": "command_update", "id": running["id"], "state": "failed", "code": "jammed"});
    devices[0].say(update).await;
    let ended = tally(&mut viewer, &id, json!({"succeeded": 1, "failed": 1})).await;
    let ended =
        if ended["ended_at"].is_i64() { ended } else { viewer.next_of("group").await["group"].clone() };
    assert!(ended["ended_at"].as_i64().unwrap() > ended["issued_at"].as_i64().unwrap(), "{ended}");
    let members =
        ask(&mut operator, json!({"type": "members", "id": 3, "group": id, "states": ["failed"]})).await;
    assert_eq!(members["members"][0]["device"], "pump-0");
    assert_eq!(members["members"][0]["code"], "jammed");
    let groups = ask(&mut operator, json!({"type": "groups", "id": 4})).await;
    assert_eq!(groups["groups"], json!([ended]));
}

#[tokio::test]
async fn a_dry_run_sends_nothing_and_says_who_would_not_get_it_and_why() {
    let hub = TestHub::start().await;
    let mut devices = pumps(&hub, 2).await;
    let mut press = json!({"type": "hello", "device": "press", "epoch": "e1", "metrics": []});
    press["commands"] = json!([{"name": "set_speed", "params": [{"name": "speed", "max": 10}]}]);
    devices.push(join(&hub, press).await);
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let request = json!({"type": "send_group", "id": 1, "name": "set_speed", "args": {"speed": 50},
                         "to": {"devices": ["p*"]}, "dry_run": true});
    let members = ask(&mut operator, request.clone()).await;
    let members = members["members"].as_array().unwrap().clone();
    assert_eq!(members.len(), 3);
    assert_eq!((&members[0]["device"], &members[0]["state"]), (&json!("press"), &json!("refused")));
    assert!(members[0]["error"].as_str().unwrap().contains("above the maximum of 10"), "{}", members[0]);
    assert_eq!(members[1], json!({"device": "pump-0", "state": "waiting"}));
    assert!(hub.reader().groups(None, 10).unwrap().is_empty());
    // Meant: those that can take it get it, the other is counted and named.
    let mut request = request;
    request["dry_run"] = json!(false);
    let issued = ask(&mut operator, request).await;
    assert_eq!(issued["group"]["tally"], json!({"refused": 1, "waiting": 2}), "{issued}");
    for device in &mut devices[..2] {
        assert_eq!(device.next_of("command").await["args"], json!({"speed": 50}));
    }
    let id = issued["group"]["id"].as_str().unwrap();
    let members = hub.reader().members(&GroupId::new(id).unwrap(), &[MemberState::Refused]).unwrap().unwrap();
    assert!(members[0].error.as_ref().unwrap().contains("maximum of 10"), "{members:?}");
}

#[tokio::test]
async fn a_rolling_group_goes_on_as_members_end_and_stops_after_too_many_failures() {
    let hub = TestHub::start().await;
    let mut devices = pumps(&hub, 6).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let request = json!({"to": {"models": ["PS-?"]}, "at_once": 2, "stop_after": 2});
    let (id, _) = group(&mut operator, request).await;
    tally(&mut viewer, &id, json!({"waiting": 4, "sent": 2})).await;
    answer(&mut devices[0], "succeeded").await;
    tally(&mut viewer, &id, json!({"waiting": 3, "sent": 2, "succeeded": 1})).await;
    answer(&mut devices[1], "failed").await;
    tally(&mut viewer, &id, json!({"waiting": 2, "sent": 2, "succeeded": 1, "failed": 1})).await;
    answer(&mut devices[2], "rejected").await;
    let stopped = json!({"skipped": 2, "sent": 1, "succeeded": 1, "failed": 1, "rejected": 1});
    let stopped = tally(&mut viewer, &id, stopped).await;
    assert_eq!(stopped["stopped"]["by"], "hub", "{stopped}");
    answer(&mut devices[3], "succeeded").await;
    let ended = json!({"skipped": 2, "succeeded": 2, "failed": 1, "rejected": 1});
    tally(&mut viewer, &id, ended).await;
    until("the end", async || hub.reader().open_groups().unwrap().is_empty()).await;

    // Only those that failed get it again, once.
    let again = ask(&mut operator, json!({"type": "retry_group", "id": 7, "group": id})).await;
    assert_eq!(again["group"]["retry_of"], json!(id), "{again}");
    assert_eq!(again["group"]["tally"], json!({"waiting": 2}));
    let again_id = again["group"]["id"].as_str().unwrap().to_owned();
    for place in [1, 2] {
        answer(&mut devices[place], "succeeded").await;
    }
    tally(&mut viewer, &again_id, json!({"succeeded": 2})).await;
    let twice = ask(&mut operator, json!({"type": "retry_group", "id": 8, "group": id})).await;
    assert_eq!(twice["code"], "wrong_state", "{twice}");
    assert!(twice["message"].as_str().unwrap().contains(&again_id), "{twice}");
    let nothing = ask(&mut operator, json!({"type": "retry_group", "id": 9, "group": again_id})).await;
    assert_eq!(nothing["code"], "not_found", "{nothing}");
    assert_eq!(hub.reader().commands(&store::CommandFilter::default(), 100).unwrap().len(), 6);
}

#[tokio::test]
async fn a_cancelled_group_begins_no_more_and_what_was_not_sent_is_taken_back() {
    let hub = TestHub::start().await;
    let mut devices = pumps(&hub, 4).await;
    // Two of them are away: theirs are queued.
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    devices.truncate(2);
    until("them to be away", async || {
        let listed = stdout(&hub.cli(&["device", "list", "--json"]).await);
        listed.lines().filter(|line| line.contains("\"connected\":false")).count() == 2
    })
    .await;
    let (id, _) = group(&mut operator, json!({"to": {"devices": ["*"]}, "at_once": 3})).await;
    tally(&mut operator, &id, json!({"waiting": 1, "queued": 1, "sent": 2})).await;
    let cancelled = ask(&mut operator, json!({"type": "cancel_group", "id": 2, "group": id})).await;
    let tallied = &cancelled["group"]["tally"];
    assert_eq!(*tallied, json!({"skipped": 1, "sent": 2, "cancelled": 1}), "{cancelled}");
    assert_eq!(cancelled["group"]["stopped"]["by"], "local operator");
    // Those that have it may go on, unless they are asked to stop.
    answer(&mut devices[0], "succeeded").await;
    let begun = json!({"type": "cancel_group", "id": 3, "group": id, "begun": true});
    assert_eq!(ask(&mut operator, begun).await["type"], "group");
    let stop = devices[1].next_of("cancel").await;
    devices[1].say(json!({"type": "command_update", "id": stop["id"], "state": "cancelled"})).await;
    tally(&mut operator, &id, json!({"skipped": 1, "succeeded": 1, "cancelled": 2})).await;
    until("the end", async || hub.reader().open_groups().unwrap().is_empty()).await;
    let late = ask(&mut operator, json!({"type": "cancel_group", "id": 4, "group": id})).await;
    assert_eq!(late["code"], "not_found", "{late}");
}

#[tokio::test]
async fn a_rolling_group_goes_on_where_it_was_after_the_hub_was_killed() {
    let mut hub = TestHub::process(&[]).await;
    let mut devices = pumps(&hub, 5).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let (id, _) = group(&mut operator, json!({"to": {"devices": ["*"]}, "at_once": 1})).await;
    for device in &mut devices[..2] {
        answer(device, "succeeded").await;
    }
    tally(&mut operator, &id, json!({"waiting": 2, "sent": 1, "succeeded": 2})).await;
    hub.kill().await;
    hub.launch().await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    for (n, _) in devices.iter().enumerate().skip(2) {
        let mut device = join(&hub, hello(&format!("pump-{n}"), "PS-2", &[])).await;
        answer(&mut device, "succeeded").await;
    }
    tally(&mut operator, &id, json!({"succeeded": 5})).await;
    let all: Vec<String> = states(&hub, &id).into_iter().map(|(_, state)| state).collect();
    assert_eq!(all, ["succeeded"; 5]);
    let commands = hub.reader().commands(&store::CommandFilter::default(), 100).unwrap();
    assert_eq!(commands.len(), 5, "nobody got it twice");
}

#[tokio::test]
async fn what_a_group_cannot_be_is_refused_with_what_is_wrong() {
    let hub = TestHub::start().await;
    let _devices = pumps(&hub, 1).await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    for (request, code, words) in [
        (json!({"to": {}}), "bad_field", "names no devices"),
        (json!({"to": {"devices": ["pump-9"]}}), "not_found", "no device pump-9"),
        (json!({"to": {"devices": ["p mp"]}}), "bad_field", "to.devices: device id"),
        (json!({"to": {"tags": ["site:east"]}}), "not_found", "no device fits"),
        (json!({"to": {"devices": ["*"]}, "name": "explode"}), "bad_command", "does not take explode"),
        (json!({"to": {"devices": ["*"]}, "at_once": 0}), "bad_field", "at_once: 0"),
        (json!({"to": {"devices": ["*"]}, "expires_in_ms": 0}), "bad_field", "expires_in_ms"),
        (json!({"to": {"devices": vec!["a*"; 300]}}), "bad_field", "300 patterns"),
    ] {
        let mut message = json!({"type": "send_group", "id": 1, "name": "reset"});
        message.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let answer = ask(&mut operator, message).await;
        assert_eq!(answer["code"], code, "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{answer}");
    }
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    for request in [
        json!({"type": "send_group", "id": 2, "name": "reset", "to": {"devices": ["*"]}, "dry_run": true}),
        json!({"type": "cancel_group", "id": 2, "group": "g"}),
        json!({"type": "retry_group", "id": 2, "group": "g"}),
    ] {
        assert_eq!(ask(&mut viewer, request).await["code"], "forbidden");
    }
    let missing = ask(&mut viewer, json!({"type": "members", "id": 3, "group": "g"})).await;
    assert_eq!(missing["code"], "not_found");
    let open = json!({"type": "retry_group", "id": 4, "group": "g", "states": ["running"]});
    assert_eq!(ask(&mut operator, open).await["code"], "bad_field");
    assert!(hub.reader().groups(None, 10).unwrap().is_empty());
}

#[tokio::test]
async fn groups_over_http_and_on_the_command_line() {
    let hub = TestHub::start().await;
    let mut devices = pumps(&hub, 3).await;
    let playing = tokio::spawn(async move {
        for (place, device) in devices.iter_mut().enumerate() {
            answer(device, ["succeeded", "failed", "succeeded"][place]).await;
        }
        answer(&mut devices[1], "succeeded").await;
        devices
    });
    let dry = hub.cli(&["group", "send", "reset", "--device", "pump-*", "--dry-run"]).await;
    assert!(
        stdout(&dry).contains("3 devices would get it, 0 would not; nothing was sent"),
        "{}",
        stdout(&dry)
    );
    let nobody = hub.cli(&["group", "send", "reset"]).await;
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
    let send = ["group", "send", "reset", "--model", "PS-2", "--at-once", "1", "--wait"];
    let sent = hub.cli(&send).await;
    let text = stdout(&sent);
    assert_eq!(sent.status.code(), Some(3), "{text}{}", stderr(&sent));
    assert!(text.contains("2 succeeded, 1 failed") && text.contains("pump-1 failed: asked to"), "{text}");
    let id = text.split(' ').nth(1).unwrap();
    let retried = hub.cli(&["group", "retry", id, "--wait"]).await;
    assert!(retried.status.success(), "{}{}", stdout(&retried), stderr(&retried));
    let listed = stdout(&hub.cli(&["group", "list", "--json"]).await);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let shown = stdout(&hub.cli(&["group", "show", id, "--state", "failed", "--csv"]).await);
    assert!(shown.starts_with("device,state,command,code,error\npump-1,failed,c"), "{shown}");
    let exported = stdout(&hub.cli(&["command", "list", "--group", id, "--csv"]).await);
    assert_eq!(exported.lines().filter(|line| line.ends_with(id)).count(), 3, "{exported}");
    drop(playing.await.unwrap());

    let token = hub.token(Role::Operator);
    let body = json!({"name": "reset", "to": {"devices": ["pump-0"]}, "expires_in_ms": 60_000}).to_string();
    let (status, answer) = http_json(&hub, "POST", "/v1/groups", &token, &body).await;
    assert_eq!(status, 201, "{answer}");
    let id = answer["id"].as_str().unwrap().to_owned();
    let (status, answer) = http_json(&hub, "POST", &format!("/v1/groups/{id}/cancel"), &token, "").await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = http_json(&hub, "GET", &format!("/v1/groups/{id}/members"), &token, "").await;
    assert_eq!((status, &answer["members"][0]["device"]), (200, &json!("pump-0")), "{answer}");
    let (status, answer) = http_json(&hub, "GET", &format!("/v1/groups/{id}"), &token, "").await;
    assert_eq!((status, &answer["name"]), (200, &json!("reset")), "{answer}");
    let viewer = hub.token(Role::Viewer);
    assert_eq!(http_json(&hub, "POST", "/v1/groups", &viewer, &body).await.0, 403);
    assert_eq!(http_json(&hub, "POST", &format!("/v1/groups/{id}/retry"), &viewer, "").await.0, 403);
    assert_eq!(http_json(&hub, "GET", "/v1/groups", &viewer, "").await.0, 200);
    assert_eq!(http_json(&hub, "GET", "/v1/groups/none", &viewer, "").await.0, 404);
    assert_eq!(http_json(&hub, "GET", "/v1/groups?limit=0", &viewer, "").await.0, 400);
}
