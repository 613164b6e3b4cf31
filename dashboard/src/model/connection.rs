//! Where the connection to the hub stands, and the hub's clock.

use std::time::Duration;

use protocol::Timestamp;
use protocol::limits::MAX_HZ;
use protocol::viewer::{Role, ViewerWelcome};

/// Farthest that a hub's clock is believed to be from this machine's: a hundred years, in microseconds.
const OFFSET_MAX_MICROS: i64 = 100 * 366 * 86_400 * 1_000_000;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// An attempt is under way.
    Connecting {
        /// Which attempt in a row, from 1.
        attempt: u32,
    },
    /// The hub has welcomed us.
    Connected,
    /// Waiting for the next attempt.
    Waiting {
        /// Why the last one failed or ended.
        reason: String,
        /// When the next one starts, by this machine's clock.
        retry_at: Timestamp,
    },
    /// No further attempt will be made by itself.
    Stopped {
        /// Why, and what to do.
        reason: String,
    },
}

/// The connection as the window shows it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The hub's address, for people.
    pub address: String,
    /// Where it stands.
    pub link: Link,
    /// Why the last connection, or the last attempt, ended; `None` once there is one again.
    pub why: Option<String>,
    /// The last round trip, while connected.
    pub round_trip: Option<Duration>,
    /// What this viewer may do; `None` before the first welcome.
    pub role: Option<Role>,
    /// When the connection was last lost, by this machine's clock.
    pub lost_at: Option<Timestamp>,
    /// How far the hub's clock is ahead of this machine's, in microseconds.
    pub clock_offset: i64,
    /// Most messages a second that the hub sends for one subscription.
    pub max_hz: f64,
    /// When this connection began, by this machine's clock.
    pub connected_at: Option<Timestamp>,
}

impl Connection {
    /// A connection that has not been tried yet.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            link: Link::Connecting { attempt: 1 },
            why: None,
            round_trip: None,
            role: None,
            lost_at: None,
            clock_offset: 0,
            max_hz: MAX_HZ,
            connected_at: None,
        }
    }

    /// Whether the hub has welcomed us and has not gone since.
    pub fn is_connected(&self) -> bool {
        self.link == Link::Connected
    }

    /// Whether there ever was a connection.
    pub const fn was_connected(&self) -> bool {
        self.role.is_some()
    }

    /// Whether commands may be sent.
    pub fn may_send(&self) -> bool {
        self.is_connected() && self.role == Some(Role::Operator)
    }

    /// Why commands cannot be sent now, if they cannot.
    pub fn why_not_send(&self) -> Option<&'static str> {
        match (self.is_connected(), self.role) {
            (false, _) => Some("Not connected to the hub"),
            (true, Some(Role::Viewer)) => {
                Some("This token may look but not send commands: use an operator token")
            }
            (true, _) => None,
        }
    }

    pub(super) fn connecting(&mut self, attempt: u32) {
        self.link = Link::Connecting { attempt };
        self.round_trip = None;
    }

    pub(super) fn connected(&mut self, welcome: &ViewerWelcome, local: Timestamp) {
        self.link = Link::Connected;
        self.why = None;
        self.role = Some(welcome.role);
        let offset = welcome.server_time.micros_since(local);
        self.clock_offset = offset.clamp(-OFFSET_MAX_MICROS, OFFSET_MAX_MICROS);
        self.max_hz = welcome.limits.max_hz;
        self.connected_at = Some(local);
        self.lost_at = None;
    }

    pub(super) fn disconnected(&mut self, reason: String, retry_in: Option<Duration>, local: Timestamp) {
        if self.is_connected() {
            self.lost_at = Some(local);
        }
        self.round_trip = None;
        self.why = Some(reason.clone());
        self.link = match retry_in {
            Some(wait) => {
                let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
                Link::Waiting { reason, retry_at: local.plus_micros(micros) }
            }
            None => Link::Stopped { reason },
        };
    }
}
