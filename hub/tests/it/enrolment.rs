//! Claims and tickets: credentials that are good once, and what wrong ones cost.

use client::Endpoint;
use client::endpoint::Given;
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;

use protocol::{DEVICE_PATH, SUBPROTOCOL, VIEWER_PATH};

use crate::harness::{Role, TestHub, stderr, stdout, until};
use crate::wire::{Peer, hello, http, http_json, upgrade_request};

async fn claim(hub: &TestHub, code: &str) -> (u16, Json) {
    let body = json!({ "code": code }).to_string();
    let request =
        format!("POST /v1/claim HTTP/1.1\r\nHost: hub\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = http(hub.address, request.as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

#[tokio::test]
async fn a_device_gets_its_token_with_a_code_once() {
    let hub = TestHub::process(&[]).await;
    let code = stdout(&hub.cli(&["claim", "add", "pump", "--hours", "1"]).await).trim().to_owned();
    let (status, made) = claim(&hub, &code.to_lowercase().replace('-', " ")).await;
    assert_eq!((status, &made["device"]), (201, &json!("pump")), "{made}");
    let token = made["token"].as_str().unwrap();
    let mut device: Peer = hub.dial(DEVICE_PATH, token).await;
    device.say(hello("pump")).await;
    device.next_of("welcome").await;
    let (status, again) = claim(&hub, &code).await;
    assert_eq!(status, 403, "{again}");
    let mut other: Peer = hub.dial(DEVICE_PATH, token).await;
    other.say(hello("press")).await;
    assert_eq!(other.closed().await.0, 4007, "it is its own device's token");

    // Taken back, and made without a hub.
    let code = stdout(&hub.cli(&["claim", "add", "press"]).await).trim().to_owned();
    let taken = hub.cli(&["claim", "revoke", "2"]).await;
    assert!(stdout(&taken).contains("good for nothing"), "{}", stderr(&taken));
    assert_eq!(claim(&hub, &code).await.0, 403);
    let listed = stdout(&hub.cli(&["claim", "list"]).await);
    assert!(listed.contains("used") && listed.contains("expired") && !listed.contains(&code), "{listed}");
    let too_long = hub.cli(&["claim", "add", "x", "--hours", "721"]).await;
    assert!(stderr(&too_long).contains("claim_seconds is 2592000 (per claim)"), "{}", stderr(&too_long));
    assert_eq!(hub.cli(&["claim", "add", "x", "--hours", "0"]).await.status.code(), Some(2));
    for body in ["", "{}", "nonsense", r#"{"code": 5}"#] {
        let request =
            format!("POST /v1/claim HTTP/1.1\r\nHost: hub\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(http(hub.address, request.as_bytes()).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_claim_made_without_a_hub_is_good_with_one() {
    let mut hub = TestHub::nowhere(&[]);
    let made = hub.cli(&["claim", "add", "pump"]).await;
    assert!(made.status.success(), "{}", stderr(&made));
    hub.launch().await;
    let url = hub.url();
    let endpoint = Endpoint::find_hub(Given { url: Some(&url), ..Given::default() }).unwrap();
    let claimed = client::claim::claim(&endpoint, stdout(&made).trim()).await.unwrap();
    assert_eq!(claimed.device.as_str(), "pump");
    let mut device: Peer = hub.dial(DEVICE_PATH, claimed.token.reveal()).await;
    device.say(hello("pump")).await;
    device.next_of("welcome").await;
    let again = client::claim::claim(&endpoint, stdout(&made).trim()).await.unwrap_err();
    assert!(
        !again.is_retryable() && again.to_string().contains("`hub claim add` makes a new one"),
        "{again}"
    );
    let trail = stdout(&hub.cli(&["audit"]).await);
    assert!(trail.contains("claim.add     command line: claim 1 for device pump"), "{trail}");
    assert!(trail.contains("claim.use     claim 1 from 127.0.0.1"), "{trail}");
}

#[tokio::test]
async fn a_ticket_opens_one_connection_of_its_role_once_and_is_in_no_url() {
    let hub = TestHub::start().await;
    let (status, made) = http_json(&hub, "POST", "/v1/ticket", &hub.token(Role::Viewer), "").await;
    assert_eq!((status, &made["seconds"]), (201, &json!(30)), "{made}");
    let name = made["protocol"].as_str().unwrap().to_owned();
    let dial = async |path: &str| {
        let stream = tokio::net::TcpStream::connect(hub.address).await.unwrap();
        let uri = format!("ws://{}{path}", hub.address).parse().unwrap();
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL).with_sub_protocol(&name);
        tokio_tungstenite::client_async(request, stream).await
    };
    let (socket, response) = dial(VIEWER_PATH).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL, "the ticket is not repeated");
    let mut viewer = Peer { socket };
    assert_eq!(viewer.next_of("welcome").await["role"], "viewer");
    let refused = dial(VIEWER_PATH).await.unwrap_err().to_string();
    assert!(refused.contains("401"), "{refused}");
    let ticket = made["ticket"].as_str().unwrap();
    let request = upgrade_request(&format!("{VIEWER_PATH}?ticket={ticket}"), "")
        .replace("Authorization: Bearer \r\n", "");
    assert_eq!(http(hub.address, request.as_bytes()).await.status, 400, "a URL opens nothing");
    // That of a viewer is none of a device, and the other way round.
    let device = stdout(&hub.cli(&["device", "add", "pump"]).await).trim().to_owned();
    for (token, wrong) in [(&hub.token(Role::Viewer), DEVICE_PATH), (&device, VIEWER_PATH)] {
        let (_, made) = http_json(&hub, "POST", "/v1/ticket", token, "").await;
        let ticket = made["protocol"].as_str().unwrap();
        let request = upgrade_request(wrong, "")
            .replace("Authorization: Bearer \r\n", "")
            .replace(SUBPROTOCOL, &format!("{SUBPROTOCOL}, {ticket}"));
        assert_eq!(http(hub.address, request.as_bytes()).await.status, 403);
        assert_eq!(http(hub.address, request.as_bytes()).await.status, 401, "and it is used up");
    }
    // It is whom the token is, and goes with it.
    let admin = hub.token(Role::Admin);
    let body = json!({"role": "operator", "label": "anna"}).to_string();
    let (_, anna) = http_json(&hub, "POST", "/v1/tokens", &admin, &body).await;
    let (_, made) = http_json(&hub, "POST", "/v1/ticket", anna["token"].as_str().unwrap(), "").await;
    let (status, _) = http_json(&hub, "DELETE", &format!("/v1/tokens/{}", anna["key"]), &admin, "").await;
    assert_eq!(status, 200);
    let ticket = made["protocol"].as_str().unwrap();
    let request = upgrade_request(VIEWER_PATH, "")
        .replace("Authorization: Bearer \r\n", "")
        .replace(SUBPROTOCOL, &format!("{SUBPROTOCOL}, {ticket}"));
    let answer = http(hub.address, request.as_bytes()).await;
    assert!(answer.status == 401 && answer.body.contains("its token is revoked"), "{answer:?}");
}

#[tokio::test]
async fn whoever_guesses_is_slowed_and_the_device_whose_name_it_tries_is_not() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "[limits]\nfailures_per_minute = 5\n").unwrap();
    hub.launch().await;
    let token = stdout(&hub.cli(&["device", "add", "pump"]).await).trim().to_owned();
    let code = stdout(&hub.cli(&["claim", "add", "press"]).await).trim().to_owned();
    let wrong = upgrade_request(DEVICE_PATH, &format!("device_{}", "0".repeat(64)));
    for _ in 0..5 {
        assert_eq!(http(hub.address, wrong.as_bytes()).await.status, 401);
    }
    let start = std::time::Instant::now();
    let answer = http(hub.address, wrong.as_bytes()).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(start.elapsed().as_millis() >= 1_000, "each further answer takes a second");
    let body: Json = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&body["limit"], &body["value"], &body["scope"]),
        (&json!("failures_per_minute"), &json!(5), &json!("address"))
    );
    assert!(answer.head.contains(&format!("retry-after: {}", body["retry_after_seconds"])), "{answer:?}");
    // Codes are short enough to wait for.
    let (status, body) = claim(&hub, &code).await;
    assert_eq!(status, 429, "{body}");
    // The device comes from the very same address.
    let mut device: Peer = hub.dial(DEVICE_PATH, &token).await;
    device.say(hello("pump")).await;
    device.next_of("welcome").await;
    // And from another one a claim is good.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(hub.address).await.unwrap();
    let body = json!({ "code": code }).to_string();
    let request = format!(
        "POST /v1/claim HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 201"), "{said}");
    let trail = async || stdout(&hub.cli(&["audit", "--refused", "--json"]).await);
    until("the trail", async || trail().await.contains("unknown or revoked token")).await;
}

#[tokio::test]
async fn strangers_of_one_address_are_counted_and_whoever_is_known_is_not() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(
        hub.data().join("hub.toml"),
        "[limits]\nstrangers_per_address = 4\nrequest_head_seconds = 2\n",
    )
    .unwrap();
    hub.launch().await;
    // Those who are known do not count.
    let mut known = Vec::new();
    for n in 0..8 {
        known.push(hub.welcomed(&format!("pump-{n}")).await);
    }
    let mut strangers = Vec::new();
    for _ in 0..4 {
        let mut stream = tokio::net::TcpStream::connect(hub.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /v1/dev").await.unwrap();
        strangers.push(stream);
    }
    let good = upgrade_request(DEVICE_PATH, &hub.token(Role::Fleet));
    let mut last = None;
    // The last stranger may not have been accepted yet.
    until("the limit", async || {
        let answer = http(hub.address, good.as_bytes()).await;
        let turned = answer.status == 429;
        last = Some(answer);
        turned
    })
    .await;
    let answer = last.unwrap();
    let body: Json = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&body["limit"], &body["value"], &body["scope"]),
        (&json!("strangers_per_address"), &json!(4), &json!("address"))
    );
    assert!(answer.head.contains("retry-after: 5"), "{answer:?}");
    // Elsewhere there is room; and here when their time is over.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(hub.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, good.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 101");
    until("room", async || http(hub.address, good.as_bytes()).await.status == 101).await;
    drop((strangers, known));
}

#[tokio::test]
async fn the_audit_trail_has_who_was_let_in_who_was_not_and_who_changed_what() {
    let hub = TestHub::process(&[]).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "send_command", "id": 1, "device": "pump", "name": "stop"})).await;
    viewer.error("forbidden").await;
    for _ in 0..3 {
        assert_eq!(http_json(&hub, "GET", "/v1/tokens", &hub.token(Role::Operator), "").await.0, 403);
    }
    hub.cli(&["token", "add", "--role", "viewer", "--label", "wall"]).await;
    let rows = async || {
        let text = stdout(&hub.cli(&["audit", "--json"]).await);
        text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap()).collect::<Vec<_>>()
    };
    let has = |rows: &[Json], action: &str, outcome: &str, by: &str, subject: &str| {
        rows.iter().any(|row| {
            row["action"] == action
                && row["outcome"] == outcome
                && row["by"] == by
                && row["subject"].as_str().unwrap().contains(subject)
        })
    };
    until("all of it", async || {
        let rows = rows().await;
        has(&rows, "sign_in", "done", "local viewer", VIEWER_PATH)
            && has(&rows, "request", "refused", "local viewer", "message send_command")
            && has(&rows, "request", "refused", "local operator", "GET /v1/tokens")
            && has(&rows, "token.add", "done", "local admin", "viewer \"wall\"")
            && has(&rows, "token.add", "done", "hub", "admin \"local admin\"")
    })
    .await;
    let refused = stdout(&hub.cli(&["audit", "--refused", "--action", "request"]).await);
    assert!(refused.contains("only an operator may do this") && !refused.contains("token.add"), "{refused}");
    assert_eq!(http_json(&hub, "GET", "/v1/audit?limit=0", &hub.token(Role::Admin), "").await.0, 400);
}

#[tokio::test]
async fn a_page_draws_a_ticket_itself_only_from_an_origin_that_is_named() {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), "origins = [\"https://dash.example\"]\n").unwrap();
    hub.launch().await;
    let token = hub.token(Role::Viewer);
    for (origin, status, allowed) in [
        ("", 201, false),
        ("Origin: https://dash.example\r\n", 201, true),
        ("Origin: https://evil.example\r\n", 403, false),
        ("Origin: null\r\n", 403, false),
    ] {
        let request = format!(
            "POST /v1/ticket HTTP/1.1\r\nHost: hub\r\n{origin}Authorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        );
        let answer = http(hub.address, request.as_bytes()).await;
        assert_eq!(answer.status, status, "{origin}: {answer:?}");
        let allows = "access-control-allow-origin: https://dash.example\r\n";
        assert_eq!(answer.head.contains(allows), allowed, "{answer:?}");
        assert!(answer.head.contains("vary: origin"), "{answer:?}");
        // What a browser asks first.
        let request = format!(
            "OPTIONS /v1/ticket HTTP/1.1\r\nHost: hub\r\n{origin}Access-Control-Request-Method: POST\r\n\
             Access-Control-Request-Headers: authorization\r\n\r\n"
        );
        let answer = http(hub.address, request.as_bytes()).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.head.contains(allows), allowed, "{answer:?}");
        assert_eq!(
            answer.head.contains("access-control-allow-headers: authorization"),
            allowed,
            "{answer:?}"
        );
    }
    // No other answer is for pages.
    let request = format!(
        "GET /v1/commands HTTP/1.1\r\nHost: hub\r\nOrigin: https://dash.example\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    assert!(!http(hub.address, request.as_bytes()).await.head.contains("access-control"));
}

#[tokio::test]
async fn a_credential_in_a_url_is_refused_by_name_and_repeated_nowhere() {
    let hub = TestHub::process(&["--log", "trace"]).await;
    let token = hub.token(Role::Fleet);
    for path in [DEVICE_PATH, VIEWER_PATH, "/v1/commands", "/v1/ticket"] {
        for query in ["token=", "access_token=", "x=1&Authorization=Bearer%20"] {
            // Also where the header is good.
            let request = upgrade_request(&format!("{path}?{query}{token}"), &token);
            let request = if path == "/v1/ticket" { request.replace("GET", "POST") } else { request };
            let answer = http(hub.address, request.as_bytes()).await;
            assert_eq!(answer.status, 400, "{path}?{query}: {answer:?}");
            assert!(answer.body.contains("stands in the URL") && !answer.body.contains(&token), "{answer:?}");
        }
    }
    assert!(!hub.log().contains(&token));
}
