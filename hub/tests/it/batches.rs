//! Batches: their order, what is refused and why, and that nothing is lost or stored twice.

use protocol::{DeviceId, Seq, limits};
use serde_json::{Value as Json, json};
use store::StreamLedger;

use crate::harness::TestHub;
use crate::wire::{Bystander, Peer, START, counted, hello};

fn ledger(hub: &TestHub, device: &str) -> StreamLedger {
    hub.reader().ledger(&DeviceId::new(device).unwrap()).unwrap().pop().unwrap()
}

/// Says a batch with one point, and returns the answer.
async fn answer_to(peer: &mut Peer, seq: u64, point: Json) -> Json {
    peer.say(json!({"type": "readings", "seq": seq, "points": [point]})).await;
    peer.answer().await
}

/// Checks that batch `seq` was refused for good with `code`, naming `place`, and that the stream goes on after it.
async fn refused(peer: &mut Peer, answer: Json, seq: u64, code: &str, place: &str) {
    assert_eq!(answer["type"], "refuse", "{answer}");
    assert_eq!(answer["seq"], seq, "{answer}");
    assert_eq!(answer["code"], code, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains(place), "{place}: {answer}");
    assert_eq!(answer.get("retry_after_ms"), None, "{answer}");
    assert_eq!(peer.next().await, json!({"type": "ack", "seq": seq}));
}

#[tokio::test]
async fn i_1_a_device_goes_on_after_what_the_hub_has_on_disk() {
    let mut hub = TestHub::start().await;
    let mut device = hub.device().await;
    device.say(hello("pump")).await;
    let welcome = device.next().await;
    assert_eq!(welcome["acked_seq"], 0);
    assert_eq!(
        welcome["limits"],
        json!({"message_bytes": 262_144, "readings_per_batch": 4096, "unacked_batches": 256, "text_bytes": 256})
    );
    assert_eq!(welcome["heartbeat_seconds"], 7);
    device.say(counted(1, 1, 3)).await;
    device.acked(1).await;
    device.say(counted(2, 4, 6)).await;
    device.acked(2).await;
    assert_eq!(hub.reader().stats().unwrap().readings, 6, "acknowledged, so in the file");
    drop(device);

    let mut device = hub.device().await;
    device.say(hello("pump")).await;
    assert_eq!(device.next_of("welcome").await["acked_seq"], 2);
    hub.stop().await;
    hub.start_again().await;
    let mut device = hub.device().await;
    device.say(hello("pump")).await;
    assert_eq!(device.next_of("welcome").await["acked_seq"], 2, "also after a restart");

    let mut other_epoch = hello("pump");
    other_epoch["epoch"] = json!("e2");
    let mut device = hub.device().await;
    device.say(other_epoch).await;
    assert_eq!(device.next_of("welcome").await["acked_seq"], 0, "another epoch counts anew");
}

#[tokio::test]
async fn i_2_a_batch_that_comes_again_is_acknowledged_again_and_stored_once() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    for _ in 0..3 {
        device.say(counted(1, 1, 5)).await;
        assert_eq!(device.answer().await, json!({"type": "ack", "seq": 1}));
    }
    let mut again = hub.welcomed("pump").await;
    again.say(counted(1, 1, 5)).await;
    assert_eq!(again.answer().await, json!({"type": "ack", "seq": 1}));
    assert_eq!(hub.reader().stats().unwrap().readings, 5);
}

#[tokio::test]
async fn one_ack_may_stand_for_many_batches() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    for seq in 1..=200 {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(200).await;
    assert_eq!(hub.reader().stats().unwrap().readings, 200);
}

#[tokio::test]
async fn a_hole_is_refused_with_the_number_that_is_expected_and_nothing_behind_it_is_stored() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    device.say(counted(3, 3, 3)).await;
    let refuse = device.answer().await;
    assert_eq!((&refuse["code"], &refuse["seq"]), (&json!("out_of_order"), &json!(2)), "{refuse}");
    device.say(counted(4, 4, 4)).await;
    for seq in 2..=4 {
        device.say(counted(seq, seq as i64, seq as i64)).await;
    }
    device.acked(4).await;
    let ledger = ledger(&hub, "pump");
    assert_eq!((ledger.last_seq, ledger.readings), (Seq(4), 4));
}

#[tokio::test]
async fn a_skip_records_the_loss_and_the_stream_goes_on_behind_it() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    device.say(counted(1, 1, 1)).await;
    device.acked(1).await;
    device.say(json!({"type": "skip", "seq": 9})).await;
    device.say(counted(10, 10, 10)).await;
    device.acked(10).await;
    device.say(json!({"type": "skip", "seq": 10})).await;
    device.say(counted(11, 11, 11)).await;
    device.acked(11).await;
    let ledger = ledger(&hub, "pump");
    assert_eq!((ledger.last_seq, ledger.stored, ledger.skipped), (Seq(11), 3, 8));
}

#[tokio::test]
async fn each_bad_batch_is_refused_by_name_and_disturbs_nobody() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let mut device = hub.welcomed("pump").await;
    let long = "x".repeat(limits::TEXT_VALUE_MAX_BYTES + 1);
    let far = 1_514_764_800_000_000_000_i64; // The year 50 001.
    let cases = [
        (json!({"at": START, "values": {"cuont": 1}}), "unknown_metric", "cuont"),
        (json!({"at": START, "values": {"count": true}}), "wrong_kind", "count"),
        (json!({"at": START, "values": {"open": 1}}), "wrong_kind", "open"),
        (json!({"at": START, "values": {"mode": false}}), "wrong_kind", "mode"),
        (json!({"at": START, "values": {"count": null}}), "malformed", "count"),
        (json!({"at": START, "values": {"count": [1]}}), "malformed", "count"),
        (json!({"at": far, "values": {"count": 1}}), "bad_time", "1514764800000000000"),
        (json!({"at": -1, "values": {"count": 1}}), "bad_time", "-1"),
        (json!({"at": 4_102_444_800_000_000_i64, "values": {"count": 1}}), "bad_time", "4102444800000000"),
        (json!({"at": "now", "values": {"count": 1}}), "malformed", "now"),
        (json!({"at": 1.5, "values": {"count": 1}}), "malformed", "1.5"),
        (json!({"at": START}), "malformed", "values"),
        (json!({"values": {"count": 1}}), "malformed", "at"),
        (json!(7), "malformed", "7"),
        (
            json!({"at": START, "values": {"mode": long}}),
            "malformed",
            "mode: a text value of 257 bytes: text_value_bytes is 256",
        ),
    ];
    let mut seq = 0;
    for (point, code, place) in cases {
        seq += 1;
        let answer = answer_to(&mut device, seq, point).await;
        refused(&mut device, answer, seq, code, place).await;
        bystander.is_undisturbed().await;
    }
    // JSON that is not JSON, but whose seq can be read.
    for (value, place) in
        [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "Infinity"), ("1e999", "number")]
    {
        seq += 1;
        let text = format!(
            r#"{{"type":"readings","seq":{seq},"points":[{{"at":{START},"values":{{"count":{value}}}}}]}}"#
        );
        device.say_text(&text).await;
        let answer = device.answer().await;
        refused(&mut device, answer, seq, "malformed", place).await;
    }
    // One bad reading refuses the whole batch.
    seq += 1;
    let good = json!({"at": START, "values": {"count": 1}});
    device
        .say(json!({"type": "readings", "seq": seq, "points": [good, {"at": START, "values": {"x": 1}}]}))
        .await;
    let answer = device.answer().await;
    refused(&mut device, answer, seq, "unknown_metric", "x").await;
    // One reading too many.
    seq += 1;
    device.say(counted(seq, 0, 4_096)).await;
    let answer = device.answer().await;
    refused(&mut device, answer, seq, "too_large", "4096").await;

    // After all that the same connection takes the largest batch that there may be.
    seq += 1;
    device.say(counted(seq, 1, 4_096)).await;
    device.acked(seq).await;
    bystander.is_undisturbed().await;
    let ledger = ledger(&hub, "pump");
    assert_eq!((ledger.last_seq, ledger.readings, ledger.refused), (Seq(seq), 4_096, seq - 1));
}

#[tokio::test]
async fn a_batch_without_a_number_is_an_error_and_the_next_is_out_of_order() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    for (seq, place) in
        [("0", "seq"), ("-1", "-1"), ("9007199254740992", "seq"), ("\"1\"", "1"), ("1.5", "1.5")]
    {
        device.say_text(&format!(r#"{{"type":"readings","seq":{seq},"points":[]}}"#)).await;
        let message = device.error("bad_field").await;
        assert!(message.contains(place), "{seq}: {message}");
    }
    device.say(json!({"type": "readings", "points": []})).await;
    assert!(device.error("bad_field").await.contains("seq"));
    device.say(counted(2, 2, 2)).await;
    assert_eq!(device.answer().await["code"], "out_of_order");
    device.say(json!({"type": "readings", "seq": 1, "points": []})).await;
    device.say(counted(2, 2, 2)).await;
    device.acked(2).await;
}

#[tokio::test]
async fn what_is_not_a_message_of_a_device_is_an_error_and_the_connection_stays() {
    let hub = TestHub::process(&[]).await;
    let mut bystander = Bystander::join(&hub).await;
    let mut device = hub.welcomed("pump").await;
    for (text, code, place) in [
        ("", "malformed", "EOF"),
        ("hello", "malformed", "not a message"),
        ("[1,2]", "malformed", "not a message"),
        ("{\"seq\":1}", "malformed", "type"),
        ("{\"type\":7}", "malformed", "7"),
        ("{\"type\":\"readings\"", "bad_field", "readings"),
        ("{\"type\":\"reading\",\"seq\":1}", "unknown_type", "reading"),
        ("{\"type\":\"subscribe\",\"id\":1}", "unknown_type", "subscribe"),
        ("{\"type\":\"ack\",\"seq\":1}", "unknown_type", "ack"),
        ("{\"type\":\"hello\",\"device\":\"pump\",\"epoch\":\"e1\"}", "unexpected", "hello"),
        ("{\"type\":\"skip\"}", "bad_field", "seq"),
        ("{\"type\":\"skip\",\"seq\":9007199254740992}", "bad_field", "seq"),
        ("{\"type\":\"command_update\",\"id\":\"c1\",\"state\":\"exploded\"}", "bad_field", "exploded"),
        ("{\"type\":\"command_update\",\"id\":\"c 1\",\"state\":\"running\"}", "bad_field", "c 1"),
        (
            "{\"type\":\"command_update\",\"id\":\"c1\",\"state\":\"running\",\"progress\":1.5}",
            "bad_field",
            "progress",
        ),
    ] {
        device.say_text(text).await;
        let message = device.error(code).await;
        assert!(message.contains(place), "{text}: {message}");
        bystander.is_undisturbed().await;
    }
    // Unknown fields are ignored; the type may come last.
    device.say(json!({"seq": 1, "points": [{"at": START, "values": {"count": 1}, "why": {}}], "z": null, "type": "readings"})).await;
    device.acked(1).await;
}

#[tokio::test]
async fn times_may_run_backwards_repeat_and_touch_the_ends_of_the_range() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let times = [START + 5, START, START + 5, 0, 4_102_444_799_999_999];
    let points: Vec<Json> = times.iter().map(|at| json!({"at": at, "values": {"count": 1}})).collect();
    device.say(json!({"type": "readings", "seq": 1, "points": points})).await;
    device.acked(1).await;
    assert_eq!(ledger(&hub, "pump").readings, 5);
}
