//! What the traffic of a connection would have cost over HTTP with polling, from sizes that were measured.
//!
//! The sizes are those of `cargo xtask bench transports` (`hub/examples/transports/load.rs`, `heads`): HTTP/1.1 between
//! the programs of this project on one machine, with a token, one connection that stays open, no more headers than are
//! needed. A longer name of a host, a proxy or a browser make them larger.

use super::Figures;

/// Bytes of the heads of a post with a message and of its answer.
pub const POST_BYTES: u64 = 338;
/// Bytes of a poll to which there is nothing to say, with its answer.
pub const EMPTY_POLL_BYTES: u64 = 231;
/// How often the device would ask for commands, in seconds. Chosen: what is usual where commands may wait a little.
pub const POLL_SECONDS: u64 = 1;

/// The same traffic over HTTP: every message of the device is a post, whose answer carries what the hub acknowledges; the
/// device asks for commands every [`POLL_SECONDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polling {
    /// Requests: posts and polls.
    pub requests: u64,
    /// Bytes both ways, text of messages among them.
    pub bytes: u64,
    /// Bytes both ways over the WebSocket since its upgrade.
    pub socket_bytes: u64,
}

impl Polling {
    /// What the connection would have cost so far. Whatever the figures say, nothing overflows.
    pub fn of(figures: &Figures) -> Self {
        let seconds = figures.at.micros_since(figures.opened_at).max(0).unsigned_abs() / 1_000_000;
        let polls = seconds / POLL_SECONDS;
        let posts = figures.device.messages;
        let socket_bytes = figures.device.bytes.saturating_add(figures.hub.bytes);
        let heads = figures.device.header_bytes.saturating_add(figures.hub.header_bytes);
        let bytes = socket_bytes
            .saturating_sub(heads)
            .saturating_add(posts.saturating_mul(POST_BYTES))
            .saturating_add(polls.saturating_mul(EMPTY_POLL_BYTES));
        Self { requests: posts.saturating_add(polls), bytes, socket_bytes }
    }

    /// How many times as many bytes it would have been; `None` while there are none.
    pub fn times(&self) -> Option<f64> {
        (self.socket_bytes > 0).then(|| self.bytes as f64 / self.socket_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::wire::Traffic;

    fn figures(seconds: i64, messages: u64) -> Figures {
        let traffic = |bytes, header_bytes| Traffic { bytes, frames: messages, messages, header_bytes };
        Figures {
            session: "s1".into(),
            opened_at: Timestamp(0),
            at: Timestamp(seconds * 1_000_000 + 999_999),
            device: traffic(106 * messages, 6 * messages),
            hub: traffic(24 * messages, 2 * messages),
            round_trip: None,
            clock_ahead: None,
        }
    }

    #[test]
    fn each_message_is_a_post_and_each_second_a_poll() {
        let polling = Polling::of(&figures(10, 5));
        assert_eq!(polling.requests, 15);
        assert_eq!(polling.bytes, 5 * (100 + 22) + 5 * POST_BYTES + 10 * EMPTY_POLL_BYTES);
        assert_eq!(polling.socket_bytes, 5 * 130);
        assert_eq!(Polling::of(&figures(0, 0)).times(), None);
    }

    #[test]
    fn figures_that_cannot_be_overflow_nothing() {
        let mut wild = figures(10, 1);
        wild.device = Traffic { bytes: u64::MAX, frames: 1, messages: u64::MAX, header_bytes: u64::MAX };
        wild.at = Timestamp(i64::MIN);
        wild.opened_at = Timestamp(i64::MAX);
        assert_eq!(Polling::of(&wild).requests, u64::MAX);
    }
}
