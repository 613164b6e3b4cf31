//! History: raw readings and buckets are what a naive computation over the same readings gives.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::harness::{Role, TestHub};
use crate::wire::{Peer, START};

const SECOND: i64 = 1_000_000;
const STEPS: [(&str, i64); 9] = [
    ("1s", 1),
    ("5s", 5),
    ("15s", 15),
    ("1m", 60),
    ("5m", 300),
    ("15m", 900),
    ("1h", 3_600),
    ("6h", 21_600),
    ("1d", 86_400),
];
/// Readings in all: more than two messages hold.
const READINGS: usize = 24_000;

/// Readings at irregular times within two hours and one far away; out of order, some times twice.
fn readings() -> Vec<(i64, f64)> {
    let mut state = 42_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    let mut readings: Vec<(i64, f64)> = (0..READINGS - 1)
        .map(|_| (START + random() % (7_200 * SECOND), random() as f64 / 1_000.0 - 1_000_000.0))
        .collect();
    readings.push((START + 86_400 * 40 * SECOND, 0.5));
    for i in (0..READINGS - 1).step_by(100) {
        readings[i].0 = readings[i / 2].0;
    }
    readings
}

/// Of readings at the same time the first one stored counts.
fn by_time(readings: &[(i64, f64)]) -> BTreeMap<i64, f64> {
    let mut by_time = BTreeMap::new();
    for (at, value) in readings {
        by_time.entry(*at).or_insert(*value);
    }
    by_time
}

struct Answered {
    parts: usize,
    points: Vec<Json>,
    buckets: Vec<Json>,
}

async fn ask(viewer: &mut Peer, series: i64, from: i64, to: i64, step: &str) -> Answered {
    viewer
        .say(json!({"type": "history", "id": 9, "series": series, "from": from, "to": to, "step": step}))
        .await;
    let mut answered = Answered { parts: 0, points: Vec::new(), buckets: Vec::new() };
    loop {
        let part = viewer.next_of("history").await;
        assert_eq!((&part["id"], &part["series"], &part["step"]), (&json!(9), &json!(series), &json!(step)));
        assert_eq!(part["position"], READINGS, "everything that is stored was looked at");
        for (field, all) in [("points", &mut answered.points), ("buckets", &mut answered.buckets)] {
            let here = part.get(field).map_or(&[][..], |list| list.as_array().unwrap());
            assert!(here.len() <= 10_000);
            all.extend(here.iter().cloned());
        }
        answered.parts += 1;
        if part["more"] != true {
            return answered;
        }
    }
}

#[tokio::test]
async fn history_is_what_a_naive_computation_gives_raw_and_in_buckets_of_every_width() {
    let hub = TestHub::start().await;
    let readings = readings();
    let mut device = hub.welcomed("pump").await;
    for (seq, chunk) in (1..).zip(readings.chunks(4_000)) {
        let points: Vec<Json> =
            chunk.iter().map(|(at, value)| json!({"at": at, "values": {"count": value}})).collect();
        device.say(json!({"type": "readings", "seq": seq, "points": points})).await;
        device.acked(seq).await;
    }
    let series = hub.series("pump", "count").await;
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let by_time = by_time(&readings);

    let end = START + 86_400 * 41 * SECOND;
    let ranges = [
        (0, end),
        (-1, START + 1),
        (START + 3 * SECOND + 1, START + 4_000 * SECOND + 7),
        (START + 1_800 * SECOND, START + 1_800 * SECOND + 1),
        (end, end + 1),
    ];
    for (from, to) in ranges {
        let raw = ask(&mut viewer, series, from, to, "raw").await;
        let expected: Vec<Json> = by_time.range(from..to).map(|(at, value)| json!([at, value])).collect();
        assert_eq!(raw.points, expected, "raw from {from} to {to}");
        assert_eq!(raw.parts, expected.len().div_ceil(10_000).max(1), "pages of ten thousand");
        assert_eq!(raw.buckets, Vec::<Json>::new());
        for (step, seconds) in STEPS {
            let width = seconds * SECOND;
            let answered = ask(&mut viewer, series, from, to, step).await;
            let mut expected: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            let whole = from.div_euclid(width) * width..(to - 1).div_euclid(width) * width + width;
            for (at, value) in by_time.range(whole) {
                expected.entry(at.div_euclid(width) * width).or_default().push(*value);
            }
            assert_eq!(answered.buckets.len(), expected.len(), "{step} from {from} to {to}");
            for (found, (at, values)) in answered.buckets.iter().zip(&expected) {
                let number = |i: usize| found[i].as_f64().unwrap();
                assert_eq!(
                    (found[0].as_i64(), found[1].as_u64()),
                    (Some(*at), Some(values.len() as u64)),
                    "{step}"
                );
                assert_eq!(number(2), values.iter().copied().fold(f64::INFINITY, f64::min), "{step}: min");
                assert_eq!(
                    number(3),
                    values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    "{step}: max"
                );
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                assert!((number(4) - mean).abs() <= 1e-9 * mean.abs().max(1e6), "{step}: mean");
                assert_eq!(
                    (number(5), number(6)),
                    (values[0], values[values.len() - 1]),
                    "{step}: first, last"
                );
            }
            assert_eq!(answered.parts, expected.len().div_ceil(10_000).max(1));
            assert_eq!(answered.points, Vec::<Json>::new());
        }
    }
}

#[tokio::test]
async fn a_number_comes_back_to_the_last_bit() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let numbers = [
        0.1 + 0.2,
        1.0 / 3.0,
        -0.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        5e-324,
        9_007_199_254_740_993.0,
        1e23,
        -273.15,
    ];
    // Written by Rust itself, which writes the shortest text that reads back as the same number.
    let points: Vec<String> = numbers
        .iter()
        .zip(START..)
        .map(|(number, at)| format!(r#"{{"at":{at},"values":{{"count":{number:?}}}}}"#))
        .collect();
    device.say_text(&format!(r#"{{"type":"readings","seq":1,"points":[{}]}}"#, points.join(","))).await;
    device.acked(1).await;
    let series = hub.series("pump", "count").await;
    let stored = hub
        .reader()
        .raw(protocol::SeriesId(series), protocol::Timestamp(0), protocol::Timestamp::END_READING, usize::MAX)
        .unwrap();
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    viewer
        .say(json!({"type": "history", "id": 1, "series": series, "from": START, "to": START + 100, "step": "raw"}))
        .await;
    let told = viewer.next_of("history").await;
    for (i, number) in numbers.iter().enumerate() {
        assert_eq!(
            stored.points[i].1.as_number().unwrap().to_bits(),
            number.to_bits(),
            "{number:?} in the file"
        );
        assert_eq!(
            told["points"][i][1].as_f64().unwrap().to_bits(),
            number.to_bits(),
            "{number:?} on the wire"
        );
    }
}

#[tokio::test]
async fn booleans_count_as_1_and_0_in_buckets_and_texts_come_raw() {
    let hub = TestHub::start().await;
    let mut device = hub.welcomed("pump").await;
    let points: Vec<Json> = [(true, "idle"), (false, ""), (true, "läuft")]
        .iter()
        .zip(0..)
        .map(|((open, mode), n)| json!({"at": START + n, "values": {"open": open, "mode": mode}}))
        .collect();
    device.say(json!({"type": "readings", "seq": 1, "points": points})).await;
    device.acked(1).await;
    let (open, mode) = (hub.series("pump", "open").await, hub.series("pump", "mode").await);
    let (mut viewer, _) = hub.viewer(Role::Viewer).await;
    let mut ask = async |series: i64, step: &str| {
        viewer.say(json!({"type": "history", "id": 1, "series": series, "from": START, "to": START + 3, "step": step})).await;
        viewer.next_of("history").await
    };
    assert_eq!(ask(open, "1s").await["buckets"], json!([[START, 3, 0.0, 1.0, 2.0 / 3.0, 1.0, 1.0]]));
    assert_eq!(
        ask(open, "raw").await["points"],
        json!([[START, true], [START + 1, false], [START + 2, true]])
    );
    assert_eq!(
        ask(mode, "raw").await["points"],
        json!([[START, "idle"], [START + 1, ""], [START + 2, "läuft"]])
    );
}
