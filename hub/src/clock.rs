//! The hub's clock: the only place that asks the system for the time.

use std::time::{SystemTime, UNIX_EPOCH};

use protocol::Timestamp;

/// The time now, UTC. Before 1970 it is 1970: a clock so wrong must not stop the hub.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
