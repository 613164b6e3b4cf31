//! Integration tests of the dashboard: the model alone, then the window by what it says to a screen reader.

#[path = "../../testkit/mod.rs"]
mod testkit;

mod fixtures;
mod layout;
mod model;
mod snapshots;
mod window;
