//! Tokens: made, listed, revoked; and what a revoked one has open is closed (I-12).

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use protocol::desk::Actor;
use protocol::{DEVICE_PATH, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::protocol::Message;

use crate::harness::{Role, TestHub, stderr, stdout, until};
use crate::limits::metrics;
use crate::wire::{self, Heard, Peer, Raw, counted, hello, http_json};

/// The number of the token with this label that opens something.
async fn key(hub: &TestHub, label: &str) -> i64 {
    let listed = stdout(&hub.cli(&["token", "list", "--json"]).await);
    let tokens = listed.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let mut found: Vec<i64> = tokens
        .filter(|token| token["label"] == label && token["revoked_at"].is_null())
        .map(|token| token["key"].as_i64().unwrap())
        .collect();
    assert!(!found.is_empty(), "{label} is not in\n{listed}");
    found.remove(0)
}

#[tokio::test]
async fn i_12_a_revoked_token_is_closed_and_refused_and_its_successor_goes_on() {
    let hub = TestHub::start().await;
    let add = ["token", "add", "--role", "device", "--device", "pump"];
    let old = stdout(&hub.cli(&add).await).trim().to_owned();
    let old_key = key(&hub, "device pump").await;
    let mut device: Peer = hub.dial(protocol::DEVICE_PATH, &old).await;
    device.say(hello("pump")).await;
    device.next_of("welcome").await;
    // Two are valid at a time: the device is given the new one before the old one goes.
    let new = stdout(&hub.cli(&add).await).trim().to_owned();
    assert_ne!(old, new);
    let revoked = hub.cli(&["token", "revoke", &old_key.to_string()]).await;
    assert!(stdout(&revoked).contains("device pump"), "{}", stderr(&revoked));
    let start = Instant::now();
    assert_eq!(device.closed().await.0, 4003);
    assert!(start.elapsed() < Duration::from_secs(1), "closed {:?} after it was revoked", start.elapsed());
    let refused =
        wire::http(hub.address, wire::upgrade_request(protocol::DEVICE_PATH, &old).as_bytes()).await;
    assert_eq!(refused.status, 401);
    let mut device: Peer = hub.dial(protocol::DEVICE_PATH, &new).await;
    device.say(hello("pump")).await;
    device.next_of("welcome").await;

    let token = stdout(&hub.cli(&["token", "add", "--role", "viewer", "--label", "wall screen"]).await);
    let mut viewer: Peer = hub.dial(protocol::VIEWER_PATH, token.trim()).await;
    viewer.next_of("welcome").await;
    let (mut other, _) = hub.viewer(Role::Viewer).await;
    let screen = key(&hub, "wall screen").await;
    hub.cli(&["token", "revoke", &screen.to_string()]).await;
    assert_eq!(viewer.closed().await.0, 4003);
    other.say(json!({"type": "commands", "id": 1})).await;
    assert_eq!(other.next_of("commands").await["id"], 1, "another token is untouched");
    let listed = stdout(&hub.cli(&["token", "list"]).await);
    assert!(!listed.contains(token.trim()) && !listed.contains(&new), "no secret is listed");
}

#[tokio::test]
async fn tokens_over_http_are_for_administrators_and_say_what_is_wrong() {
    let hub = TestHub::start().await;
    let admin = hub.token(Role::Admin);
    let viewer = hub.token(Role::Viewer);
    let body = json!({"role": "admin", "label": "anna"}).to_string();
    assert_eq!(http_json(&hub, "POST", "/v1/tokens", &viewer, &body).await.0, 403);
    assert_eq!(http_json(&hub, "GET", "/v1/tokens", &viewer, "").await.0, 403);
    assert_eq!(http_json(&hub, "DELETE", "/v1/tokens/1", &viewer, "").await.0, 403);
    for (body, words) in [
        (json!({"role": "king", "label": "x"}), "king"),
        (json!({"role": "viewer"}), "label"),
        (json!({"role": "device"}), "device"),
        (json!({"role": "viewer", "label": "x", "scope": "all"}), "scope"),
    ] {
        let (status, answer) = http_json(&hub, "POST", "/v1/tokens", &admin, &body.to_string()).await;
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(words), "{answer}");
    }
    assert_eq!(http_json(&hub, "DELETE", "/v1/tokens/999", &admin, "").await.0, 404);
    assert_eq!(http_json(&hub, "DELETE", "/v1/tokens/all", &admin, "").await.0, 400);
    let (status, made) = http_json(&hub, "POST", "/v1/tokens", &admin, &body).await;
    assert_eq!(status, 201, "{made}");
    let anna = made["token"].as_str().unwrap();
    // Whoever holds it is named by it.
    let (status, device) = http_json(&hub, "PUT", "/v1/devices/pump", anna, "").await;
    assert_eq!((status, &device["device"]), (201, &json!("pump")));
    let path = format!("/v1/tokens/{}", made["key"]);
    let (status, revoked) = http_json(&hub, "DELETE", &path, anna, "").await;
    assert_eq!(status, 200, "one may take one's own away: {revoked}");
    assert!(revoked["revoked_at"].is_i64() && revoked["label"] == "anna", "{revoked}");
    assert_eq!(http_json(&hub, "GET", "/v1/tokens", anna, "").await.0, 401);
}

#[tokio::test]
async fn tokens_and_claims_are_listed_in_pages_newest_first_and_whole_on_the_command_line() {
    const MANY: usize = protocol::limits::LIST_PAGE + 1;
    let mut hub = TestHub::nowhere(&[]);
    let mut writer = store::Writer::open(&hub.database()).unwrap();
    let (now, actor) = (hub::clock::now(), Actor { by: "test".into(), address: None });
    for number in 0..MANY as u64 {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        let (role, label) = (store::CredentialRole::Viewer, format!("wall {number}"));
        let token = store::NewCredential { hash, role, label, created_at: now };
        writer.add_credential(&token, &actor).unwrap();
        let device = "pump".parse().unwrap();
        writer
            .add_claim(&store::NewClaim { hash, device, created_at: now, expires_at: now }, &actor)
            .unwrap();
    }
    drop(writer);
    for runs in [false, true] {
        if runs {
            hub.start_again().await;
        }
        let local = if runs { 4 } else { 0 };
        for (name, count) in [("token", MANY + local), ("claim", MANY)] {
            let listed = stdout(&hub.cli(&[name, "list", "--json"]).await);
            let keys: Vec<usize> = listed
                .lines()
                .map(|line| serde_json::from_str::<Json>(line).unwrap()["key"].as_u64().unwrap() as usize)
                .collect();
            assert_eq!(keys, (1..=count).collect::<Vec<_>>(), "{name}, newest last");
        }
    }
    let admin = hub.token(Role::Admin);
    for path in ["tokens", "claims"] {
        let keys = async |query: &str| -> Vec<i64> {
            let (status, page) = http_json(&hub, "GET", &format!("/v1/{path}{query}"), &admin, "").await;
            assert_eq!(status, 200, "{page}");
            page[path].as_array().unwrap().iter().map(|row| row["key"].as_i64().unwrap()).collect()
        };
        let first = keys("").await;
        assert_eq!((first.len(), first[0] - first[99]), (100, 99), "{path}: the newest hundred");
        assert_eq!(keys(&format!("?before={}&limit=2", first[99])).await, [first[99] - 1, first[99] - 2]);
        assert_eq!(keys("?before=1").await, [0; 0]);
        let (status, refused) = http_json(&hub, "GET", &format!("/v1/{path}?after=1"), &admin, "").await;
        assert!(status == 400 && refused["error"].as_str().unwrap().contains("after"), "{refused}");
    }
}

#[tokio::test]
async fn tokens_are_made_and_revoked_without_a_hub_and_a_revoked_local_one_is_replaced() {
    let mut hub = TestHub::nowhere(&[]);
    let made = hub.cli(&["token", "add", "--role", "operator", "--label", "anna"]).await;
    assert!(stdout(&made).starts_with("operator_"), "{}", stderr(&made));
    let wrong = hub.cli(&["token", "add", "--role", "king", "--label", "x"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
    hub.launch().await;
    let before = hub.token(Role::Viewer);
    hub.stop().await;
    let local = key(&hub, "local viewer").await;
    let revoked = hub.cli(&["token", "revoke", &local.to_string()]).await;
    assert!(revoked.status.success(), "{}", stderr(&revoked));
    hub.launch().await;
    until("a new token", async || hub.token(Role::Viewer) != before).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "commands", "id": 1})).await;
    viewer.next_of("commands").await;
}

#[tokio::test]
async fn a_revoked_token_is_closed_whatever_its_session_waits_for() {
    let mut hub = TestHub::nowhere(&[]);
    // Nothing else ends these sessions in time.
    let settings = "[limits]\nhello_seconds = 300\nwrite_seconds = 300\nviewer_stuck_seconds = 300\n";
    std::fs::write(hub.data().join("hub.toml"), settings).unwrap();
    hub.start_again().await;
    let add =
        async |words: &[&str]| stdout(&hub.cli(&[&["token", "add"], words].concat()).await).trim().to_owned();
    let early = add(&["--role", "device", "--device", "early"]).await;
    let deaf = add(&["--role", "device", "--device", "deaf"]).await;
    let screen = add(&["--role", "viewer", "--label", "wall screen"]).await;
    // One that has not said hello.
    let mut silent: Peer = hub.dial(DEVICE_PATH, &early).await;
    // Two that say what cannot be read, and do not read the answers, until the hub waits for them.
    let mut stuck = Vec::new();
    for (path, token, first) in
        [(DEVICE_PATH, &deaf, hello("deaf")), (VIEWER_PATH, &screen, json!({"type": "?"}))]
    {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut raw = Raw { stream: socket.connect(hub.address).await.unwrap() };
        raw.bytes(wire::upgrade_request(path, token).as_bytes()).await;
        raw.frame(0x81, first.to_string().as_bytes()).await;
        let garbage = wire::frame(0x81, b"{\"type\":\"what is this\"}").repeat(1_000);
        while tokio::time::timeout(Duration::from_secs(1), raw.stream.write_all(&garbage)).await.is_ok() {}
        stuck.push(raw);
    }
    let sessions = async |role: &str, count: u32| {
        metrics(&hub).await.contains(&format!("telemetry_sessions{{role=\"{role}\"}} {count}\n"))
    };
    assert!(sessions("device", 1).await && sessions("viewer", 1).await, "{}", metrics(&hub).await);
    for label in ["device early", "device deaf", "wall screen"] {
        let key = key(&hub, label).await.to_string();
        assert!(hub.cli(&["token", "revoke", &key]).await.status.success());
    }
    assert_eq!(silent.closed().await.0, 4003);
    until("both to be gone", async || sessions("device", 0).await && sessions("viewer", 0).await).await;
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_under_load_and_nothing_is_lost_or_stored_twice() {
    const ROTATIONS: u64 = 5;
    let hub = TestHub::process(&[]).await;
    let add = ["token", "add", "--role", "device", "--device", "pump"];
    let mut token = stdout(&hub.cli(&add).await).trim().to_owned();
    let (mut acked, mut sent, mut closed) = (0, 0, 0);
    while closed <= ROTATIONS {
        let mut device: Peer = hub.dial(DEVICE_PATH, &token).await;
        device.say(hello("pump")).await;
        let welcome = device.next_of("welcome").await;
        let settled = welcome["acked_seq"].as_u64().unwrap();
        assert!((acked..=sent).contains(&settled), "{welcome}");
        (acked, sent) = (settled, settled);
        // The next one is there before this one goes.
        let next = stdout(&hub.cli(&add).await).trim().to_owned();
        let old = key(&hub, "device pump").await.to_string();
        let last = closed == ROTATIONS;
        let (enough, revoke) = (acked + 100, ["token", "revoke", &old]);
        let mut revoking = std::pin::pin!(async {
            if last { std::future::pending().await } else { hub.cli(&revoke).await }
        });
        let mut is_revoked = false;
        // Up to 64 batches are on the way, also when it is revoked.
        while !(last && acked == enough) {
            while sent < if last { enough } else { acked + 64 } {
                sent += 1;
                let from = sent as i64 * 10;
                let batch = counted(sent, from, from + 9).to_string();
                // It may be closed by now.
                drop(device.socket.send(Message::text(batch)).await);
            }
            tokio::select! {
                output = &mut revoking, if !is_revoked => is_revoked = output.status.success(),
                heard = device.hear() => match heard {
                    Heard::Message(ack) if ack["type"] == "ack" => acked = ack["seq"].as_u64().unwrap(),
                    Heard::Message(other) => panic!("{other}"),
                    Heard::Closed(code, _) => {
                        assert_eq!(code, 4003);
                        break;
                    }
                    Heard::Gone => panic!("the connection ended without a close frame"),
                },
            }
        }
        if !is_revoked && !last {
            assert!(revoking.await.status.success());
        }
        closed += 1;
        token = next;
    }
    assert_eq!(hub.reader().stats().unwrap().readings, sent * 10, "each is stored, once");
}
