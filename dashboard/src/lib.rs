//! The dashboard: live charts, history, devices and commands of a hub, in one window.
//!
//! `link` brings events from the hub, `model` holds all state and decides, `views` draw it and push actions, `app`
//! joins them. `model` knows no egui, `link` knows no egui, and no view blocks (I-16).

pub mod action;
pub mod app;
pub mod clock;
pub mod disk;
pub mod figures;
pub mod format;
pub mod fuzzy;
pub mod layout;
pub mod link;
pub mod model;
pub mod palette;
pub mod raster;
pub mod series;
pub mod settings;
pub mod theme;
pub mod ticks;
pub mod verb;
pub mod viewport;
pub mod views;
