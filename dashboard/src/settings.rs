//! What is remembered between runs, and the thread that writes it.
//!
//! Files are replaced whole: written beside, then renamed, so that a crash leaves the old or the new one. A file that
//! cannot be read is put aside and not overwritten.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::viewport::DEFAULT_WIDTH_MICROS;

/// The file of the settings.
pub const SETTINGS_FILE: &str = "settings.json";
/// The file of the layout.
pub const LAYOUT_FILE: &str = "layout.json";
/// Writes waiting for the disk; when full, the newest is dropped and asked for again with the next change.
const QUEUE: usize = 16;

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

/// The folder of settings and layout.
pub fn folder() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "telemetry-dashboard").map(|dirs| dirs.config_dir().to_owned())
}

/// Reads a file; `None` if there is none. One that cannot be read is renamed, so that it is not lost.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = std::fs::read_to_string(path).ok()?;
    match serde_json::from_str(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            let aside = path.with_extension("unreadable.json");
            tracing::warn!(path = %path.display(), %error, aside = %aside.display(), "not readable: put aside");
            if let Err(error) = std::fs::rename(path, &aside) {
                tracing::warn!(%error, "could not be put aside");
            }
            None
        }
    }
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("json.new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, path)
}

/// Writes files on a thread of its own, so that no frame waits for a disk.
#[derive(Debug)]
pub struct Writer {
    /// To the thread. When full, the write is dropped; the next change writes it again.
    tx: Option<SyncSender<(PathBuf, String)>>,
    problems: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (tx, rx) = sync_channel::<(PathBuf, String)>(QUEUE);
        // From the thread to the app; when full, the problem is only logged.
        let (problems_tx, problems) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("settings".into()).spawn(move || {
            while let Ok((path, text)) = rx.recv() {
                if let Err(error) = write(&path, &text) {
                    tracing::warn!(path = %path.display(), %error, "not saved");
                    if problems_tx.try_send(format!("{}: {error}", path.display())).is_err() {
                        tracing::debug!("nobody hears of it");
                    }
                }
            }
        })?;
        Ok(Self { tx: Some(tx), problems, thread: Some(thread) })
    }

    /// Asks for a write. Returns whether it was taken.
    pub fn write(&self, path: PathBuf, text: String) -> bool {
        match self.tx.as_ref().map(|tx| tx.try_send((path, text))) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }

    /// What could not be written since the last call.
    pub fn problem(&self) -> Option<String> {
        self.problems.try_recv().ok()
    }
}

impl Drop for Writer {
    /// Finishes the writes that wait.
    fn drop(&mut self) {
        self.tx = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the settings thread failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join(SETTINGS_FILE);
        let settings = Settings { theme: ThemeChoice::Light, ..Settings::default() };
        let writer = Writer::start().unwrap();
        assert!(writer.write(path.clone(), serde_json::to_string(&settings).unwrap()));
        drop(writer);
        assert_eq!(read::<Settings>(&path), Some(settings));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LAYOUT_FILE);
        std::fs::write(&path, "{ not json").unwrap();
        assert_eq!(read::<Settings>(&path), None);
        assert!(folder.path().join("layout.unreadable.json").exists());
        assert!(!path.exists());
    }

    #[test]
    fn settings_of_a_later_version_keep_what_is_known() {
        let settings: Settings = serde_json::from_str(r#"{"version":9,"theme":"light","new":1}"#).unwrap();
        assert_eq!(settings.theme, ThemeChoice::Light);
    }
}
