//! Hub, device and window together: a real hub in this process, a device over the client library, and the window with its real
//! link, told by what it says to a screen reader.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../testkit/mod.rs"]
mod testkit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::device::{DeviceClient, DeviceConfig, DeviceEvent, DeviceHandle};
use client::{Endpoint, Token};
use dashboard::action::Action;
use dashboard::app::{App, Pace, Start, system_clock};
use dashboard::link::{Link, Target};
use dashboard::model::wire::{Inspector, Pane, Row, Stage, WireEdit};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use hub::Config;
use hub::config::Options;
use protocol::device::Point;
use protocol::wire::Side;
use protocol::{DeviceId, Value, local};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;

use crate::testkit::SoftRenderer;

/// A hub in this process, on a port of its own.
struct RealHub {
    runtime: Runtime,
    running: Option<hub::Running>,
    folder: TempDir,
    url: String,
}

impl RealHub {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let options = Options {
            listen: Some(([127, 0, 0, 1], 0).into()),
            data: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let running = runtime.block_on(hub::start(Config::resolve(&options).unwrap())).unwrap();
        let url = format!("ws://{}", running.address);
        Self { runtime, running: Some(running), folder, url }
    }

    fn token(&self, file: &str) -> Token {
        Token::new(&std::fs::read_to_string(self.folder.path().join(file)).unwrap()).unwrap()
    }

    /// A pump that has connected.
    fn pump(&self, epoch: &str) -> (DeviceHandle, Receiver<DeviceEvent>) {
        let token = self.token(local::FLEET_TOKEN_FILE);
        let endpoint = Endpoint::new(&self.url, token.reveal()).unwrap();
        let hello =
            json!({"device": "pump-07", "epoch": epoch, "metrics": [{"name": "pressure", "unit": "bar"}]});
        let config = DeviceConfig::new(endpoint, serde_json::from_value(hello).unwrap());
        self.runtime.block_on(async {
            let (device, events) = DeviceClient::spawn(config).unwrap();
            device.push(Vec::new()).await.unwrap();
            device.wait_for(|status| status.connected).await.unwrap();
            (device, events)
        })
    }

    fn close(&self, (device, _events): (DeviceHandle, Receiver<DeviceEvent>)) {
        self.runtime.block_on(device.close(Duration::from_secs(5)));
    }
}

impl Drop for RealHub {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

fn pump() -> DeviceId {
    DeviceId::new("pump-07").unwrap()
}

/// The window, as whoever has a token.
struct Window {
    harness: Harness<'static, App>,
}

impl Window {
    fn open(hub: &RealHub, token_file: &str) -> Self {
        let target =
            Target { hub: Some(hub.url.clone()), token: Some(hub.token(token_file)), ..Target::default() };
        let address = hub.url.clone();
        let harness = Harness::builder()
            .with_size([1_300.0, 900.0])
            .with_max_steps(12)
            .renderer(SoftRenderer::default())
            .build_eframe(move |creation| {
                // The test draws again and again, whatever comes.
                let link = Link::start(target, Arc::new(|_| {})).unwrap();
                App::new(&creation.egui_ctx, Start::new(&address, system_clock()), link, Pace::default())
            });
        let mut window = Self { harness };
        window.until("the pump to be known", |window| {
            window.harness.state().model().devices.get(&pump()).is_some()
        });
        window
    }

    fn says(&self, text: &str) -> bool {
        self.harness.query_all_by_label_contains(text).next().is_some()
    }

    fn wire(&self) -> &Inspector {
        self.harness.state().model().wire.as_ref().unwrap()
    }

    /// Draws until something is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < Duration::from_secs(30), "never so: {what}");
            std::thread::sleep(Duration::from_millis(5));
            self.harness.run_steps(2);
        }
    }

    fn act(&mut self, action: Action) {
        self.harness.state_mut().act(action);
        self.harness.run_steps(3);
    }

    fn click(&mut self, name: &str) {
        self.harness.get_by_label(name).click();
        self.harness.run_steps(3);
    }
}

/// The first frame with a message of this kind on the newest connection.
fn frame<'a>(wire: &'a Inspector, from: Side, kind: &str) -> Option<&'a Row> {
    let session = &wire.watched().last()?.session;
    wire.rows().iter().find(|row| {
        let is_there = row.record().is_some_and(|record| record.session == *session);
        let is_so = row.frame().is_some_and(|frame| {
            frame.from == from
                && frame.text.as_deref().is_some_and(|text| text.contains(&format!("\"type\":\"{kind}\"")))
        });
        is_there && is_so
    })
}

#[test]
fn the_wire_of_a_real_device_is_shown_from_its_first_byte_with_what_answers_what_and_written_to_a_file() {
    let hub = RealHub::start();
    let first = hub.pump("e-1");
    let mut window = Window::open(&hub, local::OPERATOR_TOKEN_FILE);
    window.act(Action::OpenWire(pump()));
    // It was connected before anyone watched: how is known all the same.
    window.until("the handshake", |window| window.wire().current().and_then(|c| c.handshake()).is_some());
    window.act(Action::EditWire(WireEdit::Pane(Pane::Handshake)));
    let handshake = window.wire().current().unwrap().handshake().unwrap();
    assert!(handshake.request.starts_with("GET /v1/device HTTP/1.1\r\n"), "{}", handshake.request);
    assert!(handshake.request.contains("***"), "the token is not shown: {}", handshake.request);
    assert!(!handshake.request.contains(hub.token(local::FLEET_TOKEN_FILE).reveal()));
    assert!(handshake.response.starts_with("HTTP/1.1 101 "), "{}", handshake.response);
    let title = format!("Connection {} from 127.0.0.1:", window.wire().current().unwrap().session);
    assert!(window.says(&title) && window.says("its head was read"));
    hub.close(first);
    window.until("the end of the first connection", |window| {
        window.wire().watched().iter().any(|watched| watched.ended.is_some())
    });

    // The next one is watched from its first byte on.
    let second = hub.pump("e-2");
    window.until("the hello", |window| frame(window.wire(), Side::Device, "hello").is_some());
    let at = hub::clock::now();
    let values = vec![("pressure".parse().unwrap(), Value::from(2.5))];
    hub.runtime.block_on(second.0.push(vec![Point { at, values }])).unwrap();
    window.until("the ack of the readings", |window| {
        frame(window.wire(), Side::Device, "readings").is_some_and(|row| row.answered_by.is_some())
    });
    let wire = window.wire();
    let hello = frame(wire, Side::Device, "hello").unwrap();
    let welcome = frame(wire, Side::Hub, "welcome").unwrap();
    assert_eq!(welcome.answers, [hello.frame().unwrap().n]);
    let readings = frame(wire, Side::Device, "readings").unwrap();
    let ack = wire.row_beside(readings, readings.answered_by.unwrap()).unwrap();
    assert_eq!(ack.key, frame(wire, Side::Hub, "ack").unwrap().key);
    assert_eq!(ack.answers, [readings.frame().unwrap().n]);
    assert!(window.says("hello") && window.says("readings 1,") && window.says("ack 1"));
    let key = readings.key;
    window.act(Action::EditWire(WireEdit::Select(Some(key))));
    window.act(Action::EditWire(WireEdit::Pane(Pane::Frame)));
    assert!(window.says("2.5"), "the payload of the frame");

    // Filters, and the figures.
    window.click("From hub");
    let wire = window.wire();
    assert!(!wire.shown().is_empty());
    for key in wire.shown() {
        let row = wire.row(*key).unwrap();
        assert!(row.frame().is_none_or(|frame| frame.from == Side::Hub), "{row:?}");
    }
    window.click("Show all");
    window.act(Action::EditWire(WireEdit::Pane(Pane::Figures)));
    window.until("figures", |window| window.says("Messages a second"));

    // Everything in a file.
    window.click("Export…");
    window.click("JSON Lines");
    let form = window.harness.state().model().export_form.clone().unwrap();
    let path = hub.folder.path().join("wire.jsonl");
    window.act(Action::EditExport(Some(Box::new(form.with_path(path.display().to_string())))));
    window.click("Write");
    window.until("the file", |window| window.harness.state().model().export_form.is_none());
    let lines = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Json> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let session = &window.wire().watched().last().unwrap().session;
    let of_kind = |event: &str, kind: &str| -> Vec<&Json> {
        let is_so = |line: &&Json| {
            let text = line["text"].as_str().unwrap_or_default();
            line["session"] == session.as_str() && line["event"] == event && text.contains(kind)
        };
        lines.iter().filter(is_so).collect()
    };
    assert_eq!(of_kind("opened", "").len(), 1, "the handshake");
    let readings = of_kind("frame", "\"type\":\"readings\"")[0];
    let ack = of_kind("frame", "\"type\":\"ack\"")[0];
    assert_eq!(ack["answers"], json!([readings["n"]]), "{ack}");
    assert!(!of_kind("frame", "\"type\":\"hello\"").is_empty());
    window.act(Action::CloseWire);
    hub.close(second);
}

#[test]
fn a_viewer_who_may_not_watch_is_told_so_politely_in_every_pane_and_still_sees_the_past_connections() {
    let hub = RealHub::start();
    let device = hub.pump("e-1");
    let mut window = Window::open(&hub, local::VIEWER_TOKEN_FILE);
    window.act(Action::OpenWire(pump()));
    window.until("a refusal", |window| matches!(window.wire().stage, Stage::Refused(_)));
    window.harness.run_steps(2);
    for pane in [Pane::Figures, Pane::Handshake, Pane::Frame] {
        window.act(Action::EditWire(WireEdit::Pane(pane)));
        assert!(window.says("The hub refused"), "{pane:?}");
        assert!(window.says("Connect with the token of one (Ctrl+H)"), "{pane:?}");
    }
    window.act(Action::EditWire(WireEdit::Pane(Pane::Figures)));
    assert!(window.says("No figures: the hub refused to let this connection watch pump-07."));
    assert!(!window.says("as soon as the device is connected"), "it is connected");
    window.until("the connections that viewers may see", |window| window.says("as far as the hub remembers"));
    assert!(window.wire().rows().is_empty() && window.wire().figures.is_none());
    hub.close(device);
}
