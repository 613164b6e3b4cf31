//! The table of limits, walked: each has a key, a metric, a line in the document, and a refusal that names it (I-6).

use std::fmt::Write as _;

use hub::limits::{FIXED, Fixed, Limit, Limits, Reached};
use protocol::{DEVICE_PATH, VIEWER_PATH};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Role, TestHub, until, within};
use crate::python::root;
use crate::wire::{Answer, Heard, Peer, Raw, ask, counted, hello, http, upgrade_request};

/// The table as `docs/operations.md` prints it.
fn printed() -> String {
    let mut text = "| key | default | for each | what | when reached |\n|---|---|---|---|---|\n".to_owned();
    for limit in Limit::ALL {
        let (reached, again) = (limit.reached().words(), limit.again());
        let end = [reached.as_str(), again].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let (key, default, scope, what) = (limit.key(), limit.default(), limit.scope(), limit.what());
        writeln!(text, "| `{key}` | {default} | {scope} | {what} | {} |", end.join("; ")).unwrap();
    }
    text
}

#[test]
fn the_table_of_limits_is_the_one_in_the_document() {
    let path = root().join("docs/operations.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (_, rest) = document.split_once("\n### Limits\n").expect("a chapter on limits");
    let start = rest.find("| key |").expect("its table");
    let end = rest[start..].find("\n\n").map_or(rest.len(), |end| start + end + 1);
    if std::env::var_os("UPDATE_DOCUMENT").is_some() {
        let head = document.len() - rest.len();
        let whole = format!("{}{}{}", &document[..head + start], printed(), &rest[end..]);
        std::fs::write(&path, whole).unwrap();
        return;
    }
    assert_eq!(&rest[start..end], printed(), "UPDATE_DOCUMENT=1 writes it anew");
}

/// What cannot be set, as `docs/operations.md` prints it.
fn printed_fixed() -> String {
    let mut text = "| what | at most | why, and what happens |\n|---|---|---|\n".to_owned();
    for Fixed { what, value, why } in FIXED {
        writeln!(text, "| {what} | {value} | {why} |").unwrap();
    }
    text
}

#[test]
fn what_cannot_be_set_is_in_the_document_with_its_value_and_why() {
    let path = root().join("docs/operations.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let start = document.find("| what | at most |").expect("a table of what cannot be set");
    let end = document[start..].find("\n\n").map_or(document.len(), |end| start + end + 1);
    if std::env::var_os("UPDATE_DOCUMENT").is_some() {
        let whole = format!("{}{}{}", &document[..start], printed_fixed(), &document[end..]);
        std::fs::write(&path, whole).unwrap();
        return;
    }
    assert_eq!(&document[start..end], printed_fixed(), "UPDATE_DOCUMENT=1 writes it anew");
}

/// A hub with this `hub.toml`.
async fn hub_with(toml: &str) -> TestHub {
    let mut hub = TestHub::nowhere(&[]);
    std::fs::write(hub.data().join("hub.toml"), toml).unwrap();
    hub.start_again().await;
    hub
}

pub(crate) async fn metrics(hub: &TestHub) -> String {
    let token = hub.token(Role::Viewer);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n");
    http(hub.address, request.as_bytes()).await.body
}

#[tokio::test]
async fn every_limit_has_a_key_in_the_settings_and_its_value_and_its_count_among_the_metrics() {
    let mut sections = [("", String::new()), ("limits", String::new()), ("commands", String::new())];
    for limit in Limit::ALL {
        let (section, name) = limit.key().rsplit_once('.').unwrap_or(("", limit.key()));
        let (min, _) = limit.bounds();
        // Another than the default where there is one.
        let value = if limit.default() > min { limit.default() - 1 } else { limit.default() };
        let (_, text) = sections.iter_mut().find(|(known, _)| *known == section).unwrap();
        writeln!(text, "{name} = {value}").unwrap();
    }
    let [(_, top), (_, limits), (_, commands)] = sections;
    let hub = hub_with(&format!("{top}\n[limits]\n{limits}\n[commands]\n{commands}")).await;
    let metrics = metrics(&hub).await;
    let has =
        |line: String| assert!(metrics.lines().any(|l| l.starts_with(&line)), "{line} is not in\n{metrics}");
    for limit in Limit::ALL {
        let (min, _) = limit.bounds();
        let value = if limit.default() > min { limit.default() - 1 } else { limit.default() };
        let name = limit.name();
        has(format!("telemetry_limit{{name=\"{name}\"}} {value}"));
        match limit.reached() {
            Reached::Refused | Reached::Closed(_) => {
                has(format!("telemetry_refused_total{{limit=\"{name}\"}} "));
            }
            Reached::Measure => {}
            _ => has(format!("telemetry_held_total{{limit=\"{name}\"}} ")),
        }
        if limit.is_rate() {
            has(format!("telemetry_slowed_total{{limit=\"{name}\"}} 0"));
        }
    }
}

#[tokio::test]
async fn an_unknown_limit_and_a_value_out_of_range_are_named() {
    let hub = TestHub::nowhere(&[]);
    for (text, places) in [
        ("[limits]\nmetrics = 7\n", &["metrics", "metrics_per_device", "line 2"][..]),
        ("[limits]\nsubscriptions = 65\n", &["limits.subscriptions is 65", "from 1 to 64"]),
        ("[limits]\nhello_seconds = 0\n", &["limits.hello_seconds is 0", "from 1 to 300"]),
        ("[limits]\nhello_seconds = \"soon\"\n", &["line 2", "soon"]),
    ] {
        std::fs::write(hub.data().join("hub.toml"), text).unwrap();
        let output = hub.run(&["serve", "--listen", "127.0.0.1:0"]).await;
        let error = crate::harness::stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{error}");
        for place in places {
            assert!(error.contains(place), "{text}: {place} is not in {error}");
        }
    }
}

/// Checks that a refusal names its limit, the value in force, its scope and when to try again.
fn names(limit: Limit, value: u64, text: &str) {
    let expected = format!("{} is {value} (per {}); ", limit.name(), limit.scope());
    let again = text.split_once(&expected).unwrap_or_else(|| panic!("{expected} is not in {text}")).1;
    assert!(again.starts_with(limit.again()) || again.starts_with("try again in "), "{text}");
}

/// Checks that it was counted, how often does not matter.
async fn counted_as(hub: &TestHub, limits: &[Limit]) {
    let metrics = metrics(hub).await;
    for limit in limits {
        let none = format!("telemetry_refused_total{{limit=\"{}\"}} 0", limit.name());
        assert!(!metrics.lines().any(|line| line == none), "{none}");
    }
}

#[tokio::test]
async fn i_6_what_a_device_says_of_itself_is_held_against_the_limits() {
    let hub = hub_with(
        "[limits]\ndevice_id_bytes = 10\nmetric_name_bytes = 8\nepoch_bytes = 5\ntag_bytes = 5\nlabel_bytes = 6\n\
         metrics_per_device = 3\ntags_per_device = 1\ncommands_per_device = 1\nparams_per_command = 1\n\
         choices_per_param = 1\n",
    )
    .await;
    let cases = [
        (Limit::DeviceIdBytes, 10, json!({"device": "pump-123456789"})),
        (Limit::EpochBytes, 5, json!({"epoch": "123456"})),
        (Limit::LabelBytes, 6, json!({"model": "PS-2000"})),
        (Limit::LabelBytes, 6, json!({"metrics": [{"name": "a", "unit": "furlong"}]})),
        (Limit::TagsPerDevice, 1, json!({"tags": ["a", "b"]})),
        (Limit::TagBytes, 5, json!({"tags": ["canary"]})),
        (
            Limit::MetricsPerDevice,
            3,
            json!({"metrics": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}),
        ),
        (Limit::MetricNameBytes, 8, json!({"metrics": [{"name": "temperature"}]})),
        (Limit::CommandsPerDevice, 1, json!({"commands": [{"name": "a"}, {"name": "b"}]})),
        (Limit::MetricNameBytes, 8, json!({"commands": [{"name": "calibrate"}]})),
        (
            Limit::ParamsPerCommand,
            1,
            json!({"commands": [{"name": "a", "params": [{"name": "x"}, {"name": "y"}]}]}),
        ),
        (
            Limit::ChoicesPerParam,
            1,
            json!({"commands": [{"name": "a", "params": [{"name": "x", "kind": "text", "choices": ["1", "2"]}]}]}),
        ),
    ];
    for (limit, value, with) in &cases {
        let mut hello = json!({"type": "hello", "device": "pump", "epoch": "e"});
        hello.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let mut device = hub.device().await;
        device.say(hello).await;
        let (code, reason) = device.closed().await;
        assert_eq!(code, 4001, "{reason}");
        names(*limit, *value, &reason);
    }
    counted_as(&hub, &cases.map(|(limit, ..)| limit)).await;
}

#[tokio::test]
async fn i_6_devices_and_all_metrics_that_one_ever_had_are_held_against_the_limits() {
    let hub = hub_with("[limits]\ndevices = 2\nmetrics_ever_per_device = 3\n").await;
    let said = async |device: &str, names: &[&str]| {
        let metrics: Vec<Json> = names.iter().map(|name| json!({"name": name})).collect();
        let mut peer = hub.device().await;
        peer.say(json!({"type": "hello", "device": device, "epoch": "e", "metrics": metrics})).await;
        match peer.hear().await {
            Heard::Message(welcome) => {
                assert_eq!(welcome["type"], "welcome", "{welcome}");
                None
            }
            Heard::Closed(code, reason) => {
                assert_eq!(code, 4001, "{reason}");
                Some(reason)
            }
            Heard::Gone => panic!("no close frame"),
        }
    };
    assert_eq!(said("pump", &["a", "b"]).await, None);
    assert_eq!(said("drill", &["a"]).await, None);
    assert_eq!(said("pump", &["c"]).await, None, "it is known");
    names(Limit::MetricsEverPerDevice, 3, &said("pump", &["a", "d"]).await.unwrap());
    assert_eq!(said("pump", &["a", "b", "c"]).await, None, "names of the past are no new ones");
    names(Limit::Devices, 2, &said("press", &["a"]).await.unwrap());
    let put = |device: &str| {
        let token = hub.token(Role::Admin);
        format!("PUT /v1/devices/{device} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    assert_eq!(http(hub.address, put("pump").as_bytes()).await.status, 201);
    refused(&http(hub.address, put("press").as_bytes()).await, 429, Limit::Devices, 2);
    counted_as(&hub, &[Limit::Devices, Limit::MetricsEverPerDevice]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_6_words_about_commands_that_have_ended_are_held_against_the_limits() {
    const WORDS: usize = 500;
    let hub = hub_with("[limits]\nlate_words_waiting = 1\n").await;
    let mut device = hub.welcomed("pump").await;
    for _ in 0..WORDS {
        device.say(json!({"type": "command_update", "id": "long-ago", "state": "succeeded"})).await;
    }
    // Those that are looked up are not answered: the command is unknown, and so is what there is to say.
    names(Limit::LateWordsWaiting, 1, &device.error("limit_reached").await);
    counted_as(&hub, &[Limit::LateWordsWaiting]).await;
}

#[tokio::test]
async fn i_6_at_their_highest_the_limits_of_a_hello_are_those_of_the_protocol_and_named_as_well() {
    let hub = TestHub::start().await;
    let many = |count: u64, item: fn(u64) -> Json| (0..=count).map(item).collect::<Vec<_>>();
    let long = |limit: Limit| "x".repeat(limit.default() as usize + 1);
    for (limit, with) in [
        (Limit::DeviceIdBytes, json!({"device": long(Limit::DeviceIdBytes)})),
        (Limit::EpochBytes, json!({"epoch": long(Limit::EpochBytes)})),
        (Limit::LabelBytes, json!({"model": long(Limit::LabelBytes)})),
        (Limit::TagBytes, json!({"tags": [long(Limit::TagBytes)]})),
        (Limit::MetricNameBytes, json!({"metrics": [{"name": long(Limit::MetricNameBytes)}]})),
        (
            Limit::MetricsPerDevice,
            json!({"metrics": many(Limit::MetricsPerDevice.default(), |n| json!({"name": format!("m{n}")}))}),
        ),
        (
            Limit::TagsPerDevice,
            json!({"tags": many(Limit::TagsPerDevice.default(), |n| json!(format!("t{n}")))}),
        ),
        (
            Limit::CommandsPerDevice,
            json!({"commands": many(Limit::CommandsPerDevice.default(), |n| json!({"name": format!("c{n}")}))}),
        ),
        (
            Limit::ParamsPerCommand,
            json!({"commands": [{"name": "c", "params": many(Limit::ParamsPerCommand.default(), |n| json!({"name": format!("p{n}")}))}]}),
        ),
        (
            Limit::ChoicesPerParam,
            json!({"commands": [{"name": "c", "params": [{"name": "p", "kind": "text", "choices": many(Limit::ChoicesPerParam.default(), |n| json!(n.to_string()))}]}]}),
        ),
    ] {
        let mut hello = json!({"type": "hello", "device": "pump", "epoch": "e"});
        hello.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let mut device = hub.device().await;
        device.say(hello).await;
        let (code, reason) = device.closed().await;
        assert_eq!(code, 4001, "{reason}");
        names(limit, limit.default(), &reason);
        counted_as(&hub, &[limit]).await;
    }
}

#[tokio::test]
async fn i_6_what_a_device_sends_is_held_against_the_limits() {
    let hub = hub_with(
        "heartbeat_seconds = 1\n[limits]\nreadings_per_batch = 5\ntext_value_bytes = 4\ndevice_message_bytes = 2000\n\
         hello_seconds = 1\nheartbeats_missed = 1\ncommand_error_bytes = 16\ncommand_payload_bytes = 20\n",
    )
    .await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 1, 6)).await;
    names(Limit::ReadingsPerBatch, 5, device.next_answer("refuse").await["message"].as_str().unwrap());
    device
        .say(json!({"type": "readings", "seq": 2, "points": [{"at": 0, "values": {"mode": "paused"}}]}))
        .await;
    names(Limit::TextValueBytes, 4, device.next_answer("refuse").await["message"].as_str().unwrap());
    let update = |with: Json| {
        let mut update = json!({"type": "command_update", "id": "c1", "state": "failed"});
        update.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        update
    };
    device.say(update(json!({"error": "it does not want to"}))).await;
    names(Limit::CommandErrorBytes, 16, &device.error("bad_field").await);
    device.say(update(json!({"state": "succeeded", "result": {"a": "it has done as it was told"}}))).await;
    names(Limit::CommandPayloadBytes, 20, &device.error("bad_field").await);
    device.say(json!({"type": "readings", "seq": 3, "points": [], "more": "x".repeat(2_000)})).await;
    let (code, reason) = device.closed().await;
    assert_eq!(code, 1009);
    names(Limit::DeviceMessageBytes, 2_000, &reason);

    let mut silent = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    let (code, reason) = silent.closed().await;
    assert_eq!(code, 4002);
    names(Limit::HelloSeconds, 1, &reason);
    let mut deaf = Raw::connect(&hub, DEVICE_PATH, Role::Fleet).await;
    deaf.frame(0x81, hello("deaf").to_string().as_bytes()).await;
    let (code, reason) = deaf.closed().await;
    assert_eq!(code, 4004);
    names(Limit::HeartbeatsMissed, 1, &reason);
    counted_as(
        &hub,
        &[
            Limit::ReadingsPerBatch,
            Limit::TextValueBytes,
            Limit::CommandErrorBytes,
            Limit::CommandPayloadBytes,
            Limit::DeviceMessageBytes,
            Limit::HelloSeconds,
            Limit::HeartbeatsMissed,
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i_6_what_a_viewer_asks_is_held_against_the_limits() {
    let hub = hub_with(
        "[limits]\nsubscriptions = 1\nselect_entries = 2\nhistory_pending = 1\nhistory_points = 10\n\
         commands_open_per_device = 1\ncommand_payload_bytes = 20\ngroup_devices = 1\ngroups_open = 1\n\
         group_patterns = 1\nviewer_message_bytes = 1024\nsubscription_hz = 5\ninspections = 1\n\
         inspect_payload_bytes = 600\ncommand_lifetime_seconds = 60\nclaim_seconds = 600\n",
    )
    .await;
    let mut pump = hub.device().await;
    let declared = json!({"type": "hello", "device": "pump", "epoch": "e1", "metrics": [{"name": "count"}],
        "commands": [{"name": "go", "params": [{"name": "x", "kind": "text"}]}]});
    pump.say(declared.clone()).await;
    pump.next().await;
    pump.say(counted(1, 0, 49)).await;
    pump.acked(1).await;
    let mut drill = hub.device().await;
    let mut other = declared;
    other["device"] = json!("drill");
    drill.say(other).await;
    drill.next().await;
    let series = hub.series("pump", "count").await;
    let (mut operator, _) = hub.viewer(Role::Operator).await;
    let history = |id: u64| json!({"type": "history", "id": id, "series": series, "from": 0, "to": 4_000_000_000_000_000_i64, "step": "raw"});

    operator.say(json!({"type": "subscribe", "id": 1})).await;
    operator.say(json!({"type": "inspect", "id": 1, "device": "pump"})).await;
    for (limit, value, request) in [
        (Limit::SubscriptionHz, 5, json!({"type": "subscribe", "id": 20, "max_hz": 6.0})),
        (Limit::Inspections, 1, json!({"type": "inspect", "id": 22, "device": "drill"})),
        (
            Limit::InspectPayloadBytes,
            600,
            json!({"type": "inspect", "id": 21, "device": "pump", "payload_bytes": 601}),
        ),
        (
            Limit::CommandLifetimeSeconds,
            60,
            json!({"type": "send_command", "id": 9, "device": "pump", "name": "go", "expires_in_ms": 60_001}),
        ),
        (Limit::CommandIdBytes, 64, json!({"type": "cancel_command", "id": 14, "command": "x".repeat(65)})),
        (Limit::Subscriptions, 1, json!({"type": "subscribe", "id": 2})),
        (
            Limit::SelectEntries,
            2,
            json!({"type": "subscribe", "id": 3, "select": {"devices": ["a", "b", "c"]}}),
        ),
        (Limit::SelectEntries, 2, json!({"type": "latest", "id": 4, "select": {"metrics": ["a", "b", "c"]}})),
        (Limit::HistoryPoints, 10, history(5)),
        (
            Limit::CommandPayloadBytes,
            20,
            json!({"type": "send_command", "id": 6, "device": "pump", "name": "go", "args": {"x": "a long way to go"}}),
        ),
        (
            Limit::GroupDevices,
            1,
            json!({"type": "send_group", "id": 7, "name": "go", "to": {"devices": ["*"]}}),
        ),
        (
            Limit::GroupPatterns,
            1,
            json!({"type": "send_group", "id": 8, "name": "go", "to": {"devices": ["a*", "b*"]}}),
        ),
    ] {
        let answer = ask(&mut operator, request).await;
        assert_eq!(answer["type"], "error", "{answer}");
        names(limit, value, answer["message"].as_str().unwrap());
    }
    let go = |id: u64| json!({"type": "send_command", "id": id, "device": "pump", "name": "go"});
    assert_eq!(ask(&mut operator, go(10)).await["type"], "command");
    let answer = ask(&mut operator, go(11)).await;
    names(Limit::CommandsOpenPerDevice, 1, answer["message"].as_str().unwrap());
    let group = |id: u64| json!({"type": "send_group", "id": id, "name": "go", "to": {"devices": ["drill"]}});
    assert_eq!(ask(&mut operator, group(12)).await["type"], "group");
    let answer = ask(&mut operator, group(13)).await;
    names(Limit::GroupsOpen, 1, answer["message"].as_str().unwrap());

    let admin = hub.token(Role::Admin);
    let claim = json!({"device": "press", "seconds": 601}).to_string();
    let (status, answer) = crate::wire::http_json(&hub, "POST", "/v1/claims", &admin, &claim).await;
    assert_eq!(status, 400, "{answer}");
    names(Limit::ClaimSeconds, 600, answer["error"].as_str().unwrap());

    for id in 100..400 {
        operator.say(json!({"type": "latest", "id": id})).await;
    }
    let mut refused = None;
    for _ in 100..400 {
        loop {
            let answer = operator.next().await;
            match answer["type"].as_str().unwrap() {
                "latest" => break,
                "error" => {
                    refused = Some(answer["message"].as_str().unwrap().to_owned());
                    break;
                }
                _ => {}
            }
        }
    }
    names(Limit::HistoryPending, 1, &refused.expect("300 at once are more than one"));

    operator.say(json!({"type": "unsubscribe", "id": 1, "more": "x".repeat(1_024)})).await;
    let (code, reason) = operator.closed().await;
    assert_eq!(code, 1009);
    names(Limit::ViewerMessageBytes, 1_024, &reason);
    counted_as(
        &hub,
        &[
            Limit::Subscriptions,
            Limit::SubscriptionHz,
            Limit::Inspections,
            Limit::InspectPayloadBytes,
            Limit::CommandLifetimeSeconds,
            Limit::CommandIdBytes,
            Limit::CommandPayloadBytes,
            Limit::ClaimSeconds,
            Limit::SelectEntries,
            Limit::HistoryPoints,
            Limit::GroupDevices,
            Limit::GroupPatterns,
            Limit::CommandsOpenPerDevice,
            Limit::GroupsOpen,
            Limit::HistoryPending,
            Limit::ViewerMessageBytes,
        ],
    )
    .await;
}

/// Checks a refusal over HTTP.
fn refused(answer: &Answer, status: u16, limit: Limit, value: u64) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body: Json = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(
        (&body["code"], &body["limit"], &body["value"], &body["scope"]),
        (&json!("limit_reached"), &json!(limit.name()), &json!(value), &json!(limit.scope())),
    );
    names(limit, value, body["error"].as_str().unwrap());
}

#[tokio::test]
async fn i_6_what_comes_over_http_is_held_against_the_limits() {
    let hub = hub_with(
        "[limits]\nrequest_headers = 16\nrequest_head_bytes = 8192\nrequest_body_bytes = 1024\nrequest_seconds = 3\n\
         request_head_seconds = 1\ntickets_per_token = 1\ntickets_open = 2\nfailures_per_minute = 1\n",
    )
    .await;
    let request = |method: &str, path: &str, role: Role, headers: &str, body: &str| {
        let token = hub.token(role);
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
    };
    let many = "X-More: 1\r\n".repeat(20);
    let answer = http(hub.address, request("GET", "/metrics", Role::Viewer, &many, "").as_bytes()).await;
    refused(&answer, 431, Limit::RequestHeaders, 16);
    let long = format!("X-Long: {}\r\n", "x".repeat(9_000));
    let answer = http(hub.address, request("GET", "/metrics", Role::Viewer, &long, "").as_bytes()).await;
    refused(&answer, 431, Limit::RequestHeadBytes, 8_192);
    for path in ["/v1/commands", "/v1/claim", "/v1/tokens"] {
        let body = json!({"device": "x".repeat(2_000)}).to_string();
        let answer = http(hub.address, request("POST", path, Role::Admin, "", &body).as_bytes()).await;
        refused(&answer, 413, Limit::RequestBodyBytes, 1_024);
    }
    // A body that never comes.
    let slow = request("POST", "/v1/commands", Role::Admin, "", "").replace("Length: 0", "Length: 10");
    let answer = http(hub.address, slow.as_bytes()).await;
    refused(&answer, 408, Limit::RequestSeconds, 3);

    let ticket = |role: Role| request("POST", "/v1/ticket", role, "", "");
    assert_eq!(http(hub.address, ticket(Role::Viewer).as_bytes()).await.status, 201);
    refused(&http(hub.address, ticket(Role::Viewer).as_bytes()).await, 429, Limit::TicketsPerToken, 1);
    assert_eq!(http(hub.address, ticket(Role::Admin).as_bytes()).await.status, 201);
    refused(&http(hub.address, ticket(Role::Operator).as_bytes()).await, 429, Limit::TicketsOpen, 2);

    let wrong = upgrade_request(VIEWER_PATH, "unknown");
    assert_eq!(http(hub.address, wrong.as_bytes()).await.status, 401);
    let answer = http(hub.address, wrong.as_bytes()).await;
    refused(&answer, 429, Limit::FailuresPerMinute, 1);
    assert!(answer.head.contains("retry-after: "), "{answer:?}");

    let mut half = TcpStream::connect(hub.address).await.unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    within("half a request to be closed", tokio::io::copy(&mut half, &mut tokio::io::sink())).await.unwrap();
    counted_as(
        &hub,
        &[
            Limit::RequestHeaders,
            Limit::RequestHeadBytes,
            Limit::RequestBodyBytes,
            Limit::RequestSeconds,
            Limit::RequestHeadSeconds,
            Limit::TicketsPerToken,
            Limit::TicketsOpen,
            Limit::FailuresPerMinute,
        ],
    )
    .await;
}

#[tokio::test]
async fn i_6_what_a_body_a_path_or_a_query_breaks_is_named_and_counted_like_what_a_message_breaks() {
    let hub = hub_with(
        "[limits]\ndevice_id_bytes = 10\nlabel_bytes = 6\nlist_rows = 500\nclaim_seconds = 600\ncommand_payload_bytes = 100\n\
         command_lifetime_seconds = 60\ngroup_patterns = 1\ngroup_devices = 1\ntraces = 2\npainted_waits = 2\n",
    )
    .await;
    let mut pump = hub.device().await;
    for device in ["pump", "press"] {
        let mut peer = hub.device().await;
        peer.say(json!({"type": "hello", "device": device, "epoch": "e", "commands": [{"name": "go", "params": [{"name": "a", "kind": "text"}]}]}))
            .await;
        peer.next_answer("welcome").await;
        pump = peer;
    }
    let long = "x".repeat(70);
    let (posted, asked) = (
        |path: &str, body: Json| ("POST", path.to_owned(), body),
        |path: &str| ("GET", path.to_owned(), json!({})),
    );
    let most = Limit::DeviceIdBytes.default();
    let cases = [
        (posted("/v1/commands", json!({"device": long, "name": "go"})), Limit::DeviceIdBytes, most),
        (posted("/v1/commands", json!({"device": "pump", "name": long})), Limit::MetricNameBytes, 64),
        (
            posted("/v1/commands", json!({"device": "pump", "name": "go", "args": {"a": "x".repeat(100)}})),
            Limit::CommandPayloadBytes,
            100,
        ),
        (
            posted("/v1/commands", json!({"device": "pump", "name": "go", "expires_in_ms": 61_000})),
            Limit::CommandLifetimeSeconds,
            60,
        ),
        (
            posted("/v1/groups", json!({"name": "go", "to": {"devices": ["p*", "q*"]}})),
            Limit::GroupPatterns,
            1,
        ),
        (posted("/v1/groups", json!({"name": "go", "to": {"devices": ["p*"]}})), Limit::GroupDevices, 1),
        (posted("/v1/tokens", json!({"role": "viewer", "label": "the wall"})), Limit::LabelBytes, 6),
        (posted("/v1/tokens", json!({"role": "device", "device": "pump-567890"})), Limit::DeviceIdBytes, 10),
        (posted("/v1/tokens", json!({"role": "device", "device": long})), Limit::DeviceIdBytes, most),
        (posted("/v1/claims", json!({"device": "pump-567890", "seconds": 60})), Limit::DeviceIdBytes, 10),
        (posted("/v1/claims", json!({"device": "pump", "seconds": 601})), Limit::ClaimSeconds, 600),
        (("PUT", "/v1/devices/pump-567890".to_owned(), json!({})), Limit::DeviceIdBytes, 10),
        (("PUT", format!("/v1/devices/{long}"), json!({})), Limit::DeviceIdBytes, most),
        (asked(&format!("/v1/devices/{long}/ledger")), Limit::DeviceIdBytes, most),
        (asked(&format!("/v1/commands?device={long}")), Limit::DeviceIdBytes, most),
        (asked(&format!("/v1/commands/{long}")), Limit::CommandIdBytes, 64),
        (asked("/v1/commands?limit=501"), Limit::ListRows, 500),
        (asked("/v1/groups?limit=501"), Limit::ListRows, 500),
        (asked("/v1/audit?limit=501"), Limit::ListRows, 500),
    ];
    let token = hub.token(Role::Admin);
    for ((method, path, body), limit, value) in cases {
        let before = refused_by(&metrics(&hub).await, limit);
        let (status, answer) = crate::wire::http_json(&hub, method, &path, &token, &body.to_string()).await;
        assert!([400, 429].contains(&status), "{method} {path}: {status} {answer}");
        assert_eq!(
            (&answer["limit"], &answer["value"], &answer["scope"]),
            (&json!(limit.name()), &json!(value), &json!(limit.scope())),
            "{method} {path}: {answer}"
        );
        names(limit, value, answer["error"].as_str().unwrap());
        let after = refused_by(&metrics(&hub).await, limit);
        assert_eq!(after, before + 1, "{method} {path}: {answer}");
    }
    let (status, _) = crate::wire::http_json(&hub, "GET", "/v1/commands?limit=500", &token, "").await;
    assert_eq!(status, 200);

    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    for (message, limit, value) in [
        (json!({"type": "commands", "id": 1, "limit": 501}), Limit::ListRows, 500),
        (json!({"type": "groups", "id": 2, "limit": 501}), Limit::ListRows, 500),
        (json!({"type": "subscribe", "id": 3, "traces": 3}), Limit::Traces, 2),
        (json!({"type": "painted", "id": 4, "waits": [[1, 1], [1, 1], [1, 1]]}), Limit::PaintedWaits, 2),
    ] {
        viewer.say(message).await;
        names(limit, value, &viewer.error("bad_field").await);
        assert!(refused_by(&metrics(&hub).await, limit) > 0, "{limit:?}");
    }
    drop(pump);
}

/// How often somebody was refused by a limit, as the metrics say.
fn refused_by(metrics: &str, limit: Limit) -> u64 {
    let line = format!("telemetry_refused_total{{limit=\"{}\"}} ", limit.name());
    metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn i_6_connections_of_a_device_are_remembered_up_to_their_limit_and_those_forgotten_are_counted() {
    let hub = hub_with("[limits]\nconnections_kept = 2\n").await;
    for _ in 0..4 {
        hub.welcomed("pump").await.close(1000, "").await;
    }
    let token = hub.token(Role::Viewer);
    until("the oldest connections to be forgotten", async || {
        let (_, answer) =
            crate::wire::http_json(&hub, "GET", "/v1/devices/pump/connections", &token, "").await;
        let text = metrics(&hub).await;
        answer["connections"].as_array().is_some_and(|list| list.len() == 2)
            && !text.contains("telemetry_held_total{limit=\"connections_kept\"} 0\n")
    })
    .await;
}

#[tokio::test]
async fn i_6_connections_are_held_against_the_limits() {
    let hub = hub_with("max_connections = 3\n[limits]\nstrangers_per_address = 2\n").await;
    let open = || async {
        let stream = TcpStream::connect(hub.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    };
    let get = b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n";
    let strangers = [open().await, open().await];
    let mut turned_away = None;
    until("two strangers to be known as such", async || {
        let answer = http(hub.address, get).await;
        let is_turned_away = answer.status == 429;
        turned_away = Some(answer);
        is_turned_away
    })
    .await;
    refused(&turned_away.unwrap(), 429, Limit::StrangersPerAddress, 2);
    drop(strangers);
    until("the strangers to be gone", async || http(hub.address, get).await.status == 200).await;
    let (mut first, _) = hub.viewer(Role::Viewer).await;
    let _known = [hub.device().await, hub.device().await];
    let answer = http(hub.address, get).await;
    refused(&answer, 429, Limit::MaxConnections, 3);
    first.say(json!({"type": "subscribe", "id": 1})).await;
    first.next_of("subscribed").await;
}

#[tokio::test]
async fn i_6_a_peer_that_does_not_read_is_closed_by_name_and_finds_the_reason_when_it_reads_on() {
    let hub = hub_with("[limits]\nwrite_seconds = 1\nclose_seconds = 30\n").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut raw = Raw { stream: socket.connect(hub.address).await.unwrap() };
    raw.bytes(upgrade_request(DEVICE_PATH, &hub.token(Role::Fleet)).as_bytes()).await;
    raw.frame(0x81, hello("deaf").to_string().as_bytes()).await;
    // An error each, none of which is read.
    let garbage = crate::wire::frame(0x81, b"{\"type\":\"what is this\"}").repeat(1_000);
    let stuck = format!("telemetry_refused_total{{limit=\"{}\"}} 1", Limit::WriteSeconds.name());
    let floods = async {
        loop {
            if raw.stream.write_all(&garbage).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = floods => {}
        () = until("the hub to give up", async || metrics(&hub).await.contains(&stuck)) => {}
    }
    let refusal = Limits::default().refusal(Limit::WriteSeconds, "reads too slowly").to_string();
    let close = [&4005_u16.to_be_bytes(), refusal.replace("is 10", "is 1").as_bytes()].concat();
    let mut heard = Vec::new();
    within("the reason", async {
        while !heard.ends_with(&close) {
            let read = raw.stream.read_buf(&mut heard).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&heard[heard.len().saturating_sub(200)..]));
        }
    })
    .await;
}

#[test]
fn every_limit_that_refuses_is_refused_by_a_test() {
    let tests = [
        include_str!("limits.rs"),
        include_str!("rates.rs"),
        include_str!("slow.rs"),
        include_str!("stop.rs"),
    ];
    for limit in Limit::ALL.iter().filter(|limit| limit.reached().refuses()) {
        // These end a connection that cannot be told, or that breaks off whatever is told.
        let untold = [
            (Limit::TurnedAway, "beyond it nothing is said, lest whoever floods keeps the hub talking"),
            (Limit::TlsHandshakeSeconds, "no HTTP and no WebSocket is spoken yet; tls.rs has it"),
            (Limit::CloseSeconds, "the close frame was sent, and is not answered"),
            (Limit::ShutdownSeconds, "the reason of 1001 was sent before"),
            (Limit::DeviceUnsentBytes, "the library keeps one pong at most, and every other write waits"),
        ];
        if untold.iter().any(|(known, _)| known == limit) {
            continue;
        }
        let (variant, name) = (format!("Limit::{limit:?}"), limit.name());
        let count = tests
            .iter()
            .map(|test| test.matches(&variant).count() + test.matches(name).count())
            .sum::<usize>();
        assert!(count > 0, "no test reaches {limit:?}");
    }
}

impl Peer {
    /// The next message of this type; others than errors are passed over.
    async fn next_answer(&mut self, kind: &str) -> Json {
        loop {
            match self.hear().await {
                Heard::Message(message) if message["type"] == kind => return message,
                Heard::Message(message) => assert!(message["type"] != "error", "{message}"),
                other => panic!("{kind} expected: {other:?}"),
            }
        }
    }
}
