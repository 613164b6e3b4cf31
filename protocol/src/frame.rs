//! Where the frames of a WebSocket begin and end (RFC 6455, 5.2), in bytes that come in pieces of any size.
//!
//! Pure and bounded: it keeps a head of at most 14 bytes and nothing of any payload. Whatever the bytes are, they are
//! frames: what breaks a rule is said ([`Head::problems`]), and the frame ends where its length says.

/// Longest head of a frame, in bytes: two, eight of length, four of mask.
pub const HEAD_MAX_BYTES: usize = 14;
/// Longest payload of a control frame, in bytes (RFC 6455, 5.5).
pub const CONTROL_MAX_BYTES: u64 = 125;

/// Goes on with the message of the frame before.
pub const CONTINUATION: u8 = 0x0;
/// Begins a message of text.
pub const TEXT: u8 = 0x1;
/// Begins a message of bytes.
pub const BINARY: u8 = 0x2;
/// Ends the connection.
pub const CLOSE: u8 = 0x8;
/// Asks for an answer.
pub const PING: u8 = 0x9;
/// The answer.
pub const PONG: u8 = 0xa;

/// The name of an opcode, for a person.
pub const fn opcode_name(opcode: u8) -> &'static str {
    match opcode {
        CONTINUATION => "continuation",
        TEXT => "text",
        BINARY => "binary",
        CLOSE => "close",
        PING => "ping",
        PONG => "pong",
        _ => "reserved",
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Which kind of frame: 0 to 15.
    pub opcode: u8,
    /// Whether it ends its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 being 4.
    pub rsv: u8,
    /// The key with which the payload is masked, if it is.
    pub key: Option<[u8; 4]>,
    /// Length of the payload, in bytes.
    pub payload: u64,
    /// Length of this head, in bytes.
    pub bytes: u8,
    /// The length is written in no more bytes than it needs.
    pub is_minimal: bool,
    /// A message had begun before this frame and not ended.
    pub goes_on: bool,
}

impl Head {
    /// Whether it is a frame about the connection: close, ping, pong, and what is reserved for the like.
    pub const fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }

    /// Whether a message ends with it.
    pub const fn ends_message(&self) -> bool {
        self.fin && !self.is_control()
    }

    /// The rules that it breaks; nothing if it is as it should be. `masked`: its side must mask, as clients must.
    pub fn problems(&self, masked: bool) -> Vec<&'static str> {
        let starts = matches!(self.opcode, TEXT | BINARY);
        [
            (self.rsv != 0, "reserved bits"),
            (!matches!(self.opcode, CONTINUATION..=BINARY | CLOSE..=PONG), "reserved opcode"),
            (masked && self.key.is_none(), "not masked"),
            (!masked && self.key.is_some(), "masked"),
            (!self.is_minimal, "length in too many bytes"),
            (self.payload >> 63 == 1, "length above 2^63"),
            (self.is_control() && !self.fin, "control frame in fragments"),
            (self.is_control() && self.payload > CONTROL_MAX_BYTES, "control frame above 125 bytes"),
            (self.opcode == CLOSE && self.payload == 1, "close frame of one byte"),
            (self.opcode == CONTINUATION && !self.goes_on, "continuation of nothing"),
            (starts && self.goes_on, "message inside a message"),
        ]
        .into_iter()
        .filter_map(|(is_so, problem)| is_so.then_some(problem))
        .collect()
    }
}

/// A piece of what was fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A frame begins: its head is complete.
    Head(Head),
    /// Some of its payload, as it came.
    Payload {
        /// The place of these bytes in the payload.
        at: u64,
        /// The bytes, masked if the frame is.
        bytes: &'a [u8],
    },
    /// The frame is complete.
    End,
}

/// Finds frames in one direction of a connection.
#[derive(Debug, Clone, Default)]
pub struct Framer {
    head: [u8; HEAD_MAX_BYTES],
    /// Bytes of the head that are there.
    have: u8,
    /// Of the frame whose payload comes: its length, and how much of it has come.
    frame: Option<(u64, u64)>,
    /// A message has begun and not ended.
    open: bool,
}

impl Framer {
    /// The next piece of `bytes`, which begin after it from then on; `None` when all are used up.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Piece<'a>> {
        if let Some((length, at)) = self.frame {
            let left = length - at;
            if left == 0 {
                self.frame = None;
                return Some(Piece::End);
            }
            if bytes.is_empty() {
                return None;
            }
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(take);
            *bytes = rest;
            self.frame = Some((length, at + take as u64));
            return Some(Piece::Payload { at, bytes: payload });
        }
        loop {
            let need = self.need();
            if usize::from(self.have) == need {
                let head = self.read_head(need);
                self.have = 0;
                self.frame = Some((head.payload, 0));
                if !head.is_control() {
                    self.open = !head.fin;
                }
                return Some(Piece::Head(head));
            }
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            self.head[usize::from(self.have)] = *byte;
            self.have += 1;
        }
    }

    /// Whether the next byte begins a message or a control frame, and no message is half there.
    pub const fn is_between_messages(&self) -> bool {
        self.is_between_frames() && !self.open
    }

    /// Whether the next byte begins a frame.
    pub const fn is_between_frames(&self) -> bool {
        self.have == 0 && self.frame.is_none()
    }

    /// Bytes that the head has, as far as is known.
    const fn need(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn read_head(&self, need: usize) -> Head {
        let [first, second, ..] = self.head;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let extended = &self.head[2..need - mask];
        let number = extended.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let (payload, is_minimal) = match second & 0x7f {
            126 => (number, number > 125),
            127 => (number, number > 0xffff),
            short => (u64::from(short), true),
        };
        let key = <[u8; 4]>::try_from(&self.head[need - mask..need]).ok();
        Head {
            opcode: first & 0x0f,
            fin: first & 0x80 != 0,
            rsv: first >> 4 & 0x7,
            key,
            payload,
            bytes: need as u8,
            is_minimal,
            goes_on: self.open,
        }
    }
}

/// Takes a mask off bytes that stand at `at` in their payload. The same puts one on.
pub fn unmask(bytes: &mut [u8], key: [u8; 4], at: u64) {
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[(at as usize).wrapping_add(place) % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads and payloads, fed in pieces of `size`.
    fn frames(bytes: &[u8], size: usize) -> Vec<(Head, Vec<u8>)> {
        let (mut framer, mut found) = (Framer::default(), Vec::new());
        for mut chunk in bytes.chunks(size) {
            while let Some(piece) = framer.next(&mut chunk) {
                match piece {
                    Piece::Head(head) => found.push((head, Vec::new())),
                    Piece::Payload { at, bytes } => {
                        let (head, payload) = found.last_mut().unwrap();
                        assert_eq!(at, payload.len() as u64);
                        let mut bytes = bytes.to_vec();
                        if let Some(key) = head.key {
                            unmask(&mut bytes, key, at);
                        }
                        payload.extend(bytes);
                    }
                    Piece::End => {
                        let (head, payload) = found.last().unwrap();
                        assert_eq!(head.payload, payload.len() as u64);
                    }
                }
            }
        }
        found
    }

    fn frame(first: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
        let mask = if key.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match payload.len() {
            short @ ..126 => bytes.push(mask | short as u8),
            middle @ 126..65_536 => {
                bytes.push(mask | 0x7e);
                bytes.extend((middle as u16).to_be_bytes());
            }
            long => {
                bytes.push(mask | 0x7f);
                bytes.extend((long as u64).to_be_bytes());
            }
        }
        bytes.extend(key.iter().flatten());
        let mut payload = payload.to_vec();
        if let Some(key) = key {
            unmask(&mut payload, key, 0);
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_found_however_the_bytes_are_cut() {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (n, length) in [0_usize, 1, 125, 126, 127, 65_535, 65_536, 70_000].into_iter().enumerate() {
            let payload: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let key = (n % 2 == 0).then_some([1, 2, 3, n as u8]);
            bytes.extend(frame(0x82, &payload, key));
            expected.push((key, payload));
        }
        for size in [1, 2, 3, 7, 4_096, 1_000_000] {
            let found = frames(&bytes, size);
            let found: Vec<_> = found.into_iter().map(|(head, payload)| (head.key, payload)).collect();
            assert!(found == expected, "cut by {size}");
        }
    }

    #[test]
    fn the_bytes_of_all_heads_and_payloads_are_all_bytes() {
        let bytes: Vec<u8> =
            [frame(0x81, b"{}", Some([9; 4])), frame(0x89, b"", None), frame(0x01, &[0; 300], None)].concat();
        let found = frames(&bytes, 5);
        let sum: u64 = found.iter().map(|(head, _)| u64::from(head.bytes) + head.payload).sum();
        assert_eq!((sum, found.len()), (bytes.len() as u64, 3));
    }

    #[test]
    fn what_breaks_a_rule_is_said_and_is_a_frame_all_the_same() {
        let key = Some([1, 2, 3, 4]);
        let long = {
            let mut bytes = vec![0x81, 0xff];
            bytes.extend((1_u64 << 63).to_be_bytes());
            bytes.extend([1, 2, 3, 4]);
            bytes
        };
        let wide = vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'{', b'}'];
        for (bytes, problems) in [
            (frame(0x81, b"{}", key), vec![]),
            (frame(0x81, b"{}", None), vec!["not masked"]),
            (frame(0xc1, b"{}", key), vec!["reserved bits"]),
            (frame(0x83, b"{}", key), vec!["reserved opcode"]),
            (frame(0x8b, b"", key), vec!["reserved opcode"]),
            (frame(0x09, b"", key), vec!["control frame in fragments"]),
            (frame(0x89, &[0; 126], key), vec!["control frame above 125 bytes"]),
            (frame(0x88, b"\x03", key), vec!["close frame of one byte"]),
            (frame(0x80, b"{}", key), vec!["continuation of nothing"]),
            ([frame(0x01, b"{", key), frame(0x81, b"}", key)].concat(), vec!["message inside a message"]),
            ([frame(0x01, b"{", key), frame(0x80, b"}", key)].concat(), vec![]),
            ([frame(0x01, b"{", key), frame(0x89, b"", key), frame(0x80, b"}", key)].concat(), vec![]),
            (long, vec!["length above 2^63"]),
            (wide, vec!["length in too many bytes"]),
        ] {
            let found = frames(&bytes, 3);
            assert_eq!(found.last().unwrap().0.problems(true), problems, "{bytes:x?}");
        }
        assert_eq!(frames(&frame(0x81, b"{}", key), 9)[0].0.problems(false), ["masked"]);
    }

    #[test]
    fn i_7_any_bytes_are_frames_and_none_is_lost() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..200 {
            let bytes: Vec<u8> = (0..500)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    seed as u8
                })
                .collect();
            let (mut framer, mut count) = (Framer::default(), 0);
            for mut chunk in bytes.chunks(1 + round % 31) {
                while let Some(piece) = framer.next(&mut chunk) {
                    count += match piece {
                        Piece::Head(head) => usize::from(head.bytes),
                        Piece::Payload { bytes, .. } => bytes.len(),
                        Piece::End => 0,
                    };
                }
            }
            assert_eq!(count + usize::from(framer.have), bytes.len(), "round {round}");
        }
    }
}
