//! A connection made visible: its handshake, its frames, its end, and its figures. What `inspect` brings.
//!
//! The hub records, the viewer reads; [`Follow`] says on either side which frame answers which.

pub mod pcap;
pub mod polling;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::frame;
use crate::name::DeviceId;
use crate::time::Timestamp;
use crate::viewer::EndedBy;

/// Asks to be shown what the connections of a device carry, from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// Chosen by the viewer; repeated in every `wire` of this inspection. Replaces an older one of this id.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
    /// Bytes that are wanted of each payload; 512 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u32>,
}

/// Ends an inspection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopInspecting {
    /// The inspection.
    pub id: u64,
}

/// What went over the wire since the last message of this inspection. The first one answers `inspect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wire {
    /// The inspection.
    pub id: u64,
    /// The device.
    pub device: DeviceId,
    /// The figures of its present connection, now; absent if it is not connected. At least once in two seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<Figures>,
    /// In the order in which it happened.
    pub records: Vec<Record>,
    /// Frames that were counted and not recorded, because there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Something that happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The connection.
    pub session: String,
    /// When, by the hub's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The connection was made. Told first, also of one that was there before the inspection.
    Opened(Box<Handshake>),
    /// A frame went by.
    Frame(Box<Frame>),
    /// The connection is gone.
    Ended(Ended),
}

/// How a connection was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// Where it comes from.
    pub address: String,
    /// What was agreed on in TLS, if it is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The head of the request as it came, secrets replaced by `***`.
    pub request: String,
    /// The head of the response as it went.
    pub response: String,
    /// The client's key, `Sec-WebSocket-Key`.
    pub key: String,
    /// What the hub made of it, `Sec-WebSocket-Accept`.
    pub accept: String,
    /// What is spoken.
    pub subprotocol: String,
    /// When TCP was there.
    pub accepted_at: Timestamp,
    /// When TLS was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_at: Option<Timestamp>,
    /// When the head of the request was read whole.
    pub requested_at: Timestamp,
    /// When the 101 was written.
    pub upgraded_at: Timestamp,
    /// When `hello` was read; absent if it has not been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hello_at: Option<Timestamp>,
}

/// What was agreed on in TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// `TLSv1_3`.
    pub version: String,
    /// `TLS13_AES_128_GCM_SHA256`.
    pub cipher: String,
}

/// One of both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The device.
    Device,
    /// The hub.
    Hub,
}

impl Side {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Hub => "hub",
        }
    }

    /// The one at the other end.
    pub const fn other(self) -> Self {
        match self {
            Self::Device => Self::Hub,
            Self::Hub => Self::Device,
        }
    }
}

/// A frame as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Its number on this connection, both sides counted together, from 1. Numbers that are missing were left out.
    pub n: u64,
    /// Who sent it.
    pub from: Side,
    /// Where its first byte stands among all that this side sent after the upgrade.
    pub offset: u64,
    /// Which kind: 0 to 15.
    pub opcode: u8,
    /// Whether it ends its message.
    pub fin: bool,
    /// The reserved bits, RSV1 being 4; absent if none is set.
    #[serde(default, skip_serializing_if = "is_none_set")]
    pub rsv: u8,
    /// The key of its mask in hexadecimal digits; absent if it is not masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Length of its head.
    pub header_bytes: u8,
    /// Length of its payload, as its head says.
    pub payload_bytes: u64,
    /// How much of the payload came; absent if all of it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came_bytes: Option<u64>,
    /// The start of the payload, unmasked, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The same in hexadecimal digits, where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hex: Option<String>,
    /// What message begins here, as far as the start says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageHead>,
    /// Of a pong: the time since the ping that it answers, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<u64>,
    /// Of a close frame with a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Close>,
    /// The rules that it breaks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_none_set(bits: &u8) -> bool {
    *bits == 0
}

impl Frame {
    /// What kind it is, for a person.
    pub const fn kind(&self) -> &'static str {
        frame::opcode_name(self.opcode)
    }

    /// The start of the payload, as far as it was recorded.
    pub fn payload_start(&self) -> Vec<u8> {
        match (&self.text, &self.hex) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(hex)) => from_hex(hex),
            (None, None) => Vec::new(),
        }
    }

    /// The frame as it went over the wire, as far as it was recorded; masked, if it was.
    pub fn bytes(&self) -> Vec<u8> {
        let mask = if self.mask.is_some() { 0x80 } else { 0 };
        let fin = if self.fin { 0x80 } else { 0 };
        let mut bytes = vec![fin | (self.rsv & 0x7) << 4 | self.opcode & 0x0f];
        let key = self.mask.as_deref().map(from_hex).unwrap_or_default();
        match self.header_bytes.saturating_sub(key.len() as u8) {
            4 => {
                bytes.push(mask | 0x7e);
                bytes.extend((self.payload_bytes as u16).to_be_bytes());
            }
            10 => {
                bytes.push(mask | 0x7f);
                bytes.extend(self.payload_bytes.to_be_bytes());
            }
            _ => bytes.push(mask | (self.payload_bytes as u8 & 0x7f)),
        }
        bytes.extend(&key);
        let mut payload = self.payload_start();
        if let Ok(key) = <[u8; 4]>::try_from(key) {
            frame::unmask(&mut payload, key, 0);
        }
        bytes.extend(payload);
        bytes
    }

    /// Length of the whole frame, as much of it as came.
    pub fn length(&self) -> u64 {
        u64::from(self.header_bytes) + self.came_bytes.unwrap_or(self.payload_bytes)
    }
}

/// Bytes in hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// Bytes of hexadecimal digits, as far as they are such.
pub fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map_while(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?))
        .collect()
}

/// What a message says of itself at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageHead {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number of its batch, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The command that it is about, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A type in a message longer than this is none.
const KIND_MAX_BYTES: usize = 64;

impl MessageHead {
    /// Reads the start of a message. `None`: it says no type.
    pub fn read(start: &str) -> Option<Self> {
        let kind = text_of(start, "\"type\"").filter(|kind| kind.len() <= KIND_MAX_BYTES)?;
        let seq = || number_of(start, "\"seq\"");
        let id = || text_of(start, "\"id\"").filter(|id| id.len() <= KIND_MAX_BYTES);
        let has_seq = matches!(kind.as_str(), "readings" | "skip" | "ack" | "refuse");
        let has_id = matches!(kind.as_str(), "command" | "cancel" | "command_update");
        Some(Self { seq: has_seq.then(seq).flatten(), id: has_id.then(id).flatten(), kind })
    }
}

fn value_of<'a>(start: &'a str, field: &str) -> Option<&'a str> {
    Some(start.split_once(field)?.1.trim_start().strip_prefix(':')?.trim_start())
}

fn text_of(start: &str, field: &str) -> Option<String> {
    let (text, _) = value_of(start, field)?.strip_prefix('"')?.split_once('"')?;
    Some(text.to_owned())
}

fn number_of(start: &str, field: &str) -> Option<u64> {
    let rest = value_of(start, field)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}

/// The code and reason of a close frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The code.
    pub code: u16,
    /// The reason; empty if none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which side began: with a close frame, or by ending TCP.
    pub by: EndedBy,
    /// Whether both sides sent a close frame.
    pub in_order: bool,
    /// What the first close frame said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close: Option<Close>,
}

/// A connection in numbers, since its upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// The connection.
    pub session: String,
    /// Since when.
    pub opened_at: Timestamp,
    /// When these numbers held.
    pub at: Timestamp,
    /// What the device sent.
    pub device: Traffic,
    /// What the hub sent.
    pub hub: Traffic,
    /// The last time that a ping of the hub took there and back, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<u64>,
    /// By how much the device's clock is ahead of the hub's, in microseconds, as far as its readings tell: they are never
    /// older than measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead: Option<i64>,
}

/// What one side sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes, heads of frames among them.
    pub bytes: u64,
    /// Frames that have begun.
    pub frames: u64,
    /// Messages whose last frame has begun.
    pub messages: u64,
    /// Bytes of the heads of frames: the overhead.
    pub header_bytes: u64,
}

impl Traffic {
    /// Bytes of overhead for each frame.
    pub fn overhead_per_frame(&self) -> f64 {
        if self.frames == 0 { 0.0 } else { self.header_bytes as f64 / self.frames as f64 }
    }
}

/// Most frames that wait for an answer, of each kind. What is older is not followed any more.
const FOLLOWED_MAX: usize = 4_096;

/// Says which frames a frame answers, on one connection.
#[derive(Debug, Clone, Default)]
pub struct Follow {
    /// Batches that are not settled: seq to frame.
    batches: BTreeMap<u64, u64>,
    /// The last word about each command: id to frame.
    commands: BTreeMap<String, u64>,
    hello: Option<u64>,
    /// Pings, with their payloads.
    pings: Vec<(Side, Vec<u8>, u64)>,
    closed: Option<(Side, u64)>,
}

impl Follow {
    /// A frame went by. Returns the numbers of earlier frames that it answers.
    pub fn on_frame(&mut self, frame: &Frame) -> Vec<u64> {
        match frame.opcode {
            frame::PING => {
                if self.pings.len() >= 16 {
                    self.pings.remove(0);
                }
                self.pings.push((frame.from, frame.payload_start(), frame.n));
                return Vec::new();
            }
            frame::PONG => {
                let payload = frame.payload_start();
                let asked =
                    |(side, sent, _): &(Side, Vec<u8>, u64)| *side == frame.from.other() && *sent == payload;
                let found = self.pings.iter().position(asked);
                return found.map(|place| self.pings.remove(place).2).into_iter().collect();
            }
            frame::CLOSE => {
                return match self.closed {
                    Some((side, n)) if side != frame.from => vec![n],
                    Some(_) => Vec::new(),
                    None => {
                        self.closed = Some((frame.from, frame.n));
                        Vec::new()
                    }
                };
            }
            _ => {}
        }
        let Some(message) = &frame.message else { return Vec::new() };
        match (frame.from, message.kind.as_str(), message.seq, &message.id) {
            (Side::Device, "hello", ..) => {
                self.hello = Some(frame.n);
                Vec::new()
            }
            (Side::Hub, "welcome", ..) => self.hello.take().into_iter().collect(),
            (Side::Device, "readings" | "skip", Some(seq), _) => {
                while self.batches.len() >= FOLLOWED_MAX {
                    self.batches.pop_first();
                }
                self.batches.insert(seq, frame.n);
                Vec::new()
            }
            (Side::Hub, "ack", Some(seq), _) => {
                let left = self.batches.split_off(&seq.saturating_add(1));
                std::mem::replace(&mut self.batches, left).into_values().collect()
            }
            (Side::Hub, "refuse", Some(seq), _) => self.batches.remove(&seq).into_iter().collect(),
            (_, "command" | "cancel" | "command_update", _, Some(id)) => {
                while self.commands.len() >= FOLLOWED_MAX {
                    self.commands.pop_first();
                }
                self.commands.insert(id.clone(), frame.n).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n: u64, from: Side, text: &str) -> Frame {
        Frame {
            n,
            from,
            offset: 0,
            opcode: frame::TEXT,
            fin: true,
            rsv: 0,
            mask: (from == Side::Device).then(|| "01020304".into()),
            header_bytes: if from == Side::Device { 6 } else { 2 },
            payload_bytes: text.len() as u64,
            came_bytes: None,
            text: Some(text.into()),
            hex: None,
            message: MessageHead::read(text),
            round_trip: None,
            close: None,
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_followed_to_what_it_led_to() {
        let mut follow = Follow::default();
        let mut lead = |n, from, said: &str| follow.on_frame(&text(n, from, said));
        assert!(lead(1, Side::Device, r#"{"type":"hello","device":"d"}"#).is_empty());
        assert_eq!(lead(2, Side::Hub, r#"{"type":"welcome","session":"s1"}"#), [1]);
        for (n, seq) in [(3, 1), (4, 2), (5, 3)] {
            lead(n, Side::Device, &format!(r#"{{"type":"readings","seq":{seq},"points":["#));
        }
        assert_eq!(lead(6, Side::Hub, r#"{"type":"refuse","seq":2,"code":"bad_time"}"#), [4]);
        assert_eq!(lead(7, Side::Hub, r#"{"type":"ack","seq":3}"#), [3, 5]);
        assert!(lead(8, Side::Hub, r#"{"type":"command","id":"c-1","name":"go"}"#).is_empty());
        assert_eq!(lead(9, Side::Device, r#"{"type":"command_update","id":"c-1","state":"received"}"#), [8]);
        assert_eq!(lead(10, Side::Device, r#"{"type":"command_update","id":"c-1","state":"running"}"#), [9]);
    }

    #[test]
    fn the_head_of_a_message_is_read_however_it_is_written_and_however_it_is_cut() {
        let head = |text: &str| MessageHead::read(text).map(|head| (head.kind, head.seq));
        assert_eq!(head(r#"{"type":"readings","seq":12,"points":[{"a"#), Some(("readings".into(), Some(12))));
        assert_eq!(head("{ \"seq\" : 7 , \"type\" : \"ack\" }"), Some(("ack".into(), Some(7))));
        assert_eq!(head(r#"{"type":"readings","seq":1"#), Some(("readings".into(), None)), "perhaps 12");
        assert_eq!(head(r#"{"type":"read"#), None);
        assert_eq!(head("\u{0}\u{1}"), None);
    }

    #[test]
    fn a_recorded_frame_gives_the_bytes_that_went_over_the_wire() {
        let frame = text(1, Side::Hub, r#"{"type":"ack","seq":2}"#);
        assert_eq!(to_hex(&frame.bytes()), "81167b2274797065223a2261636b222c22736571223a327d");
        let masked = text(1, Side::Device, "{}");
        assert_eq!(to_hex(&masked.bytes()), "8182010203047a7f");
        assert_eq!(masked.length(), 8);
    }
}
