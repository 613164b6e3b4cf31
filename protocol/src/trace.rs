//! From the sensor to the screen: the times at which a reading went by, for viewers that ask.

use serde::{Deserialize, Serialize};

use crate::name::SeriesId;
use crate::time::Timestamp;

/// The way of one reading, the last of its batch that was subscribed to, by the hub's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Whose reading.
    pub series: SeriesId,
    /// When it was measured: by its device's clock, corrected by how far that one is ahead of the hub's.
    pub measured: Timestamp,
    /// When the last byte of its batch was read.
    pub received: Timestamp,
    /// When it was on disk.
    pub committed: Timestamp,
    /// When the message that brings it was written.
    pub sent: Timestamp,
}

/// What became of traces at the viewer, for the hub's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Painted {
    /// The subscription.
    pub id: u64,
    /// Of each trace the time from `sent` to its arrival, and from there to the end of painting, in microseconds.
    pub waits: Vec<(u32, u32)>,
}
