//! The hub's end of one device connection: decides which batches are taken, and what an ack may say (I-1, I-2).
//!
//! Sans-io: the session feeds it what arrived and what the store settled, and does what it answers.
//! It keeps no batch; a batch taken is in the hands of ingest until it is settled or put back.
//!
//! The store checks the same order again in its transaction: a batch is stored only if the last settled batch of its
//! stream is exactly the one named by [`Verdict::Take`] as `after`.

use crate::limits::UNACKED_BATCHES_MAX;
use crate::name::Seq;

/// What to do with a batch that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand it to ingest, to be stored directly after `after`.
    Take {
        /// The batch taken before this one.
        after: Seq,
    },
    /// It is stored or on its way to be; drop it. If it is settled, say the ack again.
    Duplicate,
    /// An earlier batch was refused for now and has not come again yet; drop it, the device will send it again.
    Held,
}

/// The order of batches on one connection.
#[derive(Debug)]
pub struct Inbox {
    settled: Seq,
    taken: Seq,
    in_flight: u32,
    held_at: Option<Seq>,
    acked: Seq,
}

impl Inbox {
    /// Starts after the last settled batch of the stream, which `welcome` named.
    pub const fn new(settled: Seq) -> Self {
        Self { settled, taken: settled, in_flight: 0, held_at: None, acked: settled }
    }

    /// Decides on a batch that arrived.
    pub fn on_batch(&mut self, seq: Seq) -> Verdict {
        if let Some(held_at) = self.held_at {
            if seq > held_at {
                return Verdict::Held;
            }
            if seq == held_at {
                self.held_at = None;
            }
        }
        if seq <= self.taken {
            // The device does not know that this is settled: say so again.
            if seq <= self.settled {
                self.acked = Seq(self.acked.0.min(seq.0.saturating_sub(1)));
            }
            return Verdict::Duplicate;
        }
        let after = self.taken;
        self.taken = seq;
        self.in_flight += 1;
        Verdict::Take { after }
    }

    /// The device gave up every batch up to `seq` that the hub does not have. Returns what to settle in the store:
    /// the batch taken before and the one that the stream moves to; `None` if that is nothing new.
    pub fn on_skip(&mut self, seq: Seq) -> Option<Seq> {
        if self.held_at.is_some_and(|held_at| seq >= held_at) {
            self.held_at = None;
        }
        if seq <= self.taken || self.held_at.is_some() {
            return None;
        }
        let after = self.taken;
        self.taken = seq;
        self.in_flight += 1;
        Some(after)
    }

    /// The store has settled a batch that was taken: it is on disk, or refused for good.
    pub fn on_settled(&mut self, seq: Seq) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.settled = self.settled.max(seq);
    }

    /// A batch that was taken could not be stored now. Returns whether the device must be told with a `refuse`:
    /// only for the first; those in flight behind it fall with it.
    pub fn on_put_back(&mut self, seq: Seq) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        // Those behind the first fail too, because the store sees that their predecessor is missing.
        if seq <= self.settled || self.held_at.is_some() || seq > self.taken {
            return false;
        }
        self.held_at = Some(seq);
        self.taken = Seq(self.settled.0.min(seq.0 - 1));
        true
    }

    /// The ack to send now, if there is one: everything settled since the last.
    pub fn poll_ack(&mut self) -> Option<Seq> {
        if self.settled > self.acked {
            self.acked = self.settled;
            return Some(self.settled);
        }
        None
    }

    /// Whether another batch may be taken. If not, the session stops reading until something is settled.
    pub const fn has_room(&self) -> bool {
        self.in_flight < UNACKED_BATCHES_MAX
    }

    /// Batches in the hands of ingest.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The last settled batch.
    pub const fn settled(&self) -> Seq {
        self.settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_1_an_ack_is_said_only_after_settling_and_once_for_many() {
        let mut inbox = Inbox::new(Seq(4));
        for seq in 5..=7 {
            assert_eq!(inbox.on_batch(Seq(seq)), Verdict::Take { after: Seq(seq - 1) });
        }
        assert_eq!(inbox.poll_ack(), None);
        inbox.on_settled(Seq(5));
        inbox.on_settled(Seq(6));
        assert_eq!(inbox.poll_ack(), Some(Seq(6)));
        assert_eq!(inbox.poll_ack(), None);
        assert_eq!(inbox.in_flight(), 1);
    }

    #[test]
    fn i_2_a_resent_batch_is_not_taken_again_but_acked_again() {
        let mut inbox = Inbox::new(Seq(4));
        assert_eq!(inbox.on_batch(Seq(4)), Verdict::Duplicate);
        assert_eq!(inbox.poll_ack(), Some(Seq(4)));
        assert_eq!(inbox.on_batch(Seq(5)), Verdict::Take { after: Seq(4) });
        assert_eq!(inbox.on_batch(Seq(5)), Verdict::Duplicate);
        assert_eq!(inbox.poll_ack(), None, "5 is not on disk yet");
    }

    #[test]
    fn a_batch_put_back_holds_all_behind_it_until_it_comes_again() {
        let mut inbox = Inbox::new(Seq(0));
        for seq in 1..=3 {
            inbox.on_batch(Seq(seq));
        }
        assert!(inbox.on_put_back(Seq(1)));
        assert!(!inbox.on_put_back(Seq(2)));
        assert!(!inbox.on_put_back(Seq(3)));
        assert_eq!(inbox.in_flight(), 0);
        assert_eq!(inbox.on_batch(Seq(4)), Verdict::Held);
        assert_eq!(inbox.on_batch(Seq(1)), Verdict::Take { after: Seq(0) });
        assert_eq!(inbox.on_batch(Seq(2)), Verdict::Take { after: Seq(1) });
    }

    #[test]
    fn a_skip_moves_the_stream_past_what_is_lost() {
        let mut inbox = Inbox::new(Seq(0));
        inbox.on_batch(Seq(1));
        assert!(inbox.on_put_back(Seq(1)));
        assert_eq!(inbox.on_skip(Seq(5)), Some(Seq(0)));
        assert_eq!(inbox.on_skip(Seq(5)), None);
        assert_eq!(inbox.on_batch(Seq(6)), Verdict::Take { after: Seq(5) });
    }
}
