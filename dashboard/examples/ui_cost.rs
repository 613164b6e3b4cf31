//! Measures what the dashboard costs the processor, without a screen: the real app, told by a hub made of messages.
//!
//! `cargo xtask bench ui` runs it: without an argument; with `exact`, for memory that nothing used before; with `wire`, what
//! the panel of a wire adds; and with `live`, an address and a data folder, with a real hub for some seconds. A frame is all
//! that the app does for it, logic, views and tessellation, in processor time of the thread at 1920x1080; turning
//! triangles into pixels is not in it. Prints Markdown.

#[path = "../testkit/fixtures.rs"]
#[expect(dead_code, reason = "pictures and tests use the rest")]
mod fixtures;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dashboard::action::Action;
use dashboard::app::{App, Pace, Start};
use dashboard::format::milliseconds;
use dashboard::link::{FarEnd, Link, Target};
use dashboard::model::Event;
use dashboard::model::latency::{Figure, Stage as Stages};
use dashboard::settings::ThemeChoice;
use eframe::App as _;
use egui::{Context, RawInput, Rect, pos2, vec2};
use jiff::tz::TimeZone;
use protocol::viewer::{HubToViewer, LiveReadings, Role, SeriesReadings, ViewerWelcome};
use protocol::{Position, SeriesId, Timestamp, Value};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: egui::Vec2 = vec2(1_920.0, 1_080.0);
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Between two readings of a series.
const CADENCE: i64 = 100_000;
/// Frames that count, and frames of the same kind before them.
const FRAMES: usize = 1_000;
const WARM_UP: usize = 20;
/// Frames after which a drag turns round.
const TURN: u64 = 150;
/// The subscriptions of the list and of the charts, as the app numbers them.
const LIST: u64 = 1;
const CHARTS: u64 = 10;
/// Readings in one message.
const PART: i64 = 10_000;
/// What the yardstick of the disk writes at once, and how often.
const SYNCED: usize = 8_192;
const SYNC_INTERVAL: Duration = Duration::from_millis(10);

/// Frames of one kind.
#[derive(Clone, Copy)]
enum Scene {
    /// A reading for each series on the charts; the view follows.
    Arriving,
    /// The view moves by a pixel and a half.
    Dragged,
    /// Only the pointer moves over a chart.
    Hover,
    /// The wire of a device is open and full, and twenty frames come.
    Wire,
}

/// What is on the screen.
struct Stage {
    charts: i64,
    series_each: i64,
    readings: i64,
    devices: i64,
    /// Whether values need every bit; else they have two decimals.
    exact: bool,
}

struct Bench {
    ctx: Context,
    app: App,
    hub: FarEnd,
    clock: Arc<AtomicI64>,
    stage: Stage,
    frame: u64,
    wire_frames: u64,
    position: i64,
    pointer: egui::Pos2,
    /// Memory that each reading has taken.
    bytes_each: f64,
    _folder: tempfile::TempDir,
}

fn main() -> anyhow::Result<()> {
    let full = || Stage { charts: 6, series_each: 4, readings: 1_000_000, devices: 1_000, exact: false };
    if std::env::args().nth(1).as_deref() == Some("exact") {
        let bench = Bench::new(Stage { exact: true, ..full() })?;
        let what = "memory of a reading, 24 series of 1 M whose values need every bit";
        println(&format!("| {what} | {:.1} bytes | |", bench.bytes_each));
        return Ok(());
    }
    if std::env::args().nth(1).as_deref() == Some("live") {
        return live(std::env::args().nth(2), std::env::args().nth(3).map(Into::into));
    }
    if std::env::args().nth(1).as_deref() == Some("wire") {
        let mut bench = Bench::new(Stage { readings: 10_000, ..full() })?;
        row("without a wire: the cursor moves", bench.measure(5 * MINUTE, Scene::Hover), " | ");
        bench.open_wire()?;
        row("with a wire: the cursor moves", bench.measure(5 * MINUTE, Scene::Hover), " | ");
        row("with a wire: 20 frames arrive", bench.measure(5 * MINUTE, Scene::Wire), " | ");
        return Ok(());
    }
    println("### Frames\n\nProcessor time of a frame in milliseconds.\n");
    println("| what | p50 | p99 | goal p50 | p99 |\n|---|---|---|---|---|");
    let mut bench = Bench::new(full())?;
    let each = bench.bytes_each;
    let of = "6 charts of 4 series of 1 M readings";
    for (name, span) in [("5 min", 5 * MINUTE), ("1 h", 60 * MINUTE), ("27 h", 1_620 * MINUTE)] {
        let mut say = |what: &str, scene, goals: &str| {
            row(&format!("{of}, 1 000 devices, {name}: {what}"), bench.measure(span, scene), goals);
        };
        say("readings arrive", Scene::Arriving, "2 | 4");
        say("dragged", Scene::Dragged, "2 | 4");
        say("only the cursor moves", Scene::Hover, "1.5 | ");
    }
    let arriving = bench.arriving()?;
    bench.open_wire()?;
    let what = "the wire of a device, 16 384 rows, 20 frames arrive";
    row(&format!("{of}, 1 000 devices, 5 min: {what}"), bench.measure(5 * MINUTE, Scene::Wire), " | ");
    drop(bench);

    let mut crowd = Bench::new(Stage { devices: 10_000, ..full() })?;
    for (what, scene) in [("readings arrive", Scene::Arriving), ("only the cursor moves", Scene::Hover)] {
        row(&format!("{of}, 10 000 devices, 5 min: {what}"), crowd.measure(5 * MINUTE, scene), "as 1 000 | ");
    }
    drop(crowd);

    let many = Stage { charts: 1, series_each: 20, readings: 10_000_000, devices: 20, exact: false };
    let mut many = Bench::new(many)?;
    for (name, span) in [("5 min", 5 * MINUTE), ("all of 277 h", 16_600 * MINUTE)] {
        let of = "1 chart of 20 series of 10 M readings";
        row(&format!("{of}, {name}: readings arrive"), many.measure(span, Scene::Arriving), "4 | ");
        row(&format!("{of}, {name}: dragged"), many.measure(span, Scene::Dragged), "4 | ");
        row(&format!("{of}, {name}: only the cursor moves"), many.measure(span, Scene::Hover), "1.5 | ");
    }
    println("\n### Arrival and memory\n\n| what | reached | goal |\n|---|---|---|");
    let what = "100 000 readings/s arriving: reading the JSON and taking it in";
    println(&format!("| {what} | {:.1} % of a core | 5 % |", arriving * 100.0));
    let what = "memory of a reading, by resident size";
    println(&format!("| {what}, 24 series of 1 M with two decimals | {each:.1} bytes | 10.5 |"));
    println(&format!(
        "| {what}, 20 series of 10 M with two decimals | {:.1} bytes | 10.5 |",
        many.bytes_each
    ));
    Ok(())
}

fn row(what: &str, (p50, p99): (f64, f64), goals: &str) {
    println(&format!("| {what} | {p50:.2} | {p99:.2} | {goals} |"));
}

#[expect(clippy::print_stdout, reason = "the result of a measurement")]
fn println(text: &str) {
    println!("{text}");
}

impl Bench {
    fn new(stage: Stage) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let settings = json!({"version": 1, "theme": "dark", "memory_mb": 4_096});
        std::fs::write(folder.path().join("settings.json"), settings.to_string())?;
        let ctx = Context::default();
        let clock = Arc::new(AtomicI64::new(fixtures::NOW.0));
        let of_app = Arc::clone(&clock);
        let mut start =
            Start::new("127.0.0.1:7878", Arc::new(move || Timestamp(of_app.load(Ordering::Relaxed))));
        start.folder = Some(folder.path().to_owned());
        start.theme = Some(ThemeChoice::Dark);
        start.zone = TimeZone::UTC;
        let (link, hub) = Link::pair();
        let app = App::new(&ctx, start, link, Pace::default());
        let mut bench = Self {
            ctx,
            app,
            hub,
            clock,
            stage,
            frame: 0,
            wire_frames: 0,
            position: 1,
            pointer: pos2(900.0, 400.0),
            bytes_each: 0.0,
            _folder: folder,
        };
        bench.connect()?;
        bench.lay_out()?;
        let before = resident();
        bench.fill()?;
        let Stage { charts, series_each, readings, .. } = bench.stage;
        bench.bytes_each = (resident() - before) / (charts * series_each * readings) as f64;
        Ok(bench)
    }

    fn tell(&mut self, event: Event) -> anyhow::Result<()> {
        self.hub.events.try_send(event).context("the app does not take its events")?;
        Ok(())
    }

    /// The fleet: the first devices have the series of the charts, the others one each.
    fn connect(&mut self) -> anyhow::Result<()> {
        self.tell(Event::Connected(ViewerWelcome {
            session: "s-1".into(),
            server_time: fixtures::NOW,
            role: Role::Operator,
            position: Position(1),
            limits: protocol::limits::ViewerLimits::default(),
            heartbeat_seconds: 10,
        }))?;
        let Stage { charts, series_each, devices, .. } = self.stage;
        let list: Vec<_> = (0..devices)
            .map(|d| {
                let names: Vec<String> = (0..charts).map(|chart| format!("metric_{chart}")).collect();
                let metrics: Vec<_> = if d < series_each {
                    let number = |chart: i64| 1 + chart * series_each + d;
                    (0..charts).map(|c| (number(c), names[c as usize].as_str(), "Cel", "number")).collect()
                } else {
                    vec![(1_000 + d, "level", "m", "number")]
                };
                fixtures::device(&format!("device-{d:05}"), &metrics)
            })
            .collect();
        let parts = list.chunks(200).count();
        for (i, part) in list.chunks(200).enumerate() {
            let message =
                json!({"type": "devices", "devices": part, "snapshot": true, "more": i + 1 < parts});
            self.tell(Event::Message(HubToViewer::decode(&message.to_string())?))?;
        }
        for _ in 0..5 {
            self.draw(Vec::new());
        }
        let values: Vec<_> = (0..devices).map(|d| (1_000 + d, vec![(fixtures::NOW, 21.5)])).collect();
        for step in 0..30 {
            let values = values.iter().map(|(series, points)| {
                let value = fixtures::noise(*series as u64, step);
                (*series, points.iter().map(|_| (fixtures::NOW, value)).collect())
            });
            let message = self.readings(LIST, values.collect());
            self.tell(message)?;
            self.draw(Vec::new());
        }
        Ok(())
    }

    fn readings(&mut self, id: u64, series: Vec<(i64, Vec<(Timestamp, f64)>)>) -> Event {
        self.position += 1;
        let series = series.into_iter().map(|(series, points)| SeriesReadings {
            series: SeriesId(series),
            points: points.into_iter().map(|(at, value)| (at, Value::Number(value))).collect(),
        });
        let position = Position(self.position);
        let (series, omitted) = (series.collect(), None);
        Event::Message(HubToViewer::Readings(LiveReadings {
            id,
            position,
            snapshot: false,
            series,
            omitted,
            traces: Vec::new(),
        }))
    }

    /// Exactly the charts of the stage.
    fn lay_out(&mut self) -> anyhow::Result<()> {
        let Stage { charts, series_each, .. } = self.stage;
        let of_chart = |chart| (0..series_each).map(|s| SeriesId(1 + chart * series_each + s)).collect();
        replace_charts(&mut self.app, (0..charts).map(of_chart));
        for _ in 0..5 {
            self.draw(Vec::new());
        }
        let shown: Vec<usize> = self.app.layout().charts().map(|pane| pane.spec.series.len()).collect();
        anyhow::ensure!(shown == vec![series_each as usize; charts as usize], "charts of {shown:?} series");
        Ok(())
    }

    fn fill(&mut self) -> anyhow::Result<()> {
        let Stage { charts, series_each, readings, .. } = self.stage;
        let begin = -readings;
        for first in (0..readings).step_by(PART as usize) {
            for series in 1..=charts * series_each {
                let points = (first..first + PART).map(|i| self.reading(series, begin + i)).collect();
                let message = self.readings(CHARTS, vec![(series, points)]);
                self.tell(message)?;
            }
            self.drain();
        }
        let held = self.app.model().series.readings();
        anyhow::ensure!(held >= (charts * series_each * readings) as u64, "{held} readings are held");
        Ok(())
    }

    /// Lets the app take in all that waits.
    fn drain(&mut self) {
        while self.hub.events.capacity() < self.hub.events.max_capacity() {
            self.app.logic(&self.ctx, &mut eframe::Frame::_new_kittest());
        }
        while self.hub.outbox.try_recv().is_ok() {}
    }

    /// The `n`th reading of a series after the present of the fixtures.
    fn reading(&self, series: i64, n: i64) -> (Timestamp, f64) {
        let slow = (n as f64 / 9_000.0 + series as f64).sin() * 3.0;
        let value = 20.0 + slow + fixtures::noise(series as u64, n as u64);
        let value = if self.stage.exact { value } else { (value * 100.0).round() / 100.0 };
        (fixtures::NOW.plus_micros(n * CADENCE), value)
    }

    fn measure(&mut self, span: i64, scene: Scene) -> (f64, f64) {
        self.app.act(Action::Follow);
        self.app.act(Action::SetWidth { micros: span });
        self.draw(Vec::new());
        let costs = (0..FRAMES + WARM_UP).map(|_| self.frame(span, scene));
        let mut costs: Vec<f64> = costs.collect::<Vec<_>>().split_off(WARM_UP);
        costs.sort_by(f64::total_cmp);
        (costs[costs.len() / 2], costs[costs.len() * 99 / 100])
    }

    /// One frame; returns its cost in milliseconds.
    fn frame(&mut self, span: i64, scene: Scene) -> f64 {
        let mut events = Vec::new();
        match scene {
            Scene::Arriving => {
                let now = self.clock.fetch_add(CADENCE, Ordering::Relaxed);
                let n = (now - fixtures::NOW.0) / CADENCE;
                let all = 1..=self.stage.charts * self.stage.series_each;
                let points = all.map(|series| (series, vec![self.reading(series, n)])).collect();
                let message = self.readings(CHARTS, points);
                // Between the frames: a full queue would mean that the app takes nothing in.
                drop(self.tell(message));
            }
            Scene::Dragged => {
                // There and back, so that it stays where readings are.
                let way = if self.frame % (2 * TURN) < TURN { -4.5 } else { 4.5 };
                let micros = (span as f64 / f64::from(SIZE.x) * way) as i64;
                self.app.act(Action::Pan { micros });
            }
            Scene::Hover => {
                let x = 500.0 + (self.frame % 300) as f32;
                self.pointer = pos2(x, 400.0);
                events.push(egui::Event::PointerMoved(self.pointer));
            }
            Scene::Wire => {
                let message = self.frames(20);
                drop(self.tell(message));
            }
        }
        self.draw(events)
    }

    /// Opens the wire of a device and fills it.
    fn open_wire(&mut self) -> anyhow::Result<()> {
        let device = self.app.model().devices.iter().next().map(|device| device.info.id.clone());
        self.app.act(Action::OpenWire(device.context("no device")?));
        self.draw(Vec::new());
        for _ in 0..40 {
            let message = self.frames(500);
            self.tell(message)?;
            self.draw(Vec::new());
        }
        let wire = self.app.model().wire.as_ref().context("no wire")?;
        anyhow::ensure!(wire.dropped > 0, "only {} rows", wire.rows().len());
        Ok(())
    }

    /// So many batches and acks.
    fn frames(&mut self, count: u64) -> Event {
        let Some(wire) = &self.app.model().wire else { return Event::Unusable(String::new()) };
        let (id, device) = (wire.id(), wire.device.clone());
        let records = (0..count).map(|_| {
            self.wire_frames += 1;
            let (n, seq) = (self.wire_frames, self.wire_frames.div_ceil(2));
            let is_batch = n % 2 == 1;
            let text = if is_batch {
                format!("{{\"type\":\"readings\",\"seq\":{seq},\"points\":[{{\"at\":1773324600000000,\"values\":{{\"temperature\":21.5,\"humidity\":48.25,\"vent\":\"open\"}}}}]}}")
            } else {
                format!("{{\"type\":\"ack\",\"seq\":{seq}}}")
            };
            json!({"session": "s1", "at": fixtures::NOW.0 + n as i64 * 1_000, "event": "frame", "n": n, "offset": n,
                "from": if is_batch { "device" } else { "hub" }, "opcode": 1, "fin": true, "header_bytes": 6,
                "payload_bytes": text.len(), "message": protocol::wire::MessageHead::read(&text), "text": text})
        });
        let records: Vec<_> = records.collect();
        let message = json!({"type": "wire", "id": id, "device": device, "records": records});
        match HubToViewer::decode(&message.to_string()) {
            Ok(message) => Event::Message(message),
            Err(_) => Event::Unusable(String::new()),
        }
    }

    /// Draws once; returns the processor time in milliseconds.
    fn draw(&mut self, events: Vec<egui::Event>) -> f64 {
        self.frame += 1;
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), SIZE)),
            time: Some(self.frame as f64 / 60.0),
            focused: true,
            events,
            ..RawInput::default()
        };
        let before = thread_seconds();
        let Self { ctx, app, .. } = self;
        let mut frame = eframe::Frame::_new_kittest();
        let mut output = ctx.run_ui(input, |ui| {
            app.logic(ui.ctx(), &mut frame);
            app.ui(ui, &mut frame);
        });
        let primitives = ctx.tessellate(std::mem::take(&mut output.shapes), output.pixels_per_point);
        let cost = thread_seconds() - before;
        assert!(!primitives.is_empty());
        output.textures_delta.clear();
        while self.hub.outbox.try_recv().is_ok() {}
        cost * 1e3
    }

    /// The share of a core that 100 000 readings a second take, from their JSON to their place in memory: ten messages a
    /// second, as the hub sends them.
    fn arriving(&mut self) -> anyhow::Result<f64> {
        const SECONDS: i64 = 5;
        const RATE: i64 = 100_000;
        const MESSAGES: i64 = 10;
        let series = self.stage.charts * self.stage.series_each;
        let each = RATE / MESSAGES / series;
        let cadence = SECOND / MESSAGES / each;
        let start = Timestamp(self.clock.load(Ordering::Relaxed));
        let mut spent = 0.0;
        for message in 0..MESSAGES * SECONDS {
            let of = |series| {
                let places = message * each..(message + 1) * each;
                places.map(|i| (start.plus_micros(i * cadence), self.reading(series, i).1)).collect()
            };
            let points = (1..=series).map(|series| (series, of(series))).collect();
            let Event::Message(message) = self.readings(CHARTS, points) else { continue };
            let text = message.encode();
            let before = thread_seconds();
            let message = HubToViewer::decode(&text)?;
            self.tell(Event::Message(message))?;
            self.drain();
            spent += thread_seconds() - before;
        }
        let readings = each * series * MESSAGES * SECONDS;
        Ok(spent / readings as f64 * RATE as f64)
    }
}

/// Shows a chart of each of these series, and no other.
fn replace_charts(app: &mut App, charts: impl Iterator<Item = Vec<SeriesId>>) {
    let old: Vec<_> = app.layout().charts().map(|pane| pane.chart).collect();
    for series in charts {
        app.act(Action::AddChart { title: None, series });
    }
    for chart in old {
        app.act(Action::CloseChart(chart));
    }
}

/// Replaces the charts by six of four series each, of what changes fastest in a simulated fleet. False: nothing is known of
/// it yet.
fn show_the_fastest(app: &mut App) -> bool {
    let metrics = app.model().devices.iter().flat_map(|device| &device.info.metrics);
    let fastest = metrics.filter(|metric| metric.declaration.name.as_str() == "vibration");
    let series: Vec<SeriesId> = fastest.map(|metric| metric.series).take(24).collect();
    if series.is_empty() {
        return false;
    }
    replace_charts(app, series.chunks(4).map(<[_]>::to_vec));
    true
}

/// The real app with a real hub, at the pace of a real window; only the pixels are not made.
fn live(hub: Option<String>, data: Option<std::path::PathBuf>) -> anyhow::Result<()> {
    const SETTLE: Duration = Duration::from_secs(5);
    const MEASURED: Duration = Duration::from_secs(20);
    let started = Instant::now();
    let ctx = Context::default();
    let (wake, woken) = std::sync::mpsc::sync_channel(1_024);
    ctx.set_request_repaint_callback(move |info| {
        wake.try_send(Instant::now() + info.delay).unwrap_or_default();
    });
    let pace = Pace::default();
    let folder = data.clone();
    let target = Target { hub, data, ..Target::default() };
    let mut start = Start::new(&target.address(), dashboard::app::system_clock());
    start.started = started;
    let link = Link::start(target, pace.waker(ctx.clone()))?;
    let mut app = App::new(&ctx, start, link, pace);
    let mut due = started;
    let (mut counted, mut shown) = (None, false);
    let bare = folder.map(|folder| std::thread::spawn(move || bare_syncs(&folder, SETTLE, MEASURED)));
    while started.elapsed() < SETTLE + MEASURED {
        let wait = due.saturating_duration_since(Instant::now());
        if let Ok(sooner) = woken.recv_timeout(wait.min(MEASURED)) {
            due = due.min(sooner);
            continue;
        }
        due = Instant::now() + MEASURED;
        let begun = Instant::now();
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), SIZE)),
            time: Some(started.elapsed().as_secs_f64()),
            focused: true,
            ..RawInput::default()
        };
        let mut frame = eframe::Frame::_new_kittest();
        let mut output = ctx.run_ui(input, |ui| {
            app.logic(ui.ctx(), &mut frame);
            app.ui(ui, &mut frame);
        });
        ctx.tessellate(std::mem::take(&mut output.shapes), output.pixels_per_point);
        output.textures_delta.clear();
        app.painted(begun.elapsed());
        if !shown && started.elapsed() > SETTLE / 2 {
            shown = show_the_fastest(&mut app);
        }
        if started.elapsed() > SETTLE && counted.is_none() {
            counted = Some((Instant::now(), process_seconds(), app.model().counters.position));
            app.forget_waits();
        }
    }
    let summary = app.figures().summary();
    let millis = |time: Option<f64>| time.map_or("never".to_owned(), |time| format!("{time:.0} ms"));
    println("\n### Live, without pixels\n\n| what | reached | goal |\n|---|---|---|");
    let what = "reading received to handed over for painting";
    println(&format!("| {what}, p50 of {} frames | {} | |", summary.frames, millis(summary.painted_p50_ms)));
    println(&format!("| {what}, p99 | {} | 50 ms |", millis(summary.painted_p99_ms)));
    if let Some((since, spent, position)) = counted {
        let seconds = since.elapsed().as_secs_f64();
        let share = (process_seconds() - spent) / seconds * 100.0;
        println(&format!("| processor meanwhile | {share:.1} % of a core | |"));
        let stored = (app.model().counters.position.0 - position.0) as f64 / seconds;
        println(&format!("| readings a second that the hub stored | {stored:.0} | |"));
    }
    let Some(figures) = app.model().latency.figures() else { return Ok(()) };
    let traced = figures.count;
    println("\n### From sensor to screen\n\n| stage | p50 | p99 | most | goal p99 |\n|---|---|---|---|---|");
    let say = |what: &str, times: [Duration; 3], goal: &str| {
        let [p50, p99, most] = times.map(milliseconds);
        println(&format!("| {what} | {p50} | {p99} | {most} | {goal} |"));
    };
    let times = |figure: &Figure| [figure.p50, figure.p99, figure.most];
    for (stage, figure) in Stages::ALL.iter().zip(&figures.stages) {
        say(stage.label(), times(figure), "");
    }
    say(&format!("sensor to screen, of {traced} readings"), times(&figures.whole), "40 ms");
    if let Some(Ok(waits)) = bare.map(std::thread::JoinHandle::join) {
        let waits = waits?;
        let at = |part: usize| waits[(waits.len() - 1) * part / 100];
        let times = [at(50), at(99), at(100)];
        say(&format!("the disk alone: {} syncs of {SYNCED} bytes beside it", waits.len()), times, "");
    }
    Ok(())
}

/// What the disk makes whoever syncs wait, with nothing of the hub in it: a few pages written over and synced, a hundred
/// times a second, in a file of its own. The waits, the shortest first.
fn bare_syncs(folder: &Path, settle: Duration, measured: Duration) -> anyhow::Result<Vec<Duration>> {
    let file = tempfile::tempfile_in(folder).context("a file for the yardstick")?;
    file.write_all_at(&vec![1; SYNCED * 64], 0)?;
    file.sync_all()?;
    std::thread::sleep(settle);
    let started = Instant::now();
    let mut waits = Vec::new();
    while started.elapsed() < measured {
        file.write_all_at(&[2; SYNCED], (waits.len() % 64 * SYNCED) as u64)?;
        let begun = Instant::now();
        file.sync_data()?;
        waits.push(begun.elapsed());
        std::thread::sleep(SYNC_INTERVAL);
    }
    waits.sort_unstable();
    Ok(waits)
}

/// The processor time of this process.
fn process_seconds() -> f64 {
    cpu_time::ProcessTime::now().as_duration().as_secs_f64()
}

/// The processor time of this thread.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Memory of this process that is resident, in bytes.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0.0);
    pages * 4_096.0
}
