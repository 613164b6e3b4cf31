//! What the model is told, and what it asks for in return.

use std::time::Duration;

use protocol::Timestamp;
use protocol::trace::Trace;
use protocol::viewer::{HubToViewer, ViewerMessage, ViewerWelcome};

use super::subscriptions::Subscriptions;

/// What happened outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A connection is being made.
    Connecting {
        /// Which attempt in a row, from 1.
        attempt: u32,
    },
    /// The hub has welcomed us, and the link has asked for our subscriptions again.
    Connected(ViewerWelcome),
    /// A message of the hub.
    Message(HubToViewer),
    /// The way of some readings, which have just been told.
    Traced {
        /// So far.
        traces: Vec<Trace>,
        /// When they arrived, by this machine's clock.
        arrived: Timestamp,
    },
    /// The time that a ping took to the hub and back.
    RoundTrip(Duration),
    /// The connection is gone or could not be made.
    Disconnected {
        /// Why, for a person.
        reason: String,
        /// When the next attempt starts; `None`: only when asked.
        retry_in: Option<Duration>,
    },
    /// There is nothing to connect to or with; the text says what to do.
    Unusable(String),
    /// A message of the hub that could not be read; it was skipped.
    BadMessage(String),
    /// A message of ours that could not be queued.
    NotSent(ViewerMessage),
    /// Settings or layout could not be written.
    NotSaved(String),
}

/// How soon the window shows what has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// At once: a person waits for it, or should know.
    AtOnce,
    /// As soon as a frame may be drawn: it comes at the pace of frames.
    Paced,
    /// With what comes next, or soon.
    Usual,
}

impl Event {
    /// How soon the window should show it.
    pub const fn haste(&self) -> Haste {
        match self {
            Self::Message(HubToViewer::Readings(readings)) if Subscriptions::is_paced(readings.id) => {
                Haste::Paced
            }
            Self::Message(HubToViewer::Readings(_) | HubToViewer::Devices(_) | HubToViewer::Wire(_))
            | Self::RoundTrip(_)
            | Self::Traced { .. } => Haste::Usual,
            _ => Haste::AtOnce,
        }
    }
}

/// What the model asks the world for.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this to the hub.
    Send(ViewerMessage),
    /// Do not wait for the next try.
    ReconnectNow,
    /// Write the settings.
    SaveSettings,
    /// Write the layouts that were saved by name.
    SaveLayouts,
    /// Write the hubs that are remembered.
    SaveHubs,
    /// Put this on the clipboard.
    Copy(String),
}
