//! Short notices in a corner: what happened that nobody may be looking at. They go by themselves, and stay in a log.
//!
//! What happens to many things at once is one notice that counts, not a hundred.

use std::collections::VecDeque;

use protocol::Timestamp;

/// Most toasts at once; the oldest goes first. Chosen: what fits beside the charts.
const TOASTS_MAX: usize = 5;
/// How long a notice stays, in microseconds.
const NOTICE_MICROS: i64 = 4_000_000;
/// How long a problem stays, in microseconds: long enough to look up from something else.
const PROBLEM_MICROS: i64 = 10_000_000;

/// Most notices in the log; the oldest goes first.
pub const LOG_MAX: usize = 200;
/// How long after its last member a group of notices takes another one, in microseconds.
const GROUP_MICROS: i64 = 30_000_000;
/// Members of a group that are named.
const NAMED_MAX: usize = 5;

/// Something that happens to many devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// They went offline.
    Offline,
}

impl Group {
    const fn level(self) -> Level {
        match self {
            Self::Offline => Level::Warning,
        }
    }

    fn text(self, first: &str, count: usize) -> String {
        match (self, count) {
            (Self::Offline, 1) => format!("{first} is offline"),
            (Self::Offline, _) => format!("{} devices are offline", crate::format::count(count as u64)),
        }
    }
}

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

/// A notice in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// How much it matters.
    pub level: Level,
    /// What happened.
    pub text: String,
    /// More of it.
    pub detail: Option<String>,
    /// How often it happened in a row.
    pub times: u32,
    /// When it happened last, by this machine's clock.
    pub at: Timestamp,
    /// The toast that shows it, for as long as there is one.
    toast: u64,
}

/// Who is in a group of notices that is still open.
#[derive(Debug)]
struct Open {
    group: Group,
    toast: u64,
    first: String,
    named: Vec<String>,
    count: usize,
    at: Timestamp,
}

/// The notices that are shown now, and those that were.
#[derive(Debug, Default)]
pub struct Toasts {
    list: VecDeque<Toast>,
    log: VecDeque<Entry>,
    open: Option<Open>,
    unread: usize,
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
        if let Some(last) = self.list.iter_mut().find(|t| t.text == text && t.level == level) {
            last.times = last.times.saturating_add(1);
            last.until = until;
            last.detail.clone_from(&detail);
            let toast = last.id;
            if let Some(entry) = self.log.iter_mut().find(|entry| entry.toast == toast) {
                entry.times = entry.times.saturating_add(1);
                (entry.detail, entry.at) = (detail, now);
            }
            return;
        }
        if self.list.len() >= TOASTS_MAX {
            self.list.pop_front();
        }
        self.next += 1;
        if self.log.len() >= LOG_MAX {
            self.log.pop_back();
        }
        let (toast, log_text, log_detail) = (self.next, text.clone(), detail.clone());
        let entry = Entry { level, text: log_text, detail: log_detail, times: 1, at: now, toast };
        self.log.push_front(entry);
        self.unread = (self.unread + 1).min(LOG_MAX);
        self.list.push_back(Toast { id: self.next, level, text, detail, times: 1, until });
    }

    /// Notes that something happened to one of many: those that follow soon are counted in one notice.
    pub fn push_group(&mut self, group: Group, who: &str, now: Timestamp) {
        let is_same = |open: &&mut Open| open.group == group && now.micros_since(open.at) < GROUP_MICROS;
        let Some(open) = self.open.as_mut().filter(is_same) else {
            self.push(group.level(), group.text(who, 1), None, now);
            let (first, named) = (who.to_owned(), vec![who.to_owned()]);
            self.open = Some(Open { group, toast: self.next, first, named, count: 1, at: now });
            return;
        };
        open.count = open.count.saturating_add(1);
        open.at = now;
        if open.named.len() < NAMED_MAX {
            open.named.push(who.to_owned());
        }
        let mut detail = open.named.join(", ");
        if open.count > open.named.len() {
            detail.push_str(&format!(" and {} more", open.count - open.named.len()));
        }
        let (toast, text) = (open.toast, group.text(&open.first, open.count));
        let until = now.plus_micros(PROBLEM_MICROS);
        match self.list.iter_mut().find(|t| t.id == toast) {
            Some(shown) => {
                shown.text.clone_from(&text);
                shown.detail = Some(detail.clone());
                shown.until = until;
            }
            // It was dismissed or has gone: what comes after that is not shown again, but it is in the log.
            None => self.unread = self.unread.max(1),
        }
        if let Some(entry) = self.log.iter_mut().find(|entry| entry.toast == toast) {
            (entry.text, entry.detail, entry.at) = (text, Some(detail), now);
        }
    }

    /// Everything that happened, newest first.
    pub fn log(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.log.iter()
    }

    /// How many notices nobody has looked at in the log.
    pub const fn unread(&self) -> usize {
        self.unread
    }

    /// Somebody has looked at the log.
    pub const fn read(&mut self) {
        self.unread = 0;
    }

    /// Forgets the log.
    pub fn clear_log(&mut self) {
        self.log.clear();
        self.unread = 0;
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

    #[test]
    fn what_happens_to_many_is_one_notice_that_counts() {
        let mut toasts = Toasts::default();
        for n in 0..12 {
            toasts.push_group(Group::Offline, &format!("pump-{n}"), Timestamp(n * 1_000_000));
        }
        let shown: Vec<_> = toasts.iter().map(|t| (t.text.as_str(), t.detail.as_deref())).collect();
        let detail = "pump-0, pump-1, pump-2, pump-3, pump-4 and 7 more";
        assert_eq!(shown, [("12 devices are offline", Some(detail))]);
        assert_eq!((toasts.log().len(), toasts.unread()), (1, 1));
        // Much later it is something new.
        toasts.push_group(Group::Offline, "fan-1", Timestamp(100_000_000));
        let texts: Vec<_> = toasts.log().map(|e| e.text.as_str()).collect();
        assert_eq!(texts, ["fan-1 is offline", "12 devices are offline"]);
    }

    #[test]
    fn the_log_keeps_what_has_gone_and_is_bounded() {
        let mut toasts = Toasts::default();
        for n in 0..1_000 {
            toasts.push(Level::Info, format!("number {n}"), None, Timestamp(n));
        }
        toasts.expire(Timestamp(i64::MAX));
        assert_eq!((toasts.iter().count(), toasts.log().len(), toasts.unread()), (0, LOG_MAX, LOG_MAX));
        assert_eq!(toasts.log().next().unwrap().text, "number 999");
        toasts.read();
        assert_eq!(toasts.unread(), 0);
        for _ in 0..5 {
            toasts.push(Level::Error, "no".into(), None, Timestamp(2_000));
        }
        assert_eq!((toasts.log().next().unwrap().times, toasts.unread()), (5, 1));
    }
}
