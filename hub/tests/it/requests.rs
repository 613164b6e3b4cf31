//! What a viewer asks for and cannot have: an error with its id, that names the limit, and the connection stays.

use protocol::limits;
use serde_json::json;

use crate::harness::{Role, TestHub};
use crate::wire::{Bystander, hello};

#[tokio::test]
async fn a_viewer_is_welcomed_with_its_role_and_its_limits() {
    let hub = TestHub::start().await;
    for (role, name) in [(Role::Viewer, "viewer"), (Role::Operator, "operator")] {
        let mut viewer = hub.dial(protocol::VIEWER_PATH, &hub.token(role)).await;
        let welcome = viewer.next().await;
        assert_eq!(welcome["type"], "welcome");
        assert_eq!(welcome["role"], name);
        assert_eq!(welcome["position"], 0);
        assert_eq!(
            welcome["limits"],
            json!({"message_bytes": 65_536, "subscriptions": 64, "max_hz": 60.0, "history_points": 1_000_000, "history_pending": 32})
        );
        assert_eq!(viewer.next().await, json!({"type": "devices", "devices": [], "snapshot": true}));
    }
}

#[tokio::test]
async fn each_bad_request_is_answered_with_an_error_that_has_its_id_and_names_the_place() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let mut device = hub.welcomed("pump").await;
    device.say(hello("pump")).await;
    device.error("unexpected").await;
    let count = hub.series("pump", "count").await;
    let mode = hub.series("pump", "mode").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let patterns: Vec<String> = (0..=limits::SELECT_MAX).map(|n| format!("p{n}")).collect();
    let history = |series: i64, from: i64, to: i64, step: &str| json!({"type": "history", "id": 5, "series": series, "from": from, "to": to, "step": step});
    for (request, code, place) in [
        (json!({"type": "subscribe", "id": 5, "max_hz": 0}), "bad_field", "max_hz"),
        (json!({"type": "subscribe", "id": 5, "max_hz": -1}), "bad_field", "max_hz"),
        (json!({"type": "subscribe", "id": 5, "max_hz": 60.1}), "bad_field", "60"),
        (json!({"type": "subscribe", "id": 5, "detail": "some"}), "bad_field", "some"),
        (json!({"type": "subscribe", "id": 5, "select": {"devices": patterns}}), "limit_reached", "1024"),
        (json!({"type": "subscribe", "id": 5, "select": {"series": ["a"]}}), "bad_field", "a"),
        (history(4_711, 0, 1, "raw"), "not_found", "4711"),
        (history(-1, 0, 1, "raw"), "not_found", "-1"),
        (history(count, 1, 1, "raw"), "bad_field", "from"),
        (history(count, 2, 1, "1m"), "bad_field", "from"),
        (history(count, 0, 1, "2m"), "bad_field", "2m"),
        (history(mode, 0, 1, "1m"), "bad_field", "raw"),
        (json!({"type": "history", "id": 5}), "bad_field", "series"),
        (json!({"type": "commands", "id": 5, "limit": 0}), "bad_field", "limit"),
        (json!({"type": "commands", "id": 5, "limit": 1001}), "bad_field", "1000"),
        (json!({"type": "send_command", "id": 5, "device": "pump", "name": "go"}), "forbidden", "operator"),
        (json!({"type": "cancel_command", "id": 5, "command": "c1"}), "forbidden", "operator"),
    ] {
        viewer.say(request.clone()).await;
        let answer = viewer.next().await;
        assert_eq!(
            (&answer["type"], &answer["id"], &answer["code"]),
            (&json!("error"), &json!(5), &json!(code)),
            "{request}: {answer}"
        );
        assert!(answer["message"].as_str().unwrap().contains(place), "{request}: {answer}");
        bystander.is_undisturbed().await;
    }
    for (text, code) in [
        ("{", "malformed"),
        ("null", "malformed"),
        ("{\"id\":5}", "malformed"),
        ("{\"type\":\"shutdown\",\"id\":5}", "unknown_type"),
        ("{\"type\":\"readings\",\"seq\":1,\"points\":[]}", "unknown_type"),
        ("{\"type\":\"subscribe\"}", "bad_field"),
        ("{\"type\":\"subscribe\",\"id\":-1}", "bad_field"),
        ("{\"type\":\"subscribe\",\"id\":\"1\"}", "bad_field"),
    ] {
        viewer.say_text(text).await;
        let answer = viewer.next().await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{text}: {answer}");
    }
    viewer.say(json!({"type": "commands", "id": 6})).await;
    assert_eq!(viewer.next().await, json!({"type": "commands", "id": 6, "commands": []}));
}

#[tokio::test]
async fn i_6_one_subscription_too_many_is_refused_and_replacing_one_is_not() {
    let hub = TestHub::start().await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    for id in 0..limits::SUBSCRIPTIONS_MAX {
        viewer.say(json!({"type": "subscribe", "id": id})).await;
        assert_eq!(viewer.next_of("subscribed").await["id"], id);
    }
    viewer.say(json!({"type": "subscribe", "id": 99})).await;
    assert!(viewer.error("limit_reached").await.contains("64"));
    viewer.say(json!({"type": "subscribe", "id": 7, "max_hz": 1})).await;
    assert_eq!(viewer.next_of("subscribed").await["id"], 7);
    viewer.say(json!({"type": "unsubscribe", "id": 3})).await;
    viewer.say(json!({"type": "subscribe", "id": 99})).await;
    assert_eq!(viewer.next_of("subscribed").await["id"], 99);
}

#[tokio::test]
async fn a_selection_may_hold_as_many_entries_as_the_limit_says() {
    let hub = TestHub::start().await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let patterns: Vec<String> = (2..limits::SELECT_MAX).map(|n| format!("p{n}")).collect();
    let select = json!({"devices": patterns, "metrics": ["*"], "series": [1]});
    viewer.say(json!({"type": "subscribe", "id": 1, "select": select})).await;
    assert_eq!(viewer.next_of("subscribed").await["id"], 1);
}

#[tokio::test]
async fn i_6_more_history_requests_than_may_wait_are_refused_and_the_others_answered() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=10 {
        device.say(crate::wire::counted(seq, seq as i64 * 4_000, seq as i64 * 4_000 + 3_999)).await;
    }
    device.acked(10).await;
    let series = hub.series("pump", "count").await;
    let mut viewer = hub.narrow_viewer().await;
    for id in 0..60 {
        viewer
            .say(json!({"type": "history", "id": id, "series": series, "from": 0, "to": 4_102_444_800_000_000_i64, "step": "raw"}))
            .await;
    }
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 60 {
        let message = viewer.next().await;
        match message["type"].as_str().unwrap() {
            "error" => {
                assert_eq!(message["code"], "limit_reached", "{message}");
                refused += 1;
            }
            "history" if message["more"] != true => answered += 1,
            _ => {}
        }
    }
    assert!(refused > 0 && answered >= 32, "{answered} answered, {refused} refused");
}
