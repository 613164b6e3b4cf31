//! What a person has chosen for this window, remembered between runs.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::listing::ListOrder;
use crate::viewport::DEFAULT_WIDTH_MICROS;

/// The file of the settings.
pub const SETTINGS_FILE: &str = "settings.json";
/// The file of the layout.
pub const LAYOUT_FILE: &str = "layout.json";
/// The file of the hubs that are remembered. It holds tokens: only its owner may read it.
pub const HUBS_FILE: &str = "hubs.json";
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

/// In which zone times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// As the clock on this wall.
    #[default]
    Local,
    /// The same everywhere.
    Utc,
}

/// Scale of everything on the screen, in percent.
pub const SCALE: RangeInclusive<u32> = 80..=200;
/// Memory for readings, in MB. Chosen: a minute of a small fleet, and what a workstation can spare.
pub const MEMORY: RangeInclusive<u32> = 16..=4_096;
/// Frames for readings that arrive, a second. Chosen: slower feels dead, faster than screens is waste.
pub const FRAMES: RangeInclusive<u32> = 4..=120;

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
    /// Scale of everything on the screen, in percent, within [`SCALE`].
    pub scale: u32,
    /// In which zone times are shown.
    pub times: Times,
    /// Most memory for readings, in MB, within [`MEMORY`]. What does not fit is asked of the hub again when shown.
    pub memory_mb: u32,
    /// Most frames a second for readings that arrive, within [`FRAMES`]. What a person does is shown at once.
    pub frames: u32,
    /// How the device list is grouped and sorted.
    pub list: ListOrder,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: 1,
            theme: ThemeChoice::System,
            span_micros: DEFAULT_WIDTH_MICROS,
            scale: 100,
            times: Times::Local,
            // 10 M readings and more, and small beside what a graphics driver takes.
            memory_mb: 160,
            frames: 60,
            list: ListOrder::default(),
        }
    }
}

impl Settings {
    /// Reads what was kept. What a later version added is left out.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let mut settings: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // Whatever was written there by hand, the window stays usable.
        let within = |value: u32, range: &RangeInclusive<u32>| value.clamp(*range.start(), *range.end());
        settings.scale = within(settings.scale, &SCALE);
        settings.memory_mb = within(settings.memory_mb, &MEMORY);
        settings.frames = within(settings.frames, &FRAMES);
        Ok(settings)
    }

    /// Most memory for readings, in bytes.
    pub const fn memory_bytes(&self) -> usize {
        self.memory_mb as usize * 1_000_000
    }

    /// The shortest time between two frames for readings.
    pub fn frame_time(&self) -> Duration {
        Duration::from_secs(1) / self.frames.max(1)
    }
}

/// A setting that is a number and is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Scale of everything on the screen.
    Scale,
    /// Most memory for readings.
    Memory,
    /// Most frames a second.
    Frames,
}

impl Number {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Scale, Self::Memory, Self::Frames];

    /// What it may be.
    pub const fn range(self) -> RangeInclusive<u32> {
        match self {
            Self::Scale => SCALE,
            Self::Memory => MEMORY,
            Self::Frames => FRAMES,
        }
    }

    /// What stands behind the number.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Scale => "%",
            Self::Memory => "MB",
            Self::Frames => "a second",
        }
    }

    /// What it is now.
    pub const fn of(self, settings: &Settings) -> u32 {
        match self {
            Self::Scale => settings.scale,
            Self::Memory => settings.memory_mb,
            Self::Frames => settings.frames,
        }
    }

    /// Makes it this.
    pub const fn set(self, settings: &mut Settings, value: u32) {
        match self {
            Self::Scale => settings.scale = value,
            Self::Memory => settings.memory_mb = value,
            Self::Frames => settings.frames = value,
        }
    }

    /// Reads what was typed; the error says what may be.
    pub fn parse(self, typed: &str) -> Result<u32, String> {
        let (range, unit) = (self.range(), self.unit());
        let typed = typed.trim().trim_end_matches(unit).trim();
        match typed.parse::<u32>() {
            Ok(value) if range.contains(&value) => Ok(value),
            Ok(_) => Err(format!("Only {} to {} {unit}", range.start(), range.end())),
            Err(_) => Err(format!("A whole number from {} to {}", range.start(), range.end())),
        }
    }
}

/// The file of the layout of a hub that is remembered, or of the one that was given at the start.
pub fn layout_file(hub: Option<u32>) -> String {
    hub.map_or_else(|| LAYOUT_FILE.to_owned(), |id| format!("layout-hub-{id}.json"))
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

    #[test]
    fn settings_written_by_hand_stay_within_what_can_be_used() {
        let text = r#"{"scale":1,"memory_mb":4000000000,"frames":0,"times":"utc"}"#;
        let settings = Settings::from_json(text).unwrap();
        assert_eq!((settings.scale, settings.memory_mb, settings.frames), (80, 4_096, 4));
        assert_eq!(settings.times, Times::Utc);
        assert!(Settings::from_json(r#"{"scale":-1}"#).is_err(), "put aside, not guessed at");
    }

    #[test]
    fn what_is_typed_is_within_its_range_or_says_it() {
        assert_eq!(Number::Scale.parse(" 125 % "), Ok(125));
        assert_eq!(Number::Memory.parse("512MB"), Ok(512));
        assert_eq!(Number::Scale.parse("79"), Err("Only 80 to 200 %".into()));
        for typed in ["", "x", "1.5", "-1", "99999999999999999999"] {
            assert!(Number::Frames.parse(typed).unwrap_err().contains("from 4 to 120"), "{typed:?}");
        }
    }
}
