//! The devices, their series, and how each of them is doing.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use protocol::declare::MetricDeclaration;
use protocol::viewer::{DeviceInfo, Devices as DevicesMessage, Unpunctual};
use protocol::{DeviceId, Kind, SeriesId, Timestamp};

use super::listing::{ListOrder, ListRow, Listing};

/// Most devices that are kept. Chosen: ten times what one hub is meant for; above it, further ones are not shown.
const DEVICES_MAX: usize = 100_000;
/// Silence after which a connected device counts as stale, at least, in microseconds.
const STALE_MIN_MICROS: i64 = 10_000_000;

/// Most times that a device was away that are remembered of it. Chosen: more cannot be told apart in a chart.
const OUTAGES_MAX: usize = 256;

/// How a device is doing, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Connected, and readings arrive.
    Live,
    /// Connected, but silent for much longer than usual.
    Stale,
    /// A reading is outside the range that the device calls plausible.
    OutOfRange,
    /// Not connected.
    Offline,
}

impl Status {
    /// The status in words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::OutOfRange => "out of range",
            Self::Offline => "offline",
        }
    }
}

/// A device.
#[derive(Debug, Clone)]
pub struct Device {
    /// What the hub says of it.
    pub info: DeviceInfo,
    /// Whether its metrics are unfolded in the list.
    pub expanded: bool,
    /// When readings of it last arrived here, by the hub's clock.
    pub heard_at: Option<Timestamp>,
    /// When this window began to listen for it, by the hub's clock.
    listening_since: Timestamp,
    /// The usual time between two arrivals, in microseconds.
    interval: f64,
    /// Series whose latest value is outside the declared range.
    outside: HashSet<SeriesId>,
    /// When it was away, as far as this window has seen it and the hub has told; oldest first, apart.
    outages: VecDeque<(Timestamp, Timestamp)>,
    /// How it was doing when the list was made.
    listed_as: Status,
}

impl Device {
    fn new(info: DeviceInfo, now: Timestamp) -> Self {
        let outside = HashSet::new();
        Self {
            info,
            expanded: false,
            heard_at: None,
            listening_since: now,
            interval: 0.0,
            outside,
            outages: VecDeque::new(),
            listed_as: Status::Offline,
        }
    }

    /// How it is doing at this time of the hub's clock.
    pub fn status(&self, now: Timestamp) -> Status {
        if !self.info.connected {
            return Status::Offline;
        }
        if !self.outside.is_empty() {
            return Status::OutOfRange;
        }
        match self.stale_at() {
            Some(at) if at <= now => Status::Stale,
            _ => Status::Live,
        }
    }

    /// When it will count as stale unless something arrives; `None` if it cannot.
    fn stale_at(&self) -> Option<Timestamp> {
        let patience = STALE_MIN_MICROS.max((self.interval * 3.0) as i64);
        let since = self.heard_at.max(self.info.since).unwrap_or_default().max(self.listening_since);
        self.info.connected.then(|| since.plus_micros(patience))
    }

    /// When something was last heard of it, by the hub's clock.
    pub fn last_heard(&self) -> Option<Timestamp> {
        self.heard_at.max(self.info.last_seen)
    }

    /// When it was away and came back, as far as this window has seen it, and since when it is away now; oldest first.
    pub fn outages(&self) -> impl Iterator<Item = (Timestamp, Option<Timestamp>)> + '_ {
        let now = self.info.since.filter(|_| !self.info.connected);
        let before = self.outages.iter().map(|(from, to)| (*from, Some(*to)));
        before.chain(now.map(|since| (since, None)))
    }

    /// Whether it was away at that time, as far as this window has seen it.
    pub fn was_away(&self, at: Timestamp) -> bool {
        self.outages().any(|(from, to)| from <= at && to.is_none_or(|to| at < to))
    }

    /// Whether what it measured at that time is lost for good, as far as the hub has told.
    pub fn has_lost(&self, at: Timestamp) -> bool {
        let mut lost = self.info.late_or_lost.iter().filter(|told| told.what == Unpunctual::Lost);
        lost.any(|told| told.from < at && at < told.to)
    }

    /// Whether something that it measured in this stretch of time is lost for good, as far as the hub has told.
    pub fn has_lost_between(&self, from: Timestamp, to: Timestamp) -> bool {
        let mut lost = self.info.late_or_lost.iter().filter(|told| told.what == Unpunctual::Lost);
        lost.any(|told| told.from < to && from < told.to)
    }

    /// The series that stands for the device in the list: its first number, or its first metric.
    pub fn main_series(&self) -> Option<SeriesId> {
        let metrics = &self.info.metrics;
        metrics.iter().find(|m| m.declaration.kind == Kind::Number).or(metrics.first()).map(|m| m.series)
    }

    fn heard(&mut self, now: Timestamp) {
        if let Some(before) = self.heard_at {
            let gap = now.micros_since(before).max(0) as f64;
            self.interval = if self.interval == 0.0 { gap } else { self.interval * 0.8 + gap * 0.2 };
        }
        self.heard_at = Some(now);
    }
}

/// What is known of a series besides its readings.
#[derive(Debug, Clone, Copy)]
pub struct SeriesInfo<'a> {
    /// Whose it is.
    pub device: &'a Device,
    /// What it measures.
    pub declaration: &'a MetricDeclaration,
}

impl SeriesInfo<'_> {
    /// The unit's code, if there is one.
    pub fn unit(&self) -> Option<&str> {
        self.declaration.unit.as_deref().filter(|u| !u.is_empty())
    }

    /// What a person calls the metric.
    pub fn label(&self) -> String {
        metric_label(self.declaration)
    }
}

/// What a person calls a metric.
pub fn metric_label(declaration: &MetricDeclaration) -> String {
    match declaration.label.as_deref() {
        Some(label) if !label.trim().is_empty() => label.to_owned(),
        _ => crate::format::humanize(declaration.name.as_str()),
    }
}

/// How many devices are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// All.
    pub total: usize,
    /// Connected and well.
    pub live: usize,
    /// Connected and silent.
    pub stale: usize,
    /// With a reading out of range.
    pub out_of_range: usize,
    /// Not connected.
    pub offline: usize,
}

/// All devices, by id, in the order of their names.
#[derive(Debug, Default)]
pub struct Devices {
    by_id: BTreeMap<DeviceId, Device>,
    series: HashMap<SeriesId, (DeviceId, usize)>,
    revision: u64,
    snapshot: Option<HashSet<DeviceId>>,
    complete: bool,
    listing: Listing,
    tally: Tally,
    /// Whether tally and list are older than what they are made from.
    dirty: bool,
    /// When a state changes by itself.
    next_stale: Option<Timestamp>,
    /// Devices that went offline while this window was told, since they were last asked for.
    gone: Vec<DeviceId>,
    /// Whether there were more than are kept, since that was last asked for.
    left_out: bool,
}

impl Devices {
    /// All devices.
    pub fn iter(&self) -> impl Iterator<Item = &Device> {
        self.by_id.values()
    }

    /// One device.
    pub fn get(&self, id: &DeviceId) -> Option<&Device> {
        self.by_id.get(id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Grows whenever a device appears, goes, or declares something else.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the hub has told all of its devices once.
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// What a series is.
    pub fn series(&self, series: SeriesId) -> Option<SeriesInfo<'_>> {
        let (device, index) = self.series.get(&series)?;
        let device = self.by_id.get(device)?;
        let metric = device.info.metrics.get(*index)?;
        Some(SeriesInfo { device, declaration: &metric.declaration })
    }

    /// The series of a metric of a device.
    pub fn find_series(&self, device: &str, metric: &str) -> Option<SeriesId> {
        let device = self.by_id.get(device)?;
        device.info.metrics.iter().find(|m| m.declaration.name.as_str() == metric).map(|m| m.series)
    }

    /// How many are in which state, as of the last [`Devices::refresh`].
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// What the list is filtered by.
    pub fn filter(&self) -> &str {
        &self.listing.filter
    }

    /// How the list is ordered.
    pub const fn order(&self) -> ListOrder {
        self.listing.order
    }

    /// The rows of the list.
    pub fn rows(&self) -> &[ListRow] {
        &self.listing.rows
    }

    /// How many devices were looked at to make the list, ever.
    pub const fn work(&self) -> u64 {
        self.listing.work
    }

    /// The devices that fit the filter, in the order of the list.
    pub fn listed(&self) -> &[DeviceId] {
        &self.listing.listed
    }

    pub(super) fn set_filter(&mut self, filter: String, now: Timestamp) {
        self.listing.filter = filter;
        self.refresh(now);
    }

    pub(super) fn set_order(&mut self, order: ListOrder) {
        self.listing.order = order;
        self.dirty = true;
    }

    pub(super) fn toggle_group(&mut self, name: String) {
        self.listing.toggle_fold(name);
        self.dirty = true;
    }

    pub(super) fn toggle_expanded(&mut self, id: &DeviceId) {
        if let Some(device) = self.by_id.get_mut(id) {
            device.expanded = !device.expanded;
            self.dirty = true;
        }
    }

    /// Begins to take a snapshot: what is not in it is gone. What was not heard meanwhile is not called silent.
    pub(super) fn begin_snapshot(&mut self, now: Timestamp) {
        self.snapshot = Some(HashSet::new());
        for device in self.by_id.values_mut() {
            device.listening_since = now;
        }
    }

    pub(super) fn update(&mut self, message: DevicesMessage, now: Timestamp) {
        for info in message.devices {
            if self.by_id.len() >= DEVICES_MAX && !self.by_id.contains_key(&info.id) {
                self.left_out = true;
                continue;
            }
            if let Some(seen) = &mut self.snapshot {
                seen.insert(info.id.clone());
            }
            self.upsert(info, now);
        }
        if message.snapshot && !message.more {
            if let Some(seen) = self.snapshot.take() {
                let before = self.by_id.len();
                self.by_id.retain(|id, _| seen.contains(id));
                if self.by_id.len() != before {
                    self.series.retain(|_, (device, _)| self.by_id.contains_key(device));
                    self.revision += 1;
                }
            }
            self.complete = true;
        }
        self.dirty = true;
    }

    fn upsert(&mut self, info: DeviceInfo, now: Timestamp) {
        let known = self.by_id.get(&info.id);
        let changed =
            known.is_none_or(|k| k.info.metrics != info.metrics || k.info.commands != info.commands);
        if changed {
            self.revision += 1;
            if let Some(known) = known {
                for metric in &known.info.metrics {
                    self.series.remove(&metric.series);
                }
            }
            for (index, metric) in info.metrics.iter().enumerate() {
                self.series.insert(metric.series, (info.id.clone(), index));
            }
        }
        match self.by_id.get_mut(&info.id) {
            Some(device) => {
                if self.snapshot.is_none() && device.info.connected && !info.connected {
                    self.gone.push(info.id.clone());
                }
                if !info.connected {
                    device.interval = 0.0;
                }
                // What happened while this window was not told is not known.
                if self.snapshot.is_none()
                    && !device.info.connected
                    && info.connected
                    && let (Some(from), Some(to)) = (device.info.since, info.since)
                {
                    if device.outages.len() == OUTAGES_MAX {
                        device.outages.pop_front();
                    }
                    device.outages.push_back((from, to));
                }
                device.outside.retain(|s| info.metrics.iter().any(|m| m.series == *s));
                device.info = info;
            }
            None => {
                self.by_id.insert(info.id.clone(), Device::new(info, now));
            }
        }
    }

    /// Takes in when a device was away, as the hub remembers it; oldest first.
    pub(super) fn learn_absences(&mut self, id: &DeviceId, absences: Vec<(Timestamp, Timestamp)>) {
        let Some(device) = self.by_id.get_mut(id) else { return };
        let mut all: Vec<(Timestamp, Timestamp)> = device.outages.iter().copied().chain(absences).collect();
        all.sort_unstable();
        let mut apart: VecDeque<(Timestamp, Timestamp)> = VecDeque::new();
        for (from, to) in all {
            match apart.back_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => apart.push_back((from, to)),
            }
        }
        apart.drain(..apart.len().saturating_sub(OUTAGES_MAX));
        device.outages = apart;
    }

    /// Devices that went offline since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<DeviceId> {
        std::mem::take(&mut self.gone)
    }

    /// How many devices are kept, if there were more since the last call.
    pub(super) fn take_left_out(&mut self) -> Option<usize> {
        std::mem::take(&mut self.left_out).then_some(DEVICES_MAX)
    }

    /// How many series all of them have.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Notes that a value of a series has arrived; `live` if it is new and not the snapshot at the start.
    pub(super) fn heard(&mut self, series: SeriesId, number: Option<f64>, live: bool, now: Timestamp) {
        let Some((id, index)) = self.series.get(&series) else { return };
        let Some(device) = self.by_id.get_mut(id) else { return };
        self.listing.has_moved = true;
        if live && device.heard_at != Some(now) {
            device.heard(now);
        }
        if let (Some(n), Some(metric)) = (number, device.info.metrics.get(*index)) {
            let declaration = &metric.declaration;
            let outside =
                declaration.min.is_some_and(|min| n < min) || declaration.max.is_some_and(|max| n > max);
            if outside {
                device.outside.insert(series);
            } else {
                device.outside.remove(&series);
            }
        }
        // A reading alone changes neither tally nor list; what it says of the device may.
        self.dirty |= device.status(now) != device.listed_as;
    }

    /// Whether the latest value of a series is outside the declared range.
    pub fn is_outside(&self, series: SeriesId) -> bool {
        self.series
            .get(&series)
            .and_then(|(id, _)| self.by_id.get(id))
            .is_some_and(|device| device.outside.contains(&series))
    }

    /// Whether the list or the tally has to be made again.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.dirty || self.next_change().is_some_and(|at| at <= now)
    }

    /// When the list changes although nothing arrives.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        [self.next_stale, self.listing.moves_at()].into_iter().flatten().min()
    }

    /// Counts states, filters, groups and sorts anew.
    pub(super) fn refresh(&mut self, now: Timestamp) {
        self.dirty = false;
        let mut tally = Tally { total: self.by_id.len(), ..Tally::default() };
        let mut next: Option<Timestamp> = None;
        for device in self.by_id.values_mut() {
            device.listed_as = device.status(now);
            match device.listed_as {
                Status::Live => tally.live += 1,
                Status::Stale => tally.stale += 1,
                Status::OutOfRange => tally.out_of_range += 1,
                Status::Offline => tally.offline += 1,
            }
            if device.listed_as == Status::Live
                && let Some(at) = device.stale_at()
            {
                next = Some(next.map_or(at, |n| n.min(at)));
            }
        }
        let devices: Vec<(&Device, Status)> = self.by_id.values().map(|d| (d, d.listed_as)).collect();
        self.listing.make(&devices, now);
        self.tally = tally;
        self.next_stale = next;
    }
}
