//! Integration tests of the dashboard: the model alone, then the window by what it says to a screen reader.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../testkit/mod.rs"]
mod testkit;

mod absences;
mod chart_exports;
mod chart_keys;
mod chart_settings;
mod charts;
mod commands;
mod drawn;
mod fixtures;
mod groups;
mod hostile;
mod hubs;
mod latency;
mod layout;
mod layouts;
mod listing;
mod measuring;
mod model;
mod names;
mod narrow;
mod notices;
mod page;
mod palette;
mod resilience;
mod settings;
mod snapshots;
mod states;
mod window;
mod wire;
