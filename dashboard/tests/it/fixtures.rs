//! A hub made of messages, a clock that stands still, and a window that is not on any screen.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dashboard::app::{App, Clock, Pace, Start};
use dashboard::link::{FarEnd, Link, Outgoing};
use dashboard::model::{Event, Model};
use dashboard::settings::{Settings, ThemeChoice};
use egui_kittest::Harness;
use jiff::tz::TimeZone;
use protocol::viewer::{
    CommandEvent, CommandInfo, HubToViewer, LiveReadings, Role, SeriesReadings, Subscribed, ViewerMessage,
    ViewerWelcome,
};
use protocol::{Position, SeriesId, Timestamp, Value};
use serde_json::json;

use crate::testkit::SoftRenderer;

/// 2025-06-15 12:00:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp(1_749_988_800_000_000);
pub(crate) const SECOND: i64 = 1_000_000;

pub(crate) fn later(seconds: i64) -> Timestamp {
    NOW.plus_micros(seconds * SECOND)
}

pub(crate) fn message(json: serde_json::Value) -> HubToViewer {
    HubToViewer::decode(&json.to_string()).unwrap()
}

pub(crate) fn welcome(position: i64) -> Event {
    Event::Connected(greeting(position))
}

/// What a hub says first.
pub(crate) fn greeting(position: i64) -> ViewerWelcome {
    ViewerWelcome {
        session: "s-1".into(),
        server_time: NOW,
        role: Role::Operator,
        position: Position(position),
        limits: protocol::limits::ViewerLimits::default(),
        heartbeat_seconds: 10,
    }
}

/// A greenhouse with a temperature, a humidity and a vent, and two commands.
pub(crate) fn greenhouse(number: i64, connected: bool) -> serde_json::Value {
    json!({
        "id": format!("greenhouse-{number:02}"), "model": "GH-2", "firmware": "1.4.0", "connected": connected,
        "since": NOW.0 - 3_600 * SECOND, "last_seen": NOW.0 - if connected { 0 } else { 240 * SECOND },
        "metrics": [
            {"series": number * 10 + 1, "name": "temperature", "unit": "Cel", "label": "Air temperature", "min": -10, "max": 60},
            {"series": number * 10 + 2, "name": "humidity", "unit": "%RH", "label": "Humidity", "min": 0, "max": 100},
            {"series": number * 10 + 3, "name": "vent", "kind": "text"},
        ],
        "commands": [
            {"name": "set_target", "label": "Set target", "params": [
                {"name": "target", "kind": "number", "unit": "Cel", "min": 5, "max": 30, "default": 21, "required": true},
                {"name": "mode", "kind": "text", "choices": ["eco", "boost"], "default": "eco"}]},
            {"name": "reboot", "label": "Reboot", "confirm": true},
        ],
    })
}

pub(crate) fn devices(list: &[serde_json::Value]) -> Event {
    Event::Message(message(json!({"type": "devices", "devices": list, "snapshot": true})))
}

pub(crate) fn changed(device: serde_json::Value) -> Event {
    Event::Message(message(json!({"type": "devices", "devices": [device]})))
}

pub(crate) fn readings(subscription: u64, position: i64, series: i64, points: &[(Timestamp, f64)]) -> Event {
    Event::Message(HubToViewer::Readings(LiveReadings {
        id: subscription,
        position: Position(position),
        snapshot: false,
        series: vec![SeriesReadings {
            series: SeriesId(series),
            points: points.iter().map(|(at, v)| (*at, Value::Number(*v))).collect(),
        }],
        omitted: None,
        traces: Vec::new(),
    }))
}

pub(crate) fn subscribed(id: u64, position: i64, resumed: bool) -> Event {
    Event::Message(HubToViewer::Subscribed(Subscribed {
        id,
        series: 1,
        position: Position(position),
        resumed,
    }))
}

pub(crate) fn command(id: Option<u64>, states: &[(&str, i64)], more: serde_json::Value) -> Event {
    let transitions: Vec<_> = states
        .iter()
        .map(|(state, seconds)| json!({"state": state, "at": later(*seconds).0, "by": "operator"}))
        .collect();
    let mut info = json!({
        "id": "c-1", "device": "greenhouse-01", "name": "set_target", "args": {"target": 24.5, "mode": "eco"},
        "state": states.last().unwrap().0, "issued_by": "operator", "expires_at": later(300).0, "attempt": 1,
        "transitions": transitions,
    });
    for (key, value) in more.as_object().unwrap() {
        info[key] = value.clone();
    }
    let command: CommandInfo = serde_json::from_value(info).unwrap();
    Event::Message(HubToViewer::Command(CommandEvent { id, command }))
}

pub(crate) fn model() -> Model {
    Model::new("127.0.0.1:7878", Settings::default(), TimeZone::UTC, NOW)
}

/// A model that is connected and knows `count` greenhouses.
pub(crate) fn connected_model(count: i64) -> Model {
    let mut model = model();
    model.handle_event(welcome(100), NOW);
    let list: Vec<_> = (1..=count).map(|n| greenhouse(n, true)).collect();
    model.handle_event(devices(&list), NOW);
    model.tick(&[], 800.0, NOW);
    model
}

/// The window with both ends of its link in hand.
pub(crate) struct Window {
    pub(crate) harness: Harness<'static, App>,
    pub(crate) hub: FarEnd,
    time: Arc<AtomicI64>,
}

impl Window {
    pub(crate) fn open() -> Self {
        Self::open_with(ThemeChoice::Dark, [1200.0, 760.0])
    }

    pub(crate) fn open_with(theme: ThemeChoice, size: [f32; 2]) -> Self {
        Self::start(theme, size, |_| {})
    }

    /// A window that keeps what it remembers in this folder.
    pub(crate) fn open_in(folder: &std::path::Path) -> Self {
        Self::start(ThemeChoice::Dark, [1200.0, 760.0], |start| {
            start.folder = Some(folder.to_owned());
            start.fresh_layout = false;
        })
    }

    /// A window that tells its pace.
    pub(crate) fn paced(pace: Pace) -> Self {
        Self::make(ThemeChoice::Dark, [1200.0, 760.0], |_| {}, pace)
    }

    pub(crate) fn start(theme: ThemeChoice, size: [f32; 2], change: impl FnOnce(&mut Start)) -> Self {
        Self::make(theme, size, change, Pace::default())
    }

    fn make(theme: ThemeChoice, size: [f32; 2], change: impl FnOnce(&mut Start), pace: Pace) -> Self {
        let time = Arc::new(AtomicI64::new(NOW.0));
        let clock: Clock = {
            let time = Arc::clone(&time);
            Arc::new(move || Timestamp(time.load(Ordering::Relaxed)))
        };
        let (link, hub) = Link::pair();
        let egui_theme = if theme == ThemeChoice::Light { egui::Theme::Light } else { egui::Theme::Dark };
        let harness = Harness::builder()
            .with_size(size)
            .with_theme(egui_theme)
            .with_max_steps(12)
            .with_step_dt(0.05)
            .renderer(SoftRenderer::default())
            .build_eframe(|creation| {
                let mut start = Start::new("127.0.0.1:7878", clock);
                start.zone = TimeZone::UTC;
                start.theme = Some(theme);
                change(&mut start);
                App::new(&creation.egui_ctx, start, link, pace)
            });
        Self { harness, hub, time }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.hub.events.try_send(event).unwrap();
        self.run();
    }

    /// Draws until nothing changes any more.
    pub(crate) fn run(&mut self) {
        // Two steps take in what has arrived and what that led to; then it has to come to rest.
        self.harness.run_steps(2);
        self.harness.run_ok();
    }

    /// Moves the clock without drawing, also back.
    pub(crate) fn jump(&mut self, seconds: i64) {
        self.time.fetch_add(seconds * SECOND, Ordering::Relaxed);
    }

    pub(crate) fn advance(&mut self, seconds: i64) {
        self.time.fetch_add(seconds * SECOND, Ordering::Relaxed);
        self.run();
    }

    pub(crate) fn connect(&mut self, count: i64) {
        self.tell(welcome(100));
        let list: Vec<_> = (1..=count).map(|n| greenhouse(n, n != 4)).collect();
        self.tell(devices(&list));
    }

    /// Draws until something is so; the disk may take its time.
    pub(crate) fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begin = std::time::Instant::now();
        while !is_so(self) {
            assert!(begin.elapsed() < std::time::Duration::from_secs(20), "never so: {what}");
            std::thread::sleep(std::time::Duration::from_millis(2));
            self.run();
        }
    }

    /// What the window has sent since the last call.
    pub(crate) fn sent(&mut self) -> Vec<ViewerMessage> {
        std::iter::from_fn(|| self.hub.outbox.try_recv().ok())
            .filter_map(|out| match out {
                Outgoing::Send(message) => Some(message),
                Outgoing::ReconnectNow => None,
            })
            .collect()
    }
}
