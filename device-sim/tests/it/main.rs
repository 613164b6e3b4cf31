//! The models, from outside: plausible over a day, and answering every command they declare.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod models;
