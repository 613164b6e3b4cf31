//! The bodies of the fuzz targets. The tests of the crates that they are about run them too, over `seeds` and a few
//! thousand changes of them: see `replay.rs`.

pub mod config;
pub mod database;
pub mod hub;
pub mod messages;
pub mod session;
pub mod upgrade;
