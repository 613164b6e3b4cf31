//! MQTT 3.1.1, as far as publishing at QoS 1 needs it: for a broker as a yardstick.
//!
//! A packet is one byte of type and flags, the length of the rest, and the rest.

/// Most bytes of a packet that a broker sends us: all of them are four bytes long.
const LENGTH_MAX: usize = 127;

/// Appends the first packet: a clean session, no keep-alive, no credentials.
pub(crate) fn write_connect(client: &str, out: &mut Vec<u8>) {
    out.push(0x10);
    write_length(12 + client.len(), out);
    write_text("MQTT", out);
    // Version 3.1.1, a clean session, no keep-alive.
    out.extend([4, 2, 0, 0]);
    write_text(client, out);
}

/// Appends a message at QoS 1. Returns where its packet identifier stands.
pub(crate) fn write_publish(topic: &str, payload: &[u8], out: &mut Vec<u8>) -> usize {
    out.push(0x32);
    write_length(2 + topic.len() + 2 + payload.len(), out);
    write_text(topic, out);
    let at = out.len();
    out.extend([0, 1]);
    out.extend(payload);
    at
}

/// Appends the last packet.
pub(crate) fn write_disconnect(out: &mut Vec<u8>) {
    out.extend([0xE0, 0]);
}

/// The packet identifier of a message: two bytes, and never 0.
pub(crate) const fn packet(seq: u64) -> u16 {
    (seq.wrapping_sub(1) % u16::MAX as u64) as u16 + 1
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

fn write_length(mut length: usize, out: &mut Vec<u8>) {
    while length > 127 {
        out.push(0x80 | (length & 0x7F) as u8);
        length >>= 7;
    }
    out.push(length as u8);
}

/// What a broker sends to who publishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// The connection is taken, or with a code above 0 refused.
    Connected(u8),
    /// The message with this packet identifier has arrived.
    Acknowledged(u16),
}

/// Reads the packet at the start of `bytes` and returns it with its length; `None` if it is not complete yet.
pub(crate) fn read_packet(bytes: &[u8]) -> Result<Option<(Packet, usize)>, &'static str> {
    let [kind, length, ..] = bytes else { return Ok(None) };
    if *length as usize > LENGTH_MAX {
        return Err("the broker sent a packet longer than any that we ask for");
    }
    let end = 2 + *length as usize;
    let Some(rest) = bytes.get(2..end) else { return Ok(None) };
    let packet = match (kind, rest) {
        (0x20, [_, code]) => Packet::Connected(*code),
        (0x40, [high, low]) => Packet::Acknowledged(u16::from_be_bytes([*high, *low])),
        _ => return Err("the broker sent a packet that is no answer to ours"),
    };
    Ok(Some((packet, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_the_standard() {
        let mut out = Vec::new();
        write_connect("a", &mut out);
        assert_eq!(out, [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'a']);
        out.clear();
        assert_eq!(write_publish("t", &[7; 321], &mut out), 6);
        assert_eq!(out[..9], [0x32, 0xC6, 0x02, 0, 1, b't', 0, 1, 7]);
        assert_eq!(out.len(), 3 + 326);
    }

    #[test]
    fn packet_identifiers_go_round_and_are_never_0() {
        assert_eq!([1, 65_535, 65_536, 131_071].map(packet), [1, 65_535, 1, 1]);
    }

    #[test]
    fn answers_are_read_whole_and_what_is_none_is_an_error() {
        let bytes = [0x40, 2, 1, 2, 0x20, 2, 0, 5];
        assert_eq!(read_packet(&bytes), Ok(Some((Packet::Acknowledged(258), 4))));
        assert_eq!(read_packet(&bytes[4..]), Ok(Some((Packet::Connected(5), 4))));
        for cut in 0..4 {
            assert_eq!(read_packet(&bytes[..cut]), Ok(None));
        }
        for bad in [[0x40, 0x82, 0, 0], [0x40, 1, 0, 0], [0x30, 2, 0, 0]] {
            assert!(read_packet(&bad).is_err(), "{bad:?}");
        }
    }
}
