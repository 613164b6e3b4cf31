//! A hub for a test, in this process or as the real program, in a folder that goes when the test ends.
//!
//! Whichever it is, it must not panic: that is checked when it goes (I-7).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use client::device::DeviceConfig;
use client::{BackoffConfig, Endpoint};
use hub::config::Options;
use hub::{Config, Running};
use protocol::device::Hello;
use store::Reader;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// The longest that a test waits for anything. Chosen: far above what it takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Panics of anything but a test, in this process.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Waits for `work`, but not for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(DEADLINE, work).await else {
        panic!("waited {} s for {what}", DEADLINE.as_secs())
    };
    done
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        let mut again = tokio::time::interval(Duration::from_millis(10));
        while !holds().await {
            again.tick().await;
        }
    };
    within(what, asking).await;
}

/// Whose token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Fleet,
    Viewer,
    Operator,
    Admin,
}

pub(crate) struct TestHub {
    pub(crate) address: SocketAddr,
    folder: Arc<TempDir>,
    flags: Vec<String>,
    runs: Runs,
}

enum Runs {
    Here(Running),
    There(Process),
    Nowhere,
}

struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reads_log: JoinHandle<()>,
}

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.location().is_none_or(|place| !place.file().contains("tests/it")) {
                PANICS.lock().unwrap().push(panic.to_string());
            }
            usual(panic);
        }));
    });
}

impl TestHub {
    /// A hub in this process.
    pub(crate) async fn start() -> Self {
        watch_for_panics();
        let mut hub = Self::nowhere(&[]);
        hub.start_again().await;
        hub
    }

    /// The real program, with these flags.
    pub(crate) async fn process(flags: &[&str]) -> Self {
        let mut hub = Self::nowhere(flags);
        hub.launch().await;
        hub
    }

    /// A folder in which no hub runs yet.
    pub(crate) fn nowhere(flags: &[&str]) -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder: Arc::new(tempfile::tempdir().unwrap()),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            runs: Runs::Nowhere,
        }
    }

    /// Starts in this process, on the same address as before if there was one.
    pub(crate) async fn start_again(&mut self) {
        let options =
            Options { listen: Some(self.address), data: Some(self.data().to_owned()), ..Options::default() };
        let running = hub::start(Config::resolve(&options).unwrap()).await.unwrap();
        self.address = running.address;
        self.runs = Runs::Here(running);
    }

    /// Starts the program, on the same address as before if there was one.
    pub(crate) async fn launch(&mut self) {
        let mut child = program(self.data())
            .arg("serve")
            .args(["--listen", &self.address.to_string()])
            .args(&self.flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let mut read = String::new();
        let address = within("the hub to listen", async {
            while let Some(line) = lines.next_line().await.unwrap() {
                read.push_str(&line);
                read.push('\n');
                if let Some(rest) = line.split_once("hub is listening address=") {
                    return rest.1.split(' ').next().unwrap().parse().unwrap();
                }
            }
            panic!("the hub ended: {read}");
        })
        .await;
        *log.lock().unwrap() = read;
        let reads_log = {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut log = log.lock().unwrap();
                    log.push_str(&line);
                    log.push('\n');
                }
            })
        };
        self.address = address;
        self.runs = Runs::There(Process { child, log, reads_log });
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.data().join(protocol::local::DATABASE_FILE)
    }

    /// A reading end of its database.
    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.database()).unwrap()
    }

    pub(crate) fn token(&self, role: Role) -> String {
        let file = match role {
            Role::Fleet => protocol::local::FLEET_TOKEN_FILE,
            Role::Viewer => protocol::local::VIEWER_TOKEN_FILE,
            Role::Operator => protocol::local::OPERATOR_TOKEN_FILE,
            Role::Admin => protocol::local::ADMIN_TOKEN_FILE,
        };
        std::fs::read_to_string(self.data().join(file)).unwrap().trim().to_owned()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// What a device of the `client` crate needs to connect, and to come back fast.
    pub(crate) fn device_config(&self, hello: Hello) -> DeviceConfig {
        let endpoint = Endpoint::new(&self.url(), &self.token(Role::Fleet)).unwrap();
        DeviceConfig {
            backoff: BackoffConfig {
                base: Duration::from_millis(20),
                cap: Duration::from_millis(200),
                seed: Some(1),
            },
            ..DeviceConfig::new(endpoint, hello)
        }
    }

    /// Kills the program, as `kill -9` does. Returns its log.
    pub(crate) async fn kill(&mut self) -> String {
        let Runs::There(mut process) = std::mem::replace(&mut self.runs, Runs::Nowhere) else {
            panic!("only the program can be killed")
        };
        process.child.kill().await.unwrap();
        process.into_log().await
    }

    pub(crate) fn process_id(&self) -> u32 {
        let Runs::There(process) = &self.runs else { panic!("only the program is a process of its own") };
        process.child.id().unwrap()
    }

    /// What the program has logged since it listens.
    pub(crate) fn log(&self) -> String {
        let Runs::There(process) = &self.runs else { panic!("only the program has a log of its own") };
        process.log.lock().unwrap().clone()
    }

    /// Asks the program to stop, as `kill` does.
    pub(crate) fn terminate(&self) {
        let id = rustix::process::Pid::from_raw(self.process_id().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the program has ended. Returns how, and its log.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, String) {
        let Runs::There(mut process) = std::mem::replace(&mut self.runs, Runs::Nowhere) else {
            panic!("only the program ends by itself")
        };
        let status = within("the hub to end", process.child.wait()).await.unwrap();
        (status, process.into_log().await)
    }

    /// Stops in order.
    pub(crate) async fn stop(&mut self) {
        match std::mem::replace(&mut self.runs, Runs::Nowhere) {
            Runs::Here(running) => assert!(running.stop().await, "stopping took too long"),
            Runs::There(process) => {
                self.runs = Runs::There(process);
                self.terminate();
                let (status, log) = self.ended().await;
                assert!(status.success(), "{status}: {log}");
            }
            Runs::Nowhere => {}
        }
    }

    /// Runs the program with other arguments until it ends, with its answers in `Output`.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        within("the program to end", program(self.data()).args(arguments).output()).await.unwrap()
    }

    /// The same with a variable in its environment.
    pub(crate) async fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Output {
        let (name, value) = variable;
        let mut program = program(self.data());
        within("the program to end", program.args(arguments).env(name, value).output()).await.unwrap()
    }

    /// The same, pointed at this hub.
    pub(crate) async fn cli(&self, arguments: &[&str]) -> Output {
        let url = self.url();
        let data = self.data().to_str().unwrap();
        self.run(&[arguments, &["--hub", &url, "--data", data]].concat()).await
    }
}

impl Process {
    async fn into_log(self) -> String {
        within("the rest of the log", self.reads_log).await.unwrap();
        let log = self.log.lock().unwrap().clone();
        assert!(!log.contains("panicked"), "{log}");
        log
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if let Runs::There(process) = &self.runs {
            let log = process.log.lock().unwrap();
            assert!(!log.contains("panicked"), "{log}");
        }
        let panics = PANICS.lock().unwrap();
        assert!(panics.is_empty(), "{panics:?}");
    }
}

/// The program with nothing of our own environment. Where it is not told which hub, it finds none: at the usual address may be
/// that of whoever runs the tests.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hub"));
    command
        .env_clear()
        .env("HOME", home)
        .env("TELEMETRY_DATA", home)
        .env("TELEMETRY_HUB", "ws://127.0.0.1:9");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
