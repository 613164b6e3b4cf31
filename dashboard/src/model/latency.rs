//! How long readings take from the sensor to the screen, stage by stage, of the last one to two minutes.
//!
//! The hub traces some readings (`protocol::trace`); here is added when they arrived and when they were painted. The hub's
//! clock is not ours: the message that took the shortest time shows how far they are apart, and is taken to have travelled
//! for half of the shortest round trip.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use protocol::trace::Trace;
use protocol::{DeviceId, SeriesId, Timestamp};

/// After this the older half of what is remembered is forgotten, in microseconds.
const WINDOW_MICROS: i64 = 60_000_000;
/// Figures are made anew so often, in microseconds: numbers that change faster cannot be read.
const FIGURES_MICROS: i64 = 1_000_000;
/// What was painted is told to the hub so often, in microseconds.
const TELL_MICROS: i64 = 5_000_000;
/// The longest wait that is told apart, in microseconds: an hour.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// Devices that are remembered: those traced last. Each takes some 2 kB.
const DEVICES_MAX: usize = 512;
/// Traces that wait to be painted. A window that is never painted needs no more.
const WAITING_MAX: usize = 4_096;

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the measurement to the hub.
    Way,
    /// From there until it is on disk.
    Stored,
    /// From there until the message that brings it is written.
    Told,
    /// From there until it is here.
    Travelled,
    /// From there until the frame is painted.
    Painted,
}

impl Stage {
    /// All, in their order.
    pub const ALL: [Self; 5] = [Self::Way, Self::Stored, Self::Told, Self::Travelled, Self::Painted];

    /// What it is called.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Way => "Sensor to hub",
            Self::Stored => "On disk",
            Self::Told => "Sent",
            Self::Travelled => "Arrived here",
            Self::Painted => "Painted",
        }
    }

    /// What it is.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Way => {
                "From measuring the last reading of a batch to the arrival of the batch: the wait in the device, and the network. \
                 The device's clock is corrected; what is wrong with that is the shortest way of the last minutes."
            }
            Self::Stored => "From the last byte of the batch to the end of the commit, with its fsync.",
            Self::Told => {
                "Until the hub writes the message that brings it: at most one period of the frame rate in the settings."
            }
            Self::Travelled => "On the way from the hub to this window.",
            Self::Painted => "Until the frame that shows it is handed to the screen.",
        }
    }
}

/// Stages and their sum.
const PARTS: usize = Stage::ALL.len() + 1;

/// How long a reading took, in microseconds: each stage, and all of them.
type Times = [u64; PARTS];

/// What is known of a set of traces.
#[derive(Debug, Clone)]
struct Tally {
    parts: [Histogram<u32>; PARTS],
}

impl Tally {
    fn new() -> Option<Self> {
        let empty = Histogram::new_with_bounds(1, LONGEST_MICROS, 2).ok()?;
        Some(Self { parts: std::array::from_fn(|_| empty.clone()) })
    }

    fn note(&mut self, times: &Times) {
        for (part, micros) in self.parts.iter_mut().zip(times) {
            part.saturating_record((*micros).max(1));
        }
    }

    fn count(&self) -> u64 {
        self.parts[PARTS - 1].len()
    }

    fn clear(&mut self) {
        for part in &mut self.parts {
            part.reset();
        }
    }

    fn figure(&self, part: usize) -> Figure {
        Figure::of(&self.parts[part])
    }
}

/// The place of an edge between columns, in microseconds; edge 0 is the left one of the first column.
fn edge(i: usize) -> u64 {
    10_f64.powf(1.0 + i as f64 / COLUMNS_PER_DECADE as f64) as u64
}

/// What is known of the traces of one device: small, as there are many devices. All stages together are told apart by one
/// digit, and of each stage its sum is known.
#[derive(Debug, Clone)]
struct Brief {
    whole: Histogram<u16>,
    sums: [u64; PARTS - 1],
}

impl Brief {
    fn new() -> Option<Self> {
        let whole = Histogram::new_with_bounds(1, LONGEST_MICROS, 1).ok()?;
        Some(Self { whole, sums: [0; PARTS - 1] })
    }

    fn note(&mut self, times: &Times) {
        self.whole.saturating_record(times[PARTS - 1].max(1));
        for (sum, micros) in self.sums.iter_mut().zip(times) {
            *sum = sum.saturating_add(*micros);
        }
    }

    fn clear(&mut self) {
        self.whole.reset();
        self.sums = [0; PARTS - 1];
    }
}

/// Columns of a drawn histogram: four to a decade, from 10 µs to 10 s.
pub const COLUMNS: usize = 24;
/// Columns to a decade.
pub const COLUMNS_PER_DECADE: usize = 4;

/// A stage, or all of them, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Half are faster.
    pub p50: Duration,
    /// One in a hundred is slower.
    pub p99: Duration,
    /// The slowest.
    pub most: Duration,
    /// How many there are in each column, logarithmic from 10 µs; what is faster is in the first one, what is slower in the
    /// last.
    pub counts: [u64; COLUMNS],
}

impl Figure {
    fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        let edges: [u64; COLUMNS - 1] = std::array::from_fn(|i| edge(i + 1));
        let mut counts = [0; COLUMNS];
        // What is not told apart is counted once, in the column of its middle.
        for found in histogram.iter_recorded() {
            let micros = histogram.median_equivalent(found.value_iterated_to());
            let column = edges.partition_point(|edge| *edge <= micros);
            counts[column] += found.count_at_value().as_u64();
        }
        Self { p50: at(0.5), p99: at(0.99), most: Duration::from_micros(histogram.max()), counts }
    }

    /// The edges of the fullest column: between these most of them are. `None`: there are none at all.
    pub fn fullest(&self) -> Option<(Duration, Duration)> {
        let place = (0..COLUMNS).rev().max_by_key(|i| self.counts[*i]).filter(|i| self.counts[*i] > 0)?;
        let low = if place == 0 { 0 } else { edge(place) };
        Some((Duration::from_micros(low), Duration::from_micros(edge(place + 1))))
    }
}

/// A device in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFigure {
    /// The device.
    pub device: DeviceId,
    /// Its traces.
    pub count: u64,
    /// From the sensor to the screen.
    pub whole: Figure,
    /// What each stage takes on average, in their order.
    pub stages: [Duration; PARTS - 1],
}

/// All of it in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Traces.
    pub count: u64,
    /// When the last one was painted, by this machine's clock.
    pub last: Timestamp,
    /// From the sensor to the screen.
    pub whole: Figure,
    /// Each stage, in their order.
    pub stages: [Figure; PARTS - 1],
    /// Devices, the slowest (by its p99) first.
    pub devices: Vec<DeviceFigure>,
}

/// Two spans of time, so that what is older than two minutes is forgotten.
#[derive(Debug)]
struct Recent {
    now: Tally,
    before: Tally,
}

impl Recent {
    fn new() -> Option<Self> {
        Some(Self { now: Tally::new()?, before: Tally::new()? })
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
    }

    fn count(&self) -> u64 {
        self.now.count() + self.before.count()
    }

    fn both(&self) -> Tally {
        let mut both = self.now.clone();
        for (part, before) in both.parts.iter_mut().zip(&self.before.parts) {
            let added = part.add(before);
            debug_assert!(added.is_ok(), "they have the same bounds");
        }
        both
    }
}

#[derive(Debug)]
struct OfDevice {
    now: Brief,
    before: Brief,
    traced_at: Timestamp,
}

impl OfDevice {
    fn new() -> Option<Self> {
        Some(Self { now: Brief::new()?, before: Brief::new()?, traced_at: Timestamp(0) })
    }

    fn note(&mut self, times: &Times, at: Timestamp) {
        self.now.note(times);
        self.traced_at = at;
    }

    fn turn(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
    }

    fn count(&self) -> u64 {
        self.now.whole.len() + self.before.whole.len()
    }

    fn figure(&self, device: &DeviceId) -> DeviceFigure {
        let mut whole = self.now.whole.clone();
        let added = whole.add(&self.before.whole);
        debug_assert!(added.is_ok(), "they have the same bounds");
        let count = self.count();
        let stages = std::array::from_fn(|stage| {
            let sum = self.now.sums[stage].saturating_add(self.before.sums[stage]);
            Duration::from_micros(sum / count.max(1))
        });
        DeviceFigure { device: device.clone(), count, whole: Figure::of(&whole), stages }
    }
}

/// How far the hub's clock and ours are apart: the least of what messages took, of the last one to two minutes.
#[derive(Debug, Default)]
struct Apart {
    least: Option<i64>,
    before: Option<i64>,
    round_trip: Option<i64>,
}

impl Apart {
    /// Returns how long the message travelled.
    fn travelled(&mut self, sent: Timestamp, arrived: Timestamp) -> i64 {
        let took = arrived.micros_since(sent);
        self.least = Some(self.least.map_or(took, |least| least.min(took)));
        let least = self.before.map_or(took, |before| before.min(took)).min(self.least.unwrap_or(took));
        took.saturating_sub(least).saturating_add(self.round_trip.unwrap_or(0) / 2)
    }
}

/// A trace that has arrived and is not painted yet.
#[derive(Debug)]
struct Waiting {
    device: DeviceId,
    /// All stages but the last.
    times: [u64; PARTS - 2],
    arrived: Timestamp,
}

/// How long readings take.
#[derive(Debug, Default)]
pub struct Latency {
    apart: Apart,
    waiting: Vec<Waiting>,
    all: Option<Recent>,
    devices: HashMap<DeviceId, OfDevice>,
    since: Timestamp,
    /// Something was painted since the figures were made.
    is_new: bool,
    figured_at: Timestamp,
    figures: Option<Figures>,
    /// What the hub has not been told.
    untold: Vec<(u32, u32)>,
    told_at: Timestamp,
}

impl Latency {
    /// The figures; `None` before the first trace was painted.
    pub const fn figures(&self) -> Option<&Figures> {
        self.figures.as_ref()
    }

    /// Begins anew: with another connection everything may be different.
    pub(super) fn connected(&mut self) {
        self.apart = Apart::default();
        self.waiting.clear();
        self.untold.clear();
    }

    /// Measures anew; what is known of the clocks stays.
    pub fn forget(&mut self) {
        *self = Self { apart: std::mem::take(&mut self.apart), ..Self::default() };
    }

    /// A ping took so long to the hub and back.
    pub(super) fn round_trip(&mut self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.apart.round_trip = Some(self.apart.round_trip.map_or(micros, |least| least.min(micros)));
    }

    /// Traces arrived at this time of this machine's clock. `device` says whose a series is.
    pub(super) fn arrived(
        &mut self,
        traces: &[Trace],
        at: Timestamp,
        device: impl Fn(SeriesId) -> Option<DeviceId>,
    ) {
        for trace in traces {
            let travelled = self.apart.travelled(trace.sent, at);
            let Some(device) = device(trace.series) else { continue };
            if self.waiting.len() < WAITING_MAX {
                let micros = |n: i64| u64::try_from(n).unwrap_or(0);
                let between = |from: Timestamp, to: Timestamp| micros(to.micros_since(from));
                let times = [
                    between(trace.measured, trace.received),
                    between(trace.received, trace.committed),
                    between(trace.committed, trace.sent),
                    micros(travelled),
                ];
                self.waiting.push(Waiting { device, times, arrived: at });
            }
        }
    }

    /// Everything that has arrived was painted at this time of this machine's clock.
    pub fn painted(&mut self, at: Timestamp) {
        if self.waiting.is_empty() {
            return;
        }
        if !(0..WINDOW_MICROS).contains(&at.micros_since(self.since)) {
            self.turn(at);
        }
        for Waiting { device, times: [way, stored, told, travelled], arrived } in self.waiting.drain(..) {
            let painted = u64::try_from(at.micros_since(arrived)).unwrap_or(0);
            let whole = [way, stored, told, travelled, painted].into_iter().fold(0, u64::saturating_add);
            let times = [way, stored, told, travelled, painted, whole];
            if let Some(all) = self.all.as_mut() {
                all.now.note(&times);
            } else {
                self.all = Recent::new();
                if let Some(all) = self.all.as_mut() {
                    all.now.note(&times);
                }
            }
            if let Some(known) = self.devices.get_mut(&device) {
                known.note(&times, at);
            } else if self.devices.len() < DEVICES_MAX
                && let Some(mut known) = OfDevice::new()
            {
                known.note(&times, at);
                self.devices.insert(device, known);
            }
            if self.untold.len() < protocol::limits::PAINTED_MAX {
                let short = |micros| u32::try_from(micros).unwrap_or(u32::MAX);
                self.untold.push((short(travelled), short(painted)));
            }
        }
        self.is_new = true;
    }

    /// Forgets the older half.
    fn turn(&mut self, at: Timestamp) {
        self.since = at;
        self.apart.before = self.apart.least.take();
        if let Some(all) = &mut self.all {
            all.turn();
        }
        self.devices.retain(|_, device| {
            device.turn();
            device.count() > 0
        });
    }

    /// Makes the figures anew if it is time to.
    pub(super) fn refresh(&mut self, now: Timestamp) {
        let since = now.micros_since(self.figured_at);
        if !self.is_new || (self.figures.is_some() && (0..FIGURES_MICROS).contains(&since)) {
            return;
        }
        (self.is_new, self.figured_at) = (false, now);
        let Some(all) = &self.all else { return };
        let parts = |tally: &Tally| {
            (tally.figure(PARTS - 1), std::array::from_fn::<_, { PARTS - 1 }, _>(|part| tally.figure(part)))
        };
        let (whole, stages) = parts(&all.both());
        let mut devices: Vec<DeviceFigure> =
            self.devices.iter().map(|(device, known)| known.figure(device)).collect();
        devices.sort_by(|a, b| (b.whole.p99, &a.device).cmp(&(a.whole.p99, &b.device)));
        let last = self.devices.values().map(|device| device.traced_at).max().unwrap_or(now);
        self.figures = Some(Figures { count: all.count(), last, whole, stages, devices });
    }

    /// What the hub is to be told now, for its metrics.
    pub(super) fn told(&mut self, now: Timestamp) -> Option<Vec<(u32, u32)>> {
        let is_due = !(0..TELL_MICROS).contains(&now.micros_since(self.told_at));
        if self.untold.is_empty() || !is_due {
            return None;
        }
        self.told_at = now;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp(1_767_225_600_000_000 + micros)
    }

    /// Measured at `start` by the hub's clock, which is an hour ahead of ours.
    fn trace(start: i64, [way, stored, told]: [i64; 3]) -> Trace {
        let hub = 3_600_000_000 + start;
        Trace {
            series: SeriesId(1),
            measured: at(hub),
            received: at(hub + way),
            committed: at(hub + way + stored),
            sent: at(hub + way + stored + told),
        }
    }

    fn pump(_: SeriesId) -> Option<DeviceId> {
        DeviceId::new("pump").ok()
    }

    #[test]
    fn the_stages_add_up_although_the_clocks_are_an_hour_apart() {
        let mut latency = Latency::default();
        latency.round_trip(Duration::from_micros(600));
        // Both messages travel; the second takes 2 ms longer, on top of half a round trip.
        for (start, travelled, painted) in [(0, 300, 4_000), (1_000_000, 2_300, 9_000)] {
            let sent = start + 1_000 + 3_000 + 10_000;
            let arrived = at(sent + travelled);
            latency.arrived(&[trace(start, [1_000, 3_000, 10_000])], arrived, pump);
            latency.painted(arrived.plus_micros(painted));
        }
        latency.refresh(at(2_000_000));
        let figures = latency.figures().unwrap();
        assert_eq!(figures.count, 2);
        let near = |found: Duration, micros: u64| {
            let found = found.as_micros() as u64;
            assert!(found.abs_diff(micros) * 100 <= micros, "{found} and {micros}");
        };
        let [way, stored, told, travelled, painted] = &figures.stages;
        for (stage, micros) in [(way, 1_000), (stored, 3_000), (told, 10_000)] {
            near(stage.p50, micros);
            near(stage.most, micros);
        }
        near(travelled.p50, 300);
        near(travelled.most, 2_300);
        near(painted.p50, 4_000);
        near(painted.most, 9_000);
        near(figures.whole.p50, 18_300);
        near(figures.whole.most, 25_300);
        let [device] = &figures.devices[..] else { panic!("{:?}", figures.devices) };
        let averages = [1_000, 3_000, 10_000, 1_300, 6_500].map(Duration::from_micros);
        assert_eq!((device.count, device.stages), (2, averages));
        assert_eq!(device.whole.counts, figures.whole.counts, "the same histogram by device");
        let (low, high) = device.whole.fullest().unwrap();
        assert_eq!((low.as_micros(), high.as_micros()), (17_782, 31_622));
        assert_eq!(figures.whole.counts.iter().sum::<u64>(), 2);
        let told = latency.told(at(2_000_000)).unwrap();
        assert_eq!(told, [(300, 4_000), (2_300, 9_000)]);
        assert_eq!(latency.told(at(9_000_000)), None);
    }

    #[test]
    fn every_time_stands_in_a_column() {
        let mut brief = Brief::new().unwrap();
        let times = [0, 1, 9, 10, 17, 999, 1_000, 1_001, 9_999_999, 10_000_000, 60_000_000, u64::MAX];
        for whole in times {
            brief.note(&[0, 0, 0, 0, 0, whole]);
        }
        let figure = Figure::of(&brief.whole);
        assert_eq!(figure.counts.iter().sum::<u64>() as usize, times.len(), "{:?}", figure.counts);
        assert!(figure.counts[COLUMNS - 1] >= 3, "{:?}", figure.counts);
        assert_eq!(Figure::of(&Brief::new().unwrap().whole).fullest(), None);
    }

    #[test]
    fn what_is_older_than_two_minutes_is_forgotten() {
        let mut latency = Latency::default();
        for second in 0..300 {
            let start = second * 1_000_000;
            // Slow at first, fast later.
            let way = if second < 100 { 500_000 } else { 1_000 };
            latency.arrived(&[trace(start, [way, 0, 0])], at(start + way), pump);
            latency.painted(at(start + way));
        }
        latency.refresh(at(300_000_000));
        let figures = latency.figures().unwrap();
        assert!((60..=120).contains(&figures.count), "{}", figures.count);
        assert!(figures.whole.most < Duration::from_millis(2), "{:?}", figures.whole);
    }

    #[test]
    fn nothing_grows_without_bound_while_nothing_is_painted() {
        let mut latency = Latency::default();
        for start in 0..20_000 {
            let device = |_| DeviceId::new(&format!("d-{start}")).ok();
            latency.arrived(&[trace(start, [1, 1, 1])], at(start), device);
        }
        assert_eq!(latency.waiting.len(), WAITING_MAX);
        latency.painted(at(30_000));
        assert_eq!(latency.devices.len(), DEVICES_MAX);
        for device in latency.devices.values() {
            let counts = device.now.whole.distinct_values() + device.before.whole.distinct_values();
            assert!(counts * size_of::<u16>() + size_of::<OfDevice>() < 2_500, "{counts} counts of a device");
        }
        assert_eq!(latency.untold.len(), protocol::limits::PAINTED_MAX);
    }
}
