//! A simulated fleet that behaves like a real one, and the load generator.
//!
//! `kinds` are pure models of devices: stepped by an amount of time, random only by their seed. `sampler` turns a model
//! into readings, `fleet` connects samplers to a hub and plays faults, `load` measures what a hub takes.

pub mod catalog;
pub mod cli;
pub mod clock;
pub mod deeds;
mod device;
pub mod faults;
pub mod fleet;
pub mod job;
pub mod kinds;
pub mod load;
pub mod parts;
mod printer;
pub mod report;
pub mod sampler;
