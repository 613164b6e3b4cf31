//! Draws the real app, connected to a real hub, into a PNG: no screen, no GPU.
//!
//! `cargo run -p dashboard --example screenshot -- --hub ws://127.0.0.1:7878 --data DIR --out dashboard.png --wait 20`

#[path = "../testkit/mod.rs"]
mod testkit;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use dashboard::action::Action;
use dashboard::app::{App, Pace, Start, system_clock};
use dashboard::link::{Link, Target, Waker};
use dashboard::model::wire::{Row, WireEdit};
use dashboard::settings::ThemeChoice;
use egui_kittest::Harness;
use protocol::DeviceId;
use serde_json::Value as Json;
use testkit::SoftRenderer;

#[derive(Debug, Parser)]
struct Arguments {
    /// The hub.
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    /// The hub's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the picture goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The palette.
    #[arg(long, value_enum, default_value = "dark")]
    theme: ThemeChoice,
    /// How long to let readings arrive before the picture is taken.
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    wait: f64,
    /// The device whose panel is open.
    #[arg(long, value_name = "DEVICE")]
    select: Option<String>,
    /// Watch the wire of that device so many seconds before the picture, and select its last batch.
    #[arg(long, value_name = "SECONDS", requires = "select")]
    wire: Option<f64>,
    /// A command to send: `device:command` or `device:command:name=value,name=value`.
    #[arg(long, value_name = "COMMAND")]
    send: Vec<String>,
    /// When to send it, from the start.
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    send_at: f64,
    /// The stretch of time that charts show.
    #[arg(long, value_name = "SECONDS")]
    span: Option<f64>,
    /// Put a cursor this many seconds before the end.
    #[arg(long, value_name = "SECONDS")]
    cursor: Option<f64>,
    /// Put the pointer here, in points from the upper left: `900,300`.
    #[arg(long, value_name = "X,Y")]
    hover: Option<String>,
    /// Show only this chart: its metric and the devices, as `metric:device,device`. Can be given again.
    #[arg(long, value_name = "CHART")]
    chart: Vec<String>,
    /// Width and height in points.
    #[arg(long, value_name = "WxH", default_value = "1440x860")]
    size: String,
    /// Pixels in a point.
    #[arg(long, default_value_t = 1.0)]
    scale: f32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (width, height) = arguments.size.split_once('x').context("--size is WxH")?;
    let size = [width.parse::<f32>()?, height.parse::<f32>()?];
    let target = Target { hub: arguments.hub.clone(), data: arguments.data.clone(), ..Target::default() };
    let woken = Arc::new(AtomicU64::new(0));
    let waker: Waker = {
        let woken = Arc::clone(&woken);
        Arc::new(move |_| {
            woken.fetch_add(1, Ordering::Relaxed);
        })
    };
    let address = target.address();
    let link = Link::start(target, waker)?;
    let theme = arguments.theme;
    let egui_theme = if theme == ThemeChoice::Light { egui::Theme::Light } else { egui::Theme::Dark };
    let mut harness = Harness::builder()
        .with_size(size)
        .with_pixels_per_point(arguments.scale)
        .with_theme(egui_theme)
        .with_render_cursor(false)
        .with_wait_for_pending_images(false)
        .allow_missing_glyphs()
        .renderer(SoftRenderer::default())
        .build_eframe(|creation| {
            let mut start = Start::new(&address, system_clock());
            start.theme = Some(theme);
            App::new(&creation.egui_ctx, start, link, Pace::default())
        });

    let begin = Instant::now();
    let mut to_send = Some(&arguments.send);
    let mut prepared = false;
    while begin.elapsed().as_secs_f64() < arguments.wait {
        harness.step();
        std::thread::sleep(Duration::from_millis(50));
        if !prepared && !harness.state().layout().is_empty() {
            prepared = true;
            prepare(&mut harness, &arguments)?;
        }
        if begin.elapsed().as_secs_f64() >= arguments.send_at && harness.state().model().connection.may_send()
        {
            for command in to_send.take().into_iter().flatten() {
                send(&mut harness, command)?;
            }
        }
    }
    if let Some(device) = &arguments.select {
        harness.state_mut().act(Action::Select(Some(DeviceId::new(device)?)));
        for _ in 0..10 {
            harness.step();
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    if let (Some(seconds), Some(device)) = (arguments.wire, &arguments.select) {
        harness.state_mut().act(Action::OpenWire(DeviceId::new(device)?));
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < seconds {
            harness.step();
            std::thread::sleep(Duration::from_millis(50));
        }
        let last = harness.state().model().wire.as_ref().and_then(|wire| {
            let is_batch =
                |row: &&Row| row.answered_by.is_some() && row.frame().is_some_and(|f| f.payload_bytes > 40);
            wire.rows().iter().rev().find(is_batch).map(|row| row.key)
        });
        harness.state_mut().act(Action::EditWire(WireEdit::Select(last)));
    }
    if let Some(seconds) = arguments.cursor {
        let at = harness.state().model().range().1.plus_micros(-(seconds * 1e6) as i64);
        harness.state_mut().act(Action::SetCursor(Some(at)));
    }
    if let Some(at) = &arguments.hover {
        let (x, y) = at.split_once(',').context("--hover is X,Y")?;
        harness.hover_at(egui::pos2(x.trim().parse()?, y.trim().parse()?));
        harness.step();
    }
    // Once for the actions, once for what they led to.
    harness.step();
    harness.step();
    let image = harness.render().map_err(anyhow::Error::msg)?;
    image.save(&arguments.out).with_context(|| format!("cannot write {}", arguments.out.display()))?;
    let model = harness.state().model();
    if !model.connection.is_connected() {
        bail!("not connected: {:?}", model.connection.link);
    }
    Ok(())
}

fn prepare(harness: &mut Harness<'_, App>, arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(seconds) = arguments.span {
        harness.state_mut().act(Action::SetWidth { micros: (seconds * 1e6) as i64 });
    }
    if arguments.chart.is_empty() {
        return Ok(());
    }
    let old: Vec<_> = harness.state().layout().charts().map(|p| p.chart).collect();
    for chart in &arguments.chart {
        let (metric, devices) = chart.split_once(':').context("--chart is metric:device,device")?;
        let model = harness.state().model();
        let series: Vec<_> =
            devices.split(',').filter_map(|device| model.devices.find_series(device, metric)).collect();
        harness.state_mut().act(Action::AddChart { title: None, series });
    }
    for chart in old {
        harness.state_mut().act(Action::CloseChart(chart));
    }
    harness.step();
    Ok(())
}

fn send(harness: &mut Harness<'_, App>, text: &str) -> anyhow::Result<()> {
    let mut parts = text.splitn(3, ':');
    let device = DeviceId::new(parts.next().unwrap_or_default())?;
    let command = parts.next().context("--send is device:command or device:command:name=value")?;
    let app = harness.state_mut();
    app.act(Action::Select(Some(device)));
    app.act(Action::OpenForm(Some(command.to_owned())));
    for argument in parts.next().unwrap_or_default().split(',').filter(|a| !a.is_empty()) {
        let (name, value) = argument.split_once('=').context("an argument is name=value")?;
        let value: Json = serde_json::from_str(value).unwrap_or_else(|_| Json::String(value.to_owned()));
        app.act(Action::SetArg { name: name.to_owned(), value: Some(value) });
    }
    app.act(Action::Submit);
    app.act(Action::Confirm);
    app.act(Action::Select(None));
    harness.step();
    Ok(())
}
