//! The hub: takes readings in from devices, stores them, tells viewers, and carries commands back.
//!
//! The main path, in the order in which a reading travels:
//! [`http`] (upgrade) -> [`auth`] -> [`session::device`] -> `protocol::inbox` -> [`ingest`] -> `store` (commit, fsync)
//! -> ack; and from the same commit -> [`live`] -> [`session::viewer`].

pub mod access;
pub mod audit;
pub mod auth;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod deadline;
pub mod directory;
pub mod door;
pub mod exchange;
pub mod gate;
pub mod groups;
mod handshake;
pub mod http;
pub mod ingest;
pub mod late;
pub mod limits;
pub mod live;
pub mod mailbox;
pub mod metrics;
pub mod orders;
pub mod queue;
pub mod rates;
pub mod readers;
pub mod retention;
pub mod serve;
pub mod session;
pub mod tickets;
pub mod tls;
pub mod tokens;
pub mod wire;

pub use config::Config;
pub use serve::{Hub, Running, ServeError, start, start_by_hand};
