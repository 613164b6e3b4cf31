//! Reads columns and refuses what cannot be: the file may be damaged, or changed by hand (I-7).

use protocol::limits::TEXT_VALUE_MAX_BYTES;
use protocol::{Kind, Timestamp, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::StoreError;

/// Reads a value by its storage class.
pub(crate) fn value(stored: ValueRef<'_>) -> Result<Value, StoreError> {
    match stored {
        ValueRef::Real(n) if n.is_finite() => Ok(Value::Number(n)),
        ValueRef::Integer(0) => Ok(Value::Bool(false)),
        ValueRef::Integer(1) => Ok(Value::Bool(true)),
        ValueRef::Text(bytes) if bytes.len() <= TEXT_VALUE_MAX_BYTES => std::str::from_utf8(bytes)
            .map(Value::from)
            .map_err(|_| StoreError::corrupt("a text value that is not UTF-8")),
        other => Err(StoreError::corrupt(format!("a value of type {}", other.data_type()))),
    }
}

/// Reads a number or a boolean as a number, for arithmetic.
pub(crate) fn number(stored: ValueRef<'_>) -> Result<f64, StoreError> {
    value(stored)?.to_number().ok_or_else(|| StoreError::corrupt("a text in a series of numbers"))
}

/// The form in which a value is stored. A number is bound as REAL, so that SQLite changes nothing about it.
pub(crate) fn bind(value: &Value) -> ToSqlOutput<'_> {
    match value {
        Value::Number(n) => ToSqlOutput::Borrowed(ValueRef::Real(*n)),
        Value::Bool(b) => ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*b))),
        Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
    }
}

/// Sees that a reading may be stored: finite, short enough, at a time that a reading may have.
pub(crate) fn check(at: Timestamp, value: &Value, kind: Kind) -> Result<(), StoreError> {
    if !at.is_valid_for_reading() {
        return Err(StoreError::Invalid(format!("a reading at {}: outside 1970 to 2100", at.0)));
    }
    match (value, kind) {
        (Value::Number(n), Kind::Number) if n.is_finite() => Ok(()),
        (Value::Number(_), Kind::Number) => Err(StoreError::Invalid("a number that is not finite".into())),
        (Value::Bool(_), Kind::Bool) => Ok(()),
        (Value::Text(text), Kind::Text) if text.len() <= TEXT_VALUE_MAX_BYTES => Ok(()),
        (Value::Text(text), Kind::Text) => Err(StoreError::Invalid(format!(
            "a text of {} bytes: at most {TEXT_VALUE_MAX_BYTES} are allowed",
            text.len()
        ))),
        (value, kind) => Err(StoreError::Invalid(format!("a {} in a series of kind {kind}", value.kind()))),
    }
}

/// Reads a kind.
pub(crate) fn kind(text: &str) -> Result<Kind, StoreError> {
    Kind::parse(text).ok_or_else(|| StoreError::corrupt(format!("a series of kind {text:?}")))
}

/// Reads a count.
pub(crate) fn count(stored: i64) -> Result<u64, StoreError> {
    u64::try_from(stored).map_err(|_| StoreError::corrupt(format!("a count of {stored}")))
}

/// Reads a name that is checked when it is made.
pub(crate) fn name<T: std::str::FromStr<Err = protocol::NameError>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|error: protocol::NameError| StoreError::corrupt(error.to_string()))
}

/// Reads JSON that this crate wrote.
pub(crate) fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    protocol::codec::from_json(text).map_err(|error| StoreError::corrupt(error.to_string()))
}

/// Writes JSON.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Invalid(error.to_string()))
}
