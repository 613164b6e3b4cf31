//! How a device gets its token: it sends the code that it was set up with, once, and is told who it is.

use std::time::Duration;

use protocol::DeviceId;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connect::{CONNECT_DEADLINE, dial};
use crate::ending::{ConnectError, RETRY_AFTER_MAX};
use crate::endpoint::{Endpoint, Token};
use crate::line::clean;

/// Where a claim is sent.
pub const CLAIM_PATH: &str = "/v1/claim";
/// Most bytes of an answer that are read.
const ANSWER_MAX_BYTES: u64 = 16 * 1024;
/// Characters of the hub's words that are kept from a refusal.
const MESSAGE_MAX_CHARS: usize = 300;

/// Who the device is, and its token: to be stored before it is used, as the code is good for nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The device's id.
    pub device: DeviceId,
    /// Its token.
    pub token: Token,
}

/// Sends a code to the hub. The endpoint needs no token.
pub async fn claim(endpoint: &Endpoint, code: &str) -> Result<Claimed, ConnectError> {
    let address = endpoint.address();
    match tokio::time::timeout(CONNECT_DEADLINE, ask(endpoint, code)).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::TimedOut { address, after: CONNECT_DEADLINE }),
    }
}

async fn ask(endpoint: &Endpoint, code: &str) -> Result<Claimed, ConnectError> {
    let address = endpoint.address();
    let mut stream = dial(endpoint).await?;
    let body = json!({ "code": code }).to_string();
    let path = endpoint.socket_url(CLAIM_PATH);
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        path.path(),
        body.len()
    );
    let lost =
        |e: std::io::Error| ConnectError::Unreachable { address: address.clone(), problem: e.to_string() };
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    let mut answer = Vec::new();
    // An end of TLS without its last word is an end: the length of the body tells whether all is there.
    let read = (&mut stream).take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await;
    let Some((status, wait, body)) = read_answer(&answer) else {
        return Err(match read {
            Err(error) => lost(error),
            Ok(_) => {
                ConnectError::NotAHub { address, problem: "its answer is not HTTP with JSON in it".into() }
            }
        });
    };
    let text = |key: &str| body.get(key).and_then(Json::as_str);
    if status == 201 {
        let device = text("device").and_then(|id| DeviceId::new(id).ok());
        let token = text("token").and_then(|token| Token::new(token).ok());
        return match (device, token) {
            (Some(device), Some(token)) => Ok(Claimed { device, token }),
            _ => Err(ConnectError::NotAHub { address, problem: "it answers a claim without a token".into() }),
        };
    }
    let message = clean(text("error").unwrap_or("no reason given"), MESSAGE_MAX_CHARS);
    Err(ConnectError::Refused { status, message, retry_after: wait })
}

/// Status, when to try again, and the JSON of a whole answer.
fn read_answer(bytes: &[u8]) -> Option<(u16, Option<Duration>, Json)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let seconds = header("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    Some((status, seconds.map(|wait| wait.min(RETRY_AFTER_MAX)), serde_json::from_str(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_not_at_all() {
        let whole = "HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 13\r\n\r\n{\"error\":\"x\"}";
        let (status, wait, body) = read_answer(whole.as_bytes()).unwrap();
        assert_eq!((status, wait, &body["error"]), (429, Some(Duration::from_secs(7)), &json!("x")));
        for end in 0..whole.len() {
            assert_eq!(read_answer(&whole.as_bytes()[..end]), None, "{end}");
        }
        for junk in ["", "\r\n\r\n", "HTTP/1.1 x\r\n\r\n{}", "HTTP/1.1 \r\n\r\n{}", "SSH-2.0\r\n\r\n{}"] {
            assert_eq!(read_answer(junk.as_bytes()), None, "{junk}");
        }
    }
}
