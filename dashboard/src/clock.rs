//! The only place that reads this machine's clock.

use protocol::Timestamp;

/// The time now.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
