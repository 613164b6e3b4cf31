//! What is drawn: functions of the model that push what the user asked for.

pub mod banner;
pub mod chart;
pub mod chart_form;
pub mod charts;
pub mod command;
pub mod commands;
pub mod composer;
pub mod device;
pub mod devices;
pub mod empty;
pub mod exports;
pub mod form;
pub mod groups;
pub mod help;
pub mod hub_list;
pub mod layouts;
pub mod ledger;
pub mod log;
pub mod palette;
pub mod range;
pub mod settings;
pub mod status_bar;
pub mod toasts;
pub mod top_bar;
pub mod widgets;
pub mod wire;
