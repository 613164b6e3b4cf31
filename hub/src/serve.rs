//! Starting and stopping a hub: the order in which its parts come up and go down (I-15).
//!
//! Up: folder, database and its lock, tokens, memory of devices and latest values, ingest thread, commands, listener.
//! Down: no new connections; sessions drain and close 1001; commands end; ingest commits what it has and checkpoints.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::local;
use store::{Reader, StoreError, Writer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{self, AuthError};
use crate::clock;
use crate::commands::Commands;
use crate::config::Config;
use crate::directory::{Directory, SessionId};
use crate::door;
use crate::gate::Gate;
use crate::ingest::{ByHand, Ingest};
use crate::limits::{Limit, Limits};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::rates::Paces;
use crate::readers::Readers;
use crate::tickets::Tickets;
use crate::tls::{TlsError, TlsPort};
use crate::tokens::Revocations;
use crate::wire::Wires;
use crate::wire::recording::Bounds;

/// What all sessions share.
pub struct Hub {
    /// What it was told.
    pub config: Config,
    /// The writing thread.
    pub ingest: Ingest,
    /// What was just committed.
    pub live: Arc<Live>,
    /// Devices and their presence.
    pub directory: Arc<Directory>,
    /// Commands.
    pub commands: Commands,
    /// Queries.
    pub readers: Readers,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<TlsPort>>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What the audit trail is told.
    pub audit: Arc<Audit>,
    /// What strangers may take.
    pub gate: Arc<Gate>,
    /// What devices that are gone had used up of their rates.
    pub paces: Paces,
    /// Handshakes that are worked on at once.
    pub handshakes: Arc<Semaphore>,
    /// Tickets of web pages.
    pub tickets: Tickets,
    /// What goes over the wire, made visible.
    pub wires: Arc<Wires>,
    /// Credentials that are revoked while they are in use.
    pub revocations: Revocations,
    /// The hub stops: nothing new is begun.
    pub stopping: CancellationToken,
    /// The time for stopping in order has run out.
    pub deadline: CancellationToken,
    /// The disk has failed: nothing is acknowledged any more.
    pub failed: CancellationToken,
    /// Every task of a connection.
    pub tasks: TaskTracker,
    sessions: AtomicU64,
}

impl Hub {
    /// A name for a new session.
    pub fn next_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Why a hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be made or used.
    #[error("data folder {path} cannot be used: {problem}; name another with --data")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        problem: std::io::Error,
    },
    /// Another hub uses the data folder.
    #[error("data folder {0} is in use by another hub: stop that one, or name another folder with --data")]
    InUse(PathBuf),
    /// The database does not open.
    #[error("database {path}: {problem}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: StoreError,
    },
    /// The local tokens cannot be made.
    #[error(transparent)]
    Tokens(#[from] AuthError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {problem}{}", instead(problem))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        problem: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("no thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// What to do about an address that cannot be listened on.
fn instead(problem: &std::io::Error) -> &'static str {
    match problem.kind() {
        std::io::ErrorKind::AddrInUse => ": stop what listens there, or name another port with --listen",
        std::io::ErrorKind::AddrNotAvailable => {
            ": this machine has no such address; 0.0.0.0 and [::] stand for all that it has"
        }
        std::io::ErrorKind::PermissionDenied => {
            ": it takes root to listen on this port, name another with --listen"
        }
        _ => "",
    }
}

/// A hub that runs.
pub struct Running {
    /// The address it listens on.
    pub address: SocketAddr,
    hub: Arc<Hub>,
    commands: tokio::task::JoinHandle<()>,
    ingest: std::thread::JoinHandle<()>,
}

/// Starts a hub. When this returns, it accepts connections.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let tls = config.tls.clone().map(TlsPort::load).transpose()?.map(Arc::new);
    make_folder(&config)?;
    let listen = |problem| ServeError::Listen { address: config.listen, problem };
    let socket = bind(config.listen).map_err(listen)?;
    let address = socket.local_addr().map_err(listen)?;
    let backlog = u32::try_from(config.limits.get(Limit::AcceptBacklog)).unwrap_or(u32::MAX);
    let path = config.database();
    let begin = |mut writer: Writer, live, metrics, failed, limits: &Limits| {
        let checkpointer = writer
            .checkpoint_beside(&path)
            .map_err(|problem| ServeError::Database { path: path.clone(), problem })?;
        Ingest::start(writer, checkpointer, live, metrics, failed, limits).map_err(ServeError::Thread)
    };
    let (hub, commands, ingest) = assemble(config, tls, Readers::new, begin)?;
    // Not before somebody accepts: while a large file is read, a fleet that comes back would fill the queue.
    let listen = |problem| ServeError::Listen { address, problem };
    let listener = socket.listen(backlog).and_then(TcpListener::into_std).map_err(listen)?;
    door::open(&hub, listener).map_err(ServeError::Thread)?;
    if let Some(tls) = &hub.tls {
        hub.tasks.spawn(Arc::clone(tls).keep(hub.stopping.clone()));
    } else if !address.ip().to_canonical().is_loopback() {
        tracing::warn!(%address, "INSECURE: there is no TLS, and other machines may reach this address: whoever is on the way reads every token and every reading, and can send commands with them");
    }
    tell_address(&hub, address);
    tracing::info!(%address, tls = hub.tls.is_some(), data = %hub.config.data.display(), position = hub.live.position().0, "hub is listening");
    Ok(Running { address, hub, commands, ingest })
}

/// A hub without a port and without threads, for simulations: connections come through [`door::enter`], and nothing is
/// written but by [`ByHand::work`]. It ends when its runtime does.
pub async fn start_by_hand(config: Config) -> Result<(Arc<Hub>, ByHand), ServeError> {
    make_folder(&config)?;
    let (hub, _, by_hand) =
        assemble(config, None, Readers::here, |writer, live, metrics, failed, limits| {
            Ok(Ingest::by_hand(writer, live, metrics, failed, limits))
        })?;
    Ok((hub, by_hand))
}

/// Leaves the URL in the data folder, where programs on this machine look for it. A hub without it works as well.
fn tell_address(hub: &Hub, address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if hub.tls.is_some() { "wss" } else { "ws" };
    let file = hub.config.data.join(local::ADDRESS_FILE);
    let part = file.with_extension("url.part");
    let url = format!("{scheme}://{}\n", SocketAddr::new(ip, address.port()));
    // Whoever looks must not find it half written.
    let written = std::fs::write(&part, url).and_then(|()| std::fs::rename(&part, &file));
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), %error, "programs on this machine must be told the hub's address: it cannot be written");
    }
}

/// Nobody is to come any more. Before the folder is free for another hub, which leaves its own.
fn forget_address(hub: &Hub) {
    let file = hub.config.data.join(local::ADDRESS_FILE);
    if let Err(error) = std::fs::remove_file(&file)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "the hub's address cannot be removed");
    }
}

fn make_folder(config: &Config) -> Result<(), ServeError> {
    std::fs::create_dir_all(&config.data).map_err(|problem| {
        let is_file = config.data.exists() && !config.data.is_dir();
        let problem = if is_file { std::io::Error::other("it is no folder") } else { problem };
        ServeError::Folder { path: config.data.clone(), problem }
    })
}

/// Opens the database and makes everything that sessions share; `begin` starts what writes.
fn assemble<T>(
    config: Config,
    tls: Option<Arc<TlsPort>>,
    readers: impl FnOnce(PathBuf, &Limits, Arc<Metrics>) -> Readers,
    begin: impl FnOnce(
        Writer,
        Arc<Live>,
        Arc<Metrics>,
        CancellationToken,
        &Limits,
    ) -> Result<(Ingest, T), ServeError>,
) -> Result<(Arc<Hub>, tokio::task::JoinHandle<()>, T), ServeError> {
    let path = config.database();
    let database = |problem| ServeError::Database { path: path.clone(), problem };
    let mut writer = Writer::open(&path).map_err(|problem| match problem {
        StoreError::Busy(_) => ServeError::InUse(config.data.clone()),
        problem => database(problem),
    })?;
    writer.set_retention(config.retention.clone());
    let reader = Reader::open(&path).map_err(database)?;
    auth::ensure_local_tokens(&mut writer, &reader, &config.data, clock::now())?;
    let live =
        Arc::new(Live::new(reader.latest().map_err(database)?, config.limits.count(Limit::CommitsBehind)));
    let directory = Arc::new(Directory::new(
        reader.devices().map_err(database)?,
        config.limits.count(Limit::DevicesBehind),
    ));
    let open = reader.open_commands().map_err(database)?;
    let groups = reader.open_groups().map_err(database)?;
    drop(reader);

    let failed = CancellationToken::new();
    let metrics = Arc::new(Metrics::default());
    let (ingest, writes) =
        begin(writer, Arc::clone(&live), Arc::clone(&metrics), failed.clone(), &config.limits)?;
    let readers = readers(path, &config.limits, Arc::clone(&metrics));
    let (commands, task) =
        Commands::start(open, groups, &config, Arc::clone(&directory), ingest.clone(), Arc::clone(&metrics));
    let commands_task = tokio::spawn(task);
    let wires = Arc::new(Wires::new(Bounds::new(&config.limits, Arc::clone(&metrics))));
    let hub = Arc::new(Hub {
        readers,
        ingest,
        live,
        directory,
        commands,
        tls,
        audit: Arc::new(Audit::new(&config.limits, Arc::clone(&metrics))),
        metrics,
        gate: Arc::new(Gate::new((&config.limits).into())),
        paces: Paces::default(),
        handshakes: Arc::new(Semaphore::new(config.limits.count(Limit::HandshakesAtOnce))),
        tickets: Tickets::default(),
        wires,
        revocations: Revocations::default(),
        stopping: CancellationToken::new(),
        deadline: CancellationToken::new(),
        failed,
        tasks: TaskTracker::new(),
        sessions: AtomicU64::new(0),
        config,
    });
    hub.tasks.spawn(Arc::clone(&hub.audit).keep(Arc::clone(&hub), hub.stopping.clone()));
    Ok((hub, commands_task, writes))
}

/// Takes the address, so that nobody else has it. Whoever connects is refused until somebody listens.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Running {
    /// Waits until the disk has failed. A hub whose disk works waits for ever.
    pub async fn failed(&self) {
        self.hub.failed.cancelled().await;
    }

    /// What the sessions share; for tests and for what runs in the same process.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Stops in order (I-15). Returns whether all of it was done before the deadline.
    pub async fn stop(self) -> bool {
        let Self { hub, commands, ingest, .. } = self;
        tracing::info!("stopping");
        forget_address(&hub);
        hub.stopping.cancel();
        hub.tasks.close();
        let deadline = hub.config.shutdown;
        let in_time = tokio::time::timeout(deadline, hub.tasks.wait()).await.is_ok();
        hub.deadline.cancel();
        if !in_time {
            hub.metrics.reached(Limit::ShutdownSeconds);
            tracing::warn!(
                seconds = deadline.as_secs(),
                "sessions are cut off: the time for stopping has run out"
            );
            drop(tokio::time::timeout(std::time::Duration::from_secs(1), hub.tasks.wait()).await);
        }
        // The last senders go, and with them the commands task and then the ingest thread end.
        drop(hub);
        if in_time {
            drop(commands.await);
            drop(tokio::task::spawn_blocking(move || ingest.join()).await);
        } else {
            commands.abort();
        }
        tracing::info!("stopped");
        in_time
    }
}
