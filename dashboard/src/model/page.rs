//! What the page of the open device knows besides what every list knows: its connections and its ledger.
//!
//! Both are asked for when the device is opened, after a new connection to the hub, and when the device comes or goes;
//! the ledger also now and then while readings come and the page can be seen.

use protocol::viewer::{Account, ConnectionInfo, ConnectionsRequest, LedgerRequest};
use protocol::{DeviceId, Timestamp};

use super::absences::absences;
use super::{Device, Effect, Model, Request};

/// Most connections that are kept of what a hub says.
const CONNECTIONS_MAX: usize = 1_000;
/// From an answer about the ledger to the next question while readings come, in microseconds. Chosen: the numbers are seen
/// to move, can be read, and cost the hub next to nothing.
const FOLLOW_MICROS: i64 = 5_000_000;

/// Something that is asked of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked<T> {
    /// Not yet: there is no connection.
    No,
    /// The answer is on its way; what was known before stays.
    Loading(Option<T>),
    /// The answer.
    Known(T),
    /// The hub refused, or the connection was lost before the answer; the text says which.
    Failed(String),
}

impl<T> Asked<T> {
    /// What is known, also while something newer is on its way.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(known) | Self::Loading(Some(known)) => Some(known),
            Self::No | Self::Loading(None) | Self::Failed(_) => None,
        }
    }

    /// Begins to ask, unless an answer is on its way already. Returns whether it has to be asked for.
    pub(super) fn ask_once(&mut self) -> bool {
        let is_new = !matches!(self, Self::Loading(_));
        self.ask();
        is_new
    }

    /// No answer will come any more.
    pub(super) fn lose(&mut self) {
        if let Self::Loading(known) = self {
            *self = known.take().map_or(Self::No, Self::Known);
        }
    }

    fn ask(&mut self) {
        *self = match std::mem::replace(self, Self::No) {
            Self::Known(known) | Self::Loading(Some(known)) => Self::Loading(Some(known)),
            Self::No | Self::Loading(None) | Self::Failed(_) => Self::Loading(None),
        };
    }
}

/// Sums over all epochs of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Batches that the device counted.
    pub sent: u64,
    /// Batches on disk.
    pub stored: u64,
    /// Batches that came again and were dropped.
    pub duplicate: u64,
    /// Batches that could never be accepted.
    pub refused: u64,
    /// Batches that the device lost.
    pub skipped: u64,
    /// Batches of which nothing is known.
    pub missing: u64,
    /// Readings of which nothing is known.
    pub readings_missing: u64,
}

impl Sums {
    /// The sums of an account. Whatever the hub says, nothing overflows.
    pub fn of(account: &Account) -> Self {
        let mut sums = Self::default();
        for stream in &account.streams {
            let settled = stream.stored.saturating_add(stream.refused).saturating_add(stream.skipped);
            for (sum, of_stream) in [
                (&mut sums.sent, stream.sent),
                (&mut sums.stored, stream.stored),
                (&mut sums.duplicate, stream.duplicate),
                (&mut sums.refused, stream.refused),
                (&mut sums.skipped, stream.skipped),
                (&mut sums.missing, stream.sent.saturating_sub(settled)),
            ] {
                *sum = sum.saturating_add(of_stream);
            }
        }
        let there = [account.hot, account.sealed, account.conflicts, account.removed, account.damaged];
        let there = there.into_iter().fold(0_u64, u64::saturating_add);
        sums.readings_missing = account.readings.saturating_sub(there);
        sums
    }
}

/// The page of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The device.
    pub device: DeviceId,
    /// Its connections, newest first.
    pub connections: Asked<Vec<ConnectionInfo>>,
    /// Its ledger, and when that was true.
    pub ledger: Asked<(Account, Timestamp)>,
    /// Whether the connections are unfolded.
    pub shows_connections: bool,
    /// Whether the ledger is unfolded.
    pub shows_ledger: bool,
    /// When it came or went last; another time means another connection.
    seen: (bool, Option<Timestamp>),
    /// When the device was last heard as the ledger was asked for; another time means more readings.
    heard: Option<Timestamp>,
}

/// What is folded away on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fold {
    /// The connections.
    Connections,
    /// The ledger.
    Ledger,
}

impl Page {
    fn new(device: DeviceId) -> Self {
        Self {
            device,
            connections: Asked::No,
            ledger: Asked::No,
            shows_connections: false,
            shows_ledger: false,
            seen: (false, None),
            heard: None,
        }
    }

    pub(super) const fn is_asking_connections(&self) -> bool {
        matches!(self.connections, Asked::Loading(_))
    }

    const fn is_loading(&self) -> bool {
        matches!(self.connections, Asked::Loading(_)) || matches!(self.ledger, Asked::Loading(_))
    }

    /// Unfolds something, or folds it.
    pub(super) const fn toggle(&mut self, fold: Fold) {
        match fold {
            Fold::Connections => self.shows_connections = !self.shows_connections,
            Fold::Ledger => self.shows_ledger = !self.shows_ledger,
        }
    }
}

impl Model {
    /// Opens the page of the selected device, or none.
    pub(super) fn open_page(&mut self) -> Vec<Effect> {
        self.page = self.selection.clone().map(Page::new);
        self.ask_page()
    }

    /// Asks for what the open page shows.
    pub(super) fn ask_page(&mut self) -> Vec<Effect> {
        if !self.connection.is_connected() {
            return Vec::new();
        }
        let seen = self.presence_of_page();
        let Some(page) = &mut self.page else { return Vec::new() };
        page.seen = seen;
        page.connections.ask();
        let device = page.device.clone();
        let id = self.request(Request::Connections);
        let mut effects = vec![Effect::Send(ConnectionsRequest { id, device }.into())];
        effects.extend(self.ask_ledger());
        effects
    }

    fn ask_ledger(&mut self) -> Option<Effect> {
        let page = self.page.as_mut()?;
        page.heard = self.devices.get(&page.device).and_then(Device::last_heard);
        page.ledger.ask();
        let device = page.device.clone();
        let id = self.request(Request::Ledger);
        Some(Effect::Send(LedgerRequest { id, device }.into()))
    }

    /// Asks for the ledger again if it is time to.
    pub(super) fn follow_page(&mut self) -> Option<Effect> {
        let now = self.now();
        let is_due = self.page_follows_at().is_some_and(|at| at <= now);
        if is_due { self.ask_ledger() } else { None }
    }

    /// When the ledger that is shown is to be asked for again, by the hub's clock: readings have come since it was.
    pub(super) fn page_follows_at(&self) -> Option<Timestamp> {
        // The life of a command stands where the page was.
        let page = self.page.as_ref().filter(|_| self.detail.is_none() && self.connection.is_connected())?;
        let Asked::Known((_, at)) = &page.ledger else { return None };
        let has_more = self.devices.get(&page.device)?.last_heard() != page.heard;
        let now = self.now();
        // A clock that was set back does not make it wait.
        has_more.then(|| if *at > now { now } else { at.plus_micros(FOLLOW_MICROS) })
    }

    /// Asks again if the device of the page has come or gone.
    pub(super) fn check_page(&mut self) -> Vec<Effect> {
        let seen = self.presence_of_page();
        // While an answer is on its way, nothing more is asked: a device that comes and goes would flood the hub.
        let is_old = self.page.as_ref().is_some_and(|page| page.seen != seen && !page.is_loading());
        if is_old { self.ask_page() } else { Vec::new() }
    }

    fn presence_of_page(&self) -> (bool, Option<Timestamp>) {
        let device = self.page.as_ref().and_then(|page| self.devices.get(&page.device));
        device.map_or((false, None), |d| (d.info.connected, d.info.since))
    }

    pub(super) fn on_connections(
        &mut self,
        id: u64,
        device: &DeviceId,
        mut list: Vec<ConnectionInfo>,
    ) -> Vec<Effect> {
        list.truncate(CONNECTIONS_MAX);
        let asked = self.requests.remove(&id);
        if matches!(asked, Some(Request::Connections | Request::Absences(_) | Request::WireConnections)) {
            self.devices.learn_absences(device, absences(&list));
        }
        if asked == Some(Request::WireConnections) {
            self.on_wire_connections(device, list);
        } else if asked == Some(Request::Connections)
            && let Some(page) = self.page.as_mut().filter(|page| page.device == *device)
        {
            page.connections = Asked::Known(list);
        }
        self.check_page()
    }

    pub(super) fn on_ledger(&mut self, id: u64, account: Account) -> Vec<Effect> {
        let now = self.now();
        if self.requests.remove(&id) == Some(Request::Ledger)
            && let Some(page) = self.page.as_mut().filter(|page| page.device == account.device)
        {
            page.ledger = Asked::Known((account, now));
        }
        self.check_page()
    }

    pub(super) fn on_page_error(&mut self, of: &Request, why: String) {
        let Some(page) = &mut self.page else { return };
        match of {
            Request::Connections => page.connections = Asked::Failed(why),
            _ => page.ledger = Asked::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_over_all_epochs_and_never_overflow() {
        let stream = |sent, stored, skipped| {
            serde_json::json!({"epoch": "e-1", "sent": sent, "stored": stored, "refused": 1, "skipped": skipped,
                "duplicate": 2, "readings": 9, "created_at": 0, "changed_at": 0})
        };
        let account = |streams: Vec<serde_json::Value>| -> Account {
            serde_json::from_value(
                serde_json::json!({"device": "a", "adds_up": false, "readings": 100, "hot": 40,
                "sealed": 50, "conflicts": 3, "removed": 0, "damaged": 1, "streams": streams}),
            )
            .unwrap()
        };
        let sums = Sums::of(&account(vec![stream(10, 8, 0), stream(5, 3, 1)]));
        assert_eq!((sums.sent, sums.stored, sums.duplicate, sums.refused), (15, 11, 4, 2));
        assert_eq!((sums.skipped, sums.missing, sums.readings_missing), (1, 1, 6));
        let huge = Sums::of(&account(vec![stream(u64::MAX, u64::MAX, u64::MAX), stream(u64::MAX, 0, 0)]));
        assert_eq!((huge.sent, huge.missing), (u64::MAX, u64::MAX - 1));
    }
}
