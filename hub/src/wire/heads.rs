//! The handshake of a connection as it went over the wire: the heads of the request and the response, and the times.
//!
//! Kept while HTTP is spoken, at most [`KEPT_MAX`] bytes of each; secrets are replaced before anything is kept for longer.

use bytes::Bytes;
use protocol::Timestamp;
use protocol::wire::{Handshake, Side, Tls};

use crate::clock;
use crate::tickets;

/// Bytes that are kept of a request and of a response: the most that a head may have.
pub(crate) const KEPT_MAX: usize = 16 * 1024;
/// What stands where a secret was.
const SECRET: &str = "***";
/// Headers whose value is a secret, or may be one.
const SECRETS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "x-api-key"];

/// What HTTP has said so far. Holds secrets, so it is not `Debug`.
pub struct Heads {
    address: String,
    tls: Option<(Tls, Timestamp)>,
    accepted_at: Timestamp,
    requested_at: Timestamp,
    answered_at: Timestamp,
    request: Vec<u8>,
    response: Vec<u8>,
    /// Read already, and to be read once more.
    pub(super) again: Bytes,
}

impl Heads {
    /// A connection that was accepted then.
    pub fn new(address: String, accepted_at: Timestamp, tls: Option<(Tls, Timestamp)>) -> Self {
        let at = accepted_at;
        Self {
            address,
            tls,
            accepted_at,
            requested_at: at,
            answered_at: at,
            request: Vec::new(),
            response: Vec::new(),
            again: Bytes::new(),
        }
    }

    /// Some bytes went by.
    pub fn saw(&mut self, from: Side, bytes: &[u8]) {
        let keep = |kept: &mut Vec<u8>| {
            let room = KEPT_MAX.saturating_sub(kept.len()).min(bytes.len());
            kept.extend(bytes.get(..room).unwrap_or_default());
        };
        match from {
            // Behind a 101 come frames, which are fed again when it is known that they are such.
            Side::Device if self.response.starts_with(b"HTTP/1.1 101") => {}
            Side::Device => {
                if !self.response.is_empty() {
                    // The next request on the same connection.
                    self.request.clear();
                    self.response.clear();
                }
                self.requested_at = clock::now();
                keep(&mut self.request);
            }
            Side::Hub => {
                self.answered_at = clock::now();
                keep(&mut self.response);
            }
        }
    }

    /// The handshake that it was, without secrets.
    pub fn finish(self) -> Handshake {
        let request = mask(&head(&self.request));
        let response = head(&self.response);
        let field = |text: &str, name: &str| {
            fields(text)
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        Handshake {
            address: self.address,
            key: field(&request, "sec-websocket-key").unwrap_or_default(),
            accept: field(&response, "sec-websocket-accept").unwrap_or_default(),
            subprotocol: field(&response, "sec-websocket-protocol").unwrap_or_default(),
            request,
            response,
            accepted_at: self.accepted_at,
            tls_at: self.tls.as_ref().map(|(_, at)| *at),
            tls: self.tls.map(|(tls, _)| tls),
            requested_at: self.requested_at,
            upgraded_at: self.answered_at,
            hello_at: None,
        }
    }
}

/// The bytes up to the empty line, as text.
fn head(bytes: &[u8]) -> String {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n")
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
}

/// The head of a request without what nobody may read.
fn mask(head: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (place, line) in head.split("\r\n").enumerate() {
        let masked = match line.split_once(':') {
            // A token does not belong into a URL; some put one there.
            _ if place == 0 => line.split_once('?').map(|(path, rest)| {
                let version = rest.rsplit_once(' ').map_or("", |(_, version)| version);
                format!("{path}?{SECRET} {version}")
            }),
            Some((name, value)) if SECRETS.iter().any(|secret| name.trim().eq_ignore_ascii_case(secret)) => {
                let value = value.trim_start();
                let scheme = value.split_once(' ').map_or("", |(scheme, _)| scheme);
                let shows = ["bearer", "basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
                Some(if shows { format!("{name}: {scheme} {SECRET}") } else { format!("{name}: {SECRET}") })
            }
            Some((name, value)) if name.trim().eq_ignore_ascii_case("sec-websocket-protocol") => {
                let protocols: Vec<String> = value
                    .split(',')
                    .map(|protocol| {
                        let (gap, name) = protocol.split_at(protocol.len() - protocol.trim_start().len());
                        if name.starts_with(tickets::PREFIX) {
                            format!("{gap}{}{SECRET}", tickets::PREFIX)
                        } else {
                            protocol.to_owned()
                        }
                    })
                    .collect();
                Some(format!("{name}:{}", protocols.join(",")))
            }
            _ => None,
        };
        lines.push(masked.unwrap_or_else(|| line.to_owned()));
    }
    lines.join("\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_12_no_secret_is_kept_and_everything_else_stays_as_it_was() {
        let request = "GET /v1/viewer?token=viewer_123 HTTP/1.1\r\nHost: hub\r\nAUTHORIZATION:  Bearer viewer_123\r\n\
                       Cookie: session=viewer_123\r\nX-Api-Key: viewer_123\r\n\
                       Sec-WebSocket-Protocol: telemetry.v1.json, ticket.viewer_123\r\n\
                       Proxy-Authorization: viewer_123\r\nSec-WebSocket-Key: abc==\r\n\r\n";
        let mut heads = Heads::new("10.0.0.7:1".into(), Timestamp(1), None);
        for piece in request.as_bytes().chunks(7) {
            heads.saw(Side::Device, piece);
        }
        heads.saw(Side::Hub, b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: xyz\r\n\r\n");
        heads.saw(Side::Device, b"\x81\x82early");
        let handshake = heads.finish();
        assert!(!format!("{handshake:?}").contains("viewer_123"), "{handshake:?}");
        let expected = "GET /v1/viewer?*** HTTP/1.1\r\nHost: hub\r\nAUTHORIZATION: Bearer ***\r\n\
                        Cookie: ***\r\nX-Api-Key: ***\r\n\
                        Sec-WebSocket-Protocol: telemetry.v1.json, ticket.***\r\n\
                        Proxy-Authorization: ***\r\nSec-WebSocket-Key: abc==\r\n\r\n";
        assert_eq!(handshake.request, expected);
        assert_eq!((handshake.key.as_str(), handshake.accept.as_str()), ("abc==", "xyz"));
    }

    #[test]
    fn a_connection_that_asked_for_something_else_before_has_the_handshake_of_its_last_request() {
        let mut heads = Heads::new("10.0.0.7:1".into(), Timestamp(1), None);
        heads.saw(Side::Device, b"GET /healthz HTTP/1.1\r\n\r\n");
        heads.saw(Side::Hub, b"HTTP/1.1 200 OK\r\n\r\n{}");
        heads.saw(Side::Device, b"GET /v1/device HTTP/1.1\r\n\r\n");
        heads.saw(Side::Hub, b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        let handshake = heads.finish();
        assert_eq!(handshake.request, "GET /v1/device HTTP/1.1\r\n\r\n");
        assert_eq!(handshake.response, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
    }

    #[test]
    fn no_more_is_kept_than_a_head_may_have() {
        let mut heads = Heads::new("10.0.0.7:1".into(), Timestamp(1), None);
        for _ in 0..100 {
            heads.saw(Side::Device, &[b'x'; 1_000]);
        }
        assert_eq!(heads.request.len(), KEPT_MAX);
    }
}
