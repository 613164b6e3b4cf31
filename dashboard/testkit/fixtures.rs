//! A small fleet with a fixed clock and seeded noise: what pictures and tests of charts are made of.

use dashboard::model::{Event, Model};
use dashboard::settings::Settings;
use jiff::tz::TimeZone;
use protocol::command::CommandState;
use protocol::viewer::HubToViewer;
use protocol::{SeriesId, Timestamp, Value};
use serde_json::{Value as Json, json};

/// The fixed time of all pictures: 2026-03-12 14:10:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp(1_773_324_600_000_000);

const SECOND: i64 = 1_000_000;

/// A number from -1 to 1 that depends on nothing but its arguments.
pub(crate) fn noise(seed: u64, i: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ i.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 31;
    x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A model that knows devices and is otherwise empty.
pub(crate) fn model(devices: &[Json]) -> Model {
    let mut model = Model::new("127.0.0.1:7878", Settings::default(), TimeZone::UTC, NOW);
    message(&mut model, json!({"type": "devices", "devices": devices, "snapshot": true}));
    model
}

/// Hands the model a message of the hub.
pub(crate) fn message(model: &mut Model, message: Json) {
    let message = HubToViewer::decode(&message.to_string()).expect("a message of the protocol");
    model.handle_event(Event::Message(message), NOW);
}

/// A device with metrics `(series, name, unit, kind)`.
pub(crate) fn device(id: &str, metrics: &[(i64, &str, &str, &str)]) -> Json {
    let metrics: Vec<Json> = metrics
        .iter()
        .map(|(series, name, unit, kind)| json!({"series": series, "name": name, "unit": unit, "kind": kind}))
        .collect();
    json!({
        "id": id, "connected": true, "since": NOW.0 - 3_600 * SECOND, "last_seen": NOW.0, "metrics": metrics,
        "commands": [
            {"name": "set_target", "params": [{"name": "celsius", "kind": "number", "unit": "Cel"}]},
            {"name": "calibrate"},
        ],
    })
}

/// A command that went through these states, each with its seconds before [`NOW`].
pub(crate) fn command(
    model: &mut Model,
    id: &str,
    device: &str,
    name: &str,
    args: Json,
    life: &[(CommandState, f64)],
) {
    let transitions: Vec<Json> = life
        .iter()
        .map(|(state, before)| json!({"state": state, "at": NOW.0 - (before * 1e6) as i64, "by": "operator"}))
        .collect();
    let state = life.last().expect("at least one state").0;
    message(
        model,
        json!({"type": "command", "command": {
            "id": id, "device": device, "name": name, "args": args, "state": state, "issued_by": "operator",
            "expires_at": NOW.0 + 300 * SECOND, "attempt": 1, "transitions": transitions,
        }}),
    );
}

/// Readings of one series from `from` to `to` seconds before [`NOW`], one every `every` seconds.
pub(crate) fn readings(
    model: &mut Model,
    series: i64,
    from: f64,
    to: f64,
    every: f64,
    value: impl Fn(f64, u64) -> f64,
) {
    let count = ((from - to) / every) as u64;
    let points: Vec<(Timestamp, Value)> = (0..count)
        .map(|i| {
            let before = from - i as f64 * every;
            (NOW.plus_micros(-(before * 1e6) as i64), Value::Number(value(before, i)))
        })
        .collect();
    model.series.push_live(SeriesId(series), &points);
}

/// Four greenhouses, noisy at 10 Hz for five minutes; one of them was silent for 14 seconds.
pub(crate) fn greenhouses() -> Model {
    let devices: Vec<Json> = (0..4)
        .map(|i| {
            let first = 1 + i * 4;
            device(
                &format!("greenhouse-{i:02}"),
                &[(first, "air_temperature", "Cel", "number"), (first + 1, "humidity", "%RH", "number")],
            )
        })
        .collect();
    let mut model = model(&devices);
    for i in 0..4_i64 {
        for metric in 0..2 {
            let series = 1 + i * 4 + metric;
            let phase = i as f64 * 1.3 + metric as f64;
            let base = 21.0 + i as f64 * 1.2 + metric as f64 * 24.0;
            let value = move |before: f64, n: u64| {
                let angle = before / 300.0 * 9.0 + phase;
                base + angle.sin() * 2.4 + noise(series as u64, n) * (0.35 + 0.3 * (i % 3) as f64)
            };
            if series == 9 {
                readings(&mut model, series, 330.0, 130.0, 0.1, value);
                readings(&mut model, series, 116.0, 0.0, 0.1, value);
            } else {
                readings(&mut model, series, 330.0, 0.0, 0.1, value);
            }
        }
    }
    model
}

/// A heater at 1 Hz: a command moved its temperature, another failed, and for 40 seconds nothing was heard of it.
pub(crate) fn step_response() -> Model {
    let mut model = model(&[device(
        "heater-1",
        &[
            (1, "temperature", "Cel", "number"),
            (2, "power", "W", "number"),
            (3, "heating", "", "bool"),
            (4, "mode", "", "text"),
        ],
    )]);
    let temperature = |before: f64, n: u64| {
        let since = 220.0 - before;
        let risen = if since > 0.0 { 14.0 * (1.0 - (-since / 35.0).exp()) } else { 0.0 };
        let ringing = if since > 0.0 { 1.6 * (-since / 50.0).exp() * (since / 9.0).sin() } else { 0.0 };
        22.0 + risen + ringing + noise(1, n) * 0.12
    };
    let power = |before: f64, n: u64| {
        let since = 220.0 - before;
        let level = if since > 0.0 { 180.0 + 620.0 * (-since / 25.0).exp() } else { 60.0 };
        level + noise(2, n) * 9.0
    };
    for (series, value) in [(1, &temperature as &dyn Fn(f64, u64) -> f64), (2, &power)] {
        readings(&mut model, series, 320.0, 140.0, 1.0, value);
        readings(&mut model, series, 100.0, 0.0, 1.0, value);
    }
    let at = |before: f64| NOW.plus_micros(-(before * 1e6) as i64);
    let heating: Vec<_> = [(320.0, false), (219.0, true), (170.0, false), (150.0, true), (60.0, false)]
        .map(|(before, on)| (at(before), Value::Bool(on)))
        .into();
    model.series.push_live(SeriesId(3), &heating);
    let mode: Vec<_> = [(320.0, "idle"), (219.0, "ramp"), (165.0, "hold"), (60.0, "idle")]
        .map(|(before, name)| (at(before), Value::from(name)))
        .into();
    model.series.push_live(SeriesId(4), &mode);
    use CommandState::{Failed, Queued, Received, Running, Sent, Succeeded};
    let target = |celsius: f64| json!({"celsius": celsius});
    let risen = [(Queued, 220.4), (Sent, 220.3), (Received, 220.1), (Running, 220.0), (Succeeded, 168.0)];
    command(&mut model, "c-1", "heater-1", "set_target", target(36.0), &risen);
    let failed = [(Queued, 75.0), (Sent, 74.9), (Received, 74.7), (Running, 74.5), (Failed, 66.0)];
    command(&mut model, "c-2", "heater-1", "calibrate", json!({}), &failed);
    let running = [(Queued, 20.0), (Sent, 19.8), (Running, 19.0)];
    command(&mut model, "c-3", "heater-1", "set_target", target(30.0), &running);
    model
}
