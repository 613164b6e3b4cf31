//! The beginning of a connection, before HTTP has it: the head of its first request is read here, and waits for its turn.
//!
//! For a handshake HTTP takes some 30 KiB, however little the peer has sent. When a whole fleet comes back at one instant, only
//! so many have that at once as `handshakes_at_once` says; the others have what they sent, a few hundred bytes.
//! A turn is for the hub's own work alone: nobody gets one before the head is there as a whole, and nobody keeps it who makes
//! the hub wait. So no number of strangers that are silent, slow or wrong keeps others from their turn.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use crate::limits::Limit;
use crate::serve::Hub;
use crate::wire::Tapped;

/// Bytes that are read at once. A head has some 300.
const PIECE: usize = 4 * 1024;
/// Headers that are looked at here. What has more is left to HTTP.
const HEADERS: usize = 128;
/// The longest turn. Chosen: a hundred times of what the work takes, so that whatever it should wait for holds up the others for
/// moments only.
pub(crate) const TURN_MAX: Duration = Duration::from_secs(1);

/// The turn of a connection. It ends when the answer is there, or when it goes on as a WebSocket; at the latest with the
/// connection.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<Option<OwnedSemaphorePermit>>);

impl Turn {
    fn begin(&self, permit: OwnedSemaphorePermit) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// The next one may begin.
    pub(crate) fn end(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends it when it has lasted too long. Never returns.
    pub(crate) async fn end_in_time(&self) {
        tokio::time::sleep(TURN_MAX).await;
        self.end();
        std::future::pending::<()>().await;
    }
}

/// Waits until the peer has sent the head of a request, and then for its turn. Returns whether the connection goes on; what was
/// read is then read once more from `stream`.
pub(crate) async fn wait(hub: &Hub, stream: &mut Tapped, address: SocketAddr, turn: &Turn) -> bool {
    let limits = &hub.config.limits;
    // Beyond twice the limit it is left to HTTP to say so.
    let most = 2 * limits.count(Limit::RequestHeadBytes);
    let whole = tokio::select! {
        whole = tokio::time::timeout(limits.time(Limit::RequestHeadSeconds), head(stream, most)) => whole,
        () = hub.stopping.cancelled() => return false,
    };
    let mut head = match whole {
        Ok(Ok(Some(head))) => head,
        Ok(Ok(None)) => return false,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "connection ended");
            return false;
        }
        Err(_) => {
            hub.metrics.reached(Limit::RequestHeadSeconds);
            tracing::debug!(%address, limit = Limit::RequestHeadSeconds.name(), "no request in time");
            return false;
        }
    };
    let permit = if let Ok(permit) = Arc::clone(&hub.handshakes).try_acquire_owned() {
        permit
    } else {
        hub.metrics.reached(Limit::HandshakesAtOnce);
        let patience = limits.time(Limit::RequestSeconds);
        let waited = tokio::select! {
            waited = tokio::time::timeout(patience, Arc::clone(&hub.handshakes).acquire_owned()) => waited,
            // Who has given up by now must not take a turn from those who have not.
            () = gone(stream, &mut head, most) => return false,
            () = hub.stopping.cancelled() => return false,
        };
        let Ok(Ok(permit)) = waited else {
            hub.metrics.reached(Limit::RequestSeconds);
            tracing::debug!(%address, limit = Limit::RequestSeconds.name(), "no turn in time");
            return false;
        };
        permit
    };
    turn.begin(permit);
    stream.read_again(head);
    true
}

/// The first bytes: a head and perhaps something behind it, or what HTTP will refuse. `None`: the peer ended before.
async fn head(stream: &mut Tapped, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        read(stream, &mut bytes).await?;
        if bytes.len() == before {
            return Ok(None);
        }
        if bytes.len() >= most || is_whole(&bytes, before) {
            return Ok(Some(bytes));
        }
    }
}

/// Returns when the peer has left. What it says meanwhile is kept, as far as there may be so much.
async fn gone(stream: &mut Tapped, bytes: &mut Vec<u8>, most: usize) {
    while bytes.len() < most {
        let before = bytes.len();
        if read(stream, bytes).await.is_err() || bytes.len() == before {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Reads what there is. The space for it is not kept while nothing comes.
async fn read(stream: &mut Tapped, bytes: &mut Vec<u8>) -> io::Result<()> {
    poll_fn(|context| {
        let mut space = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
        bytes.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(()))
    })
    .await
}

/// Whether HTTP can answer this, with `before` bytes of it known not to be enough. It is parsed at the first piece, so that what
/// is no HTTP is refused at once, and then when an empty line has come: not with each byte of a slow peer.
fn is_whole(bytes: &[u8], before: usize) -> bool {
    let end = bytes.get(before.saturating_sub(2)..).unwrap_or_default();
    let has_empty_line =
        || end.windows(2).any(|two| two == b"\n\n") || end.windows(3).any(|three| three == b"\n\r\n");
    if before > 0 && !has_empty_line() {
        return false;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    !matches!(httparse::Request::new(&mut headers).parse(bytes), Ok(httparse::Status::Partial))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of these pieces HTTP gets it.
    fn pieces(pieces: &[&str]) -> Option<usize> {
        let mut bytes = Vec::new();
        for (n, piece) in pieces.iter().enumerate() {
            let before = bytes.len();
            bytes.extend_from_slice(piece.as_bytes());
            if is_whole(&bytes, before) {
                return Some(n + 1);
            }
        }
        None
    }

    #[test]
    fn a_head_is_whole_once_its_empty_line_is_there() {
        let head = "\r\nGET /v1/device HTTP/1.1\r\nHost: hub\r\n\r\n";
        assert_eq!(pieces(&[head]), Some(1));
        for at in 1..head.len() {
            let (start, end) = head.split_at(at);
            assert_eq!(pieces(&[start, end]), Some(2), "{start:?} {end:?}");
            assert_eq!(pieces(&[start]), None, "{start:?}");
        }
        let letters: Vec<&str> = head.split("").filter(|letter| !letter.is_empty()).collect();
        assert_eq!(pieces(&letters), Some(head.len()));
        assert_eq!(pieces(&["GET / HTTP/1.1\nHost: a\n", "\nbehind"]), Some(2), "bare ends of lines");
    }

    #[test]
    fn what_is_no_http_is_refused_at_once() {
        assert_eq!(pieces(&["\x16\x03\x01"]), Some(1));
        assert_eq!(pieces(&["hello\r\n"]), Some(1));
        assert_eq!(pieces(&["PRI * HTTP/2.0\r\n\r\n"]), Some(1));
        let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(HEADERS + 1));
        assert_eq!(pieces(&[&many]), Some(1));
    }
}
