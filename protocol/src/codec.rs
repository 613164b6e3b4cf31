//! Text to message and back.
//!
//! A message is read in two steps: its `type`, then exactly the fields of that type. Unknown fields are skipped,
//! an unknown type is an error that names it, and no input can panic (I-7).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ErrorCode;

/// Why a text is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a JSON object with a `type`.
    #[error("not a message: {0}")]
    Malformed(String),
    /// A type that this version does not know, or that the peer may not send.
    #[error("unknown message type {found:?}: known here are {known}")]
    UnknownType {
        /// What `type` said, cut to 64 characters.
        found: String,
        /// The types known here.
        known: String,
    },
    /// A field is missing, of the wrong type or out of range.
    #[error("{kind}: {problem}")]
    BadField {
        /// The type of the message.
        kind: &'static str,
        /// What is wrong, where.
        problem: String,
        /// The `seq` or `id` of the message, as far as it could be read.
        number: Option<u64>,
    },
}

impl DecodeError {
    /// The code for an `error` message.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::UnknownType { .. } => ErrorCode::UnknownType,
            Self::BadField { .. } => ErrorCode::BadField,
        }
    }
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Number {
    #[serde(alias = "id")]
    seq: Option<u64>,
}

/// Reads the `type` of a message. The common case, `type` first and without escapes, costs a few bytes.
pub fn read_type(text: &str) -> Result<Cow<'_, str>, DecodeError> {
    if let Some(rest) = text.strip_prefix("{\"type\":\"")
        && let Some(end) = rest.find(['"', '\\'])
        && rest.as_bytes()[end] == b'"'
    {
        return Ok(Cow::Borrowed(&rest[..end]));
    }
    serde_json::from_str::<Tag<'_>>(text).map(|tag| tag.kind).map_err(|e| malformed(text, &e))
}

fn malformed(text: &str, error: &serde_json::Error) -> DecodeError {
    DecodeError::Malformed(explain(text, error))
}

/// The error in words, with a hint where the text is not JSON because of a number that is none.
///
/// Whether it is a syntax error is not asked: one inside a reading carries its place and counts as an error of data.
fn explain(text: &str, error: &serde_json::Error) -> String {
    let mut problem = error.to_string();
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if ["NaN", "Infinity"].iter().any(|word| text.contains(word)) && !is_json() {
        problem.push_str(" (NaN and Infinity are not JSON: leave such a reading out)");
    }
    problem
}

/// Reads the fields of a message whose type is known.
pub fn read_fields<'a, T: Deserialize<'a>>(kind: &'static str, text: &'a str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|e| {
        let number = match serde_json::from_str::<Number>(text) {
            Ok(number) => number.seq,
            Err(_) => find_seq(text),
        };
        DecodeError::BadField { kind, problem: explain(text, &e), number }
    })
}

/// Finds the `seq` of a message that is not valid JSON further on: `{"type":"readings","seq":7,"points":[NaN`.
fn find_seq(text: &str) -> Option<u64> {
    let rest = text.split_once("\"seq\"")?.1.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, after) = rest.split_at(end);
    // `1.5` and `1e3` are not the batch 1.
    if after.trim_start().starts_with([',', '}']) { digits.parse().ok() } else { None }
}

/// A set of messages that one side sends, each with a type of its own.
pub trait Messages: Sized {
    /// Reads one message.
    fn decode(text: &str) -> Result<Self, DecodeError>;
}

/// Defines an enum of messages, its JSON form tagged by `type`, and its decoding.
macro_rules! messages {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident($body:ty) = $tag:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(tag = "type")]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $tag)] $variant($body),)* }

        impl $name {
            /// The types of these messages, in the order of the documentation.
            pub const TYPES: &[&str] = &[$($tag,)*];

            /// Reads one message.
            pub fn decode(text: &str) -> Result<Self, $crate::codec::DecodeError> {
                match $crate::codec::read_type(text)?.as_ref() {
                    $($tag => $crate::codec::read_fields($tag, text).map(Self::$variant),)*
                    other => Err($crate::codec::unknown_type(other, Self::TYPES)),
                }
            }

            /// Its type, as it stands in `type`.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $tag,)* }
            }

            /// Writes the message.
            pub fn encode(&self) -> String {
                $crate::codec::write(self)
            }
        }

        impl $crate::codec::Messages for $name {
            fn decode(text: &str) -> Result<Self, $crate::codec::DecodeError> {
                Self::decode(text)
            }
        }

        $(impl From<$body> for $name {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}
pub(crate) use messages;

/// The error for a type that is not among `known`.
pub fn unknown_type(found: &str, known: &[&str]) -> DecodeError {
    DecodeError::UnknownType { found: found.chars().take(64).collect(), known: known.join(", ") }
}

/// Writes a message. All of ours can be written: their maps have text keys and their numbers are finite.
pub(crate) fn write<T: serde::Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_else(|e| {
        debug_assert!(false, "a message that cannot be written: {e}");
        String::new()
    })
}

/// Reads any value that owns its parts; for stored JSON.
pub fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}
