//! Integration tests of the protocol: golden messages, and both ends of a stream over a bad line.

mod golden;
mod stream;
