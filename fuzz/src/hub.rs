//! A hub for the targets that speak to one: in this process, over lines in memory, made anew now and then so that what was
//! stored does not pile up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use ::hub::config::Options;
use ::hub::{Config, Running, door};
use protocol::local;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

/// Inputs for one hub.
const INPUTS: u32 = 2_000;
/// The longest that a conversation may take once we have nothing more to say. Chosen: every deadline of the hub that it can
/// meet then is shorter.
const PATIENCE: Duration = Duration::from_secs(15);

/// The threads of the hub's runtime.
const THREADS: &str = "fuzzed-hub";

/// A panic of a task of the hub, which the runtime swallows.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// A hub that runs, and its tokens.
pub struct Hub {
    runtime: Runtime,
    running: Option<Running>,
    folder: TempDir,
    inputs: AtomicU32,
}

impl Hub {
    fn start() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if std::thread::current().name().is_some_and(|name| name == THREADS || name == "ingest") {
                    PANICKED.store(true, Ordering::SeqCst);
                }
                usual(panic);
            }));
        });
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.expect("a folder for the hub");
        let settings = "origins = [\"https://dash.example\"]\nshutdown_seconds = 1\n";
        std::fs::write(folder.path().join("hub.toml"), settings).expect("the config file can be written");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = Options {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            data: Some(folder.path().to_owned()),
            ..Options::default()
        };
        let config = Config::resolve(&options).expect("a configuration");
        let running = runtime.block_on(::hub::start(config)).expect("a hub");
        Self { runtime, running: Some(running), folder, inputs: AtomicU32::new(0) }
    }

    /// The token of a role, by the file that holds it.
    pub fn token(&self, file: &str) -> String {
        let token = std::fs::read_to_string(self.folder.path().join(file)).expect("a token");
        token.trim().to_owned()
    }

    /// Says `bytes` and nothing more, and returns all that the hub says until it ends the connection, which it must.
    pub fn converse(&self, bytes: &[u8]) -> Vec<u8> {
        let Some(running) = &self.running else { return Vec::new() };
        // An address for each: wrong credentials are counted by address, and waited for.
        let n = self.inputs.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::from_bits(0x0A00_0000 + n), 1));
        let heard = self.runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(16 * 1024);
            door::enter(running.hub(), theirs, address);
            let (mut from, mut to) = tokio::io::split(ours);
            let says = async {
                // The hub may have closed before it has read everything.
                drop(to.write_all(bytes).await);
                drop(to.shutdown().await);
            };
            let mut heard = Vec::new();
            let hears = async { drop(from.read_to_end(&mut heard).await) };
            let both = async { tokio::join!(says, hears) };
            let ended = tokio::time::timeout(PATIENCE, both).await.is_ok();
            assert!(ended, "the hub did not end the connection");
            heard
        });
        assert!(!PANICKED.load(Ordering::SeqCst), "a task of the hub panicked");
        heard
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

/// Does something with the present hub.
pub fn with<T>(work: impl FnOnce(&Hub) -> T) -> T {
    static HUB: Mutex<Option<Hub>> = Mutex::new(None);
    let mut present = HUB.lock().unwrap_or_else(PoisonError::into_inner);
    if present.as_ref().is_some_and(|hub| hub.inputs.load(Ordering::Relaxed) >= INPUTS) {
        *present = None;
    }
    work(present.get_or_insert_with(Hub::start))
}

/// The files of the tokens, with what stands for each in an input.
pub const TOKENS: [(&str, &str); 4] = [
    ("@F", local::FLEET_TOKEN_FILE),
    ("@V", local::VIEWER_TOKEN_FILE),
    ("@O", local::OPERATOR_TOKEN_FILE),
    ("@A", local::ADMIN_TOKEN_FILE),
];
