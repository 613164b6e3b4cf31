//! Short notices in a corner: what happened that nobody may be looking at.

use std::collections::VecDeque;

use protocol::Timestamp;

/// Most toasts at once; the oldest goes first. Chosen: what fits beside the charts.
const TOASTS_MAX: usize = 5;
/// How long a notice stays, in microseconds.
const NOTICE_MICROS: i64 = 4_000_000;
/// How long a problem stays, in microseconds: long enough to look up from something else.
const PROBLEM_MICROS: i64 = 10_000_000;

/// How much a toast matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// It worked.
    Success,
    /// It may need a look.
    Warning,
    /// It went wrong.
    Error,
}

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toast {
    /// Names it until it is gone.
    pub id: u64,
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub text: String,
    /// More of it.
    pub detail: Option<String>,
    /// How often it happened in a row.
    pub times: u32,
    until: Timestamp,
}

/// The notices that are shown now.
#[derive(Debug, Default)]
pub struct Toasts {
    list: VecDeque<Toast>,
    next: u64,
}

impl Toasts {
    /// The toasts, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Toast> {
        self.list.iter()
    }

    /// Shows a toast. One with the same text as the newest is counted instead.
    pub fn push(&mut self, level: Level, text: String, detail: Option<String>, now: Timestamp) {
        let stay = if level >= Level::Warning { PROBLEM_MICROS } else { NOTICE_MICROS };
        let until = now.plus_micros(stay);
        if let Some(last) = self.list.back_mut().filter(|t| t.text == text && t.level == level) {
            last.times = last.times.saturating_add(1);
            last.until = until;
            last.detail = detail;
            return;
        }
        if self.list.len() >= TOASTS_MAX {
            self.list.pop_front();
        }
        self.next += 1;
        self.list.push_back(Toast { id: self.next, level, text, detail, times: 1, until });
    }

    /// Removes one.
    pub fn dismiss(&mut self, id: u64) {
        self.list.retain(|t| t.id != id);
    }

    /// Removes those whose time is up.
    pub fn expire(&mut self, now: Timestamp) {
        self.list.retain(|t| t.until > now);
    }

    /// When the next one goes.
    pub fn next_change(&self) -> Option<Timestamp> {
        self.list.iter().map(|t| t.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_notice_again_is_counted_and_not_repeated() {
        let mut toasts = Toasts::default();
        for _ in 0..3 {
            toasts.push(Level::Error, "no".into(), None, Timestamp(0));
        }
        assert_eq!(toasts.iter().map(|t| t.times).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn there_are_never_more_than_fit_and_all_go_by_themselves() {
        let mut toasts = Toasts::default();
        for i in 0..100 {
            toasts.push(Level::Info, i.to_string(), None, Timestamp(0));
        }
        assert_eq!(toasts.iter().count(), TOASTS_MAX);
        let end = toasts.next_change().unwrap();
        toasts.expire(end);
        assert_eq!(toasts.next_change(), None);
    }
}
