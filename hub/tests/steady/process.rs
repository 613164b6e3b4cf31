//! The hub as a process within a bound of memory, on an address of its own, started again on the same folder.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::PATIENCE;
use crate::memory::Bound;

/// Lines of the log that are kept for a report.
const LOG_KEPT: usize = 2_000;

#[derive(Default)]
struct Seen {
    address: Option<SocketAddr>,
    log: Vec<String>,
}

pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) bound: Bound,
    folder: TempDir,
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

impl Hub {
    /// Starts a hub in a new folder, with this `hub.toml`.
    pub(crate) fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hub.toml"), settings).unwrap();
        // An address of its own: while this hub is down nobody else's may get its port.
        let [_, a, b, c] = std::process::id().to_be_bytes();
        let address = SocketAddr::from(([127, a % 100 + 1, b, c], 0));
        let bound = Bound::make();
        let (child, seen) = launch(folder.path(), address, &bound);
        let mut hub = Self { address, bound, folder, child, seen };
        hub.listens();
        hub
    }

    /// Starts again where it was, and returns once it listens.
    pub(crate) fn again(&mut self) {
        (self.child, self.seen) = launch(self.folder.path(), self.address, &self.bound);
        self.listens();
    }

    fn listens(&mut self) {
        let start = Instant::now();
        loop {
            if let Some(address) = self.seen.lock().unwrap().address {
                self.address = address;
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "no hub: {ended:?}: {}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it logged last.
    pub(crate) fn log(&self) -> String {
        let seen = self.seen.lock().unwrap();
        seen.log[seen.log.len().saturating_sub(30)..].join("\n")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join(protocol::local::DATABASE_FILE)
    }

    /// The token in this file of its folder.
    pub(crate) fn token(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap().trim().to_owned()
    }

    pub(crate) fn fleet_token(&self) -> String {
        self.token(protocol::local::FLEET_TOKEN_FILE)
    }

    pub(crate) fn viewer_token(&self) -> String {
        self.token(protocol::local::VIEWER_TOKEN_FILE)
    }

    /// Sees that it runs and has not panicked.
    pub(crate) fn is_well(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the hub has ended: {ended:?}: {}", self.log());
        let panicked = self.seen.lock().unwrap().log.iter().any(|line| line.contains("panicked"));
        assert!(!panicked, "{}", self.log());
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.is_well();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has. Returns how it ended and how long that took.
    pub(crate) fn terminate(&mut self) -> (ExitStatus, Duration) {
        self.is_well();
        let start = Instant::now();
        let id = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        (self.child.wait().unwrap(), start.elapsed())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn launch(data: &Path, address: SocketAddr, bound: &Bound) -> (Child, Arc<Mutex<Seen>>) {
    let words = bound.words();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .arg(env!("CARGO_BIN_EXE_hub"))
        .args(["serve", "--listen", &address.to_string(), "--data"])
        .arg(data)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let tell = Arc::clone(&seen);
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut seen = tell.lock().unwrap();
            if let Some((_, rest)) = line.split_once("hub is listening address=") {
                seen.address = rest.split(' ').next().and_then(|address| address.parse().ok());
            }
            if seen.log.len() > LOG_KEPT {
                seen.log.drain(..LOG_KEPT / 2);
            }
            seen.log.push(line);
        }
    });
    (child, seen)
}
