//! Who comes in (I-12): credentials before the 101, every refusal a status with a reason, and no secret anywhere else.

use std::os::unix::fs::PermissionsExt as _;

use protocol::{DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Role, TestHub, stdout, until, within};
use crate::wire::{Bystander, Raw, frame, hello, http, http_json, upgrade_request};

#[tokio::test]
async fn i_12_each_door_opens_to_its_own_tokens_only() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let added = hub.cli(&["device", "add", "pump"]).await;
    let device_token = stdout(&added).trim().to_owned();
    let tokens = [
        ("device", device_token.as_str(), 101, 403),
        ("fleet", &hub.token(Role::Fleet), 101, 403),
        ("viewer", &hub.token(Role::Viewer), 403, 101),
        ("operator", &hub.token(Role::Operator), 403, 101),
        ("admin", &hub.token(Role::Admin), 403, 101),
        ("unknown", &format!("operator_{}", "0".repeat(64)), 401, 401),
        ("half", &hub.token(Role::Fleet)[..20], 401, 401),
        ("long", &"x".repeat(4_000), 401, 401),
    ];
    for (whose, token, at_device, at_viewer) in tokens {
        for (path, status) in [(DEVICE_PATH, at_device), (VIEWER_PATH, at_viewer)] {
            let answer = http(hub.address, upgrade_request(path, token).as_bytes()).await;
            assert_eq!(answer.status, status, "{whose} at {path}: {answer:?}");
            if status != 101 {
                let body: Json = serde_json::from_str(&answer.body).unwrap();
                assert!(body["error"].as_str().unwrap().to_lowercase().contains("token"), "{answer:?}");
                assert!(!answer.body.contains("bystander"), "nothing of the hub's is told: {answer:?}");
            }
            assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401, "{answer:?}");
        }
    }
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn i_12_an_upgrade_without_a_credential_is_refused_whatever_form_it_has() {
    let hub = TestHub::start().await;
    let good = upgrade_request(DEVICE_PATH, "TOKEN");
    let token = hub.token(Role::Fleet);
    for authorization in [
        String::new(),
        "Authorization: Bearer\r\n".into(),
        "Authorization: Bearer \r\n".into(),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        "Authorization: Bearer \u{ff}\r\n".into(),
    ] {
        let request = good.replace("Authorization: Bearer TOKEN\r\n", &authorization);
        let answer = http(hub.address, request.as_bytes()).await;
        assert_eq!(answer.status, 401, "{authorization}: {answer:?}");
    }
    // A token in the URL is no credential.
    let request = good
        .replace("Authorization: Bearer TOKEN\r\n", "")
        .replace("/v1/device", &format!("/v1/device?token={token}"));
    assert_eq!(http(hub.address, request.as_bytes()).await.status, 400);
}

#[tokio::test]
async fn a_web_page_connects_only_if_it_is_named() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "origins = [\"https://dash.example\"]\n").unwrap();
    hub.launch().await;
    let good = upgrade_request(VIEWER_PATH, &hub.token(Role::Viewer));
    for (origins, status) in [
        (&[][..], 101),
        (&["https://dash.example"], 101),
        (&["https://dash.example.evil.example"], 403),
        (&["http://dash.example"], 403),
        (&["https://dash.example:444"], 403),
        (&["null"], 403),
        (&["\u{ff}"], 403),
        (&["https://dash.example", "https://evil.example"], 403),
    ] {
        let lines: Vec<String> = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let lines = lines.concat();
        let request = good.replace("Upgrade: websocket\r\n", &format!("Upgrade: websocket\r\n{lines}"));
        assert_eq!(request.contains("Origin"), !origins.is_empty());
        let answer = http(hub.address, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{origins:?}: {answer:?}");
        assert_eq!(answer.body.contains("`origins` in hub.toml"), status == 403, "{answer:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_of_ours_is_refused_with_the_right_status_and_a_reason() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let good = upgrade_request(DEVICE_PATH, &hub.token(Role::Fleet));
    let with = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replace(from, to).into_bytes()
    };
    let subprotocol = format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n");
    let key = "Sec-WebSocket-Key: dGVsZW1ldHJ5LWh1Yi12MQ==\r\n";
    let many_headers = "X-More: 1\r\n".repeat(200);
    let huge = format!("Host: hub\r\nX-Huge: {}\r\n", "x".repeat(1 << 20));
    for (what, request, status, place) in [
        ("another subprotocol", with(&subprotocol, "Sec-WebSocket-Protocol: mqtt\r\n"), 400, SUBPROTOCOL),
        ("no subprotocol", with(&subprotocol, ""), 400, SUBPROTOCOL),
        ("no key", with(key, ""), 400, "Sec-WebSocket-Key"),
        ("a short key", with(key, "Sec-WebSocket-Key: dGVsZW1ldHJ5\r\n"), 400, "Sec-WebSocket-Key"),
        (
            "a key that is not base64",
            with("dGVsZW1ldHJ5LWh1Yi12MQ==", "!GVsZW1ldHJ5LWh1Yi12MQ=="),
            400,
            "Sec-WebSocket-Key",
        ),
        ("version 8", with("Version: 13", "Version: 8"), 426, "13"),
        ("no version", with("Sec-WebSocket-Version: 13\r\n", ""), 426, "13"),
        ("no Upgrade", with("Upgrade: websocket\r\n", ""), 426, "WebSocket"),
        ("another upgrade", with("Upgrade: websocket", "Upgrade: h2c"), 426, "WebSocket"),
        ("no Connection", with("Connection: Upgrade\r\n", ""), 426, "WebSocket"),
        ("HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), 400, "HTTP/1.1"),
        ("POST", with("GET", "POST"), 405, "{\"error\":"),
        ("PUT", with("GET", "PUT"), 405, "Allow"),
        ("another path", with("/v1/device", "/v2/device"), 404, "/v1/device"),
        ("HTTP/9.9", with("HTTP/1.1", "HTTP/9.9"), 400, ""),
        ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, ""),
        ("garbage in a header", with("Host: hub", "Ho st\u{0}: hub"), 400, ""),
        ("200 headers", with("Host: hub\r\n", &many_headers), 431, ""),
        ("a megabyte of header", with("Host: hub\r\n", &huge), 431, ""),
    ] {
        let answer = http(hub.address, &request).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.body.contains(place), "{what}: {answer:?}");
        for (code, header) in
            [(405, "allow: get"), (426, "sec-websocket-version: 13"), (426, "upgrade: websocket")]
        {
            assert!(
                status != code || answer.head.contains(header),
                "{what}: {header} is missing: {answer:?}"
            );
        }
        bystander.is_undisturbed().await;
    }
    let answer = http(hub.address, b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(serde_json::from_str::<Json>(&answer.body).unwrap()["status"], "ok");
}

#[tokio::test]
async fn the_subprotocol_is_found_in_a_list_and_names_are_read_in_any_case() {
    let hub = TestHub::start().await;
    let request = upgrade_request(VIEWER_PATH, &hub.token(Role::Viewer))
        .replace(SUBPROTOCOL, &format!("mqtt, {SUBPROTOCOL}"))
        .replace("Connection: Upgrade", "CONNECTION: keep-alive, upgrade")
        .replace("Upgrade: websocket", "upgrade: WebSocket")
        .replace("Bearer", "bearer");
    let answer = http(hub.address, request.as_bytes()).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert!(answer.head.contains(&format!("sec-websocket-protocol: {SUBPROTOCOL}\r\n")), "{answer:?}");
}

#[tokio::test]
async fn i_6_one_connection_too_many_is_turned_away_and_those_that_are_there_stay() {
    let hub = TestHub::process(&["--max-connections", "3"]).await;
    let mut bystander = Bystander::join(&hub).await;
    let second = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    let third = Raw::connect(&hub, VIEWER_PATH, Role::Viewer).await;
    let mut fourth = TcpStream::connect(hub.address).await.unwrap();
    let mut said = String::new();
    within("the hub to turn it away", fourth.read_to_string(&mut said)).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 429"), "{said}");
    assert!(said.contains("max_connections is 3 (per hub); try again in 5 s"), "{said}");
    assert!(said.contains("retry-after: 5"), "{said}");
    bystander.is_undisturbed().await;
    drop((second, third));
    until("room for another", async || {
        http(hub.address, upgrade_request(DEVICE_PATH, &hub.token(Role::Fleet)).as_bytes()).await.status
            == 101
    })
    .await;
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn i_12_only_an_administrator_adds_devices() {
    let hub = TestHub::start().await;
    let request = |id: &str, token: &str| {
        format!(
            "PUT /v1/devices/{id} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (role, status) in [(Role::Fleet, 403), (Role::Viewer, 403), (Role::Operator, 403), (Role::Admin, 201)]
    {
        let answer = http(hub.address, request("pump", &hub.token(role)).as_bytes()).await;
        assert_eq!(answer.status, status, "{role:?}: {answer:?}");
    }
    assert_eq!(http(hub.address, request("pump", "unknown").as_bytes()).await.status, 401);
    let answer = http(hub.address, request("a%20b", &hub.token(Role::Admin)).as_bytes()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let (_, devices) = hub.viewer(Role::Viewer).await;
    assert_eq!(devices.len(), 1);
}

#[tokio::test]
async fn i_12_no_token_is_in_the_log_or_in_the_database_and_its_files_are_the_owners_only() {
    let mut hub = TestHub::process(&["--log", "trace"]).await;
    let added = hub.cli(&["device", "add", "pump"]).await;
    let mut tokens = vec![stdout(&added).trim().to_owned(), format!("device_{}", "5".repeat(64))];
    for (role, file) in [
        (Role::Fleet, "fleet.token"),
        (Role::Viewer, "viewer.token"),
        (Role::Operator, "operator.token"),
        (Role::Admin, "admin.token"),
    ] {
        tokens.push(hub.token(role));
        let mode = std::fs::metadata(hub.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for token in &tokens {
        for path in [DEVICE_PATH, VIEWER_PATH] {
            http(hub.address, upgrade_request(path, token).as_bytes()).await;
        }
    }
    let mut device = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    device.frame(0x81, hello("pump").to_string().as_bytes()).await;
    device.next().await.unwrap();
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    operator.say(json!({"type": "subscribe", "id": 1})).await;
    operator.next_of("subscribed").await;
    drop((device, operator));
    // What is good once, used and tried again, and what it gives.
    let code = stdout(&hub.cli(&["claim", "add", "press"]).await).trim().to_owned();
    let body = json!({ "code": code }).to_string();
    for status in [201, 403] {
        let (claimed, made) = http_json(&hub, "POST", "/v1/claim", "none", &body).await;
        assert_eq!(claimed, status, "{made}");
        tokens.extend(made["token"].as_str().map(str::to_owned));
    }
    let (_, made) = http_json(&hub, "POST", "/v1/ticket", &hub.token(Role::Viewer), "").await;
    let ticket = made["ticket"].as_str().unwrap();
    for status in [101, 401] {
        let request = upgrade_request(VIEWER_PATH, "")
            .replace("Authorization: Bearer \r\n", "")
            .replace(SUBPROTOCOL, &format!("{SUBPROTOCOL}, ticket.{ticket}"));
        assert_eq!(http(hub.address, request.as_bytes()).await.status, status);
    }
    tokens.extend([
        format!("ticket_{ticket}"),
        format!("code_{code}"),
        format!("code_{}", code.replace('-', "")),
    ]);
    assert_eq!(tokens.len(), 10);
    // What is refused gets as far as the audit trail.
    until("the trail", async || {
        stdout(&hub.cli(&["audit", "--refused"]).await).contains("the ticket is good")
    })
    .await;

    hub.terminate();
    let (_, log) = hub.ended().await;
    assert!(log.contains("TRACE"), "the log is as loud as it can be");
    for token in &tokens {
        let (_, secret) = token.split_once('_').unwrap();
        assert!(!log.contains(secret), "a token is in the log");
        for file in std::fs::read_dir(hub.data()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "token") {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "a token is in {}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn whoever_keeps_the_hub_waiting_takes_nobodys_turn() {
    let mut hub = TestHub::nowhere(&[]);
    let limits = "[limits]\nhandshakes_at_once = 1\nfailures_per_minute = 1\nguess_seconds = 60\n";
    std::fs::write(hub.data().join("hub.toml"), limits).unwrap();
    hub.launch().await;
    let mut bystander = Bystander::join(&hub).await;
    let wrong = upgrade_request(DEVICE_PATH, "wrong");
    let half = &wrong[..wrong.len() / 2];
    let claim = "POST /v1/claim HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let kept = "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n";
    let mut strangers = Vec::new();
    for begin in ["", half, claim, kept, &wrong] {
        // More than there are seconds to wait: a turn that is kept lasts for one.
        for _ in 0..40 {
            let mut stream = TcpStream::connect(hub.address).await.unwrap();
            stream.write_all(begin.as_bytes()).await.unwrap();
            strangers.push(stream);
        }
    }
    bystander.is_undisturbed().await;
    within("a whole fleet to be let in, one after the other", async {
        let fleet = (0..50).map(|_| Raw::connect(&hub, DEVICE_PATH, Role::Fleet));
        futures_util::future::join_all(fleet).await;
    })
    .await;
    bystander.is_undisturbed().await;
}

#[tokio::test]
async fn a_request_may_come_in_pieces_with_frames_behind_it() {
    let hub = TestHub::start().await;
    let request = upgrade_request(DEVICE_PATH, &hub.token(Role::Fleet));
    let hello = frame(0x81, hello("pump").to_string().as_bytes());
    let bytes = [request.as_bytes(), &hello].concat();
    for pieces in [1, 2, 7, 100] {
        let mut stream = TcpStream::connect(hub.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            stream.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(r#""type":"welcome""#) {
            let count = within("the welcome", stream.read_buf(&mut said)).await.unwrap();
            assert!(count > 0, "{pieces} pieces: {}", String::from_utf8_lossy(&said));
        }
        assert!(said.starts_with(b"HTTP/1.1 101"));
    }
}
