//! All state of the window, and every decision about it: events and actions in, effects out.
//!
//! Here is the state, and what time alone changes; `arrivals` takes in events, `actions` does what a person wants, and each
//! of the others decides about a part.
//!
//! Pure (I-16): no egui, no thread, no socket, no file, no clock. Whoever drives it says what time it is, by this
//! machine's clock; inside, everything is told in the hub's.

mod absences;
mod actions;
mod arrivals;
pub mod chart_csv;
pub mod chart_form;
pub mod commands;
pub mod connection;
mod counters;
pub mod devices;
pub mod event;
pub mod exports;
pub mod form;
mod grouping;
pub mod groups;
mod history;
pub mod hubs;
pub mod latency;
pub mod layouts;
pub mod listing;
pub mod outcome;
pub mod page;
pub mod palette;
pub mod range;
mod sending;
mod settings_form;
mod subscriptions;
pub mod table;
pub mod thresholds;
pub mod toasts;
pub mod wire;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::tz::TimeZone;
use protocol::viewer::{CommandInfo, CommandsRequest, Painted, Role};
use protocol::{CommandId, DeviceId, SeriesId, Timestamp, Value};

use crate::format;
use crate::series::SeriesStore;
use crate::settings::{Settings, Times};
use crate::viewport::{View, Viewport};

use absences::Absences;
pub use chart_form::ChartForm;
pub use commands::CommandLog;
pub use connection::{Connection, Link};
pub use counters::Counters;
pub use devices::{Device, Devices, SeriesInfo, Status};
pub use event::{Effect, Event, Haste};
pub use form::{Form, FormStage};
pub use grouping::Question;
pub use groups::{Composer, Groups};
use history::History;
pub use hubs::{Hubs, HubsForm};
use latency::Latency;
pub use layouts::{LayoutsForm, Library};
pub use page::Page;
pub use palette::Palette;
use range::RangeForm;
use sending::Sent;
pub use settings_form::SettingsForm;
use subscriptions::{CHARTS, Subscriptions};
pub use table::Table;
pub use thresholds::{Axis, Thresholds};
pub use toasts::{Level, Toasts};
pub use wire::Inspector;

/// First id of our own requests. History requests count from 1 in the series store, subscriptions below 1000.
const FIRST_REQUEST: u64 = 1 << 32;
/// Commands asked for when a device is opened.
const COMMANDS_OF_DEVICE: u32 = 100;
/// Longest text of the hub that is shown in full, in characters.
const TEXT_MAX: usize = 400;

/// What a request of ours was for.
#[derive(Debug, Clone, PartialEq)]
enum Request {
    /// A command.
    Send(Box<Sent>),
    /// A command whose answer was lost with the connection: the hub has to be asked whether it has it.
    InDoubt(Box<Sent>),
    /// Whether the hub has the command of that request.
    Lookup(u64),
    Cancel(CommandId),
    /// Commands of the past of a device.
    Commands,
    /// A stretch of the past of all devices.
    Stretch,
    /// A page of the table.
    Page(Box<CommandsRequest>),
    /// A group.
    SendGroup,
    /// Who would get a group.
    DryRun,
    /// A group is taken back, or retried.
    ChangeGroup,
    /// The groups of the past.
    Groups,
    /// The members of a group.
    Members,
    /// The connections of the open device.
    Connections,
    /// The connections of a device that charts show.
    Absences(DeviceId),
    /// Its ledger.
    Ledger,
    /// The wire of a device.
    Inspect,
    /// The connections of that device.
    WireConnections,
}

/// All state of the window.
#[derive(Debug)]
pub struct Model {
    /// The connection to the hub.
    pub connection: Connection,
    /// The devices and what they measure.
    pub devices: Devices,
    /// The readings.
    pub series: SeriesStore,
    /// Which stretch of time is shown.
    pub viewport: Viewport,
    /// The commands.
    pub commands: CommandLog,
    /// The table of all commands.
    pub table: Table,
    /// The groups of commands.
    pub groups: Groups,
    /// The form of a group that is open.
    pub composer: Option<Composer>,
    /// What a person is asked.
    pub question: Option<Question>,
    /// The devices that are chosen in the list, to be told something together.
    pub chosen: BTreeSet<DeviceId>,
    chosen_last: Option<DeviceId>,
    /// The device whose panel is open.
    pub selection: Option<DeviceId>,
    /// What the hub's books say of that device.
    pub page: Option<Page>,
    /// The wire of a device, while it is watched.
    pub wire: Option<Box<Inspector>>,
    /// The command whose life is shown.
    pub detail: Option<CommandId>,
    /// The form that is open.
    pub form: Option<Form>,
    /// The dialog in which a stretch of time is typed, while it is open.
    pub range_form: Option<RangeForm>,
    /// The dialog in which the axes and limits of a chart are typed, while it is open.
    pub chart_form: Option<Box<ChartForm>>,
    /// The dialog in which a chart is written to a file, while it is open.
    pub export_form: Option<Box<exports::ExportForm>>,
    /// The time under the pointer.
    pub cursor: Option<Timestamp>,
    /// The cursors that were pinned, at most two.
    pub pins: Vec<Timestamp>,
    /// Short notices.
    pub toasts: Toasts,
    /// Whether the window has room for one thing at a time only.
    pub is_narrow: bool,
    /// Whether a person wants to see the device list; `None`: if there is room.
    list: Option<bool>,
    /// Whether the log of notices is shown.
    pub log_open: bool,
    /// Rates and totals.
    pub counters: Counters,
    /// What is remembered between runs.
    pub settings: Settings,
    /// The zone in which times are shown.
    pub zone: TimeZone,
    /// The zone of this machine.
    local_zone: TimeZone,
    /// The settings as they are typed, while they are open.
    pub settings_form: Option<SettingsForm>,
    /// Whether the sheet of shortcuts is shown.
    pub help: bool,
    /// The command palette, while it is open.
    pub palette: Option<Palette>,
    /// The hubs that are remembered.
    pub hubs: Hubs,
    /// The dialog of the hubs, while it is open.
    pub hubs_form: Option<HubsForm>,
    /// The layouts that were saved by name.
    pub library: Library,
    /// The dialog of the layouts, while it is open.
    pub layouts_form: Option<LayoutsForm>,
    /// Where a layout is exported to unless a person says otherwise.
    pub export_path: String,
    history: History,
    absences: Absences,
    subscriptions: Subscriptions,
    requests: HashMap<u64, Request>,
    next_request: u64,
    /// The limits of the charts.
    watched: HashMap<SeriesId, Thresholds>,
    /// Readings received when the view was paused.
    readings_at_pause: u64,
    /// Something that could not be read has come since the last frame: it may have been readings.
    has_missed: bool,
    /// How long readings take from the sensor to the screen.
    pub latency: Latency,
    /// Whether the panel about that is shown.
    pub latency_open: bool,
    /// This machine's clock at the last event or frame.
    local: Timestamp,
}

impl Model {
    /// A model that has heard nothing yet.
    pub fn new(address: &str, settings: Settings, zone: TimeZone, now: Timestamp) -> Self {
        let viewport = Viewport::new(View::Follow { width: settings.span_micros });
        let mut devices = Devices::default();
        devices.set_order(settings.list);
        Self {
            connection: Connection::new(address),
            devices,
            series: SeriesStore::new(settings.memory_bytes()),
            viewport,
            commands: CommandLog::default(),
            table: Table::default(),
            groups: Groups::default(),
            composer: None,
            question: None,
            chosen: BTreeSet::new(),
            chosen_last: None,
            history: History::default(),
            absences: Absences::default(),
            selection: None,
            page: None,
            wire: None,
            detail: None,
            form: None,
            range_form: None,
            chart_form: None,
            export_form: None,
            cursor: None,
            pins: Vec::new(),
            toasts: Toasts::default(),
            is_narrow: false,
            list: None,
            log_open: false,
            counters: Counters::default(),
            zone: zone_of(settings.times, &zone),
            local_zone: zone,
            settings_form: None,
            settings,
            help: false,
            palette: None,
            hubs: Hubs::default(),
            hubs_form: None,
            library: Library::default(),
            layouts_form: None,
            export_path: String::new(),
            subscriptions: Subscriptions::default(),
            requests: HashMap::new(),
            next_request: FIRST_REQUEST,
            watched: HashMap::new(),
            readings_at_pause: 0,
            has_missed: false,
            latency: Latency::default(),
            latency_open: false,
            local: now,
        }
    }

    /// The zone of this machine, whatever times are shown in.
    pub const fn local_zone(&self) -> &TimeZone {
        &self.local_zone
    }

    /// Takes over what belongs to the window and not to the hub it showed before.
    pub fn keep_from(&mut self, old: Self) {
        self.hubs = old.hubs;
        self.library = old.library;
        self.export_path = old.export_path;
        self.toasts = old.toasts;
    }

    /// The hub's clock, as of the last event or frame.
    pub fn now(&self) -> Timestamp {
        self.hub_time(self.local)
    }

    /// This machine's clock, as of the last event or frame.
    pub const fn local_now(&self) -> Timestamp {
        self.local
    }

    /// The stretch of time that is shown.
    pub fn range(&self) -> (Timestamp, Timestamp) {
        self.viewport.range(self.now())
    }

    /// What a series is, if the hub has told.
    pub fn series_info(&self, series: SeriesId) -> Option<SeriesInfo<'_>> {
        self.devices.series(series)
    }

    /// The device whose panel is open, if it exists.
    pub fn selected_device(&self) -> Option<&Device> {
        self.devices.get(self.selection.as_ref()?)
    }

    /// The series that charts show now.
    pub fn shown(&self) -> &[SeriesId] {
        self.subscriptions.shown()
    }

    fn hub_time(&self, local: Timestamp) -> Timestamp {
        local.plus_micros(self.connection.clock_offset)
    }

    /// Lets time pass: what must be asked of the hub now, given what is shown in charts of this width.
    pub fn tick(&mut self, shown: &[SeriesId], width_px: f32, now: Timestamp) -> Vec<Effect> {
        self.local = now;
        let hub_now = self.now();
        self.toasts.expire(now);
        self.counters.trim(now);
        self.latency.refresh(now);
        if self.devices.is_due(hub_now) {
            self.devices.refresh(hub_now);
        }
        if self.table.open {
            let label = |c: &CommandInfo| label_of(&self.devices, &c.device, c.name.as_str());
            let range = self.viewport.range(hub_now);
            self.table.refresh(&self.commands, label, self.history.known_to(), range, now);
        }
        if std::mem::take(&mut self.has_missed) {
            // Of which series and when, nobody knows: what is shown is asked for again.
            self.series.mark_hole(Timestamp::MIN_READING, possible(hub_now));
        }
        let mut effects = Vec::new();
        self.subscriptions.show(shown, f64::from(self.settings.frames).min(self.connection.max_hz));
        if self.connection.is_connected() {
            effects.extend(self.subscriptions.changes().into_iter().map(Effect::Send));
            let wanted = self.series.wanted(&self.viewport, shown, width_px, hub_now);
            effects.extend(wanted.into_iter().map(|request| Effect::Send(request.into())));
            let range = self.viewport.range(hub_now);
            if let Some(request) = self.history.wanted(&self.commands, range, hub_now) {
                effects.push(self.ask(Request::Stretch, request));
            }
            if let Some(request) = self.table.wanted(&self.commands) {
                effects.push(self.ask(Request::Page(Box::new(request.clone())), request));
            }
            if let Some(waits) = self.latency.told(now) {
                effects.push(Effect::Send(Painted { id: CHARTS, waits }.into()));
            }
            effects.extend(self.groups_wanted());
            effects.extend(self.absences_wanted(shown));
            effects.extend(self.follow_page());
        }
        effects
    }

    /// Time until something changes although nothing arrives: a countdown, a toast, a rate.
    pub fn wakes_in(&self) -> Option<Duration> {
        let countdown = match &self.connection.link {
            Link::Waiting { retry_at, .. } => {
                let left = retry_at.micros_since(self.local);
                (left > 0).then(|| self.local.plus_micros((left - 1) % 1_000_000 + 1))
            }
            _ => None,
        };
        let local = |at: Timestamp| at.plus_micros(-self.connection.clock_offset);
        let stale = self.devices.next_change().map(local);
        let table = self.table.next_change(&self.commands);
        [
            countdown,
            table,
            self.groups.next_change(),
            self.toasts.next_change(),
            self.counters.next_change(),
            stale,
            self.page_follows_at().map(local),
        ]
        .into_iter()
        .flatten()
        .map(|at| Duration::from_micros(at.micros_since(self.local).max(1_000) as u64))
        .min()
    }

    /// What a person calls a command of a device.
    pub fn command_label(&self, device: &DeviceId, name: &str) -> String {
        label_of(&self.devices, device, name)
    }

    fn ask_commands(&mut self, device: Option<DeviceId>, before: Option<Timestamp>, limit: u32) -> Effect {
        let request = CommandsRequest { device, before, limit: Some(limit), ..CommandsRequest::default() };
        self.ask(Request::Commands, request)
    }

    fn ask(&mut self, purpose: Request, request: CommandsRequest) -> Effect {
        let id = self.request(purpose);
        Effect::Send(CommandsRequest { id, ..request }.into())
    }

    fn request(&mut self, request: Request) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        self.requests.insert(id, request);
        id
    }

    /// Whether the zone of this machine is another than UTC now.
    pub fn zone_differs(&self) -> bool {
        let now = jiff::Timestamp::from_microsecond(self.now().0);
        now.is_ok_and(|now| self.local_zone.to_offset(now) != jiff::tz::Offset::UTC)
    }

    /// How many answers of the hub are waited for.
    pub fn waiting_requests(&self) -> usize {
        self.requests.len()
    }

    /// Whether an answer about commands is on its way.
    pub fn is_asking_commands(&self) -> bool {
        self.requests.values().any(|r| matches!(r, Request::Commands))
    }

    /// Whether commands of the time that is shown are still on their way.
    pub const fn is_loading_commands(&self) -> bool {
        self.history.is_loading()
    }

    /// Shows a notice.
    pub fn toast(&mut self, level: Level, text: &str, detail: Option<String>) {
        self.toasts.push(level, text.to_owned(), detail, self.local);
    }

    /// The latest value of a series.
    pub fn latest(&self, series: SeriesId) -> Option<(Timestamp, Value)> {
        self.series.latest(series)
    }

    /// Whether the device list is shown.
    pub fn shows_list(&self) -> bool {
        self.list.unwrap_or(!self.is_narrow)
    }

    /// Whether a dialog is open, which takes all keys.
    pub const fn is_asking_something(&self) -> bool {
        self.composer.is_some()
            || self.question.is_some()
            || self.range_form.is_some()
            || self.chart_form.is_some()
            || self.export_form.is_some()
            || self.palette.is_some()
            || self.layouts_form.is_some()
            || self.settings_form.is_some()
            || self.hubs_form.is_some()
            || self.help
    }

    /// Whether this viewer is known to be one who only looks.
    pub fn only_looks(&self) -> bool {
        self.connection.role == Some(Role::Viewer)
    }
}

fn zone_of(times: Times, local: &TimeZone) -> TimeZone {
    match times {
        Times::Local => local.clone(),
        Times::Utc => TimeZone::UTC,
    }
}

fn label_of(devices: &Devices, device: &DeviceId, name: &str) -> String {
    devices
        .get(device)
        .and_then(|d| d.info.commands.iter().find(|c| c.name.as_str() == name))
        .and_then(|c| c.label.clone())
        .unwrap_or_else(|| format::humanize(name))
}

/// The nearest time that a reading may claim.
fn possible(at: Timestamp) -> Timestamp {
    at.clamp(Timestamp::MIN_READING, Timestamp::END_READING)
}
