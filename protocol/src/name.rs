//! Names and numbers that identify things, each a type of its own, checked when they are made.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("{what} is empty: it needs 1 to {max} characters")]
    Empty {
        /// Which name.
        what: &'static str,
        /// The longest it may be, in bytes.
        max: usize,
    },
    /// The name is longer than its limit.
    #[error("{what} is {length} bytes long: {}", limits::refusal(&limit_of(what), *max, "name", "choose a shorter one"))]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The longest it may be, in bytes.
        max: usize,
    },
    /// The name holds a character that names may not hold.
    #[error("{what} {name:?} holds {character:?}: allowed are ASCII letters, digits and . _ - : /")]
    BadCharacter {
        /// Which name.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

/// What the longest length of a name is called.
fn limit_of(what: &str) -> String {
    // Both ids are made by the hub in the same way.
    let what = if what == "group id" { "command id" } else { what };
    format!("{}_bytes", what.replace(' ', "_"))
}

fn check(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what, max });
    }
    if name.len() > max {
        return Err(NameError::TooLong { what, length: name.len(), max });
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-:/".contains(*c))) {
        Some(character) => Err(NameError::BadCharacter { what, name: name.to_owned(), character }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Box<str>);

        impl $name {
            /// Makes the name, or says what is wrong with it.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check($what, name, $max)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(s: &str) -> Result<Self, NameError> {
                Self::new(s)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// Identifies a device for as long as it exists.
    DeviceId, "device id", limits::DEVICE_ID_MAX_BYTES
);
name!(
    /// What a device measures: `temperature`.
    MetricName, "metric name", limits::METRIC_NAME_MAX_BYTES
);
name!(
    /// A random name that a device draws when it has lost its place; `seq` counts from 1 inside it.
    Epoch, "epoch", limits::EPOCH_MAX_BYTES
);
name!(
    /// Identifies one command for ever; the idempotency key.
    CommandId, "command id", limits::COMMAND_ID_MAX_BYTES
);
name!(
    /// Identifies one request to many devices for ever.
    GroupId, "group id", limits::COMMAND_ID_MAX_BYTES
);
name!(
    /// What a device calls itself beside its id, so that it can be chosen with others: `site:north`, `canary`.
    Tag, "tag", limits::TAG_MAX_BYTES
);

/// The number of a batch inside an epoch: 1, 2, 3, ... 0 means "none yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The largest number a batch may carry: exact in JavaScript's numbers.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The number that follows.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hub's short number for one metric of one device. Stable for the life of a database file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeriesId(pub i64);

/// A place in the order in which the hub committed readings. Only ever grows; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_wrong_with_it() {
        assert_eq!(
            DeviceId::new("").unwrap_err().to_string(),
            "device id is empty: it needs 1 to 64 characters"
        );
        assert_eq!(
            DeviceId::new("a b").unwrap_err().to_string(),
            "device id \"a b\" holds ' ': allowed are ASCII letters, digits and . _ - : /"
        );
        assert_eq!(
            MetricName::new(&"x".repeat(65)).unwrap_err().to_string(),
            "metric name is 65 bytes long: metric_name_bytes is 64 (per name); choose a shorter one"
        );
        assert!(serde_json::from_str::<DeviceId>("\"pump\\u00e9\"").is_err());
    }
}
