//! A viewer's connection that stays up: what arrives goes to one bounded channel, what is asked goes through a handle.
//!
//! Subscriptions outlive the connection: they are asked for again with the position reached, so that nothing is missed,
//! and nothing doubled but what came in parts of which the last did not. Requests do not: one that has no connection, or loses it before its answer, is answered with an `error`
//! of the hub's form, so that whoever asked always gets an answer.
//!
//! A connection that the hub refuses for good (a bad token) is not tried again before
//! [`ViewerHandle::reconnect_now`]: a person sits there, and has to do something first.

mod requests;
mod subscriptions;
mod task;

use std::sync::Arc;
use std::time::Duration;

use protocol::viewer::{HubToViewer, ViewerMessage, ViewerWelcome};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::backoff::BackoffConfig;
use crate::connect::CONNECT_DEADLINE;
use crate::endpoint::Endpoint;

/// Messages between the handle and the task. When full, [`ViewerHandle::try_send`] gives the message back.
const MESSAGES: usize = 256;

/// What a viewer's connection needs to know.
#[derive(Debug, Clone)]
pub struct ViewerConfig {
    /// The hub and the token.
    pub endpoint: Endpoint,
    /// The waits between attempts.
    pub backoff: BackoffConfig,
    /// Time for dialling and upgrading.
    pub connect_deadline: Duration,
}

impl ViewerConfig {
    /// The usual settings for an endpoint.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, backoff: BackoffConfig::default(), connect_deadline: CONNECT_DEADLINE }
    }
}

/// What happens on a viewer's connection.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewerEvent {
    /// A connection is being made; the first attempt after a success or at the start is 1.
    Connecting {
        /// Which attempt in a row.
        attempt: u32,
    },
    /// The hub has welcomed us. Subscriptions have been asked for again.
    Connected(ViewerWelcome),
    /// A message of the hub, or an `error` that this client gives in its place.
    Message(HubToViewer),
    /// The time that a ping took to the hub and back.
    RoundTrip(Duration),
    /// The connection is gone or could not be made.
    Disconnected {
        /// Why, for a person.
        reason: String,
        /// When the next attempt starts; `None`: not before [`ViewerHandle::reconnect_now`].
        retry_in: Option<Duration>,
    },
    /// A message of the hub that could not be read; it was skipped.
    BadMessage(String),
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The queue to the connection is full. The message comes back.
    #[error("too many messages wait for the hub")]
    Full(Box<ViewerMessage>),
    /// The client was closed.
    #[error("the connection was closed")]
    Closed,
}

/// Runs a viewer's connection.
#[derive(Debug)]
pub struct ViewerClient;

impl ViewerClient {
    /// Starts the connection's task on the present runtime and returns at once.
    ///
    /// When `events` is full, nothing more is read from the hub until there is room; the hub then conflates what it has
    /// to say, and says so. When the receiver of `events` is gone, the connection is closed.
    pub fn spawn(config: ViewerConfig, events: mpsc::Sender<ViewerEvent>) -> ViewerHandle {
        let (messages, messages_rx) = mpsc::channel(MESSAGES);
        let handle = ViewerHandle {
            messages,
            reconnect: Arc::new(Notify::new()),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        };
        let task = task::Task::new(
            config,
            messages_rx,
            events,
            Arc::clone(&handle.reconnect),
            handle.stop.clone(),
            handle.stopped.clone(),
        );
        tokio::spawn(task.run());
        handle
    }
}

/// Asks things of a viewer's connection. When all handles are gone, the connection is closed.
#[derive(Debug, Clone)]
pub struct ViewerHandle {
    messages: mpsc::Sender<ViewerMessage>,
    reconnect: Arc<Notify>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl ViewerHandle {
    /// Hands a message to the connection. Never blocks.
    ///
    /// `subscribe` and `unsubscribe` are remembered and hold without a connection too. A request needs one: without,
    /// it is answered at once with an `error` message that repeats its id.
    pub fn try_send(&self, message: ViewerMessage) -> Result<(), SendError> {
        self.messages.try_send(message).map_err(|e| match e {
            mpsc::error::TrySendError::Full(message) => SendError::Full(Box::new(message)),
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
        })
    }

    /// Cuts a wait for the next attempt short. Does nothing while connected.
    pub fn reconnect_now(&self) {
        self.reconnect.notify_one();
    }

    /// Closes the connection in order and waits for that, for a bounded time.
    pub async fn close(self) {
        self.stop.cancel();
        self.stopped.cancelled().await;
    }
}
