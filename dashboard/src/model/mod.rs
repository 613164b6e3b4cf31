//! All state of the window, and every decision about it: events and actions in, effects out.
//!
//! Pure (I-16): no egui, no thread, no socket, no file, no clock. Whoever drives it says what time it is, by this
//! machine's clock; inside, everything is told in the hub's.

mod absences;
mod actions;
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
use protocol::viewer::{
    CommandInfo, CommandsRequest, ErrorMessage, HubToViewer, LiveReadings, Painted, Role, Subscribed,
    ViewerMessage, ViewerWelcome,
};
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
use subscriptions::{CHARTS, Subscriptions, Wanted};
pub use table::Table;
pub use thresholds::{Axis, Thresholds};
pub use toasts::{Level, Toasts};
pub use wire::Inspector;

/// First id of our own requests. History requests count from 1 in the series store, subscriptions below 1000.
const FIRST_REQUEST: u64 = 1 << 32;
/// Commands asked for when a device is opened.
const COMMANDS_OF_DEVICE: u32 = 100;
/// Most series that no device declares of which values are kept: readings may come before the device is told.
const UNDECLARED_MAX: usize = 4_096;
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

    /// Takes in what happened, at this time of this machine's clock.
    pub fn handle_event(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        self.local = now;
        match event {
            Event::Connecting { attempt } => self.connection.connecting(attempt),
            Event::Connected(welcome) => return self.on_connected(&welcome),
            Event::Message(message) => return self.on_message(message),
            Event::Traced { traces, arrived } => {
                let devices = &self.devices;
                let device = |series| devices.series(series).map(|info| info.device.info.id.clone());
                self.latency.arrived(&traces, arrived, device);
            }
            Event::RoundTrip(time) => {
                if self.connection.is_connected() {
                    self.connection.round_trip = Some(time);
                    self.latency.round_trip(time);
                }
            }
            Event::Disconnected { reason, retry_in } => {
                let hub_now = self.now();
                self.history.disconnected(hub_now);
                self.lose_wire();
                if let Some(composer) = &mut self.composer {
                    composer.ask_again();
                }
                self.connection.disconnected(format::ellipsis(&reason, TEXT_MAX), retry_in, now);
            }
            Event::Unusable(reason) => self.connection.disconnected(reason, None, now),
            Event::BadMessage(problem) => {
                self.counters.bad_messages += 1;
                self.has_missed = true;
                let problem = format::ellipsis(&problem, TEXT_MAX);
                let advice = "Readings are asked for again; devices and commands are told anew with the next connection.";
                let detail = Some(format!("{problem}. {advice}"));
                self.toast(Level::Warning, "A message of the hub could not be read", detail);
            }
            Event::NotSent(message) => return self.on_not_sent(&message),
            Event::NotSaved(problem) => {
                self.toast(Level::Warning, "Settings could not be saved", Some(problem));
            }
        }
        Vec::new()
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

    fn on_connected(&mut self, welcome: &ViewerWelcome) -> Vec<Effect> {
        let again = self.connection.was_connected();
        self.connection.connected(welcome, self.local);
        self.latency.connected();
        if welcome.position < self.counters.position {
            self.forget_database();
        }
        self.counters.position = welcome.position;
        let now = self.now();
        self.devices.begin_snapshot(now);
        let mut effects = Vec::new();
        if again {
            self.counters.reconnects += 1;
        } else {
            self.subscriptions.start();
            effects.extend(self.subscriptions.changes().into_iter().map(Effect::Send));
        }
        self.history.connected(&self.commands, now);
        self.absences_begin();
        effects.push(self.ask(Request::Stretch, newest_page()));
        effects.push(self.ask_groups());
        self.requests.retain(|_, request| !matches!(request, Request::Lookup(_)));
        effects.extend(self.look_up_doubts());
        effects.extend(self.ask_page());
        effects.extend(self.ask_wire());
        effects
    }

    /// A position only ever grows: a smaller one is another database, where the same numbers mean other series.
    fn forget_database(&mut self) {
        self.series = SeriesStore::new(self.settings.memory_bytes());
        self.commands = CommandLog::default();
        self.history = History::default();
        self.table.start_again();
        self.forget_groups();
        self.detail = None;
        self.subscriptions.forget_positions();
        self.toast(
            Level::Warning,
            "The hub has another database now",
            Some("What was shown before is gone.".into()),
        );
    }

    fn on_message(&mut self, message: HubToViewer) -> Vec<Effect> {
        match message {
            // The link turns the welcome into `Connected`, a second one changes nothing; the latest values come with the
            // snapshot of the subscription and are not asked for.
            HubToViewer::Welcome(_) | HubToViewer::Latest(_) => {}
            HubToViewer::Wire(wire) => return self.on_wire(wire),
            HubToViewer::Devices(devices) => {
                let now = self.now();
                let before = self.devices.revision();
                self.devices.update(devices, now);
                if let Some(kept) = self.devices.take_left_out() {
                    let text = format!("Only {} devices are shown", format::count(kept as u64));
                    let detail = "The hub has more than this window keeps. `hub device list` has them all.";
                    self.toast(Level::Warning, &text, Some(detail.to_owned()));
                }
                for id in self.devices.take_gone() {
                    self.toasts.push_group(toasts::Group::Offline, id.as_str(), self.local);
                }
                self.check_form();
                if let Some(composer) = &mut self.composer
                    && self.devices.revision() != before
                {
                    composer.refresh(&self.devices);
                }
                return self.check_page();
            }
            HubToViewer::Subscribed(subscribed) => self.on_subscribed(&subscribed),
            HubToViewer::Readings(readings) => self.on_readings(&readings),
            HubToViewer::History(history) => self.series.on_history(&history),
            HubToViewer::Command(event) => self.on_command(event),
            HubToViewer::Group(event) => self.on_group(event),
            HubToViewer::Groups(answer) => self.on_groups(answer),
            HubToViewer::Members(part) => self.on_members(part),
            HubToViewer::Commands(list) => match self.requests.remove(&list.id) {
                Some(Request::Lookup(of)) => self.on_lookup(of, list),
                asked => {
                    self.learn(asked.as_ref(), &list.commands);
                    for command in list.commands {
                        self.commands.put(command);
                    }
                }
            },
            HubToViewer::Error(error) => return self.on_error(&error),
            HubToViewer::Ledger(ledger) => return self.on_ledger(ledger.id, ledger.account),
            HubToViewer::Connections(list) => {
                return self.on_connections(list.id, &list.device, list.connections);
            }
        }
        Vec::new()
    }

    /// What an answer says of the past besides the commands in it.
    fn learn(&mut self, asked: Option<&Request>, commands: &[CommandInfo]) {
        match asked {
            Some(Request::Stretch) => {
                let is_first = self.history.answered(commands);
                if is_first {
                    self.table.start_again();
                }
            }
            Some(Request::Page(request)) => {
                let label = |c: &CommandInfo| label_of(&self.devices, &c.device, c.name.as_str());
                let found = commands.iter().filter(|c| self.table.fits(c, label)).count();
                self.table.answered(request, commands, found);
                if request.device.is_none()
                    && request.states.is_empty()
                    && let (Some(before), Some(oldest)) =
                        (request.before, commands.iter().map(commands::issued_at).min())
                {
                    self.history.learned(oldest.plus_micros(1), before);
                }
            }
            _ => {}
        }
    }

    fn on_subscribed(&mut self, subscribed: &Subscribed) {
        let now = self.now();
        if let Some((from, to)) = self.subscriptions.on_subscribed(subscribed, now) {
            self.series.mark_hole(possible(from), possible(to));
        }
    }

    fn on_readings(&mut self, readings: &LiveReadings) {
        let now = self.now();
        let Some(wanted) = self.subscriptions.wanted(readings.id) else { return };
        self.subscriptions.on_readings(readings, now);
        self.counters.position = self.counters.position.max(readings.position);
        let mut received = 0;
        for of_series in &readings.series {
            let series = of_series.series;
            let Some((at, value)) = of_series.points.last() else { continue };
            if self.is_strange(series) {
                self.counters.bad_messages += 1;
                continue;
            }
            if of_series.points.iter().any(|(at, _)| !at.is_valid_for_reading()) {
                self.counters.bad_messages += 1;
                continue;
            }
            if wanted == Wanted::All && !readings.snapshot {
                self.series.push_live(series, &of_series.points);
                received += of_series.points.len() as u64;
            } else {
                self.series.set_latest(series, *at, value.clone());
                if !readings.snapshot && !self.subscriptions.is_shown(series) {
                    received += of_series.points.len() as u64;
                }
            }
            self.devices.heard(series, value.to_number(), !readings.snapshot, now);
        }
        self.counters.received(received, self.local);
        if let Some(omitted) = &readings.omitted
            && wanted == Wanted::All
        {
            self.counters.omitted = self.counters.omitted.saturating_add(omitted.count);
            let (from, to) = (possible(omitted.from), possible(omitted.to));
            self.series.mark_hole(from, to);
        }
    }

    /// Whether no device has this series, and there are too many such already.
    fn is_strange(&self, series: SeriesId) -> bool {
        self.series.len() >= self.devices.series_count().saturating_add(UNDECLARED_MAX)
            && self.devices.series(series).is_none()
            && !self.series.knows(series)
    }

    /// What a person calls a command of a device.
    pub fn command_label(&self, device: &DeviceId, name: &str) -> String {
        label_of(&self.devices, device, name)
    }

    fn on_error(&mut self, error: &ErrorMessage) -> Vec<Effect> {
        let message = format::ellipsis(&error.message, TEXT_MAX);
        let Some(id) = error.id else {
            self.toast(Level::Error, "The hub reports an error", Some(message));
            return Vec::new();
        };
        match self.requests.remove(&id) {
            Some(Request::Send(sent)) => return self.on_send_error(id, sent, error),
            // Whatever the hub or the link say of it, it is still in doubt, and asked for again with the next welcome.
            Some(doubt @ Request::InDoubt(_)) => {
                self.requests.insert(id, doubt);
            }
            // Without an answer a gap stays a plain gap until the next welcome.
            Some(Request::Lookup(_) | Request::Absences(_)) => {}
            Some(Request::Cancel(_)) => {
                self.toast(Level::Error, "The command could not be cancelled", Some(message));
            }
            // Asked again after a while, or after the next welcome.
            Some(Request::Stretch) => {
                let now = self.now();
                self.history.failed(now);
            }
            Some(Request::Page(_)) => self.table.failed(message),
            Some(
                request @ (Request::SendGroup
                | Request::DryRun
                | Request::ChangeGroup
                | Request::Groups
                | Request::Members),
            ) => return self.on_group_error(id, &request, error),
            Some(request @ (Request::Connections | Request::Ledger)) => self.on_page_error(&request, message),
            Some(request @ (Request::Inspect | Request::WireConnections)) => {
                self.on_wire_error(&request, id, error);
            }
            Some(Request::Commands) if !self.connection.is_connected() => {}
            Some(Request::Commands) => {
                self.toast(Level::Warning, "Past commands could not be loaded", Some(message));
            }
            None if self.subscriptions.wanted(id).is_some() => {
                self.toast(Level::Error, "The hub refused a subscription", Some(message));
            }
            None => self.series.on_history_error(id),
        }
        Vec::new()
    }

    fn on_not_sent(&mut self, message: &ViewerMessage) -> Vec<Effect> {
        let why = "Too many messages wait for the hub, or the connection is gone. Try again.";
        if let ViewerMessage::Subscribe(_) | ViewerMessage::Unsubscribe(_) = message {
            self.subscriptions.on_not_sent(message.id());
            return Vec::new();
        }
        self.on_error(&ErrorMessage {
            id: Some(message.id()),
            code: protocol::ErrorCode::LimitReached,
            message: why.to_owned(),
        })
    }

    fn select(&mut self, device: Option<DeviceId>) -> Vec<Effect> {
        self.detail = None;
        if self.selection == device {
            return Vec::new();
        }
        self.form = None;
        self.selection = device;
        // A device with a single command shows its form at once.
        if let Some(selected) = self.selected_device()
            && let [only] = selected.info.commands.as_slice()
        {
            self.form = Some(Form::new(selected.info.id.clone(), only.clone()));
        }
        let mut effects = self.open_page();
        if let Some(device) = self.selection.clone().filter(|_| self.connection.is_connected()) {
            effects.push(self.ask_commands(Some(device), None, COMMANDS_OF_DEVICE));
        }
        effects
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

    /// Opens the form of a command as it was sent before.
    fn repeat(&mut self, command: &CommandId) -> Vec<Effect> {
        let Some(info) = self.commands.get(command).cloned() else { return Vec::new() };
        let effects = self.select(Some(info.device.clone()));
        self.detail = None;
        self.open_form(Some(info.name.as_str()));
        match &mut self.form {
            Some(form) => {
                for (name, value) in info.args {
                    form.set_arg(&name, Some(value));
                }
            }
            None => {
                self.open_undeclared();
                let args = serde_json::to_string(&info.args).unwrap_or_default();
                self.type_into_form(form::Field::Name, info.name.as_str().to_owned());
                self.type_into_form(form::Field::Args, args);
            }
        }
        effects
    }

    /// Puts what the table shows on the clipboard.
    fn export(&mut self, format: table::Format) -> Vec<Effect> {
        let rows = self.table.rows().iter().filter_map(|id| self.commands.get(id));
        let text = table::export(rows, format);
        let name = match format {
            table::Format::Csv => "CSV",
            table::Format::JsonLines => "JSON lines",
        };
        let count = format::count(self.table.rows().len() as u64);
        let detail = match self.table.older() {
            table::Older::Done => None,
            _ if self.table.filter().in_view => None,
            _ => Some("These are the rows that are loaded: scroll to the end for older ones.".to_owned()),
        };
        self.toast(Level::Success, &format!("{count} commands are on the clipboard as {name}"), detail);
        vec![Effect::Copy(text)]
    }

    /// Moves the view so that a command is in its middle, with room around it.
    fn show_in_charts(&mut self, command: &CommandId) {
        let Some(info) = self.commands.get(command) else { return };
        let now = self.now();
        let from = commands::issued_at(info);
        let to = commands::ended_at(info).unwrap_or(now).max(from);
        let around = (to.micros_since(from) * 2).clamp(30_000_000, 24 * 3_600_000_000);
        self.viewport.show(from.plus_micros(-around), to.plus_micros(around), now);
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

fn newest_page() -> CommandsRequest {
    CommandsRequest { limit: Some(history::PAGE), ..CommandsRequest::default() }
}

/// The nearest time that a reading may claim.
fn possible(at: Timestamp) -> Timestamp {
    at.clamp(Timestamp::MIN_READING, Timestamp::END_READING)
}
