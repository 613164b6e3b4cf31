//! What arrives from the hub and from the link, and what it changes.

use protocol::viewer::{
    CommandInfo, CommandsRequest, ErrorMessage, HubToViewer, LiveReadings, Subscribed, ViewerMessage,
    ViewerWelcome,
};
use protocol::{SeriesId, Timestamp};

use super::history::{self, History};
use super::subscriptions::Wanted;
use super::{
    CommandLog, Effect, Event, Level, Model, Request, TEXT_MAX, commands, label_of, possible, toasts,
};
use crate::format;
use crate::series::SeriesStore;

/// Most series that no device declares of which values are kept: readings may come before the device is told.
const UNDECLARED_MAX: usize = 4_096;

impl Model {
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
}

fn newest_page() -> CommandsRequest {
    CommandsRequest { limit: Some(history::PAGE), ..CommandsRequest::default() }
}
