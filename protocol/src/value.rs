//! The value of a reading and its kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{TEXT_VALUE_MAX_BYTES, refusal};

/// What sort of values a series holds. Declared once; a reading of another kind is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A finite 64-bit floating point number.
    #[default]
    Number,
    /// `true` or `false`.
    Bool,
    /// A short text: the name of a state.
    Text,
}

impl Kind {
    /// The kind as it stands in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Text => "text",
        }
    }

    /// Reads back what [`Kind::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Number, Self::Bool, Self::Text].into_iter().find(|k| k.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value. Numbers are finite; texts are at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A finite number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A short text.
    Text(Arc<str>),
}

impl Value {
    /// The kind of this value.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Number,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// The number, if it is one.
    pub const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            Self::Bool(_) | Self::Text(_) => None,
        }
    }

    /// The value as a number for arithmetic over buckets: `true` is 1, `false` is 0, a text has none.
    pub const fn to_number(&self) -> Option<f64> {
        match self {
            Self::Number(n) => Some(*n),
            Self::Bool(b) => Some(if *b { 1.0 } else { 0.0 }),
            Self::Text(_) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => n.fmt(f),
            Self::Bool(b) => b.fmt(f),
            Self::Text(t) => f.write_str(t),
        }
    }
}

impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Number(n)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<&str> for Value {
    fn from(t: &str) -> Self {
        Self::Text(t.into())
    }
}

/// A value that still borrows its text from the message it came in.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueRef<'a> {
    /// A finite number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A short text.
    Text(Cow<'a, str>),
}

impl ValueRef<'_> {
    /// The kind of this value.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Number,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// The value with a text of its own.
    pub fn into_owned(self) -> Value {
        match self {
            Self::Number(n) => Value::Number(n),
            Self::Bool(b) => Value::Bool(b),
            Self::Text(t) => Value::Text(t.into()),
        }
    }
}

struct ValueVisitor;

impl ValueVisitor {
    fn text<E: de::Error>(length: usize) -> Result<(), E> {
        if length > TEXT_VALUE_MAX_BYTES {
            return Err(E::custom(format_args!(
                "a text value of {length} bytes: {}",
                refusal("text_value_bytes", TEXT_VALUE_MAX_BYTES, "reading", "send a shorter one")
            )));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = ValueRef<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a finite number, true, false or a text")
    }
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Self::Value, E> {
        if n.is_finite() { Ok(ValueRef::Number(n)) } else { Err(E::custom("a number that is not finite")) }
    }
    fn visit_u64<E>(self, n: u64) -> Result<Self::Value, E> {
        Ok(ValueRef::Number(n as f64))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Self::Value, E> {
        Ok(ValueRef::Number(n as f64))
    }
    fn visit_bool<E>(self, b: bool) -> Result<Self::Value, E> {
        Ok(ValueRef::Bool(b))
    }
    fn visit_borrowed_str<E: de::Error>(self, t: &'de str) -> Result<Self::Value, E> {
        Self::text(t.len())?;
        Ok(ValueRef::Text(Cow::Borrowed(t)))
    }
    fn visit_str<E: de::Error>(self, t: &str) -> Result<Self::Value, E> {
        Self::text(t.len())?;
        Ok(ValueRef::Text(Cow::Owned(t.to_owned())))
    }
}

impl<'de> Deserialize<'de> for ValueRef<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueRef::deserialize(deserializer).map(ValueRef::into_owned)
    }
}
