//! The wire of one device while it is watched: what its connections carried, which frame answers which, and figures.
//!
//! Bounded by [`RECORDS_MAX`] and [`BYTES_MAX`]: the oldest go first, and are counted. While the table is paused it stands
//! still, and what comes is kept behind it as far as there is room.

pub mod export;
mod filter;
pub mod pretty;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use protocol::device::ErrorMessage;
use protocol::viewer::{ConnectionInfo, ConnectionsRequest, Inspect, StopInspecting, Wire};
use protocol::wire::{Ended, Event, Figures, Follow, Frame, Handshake, Record, Side};
use protocol::{DeviceId, Timestamp};

use super::page::Asked;
use super::{Effect, Model, Request, TEXT_MAX};
use crate::format;
pub use filter::{Class, Filter};

/// Most rows that are kept.
pub const RECORDS_MAX: usize = 16_384;
/// Most bytes that they take.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that are asked for of each payload. Chosen: most messages whole, and a recording of the hub that still holds
/// thousands of them.
pub const PAYLOAD_BYTES: u32 = 4_096;
/// Most connections of which it is known how they were made and ended.
const CONNECTIONS_MAX: usize = 32;
/// Most round trips that are kept: well over an hour at a ping in ten seconds.
const TRIPS_MAX: usize = 512;
/// Rates are of this time, in microseconds.
const RATE_MICROS: i64 = 10_000_000;

/// How far the inspection has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// There is no connection to the hub: it is asked for with the next one.
    Away,
    /// The hub was asked.
    Asking,
    /// Records come.
    Watching,
    /// The hub refused; the text says why.
    Refused(String),
}

/// What a row of the table is.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Something that happened.
    Record(Arc<Record>),
    /// Frames that were not recorded.
    LeftOut {
        /// How many.
        frames: u64,
        /// Whether they came while the table was paused and there was no room; else the hub left them out.
        paused: bool,
    },
    /// This window was not connected to the hub: what happened meanwhile is not known.
    Unwatched,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its number in this window, which only grows.
    pub key: u64,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// The numbers of the frames that it answers, on the same connection.
    pub answers: Vec<u64>,
    /// The number of the frame that answers it.
    pub answered_by: Option<u64>,
    /// Which of the watched connections it is of; 0: of none.
    connection: u64,
    bytes: usize,
}

impl Row {
    /// What happened, if it is known.
    pub fn record(&self) -> Option<&Record> {
        match &self.what {
            What::Record(record) => Some(record),
            What::LeftOut { .. } | What::Unwatched => None,
        }
    }

    /// The frame, if it is one.
    pub fn frame(&self) -> Option<&Frame> {
        match &self.record()?.event {
            Event::Frame(frame) => Some(frame),
            Event::Opened(_) | Event::Ended(_) => None,
        }
    }
}

/// What stands beside the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The selected frame.
    Frame,
    /// How its connection was made.
    Handshake,
    /// The connection in numbers.
    Figures,
}

/// A connection that was watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// Its name. A hub that was started anew begins to count anew.
    pub session: String,
    number: u64,
    /// How it was made.
    pub handshake: Option<Arc<Record>>,
    /// When and how it ended.
    pub ended: Option<(Timestamp, Ended)>,
    follow: Follow,
    /// The rows of its frames, by their numbers.
    rows: BTreeMap<u64, u64>,
    /// The number of the last frame that is known.
    last: u64,
}

impl Watched {
    /// How it was made, if that is known.
    pub fn handshake(&self) -> Option<&Handshake> {
        match &self.handshake.as_ref()?.event {
            Event::Opened(handshake) => Some(handshake),
            Event::Frame(_) | Event::Ended(_) => None,
        }
    }
}

/// The table stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pause {
    /// The first row that is not shown.
    before: u64,
    /// Rows that have come since.
    pub came: u64,
    /// Of these, frames for which there was no room.
    pub missed: u64,
}

/// What was said of the figures before: when, and messages and bytes both ways.
#[derive(Debug, Clone, Copy)]
struct Earlier {
    at: Timestamp,
    messages: [u64; 2],
    bytes: [u64; 2],
}

/// Something that is done in the panel.
#[derive(Debug, Clone, PartialEq)]
pub enum WireEdit {
    /// Show other rows.
    Filter(Box<Filter>),
    /// Stand still, or go on.
    Pause(bool),
    /// Select a row, or none.
    Select(Option<u64>),
    /// Select the row this many further down; negative: up.
    Step(i64),
    /// Select what answers the selected row, or what it answers.
    Answer,
    /// Show something else beside the table.
    Pane(Pane),
    /// Show payloads as bytes.
    Hex(bool),
    /// Forget what was recorded.
    Clear,
    /// Ask the hub again.
    AskAgain,
}

/// The wire of one device.
#[derive(Debug)]
pub struct Inspector {
    /// The device.
    pub device: DeviceId,
    /// How far the inspection has come.
    pub stage: Stage,
    /// The present connection in numbers, or the last one.
    pub figures: Option<Figures>,
    /// Whether the device is connected, as far as the hub has said.
    pub is_connected: bool,
    /// What the hub remembers of its connections, newest first.
    pub connections: Asked<Vec<ConnectionInfo>>,
    /// Which rows are shown.
    pub filter: Filter,
    /// The table stands still.
    pub pause: Option<Pause>,
    /// The selected row.
    pub selection: Option<u64>,
    /// What stands beside the table.
    pub pane: Pane,
    /// It was asked for, also where that hides the table.
    pub pane_asked: bool,
    /// Whether payloads are shown as bytes.
    pub hex: bool,
    /// Frames that the hub counted and did not record.
    pub left_out: u64,
    /// Rows that were dropped because there were too many.
    pub dropped: u64,
    /// The inspection, by which the hub's messages are known.
    id: u64,
    rows: VecDeque<Row>,
    shown: VecDeque<u64>,
    bytes: usize,
    next_key: u64,
    watched: Vec<Watched>,
    /// How many connections were watched.
    opened: u64,
    trips: VecDeque<(Timestamp, u64)>,
    earlier: VecDeque<Earlier>,
    /// Something was watched before, and the connection to the hub was lost since.
    was_lost: bool,
}

impl Inspector {
    /// Nothing is known yet.
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            stage: Stage::Away,
            figures: None,
            is_connected: false,
            connections: Asked::No,
            filter: Filter::default(),
            pause: None,
            selection: None,
            pane: Pane::Figures,
            pane_asked: false,
            hex: false,
            left_out: 0,
            dropped: 0,
            id: 0,
            rows: VecDeque::new(),
            shown: VecDeque::new(),
            bytes: 0,
            next_key: 0,
            watched: Vec::new(),
            opened: 0,
            trips: VecDeque::new(),
            earlier: VecDeque::new(),
            was_lost: false,
        }
    }

    /// The inspection, by which the hub's messages are known.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// The rows that are shown, by their keys, oldest first.
    pub const fn shown(&self) -> &VecDeque<u64> {
        &self.shown
    }

    /// All rows that are kept, oldest first.
    pub const fn rows(&self) -> &VecDeque<Row> {
        &self.rows
    }

    /// Bytes that the rows take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A row, if it is still kept.
    pub fn row(&self, key: u64) -> Option<&Row> {
        let first = self.rows.front()?.key;
        self.rows.get(usize::try_from(key.checked_sub(first)?).ok()?)
    }

    fn row_mut(&mut self, key: u64) -> Option<&mut Row> {
        let first = self.rows.front()?.key;
        self.rows.get_mut(usize::try_from(key.checked_sub(first)?).ok()?)
    }

    /// The row that is selected.
    pub fn selected(&self) -> Option<&Row> {
        self.row(self.selection?)
    }

    /// The row of another frame on the connection of this row, if it was recorded and is still kept.
    pub fn row_beside(&self, row: &Row, n: u64) -> Option<&Row> {
        self.row(*self.connection_of(row)?.rows.get(&n)?)
    }

    /// The connection that a row is of.
    pub fn connection_of(&self, row: &Row) -> Option<&Watched> {
        self.watched.iter().find(|watched| watched.number == row.connection)
    }

    /// The connection of the selected row, or the newest.
    pub fn current(&self) -> Option<&Watched> {
        self.selected().and_then(|row| self.connection_of(row)).or_else(|| self.watched.last())
    }

    /// Connections that were watched, oldest first.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Round trips of the hub's pings, oldest first: when, and microseconds.
    pub const fn trips(&self) -> &VecDeque<(Timestamp, u64)> {
        &self.trips
    }

    /// Messages and bytes a second of the device and of the hub, over the last ten seconds.
    pub fn rates(&self) -> Option<[(f64, f64); 2]> {
        let (first, last) = (self.earlier.front()?, self.earlier.back()?);
        let seconds = last.at.micros_since(first.at) as f64 / 1e6;
        if seconds < 0.5 {
            return None;
        }
        let rate = |place: usize| {
            let grew = |of: fn(&Earlier) -> [u64; 2]| {
                of(last)[place].saturating_sub(of(first)[place]) as f64 / seconds
            };
            (grew(|e| e.messages), grew(|e| e.bytes))
        };
        Some([rate(0), rate(1)])
    }

    /// Takes in what the hub says.
    pub fn on_wire(&mut self, wire: Wire, now: Timestamp) {
        self.stage = Stage::Watching;
        if std::mem::take(&mut self.was_lost) && !self.rows.is_empty() {
            self.push(now, What::Unwatched, 0, 0);
        }
        self.is_connected = wire.figures.is_some();
        if let Some(figures) = wire.figures {
            self.take_figures(figures);
        }
        for record in wire.records {
            self.take_record(record);
        }
        if wire.left_out > 0 {
            self.left_out = self.left_out.saturating_add(wire.left_out);
            self.push(now, What::LeftOut { frames: wire.left_out, paused: false }, 0, 0);
        }
    }

    fn take_figures(&mut self, figures: Figures) {
        let is_other = self.figures.as_ref().is_some_and(|old| old.session != figures.session);
        if is_other || self.earlier.back().is_some_and(|last| figures.at < last.at) {
            self.earlier.clear();
        }
        let both = |of: fn(&protocol::wire::Traffic) -> u64| [of(&figures.device), of(&figures.hub)];
        let earlier = Earlier { at: figures.at, messages: both(|t| t.messages), bytes: both(|t| t.bytes) };
        self.earlier.push_back(earlier);
        // One from before that time stays, so that the rates are of all of it.
        while self.earlier.get(1).is_some_and(|second| figures.at.micros_since(second.at) >= RATE_MICROS) {
            self.earlier.pop_front();
        }
        self.figures = Some(figures);
    }

    fn take_record(&mut self, record: Record) {
        let place = self.watched.iter().rposition(|watched| {
            let is_same = match (&record.event, watched.handshake()) {
                (Event::Opened(new), Some(old)) => new.key == old.key && new.accepted_at == old.accepted_at,
                _ => true,
            };
            watched.session == record.session && is_same
        });
        let place = place.unwrap_or_else(|| {
            if self.watched.len() >= CONNECTIONS_MAX {
                self.watched.remove(0);
            }
            self.opened += 1;
            self.watched.push(Watched {
                session: record.session.clone(),
                number: self.opened,
                handshake: None,
                ended: None,
                follow: Follow::default(),
                rows: BTreeMap::new(),
                last: 0,
            });
            self.watched.len() - 1
        });
        let Some(watched) = self.watched.get_mut(place) else { return };
        let (at, size, number) = (record.at, size_of_record(&record), watched.number);
        let record = Arc::new(record);
        match &record.event {
            Event::Opened(_) => {
                // It is told again when the inspection begins again.
                if watched.handshake.replace(Arc::clone(&record)).is_none() {
                    self.push(at, What::Record(record), number, size);
                }
            }
            Event::Ended(ended) => {
                if watched.ended.replace((at, ended.clone())).is_none() {
                    self.push(at, What::Record(record), number, size);
                }
            }
            Event::Frame(frame) => {
                if frame.n <= watched.last {
                    return;
                }
                watched.last = frame.n;
                let answers = watched.follow.on_frame(frame);
                let n = frame.n;
                if frame.from == Side::Device
                    && let Some(trip) = frame.round_trip
                {
                    if self.trips.len() >= TRIPS_MAX {
                        self.trips.pop_front();
                    }
                    self.trips.push_back((at, trip));
                }
                let asked: Vec<u64> = answers.iter().filter_map(|n| watched.rows.get(n).copied()).collect();
                let size = size + answers.len() * 8;
                let Some(key) = self.push(at, What::Record(record), number, size) else { return };
                for asked in asked {
                    if let Some(row) = self.row_mut(asked) {
                        row.answered_by = Some(n);
                    }
                }
                if let Some(row) = self.row_mut(key) {
                    row.answers = answers;
                }
                if let Some(watched) = self.watched.get_mut(place) {
                    watched.rows.insert(n, key);
                }
            }
        }
    }

    /// Adds a row, and drops the oldest if there are too many. `None`: the table is paused and there is no room.
    fn push(&mut self, at: Timestamp, what: What, connection: u64, size: usize) -> Option<u64> {
        let bytes = size + size_of::<Row>();
        if let Some(pause) = &mut self.pause {
            pause.came += 1;
            if self.rows.len() >= RECORDS_MAX || self.bytes + bytes > BYTES_MAX {
                pause.missed += match &what {
                    What::LeftOut { frames, .. } => *frames,
                    What::Record(_) | What::Unwatched => 1,
                };
                return None;
            }
        }
        let key = self.next_key;
        self.next_key += 1;
        let row = Row { key, at, what, answers: Vec::new(), answered_by: None, connection, bytes };
        if self.pause.is_none() && self.filter.fits(&row, &self.filter.text.trim().to_lowercase()) {
            self.shown.push_back(key);
        }
        self.bytes += bytes;
        self.rows.push_back(row);
        while self.rows.len() > RECORDS_MAX || self.bytes > BYTES_MAX {
            let Some(row) = self.rows.pop_front() else { break };
            self.dropped += 1;
            self.bytes = self.bytes.saturating_sub(row.bytes);
            if self.shown.front() == Some(&row.key) {
                self.shown.pop_front();
            }
            if let Some(frame) = row.frame()
                && let Some(watched) = self.watched.iter_mut().find(|w| w.number == row.connection)
            {
                watched.rows.remove(&frame.n);
            }
        }
        Some(key)
    }

    fn find_shown(&mut self) {
        let words = self.filter.text.trim().to_lowercase();
        let before = self.pause.map_or(u64::MAX, |pause| pause.before);
        let fits = |row: &&Row| row.key < before && self.filter.fits(row, &words);
        self.shown = self.rows.iter().filter(fits).map(|row| row.key).collect();
    }

    fn set_paused(&mut self, on: bool, now: Timestamp) {
        if on == self.pause.is_some() {
            return;
        }
        if on {
            self.pause = Some(Pause { before: self.next_key, ..Pause::default() });
            return;
        }
        let missed = self.pause.take().map_or(0, |pause| pause.missed);
        if missed > 0 {
            self.push(now, What::LeftOut { frames: missed, paused: true }, 0, 0);
        }
        self.find_shown();
    }

    fn select(&mut self, key: Option<u64>) {
        self.selection = key.filter(|key| self.row(*key).is_some());
        self.pane = match self.selected().and_then(Row::record).map(|record| &record.event) {
            Some(Event::Opened(_)) => Pane::Handshake,
            Some(Event::Frame(_) | Event::Ended(_)) => Pane::Frame,
            None if self.pane == Pane::Frame => Pane::Figures,
            None => self.pane,
        };
    }

    fn step(&mut self, by: i64) {
        let Some(last) = self.shown.len().checked_sub(1) else { return };
        let place = match self.selection {
            None if by < 0 => last,
            None => 0,
            Some(key) => {
                let (Ok(place) | Err(place)) = self.shown.binary_search(&key);
                (place as i64).saturating_add(by).clamp(0, last as i64) as usize
            }
        };
        self.select(self.shown.get(place).copied());
    }

    /// The row that answers the selected one, or the last one that it answers.
    pub fn other_end(&self) -> Option<u64> {
        let row = self.selected()?;
        let other = row.answered_by.or_else(|| row.answers.last().copied())?;
        self.row_beside(row, other).map(|row| row.key)
    }

    /// Does what is done in the panel.
    fn edit(&mut self, edit: WireEdit, now: Timestamp) {
        match edit {
            WireEdit::Filter(filter) => {
                self.filter = *filter;
                self.find_shown();
            }
            WireEdit::Pause(on) => self.set_paused(on, now),
            WireEdit::Select(key) => {
                self.pane_asked &= key.is_some();
                self.select(key);
            }
            WireEdit::Step(by) => self.step(by),
            WireEdit::Answer => {
                if let Some(key) = self.other_end() {
                    self.select(Some(key));
                }
            }
            WireEdit::Pane(pane) => {
                self.pane = pane;
                self.pane_asked = true;
            }
            WireEdit::Hex(on) => self.hex = on,
            WireEdit::Clear => {
                self.rows.clear();
                self.shown.clear();
                self.bytes = 0;
                self.left_out = 0;
                self.dropped = 0;
                self.select(None);
                for watched in &mut self.watched {
                    watched.rows.clear();
                }
                if let Some(pause) = &mut self.pause {
                    *pause = Pause { before: self.next_key, ..Pause::default() };
                }
            }
            WireEdit::AskAgain => {}
        }
    }
}

fn size_of_record(record: &Record) -> usize {
    let long = match &record.event {
        Event::Opened(handshake) => handshake.request.len() + handshake.response.len() + 400,
        Event::Frame(frame) => {
            frame.text.as_ref().map_or(0, String::len)
                + frame.hex.as_ref().map_or(0, String::len)
                + frame.problems.iter().map(|problem| problem.len() + size_of::<String>()).sum::<usize>()
                + size_of::<Frame>()
        }
        Event::Ended(ended) => ended.close.as_ref().map_or(0, |close| close.reason.len()),
    };
    // With what the allocator and the index take.
    long + record.session.len() + size_of::<Record>() + 96
}

impl Model {
    /// Whether the panel of the wire is in front.
    pub const fn shows_wire(&self) -> bool {
        self.wire.is_some() && !self.table.open && !self.groups.open
    }

    /// Watches the wire of a device, and shows its panel.
    pub(super) fn open_wire(&mut self, device: DeviceId) -> Vec<Effect> {
        self.table.open = false;
        self.groups.open = false;
        if self.wire.as_ref().is_some_and(|wire| wire.device == device) {
            return Vec::new();
        }
        let mut effects = self.close_wire();
        self.wire = Some(Box::new(Inspector::new(device)));
        effects.extend(self.ask_wire());
        effects
    }

    /// Watches no more.
    pub(super) fn close_wire(&mut self) -> Vec<Effect> {
        let Some(wire) = self.wire.take() else { return Vec::new() };
        if !self.connection.is_connected() || !matches!(wire.stage, Stage::Asking | Stage::Watching) {
            return Vec::new();
        }
        self.requests.remove(&wire.id);
        vec![Effect::Send(StopInspecting { id: wire.id }.into())]
    }

    /// Asks the hub for what the panel shows.
    pub(super) fn ask_wire(&mut self) -> Vec<Effect> {
        if self.wire.is_none() || !self.connection.is_connected() {
            return Vec::new();
        }
        let id = self.request(Request::Inspect);
        let Some(wire) = &mut self.wire else { return Vec::new() };
        wire.id = id;
        wire.stage = Stage::Asking;
        let device = wire.device.clone();
        let inspect = Inspect { id, device, payload_bytes: Some(PAYLOAD_BYTES) };
        let mut effects = vec![Effect::Send(inspect.into())];
        effects.extend(self.ask_wire_connections());
        effects
    }

    fn ask_wire_connections(&mut self) -> Option<Effect> {
        let wire = self.wire.as_mut()?;
        if !wire.connections.ask_once() {
            return None;
        }
        let device = wire.device.clone();
        let id = self.request(Request::WireConnections);
        Some(Effect::Send(ConnectionsRequest { id, device }.into()))
    }

    /// The connection to the hub is gone, and the inspection with it.
    pub(super) fn lose_wire(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.was_lost |= wire.stage == Stage::Watching;
            wire.stage = Stage::Away;
            wire.connections.lose();
        }
    }

    pub(super) fn on_wire(&mut self, message: Wire) -> Vec<Effect> {
        let now = self.now();
        let is_ours = self.wire.as_ref().is_some_and(|wire| wire.id == message.id);
        if !is_ours {
            return Vec::new(); // on its way when the panel was closed
        }
        self.requests.remove(&message.id);
        let Some(wire) = &mut self.wire else { return Vec::new() };
        let is_news = |record: &Record| !matches!(record.event, Event::Frame(_));
        let has_news = wire.stage == Stage::Watching && message.records.iter().any(is_news);
        wire.on_wire(message, now);
        if has_news { self.ask_wire_connections().into_iter().collect() } else { Vec::new() }
    }

    pub(super) fn on_wire_connections(&mut self, device: &DeviceId, list: Vec<ConnectionInfo>) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.device == *device) {
            wire.connections = Asked::Known(list);
        }
    }

    /// The hub refused the inspection, or the connections of its device.
    pub(super) fn on_wire_error(&mut self, of: &Request, id: u64, error: &ErrorMessage) {
        let Some(wire) = &mut self.wire else { return };
        let why = format::ellipsis(&error.message, TEXT_MAX);
        match of {
            Request::Inspect if wire.id == id && !self.connection.is_connected() => wire.stage = Stage::Away,
            Request::Inspect if wire.id == id => wire.stage = Stage::Refused(why),
            Request::WireConnections => wire.connections = Asked::Failed(why),
            _ => {}
        }
    }

    pub(super) fn edit_wire(&mut self, edit: WireEdit) -> Vec<Effect> {
        if edit == WireEdit::AskAgain {
            return self.ask_wire();
        }
        let now = self.now();
        if let Some(wire) = &mut self.wire {
            wire.edit(edit, now);
        }
        Vec::new()
    }
}
