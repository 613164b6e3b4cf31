//! The store against files: what it promises, and what it does when a file is not what it should be.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy allows these in tests, but does not see that helpers are tests"
)]

mod append;
mod as_of;
mod backup;
mod commands;
mod connections;
mod credentials;
mod damage;
mod devices;
mod files;
mod full;
#[cfg(feature = "fuzzing")]
mod fuzz;
mod groups;
mod history;
mod ledger;
mod lives;
mod migrate;
mod model;
mod retention;
mod scan;
mod sql;
mod support;
mod verify;
