//! The way in: accepts connections, agrees on TLS, and hands them to HTTP; with a deadline on each step and a cap on strangers.
//!
//! Accepting is the work of a thread of its own: beside thousands of handshakes on the runtime its turn would come too seldom,
//! and the system's queue of those that wait to be accepted would overflow.
//!
//! Whoever is turned away is told by which limit and when to come back, where that costs little: on a port without TLS, and
//! for so many at a time; others find the connection closed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::either::Either;

use crate::clock;
use crate::deadline::WriteDeadline;
use crate::gate::Stranger;
use crate::handshake::{self, Turn};
use crate::http;
use crate::limits::{Limit, Refusal};
use crate::serve::Hub;
use crate::session;
use crate::tls::{self, Identity, TlsPort, Transport};
use crate::wire::Tapped;

/// Time that a request which is being read or answered gets when the hub stops.
pub(crate) const LAST_REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// How long it may take to tell somebody why they are turned away.
pub(crate) const TURN_AWAY_DEADLINE: Duration = Duration::from_secs(1);
/// When whoever was turned away may come back.
const COME_BACK: Duration = Duration::from_secs(5);
/// After the system had no connection for us although there was one, as when no descriptor is left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Between two lines in the log about the same limit.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What a request knows of its connection: where it comes from, and its place among `max_connections`, which goes with the
/// socket when it is upgraded.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) address: SocketAddr,
    /// The device whose certificate was shown, or why it is nobody's.
    pub(crate) certificate: Option<Arc<Result<Identity, String>>>,
    /// Counts as a stranger's until a credential is shown.
    pub(crate) stranger: Arc<Stranger>,
    /// Its handshake is worked on, until then.
    pub(crate) turn: Arc<Turn>,
    _place: Arc<OwnedSemaphorePermit>,
}

impl Connection {
    fn new(
        address: SocketAddr,
        certificate: Option<Arc<Result<Identity, String>>>,
        stranger: Stranger,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let (stranger, turn) = (Arc::new(stranger), Arc::default());
        Self { address, certificate, stranger, turn, _place: Arc::new(place) }
    }
}

/// Says now and then how often something has happened: whoever knocks often must not fill the log.
#[derive(Default)]
struct NowAndThen {
    count: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl NowAndThen {
    /// It has happened. Returns how often since it was said last, if it is to be said again.
    fn again(&self) -> Option<u64> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = said.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        is_due.then(|| {
            *said = Some(Instant::now());
            self.count.swap(0, Ordering::Relaxed)
        })
    }
}

/// Takes connections in until the hub stops, on a thread of its own. What it has let in goes on where this is called.
/// `hub.tasks` waits for the thread, too.
pub fn open(hub: &Arc<Hub>, listener: std::net::TcpListener) -> std::io::Result<()> {
    let accepting = runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = accepting.enter();
        TcpListener::from_std(listener)?
    };
    let porter = Porter::new(Arc::clone(hub), runtime::Handle::current());
    let present = hub.tasks.token();
    thread::Builder::new().name("accept".into()).spawn(move || {
        accepting.block_on(porter.accept(listener));
        drop(present);
    })?;
    Ok(())
}

/// Who lets connections in.
struct Porter {
    hub: Arc<Hub>,
    /// Where connections are served.
    within: runtime::Handle,
    service: TowerToHyperService<Router>,
    room: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    /// Because there is no room, because there are too many strangers, and because the system would not.
    most: NowAndThen,
    strangers: NowAndThen,
    unaccepted: NowAndThen,
}

impl Porter {
    fn new(hub: Arc<Hub>, within: runtime::Handle) -> Self {
        Self {
            service: TowerToHyperService::new(http::router(&hub)),
            room: Arc::new(Semaphore::new(hub.config.max_connections)),
            turned_away: Arc::new(Semaphore::new(hub.config.limits.count(Limit::TurnedAway))),
            most: NowAndThen::default(),
            strangers: NowAndThen::default(),
            unaccepted: NowAndThen::default(),
            hub,
            within,
        }
    }

    /// Ends when the hub stops, and closes the port.
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.hub.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // Here it is of no use to anybody: it moves to the runtime that serves it.
            let accepted = accepted.and_then(|(stream, address)| Ok((stream.into_std()?, address)));
            match accepted {
                Ok((stream, address)) => self.take(stream, address),
                Err(error) => {
                    // No descriptor left, or the peer gave up: neither is a reason to stop accepting.
                    if let Some(count) = self.unaccepted.again() {
                        tracing::warn!(%error, count, "connections are not accepted");
                    }
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    fn take(&self, stream: std::net::TcpStream, address: SocketAddr) {
        let accepted_at = clock::now();
        let place = Arc::clone(&self.room).try_acquire_owned();
        let stranger = self.hub.gate.enter(address.ip());
        let (place, stranger) = match (place, stranger) {
            (Ok(place), Ok(stranger)) => (place, stranger),
            (place, _) => {
                let (limit, often) = match place {
                    Err(_) => (Limit::MaxConnections, &self.most),
                    Ok(_) => (Limit::StrangersPerAddress, &self.strangers),
                };
                return self.turn_away(stream, address, limit, often);
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "no TCP_NODELAY");
        }
        let (hub, service) = (Arc::clone(&self.hub), self.service.clone());
        let serve = async move {
            let Some(stream) = here(stream, address) else { return };
            let stream = match &hub.tls {
                None => Either::Left(stream),
                Some(tls) => {
                    let deadline = hub.config.limits.time(Limit::TlsHandshakeSeconds);
                    let agreed = tokio::select! {
                        agreed = agree_on_tls(&hub, tls, stream, address, deadline) => agreed,
                        () = hub.stopping.cancelled() => return,
                    };
                    let Some(stream) = agreed else { return };
                    stream
                }
            };
            let certificate = tls::identity(&stream).map(Arc::new);
            let connection = Connection::new(address, certificate, stranger, place);
            let stream = Tapped::new(stream, address.to_string(), accepted_at);
            serve_connection(&hub, stream, connection, service).await;
        };
        self.hub.tasks.spawn_on(serve, &self.within);
    }

    fn turn_away(&self, stream: std::net::TcpStream, address: SocketAddr, limit: Limit, often: &NowAndThen) {
        let hub = &self.hub;
        let limits = &hub.config.limits;
        hub.metrics.reached(limit);
        if let Some(count) = often.again() {
            let value = limits.get(limit);
            tracing::warn!(%address, limit = limit.name(), value, count, "connections are turned away");
        }
        let Ok(turn) = Arc::clone(&self.turned_away).try_acquire_owned() else {
            hub.metrics.reached(Limit::TurnedAway);
            return;
        };
        if hub.tls.is_some() {
            return;
        }
        let answer = too_many(&limits.refusal(limit, "too many connections").after(COME_BACK));
        let tell = async move {
            if let Some(stream) = here(stream, address) {
                drop(tokio::time::timeout(TURN_AWAY_DEADLINE, say(stream, answer)).await);
            }
            drop(turn);
        };
        hub.tasks.spawn_on(tell, &self.within);
    }
}

/// The connection on the runtime that this is called on.
fn here(stream: std::net::TcpStream, address: SocketAddr) -> Option<TcpStream> {
    TcpStream::from_std(stream)
        .inspect_err(|error| tracing::warn!(%address, %error, "a connection was not taken in"))
        .ok()
}

/// Takes in a connection from this very process, as a simulation and the fuzz targets make it. From here on it is like any
/// other; only TLS and the caps on connections are passed by.
pub fn enter(hub: &Arc<Hub>, stream: DuplexStream, address: SocketAddr) {
    let (room, stranger) = (Arc::new(Semaphore::new(1)), hub.gate.enter(address.ip()));
    let (Ok(place), Ok(stranger)) = (room.try_acquire_owned(), stranger) else { return };
    let connection = Connection::new(address, None, stranger, place);
    let service = TowerToHyperService::new(http::router(hub));
    let hub_of_connection = Arc::clone(hub);
    hub.tasks.spawn(async move {
        let stream = Tapped::new(Either::Right(Either::Right(stream)), address.to_string(), clock::now());
        serve_connection(&hub_of_connection, stream, connection, service).await;
    });
}

/// `None`: the peer speaks none, or not in time.
async fn agree_on_tls(
    hub: &Hub,
    tls: &TlsPort,
    stream: TcpStream,
    address: SocketAddr,
    deadline: Duration,
) -> Option<Transport> {
    /// The first byte of a handshake (RFC 8446, 5.1).
    const HANDSHAKE: u8 = 22;
    let agree = async move {
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
            let body = json!({ "error": "this port speaks TLS: connect with wss:// or https://" });
            say(stream, answer("400 Bad Request", "", &body)).await?;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    match tokio::time::timeout(deadline, agree).await {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no TLS with this peer");
            None
        }
        Err(_) => {
            hub.metrics.reached(Limit::TlsHandshakeSeconds);
            tracing::debug!(%address, limit = Limit::TlsHandshakeSeconds.name(), "no TLS in time");
            None
        }
    }
}

fn too_many(refusal: &Refusal) -> String {
    let body = http::refusal_body(refusal);
    answer("429 Too Many Requests", &format!("retry-after: {}\r\n", COME_BACK.as_secs()), &body)
}

/// An answer to whoever is not let as far as HTTP.
fn answer(status: &str, header: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{header}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

async fn say(mut stream: TcpStream, answer: String) -> std::io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    session::linger(&mut stream).await;
    Ok(())
}

async fn serve_connection(
    hub: &Hub,
    mut stream: Tapped,
    connection: Connection,
    service: TowerToHyperService<Router>,
) {
    if handshake::wait(hub, &mut stream, connection.address, &connection.turn).await {
        // In a box of its own: whoever waits must not take the room for it.
        Box::pin(speak_http(hub, stream, connection, service)).await;
    }
}

async fn speak_http(hub: &Hub, stream: Tapped, connection: Connection, service: TowerToHyperService<Router>) {
    let (address, turn) = (connection.address, Arc::clone(&connection.turn));
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        hyper::service::Service::call(&service, request)
    });
    let limits = &hub.config.limits;
    let stream = WriteDeadline::new(stream, limits.time(Limit::WriteSeconds));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.time(Limit::RequestHeadSeconds))
        // Twice the limits, so that whoever is a little above them is told which.
        .max_headers(2 * limits.count(Limit::RequestHeaders))
        .max_buf_size(2 * limits.count(Limit::RequestHeadBytes))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = turn.end_in_time() => return,
        () = hub.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_REQUEST_DEADLINE, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        if error.is_timeout() {
            hub.metrics.reached(Limit::RequestHeadSeconds);
        } else if is_stuck(&error) {
            hub.metrics.reached(Limit::WriteSeconds);
        }
        tracing::debug!(%address, %error, "connection ended");
    }
}

/// Whether the peer did not read.
fn is_stuck(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_again_and_again_is_said_now_and_then() {
        let often = NowAndThen::default();
        assert_eq!(often.again(), Some(1));
        assert_eq!((often.again(), often.again()), (None, None));
        *often.said.lock().unwrap() = Instant::now().checked_sub(LOG_INTERVAL);
        assert_eq!(often.again(), Some(3));
    }
}
