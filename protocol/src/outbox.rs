//! The device's end of a stream of batches: keeps each until it is settled, sends it again where needed (I-2).
//!
//! Sans-io: the connection asks [`Outbox::poll`] what to write and tells it what was read; time is an argument, in
//! microseconds of any clock that only runs forward. Bounded in bytes: when full, the oldest batch is given up,
//! counted as lost, and the hub is told with `skip`. Nothing is lost unsaid.

use std::collections::VecDeque;

use crate::device::{Ack, DeviceMessage, HubToDevice, Point, Readings, Refuse, Skip, Welcome};
use crate::limits;
use crate::name::Seq;

/// What has become of everything that was pushed. `pushed = acked + refused + lost + waiting`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxCounts {
    /// Readings pushed.
    pub pushed: u64,
    /// Readings that the hub has acknowledged.
    pub acked: u64,
    /// Readings that the hub refused for good.
    pub refused: u64,
    /// Readings given up because the outbox was full.
    pub lost: u64,
    /// Batches written more than once.
    pub batches_resent: u64,
}

#[derive(Debug)]
struct Entry {
    seq: Seq,
    readings: u64,
    text: String,
    times_sent: u32,
}

/// Batches on their way to the hub.
#[derive(Debug)]
pub struct Outbox {
    /// Not settled, oldest first; those below `expected` are written to the present connection.
    entries: VecDeque<Entry>,
    /// Written and then given up before the hub said what became of them: it may have them.
    ghosts: VecDeque<(Seq, u64)>,
    /// What the hub takes next, once it has read all that is written to the present connection. If that is not among
    /// the entries, it will never come and is told by `skip`: it was given up, or refused for good and the hub went down
    /// before it noted that, or acknowledged and the hub was restored from a backup.
    expected: Seq,
    settled: Seq,
    next_seq: Seq,
    bytes: usize,
    bytes_max: usize,
    window: usize,
    connected: bool,
    paused_until: Option<i64>,
    counts: OutboxCounts,
}

impl Outbox {
    /// Makes an empty outbox for a new epoch that holds at most `bytes_max` bytes of messages.
    pub const fn new(bytes_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            ghosts: VecDeque::new(),
            expected: Seq(1),
            settled: Seq(0),
            next_seq: Seq(1),
            bytes: 0,
            bytes_max,
            window: limits::UNACKED_BATCHES_MAX as usize,
            connected: false,
            paused_until: None,
            counts: OutboxCounts { pushed: 0, acked: 0, refused: 0, lost: 0, batches_resent: 0 },
        }
    }

    /// Takes a batch and gives it its number. Gives up the oldest ones if there is no room.
    pub fn push(&mut self, points: Vec<Point>) -> Seq {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        let readings = points.iter().map(|p| p.values.len() as u64).sum();
        let text = DeviceMessage::Readings(Readings { seq, points }).encode();
        self.counts.pushed += readings;
        self.bytes += text.len();
        self.entries.push_back(Entry { seq, readings, text, times_sent: 0 });
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            self.give_up_oldest();
        }
        seq
    }

    fn give_up_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.text.len();
        let maybe_stored = if self.connected { entry.seq < self.expected } else { entry.times_sent > 0 };
        if maybe_stored {
            self.ghosts.push_back((entry.seq, entry.readings));
        } else {
            self.counts.lost += entry.readings;
        }
    }

    /// The connection is up and the hub said where it is.
    pub fn on_welcome(&mut self, welcome: &Welcome) {
        self.connected = true;
        self.paused_until = None;
        self.window = (welcome.limits.unacked_batches as usize).clamp(1, 65_536);
        self.settle(welcome.acked_seq);
        self.settled = welcome.acked_seq;
        self.expected = welcome.acked_seq.next();
        // What the hub does not have and neither do we.
        for (_, readings) in std::mem::take(&mut self.ghosts) {
            self.counts.lost += readings;
        }
    }

    /// The connection is gone. Everything not settled will be written again on the next one.
    pub fn on_disconnected(&mut self) {
        self.connected = false;
        self.paused_until = None;
    }

    /// Handles an `ack`.
    pub fn on_ack(&mut self, ack: Ack) {
        self.settle(ack.seq);
    }

    /// Handles a `refuse` at `now`.
    pub fn on_refuse(&mut self, refuse: &Refuse, now: i64) {
        if refuse.code.is_retryable() {
            let wait = refuse.retry_after_ms.unwrap_or(1_000).min(3_600_000) as i64 * 1_000;
            self.paused_until = Some(now.saturating_add(wait));
            // What was given up from the refused batch on, the hub does not have.
            while let Some((_, readings)) = self.ghosts.pop_back_if(|(seq, _)| *seq >= refuse.seq) {
                self.counts.lost += readings;
            }
            self.expected = self.expected.min(refuse.seq);
        } else if let Ok(index) = self.entries.binary_search_by_key(&refuse.seq, |e| e.seq) {
            if let Some(entry) = self.entries.remove(index) {
                self.bytes -= entry.text.len();
                self.counts.refused += entry.readings;
            }
        } else if let Some(index) = self.ghosts.iter().position(|(seq, _)| *seq == refuse.seq)
            && let Some((_, readings)) = self.ghosts.remove(index)
        {
            self.counts.refused += readings;
        }
    }

    /// Handles any message of the hub that concerns batches; others are left to the caller.
    pub fn on_message(&mut self, message: &HubToDevice, now: i64) {
        match message {
            HubToDevice::Welcome(welcome) => self.on_welcome(welcome),
            HubToDevice::Ack(ack) => self.on_ack(*ack),
            HubToDevice::Refuse(refuse) => self.on_refuse(refuse, now),
            HubToDevice::Command(_) | HubToDevice::Cancel(_) | HubToDevice::Error(_) => {}
        }
    }

    fn settle(&mut self, through: Seq) {
        self.settled = self.settled.max(through);
        self.expected = self.expected.max(through.next());
        while let Some((_, readings)) = self.ghosts.pop_front_if(|(seq, _)| *seq <= through) {
            self.counts.acked += readings;
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.seq <= through) {
            self.bytes -= entry.text.len();
            self.counts.acked += entry.readings;
        }
    }

    /// The next text to write at `now`, or `None` if there is nothing to write yet.
    pub fn poll(&mut self, now: i64) -> Option<String> {
        if !self.connected || self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        let written = self.entries.partition_point(|e| e.seq < self.expected);
        if self.ghosts.len() + written >= self.window {
            return None;
        }
        let entry = self.entries.get_mut(written)?;
        if entry.seq > self.expected {
            // Only with nothing in flight: a refusal that crosses a skip on the line would be about the wrong batches.
            if self.expected > self.settled.next() {
                return None;
            }
            let skip = Skip { seq: Seq(entry.seq.0 - 1) };
            self.expected = entry.seq;
            return Some(DeviceMessage::Skip(skip).encode());
        }
        self.expected = entry.seq.next();
        entry.times_sent += 1;
        if entry.times_sent > 1 {
            self.counts.batches_resent += 1;
        }
        Some(entry.text.clone())
    }

    /// When [`Outbox::poll`] should be asked again though nothing happened, if ever.
    pub const fn wake_at(&self) -> Option<i64> {
        self.paused_until
    }

    /// Batches not settled yet.
    pub fn waiting(&self) -> usize {
        self.entries.len() + self.ghosts.len()
    }

    /// Readings not settled yet.
    pub const fn waiting_readings(&self) -> u64 {
        self.counts.pushed - self.counts.acked - self.counts.refused - self.counts.lost
    }

    /// Bytes of messages held.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a batch of `bytes` more fits without giving one up.
    pub const fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.bytes_max
    }

    /// What has become of everything so far.
    pub const fn counts(&self) -> OutboxCounts {
        self.counts
    }
}
