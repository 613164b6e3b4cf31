//! Measures what a frame of charts costs the processor: six charts of four series with a million readings each.
//!
//! `cargo run --release -p dashboard --example frame_cost`. Prints the thread's processor time for `ui` and tessellation
//! together, 1920x1080 at one pixel a point: while readings arrive at 10 Hz, while the view is dragged, and while only
//! the cursor moves; then the same with 300 commands under each chart. Painting (the GPU's part) is not in it.

#[path = "../testkit/fixtures.rs"]
#[expect(dead_code, reason = "pictures and tests use the rest")]
mod fixtures;

use dashboard::model::Model;
use dashboard::settings::ThemeChoice;
use dashboard::theme;
use dashboard::views::chart::{ChartCache, ChartSpec, chart};
use egui::{Context, Id, RawInput, Rect, UiBuilder, pos2, vec2};
use protocol::{SeriesId, Timestamp, Value};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHARTS: i64 = 6;
const SERIES: i64 = 4;
const READINGS: i64 = 1_000_000;
const CADENCE_MICROS: i64 = 100_000;
const FRAMES: usize = 200;
/// Frames of one kind before those that count.
const WARM_UP: usize = 20;

/// What changes from frame to frame.
#[derive(Clone, Copy)]
enum Scene {
    /// A reading for each series, and the view follows.
    Arriving,
    /// The view moves by a pixel and a half.
    Dragged,
    /// Only the cursor moves.
    Hover,
}

struct Bench {
    ctx: Context,
    model: Model,
    cache: ChartCache,
    specs: Vec<ChartSpec>,
    now: Timestamp,
    frame: u64,
}

fn main() {
    let mut bench = Bench::new();
    let mut say = |name: &str, span: i64, scene: Scene| {
        let (p50, p99) = bench.measure(span, scene);
        print(name, p50, p99);
    };
    const MINUTE: i64 = 60_000_000;
    for (name, span) in [("5 min", 5 * MINUTE), ("1 h", 60 * MINUTE), ("all of 27.7 h", 1_664 * MINUTE)] {
        say(&format!("{name}, 24 readings arrive each frame"), span, Scene::Arriving);
        say(&format!("{name}, dragged"), span, Scene::Dragged);
        say(&format!("{name}, only the cursor moves"), span, Scene::Hover);
    }
    bench.add_commands();
    let mut say = |name: &str, scene: Scene| {
        let (p50, p99) = bench.measure(5 * MINUTE, scene);
        print(name, p50, p99);
    };
    say("5 min and 1 800 commands, 24 readings arrive", Scene::Arriving);
    say("5 min and 1 800 commands, dragged", Scene::Dragged);
    say("5 min and 1 800 commands, only the cursor moves", Scene::Hover);
}

#[expect(clippy::print_stdout, reason = "the result of a measurement")]
fn print(name: &str, p50: f64, p99: f64) {
    println!("{name:<48} p50 {p50:6.2} ms   p99 {p99:6.2} ms");
}

impl Bench {
    fn new() -> Self {
        let devices: Vec<_> = (0..CHARTS)
            .map(|c| {
                let names = ["a", "b", "c", "d"].map(|name| format!("temperature_{name}"));
                let metrics: Vec<_> = (0..SERIES)
                    .map(|s| (c * SERIES + s + 1, names[s as usize].as_str(), "Cel", "number"))
                    .collect();
                fixtures::device(&format!("device-{c}"), &metrics)
            })
            .collect();
        let mut model = fixtures::model(&devices);
        model.series = dashboard::series::SeriesStore::new(2 << 30);
        let start = fixtures::NOW.plus_micros(-READINGS * CADENCE_MICROS);
        for series in 1..=CHARTS * SERIES {
            let points: Vec<_> = (0..READINGS).map(|i| reading(series, start, i)).collect();
            for points in points.chunks(10_000) {
                model.series.push_live(SeriesId(series), points);
            }
        }
        let ctx = Context::default();
        theme::install(&ctx, ThemeChoice::Dark);
        let specs = (0..CHARTS)
            .map(|c| ChartSpec {
                series: (1..=SERIES).map(|s| SeriesId(c * SERIES + s)).collect(),
                ..ChartSpec::default()
            })
            .collect();
        Self { ctx, model, cache: ChartCache::default(), specs, now: fixtures::NOW, frame: 0 }
    }

    /// Three hundred commands for each device in the last five minutes, each of 40 ms to 4 s.
    fn add_commands(&mut self) {
        use protocol::command::CommandState::{Queued, Sent, Succeeded};
        for i in 0..300 * CHARTS {
            let begun = self.now.micros_since(fixtures::NOW) as f64 / -1e6 + (i / CHARTS) as f64;
            let took = 0.04 * 1.016f64.powi((i / CHARTS) as i32);
            let life = [(Queued, begun + took + 0.005), (Sent, begun + took), (Succeeded, begun)];
            let (id, device) = (format!("c-{i}"), format!("device-{}", i % CHARTS));
            let args = serde_json::json!({"celsius": 21.5});
            fixtures::command(&mut self.model, &id, &device, "set_target", args, &life);
        }
    }

    fn measure(&mut self, span: i64, scene: Scene) -> (f64, f64) {
        self.model.viewport = dashboard::viewport::Viewport::default();
        self.model.viewport.set_width(span, self.now);
        let mut costs: Vec<f64> =
            (0..FRAMES + WARM_UP).map(|_| self.frame(span, scene)).skip(WARM_UP).collect();
        costs.sort_by(f64::total_cmp);
        (costs[costs.len() / 2], costs[costs.len() * 99 / 100])
    }

    /// One frame; returns its cost in milliseconds.
    fn frame(&mut self, span: i64, scene: Scene) -> f64 {
        self.frame += 1;
        match scene {
            Scene::Arriving => {
                let n = self.now.micros_since(fixtures::NOW) / CADENCE_MICROS;
                for series in 1..=CHARTS * SERIES {
                    let point = reading(series, fixtures::NOW, n);
                    self.model.series.push_live(SeriesId(series), &[point]);
                }
                self.now = self.now.plus_micros(CADENCE_MICROS);
            }
            Scene::Dragged => self.model.viewport.pan(-(span as f64 / 560.0 * 1.5) as i64, self.now),
            Scene::Hover => {
                let (from, _) = self.model.range();
                self.model.cursor = Some(from.plus_micros(span / 400 * (self.frame as i64 % 400)));
            }
        }
        let shown: Vec<SeriesId> = (1..=CHARTS * SERIES).map(SeriesId).collect();
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(pos2(0.0, 0.0), vec2(1_920.0, 1_080.0))),
            time: Some(self.frame as f64 / 60.0),
            ..RawInput::default()
        };
        let before = thread_seconds();
        self.model.tick(&shown, 560.0, self.now);
        let Self { ctx, model, cache, specs, .. } = self;
        let mut output = ctx.run_ui(input, |ui| {
            let mut actions = Vec::new();
            for (i, spec) in specs.iter().enumerate() {
                let corner = pos2(300.0 + 540.0 * (i % 3) as f32, 48.0 + 500.0 * (i / 3) as f32);
                let rect = Rect::from_min_size(corner, vec2(532.0, 492.0));
                ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
                    chart(ui, model, spec, Id::unique(("chart", i)), cache, &mut actions);
                });
            }
        });
        let primitives = ctx.tessellate(std::mem::take(&mut output.shapes), output.pixels_per_point);
        let cost = thread_seconds() - before;
        assert!(!primitives.is_empty());
        output.textures_delta.clear();
        cost * 1e3
    }
}

fn reading(series: i64, start: Timestamp, i: i64) -> (Timestamp, Value) {
    let slow = (i as f64 / 9_000.0 + series as f64).sin() * 3.0;
    let value = 20.0 + slow + fixtures::noise(series as u64, i as u64);
    (start.plus_micros(i * CADENCE_MICROS), Value::Number(value))
}

/// The processor time of this thread.
fn thread_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
