//! What a peer may send by mistake or with intent: no text panics (I-7), and each error names the place.

use proptest::prelude::*;
use protocol::codec::DecodeError;
use protocol::device::{DeviceMessage, HubToDevice, RawReadings};
use protocol::viewer::{HubToViewer, ViewerMessage};
use protocol::{ErrorCode, Value};

use crate::golden;

/// Reads `text` as everything that it could be, and does with it what a receiver does first.
fn receive(text: &str) {
    if let Ok(message) = DeviceMessage::decode(text) {
        match &message {
            DeviceMessage::Hello(hello) => drop(hello.check()),
            DeviceMessage::CommandUpdate(update) => drop(update.check()),
            DeviceMessage::Readings(_) => drop(RawReadings::decode(text)),
            DeviceMessage::Skip(_) => {}
        }
        DeviceMessage::decode(&message.encode()).unwrap();
    }
    if let Ok(message) = HubToDevice::decode(text) {
        HubToDevice::decode(&message.encode()).unwrap();
    }
    if let Ok(message) = ViewerMessage::decode(text) {
        if let ViewerMessage::Subscribe(subscribe) = &message {
            subscribe.select.matches(protocol::SeriesId(1), "pump-01", "temperature");
        }
        ViewerMessage::decode(&message.encode()).unwrap();
    }
    // The mean of a bucket with absurd numbers may overflow: what is written then need not be readable.
    drop(HubToViewer::decode(text).map(|message| message.encode()));
    drop(RawReadings::decode(text));
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(usize, u8),
    Insert(usize, String),
    Delete(usize, usize),
    Repeat(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let token = prop_oneof![
        Just("null"),
        Just("NaN"),
        Just("-1"),
        Just("1e999"),
        Just("99999999999999999999"),
        Just("[[[[[["),
        Just("{\"type\":"),
        Just("\\u0000"),
        Just("\\ud800"),
        Just("\""),
        Just("µ"),
        Just(","),
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (any::<usize>(), token).prop_map(|(at, token)| Mutation::Insert(at, token.to_owned())),
        (any::<usize>(), 1..20_usize).prop_map(|(at, length)| Mutation::Delete(at, length)),
        (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for mutation in mutations {
        let places = bytes.len() + 1;
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = at % places;
                if at < bytes.len() {
                    bytes[at] = *byte;
                }
            }
            Mutation::Insert(at, token) => {
                let at = at % places;
                bytes.splice(at..at, token.bytes());
            }
            Mutation::Delete(at, length) => {
                let at = at % places;
                bytes.drain(at..(at + length).min(bytes.len()));
            }
            Mutation::Repeat(at, length) => {
                let at = at % places;
                let part = bytes[at..(at + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i_7_no_mutated_message_panics(
        index in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let goldens = golden::all();
        let (_, text) = &goldens[index.index(goldens.len())];
        receive(&mutate(text, &mutations));
    }

    #[test]
    fn i_7_no_arbitrary_text_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        receive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_finite_number_arrives_exactly_as_it_was_sent(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
        let text = serde_json::to_string(&Value::Number(number)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), Value::Number(number));
    }
}

#[test]
fn i_7_deep_nesting_is_an_error_and_not_a_stack_overflow() {
    for text in ["[".repeat(200_000), format!("{{\"type\":\"hello\",\"x\":{}", "[".repeat(200_000))] {
        receive(&text);
        assert!(DeviceMessage::decode(&text).is_err());
    }
}

fn readings(points: &str) -> DecodeError {
    let text = format!("{{\"type\":\"readings\",\"seq\":7,\"points\":{points}}}");
    let error = RawReadings::decode(&text).unwrap_err();
    let full = DeviceMessage::decode(&text).unwrap_err();
    assert_eq!(error.code(), full.code(), "the flat and the full reading agree: {error} | {full}");
    error
}

#[test]
fn an_error_in_a_batch_names_the_point_the_metric_and_the_batch() {
    for (points, problem) in [
        ("[{\"at\":1,\"values\":{\"a\":1}},{\"at\":2,\"values\":{\"b\":null}}]", "points[1].values.b: "),
        ("[{\"at\":1,\"values\":{\"a\":[1]}}]", "points[0].values.a: "),
        ("[{\"at\":1,\"values\":{\"a\":{\"value\":1}}}]", "points[0].values.a: "),
        ("[{\"values\":{\"a\":1}}]", "points[0]: at is missing"),
        ("[{\"at\":1},{\"at\":2,\"values\":{}}]", "points[0]: values is missing"),
        ("[{\"at\":1.5,\"values\":{}}]", "invalid type: floating point `1.5`, expected i64"),
        ("[{\"at\":1e3,\"values\":{}}]", "invalid type: floating point `1000"),
        ("[{\"at\":\"now\",\"values\":{}}]", "invalid type: string \"now\", expected i64"),
        ("[7]", "expected a point {at, values}"),
        ("[{\"at\":1,\"values\":[]}]", "expected an object of metric names and values"),
        ("{}", "expected a list of points"),
    ] {
        let error = readings(points);
        let DecodeError::BadField { kind, problem: found, number } = &error else {
            panic!("{points}: {error}")
        };
        assert_eq!((*kind, *number), ("readings", Some(7)), "{points}: {error}");
        assert!(found.contains(problem), "{points}: {found} does not say {problem:?}");
        assert_eq!(error.code(), ErrorCode::BadField);
    }
}

#[test]
fn a_value_that_is_too_long_names_its_limit() {
    let error = readings(&format!("[{{\"at\":1,\"values\":{{\"a\":\"{}\"}}}}]", "x".repeat(257)));
    assert!(
        error.to_string().contains("points[0].values.a: a text value of 257 bytes: text_value_bytes is 256 (per reading); send a shorter one"),
        "{error}"
    );
}

#[test]
fn a_literal_that_is_not_json_is_explained_and_the_batch_is_still_known() {
    for literal in ["NaN", "Infinity", "-Infinity"] {
        let error = readings(&format!("[{{\"at\":1,\"values\":{{\"a\":{literal}}}}}]"));
        let DecodeError::BadField { number, problem, .. } = &error else { panic!("{error}") };
        assert_eq!(
            *number,
            Some(7),
            "without it the hub could not refuse the batch, and would wait for it for ever"
        );
        assert!(problem.starts_with("points[0].values.a: "), "{problem}");
        assert!(problem.contains("NaN and Infinity are not JSON: leave such a reading out"), "{problem}");
    }
}

#[test]
fn a_number_beyond_the_range_of_a_double_is_refused() {
    let error = readings("[{\"at\":1,\"values\":{\"a\":1e999}}]");
    assert!(error.to_string().contains("number out of range"), "{error}");
}

#[test]
fn a_batch_without_a_number_is_an_error_without_one() {
    for text in [
        "{\"type\":\"readings\",\"points\":[]}",
        "{\"type\":\"readings\",\"seq\":\"7\",\"points\":[]}",
        "{\"type\":\"readings\",\"seq\":-7,\"points\":[]}",
        "{\"type\":\"readings\",\"seq\":7.5,\"points\":[]}",
        "{\"type\":\"readings\",\"seq\":7e1,\"points\":[]}",
    ] {
        let Err(DecodeError::BadField { number, .. }) = RawReadings::decode(text) else { panic!("{text}") };
        assert_eq!(number, None, "{text}");
    }
}

#[test]
fn a_missing_field_and_a_field_of_the_wrong_type_are_named() {
    for (text, problem) in [
        ("{\"type\":\"hello\",\"epoch\":\"1\"}", "hello: missing field `device`"),
        ("{\"type\":\"hello\",\"device\":\"d\"}", "hello: missing field `epoch`"),
        ("{\"type\":\"hello\",\"device\":\"a b\",\"epoch\":\"1\"}", "device id \"a b\" holds ' '"),
        (
            "{\"type\":\"hello\",\"device\":\"d\",\"epoch\":\"1\",\"metrics\":[{\"name\":\"n\",\"kind\":\"int\"}]}",
            "unknown variant `int`, expected one of `number`, `bool`, `text`",
        ),
        ("{\"type\":\"skip\"}", "skip: missing field `seq`"),
        ("{\"type\":\"command_update\",\"id\":\"c\",\"state\":\"done\"}", "unknown variant `done`"),
        ("{\"type\":\"command_update\",\"state\":\"running\"}", "command_update: missing field `id`"),
    ] {
        let error = DeviceMessage::decode(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::BadField, "{text}: {error}");
        assert!(error.to_string().contains(problem), "{text}: {error} does not say {problem:?}");
    }
    for (text, problem, id) in [
        ("{\"type\":\"subscribe\"}", "subscribe: missing field `id`", None),
        (
            "{\"type\":\"history\",\"id\":3,\"series\":1,\"from\":0,\"to\":1,\"step\":\"2m\"}",
            "unknown variant `2m`, expected one of `1s`, `5s`",
            Some(3),
        ),
        ("{\"type\":\"history\",\"id\":4,\"series\":1,\"from\":0,\"to\":1}", "missing field `step`", Some(4)),
    ] {
        let error = ViewerMessage::decode(text).unwrap_err();
        assert!(error.to_string().contains(problem), "{text}: {error} does not say {problem:?}");
        let DecodeError::BadField { number, .. } = error else { panic!("{text}") };
        assert_eq!(number, id, "{text}: the answer repeats the id of the request");
    }
}

#[test]
fn what_is_not_a_message_is_malformed() {
    for text in [
        "",
        "hello",
        "[]",
        "[{\"type\":\"hello\"}]",
        "7",
        "null",
        "\"hello\"",
        "{}",
        "{\"type\":7}",
        "{\"type\":null}",
        "{\"Type\":\"hello\"}",
        "{\"type\":\"hello\"",
        "{'type':'hello'}",
    ] {
        let error = DeviceMessage::decode(text).unwrap_err();
        // A known type is read before the rest: then the rest is at fault.
        let code =
            if text.starts_with("{\"type\":\"hello\"") { ErrorCode::BadField } else { ErrorCode::Malformed };
        assert_eq!(error.code(), code, "{text}: {error}");
    }
}

#[test]
fn an_unknown_type_is_named_with_those_that_are_known() {
    let error = DeviceMessage::decode("{\"type\":\"telemetry\",\"x\":1}").unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownType);
    assert_eq!(
        error.to_string(),
        "unknown message type \"telemetry\": known here are hello, readings, skip, command_update"
    );
    let long = DeviceMessage::decode(&format!("{{\"type\":\"{}\"}}", "µ".repeat(1_000))).unwrap_err();
    assert!(long.to_string().chars().count() < 200, "a long type is cut: {long}");
    assert_eq!(
        DeviceMessage::decode("{\"type\":\"ack\",\"seq\":1}").unwrap_err().code(),
        ErrorCode::UnknownType,
        "a device does not ack"
    );
}

#[test]
fn a_type_is_found_wherever_and_however_it_is_written() {
    for text in [
        "{\"type\":\"skip\",\"seq\":1}",
        "{\"seq\":1,\"type\":\"skip\"}",
        " {\n\t\"seq\" : 1 , \"type\" : \"skip\" }\r\n",
        "{\"type\":\"sk\\u0069p\",\"seq\":1}",
        "{\"x\":{\"type\":\"hello\"},\"type\":\"skip\",\"seq\":1}",
    ] {
        assert!(matches!(DeviceMessage::decode(text), Ok(DeviceMessage::Skip(_))), "{text}");
    }
}
