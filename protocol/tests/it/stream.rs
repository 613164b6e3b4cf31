//! An outbox and an inbox joined by a line that breaks, with a store that is sometimes full and sometimes forgets.

use std::collections::{BTreeSet, VecDeque};

use protocol::device::{Ack, DeviceMessage, HubToDevice, Point, Refuse, Welcome};
use protocol::inbox::{Inbox, Ticket, Verdict};
use protocol::limits::DeviceLimits;
use protocol::outbox::Outbox;
use protocol::{MetricName, RefuseCode, Seq, Timestamp, Value};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the store has on disk: the order in which batches were committed, each with its number.
#[derive(Default)]
struct Disk {
    batches: Vec<u64>,
    last: u64,
}

fn point(n: u64) -> Vec<Point> {
    let metric = MetricName::new("n").unwrap();
    vec![Point { at: Timestamp(n as i64), values: vec![(metric, Value::Number(n as f64))] }]
}

fn welcome(acked: u64, window: u32) -> HubToDevice {
    HubToDevice::Welcome(Welcome {
        session: "s".into(),
        server_time: Timestamp(0),
        acked_seq: Seq(acked),
        limits: DeviceLimits { unacked_batches: window, ..DeviceLimits::default() },
        heartbeat_seconds: 10,
    })
}

/// Batches handed to ingest and not decided on, and whether each is a skip.
type Ingest = VecDeque<(Ticket, bool)>;

struct Run {
    rng: ChaCha8Rng,
    disk: Disk,
    outbox: Outbox,
    /// The hub's end while connected, and both directions of the line.
    link: Option<(Inbox, VecDeque<String>, VecDeque<HubToDevice>, Ingest)>,
    now: i64,
    next_value: u64,
    window: u32,
    acked_seen: u64,
    /// Whether the device sometimes writes a batch twice.
    stutters: bool,
    /// Whether the hub sometimes refuses a batch for good.
    refuses: bool,
    refused: BTreeSet<u64>,
}

impl Run {
    fn new(seed: u64, bytes_max: usize, stutters: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let window = rng.random_range(1..40);
        Self {
            rng,
            disk: Disk::default(),
            outbox: Outbox::new(bytes_max),
            link: None,
            now: 0,
            next_value: 1,
            window,
            acked_seen: 0,
            stutters,
            refuses: false,
            refused: BTreeSet::new(),
        }
    }

    fn step(&mut self, calm: bool) {
        self.now += 1_000;
        let roll = self.rng.random_range(0..100);
        match roll {
            0..20 if !calm => {
                let seq = self.outbox.push(point(self.next_value));
                assert_eq!(seq.0, self.next_value);
                self.next_value += 1;
            }
            20..22 if !calm && self.link.is_some() => {
                // The line breaks, with what was on it. Ingest finishes what it has, or dies with the hub.
                if let Some((_, _, _, ingest)) = self.link.take()
                    && self.rng.random_bool(0.5)
                {
                    for (ticket, lost) in ingest {
                        self.commit(ticket, lost);
                    }
                }
                self.outbox.on_disconnected();
            }
            _ if self.link.is_none() => {
                let mut down = VecDeque::new();
                down.push_back(welcome(self.disk.last, self.window));
                self.link = Some((Inbox::new(Seq(self.disk.last)), VecDeque::new(), down, VecDeque::new()));
            }
            22..45 => {
                if let Some(text) = self.outbox.poll(self.now)
                    && let Some((_, up, _, _)) = &mut self.link
                {
                    if self.stutters && !calm && self.rng.random_bool(0.05) {
                        up.push_back(text.clone());
                    }
                    up.push_back(text);
                }
            }
            45..65 => self.hub_reads(),
            65..85 => self.ingest_decides(calm),
            _ => self.device_reads(),
        }
    }

    fn hub_reads(&mut self) {
        let Some((inbox, up, down, ingest)) = &mut self.link else { return };
        let Some(text) = up.pop_front() else { return };
        match DeviceMessage::decode(&text).unwrap() {
            DeviceMessage::Readings(batch) => match inbox.on_batch(batch.seq) {
                Verdict::Take(ticket) if self.refuses && self.rng.random_bool(0.1) => {
                    self.refused.insert(batch.seq.0);
                    // As the hub does: told at once, and settled when the store has noted it.
                    down.push_back(HubToDevice::Refuse(Refuse {
                        seq: batch.seq,
                        code: RefuseCode::BadTime,
                        message: "never".into(),
                        retry_after_ms: None,
                    }));
                    ingest.push_back((ticket, true));
                }
                Verdict::Take(ticket) => ingest.push_back((ticket, false)),
                Verdict::OutOfOrder { expected } => down.push_back(HubToDevice::Refuse(Refuse {
                    seq: expected,
                    code: RefuseCode::OutOfOrder,
                    message: "hole".into(),
                    retry_after_ms: Some(0),
                })),
                Verdict::Duplicate | Verdict::Held => {}
            },
            DeviceMessage::Skip(skip) => {
                if let Some(ticket) = inbox.on_skip(skip.seq) {
                    ingest.push_back((ticket, true));
                }
            }
            DeviceMessage::Hello(_) | DeviceMessage::CommandUpdate(_) => unreachable!(),
        }
        if let Some(seq) = inbox.poll_ack() {
            down.push_back(HubToDevice::Ack(Ack { seq }));
        }
    }

    fn commit(&mut self, Ticket { after, seq, .. }: Ticket, lost: bool) -> bool {
        if after.0 != self.disk.last {
            return false;
        }
        if !lost {
            self.disk.batches.push(seq.0);
        }
        self.disk.last = seq.0;
        true
    }

    fn ingest_decides(&mut self, calm: bool) {
        let Some((_, _, _, ingest)) = &mut self.link else { return };
        let Some((ticket, lost)) = ingest.pop_front() else { return };
        let full = !calm && self.rng.random_bool(0.1);
        let stored = !full && self.commit(ticket, lost);
        let Some((inbox, _, down, _)) = &mut self.link else { return };
        if stored {
            inbox.on_settled(ticket);
        } else if inbox.on_put_back(ticket) {
            down.push_back(HubToDevice::Refuse(Refuse {
                seq: ticket.first(),
                code: RefuseCode::StorageFull,
                message: "full".into(),
                retry_after_ms: Some(5),
            }));
        }
        if let Some(seq) = inbox.poll_ack() {
            assert!(seq.0 <= self.disk.last, "I-1: acked {seq} but only {} is on disk", self.disk.last);
            down.push_back(HubToDevice::Ack(Ack { seq }));
        }
    }

    fn device_reads(&mut self) {
        let Some((_, _, down, _)) = &mut self.link else { return };
        let Some(message) = down.pop_front() else { return };
        if let HubToDevice::Ack(ack) = &message {
            self.acked_seen = self.acked_seen.max(ack.seq.0);
        }
        self.outbox.on_message(&message, self.now);
    }

    fn finish(&mut self) {
        for _ in 0..200_000 {
            if self.outbox.waiting() == 0 {
                return;
            }
            self.step(true);
        }
        panic!(
            "not drained: {:?} {:?}",
            self.outbox,
            self.link.as_ref().map(|l| (&l.0, l.1.len(), l.2.len(), &l.3))
        );
    }
}

#[test]
fn i_2_over_a_bad_line_every_batch_is_stored_exactly_once_in_order() {
    for seed in 0..500 {
        let mut run = Run::new(seed, usize::MAX, true);
        for _ in 0..3_000 {
            run.step(false);
        }
        run.finish();
        let expected: Vec<u64> = (1..run.next_value).collect();
        assert_eq!(run.disk.batches, expected, "seed {seed}");
        assert_eq!(run.outbox.counts().acked, run.next_value - 1, "seed {seed}");
        assert_eq!(run.outbox.counts().lost, 0, "seed {seed}");
    }
}

#[test]
fn a_full_outbox_loses_the_oldest_and_says_exactly_how_many() {
    let mut any_lost = false;
    for seed in 0..500 {
        let mut run = Run::new(seed, 1_000, false);
        for _ in 0..3_000 {
            run.step(false);
        }
        run.finish();
        let counts = run.outbox.counts();
        assert_eq!(counts.pushed, counts.acked + counts.lost, "seed {seed}");
        assert_eq!(counts.acked, run.disk.batches.len() as u64, "seed {seed}: {counts:?}");
        assert!(run.disk.batches.is_sorted_by(|a, b| a < b), "seed {seed}");
        any_lost |= counts.lost > 0;
    }
    assert!(any_lost, "the outbox was never full: this test proves nothing");
}

#[test]
fn a_batch_refused_for_good_never_blocks_those_behind_it() {
    for seed in 0..500 {
        let mut run = Run::new(seed, usize::MAX, true);
        run.refuses = true;
        for _ in 0..3_000 {
            run.step(false);
        }
        run.finish();
        let counts = run.outbox.counts();
        assert_eq!(counts.pushed, counts.acked + counts.refused, "seed {seed}: {counts:?}");
        assert!(run.disk.batches.is_sorted_by(|a, b| a < b), "seed {seed}");
        let stored: BTreeSet<u64> = run.disk.batches.iter().copied().collect();
        let missing: Vec<u64> =
            (1..run.next_value).filter(|n| !stored.contains(n) && !run.refused.contains(n)).collect();
        assert_eq!(missing, [0_u64; 0], "seed {seed}: neither stored nor refused");
    }
}

#[test]
fn a_hub_restored_from_a_backup_is_told_what_it_will_not_get_again() {
    for seed in 0..200 {
        let mut run = Run::new(seed, usize::MAX, false);
        for _ in 0..1_000 {
            run.step(false);
        }
        run.finish();
        // The backup holds the first half only, and the device has forgotten what was acknowledged.
        run.link = None;
        run.outbox.on_disconnected();
        run.disk.last /= 2;
        run.disk.batches.retain(|n| *n <= run.disk.last);
        let seq = run.outbox.push(point(run.next_value));
        run.finish();
        assert_eq!(run.disk.batches.last(), Some(&seq.0), "seed {seed}");
    }
}
