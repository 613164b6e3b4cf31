//! The client against a small hub in the same process: real sockets, no sleeps.
//!
//! Time is paused only where a test is about time: with real sockets a paused clock jumps to the next timer whenever
//! the runtime waits for one, which is right for a heartbeat and wrong for a deadline that should not be reached.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking")]

mod device;
mod faults;
mod hub;
mod refusals;
mod viewer;
