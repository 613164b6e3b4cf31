//! Any bytes as the hub's config file: a configuration or an error that names the file.

use std::path::Path;
use std::sync::LazyLock;

use ::hub::config::{Config, Options};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a folder for the config file")
});

/// Reads bytes as a config file.
pub fn any(data: &[u8]) {
    let path = FOLDER.path().join("hub.toml");
    std::fs::write(&path, data).expect("the config file can be written");
    let options = Options { config: Some(path), data: Some(FOLDER.path().to_owned()), ..Options::default() };
    if let Err(error) = Config::resolve(&options) {
        assert!(!error.to_string().is_empty());
    }
}
