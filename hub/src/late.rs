//! What of a device's readings came late, and what was lost for good: told to viewers, so that neither looks like
//! silence.
//!
//! Pure: fed with the batches of one session. A reading is late if it was measured before the connection it came on was
//! there: the device had kept it. What a device skips, and what can never be accepted, is lost; when that was measured is
//! not known, so it is told as lying between the readings before and after it.

use protocol::viewer::{LateOrLost, Unpunctual};
use protocol::{Seq, Timestamp};
use store::Row;

/// A reading is late if it is so much older than its connection, in microseconds. Chosen: a device that starts measures
/// before it is welcomed, and its clock may differ a little.
const LATE_MICROS: i64 = 5_000_000;
/// While late readings come, they are told so often, in microseconds.
const TELL_MICROS: i64 = 5_000_000;

/// Watches one session of a device.
#[derive(Debug)]
pub struct Watch {
    connected_at: Timestamp,
    /// The newest reading so far, also of earlier sessions.
    newest: Option<Timestamp>,
    late: Option<LateOrLost>,
    told_at: Timestamp,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Lost {
    after: Seq,
    up_to: Seq,
    from: Timestamp,
}

impl Watch {
    /// Begins with a session. `newest` is the time of the newest reading of the device that is known.
    pub fn new(connected_at: Timestamp, newest: Option<Timestamp>) -> Self {
        Self { connected_at, newest, late: None, told_at: connected_at, lost: None }
    }

    /// A batch is taken that holds these readings. Returns what is to be told now.
    pub fn on_readings(&mut self, rows: &[Row], now: Timestamp) -> Vec<LateOrLost> {
        let mut tell = Vec::new();
        let Some(first) = rows.iter().map(|row| row.at).min() else { return tell };
        tell.extend(self.close_lost(first, now));
        let bound = self.connected_at.plus_micros(-LATE_MICROS);
        let late = || rows.iter().map(|row| row.at).filter(|at| *at < bound);
        if let (Some(from), Some(to)) = (late().min(), late().max()) {
            let known = self.late.get_or_insert(LateOrLost {
                what: Unpunctual::Late,
                from,
                to,
                told_at: now,
                batches: 0,
            });
            known.from = known.from.min(from);
            known.to = known.to.max(to);
            known.told_at = now;
            known.batches += 1;
            if now.micros_since(self.told_at) >= TELL_MICROS {
                self.told_at = now;
                tell.push(known.clone());
            }
        } else {
            tell.extend(self.late.take());
        }
        self.newest = self.newest.max(rows.iter().map(|row| row.at).max());
        tell
    }

    /// Every batch after `after` up to `up_to` is lost.
    pub fn on_lost(&mut self, after: Seq, up_to: Seq) {
        let from = self.newest.unwrap_or(Timestamp(i64::MIN));
        let lost = self.lost.get_or_insert(Lost { after, up_to, from });
        lost.up_to = lost.up_to.max(up_to);
    }

    /// The session is over. Returns what has not been told yet.
    pub fn finish(&mut self, now: Timestamp) -> Vec<LateOrLost> {
        self.close_lost(now, now).into_iter().chain(self.late.take()).collect()
    }

    fn close_lost(&mut self, next: Timestamp, now: Timestamp) -> Option<LateOrLost> {
        let Lost { after, up_to, from } = self.lost.take()?;
        // Of a device that had no reading before, it is not known since when it measured.
        let from = if from == Timestamp(i64::MIN) { next } else { from.min(next) };
        let batches = up_to.0.saturating_sub(after.0);
        Some(LateOrLost { what: Unpunctual::Lost, from, to: next.max(from), told_at: now, batches })
    }
}

#[cfg(test)]
mod tests {
    use protocol::{SeriesId, Value};

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_767_225_600_000_000 + seconds * SECOND)
    }

    fn rows(seconds: impl IntoIterator<Item = i64>) -> Vec<Row> {
        let row = |s| Row { series: SeriesId(1), at: at(s), value: Value::Number(1.0) };
        seconds.into_iter().map(row).collect()
    }

    #[test]
    fn what_was_measured_before_the_connection_is_late_and_told_once_it_has_come() {
        let mut watch = Watch::new(at(100), Some(at(40)));
        assert_eq!(watch.on_readings(&rows(41..60), at(101)), []);
        assert_eq!(watch.on_readings(&rows(60..90), at(102)), []);
        let told = watch.on_readings(&rows([100, 101]), at(103));
        let late =
            LateOrLost { what: Unpunctual::Late, from: at(41), to: at(89), told_at: at(102), batches: 2 };
        assert_eq!(told, [late]);
        assert_eq!(watch.on_readings(&rows([102]), at(104)), []);
        assert_eq!(watch.finish(at(110)), []);
    }

    #[test]
    fn while_late_readings_come_for_long_they_are_told_now_and_then() {
        let mut watch = Watch::new(at(10_000), None);
        let told: Vec<_> = (0..60).flat_map(|i| watch.on_readings(&rows([i]), at(10_000 + i))).collect();
        assert!((8..=12).contains(&told.len()), "{}", told.len());
        assert!(told.iter().all(|late| late.from == at(0)));
        assert_eq!(watch.finish(at(10_060)).first().map(|late| late.to), Some(at(59)));
    }

    #[test]
    fn what_was_skipped_lies_between_the_readings_around_it() {
        let mut watch = Watch::new(at(100), Some(at(40)));
        watch.on_lost(Seq(7), Seq(19));
        // Declared again after the disk was full: it is the same loss.
        watch.on_lost(Seq(7), Seq(19));
        let told = watch.on_readings(&rows([70, 99]), at(101));
        let lost =
            LateOrLost { what: Unpunctual::Lost, from: at(40), to: at(70), told_at: at(101), batches: 12 };
        assert_eq!(told, [lost]);
        watch.on_lost(Seq(20), Seq(21));
        let last = watch.finish(at(130));
        assert_eq!((last[0].what, last[0].from, last[0].to), (Unpunctual::Lost, at(99), at(130)));
        assert_eq!(last[1].what, Unpunctual::Late);
    }
}
