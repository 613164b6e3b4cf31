//! Who may do what: every path and every message, for every role and for nobody, exactly as the table says (I-17).

use std::collections::BTreeSet;

use hub::access::{self, Need};
use protocol::device::DeviceMessage;
use protocol::viewer::ViewerMessage;
use protocol::{DEVICE_PATH, VIEWER_PATH};
use serde_json::{Value as Json, json};
use store::CredentialRole;

use crate::harness::{Role, TestHub, stdout, within};
use crate::python::root;
use crate::wire::{Bystander, Heard, counted, hello, http, upgrade_request};

/// Everyone that there can be, with a token.
async fn everyone(hub: &TestHub) -> Vec<(&'static str, Option<CredentialRole>, Option<String>)> {
    let device = stdout(&hub.cli(&["device", "add", "kettle"]).await).trim().to_owned();
    vec![
        ("nobody", None, None),
        ("unknown", None, Some(format!("admin_{}", "0".repeat(64)))),
        ("device", Some(CredentialRole::Device("kettle".parse().unwrap())), Some(device)),
        ("fleet", Some(CredentialRole::Fleet), Some(hub.token(Role::Fleet))),
        ("viewer", Some(CredentialRole::Viewer), Some(hub.token(Role::Viewer))),
        ("operator", Some(CredentialRole::Operator), Some(hub.token(Role::Operator))),
        ("admin", Some(CredentialRole::Admin), Some(hub.token(Role::Admin))),
    ]
}

async fn patient_hub() -> TestHub {
    let mut hub = TestHub::nowhere(&[]);
    // This test is wrong more often in a minute than anybody may be.
    std::fs::write(hub.data().join("hub.toml"), "[limits]\nfailures_per_minute = 100000\n").unwrap();
    hub.launch().await;
    hub
}

#[tokio::test]
async fn i_17_every_path_is_open_to_exactly_those_whom_the_table_names() {
    let hub = patient_hub().await;
    let mut bystander = Bystander::join(&hub).await;
    bystander.is_undisturbed().await;
    let everyone = everyone(&hub).await;
    let mut cells = 0;
    for route in access::routes() {
        let path = route.path.replace("{id}", "nothing-here").replace("{key}", "999999");
        for (who, role, token) in &everyone {
            let good = upgrade_request(&path, token.as_deref().unwrap_or_default());
            let good = match token {
                Some(_) => good,
                None => good.replace("Authorization: Bearer \r\n", ""),
            };
            let request = match route.path {
                DEVICE_PATH | VIEWER_PATH => good,
                _ => {
                    let authorization =
                        token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n"));
                    let authorization = authorization.unwrap_or_default();
                    format!(
                        "{} {path} HTTP/1.1\r\nHost: hub\r\n{authorization}Content-Length: 2\r\n\r\n{{}}",
                        route.method
                    )
                }
            };
            let answer = http(hub.address, request.as_bytes()).await;
            let place = format!("{who}: {} {}: {answer:?}", route.method, route.path);
            if route.need.allows(role.as_ref()) {
                assert!(!matches!(answer.status, 401 | 403 | 405 | 500..), "{place}");
            } else {
                assert_eq!(answer.status, if role.is_some() { 403 } else { 401 }, "{place}");
                // Nothing of the hub's is told.
                let body: Json = serde_json::from_str(&answer.body).unwrap();
                let told: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
                assert!(told.is_subset(&["code", "error"].into()), "{place}");
                assert!(!answer.body.contains("bystander") && !answer.body.contains("kettle"), "{place}");
            }
            cells += 1;
        }
    }
    assert_eq!(cells, access::routes().len() * 7);
    // What is in no line of the table is nowhere.
    for (who, _, token) in &everyone {
        let token = token.as_deref().unwrap_or("x");
        for path in
            ["/", "/v1", "/v1/", "/v1/tokens/", "/v1/secrets", "/V1/tokens", "//v1/tokens", "/v1/devices"]
        {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n");
            assert_eq!(http(hub.address, request.as_bytes()).await.status, 404, "{who} {path}");
        }
        let request =
            format!("PATCH /v1/tokens HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n");
        assert_eq!(http(hub.address, request.as_bytes()).await.status, 405, "{who}");
    }
    bystander.is_undisturbed().await;
}

#[test]
fn the_table_of_paths_is_the_one_in_the_document() {
    let document = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let verbs = ["GET", "POST", "PUT", "DELETE", "OPTIONS"].map(|verb| format!("| `{verb} /"));
    let is_path = |line: &&str| verbs.iter().any(|verb| line.starts_with(verb));
    let written: Vec<&str> = document.lines().filter(is_path).collect();
    let lines: Vec<String> = access::routes()
        .into_iter()
        .map(|route| {
            let who = match route.need {
                Need::Nobody => "everyone",
                Need::Known => "device, fleet, viewer, operator, admin",
                Need::Device => "device, fleet",
                Need::Look => "viewer, operator, admin",
                Need::Operate => "operator, admin",
                Need::Administer => "admin",
            };
            format!("| `{} {}` | {who} |", route.method, route.path)
        })
        .collect();
    for line in &lines {
        assert!(written.contains(&line.as_str()), "docs/operations.md lacks\n{}", lines.join("\n"));
    }
    assert_eq!(written.len(), lines.len());
}

/// A message of each type, as the protocol's golden files have it.
fn samples(side: &str, types: &[&str]) -> Vec<Json> {
    let folder = root().join("protocol/tests/golden");
    let read = |kind: &str| {
        let path = folder.join(format!("{side}.{kind}.json"));
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", path.display())))
            .unwrap()
    };
    types.iter().map(|kind| read(kind)).collect()
}

#[tokio::test]
async fn i_17_every_message_is_heard_from_exactly_those_whom_the_table_names() {
    let hub = patient_hub().await;
    let mut cells = 0;
    for (who, role, token) in everyone(&hub).await {
        let (Some(role), Some(token)) = (role, token) else { continue };
        if !Need::Look.allows(Some(&role)) {
            continue;
        }
        let mut peer = hub.dial(VIEWER_PATH, &token).await;
        let welcome = peer.next_of("welcome").await;
        assert_eq!(welcome["role"], if who == "viewer" { "viewer" } else { "operator" });
        for (n, mut sample) in (1..).zip(samples("viewer", ViewerMessage::TYPES)) {
            sample["id"] = json!(n);
            let message = ViewerMessage::decode(&sample.to_string()).unwrap();
            peer.say(sample).await;
            // A question that everyone may ask: whatever is refused is refused before it is answered.
            peer.say(json!({"type": "commands", "id": 1_000 + n})).await;
            let mut forbidden = false;
            loop {
                let said = peer.next().await;
                forbidden |= said["type"] == "error" && said["id"] == n && said["code"] == "forbidden";
                if said["id"] == 1_000 + n {
                    break;
                }
            }
            let allowed = access::viewer_message(&message).allows(Some(&role));
            assert_eq!(forbidden, !allowed, "{who}: {}", message.kind());
            cells += 1;
        }
        // What devices say is not spoken here.
        for sample in samples("device", DeviceMessage::TYPES) {
            peer.say(sample).await;
            peer.error("unknown_type").await;
            cells += 1;
        }
    }
    for role in [Role::Fleet] {
        let mut device = hub.dial(DEVICE_PATH, &hub.token(role)).await;
        device.say(hello("pump")).await;
        device.next_of("welcome").await;
        for sample in samples("viewer", ViewerMessage::TYPES) {
            device.say(sample).await;
            device.error("unknown_type").await;
            cells += 1;
        }
        device.say(counted(1, 1, 1)).await;
        device.acked(1).await;
    }
    let (viewer, device) = (ViewerMessage::TYPES.len(), DeviceMessage::TYPES.len());
    assert_eq!(cells, 3 * (viewer + device) + viewer);
}

#[tokio::test]
async fn i_17_nothing_is_said_on_a_socket_before_it_is_known_who_is_there() {
    let hub = TestHub::start().await;
    // A device that was let in hears nothing until it has said who it is.
    let mut silent = hub.device().await;
    let heard = tokio::time::timeout(std::time::Duration::from_millis(300), silent.hear()).await;
    assert!(heard.is_err(), "{heard:?}");
    silent.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    assert!(matches!(within("the close", silent.hear()).await, Heard::Closed(4001, _)));
}

#[tokio::test]
async fn the_hub_in_numbers_is_as_prometheus_reads_it_and_counts_what_happened() {
    let hub = TestHub::start().await;
    let mut bystander = Bystander::join(&hub).await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer.say(json!({"type": "subscribe", "id": 1})).await;
    viewer.next_of("subscribed").await;
    bystander.is_undisturbed().await;
    viewer.say(json!({"type": "send_command", "id": 2, "device": "bystander", "name": "stop"})).await;
    viewer.error("forbidden").await;
    http(hub.address, upgrade_request(DEVICE_PATH, "unknown").as_bytes()).await;
    // What claims to be from 1970 was on no way of half a century.
    let mut device = hub.welcomed("pump").await;
    for (seq, at) in [(1, hub::clock::now().0), (2, 1)] {
        let points = json!([{"at": at, "values": {"count": 1}}]);
        device.say(json!({"type": "readings", "seq": seq, "points": points})).await;
        device.acked(seq).await;
    }
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\n\r\n",
        hub.token(Role::Viewer)
    );
    let answer = http(hub.address, request.as_bytes()).await;
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{answer:?}");
    let mut typed = BTreeSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(typed.insert(rest.split(' ').next().unwrap().to_owned()), "once: {line}");
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = name.split('{').next().unwrap();
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(typed.contains(name) || typed.contains(base), "{line}");
        }
    }
    for line in [
        "telemetry_ready 1",
        "telemetry_sessions{role=\"fleet\"} 2",
        "telemetry_sessions{role=\"viewer\"} 1",
        "telemetry_devices_connected 2",
        "telemetry_readings_total 3",
        "telemetry_commits_total 3",
        "telemetry_on_its_way_seconds_count 2",
        "telemetry_ack_seconds_count 3",
        "telemetry_commit_seconds_count 3",
        "telemetry_refused_total{limit=\"role\"} 1",
        "telemetry_refused_total{limit=\"credential\"} 1",
        "telemetry_limit{name=\"max_connections\"} 10000",
        "telemetry_storage_full 0",
    ] {
        assert!(answer.body.lines().any(|l| l == line), "{line} is not in\n{}", answer.body);
    }
    let ready = http(hub.address, b"GET /readyz HTTP/1.1\r\nHost: hub\r\n\r\n").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
}
