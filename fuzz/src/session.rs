//! The session of a device or of a viewer, over a line in memory: whatever comes after the upgrade, the hub says nothing that is
//! not of the protocol, closes with a code that it has, and goes on.
//!
//! The first byte says who it is: a device that has said hello, one that has not, a viewer, an operator; and whether the rest are
//! texts, one a line, or bytes as they are.

use protocol::device::HubToDevice;
use protocol::viewer::HubToViewer;

use super::hub::{TOKENS, with};

const HELLO: &str = r#"{"type":"hello","device":"fuzz","epoch":"e1","metrics":[{"name":"n"},{"name":"b","kind":"bool"},{"name":"t","kind":"text"}],"commands":[{"name":"reset","params":[{"name":"hard","kind":"bool"}]}]}"#;

/// The codes that the hub closes with (docs/protocol.md, 9.3).
const CODES: [u16; 17] =
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008];

/// A frame as a client sends it, masked with zeros.
fn text(payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        middle @ 126..65_536 => {
            out.push(0xfe);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(0xff);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

/// Says bytes to a session.
pub fn any(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let (is_device, token) = match kind % 4 {
        0 | 1 => (true, TOKENS[0].1),
        2 => (false, TOKENS[1].1),
        _ => (false, TOKENS[2].1),
    };
    let path = if is_device { protocol::DEVICE_PATH } else { protocol::VIEWER_PATH };
    with(|hub| {
        let token = hub.token(token);
        let mut said = format!(
            "GET {path} HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGVsZW1ldHJ5LWh1Yi12MQ==\r\n\
             Sec-WebSocket-Protocol: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
            protocol::SUBPROTOCOL
        )
        .into_bytes();
        if kind % 4 == 0 {
            text(HELLO.as_bytes(), &mut said);
        }
        if kind & 4 == 0 {
            rest.split(|byte| *byte == b'\n').for_each(|line| text(line, &mut said));
        } else {
            said.extend(rest);
        }
        let heard = hub.converse(&said);
        let head = heard.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
        let (head, frames) = heard.split_at(head.unwrap_or(heard.len()));
        // Whoever has hung up already is not upgraded.
        assert!(head.is_empty() || head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        check(frames, is_device);
    });
}

/// Sees that these are frames of a hub, as far as they go.
fn check(mut bytes: &[u8], is_device: bool) {
    while let [first, second, ..] = bytes {
        assert_eq!(second & 0x80, 0, "the hub masks nothing");
        let (length, head) = match second & 0x7f {
            126 => (bytes.get(2..4).map(|b| u64::from(u16::from_be_bytes([b[0], b[1]]))), 4),
            127 => (bytes.get(2..10).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes), 10),
            short => (Some(u64::from(short)), 2),
        };
        // The line may be cut in the middle of a frame.
        let Some(payload) = length.and_then(|length| bytes.get(head..head + length as usize)) else { return };
        bytes = &bytes[head + payload.len()..];
        match first {
            0x81 => {
                let text = std::str::from_utf8(payload).expect("text is UTF-8");
                let read = if is_device {
                    HubToDevice::decode(text).map(drop)
                } else {
                    HubToViewer::decode(text).map(drop)
                };
                assert!(read.is_ok(), "{read:?}: {text}");
            }
            0x88 => {
                let code = payload.get(..2).map(|b| u16::from_be_bytes([b[0], b[1]]));
                // A close of the peer is answered with its own code.
                let echoed = code.is_none_or(|code| (1000..5000).contains(&code));
                assert!(echoed || code.is_some_and(|code| CODES.contains(&code)), "close {code:?}");
                assert!(bytes.is_empty(), "nothing follows a close frame: {}", bytes.escape_ascii());
            }
            0x89 | 0x8a => assert!(payload.len() <= 125),
            other => panic!("a frame that begins with {other:#x}"),
        }
    }
}
