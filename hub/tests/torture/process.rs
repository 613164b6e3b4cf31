//! The hub as a process, watched through its log: what it is doing, and a trap that kills it while it does it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What to log: from the store every piece of work as it begins.
const LOG: &str = "info,store=debug";
/// Lines of the log that are kept for a report.
const LOG_KEPT: usize = 2_000;

/// Kills the hub a moment after a piece of work has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trap {
    /// The piece of work, as the log names it.
    pub(crate) work: &'static str,
    /// How often it must have begun.
    pub(crate) times: u32,
    /// How long after.
    pub(crate) delay: Duration,
}

/// What the log has told so far.
#[derive(Debug, Default)]
struct Seen {
    address: Option<SocketAddr>,
    /// The last piece of work that was begun.
    work: Option<String>,
    log: Vec<String>,
    ended: bool,
}

pub(crate) struct Process {
    child: Child,
    started: Instant,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    watch: Option<JoinHandle<()>>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// The last piece of work that it had begun; `None` if it did not even listen.
    pub(crate) work: Option<String>,
    pub(crate) log: Vec<String>,
}

impl Process {
    /// Starts the hub. `under` are the words that come before its command, of a program that becomes the hub.
    pub(crate) fn start(
        data: &Path,
        address: Option<SocketAddr>,
        under: &[String],
        environment: &[(String, String)],
        mut trap: Option<Trap>,
    ) -> Self {
        let address = address.unwrap_or_else(|| {
            // An address of its own: while this hub is down nobody else's may get its port.
            let [_, a, b, c] = std::process::id().to_be_bytes();
            SocketAddr::from(([127, a % 250 + 1, b, c], 0))
        });
        let words = [under, &[program()]].concat();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--heartbeat-seconds", "1", "--listen", &address.to_string()])
            .args(["--log", LOG, "--data"])
            .arg(data)
            .env_clear()
            .envs(environment.iter().cloned())
            .env("HOME", data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let started = Instant::now();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let tell = Arc::clone(&seen);
        let id = child.id();
        let watch = thread::spawn(move || {
            let mut begun = 0;
            for line in lines.map_while(Result::ok) {
                let work = line.split_once("work=\"").and_then(|(_, rest)| rest.split('"').next());
                if let (Some(work), Some(set)) = (work, trap)
                    && work == set.work
                {
                    begun += 1;
                    if begun >= set.times {
                        thread::sleep(set.delay);
                        send(id, Signal::KILL);
                        trap = None;
                    }
                }
                let mut seen = tell.0.lock().unwrap();
                if let Some((_, rest)) = line.split_once("hub is listening address=") {
                    seen.address = rest.split(' ').next().and_then(|address| address.parse().ok());
                    seen.work = Some("waiting, just started".into());
                }
                if let Some(work) = work {
                    seen.work = Some(work.to_owned());
                } else {
                    if seen.log.len() > LOG_KEPT {
                        seen.log.drain(..LOG_KEPT / 2);
                    }
                    seen.log.push(line);
                }
                tell.1.notify_all();
            }
            tell.0.lock().unwrap().ended = true;
            tell.1.notify_all();
        });
        Self { child, started, seen, watch: Some(watch) }
    }

    /// Waits until it listens. Returns where, and how long that took; `None` if it has ended or time runs out.
    pub(crate) fn listens(&self, patience: Duration) -> Option<(SocketAddr, Duration)> {
        let seen = self.seen.0.lock().unwrap();
        let wait = |seen: &mut Seen| seen.address.is_none() && !seen.ended;
        let (seen, _) = self.seen.1.wait_timeout_while(seen, patience, wait).unwrap();
        Some((seen.address?, self.started.elapsed()))
    }

    /// Waits until it has ended by itself or by its trap, or time runs out. Returns whether it has.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let seen = self.seen.0.lock().unwrap();
        self.seen.1.wait_timeout_while(seen, patience, |seen| !seen.ended).unwrap().0.ended
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        send(self.child.id(), Signal::TERM);
    }

    /// Kills it, unless it has ended.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        self.end()
    }

    /// Waits until it has ended.
    pub(crate) fn end(&mut self) -> Ended {
        // The watch first: until the process is waited for, its number is not given to another, which a trap would hit.
        self.watch.take().unwrap().join().unwrap();
        let status = self.child.wait().unwrap();
        let mut seen = self.seen.0.lock().unwrap();
        let log = std::mem::take(&mut seen.log);
        let work = seen.work.take();
        Ended { status, work, log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            drop(self.child.kill());
            drop(watch.join());
            drop(self.child.wait());
        }
    }
}

/// The program under torture.
pub(crate) fn program() -> String {
    std::env::var("TORTURE_HUB").unwrap_or(env!("CARGO_BIN_EXE_hub").into())
}

fn send(id: u32, signal: Signal) {
    // It may have ended already.
    kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap_or_default();
}
