//! Where a connection is in its life, the same for devices and viewers: waiting, connecting, greeting, up.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::ending::{ConnectError, Ending};
use crate::heartbeat::Heartbeat;
use crate::line::{Incoming, Line};

/// Time from the upgrade to the hub's welcome.
pub(crate) const WELCOME_DEADLINE: Duration = Duration::from_secs(10);

type Connecting = Pin<Box<dyn Future<Output = Result<Line, ConnectError>> + Send>>;

/// Where the connection is.
pub(crate) enum Link {
    /// There is none; the next attempt starts then, or not by itself.
    Waiting { until: Option<Instant> },
    /// It is being made.
    Connecting(Connecting),
    /// It is open, and the hub has not said welcome yet.
    Greeting { line: Box<Line>, deadline: Instant },
    /// It is up.
    Up { line: Box<Line>, heartbeat: Heartbeat, since: Instant },
}

/// What happens on a link.
pub(crate) enum LinkEvent {
    /// The attempt is over.
    Opened(Result<Box<Line>, ConnectError>),
    /// Something arrived, or the line has ended.
    Arrived(Result<Incoming, Ending>),
}

impl Link {
    /// What happens next on it. Losing the future loses nothing.
    pub(crate) async fn next(&mut self) -> LinkEvent {
        match self {
            Self::Waiting { .. } => std::future::pending().await,
            Self::Connecting(attempt) => LinkEvent::Opened(attempt.await.map(Box::new)),
            Self::Greeting { line, .. } | Self::Up { line, .. } => LinkEvent::Arrived(line.next().await),
        }
    }

    /// Whether the hub has said welcome.
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// Whether nothing will happen by itself any more.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self, Self::Waiting { until: None })
    }

    /// The open line of a greeting that the hub has just answered becomes the line of a link that is up.
    pub(crate) fn welcome(&mut self, heartbeat: Heartbeat, now: Instant) {
        *self = match std::mem::replace(self, Self::Waiting { until: None }) {
            Self::Greeting { line, .. } => Self::Up { line, heartbeat, since: now },
            other @ (Self::Waiting { .. } | Self::Connecting(_) | Self::Up { .. }) => other,
        };
    }

    /// When time alone changes something here.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until } => *until,
            Self::Connecting(_) => None,
            Self::Greeting { deadline, .. } => Some(*deadline),
            Self::Up { heartbeat, .. } => Some(heartbeat.wake_at()),
        }
    }
}
