//! Makes a connection: dials, upgrades with the token and the subprotocol, and turns every refusal into a typed error.
//!
//! The library writes the whole request, token included, to its own log at level trace: programs that let a user raise
//! the log level keep `tungstenite` above it.

use std::time::Duration;

use protocol::SUBPROTOCOL;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response};
use tokio_util::either::Either;

use crate::ending::{ConnectError, RETRY_AFTER_MAX};
use crate::endpoint::Endpoint;
use crate::line::{Line, LineLimits, clean};
use crate::tls::{self, Transport};

/// Time for the name lookup, the TCP connection, TLS and the upgrade together. Chosen: a far hub over a bad line needs 3 s.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Characters of the hub's words that are kept from a refusal.
const MESSAGE_MAX_CHARS: usize = 300;

/// Connects to the hub's port, with TLS where the URL asks for it. Nothing is said yet.
pub async fn dial(endpoint: &Endpoint) -> Result<Transport, ConnectError> {
    let address = endpoint.address();
    let unreachable =
        |e: std::io::Error| ConnectError::Unreachable { address: address.clone(), problem: e.to_string() };
    if let Some(dialer) = &endpoint.dialer {
        return dialer.dial().await.map_err(unreachable);
    }
    let stream = TcpStream::connect(&address).await.map_err(unreachable)?;
    // Acks and commands are small and must not wait for more.
    stream.set_nodelay(true).map_err(unreachable)?;
    let Some(tls) = &endpoint.tls else { return Ok(Either::Left(stream)) };
    let host = endpoint.host();
    tls.connect(&host, stream).await.map_err(|error| not_reached(&address, &host, &error))
}

/// What an error of the system, or of TLS in its clothes, says of the attempt.
fn not_reached(address: &str, host: &str, error: &std::io::Error) -> ConnectError {
    let address = address.to_owned();
    match tls::problem_of(error, host) {
        Some(problem) => ConnectError::Tls { address, problem },
        None => ConnectError::Unreachable { address, problem: error.to_string() },
    }
}

/// Connects to one of the hub's WebSockets.
pub(crate) async fn connect(
    endpoint: Endpoint,
    path: &'static str,
    limits: LineLimits,
    deadline: Duration,
) -> Result<Line, ConnectError> {
    open(&endpoint, path, limits, deadline).await.map(Line::new)
}

/// Connects and returns the bare socket: for load generators that frame their own messages.
///
/// Nothing of the hub may be lost in the library's buffer, so this is only for a path on which the client speaks first.
pub async fn connect_bare(endpoint: &Endpoint, path: &'static str) -> Result<Transport, ConnectError> {
    let socket = open(endpoint, path, LineLimits::DEVICE, CONNECT_DEADLINE).await?;
    Ok(socket.into_inner())
}

async fn open(
    endpoint: &Endpoint,
    path: &'static str,
    limits: LineLimits,
    deadline: Duration,
) -> Result<tokio_tungstenite::WebSocketStream<Transport>, ConnectError> {
    let address = endpoint.address();
    let attempt = async {
        let stream = dial(endpoint).await?;
        let refusal = |error| refusal(&address, &endpoint.host(), error);
        let request = request(endpoint, path).map_err(refusal)?;
        match tokio_tungstenite::client_async_with_config(request, stream, Some(limits.config())).await {
            Ok((socket, _)) => Ok(socket),
            Err(error) => Err(match (refusal(error), endpoint.unknown_token()) {
                (ConnectError::Unauthorized { .. }, Some(message)) => ConnectError::Unauthorized { message },
                (error, _) => error,
            }),
        }
    };
    match tokio::time::timeout(deadline, attempt).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut { address, after: deadline }),
    }
}

fn request(endpoint: &Endpoint, path: &str) -> Result<Request<()>, Error> {
    let mut request = endpoint.socket_url(path).as_str().into_client_request()?;
    if let Some(token) = &endpoint.token {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.reveal()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(request)
}

fn refusal(address: &str, host: &str, error: Error) -> ConnectError {
    if let Error::Io(error) = &error {
        // In TLS 1.3 a client learns only now that its own certificate was refused.
        return not_reached(address, host, error);
    }
    let address = address.to_owned();
    let problem = error.to_string();
    match error {
        Error::Http(response) => refused(&response),
        Error::Io(_)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake) => {
            ConnectError::Unreachable { address, problem }
        }
        Error::Protocol(_)
        | Error::Capacity(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Tls(_)
        | Error::HttpFormat(_)
        | Error::WriteBufferFull(_) => ConnectError::NotAHub { address, problem },
    }
}

fn refused(response: &Response<Option<Vec<u8>>>) -> ConnectError {
    let status = response.status();
    let body = response.body().as_deref().unwrap_or_default();
    let message = message_of(&String::from_utf8_lossy(body))
        .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned());
    match status.as_u16() {
        401 => ConnectError::Unauthorized { message },
        403 => ConnectError::Forbidden { message },
        status => ConnectError::Refused { status, message, retry_after: retry_after(response) },
    }
}

/// The header `Retry-After`, where it gives seconds; a date is not understood and left out.
fn retry_after(response: &Response<Option<Vec<u8>>>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

/// What a body says: the `message` (or `error`) of a JSON object, else the text as it is.
fn message_of(body: &str) -> Option<String> {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let said = json.as_ref().and_then(|json| {
        let error = json.get("error").unwrap_or(json);
        error.get("message").or(json.get("message")).unwrap_or(error).as_str()
    });
    let text = clean(said.unwrap_or(body).trim(), MESSAGE_MAX_CHARS);
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hubs_words_are_found_in_text_and_json() {
        for (body, message) in [
            ("no such token\n", Some("no such token")),
            (r#"{"code":"unauthorized","message":"no such token"}"#, Some("no such token")),
            (r#"{"error":{"code":"x","message":"no such token"}}"#, Some("no such token")),
            (r#"{"error":"no such token"}"#, Some("no such token")),
            ("a\u{1b}[31mred", Some("a[31mred")),
            ("", None),
        ] {
            assert_eq!(message_of(body).as_deref(), message, "{body}");
        }
    }
}
