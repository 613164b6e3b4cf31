//! The wire of a device: a panel of what its connections carry.

use dashboard::action::Action;
use dashboard::model::Event;
use dashboard::model::wire::{Pane, WireEdit};
use dashboard::settings::ThemeChoice;
use egui_kittest::kittest::Queryable as _;
use protocol::DeviceId;
use protocol::viewer::ViewerMessage;
use serde_json::{Value as Json, json};

use crate::fixtures::*;

fn says(window: &Window, text: &str) -> bool {
    window.harness.query_all_by_label_contains(text).next().is_some()
}

fn device() -> DeviceId {
    DeviceId::new("greenhouse-01").unwrap()
}

fn act(window: &mut Window, action: Action) {
    window.harness.state_mut().act(action);
    window.run();
}

fn edit(window: &mut Window, edit: WireEdit) {
    act(window, Action::EditWire(edit));
}

fn click(window: &mut Window, name: &str) {
    window.harness.get_by_label(name).click();
    window.run();
}

/// The ids of the inspections that were asked for and ended since the last call.
fn asked(window: &mut Window) -> (Vec<u64>, Vec<u64>) {
    let (mut begun, mut ended) = (Vec::new(), Vec::new());
    for message in window.sent() {
        match message {
            ViewerMessage::Inspect(m) => {
                assert_eq!(m.device, device());
                begun.push(m.id);
            }
            ViewerMessage::StopInspecting(m) => ended.push(m.id),
            _ => {}
        }
    }
    (begun, ended)
}

fn at(millis: i64) -> i64 {
    NOW.0 + millis * 1_000
}

fn opened() -> Json {
    json!({"session": "s12", "at": at(-60_000), "event": "opened", "address": "10.0.0.7:50412",
        "tls": {"version": "TLSv1_3", "cipher": "TLS13_AES_128_GCM_SHA256"},
        "request": "GET /v1/device HTTP/1.1\r\nHost: hub.example:7878\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVsZW1ldHJ5LWh1Yi12MQ==\r\nSec-WebSocket-Protocol: telemetry.v1.json\r\nAuthorization: ***\r\n\r\n",
        "response": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: Y41aj2wCpB8qOn9JQCjxTIYNBM0=\r\nSec-WebSocket-Protocol: telemetry.v1.json\r\n\r\n",
        "key": "dGVsZW1ldHJ5LWh1Yi12MQ==", "accept": "Y41aj2wCpB8qOn9JQCjxTIYNBM0=",
        "subprotocol": "telemetry.v1.json", "accepted_at": at(-60_003), "tls_at": at(-60_002),
        "requested_at": at(-60_001), "upgraded_at": at(-60_000), "hello_at": at(-59_999)})
}

fn frame(n: u64, millis: i64, from: &str, more: Json) -> Json {
    let mut frame = json!({"session": "s12", "at": at(millis), "event": "frame", "n": n, "from": from,
        "offset": n * 100, "opcode": 1, "fin": true, "header_bytes": if from == "device" { 6 } else { 2 },
        "payload_bytes": 2});
    if from == "device" {
        frame["mask"] = json!("1f2e3d4c");
    }
    for (key, value) in more.as_object().unwrap() {
        frame[key] = value.clone();
    }
    frame
}

fn text(n: u64, millis: i64, from: &str, text: &str, message: Json) -> Json {
    frame(n, millis, from, json!({"text": text, "payload_bytes": text.len(), "message": message}))
}

fn batch(n: u64, millis: i64, seq: u64) -> Json {
    let said = format!(
        r#"{{"type":"readings","seq":{seq},"points":[{{"at":{},"values":{{"temperature":21.{},"humidity":48.2,"vent":"open"}}}}]}}"#,
        at(millis - 2),
        seq % 10
    );
    text(n, millis, "device", &said, json!({"type": "readings", "seq": seq}))
}

fn ack(n: u64, millis: i64, seq: u64) -> Json {
    let said = format!(r#"{{"type":"ack","seq":{seq}}}"#);
    text(n, millis, "hub", &said, json!({"type": "ack", "seq": seq}))
}

fn figures(seconds: i64) -> Json {
    let n = seconds as u64;
    json!({"session": "s12", "opened_at": at(-60_000), "at": at(-60_000 + seconds * 1_000),
        "device": {"bytes": 138 * n + 96, "frames": n + 9, "messages": n + 3, "header_bytes": 6 * n + 54},
        "hub": {"bytes": 24 * n + 180, "frames": n + 8, "messages": n + 2, "header_bytes": 2 * n + 16},
        "round_trip": 412, "clock_ahead": -1_800})
}

fn wire(id: u64, records: Vec<Json>, more: Json) -> Event {
    let mut wire = json!({"type": "wire", "id": id, "device": "greenhouse-01", "figures": figures(60),
        "records": records});
    for (key, value) in more.as_object().unwrap() {
        if value.is_null() {
            wire.as_object_mut().unwrap().remove(key);
        } else {
            wire[key] = value.clone();
        }
    }
    Event::Message(message(wire))
}

/// A minute of a device: hello, batches and acks, a command, pings, a broken frame.
fn minute() -> Vec<Json> {
    let mut records = vec![
        opened(),
        text(
            1,
            -59_999,
            "device",
            r#"{"type":"hello","device":"greenhouse-01","epoch":"e-1"}"#,
            json!({"type": "hello"}),
        ),
        text(2, -59_997, "hub", r#"{"type":"welcome","session":"s12"}"#, json!({"type": "welcome"})),
    ];
    let mut n = 3;
    for second in 0..60 {
        let begin = -59_000 + second * 1_000;
        let seq = 41 + second as u64;
        records.push(batch(n, begin, seq));
        records.push(ack(n + 1, begin + 2 + second % 3, seq));
        n += 2;
        if second % 10 == 9 {
            records.push(frame(
                n,
                begin + 300,
                "hub",
                json!({"opcode": 9, "payload_bytes": 1, "hex": format!("{:02x}", second)}),
            ));
            let pong = json!({"opcode": 10, "payload_bytes": 1, "hex": format!("{:02x}", second), "round_trip": 380 + second * 3});
            records.push(frame(n + 1, begin + 301, "device", pong));
            n += 2;
        }
        if second == 55 {
            let command = r#"{"type":"command","id":"c-7","name":"set_target","args":{"target":24.5}}"#;
            records.push(text(n, begin + 400, "hub", command, json!({"type": "command", "id": "c-7"})));
            let update = r#"{"type":"command_update","id":"c-7","state":"succeeded"}"#;
            records.push(text(
                n + 1,
                begin + 431,
                "device",
                update,
                json!({"type": "command_update", "id": "c-7"}),
            ));
            n += 2;
        }
        if second == 57 {
            let broken = json!({"opcode": 2, "rsv": 4, "hex": "03e8646f6e65ff", "payload_bytes": 7, "problems": ["reserved bits"]});
            records.push(frame(n, begin + 500, "device", broken));
            n += 1;
        }
    }
    records
}

/// A window in which the wire of a device is open, and the id of its inspection.
fn open(window: &mut Window) -> u64 {
    window.connect(2);
    window.sent();
    window.harness.get_by_label_contains("greenhouse-01 live").click();
    window.run();
    click(window, "Wire");
    let (begun, ended) = asked(window);
    assert!(ended.is_empty());
    begun[0]
}

fn filled(theme: ThemeChoice, size: [f32; 2]) -> Window {
    let mut window = Window::open_with(theme, size);
    open(&mut window);
    fill(&mut window);
    window
}

/// Answers the inspection that is open with a minute of frames, and the device's connections.
pub(crate) fn fill(window: &mut Window) {
    let id = window.harness.state().model().wire.as_ref().unwrap().id();
    for second in 50..60 {
        window.hub.events.try_send(wire(id, Vec::new(), json!({"figures": figures(second)}))).unwrap();
    }
    window.tell(wire(id, minute(), json!({})));
    let list = json!({"type": "connections", "id": id + 1, "device": "greenhouse-01", "connections": [
        {"session": "s12", "address": "10.0.0.7:50412", "opened_at": at(-60_000)},
        {"session": "s7", "address": "10.0.0.7:50123", "opened_at": at(-9_000_000),
         "end": {"at": at(-3_700_000), "by": "hub", "code": 4004, "reason": "no answer to pings"}},
        {"session": "s3", "address": "10.0.0.7:49811", "opened_at": at(-20_000_000), "end": {"by": "lost"}},
    ]});
    window.tell(Event::Message(message(list)));
}

#[test]
fn opening_it_asks_the_hub_and_closing_it_ends_that_and_a_new_welcome_asks_again() {
    let mut window = Window::open();
    let id = open(&mut window);
    assert!(says(&window, "Asking the hub…"));
    window.tell(wire(id, minute(), json!({})));
    window.tell(Event::Disconnected { reason: "gone".into(), retry_in: None });
    assert!(says(&window, "not connected to the hub"));
    window.tell(welcome(100));
    let (again, ended) = asked(&mut window);
    assert_eq!((again.len(), ended.len()), (1, 0), "what is gone with the connection is not ended");
    window.tell(wire(again[0], vec![opened(), batch(300, 100, 300)], json!({})));
    assert!(says(&window, "what went over the wire meanwhile is not known"));
    click(&mut window, "Close the wire, and watch no more");
    assert_eq!(asked(&mut window), (vec![], vec![again[0]]));
    // What was on its way is no harm.
    window.tell(wire(again[0], vec![batch(301, 200, 301)], json!({})));
    assert!(window.harness.state().model().wire.is_none());
}

#[test]
fn a_batch_leads_to_its_ack_and_back() {
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let row = |n: u64| {
        move |window: &Window| {
            let wire = window.harness.state().model().wire.as_ref().unwrap();
            wire.selected().and_then(|row| row.frame()).map(|frame| frame.n) == Some(n)
        }
    };
    window.harness.get_by_label_contains("readings 99,").click();
    window.run();
    let n = window.harness.state().model().wire.as_ref().unwrap().selected().unwrap().frame().unwrap().n;
    assert!(says(&window, "Acknowledged by") && says(&window, "after 3.00 ms"));
    click(&mut window, &format!("#{}", n + 1));
    assert!(row(n + 1)(&window));
    assert!(says(&window, "Answers"));
    click(&mut window, &format!("#{n}"));
    assert!(row(n)(&window));
    // The same by keyboard.
    window.harness.key_press(egui::Key::Enter);
    window.run();
    assert!(row(n + 1)(&window));
    window.harness.key_press(egui::Key::ArrowDown);
    window.run();
    assert!(row(n + 2)(&window));
    window.harness.key_press(egui::Key::Escape);
    window.run();
    assert!(window.harness.state().model().wire.as_ref().unwrap().selection.is_none());
}

#[test]
fn a_refusal_and_a_device_that_is_away_say_what_to_do() {
    let mut window = Window::open();
    let id = open(&mut window);
    let refused = json!({"type": "error", "id": id, "code": "forbidden",
        "message": "only an operator may do this: this token is for less"});
    window.tell(Event::Message(message(refused)));
    assert!(says(&window, "The hub refused") && says(&window, "Only an operator may do this"));
    click(&mut window, "Ask again");
    let (again, _) = asked(&mut window);
    window.tell(wire(again[0], Vec::new(), json!({"figures": null})));
    assert!(says(&window, "greenhouse-01 is not connected"));
    assert!(says(&window, "recorded from its first byte on"));
}

#[test]
fn a_viewer_who_only_looks_is_told_that_operators_may() {
    let mut window = Window::open();
    window.tell(Event::Connected(protocol::viewer::ViewerWelcome {
        role: protocol::viewer::Role::Viewer,
        ..greeting(100)
    }));
    window.tell(devices(&[greenhouse(1, true)]));
    act(&mut window, Action::OpenWire(device()));
    let (begun, _) = asked(&mut window);
    let refused = json!({"type": "error", "id": begun[0], "code": "forbidden",
        "message": "only an operator may do this: this token is for less"});
    window.tell(Event::Message(message(refused)));
    assert!(says(&window, "this token is for less. Connect with the token of one (Ctrl+H)."));
    assert!(!says(&window, "Ask again"), "that would not help");
}

#[test]
fn a_sampled_recording_says_how_much_is_missing() {
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let id = window.harness.state().model().wire.as_ref().unwrap().id();
    window.tell(wire(id, vec![batch(900, 10, 900)], json!({"left_out": 2_140})));
    assert!(says(&window, "sampled: 2140 frames left out"));
    assert!(says(&window, "2140 frames left out: more came than the hub records"));
}

#[test]
fn a_paused_table_stands_still_and_says_what_came() {
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let id = window.harness.state().model().wire.as_ref().unwrap().id();
    click(&mut window, "Pause");
    window.tell(wire(id, vec![batch(900, 10, 900), ack(901, 12, 900)], json!({})));
    assert!(says(&window, "paused, 2 came since"));
    assert!(!says(&window, "readings 900,"));
    click(&mut window, "Go on");
    assert!(says(&window, "readings 900,"));
}

#[test]
fn frames_are_searched_and_filtered_by_direction_kind_and_broken_rules() {
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let shown = |window: &Window| window.harness.state().model().wire.as_ref().unwrap().shown().len();
    let all = shown(&window);
    window.harness.key_press(egui::Key::Slash);
    window.run();
    window.harness.get_by_label("Search frames").type_text("set_target");
    window.run();
    assert_eq!(shown(&window), 1);
    click(&mut window, "Show all");
    assert_eq!(shown(&window), all);
    click(&mut window, "Control");
    assert_eq!(shown(&window), 12);
    click(&mut window, "From device");
    assert_eq!(shown(&window), 6);
    click(&mut window, "Show all");
    click(&mut window, "Broken rules");
    assert_eq!(shown(&window), 1);
    assert!(says(&window, "breaks a rule: reserved bits"));
    click(&mut window, "From hub");
    assert!(says(&window, "Nothing fits the filters"));
    click(&mut window, "Show all frames");
    assert_eq!(shown(&window), all);
}

#[test]
fn the_handshake_and_the_figures_stand_beside_the_table() {
    let mut window = filled(ThemeChoice::Dark, [1_500.0, 1_300.0]);
    for text in [
        "0.41 ms now",
        "1.80 ms behind",
        "Requests",
        "Measured by `cargo xtask bench transports`",
        "no answer to pings",
        "Reconnected 2 times",
    ] {
        assert!(says(&window, text), "{text}");
    }
    click(&mut window, "Handshake");
    for text in
        ["Authorization: ***", "Y41aj2wCpB8qOn9JQCjxTIYNBM0=", "TLS 1.3", "+3.00 ms", "none agreed on"]
    {
        assert!(says(&window, text), "{text}");
    }
}

#[test]
fn a_row_is_copied_and_all_of_it_is_written_to_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let records = minute().len();
    for (kind, file) in [("Capture (pcapng)", "a.pcapng"), ("JSON Lines", "a.jsonl")] {
        click(&mut window, "Export…");
        click(&mut window, kind);
        let form = window.harness.state().model().export_form.clone().unwrap();
        let path = folder.path().join(file).display().to_string();
        act(&mut window, Action::EditExport(Some(Box::new(form.with_path(path)))));
        click(&mut window, "Write");
        window
            .run_until("the file is written", |window| window.harness.state().model().export_form.is_none());
    }
    let lines = std::fs::read_to_string(folder.path().join("a.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), records);
    let second: Json = serde_json::from_str(lines.lines().nth(2).unwrap()).unwrap();
    assert_eq!(second["answers"], json!([1]), "{second}");
    let capture = std::fs::read(folder.path().join("a.pcapng")).unwrap();
    assert_eq!(capture[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    assert!(capture.windows(14).any(|part| part == b"Authorization:"));
}

#[test]
fn a_hundred_thousand_records_keep_to_their_bound_and_to_what_is_looked_at() {
    let mut window = filled(ThemeChoice::Dark, [1_300.0, 900.0]);
    let id = window.harness.state().model().wire.as_ref().unwrap().id();
    for part in 0..100_u64 {
        let records =
            (0..1_000).map(|i| batch(1_000 + part * 1_000 + i, i as i64, part * 1_000 + i)).collect();
        window.hub.events.try_send(wire(id, records, json!({}))).unwrap();
        if part % 10 == 0 {
            window.run();
        }
    }
    window.run();
    let wire = window.harness.state().model().wire.as_ref().unwrap();
    assert!(wire.rows().len() <= dashboard::model::wire::RECORDS_MAX);
    assert!(wire.bytes() <= dashboard::model::wire::BYTES_MAX);
    assert!(wire.dropped > 80_000);
    assert!(says(&window, "older ones dropped"));
}

#[test]
fn the_wire_is_a_picture() {
    let mut results = egui_kittest::SnapshotResults::new();
    for (theme, name) in [(ThemeChoice::Dark, "wire_dark"), (ThemeChoice::Light, "wire_light")] {
        let mut window = filled(theme, [1_440.0, 900.0]);
        act(&mut window, Action::ToggleList);
        for series in [11_i64, 12] {
            let wave = |s: i64| 20.0 + series as f64 + (s as f64 / 40.0).sin();
            let points: Vec<_> = (-300..0).map(|s| (later(s), wave(s))).collect();
            window.hub.events.try_send(readings(10, 200, series, &points)).unwrap();
            window.tell(readings(1, 200, series, &points[299..]));
        }
        if theme == ThemeChoice::Dark {
            window.harness.get_by_label_contains("readings 99,").click();
            window.run();
        } else {
            edit(&mut window, WireEdit::Pane(Pane::Figures));
        }
        window.harness.remove_cursor();
        window.run();
        window.harness.snapshot(name);
        results.extend_harness(&mut window.harness);
    }
}

#[test]
fn the_handshake_is_a_picture() {
    let mut window = filled(ThemeChoice::Dark, [1_440.0, 900.0]);
    edit(&mut window, WireEdit::Pane(Pane::Handshake));
    window.harness.remove_cursor();
    window.run();
    window.harness.snapshot("wire_handshake_dark");
}
