//! One task for each WebSocket. What both kinds of sessions share: the socket, its limits, and how it is closed.

mod ahead;
pub mod device;
mod inspections;
mod past;
pub mod subscription;
pub mod viewer;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::SinkExt as _;
use protocol::device::ErrorMessage;
use protocol::{CloseCode, ErrorCode, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};

use tokio_util::sync::CancellationToken;

use crate::auth::Principal;
use crate::limits::{Limit, Limits, Reached, Refusal};
use crate::serve::Hub;
use crate::wire::Tapped;

/// The socket of a session.
pub type Socket = WebSocketStream<Tapped>;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Names the session in logs and in `welcome`.
    pub session: crate::directory::SessionId,
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it may do.
    pub principal: Principal,
    /// Its credential is revoked.
    pub revoked: CancellationToken,
    /// When the certificate that it came with ends, in seconds since 1970.
    pub expires: Option<i64>,
}

impl Peer {
    /// An end if the certificate that it came with has ended.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), End> {
        match self.expires {
            Some(expires) if now.micros() / 1_000_000 > expires => Err(End::Close(
                CloseCode::Revoked,
                "the certificate has ended: connect with a new one".into(),
            )),
            _ => Ok(()),
        }
    }

    /// The name of the session on the wire.
    pub fn name(&self) -> String {
        format!("s{}", self.session.0)
    }
}

/// The limits of a socket: all five are set, because the library's defaults are sized for a few trusted peers.
///
/// `read` is touched at once for every connection, so it decides what an idle one costs.
pub fn socket_config(read: usize, message_max: usize, write_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(read)
        .write_buffer_size(4 * 1024)
        .max_write_buffer_size(write_max)
        .max_message_size(Some(message_max))
        .max_frame_size(Some(message_max))
        .accept_unmasked_frames(false)
}

/// Why a session ends.
#[derive(Debug)]
pub enum End {
    /// The connection is gone.
    Gone(String),
    /// The peer closed, with this code and reason if it gave them.
    Left(Option<(u16, String)>),
    /// We close, with this code and reason.
    Close(CloseCode, String),
}

impl End {
    /// We close for the usual reason of `code`.
    pub fn close(code: CloseCode) -> Self {
        Self::Close(code, code.reason().to_owned())
    }

    /// The peer closed with this frame.
    pub fn left(frame: Option<CloseFrame>) -> Self {
        Self::Left(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())))
    }
}

/// Says which end an error of the socket brings; `largest` is the limit of its messages. The library does not answer
/// violations; we do.
pub fn end_of(hub: &Hub, largest: Limit, error: &WsError) -> End {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed | WsError::Io(_) | WsError::Tls(_) => {
            End::Gone(error.to_string())
        }
        WsError::Capacity(_) => reached(hub, largest),
        WsError::Utf8(_) => End::close(CloseCode::InvalidUtf8),
        WsError::WriteBufferFull(_) => End::close(CloseCode::TooSlow),
        WsError::Protocol(violation) => {
            use tokio_tungstenite::tungstenite::error::ProtocolError;
            match violation {
                ProtocolError::ResetWithoutClosingHandshake => End::Gone(error.to_string()),
                _ => End::Close(CloseCode::ProtocolError, violation.to_string()),
            }
        }
        WsError::AttackAttempt | WsError::Url(_) | WsError::Http(_) | WsError::HttpFormat(_) => {
            End::close(CloseCode::Policy)
        }
    }
}

/// The close frame for a code; the reason is cut to the 123 bytes that fit.
pub fn close_frame(code: CloseCode, reason: &str) -> CloseFrame {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseFrame { code: code.number().into(), reason: reason[..end].into() }
}

/// Counts a message toward the turn of its session, not only the read that brought it: hundreds of small ones come in one, and
/// a flood of them would keep everybody else waiting, and whatever wakes them unseen (I-5).
pub async fn turn() {
    tokio::task::coop::consume_budget().await;
}

/// Writes one message, with a deadline.
pub async fn write(hub: &Hub, socket: &mut Socket, message: Message) -> Result<(), End> {
    let deadline = hub.config.limits.time(Limit::WriteSeconds);
    match tokio::time::timeout(deadline, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(WsError::WriteBufferFull(_))) => Err(reached(hub, Limit::DeviceUnsentBytes)),
        Ok(Err(error)) => Err(end_of(hub, Limit::DeviceMessageBytes, &error)),
        Err(_) => Err(reached(hub, Limit::WriteSeconds)),
    }
}

/// The end of a session that reached a limit: its code, and the limit in the reason.
pub fn reached(hub: &Hub, limit: Limit) -> End {
    hub.metrics.reached(limit);
    let code = match limit.reached() {
        Reached::Closed(code) => CloseCode::from_number(code).unwrap_or(CloseCode::Policy),
        _ => CloseCode::Policy,
    };
    End::Close(code, hub.config.limits.refusal(limit, code.reason()).to_string())
}

/// Closes the socket as `end` says: our close frame, then the peer's, each with a deadline.
pub async fn close(hub: &Hub, mut socket: Socket, end: &End) {
    use futures_util::StreamExt as _;
    let deadline = hub.config.limits.time(Limit::CloseSeconds);
    if let End::Close(code, reason) = end {
        let frame = close_frame(*code, reason);
        if !matches!(tokio::time::timeout(deadline, socket.close(Some(frame))).await, Ok(Ok(()))) {
            hub.metrics.reached(Limit::CloseSeconds);
            return;
        }
    }
    // What the peer had on the line before it saw our close frame is read and dropped, so that its answer arrives.
    let drain = async {
        while let Some(Ok(_)) = socket.next().await {}
        linger(socket.get_mut()).await;
    };
    if tokio::time::timeout(deadline, drain).await.is_err() {
        hub.metrics.reached(Limit::CloseSeconds);
    }
}

/// Ends our half of TCP and drops what the peer still sends, until it ends its half. A socket that is closed with bytes
/// unread is reset, and a reset may destroy a close frame that the peer has not read yet.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    use tokio::io::AsyncWriteExt as _;
    if stream.shutdown().await.is_ok() {
        // The connection is over either way.
        drop(tokio::io::copy(stream, &mut tokio::io::sink()).await);
    }
}

/// Heartbeat of one connection: when to ping, and when the peer is presumed gone.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Duration,
    missed_max: u64,
    heard: Timestamp,
    unanswered: u64,
    /// The last round trip, in microseconds.
    pub round_trip: Option<i64>,
}

impl Heartbeat {
    /// Starts with a peer that was just heard.
    pub const fn new(limits: &Limits, now: Timestamp) -> Self {
        let interval = limits.time(Limit::HeartbeatSeconds);
        let missed_max = limits.get(Limit::HeartbeatsMissed);
        Self { interval, missed_max, heard: now, unanswered: 0, round_trip: None }
    }

    /// The longest that a peer which vanished is taken for present: it may have answered a ping just before, and is given up
    /// when one more ping than it may miss is due.
    pub fn noticed_after(limits: &Limits) -> Duration {
        let missed = u32::try_from(limits.get(Limit::HeartbeatsMissed)).unwrap_or(u32::MAX);
        limits.time(Limit::HeartbeatSeconds).saturating_mul(missed.saturating_add(1))
    }

    /// A timer that ticks when [`Heartbeat::beat`] is due.
    pub fn timer(&self) -> tokio::time::Interval {
        let mut timer = tokio::time::interval_at(tokio::time::Instant::now() + self.interval, self.interval);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        timer
    }

    /// Something was read.
    pub const fn heard(&mut self, now: Timestamp) {
        self.heard = now;
        self.unanswered = 0;
    }

    /// The peer could not be heard: its silence so far does not count.
    pub const fn forgive(&mut self) {
        self.unanswered = 0;
    }

    /// A pong came back with the time of its ping.
    pub fn pong(&mut self, payload: &[u8], now: Timestamp) {
        if let Ok(sent) = <[u8; 8]>::try_from(payload) {
            self.round_trip = Some(now.micros().saturating_sub(i64::from_be_bytes(sent)));
        }
    }

    /// It is time for a ping; or the peer has let too many pass.
    pub fn beat(&mut self, hub: &Hub, now: Timestamp) -> Result<Message, End> {
        if self.unanswered >= self.missed_max {
            return Err(reached(hub, Limit::HeartbeatsMissed));
        }
        self.unanswered += 1;
        Ok(Message::Ping(now.micros().to_be_bytes().to_vec().into()))
    }

    /// When something was last read.
    pub const fn last_heard(&self) -> Timestamp {
        self.heard
    }
}

/// Waits until this time; for ever where there is none.
pub async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// How a peer that stays above its rate is told, and then closed.
pub fn too_fast(hub: &Hub, refusal: &Refusal) -> (ErrorMessage, End) {
    hub.metrics.reached(refusal.limit);
    let reason = refusal.to_string();
    let message = format!("{}: {reason}", CloseCode::TooFast.reason());
    let told = ErrorMessage { id: None, code: ErrorCode::LimitReached, message };
    (told, End::Close(CloseCode::TooFast, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_vanished_is_noticed_within_30_seconds_unless_set_otherwise() {
        let limits = Limits::default();
        let longest = Duration::from_secs(30);
        assert!(Heartbeat::noticed_after(&limits) <= longest, "{:?}", Heartbeat::noticed_after(&limits));
        // One that is stuck in a write is not pinged meanwhile.
        assert!(limits.time(Limit::WriteSeconds) <= longest);
        assert!(limits.time(Limit::ViewerStuckSeconds) <= longest);
        // And the other side: a client gives up after so many intervals of silence.
        let wire = protocol::limits::HEARTBEAT_SECONDS * protocol::limits::HEARTBEATS_MISSED_MAX;
        assert!(Duration::from_secs(wire.into()) <= longest);
    }
}
