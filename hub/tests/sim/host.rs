//! The hub's side: its runtime, its disk, and its folder, which outlives it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hub::config::Options;
use hub::ingest::ByHand;
use hub::{Config, Hub, door};
use store::Reader;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::TICK;
use crate::network::Network;

/// A runtime with a clock of its own.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// A hub that runs.
struct Up {
    runtime: Runtime,
    hub: Arc<Hub>,
    by_hand: ByHand,
}

pub(crate) struct Host {
    up: Option<Up>,
    folder: TempDir,
    /// The folder of the present hub: a new one after each kill, in which the files are as they were.
    data: PathBuf,
    kills: u32,
}

impl Host {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let data = folder.path().join("0");
        Self { up: None, folder, data, kills: 0 }
    }

    pub(crate) fn start(&mut self) {
        let options = Options {
            data: Some(self.data.clone()),
            listen: "127.0.0.1:1".parse().ok(),
            heartbeat_seconds: Some(2),
            ..Options::default()
        };
        let runtime = runtime();
        let (hub, by_hand) =
            runtime.block_on(hub::start_by_hand(Config::resolve(&options).unwrap())).unwrap();
        self.up = Some(Up { runtime, hub, by_hand });
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(crate) fn token(&self, file: &str) -> String {
        std::fs::read_to_string(self.data.join(file)).unwrap().trim().to_owned()
    }

    /// One turn. `disk`: whether the disk is done with what it had, so that a commit may be made. Returns whether one was.
    pub(crate) fn tick(&mut self, network: &Network, disk: bool) -> bool {
        let Some(up) = &mut self.up else { return false };
        up.runtime.block_on(async {
            for (stream, address) in network.arrivals() {
                door::enter(&up.hub, stream, address);
            }
            tokio::time::sleep(TICK).await;
        });
        disk && up.by_hand.work()
    }

    /// Asks it to stop. Whether it has is said by [`Host::has_stopped`].
    pub(crate) fn stop(&self) {
        if let Some(up) = &self.up {
            up.hub.stopping.cancel();
            up.hub.tasks.close();
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.up.as_ref().is_none_or(|up| up.hub.tasks.is_empty())
    }

    /// It is gone, and nothing it had in memory is known any more. The files stay as they are now: what SQLite does to them
    /// when it is closed in order happens to other ones.
    pub(crate) fn kill(&mut self) {
        let Some(up) = self.up.take() else { return };
        self.kills += 1;
        let next = self.folder.path().join(self.kills.to_string());
        std::fs::create_dir(&next).unwrap();
        for file in std::fs::read_dir(&self.data).unwrap() {
            let file = file.unwrap();
            // A process that is killed leaves the shared memory behind as well; it is made anew by whoever opens first.
            if !file.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(file.path(), next.join(file.file_name())).unwrap();
            }
        }
        drop(up);
        std::fs::remove_dir_all(&self.data).unwrap();
        self.data = next;
    }

    /// Asks the database, beside the hub or without one.
    pub(crate) fn read<T>(&self, ask: impl FnOnce(&Reader) -> T) -> T {
        ask(&Reader::open(&self.data.join(protocol::local::DATABASE_FILE)).unwrap())
    }
}
