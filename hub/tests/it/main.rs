//! The hub over real sockets: in this process and as the real program, spoken to in JSON written by hand, by the
//! `client` crate, and by programs in another language.
//!
//! No test sleeps: each waits for a message or a condition, with a deadline.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows these in tests, but does not see that what tests share is a test too"
)]

mod access;
mod batches;
mod care;
mod cli;
mod closes;
mod config;
mod connections;
mod crash;
mod deadlines;
mod declarations;
mod doors;
mod enrolment;
mod exchange;
mod fates;
mod fleet;
mod foreign;
mod fuzz;
mod groups;
mod harness;
mod history;
mod inspect;
mod late;
mod limits;
mod live;
mod orders;
mod python;
mod rates;
mod ready;
mod requests;
mod rest;
mod slow;
mod stop;
mod tls;
mod tokens;
mod tour;
mod traces;
mod updates;
mod vanish;
mod wire;
