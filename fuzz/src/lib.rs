//! The bodies of the fuzz targets. The tests of the crates that they are about run them too, over `seeds` and a few
//! thousand changes of them: see `replay.rs`.

pub mod config;
pub mod database;
#[path = "../../hub/src/config.rs"]
pub mod hub_config;
pub mod messages;
