//! The models, from outside: plausible over a day, and answering every command they declare. And whole fleets against
//! a small hub in the same process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod claim;
mod fleet;
mod hub;
mod models;
