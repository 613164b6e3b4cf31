//! The WebSocket framing of the load generator: just enough of RFC 6455 to send prepared text and read what a hub says.
//!
//! Frames are masked with zeros, which the RFC's wire format allows and which costs nothing. This guards no proxy
//! against anything and is for measuring a hub of one's own; devices use the `client` crate.

use protocol::limits::HUB_MESSAGE_MAX_BYTES;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Says that the length follows in two bytes.
const LENGTH_16: u8 = 0x7E;
/// Says that the length follows in eight bytes.
const LENGTH_64: u8 = 0x7F;

/// Appends a text frame.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    write_frame(TEXT, text.as_bytes(), out);
}

/// Appends the answer to a ping.
pub(crate) fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(PONG, payload, out);
}

/// Appends a close frame.
pub(crate) fn write_close(code: u16, out: &mut Vec<u8>) {
    write_frame(CLOSE, &code.to_be_bytes(), out);
}

fn write_frame(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(FINAL | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(MASKED | length as u8),
        length @ 126..=65_535 => {
            out.push(MASKED | LENGTH_16);
            out.extend((length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | LENGTH_64);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend([0; 4]);
    out.extend(payload);
}

/// What a hub sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole text.
    Text(&'a str),
    /// To be answered with a pong.
    Ping(&'a [u8]),
    /// The answer to a ping.
    Pong,
    /// The hub closes, with its code and reason.
    Close(Option<u16>, &'a str),
}

/// Reads the frame at the start of `bytes` and returns it with its length; `None` if it is not complete yet.
pub(crate) fn read_frame(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, &'static str> {
    let [first, second, ..] = bytes else { return Ok(None) };
    if first & FINAL == 0 {
        return Err("the hub sent a fragmented message, which the load generator does not read");
    }
    if second & MASKED != 0 {
        return Err("the hub sent a masked frame");
    }
    let (length, head) = match second & 0x7F {
        LENGTH_16 => match bytes.get(2..4).and_then(|b| b.try_into().ok()) {
            Some(length) => (u64::from(u16::from_be_bytes(length)), 4),
            None => return Ok(None),
        },
        LENGTH_64 => match bytes.get(2..10).and_then(|b| b.try_into().ok()) {
            Some(length) => (u64::from_be_bytes(length), 10),
            None => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    if length > HUB_MESSAGE_MAX_BYTES as u64 {
        return Err("the hub sent a message larger than it may");
    }
    let end = head + length as usize;
    let Some(payload) = bytes.get(head..end) else { return Ok(None) };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "the hub sent text that is not UTF-8");
    let frame = match first & 0x0F {
        TEXT => Frame::Text(text(payload)?),
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        CLOSE => match payload {
            [high, low, reason @ ..] => Frame::Close(Some(u16::from_be_bytes([*high, *low])), text(reason)?),
            _ => Frame::Close(None, ""),
        },
        _ => return Err("the hub sent a frame of an unknown kind"),
    };
    Ok(Some((frame, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same frame as a server sends it: without a mask.
    fn unmasked(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_text(text, &mut out);
        let head = out.len() - text.len() - 4;
        out[1] &= !MASKED;
        out.drain(head..head + 4);
        out
    }

    #[test]
    fn frames_of_every_length_read_back_and_partial_ones_wait() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let text = "x".repeat(length);
            let bytes = unmasked(&text);
            assert_eq!(read_frame(&bytes), Ok(Some((Frame::Text(&text), bytes.len()))));
            for cut in [0, 1, bytes.len() - 1] {
                assert_eq!(read_frame(&bytes[..cut]), Ok(None), "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_no_hub_should_send_is_an_error() {
        assert!(read_frame(&[0x01, 0]).is_err(), "a fragment");
        assert!(read_frame(&[0x81, 0x80, 0, 0, 0, 0]).is_err(), "a mask");
        assert!(read_frame(&[0x83, 0]).is_err(), "a reserved opcode");
        assert!(read_frame(&[0x81, 127, 0, 0, 0, 9, 0, 0, 0, 0]).is_err(), "too long");
    }
}
