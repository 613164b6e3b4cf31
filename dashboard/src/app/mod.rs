//! The app: drains the link, draws the views, then does what the user asked for.
//!
//! Nothing here waits (I-16): a frame takes at most [`DRAIN_BUDGET`] of what has arrived, files are written by a thread
//! of their own. Nothing is drawn while nothing arrives and nobody touches anything.

mod copies;
mod files;
mod hubs;
mod pace;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use egui::{Margin, Panel, Ui};
use jiff::tz::TimeZone;
use protocol::Timestamp;

use crate::action::Action;
use crate::clock;
use crate::disk::{self, Disk};
use crate::figures::Figures;
use crate::layout::Layout;
use crate::link::{Link, Outgoing, Probe, Target};
use crate::model::{Effect, Event, Hubs, Level, Library, Model};
use crate::palette::Found;
use crate::settings::{LAYOUTS_FILE, SETTINGS_FILE, Settings, ThemeChoice, layout_file};
use crate::theme::{self, Tokens, tokens};
use crate::verb::Verb;
use crate::views::chart::ChartCache;
use crate::views::commands::TableView;
use crate::views::wire::{self, WireView};
use crate::views::{
    banner, chart_form, charts, command, commands, composer, device, devices, empty, exports, form, groups,
    help, hub_list, latency, layouts, log, palette, range, settings, status_bar, toasts, top_bar,
};

/// Time in which a frame takes in events; the rest waits for the next frame.
const DRAIN_BUDGET: Duration = Duration::from_millis(4);
/// Below this width there is room for one thing at a time: the list, the charts or a device.
const NARROW: f32 = 640.0;
/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(clock::now)
}

/// What an app begins with.
pub struct Start {
    /// The hub's address, for people.
    pub address: String,
    /// Where settings and layout are; `None`: they are not kept.
    pub folder: Option<PathBuf>,
    /// Do not read the saved layout.
    pub fresh_layout: bool,
    /// The palette, whatever the settings say.
    pub theme: Option<ThemeChoice>,
    /// The zone in which times are shown.
    pub zone: TimeZone,
    /// The clock.
    pub clock: Clock,
    /// Close after this time.
    pub exit_after: Option<Duration>,
    /// The hubs that are remembered, and which of them is shown.
    pub hubs: Hubs,
    /// No hub was given and none is remembered: a person is asked when none answers.
    pub is_first_run: bool,
    /// Connects to another hub.
    pub connector: Option<Connector>,
    /// A file of CAs that are trusted instead of the system's, for any hub.
    pub ca: Option<PathBuf>,
    /// What could not be read at the start.
    pub problems: Vec<String>,
    /// When the program was started, for its figures.
    pub started: Instant,
    /// Print the figures at the end, as a line of JSON.
    pub print_figures: bool,
}

/// Makes a link to a hub.
pub type Connector = Box<dyn Fn(Target) -> std::io::Result<Link>>;

impl Start {
    /// A start that reads and writes no file.
    pub fn new(address: &str, clock: Clock) -> Self {
        Self {
            address: address.to_owned(),
            folder: None,
            fresh_layout: true,
            theme: None,
            zone: TimeZone::system(),
            clock,
            exit_after: None,
            hubs: Hubs::default(),
            is_first_run: false,
            connector: None,
            ca: None,
            problems: Vec::new(),
            started: Instant::now(),
            print_figures: false,
        }
    }
}

pub use hubs::target_of;
use pace::Meter;
pub use pace::Pace;

/// What the disk had no time for.
#[derive(Debug, Default)]
struct Unsaved {
    settings: bool,
    library: bool,
    hubs: bool,
}

/// The app.
pub struct App {
    model: Model,
    layout: Layout,
    link: Link,
    clock: Clock,
    meter: Meter,
    cache: ChartCache,
    table_view: TableView,
    wire_view: WireView,
    found: Found,
    actions: Vec<Action>,
    folder: Option<PathBuf>,
    disk: Option<Disk>,
    unsaved: Unsaved,
    /// Width of the widest chart, in pixels.
    chart_width: f32,
    /// The settings that egui was last told of.
    told: Settings,
    frame_time: Option<Duration>,
    figures: Figures,
    print_figures: bool,
    /// Readings in memory, and when they were counted.
    readings_held: (Timestamp, u64),
    exit_at: Option<Instant>,
    /// When the present frame began, by the clock.
    frame_begun: Timestamp,
    connector: Option<Connector>,
    ca: Option<PathBuf>,
    probe: Option<Probe>,
    /// A chart that is copied once it has been drawn with its history.
    to_copy: Option<copies::ToCopy>,
    /// The layouts of the hubs that are not shown now.
    other_layouts: HashMap<Option<u32>, Layout>,
    is_first_run: bool,
    /// The dialog has opened by itself once.
    was_asked: bool,
}

impl App {
    /// Makes the app and gives the context its fonts and palettes.
    pub fn new(ctx: &egui::Context, start: Start, link: Link, pace: Pace) -> Self {
        let now = (start.clock)();
        let mut problems = start.problems;
        let path = |file: &str| start.folder.as_ref().map(|folder| folder.join(file));
        let mut settings = path(SETTINGS_FILE)
            .and_then(|path| disk::read_kept(&path, &mut problems, Settings::from_json))
            .unwrap_or_default();
        if let Some(theme) = start.theme {
            settings.theme = theme;
        }
        theme::install(ctx, settings.theme);
        // Ours is a setting: it is kept, and has its limits.
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        if settings.scale != 100 {
            ctx.set_zoom_factor(settings.scale as f32 / 100.0);
        }
        let mut other_layouts = HashMap::new();
        let shown = start.hubs.current;
        for hub in start.hubs.iter().map(|hub| Some(hub.id)).chain([None]) {
            let Some(path) = path(&layout_file(hub)).filter(|_| !(start.fresh_layout && hub == shown)) else {
                continue;
            };
            let read = |text: &str| Layout::from_json(text).map_err(|error| error.to_string());
            if let Some(layout) = disk::read_kept(&path, &mut problems, read) {
                other_layouts.insert(hub, layout);
            }
        }
        let layout = other_layouts.remove(&shown);
        let library = path(LAYOUTS_FILE)
            .and_then(|path| disk::read_kept(&path, &mut problems, Library::from_json))
            .unwrap_or_default();
        let disk = Disk::start(pace.waker(ctx.clone()))
            .inspect_err(|error| tracing::error!(%error, "settings will not be saved"))
            .ok();
        let told = settings.clone();
        let mut model = Model::new(&start.address, settings, start.zone, now);
        model.library = library;
        model.hubs = start.hubs;
        model.export_path = files::export_path();
        for problem in problems {
            model.toast(Level::Warning, "A file could not be read", Some(problem));
        }
        Self {
            model,
            layout: layout.unwrap_or_default(),
            link,
            clock: start.clock,
            meter: Meter::new(pace),
            cache: ChartCache::default(),
            table_view: TableView::default(),
            wire_view: WireView::default(),
            found: Found::default(),
            actions: Vec::new(),
            folder: start.folder,
            disk,
            unsaved: Unsaved::default(),
            chart_width: 800.0,
            told,
            frame_time: None,
            figures: Figures::new(start.started),
            print_figures: start.print_figures,
            readings_held: (Timestamp(0), 0),
            connector: start.connector,
            ca: start.ca,
            probe: None,
            to_copy: None,
            other_layouts,
            is_first_run: start.is_first_run,
            was_asked: false,
            frame_begun: Timestamp::default(),
            exit_at: start.exit_after.map(|after| Instant::now() + after),
        }
    }

    /// All state, for tests and pictures.
    pub const fn model(&self) -> &Model {
        &self.model
    }

    /// The charts, for tests and pictures.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What the app measures of itself.
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Measures waits anew: what came before was not what is wanted.
    pub fn forget_waits(&mut self) {
        self.figures.forget_waits();
        self.model.latency.forget();
    }

    /// Notes that the last frame took so long to draw and to hand over for painting.
    pub fn painted(&mut self, took: Duration) {
        self.frame_time = Some(self.frame_time.map_or(took, |old| old.mul_f32(0.9) + took.mul_f32(0.1)));
        self.figures.painted(took);
        let micros = i64::try_from(took.as_micros()).unwrap_or(i64::MAX);
        self.model.latency.painted(self.frame_begun.plus_micros(micros));
    }

    /// Does what a user could have asked for with the mouse.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn run(&mut self, ctx: &egui::Context, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Send(message) => {
                    if let Some(Outgoing::Send(message)) = self.link.send(Outgoing::Send(message)) {
                        let now = self.now();
                        effects.extend(self.model.handle_event(Event::NotSent(message), now));
                    }
                }
                Effect::ReconnectNow => {
                    if self.link.send(Outgoing::ReconnectNow).is_some() {
                        tracing::warn!("the link is busy: it is not asked to reconnect");
                    }
                }
                Effect::SaveSettings => self.save_settings(),
                Effect::SaveHubs => self.save_hubs(),
                Effect::SaveLayouts => self.save_library(),
                Effect::Copy(text) => ctx.copy_text(text),
            }
        }
    }

    fn take_actions(&mut self, ctx: &egui::Context) {
        if self.actions.is_empty() {
            return;
        }
        for action in std::mem::take(&mut self.actions) {
            let now = self.now();
            if action == Action::FocusFilter {
                ctx.memory_mut(|m| m.request_focus(devices::filter_id()));
            }
            if action == Action::FocusWire {
                ctx.memory_mut(|m| m.request_focus(wire::search_id()));
            }
            let taken = self.hub_action(ctx, &action).or_else(|| self.layout_action(&action));
            if let Some(effects) = taken {
                self.run(ctx, effects);
                continue;
            }
            if let Some(effects) = self.export_action(ctx, &action) {
                self.run(ctx, effects);
                continue;
            }
            self.layout.apply(&action, &self.model.devices);
            let effects = self.model.apply(action, now);
            self.run(ctx, effects);
        }
        ctx.request_repaint();
    }

    /// Tells egui and the caches what has changed in the settings.
    fn use_settings(&mut self, ctx: &egui::Context) {
        let settings = &self.model.settings;
        if self.told == *settings {
            return;
        }
        if self.told.theme != settings.theme {
            ctx.set_theme(theme::preference(settings.theme));
        }
        if self.told.scale != settings.scale {
            ctx.set_zoom_factor(settings.scale as f32 / 100.0);
        }
        if self.told.times != settings.times {
            self.cache = ChartCache::default(); // its ticks are in the other zone
        }
        self.told = settings.clone();
    }

    fn count_readings(&mut self) -> u64 {
        let now = self.model.local_now();
        if now.micros_since(self.readings_held.0).abs() > 1_000_000 {
            self.readings_held = (now, self.model.series.readings());
        }
        self.readings_held.1
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if self.print_figures
            && let Ok(text) = serde_json::to_string(&self.figures.summary())
        {
            // Whoever asked for it may be gone.
            drop(writeln!(std::io::stdout(), "{text}"));
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, frame: &mut eframe::Frame) {
        if let Some(seconds) = frame.info().cpu_usage {
            self.painted(Duration::from_secs_f32(seconds.clamp(0.0, 10.0)));
        }
        let begin = Instant::now();
        self.frame_begun = self.now();
        let hidden =
            ctx.input(|i| i.viewport().minimized == Some(true) || i.viewport().occluded == Some(true));
        self.meter.begin(begin, self.model.settings.frame_time(), hidden);
        self.figures.begin(begin, self.link.looking());
        while let Some(event) = self.link.try_next() {
            let now = self.now();
            let effects = self.model.handle_event(event, now);
            self.run(ctx, effects);
            if begin.elapsed() > DRAIN_BUDGET {
                ctx.request_repaint();
                break;
            }
        }
        self.take_files(ctx);
        self.copy_when_drawn(ctx);
        self.take_probe();
        self.first_run();
        self.layout.follow(&self.model.devices);
        self.model.watch(self.layout.thresholds());
        let shown = self.layout.shown();
        let now = self.now();
        let effects = self.model.tick(&shown, self.chart_width, now);
        self.run(ctx, effects);
        if !shown.is_empty() && self.model.series.bytes() > 0 {
            self.figures.shows_data();
        }
        if let Some(wait) = self.model.wakes_in() {
            ctx.request_repaint_after(wait);
        }
        if let Some(exit_at) = self.exit_at {
            match exit_at.checked_duration_since(Instant::now()) {
                Some(left) => ctx.request_repaint_after(left),
                None => ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            }
        }
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.use_settings(&ctx);
        self.actions.extend(Verb::pressed(&ctx, &self.model, &self.layout));
        self.model.is_narrow = ctx.content_rect().width() < NARROW;
        let held = self.count_readings();
        let Self {
            model, layout, cache, table_view, wire_view, found, actions, chart_width, frame_time, ..
        } = self;
        let t = Tokens::of(ui);
        let panel = egui::Frame::new().fill(t.panel);

        let side = |left, right| panel.inner_margin(Margin { left, right, top: 0, bottom: 0 });
        Panel::top("top").exact_size(tokens::TOP_BAR).frame(side(12, 12)).show(ui, |ui| {
            top_bar::top_bar(ui, model, layout, actions);
        });
        if banner::is_needed(model) {
            Panel::top("banner").frame(egui::Frame::new()).show(ui, |ui| banner::banner(ui, model, actions));
        }
        // A narrow window shows one thing at a time.
        let has_page = model.selection.is_some() || model.detail.is_some();
        let page_frame = panel.inner_margin(Margin { left: 14, right: 14, top: 12, bottom: 0 });
        let page = |ui: &mut Ui, actions: &mut Vec<Action>| {
            if model.detail.is_some() {
                command::command(ui, model, actions);
            } else {
                device::device(ui, model, actions);
            }
        };
        if !model.is_narrow {
            if model.shows_list() {
                let left = Panel::left("devices").default_size(312.0).size_range(220.0..=520.0);
                left.frame(panel).show(ui, |ui| devices::devices(ui, model, actions));
            }
            if has_page {
                let right = Panel::right("device").default_size(340.0).size_range(280.0..=560.0);
                right.frame(page_frame).show(ui, |ui| page(ui, actions));
            }
        }
        Panel::bottom("status").exact_size(tokens::STATUS_BAR).frame(side(12, 12)).show(ui, |ui| {
            status_bar::status_bar(ui, model, held, *frame_time, actions);
        });
        if model.table.open || model.groups.open {
            let frame = panel.inner_margin(Margin { left: 12, right: 12, top: 8, bottom: 0 });
            Panel::bottom("commands")
                .resizable(true)
                .default_size(280.0)
                .size_range(150.0..=900.0)
                .frame(frame)
                .show(ui, |ui| {
                    if model.groups.open {
                        groups::groups(ui, model, actions);
                    } else {
                        commands::commands(ui, model, table_view, actions);
                    }
                });
        }
        if model.shows_wire() {
            let frame = panel.inner_margin(Margin { left: 12, right: 12, top: 8, bottom: 0 });
            let bottom =
                Panel::bottom("wire").resizable(true).default_size(400.0).size_range(180.0..=1_400.0);
            bottom.frame(frame).show(ui, |ui| wire::wire(ui, model, wire_view, actions));
        }
        if model.latency_open {
            let frame = panel.inner_margin(Margin { left: 12, right: 12, top: 8, bottom: 0 });
            let bottom =
                Panel::bottom("latency").resizable(true).default_size(270.0).size_range(110.0..=600.0);
            bottom.frame(frame).show(ui, |ui| latency::latency(ui, model, actions));
        }
        if model.is_narrow && has_page {
            egui::CentralPanel::default().frame(page_frame).show(ui, |ui| page(ui, actions));
        } else if model.is_narrow && model.shows_list() {
            egui::CentralPanel::default().frame(panel).show(ui, |ui| devices::devices(ui, model, actions));
        }
        let shows_charts = !model.is_narrow || !(has_page || model.shows_list());
        let canvas = egui::Frame::new().fill(t.canvas).inner_margin(Margin::same(tokens::GAP as i8));
        if shows_charts {
            egui::CentralPanel::default().frame(canvas).show(ui, |ui| {
                let rect = ui.max_rect();
                if layout.is_empty() || (model.devices.is_empty() && !model.connection.was_connected()) {
                    empty::empty(ui, model, actions);
                    charts::drop_anywhere(ui, rect, actions);
                } else {
                    let width = charts::charts(ui, model, layout, cache, actions);
                    if width > 0.0 {
                        *chart_width = width;
                    }
                }
            });
        }
        charts::dragged(ui, model);
        if model.log_open {
            log::log(ui, model, actions);
        } else {
            toasts::toasts(ui, model, actions);
        }
        form::confirmation(ui, model, actions);
        composer::composer(ui, model, actions);
        groups::question(ui, model, actions);
        range::range(ui, model, actions);
        layouts::layouts(ui, model, actions);
        hub_list::hub_list(ui, model, actions);
        chart_form::chart_form(ui, model, actions);
        exports::exports(ui, model, actions);
        settings::settings(ui, model, held, actions);
        if model.help {
            help::help(ui, actions);
        }
        palette::palette(ui, model, layout, found, actions);
        self.take_actions(&ctx);
        // A drag is one step of the history, and is saved when it is over.
        if !ctx.input(|i| i.pointer.any_down()) {
            self.layout.settle();
            self.save_changes();
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        Tokens::for_visuals(visuals).canvas.to_normalized_gamma_f32()
    }

    fn persist_egui_memory(&self) -> bool {
        false
    }
}
