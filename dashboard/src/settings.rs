//! What a person has chosen for this window, remembered between runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::viewport::DEFAULT_WIDTH_MICROS;

/// The file of the settings.
pub const SETTINGS_FILE: &str = "settings.json";
/// The file of the layout.
pub const LAYOUT_FILE: &str = "layout.json";
/// The file of the layouts that were saved by name.
pub const LAYOUTS_FILE: &str = "layouts.json";

/// Which palette to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ThemeChoice {
    /// Light on dark.
    Dark,
    /// Dark on light.
    Light,
    /// As the desktop says.
    #[default]
    System,
}

impl ThemeChoice {
    /// The choice that a click on the theme switch leads to.
    pub const fn next(self) -> Self {
        match self {
            Self::Dark => Self::Light,
            Self::Light => Self::System,
            Self::System => Self::Dark,
        }
    }

    /// The choice in words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dark => "Dark",
            Self::Light => "Light",
            Self::System => "System",
        }
    }
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Version of this format.
    pub version: u32,
    /// The palette.
    pub theme: ThemeChoice,
    /// The stretch of time shown, in microseconds.
    pub span_micros: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { version: 1, theme: ThemeChoice::System, span_micros: DEFAULT_WIDTH_MICROS }
    }
}

impl Settings {
    /// Reads what was kept. What a later version added is left out.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// The folder of settings and layout.
pub fn folder() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "telemetry-dashboard").map(|dirs| dirs.config_dir().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_a_later_version_keep_what_is_known() {
        let settings = Settings::from_json(r#"{"version":9,"theme":"light","new":1}"#).unwrap();
        assert_eq!(settings.theme, ThemeChoice::Light);
    }
}
