//! The memory of what went over the wire of one inspected device: bounded in frames a second, in records and in bytes.
//!
//! Several may watch; each has a cursor of its own. What is too much is counted, and said.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::Timestamp;
use protocol::wire::{Event, Frame, Record};

use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;

/// Records in one message to a viewer.
pub(crate) const TAKE_RECORDS: usize = 500;
/// Bytes of payloads in one message to a viewer, which JSON may make six times as long.
pub(crate) const TAKE_BYTES: usize = 512 * 1024;
/// The stretch of time in which frames are counted, in microseconds.
const TENTH: i64 = 100_000;
/// Bytes of a record beside its payload, about.
const RECORD_BYTES: usize = 200;

/// What was recorded and not yet forgotten.
#[derive(Debug)]
pub struct Recording {
    bounds: Bounds,
    payload_bytes: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Record>,
    /// The place of the first record among all that there were.
    first: u64,
    bytes: usize,
    /// The place up to which somebody has read.
    read: u64,
    left_out: u64,
    tenth: i64,
    /// Frames recorded in this tenth of a second, and of those the notable ones.
    plain: u32,
    notable: u32,
}

/// What a recording is bounded by.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Frames of a tenth of a second.
    frames: u32,
    /// Records that are kept.
    records: usize,
    /// Bytes that they take.
    bytes: usize,
    metrics: Arc<Metrics>,
}

impl Bounds {
    /// As the limits say.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            frames: u32::try_from(limits.get(Limit::InspectFrames)).unwrap_or(u32::MAX),
            records: limits.count(Limit::InspectRecords),
            bytes: limits.count(Limit::InspectBytes),
            metrics,
        }
    }
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy)]
pub struct Cursor {
    next: u64,
    left_out: u64,
}

fn weight(record: &Record) -> usize {
    let payload = match &record.event {
        Event::Frame(frame) => {
            frame.text.as_ref().map_or(0, String::len) + frame.hex.as_ref().map_or(0, String::len)
        }
        Event::Opened(handshake) => handshake.request.len() + handshake.response.len(),
        Event::Ended(_) => 0,
    };
    RECORD_BYTES + payload
}

impl Recording {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, payload_bytes: AtomicUsize::default(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants so much of each payload.
    pub fn wants_payloads_of(&self, bytes: usize) {
        self.payload_bytes.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Bytes that are kept of each payload.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    /// What comes after now.
    pub fn now(&self) -> Cursor {
        let state = self.lock();
        Cursor { next: state.first + state.records.len() as u64, left_out: state.left_out }
    }

    /// Whether a frame that begins now is recorded. If not, it is counted as left out.
    pub fn admits(&self, now: Timestamp, notable: bool) -> bool {
        let state = &mut *self.lock();
        let tenth = now.micros().div_euclid(TENTH);
        if state.tenth != tenth {
            (state.tenth, state.plain, state.notable) = (tenth, 0, 0);
        }
        let count = if notable { &mut state.notable } else { &mut state.plain };
        if *count >= self.bounds.frames {
            state.left_out += 1;
            self.bounds.metrics.reached(Limit::InspectFrames);
            return false;
        }
        *count += 1;
        true
    }

    /// Records a frame that was admitted.
    pub fn frame(&self, session: &str, at: Timestamp, frame: Box<Frame>) {
        self.push(Record { session: session.to_owned(), at, event: Event::Frame(frame) });
    }

    /// Records anything.
    pub fn push(&self, record: Record) {
        let state = &mut *self.lock();
        state.bytes += weight(&record);
        state.records.push_back(record);
        while state.records.len() > self.bounds.records || state.bytes > self.bounds.bytes {
            let is_many = state.records.len() > self.bounds.records;
            let Some(oldest) = state.records.pop_front() else { break };
            // Whoever has read it misses nothing.
            if state.first >= state.read {
                let limit = if is_many { Limit::InspectRecords } else { Limit::InspectBytes };
                self.bounds.metrics.reached(limit);
            }
            state.bytes -= weight(&oldest);
            state.first += 1;
        }
    }

    /// Goes on in another recording: what was recorded here so far comes first there.
    pub fn move_to(&self, other: &Self) {
        let (records, left_out) = {
            let state = &mut *self.lock();
            state.bytes = 0;
            (std::mem::take(&mut state.records), std::mem::take(&mut state.left_out))
        };
        for record in records {
            other.push(record);
        }
        other.lock().left_out += left_out;
    }

    /// Adds to `records` what has come since `cursor`, as much as fits into a message, and moves it on. Returns how many
    /// frames were left out meanwhile.
    pub fn take(&self, cursor: &mut Cursor, records: &mut Vec<Record>) -> u64 {
        let state = &mut *self.lock();
        let mut left_out = state.left_out - cursor.left_out;
        cursor.left_out = state.left_out;
        if cursor.next < state.first {
            left_out += state.first - cursor.next;
            cursor.next = state.first;
        }
        let skip = (cursor.next - state.first) as usize;
        let mut bytes = 0;
        for record in state.records.iter().skip(skip).take(TAKE_RECORDS) {
            bytes += weight(record);
            if bytes > TAKE_BYTES && !records.is_empty() {
                break;
            }
            records.push(record.clone());
            cursor.next += 1;
        }
        state.read = state.read.max(cursor.next);
        left_out
    }
}

#[cfg(test)]
mod tests {
    use protocol::viewer::EndedBy;
    use protocol::wire::Ended;

    use super::*;

    const RECORDS_MAX: usize = 4_096;

    fn recording() -> Recording {
        Recording::new(Bounds::new(&Limits::default(), Arc::default()))
    }

    fn record(n: i64) -> Record {
        let event = Event::Ended(Ended { by: EndedBy::Lost, in_order: false, close: None });
        Record { session: "s1".into(), at: Timestamp(n), event }
    }

    #[test]
    fn whoever_reads_slowly_is_told_how_much_was_missed_and_the_memory_is_bounded() {
        let recording = recording();
        let (mut fast, mut slow) = (recording.now(), recording.now());
        let (mut fast_has, mut slow_has) = (Vec::new(), Vec::new());
        let count = 10 * RECORDS_MAX;
        for n in 0..count {
            recording.push(record(n as i64));
            if n % 100 == 99 {
                assert_eq!(recording.take(&mut fast, &mut fast_has), 0);
            }
        }
        assert_eq!(recording.lock().records.len(), RECORDS_MAX);
        let missed = recording.take(&mut slow, &mut slow_has);
        while slow_has.len() as u64 + missed < count as u64 {
            assert_eq!(recording.take(&mut slow, &mut slow_has), 0);
        }
        assert_eq!(missed, (count - RECORDS_MAX) as u64);
        assert!(fast_has.len() > count * 9 / 10);
        assert!(fast_has.iter().map(|r| r.at).is_sorted() && slow_has.iter().map(|r| r.at).is_sorted());
    }

    #[test]
    fn a_flood_is_thinned_and_counted_and_what_is_notable_has_room_of_its_own() {
        let recording = recording();
        let mut cursor = recording.now();
        let admitted = |notable| (0..1_000).filter(|_| recording.admits(Timestamp(50), notable)).count();
        assert_eq!((admitted(false), admitted(true)), (200, 200));
        assert_eq!(recording.take(&mut cursor, &mut Vec::new()), 1_600);
        assert!(recording.admits(Timestamp(TENTH), false), "the next tenth of a second");
    }

    #[test]
    fn what_was_recorded_of_a_stranger_comes_first_once_it_is_known_whose_it_is() {
        let (stranger, known) = (recording(), recording());
        let mut cursor = known.now();
        stranger.push(record(1));
        stranger.move_to(&known);
        known.push(record(2));
        let mut records = Vec::new();
        known.take(&mut cursor, &mut records);
        assert_eq!(records, [record(1), record(2)]);
    }
}
