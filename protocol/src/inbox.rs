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
    /// Hand it to ingest.
    Take(Ticket),
    /// It is stored or on its way to be; drop it. If it is settled, the next ack says so again.
    Duplicate,
    /// Batches before it are missing: refuse it with `out_of_order`, naming `expected`. The device goes back to there.
    OutOfOrder {
        /// The batch that must come next.
        expected: Seq,
    },
    /// The device has been told to go back already; drop it, it will come again.
    Held,
}

/// A batch in the hands of ingest. It comes back by [`Inbox::on_settled`] or [`Inbox::on_put_back`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The batch after which it is to be stored, directly.
    pub after: Seq,
    /// The batch.
    pub seq: Seq,
    generation: u32,
}

impl Ticket {
    /// Where the device must go back to if this could not be stored: the `seq` of the `refuse`.
    ///
    /// For a batch that is its own number; for a skip the first number that it passes over.
    pub const fn first(&self) -> Seq {
        self.after.next()
    }
}

/// The order of batches on one connection.
///
/// Batches are taken without holes only; a hole is declared by `skip` or it is a mistake. So a batch that could not be
/// stored takes down those in flight behind it, and the stream goes on exactly there.
#[derive(Debug)]
pub struct Inbox {
    settled: Seq,
    taken: Seq,
    acked: Seq,
    in_flight: u32,
    /// The device has been told to go back to the batch after `taken`.
    held: bool,
    /// Counts the times that the stream went back: what was taken before does not go back again.
    generation: u32,
}

impl Inbox {
    /// Starts after the last settled batch of the stream, which `welcome` named.
    pub const fn new(settled: Seq) -> Self {
        Self { settled, taken: settled, acked: settled, in_flight: 0, held: false, generation: 0 }
    }

    /// Decides on a batch that arrived.
    pub fn on_batch(&mut self, seq: Seq) -> Verdict {
        if seq <= self.taken {
            if seq <= self.settled {
                // The device does not know that this is settled: say so again.
                self.acked = Seq(self.acked.0.min(seq.0.saturating_sub(1)));
            }
            return Verdict::Duplicate;
        }
        if seq == self.taken.next() {
            return Verdict::Take(self.take(seq));
        }
        if std::mem::replace(&mut self.held, true) {
            return Verdict::Held;
        }
        Verdict::OutOfOrder { expected: self.taken.next() }
    }

    /// The device gave up every batch up to `seq` that the hub does not have. Returns the ticket with which the store
    /// moves the stream on; `None` if that is nothing new.
    pub fn on_skip(&mut self, seq: Seq) -> Option<Ticket> {
        (seq > self.taken).then(|| self.take(seq))
    }

    fn take(&mut self, seq: Seq) -> Ticket {
        let after = std::mem::replace(&mut self.taken, seq);
        self.held = false;
        self.in_flight += 1;
        Ticket { after, seq, generation: self.generation }
    }

    /// The store has settled a batch that was taken: it is on disk, or refused for good.
    pub fn on_settled(&mut self, ticket: Ticket) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.settled = self.settled.max(ticket.seq);
        self.taken = self.taken.max(self.settled);
    }

    /// A batch that was taken could not be stored now. Returns whether the device must be told with a `refuse`:
    /// only for the first; those in flight behind it fall with it, because the store sees their predecessor missing.
    pub const fn on_put_back(&mut self, ticket: Ticket) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        if ticket.generation != self.generation || ticket.seq.0 <= self.settled.0 {
            return false;
        }
        self.generation = self.generation.wrapping_add(1);
        self.taken = ticket.after;
        self.held = true;
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

    fn take(inbox: &mut Inbox, seq: u64) -> Ticket {
        match inbox.on_batch(Seq(seq)) {
            Verdict::Take(ticket) => ticket,
            other => panic!("{seq}: {other:?}"),
        }
    }

    #[test]
    fn i_1_an_ack_is_said_only_after_settling_and_once_for_many() {
        let mut inbox = Inbox::new(Seq(4));
        let tickets: Vec<Ticket> = (5..=7).map(|seq| take(&mut inbox, seq)).collect();
        assert_eq!(inbox.poll_ack(), None);
        inbox.on_settled(tickets[0]);
        inbox.on_settled(tickets[1]);
        assert_eq!(inbox.poll_ack(), Some(Seq(6)));
        assert_eq!(inbox.poll_ack(), None);
        assert_eq!(inbox.in_flight(), 1);
    }

    #[test]
    fn i_2_a_resent_batch_is_not_taken_again_but_acked_again() {
        let mut inbox = Inbox::new(Seq(4));
        assert_eq!(inbox.on_batch(Seq(4)), Verdict::Duplicate);
        assert_eq!(inbox.poll_ack(), Some(Seq(4)));
        take(&mut inbox, 5);
        assert_eq!(inbox.on_batch(Seq(5)), Verdict::Duplicate);
        assert_eq!(inbox.poll_ack(), None, "5 is not on disk yet");
    }

    #[test]
    fn a_batch_put_back_holds_all_behind_it_until_it_comes_again() {
        let mut inbox = Inbox::new(Seq(0));
        let tickets: Vec<Ticket> = (1..=3).map(|seq| take(&mut inbox, seq)).collect();
        assert!(inbox.on_put_back(tickets[0]));
        assert!(!inbox.on_put_back(tickets[1]));
        assert_eq!(inbox.on_batch(Seq(4)), Verdict::Held);
        let again = take(&mut inbox, 1);
        assert!(!inbox.on_put_back(tickets[2]), "3 was taken before the stream went back");
        assert_eq!(again.after, Seq(0));
        take(&mut inbox, 2);
    }

    #[test]
    fn a_hole_is_refused_once_with_the_number_that_is_expected() {
        let mut inbox = Inbox::new(Seq(9));
        assert_eq!(inbox.on_batch(Seq(12)), Verdict::OutOfOrder { expected: Seq(10) });
        assert_eq!(inbox.on_batch(Seq(13)), Verdict::Held);
        take(&mut inbox, 10);
        assert_eq!(inbox.on_batch(Seq(12)), Verdict::OutOfOrder { expected: Seq(11) });
    }

    #[test]
    fn a_skip_moves_the_stream_past_what_is_lost() {
        let mut inbox = Inbox::new(Seq(0));
        let ticket = take(&mut inbox, 1);
        assert!(inbox.on_put_back(ticket));
        assert_eq!(inbox.on_skip(Seq(5)).map(|t| t.after), Some(Seq(0)));
        assert_eq!(inbox.on_skip(Seq(5)), None);
        assert_eq!(take(&mut inbox, 6).after, Seq(5));
    }
}
