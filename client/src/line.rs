//! One open WebSocket: texts go in batches and out together with what arrives, every buffer bounded (I-6).
//!
//! Reading never waits for writing: a hub that is slow to take readings can still be heard, so that two peers with
//! full buffers cannot wait for each other for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use protocol::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Bytes, Message, Utf8Bytes, protocol::WebSocketConfig};

use crate::ending::Ending;
use crate::tls::Transport;

/// Bytes of messages that are handed to the socket before it is flushed. Chosen: a few system calls for the largest
/// backlog, and far below what a hub takes in a round trip.
const BATCH_BYTES: usize = 64 * 1024;
/// Room above [`BATCH_BYTES`] for the message that crosses it, and for pongs.
const BATCH_SLACK_BYTES: usize = 320 * 1024;
/// How long a close may take that the hub does not answer.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// The sizes that differ between the roles.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineLimits {
    /// Read buffer, allocated for the life of the connection.
    pub(crate) read_buffer_bytes: usize,
    /// Largest message taken.
    pub(crate) message_max_bytes: usize,
}

impl LineLimits {
    /// For a device: thousands may run in one process, and the hub says little to it.
    pub(crate) const DEVICE: Self =
        Self { read_buffer_bytes: 4 * 1024, message_max_bytes: protocol::limits::HUB_MESSAGE_MAX_BYTES };
    /// For a viewer: few in a process, and the hub says much.
    pub(crate) const VIEWER: Self =
        Self { read_buffer_bytes: 64 * 1024, message_max_bytes: protocol::limits::HUB_MESSAGE_MAX_BYTES };

    /// All five limits of the library, none left at its default.
    pub(crate) fn config(self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(self.read_buffer_bytes)
            .write_buffer_size(BATCH_BYTES)
            .max_write_buffer_size(BATCH_BYTES + BATCH_SLACK_BYTES)
            .max_message_size(Some(self.message_max_bytes))
            .max_frame_size(Some(self.message_max_bytes))
    }
}

/// What arrives on a line.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A text of the hub.
    Text(Utf8Bytes),
    /// A ping; the library answers it.
    Ping,
    /// The answer to a ping.
    Pong(Bytes),
    /// Everything queued is in the system's hands: there is room again.
    Flushed,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Line<S = Transport> {
    socket: WebSocketStream<S>,
    queued_bytes: usize,
    needs_flush: bool,
    /// Writing failed. Reading goes on, because the close frame that says why may still be there to read.
    write_problem: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(crate) const fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, queued_bytes: 0, needs_flush: false, write_problem: None }
    }

    /// Whether another text may be queued before the next [`Incoming::Flushed`].
    pub(crate) const fn has_room(&self) -> bool {
        self.queued_bytes < BATCH_BYTES && self.write_problem.is_none()
    }

    /// Queues a text; [`Line::next`] writes it.
    pub(crate) fn queue(&mut self, text: impl Into<Utf8Bytes>) {
        self.start(Message::Text(text.into()));
    }

    /// Queues a ping.
    pub(crate) fn ping(&mut self, payload: [u8; 8]) {
        self.start(Message::Ping(Bytes::copy_from_slice(&payload)));
    }

    fn start(&mut self, message: Message) {
        self.queued_bytes += message.len();
        self.needs_flush = true;
        if let Err(error) = Pin::new(&mut self.socket).start_send(message) {
            self.write_problem.get_or_insert(error.to_string());
        }
    }

    /// Writes what is queued and waits for what comes first. Losing the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Ending> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Ending>> {
        if self.needs_flush && self.write_problem.is_none() {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.needs_flush = false;
                    self.queued_bytes = 0;
                    return Poll::Ready(Ok(Incoming::Flushed));
                }
                Poll::Ready(Err(error)) => self.write_problem = Some(error.to_string()),
                Poll::Pending => {}
            }
        }
        match Pin::new(&mut self.socket).poll_next(cx) {
            Poll::Ready(Some(Ok(message))) => Poll::Ready(self.take(message)),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Err(ending(error))),
            Poll::Ready(None) => Poll::Ready(Err(Ending::Lost("the hub hung up".into()))),
            Poll::Pending => match &self.write_problem {
                Some(problem) => Poll::Ready(Err(Ending::Lost(problem.clone()))),
                None => Poll::Pending,
            },
        }
    }

    fn take(&mut self, message: Message) -> Result<Incoming, Ending> {
        match message {
            Message::Text(text) => Ok(Incoming::Text(text)),
            Message::Ping(_) => {
                // The library has queued the pong; this sends it.
                self.needs_flush = true;
                Ok(Incoming::Ping)
            }
            Message::Pong(payload) => Ok(Incoming::Pong(payload)),
            Message::Close(frame) => {
                let (code, reason) = frame.map_or((None, String::new()), |frame| {
                    (Some(u16::from(frame.code)), clean(frame.reason.as_str(), 123))
                });
                Err(Ending::Closed { code, reason })
            }
            Message::Binary(_) | Message::Frame(_) => Err(Ending::Broken {
                code: CloseCode::Unsupported,
                problem: "it sent a binary message".into(),
            }),
        }
    }

    /// Closes in order: says why, and waits for the hub's answer for a bounded time.
    pub(crate) async fn close(mut self: Box<Self>, code: CloseCode) {
        let closing = async {
            let frame =
                CloseFrame { code: code.number().into(), reason: Utf8Bytes::from_static(code.reason()) };
            if self.socket.close(Some(frame)).await.is_err() {
                return;
            }
            while let Poll::Ready(Some(Ok(_))) =
                std::future::poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx).map(Poll::Ready)).await
            {
            }
        };
        if tokio::time::timeout(CLOSE_DEADLINE, closing).await.is_err() {
            tracing::debug!(code = code.number(), "the hub did not answer our close");
        }
    }

    /// Ends a line that came to its end: answers the hub's close frame, or tells it what was wrong.
    pub(crate) async fn finish(mut self: Box<Self>, ending: &Ending) {
        if let Some(code) = ending.farewell() {
            self.close(code).await;
        } else if matches!(ending, Ending::Closed { .. }) {
            let flushing = std::future::poll_fn(|cx| Pin::new(&mut self.socket).poll_flush(cx));
            if !matches!(tokio::time::timeout(CLOSE_DEADLINE, flushing).await, Ok(Ok(()))) {
                tracing::trace!("the answer to the hub's close could not be written");
            }
        }
    }
}

fn ending(error: Error) -> Ending {
    let problem = error.to_string();
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => {
            Ending::Closed { code: None, reason: String::new() }
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake | ProtocolError::HandshakeIncomplete)
        | Error::Io(_)
        | Error::Tls(_)
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_)
        | Error::WriteBufferFull(_) => Ending::Lost(problem),
        Error::Capacity(_) => Ending::Broken { code: CloseCode::TooBig, problem },
        Error::Utf8(_) => Ending::Broken { code: CloseCode::InvalidUtf8, problem },
        Error::Protocol(_) | Error::AttackAttempt => {
            Ending::Broken { code: CloseCode::ProtocolError, problem }
        }
    }
}

/// Text of a peer, cut to `max` characters and without control characters, fit for a log or a screen.
pub(crate) fn clean(text: &str, max: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(max).collect()
}
