//! Integration tests of the protocol: golden messages, hostile messages, the document, and both ends of a stream over a
//! bad line.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod decode;
mod document;
mod fuzz;
mod golden;
mod orders;
mod stream;
