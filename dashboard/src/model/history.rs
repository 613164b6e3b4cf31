//! Which stretches of the past the commands are known of, and what has to be asked of the hub to know more.
//!
//! While there is a connection, every command that changes is told. What was before, and what happened while there was
//! none, is asked for where the view goes, newest first and a page at a time.

use protocol::Timestamp;
use protocol::viewer::{CommandInfo, CommandsRequest};

use super::commands::{CommandLog, issued_at};

/// Commands in one answer.
pub(super) const PAGE: u32 = protocol::limits::LIST_PAGE as u32;
/// Most commands that are loaded for one view. Chosen: ten for each pixel; more cannot be told apart.
const VIEW_MAX: usize = 5_000;
/// How long before the view a command may have been issued that still goes on in it, in microseconds; at most that.
const LOOK_BACK_MAX_MICROS: i64 = 24 * 3_600_000_000;
/// At least that. Chosen: the usual lifetime of a command and the time it takes.
const LOOK_BACK_MIN_MICROS: i64 = 10 * 60_000_000;
/// How long a connection may have been dead before that was noticed, in microseconds: three heartbeats and some.
const DEAD_MARGIN_MICROS: i64 = 60_000_000;
/// How long nothing is asked after the hub could not answer, in microseconds.
const RETRY_MICROS: i64 = 10_000_000;

/// Times from the first (inclusive) to the second (exclusive), apart and ascending.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Stretches(Vec<(i64, i64)>);

impl Stretches {
    fn add(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        let (mut low, mut high) = (from, to);
        self.0.retain(|&(a, b)| {
            let touches = a <= to && b >= from;
            if touches {
                low = low.min(a);
                high = high.max(b);
            }
            !touches
        });
        let at = self.0.partition_point(|&(a, _)| a < low);
        self.0.insert(at, (low, high));
    }

    fn cut(&mut self, from: i64, to: i64) {
        let mut kept = Vec::with_capacity(self.0.len() + 1);
        for &(a, b) in &self.0 {
            kept.extend([(a, b.min(from)), (a.max(to), b)].into_iter().filter(|(a, b)| a < b));
        }
        self.0 = kept;
    }

    /// The last stretch from `from` to `to` that is not in here.
    fn last_gap(&self, from: i64, to: i64) -> Option<(i64, i64)> {
        let mut to = to;
        for &(a, b) in self.0.iter().rev() {
            if to <= from {
                return None;
            }
            if b < to {
                return Some((b.max(from), to));
            }
            if a < to {
                to = a;
            }
        }
        (from < to).then_some((from, to))
    }
}

/// What is known of the past.
#[derive(Debug, Default)]
pub(super) struct History {
    known: Stretches,
    /// Everything issued since then is told by itself.
    live_from: Option<Timestamp>,
    /// The stretch that is being asked for.
    asked: Option<(i64, i64)>,
    /// Commands issued since then may have changed unnoticed.
    stale_from: Option<Timestamp>,
    /// Not before then.
    retry_at: Option<Timestamp>,
}

impl History {
    /// A connection has begun; the newest page is being asked for.
    pub(super) fn connected(&mut self, log: &CommandLog, now: Timestamp) {
        self.live_from = Some(now);
        self.asked = Some((i64::MIN, now.0));
        self.retry_at = None;
        self.stale_from = log.open().map(issued_at).min();
        if let Some(from) = self.stale_from {
            self.known.cut(from.0, now.0);
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now: Timestamp) {
        if let Some(from) = self.live_from.take() {
            self.known.add(from.0, now.0.saturating_sub(DEAD_MARGIN_MICROS));
        }
        self.asked = None;
    }

    /// What to ask for, if this is looked at.
    pub(super) fn wanted(
        &mut self,
        log: &CommandLog,
        view: (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Option<CommandsRequest> {
        let live_from = self.live_from?;
        if self.asked.is_some() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let (from, to) = view;
        let look_back = to.micros_since(from).clamp(LOOK_BACK_MIN_MICROS, LOOK_BACK_MAX_MICROS);
        let from = from
            .plus_micros(-look_back)
            .0
            .max(log.forgotten_to().map_or(i64::MIN, |t| t.0.saturating_add(1)));
        let stale = self.stale_from.and_then(|stale| self.known.last_gap(stale.0, live_from.0));
        if stale.is_none() {
            self.stale_from = None;
        }
        let is_full = || log.count_between(Timestamp(from), to, VIEW_MAX) >= VIEW_MAX;
        let gap = stale.or_else(|| {
            let gap = self.known.last_gap(from, to.0.saturating_add(1).min(live_from.0))?;
            (!is_full()).then_some(gap)
        })?;
        self.asked = Some(gap);
        Some(CommandsRequest {
            since: Some(Timestamp(gap.0)),
            before: Some(Timestamp(gap.1)),
            limit: Some(PAGE),
            ..CommandsRequest::default()
        })
    }

    /// The answer to what was asked for: all of a stretch, or the newest part of it.
    ///
    /// Returns whether it is the first answer of a connection.
    pub(super) fn answered(&mut self, commands: &[CommandInfo]) -> bool {
        let Some((from, to)) = self.asked.take() else { return false };
        // The oldest may share its microsecond with others that did not fit: it is asked for again.
        match commands.iter().map(issued_at).min() {
            Some(oldest) if oldest.0.saturating_add(1) < to => self.known.add(oldest.0 + 1, to),
            _ => self.known.add(from, to),
        }
        from == i64::MIN
    }

    /// All commands issued in this stretch are known, from elsewhere.
    pub(super) fn learned(&mut self, from: Timestamp, to: Timestamp) {
        self.known.add(from.0, to.0);
    }

    /// Since when every command is known, without a hole up to now; `None` without a connection.
    pub(super) fn known_to(&self) -> Option<Timestamp> {
        let live = self.live_from?;
        let stretch = self.known.0.iter().find(|(a, b)| *a <= live.0 && *b >= live.0);
        Some(stretch.map_or(live, |(a, _)| Timestamp(*a)))
    }

    /// The hub could not answer.
    pub(super) fn failed(&mut self, now: Timestamp) {
        self.asked = None;
        self.retry_at = Some(now.plus_micros(RETRY_MICROS));
    }

    /// Whether a part of what is looked at is still on its way.
    pub(super) const fn is_loading(&self) -> bool {
        self.asked.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_are_cut_and_gaps_are_found_from_the_end() {
        let mut known = Stretches::default();
        assert_eq!(known.last_gap(0, 10), Some((0, 10)));
        known.add(2, 4);
        known.add(6, 8);
        assert_eq!(known.last_gap(0, 10), Some((8, 10)));
        assert_eq!(known.last_gap(0, 8), Some((4, 6)));
        assert_eq!(known.last_gap(3, 4), None);
        assert_eq!(known.last_gap(1, 3), Some((1, 2)));
        known.add(4, 6);
        assert_eq!(known.0, [(2, 8)]);
        known.cut(3, 5);
        assert_eq!(known.0, [(2, 3), (5, 8)]);
        known.add(9, 9);
        assert_eq!(known.last_gap(2, 8), Some((3, 5)));
    }
}
