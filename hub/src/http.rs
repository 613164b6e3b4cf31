//! HTTP on the hub's one port: the upgrade to WebSocket, done here through hyper, and a few plain answers.
//!
//! A credential is checked before the 101 (I-12), and every refusal is a status with a JSON body that says why.
//! Each step has a deadline: the request head, then (in the session) the hello.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Extensions, Method, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use protocol::{DEVICE_PATH, DeviceId, ErrorCode, SUBPROTOCOL, VIEWER_PATH, limits};
use serde_json::json;
use store::{CredentialRole, StoreError};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::either::Either;

use crate::auth::{self, Principal, TOKEN_MAX_BYTES, Token};
use crate::clock;
use crate::orders;
use crate::orders::caller::{Looker, Refused};
use crate::serve::Hub;
use crate::session::{self, Peer, socket_config};
use crate::tls::{self, Identity, TlsPort, Transport};
use crate::tokens;

/// Time from accepting a connection to the end of the handshake of TLS.
const TLS_DEADLINE: Duration = Duration::from_secs(10);
/// Time from there to a complete request head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Time that a request which is being read or answered gets when the hub stops.
const LAST_REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// Most headers of a request, and the buffer for its head. hyper's least buffer is 8 KiB.
const HEADERS_MAX: usize = 64;
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Characters of an `Origin` that a refusal repeats.
const ORIGIN_SHOWN_MAX: usize = 200;

/// What a request knows of its connection: where it comes from, and its place among `max_connections`, which goes
/// with the socket when it is upgraded.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) address: SocketAddr,
    /// The device whose certificate was shown, or why it is nobody's.
    certificate: Option<Arc<Result<Identity, String>>>,
    _place: Arc<OwnedSemaphorePermit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Device,
    Viewer,
}

/// All routes.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route(DEVICE_PATH, get(|hub, request| upgrade(hub, request, Door::Device)))
        .route(VIEWER_PATH, get(|hub, request| upgrade(hub, request, Door::Viewer)))
        .route("/v1/devices/{id}", put(add_device))
        .route("/v1/devices/{id}/ledger", get(ledger))
        .route("/v1/devices/{id}/connections", get(connections))
        .merge(orders::router())
        .merge(tokens::router())
        .layer(DefaultBodyLimit::max(limits::VIEWER_MESSAGE_MAX_BYTES))
        .route("/healthz", get(healthz))
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "no such path: the hub has /v1/device, /v1/viewer, /v1/commands, /v1/groups, /v1/tokens and /healthz",
            )
        })
        .with_state(hub)
}

/// Takes connections in until the hub stops.
pub async fn accept(hub: Arc<Hub>, listener: TcpListener) {
    let service = TowerToHyperService::new(router(Arc::clone(&hub)));
    let room = Arc::new(Semaphore::new(hub.config.max_connections));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = hub.stopping.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No descriptor left, or the peer gave up: neither is a reason to stop accepting.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!(%address, limit = hub.config.max_connections, "refused: max_connections is reached");
            continue;
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "no TCP_NODELAY");
        }
        let service = service.clone();
        let hub_of_connection = Arc::clone(&hub);
        hub.tasks.spawn(async move {
            let hub = hub_of_connection;
            let stream = match &hub.tls {
                None => Either::Left(stream),
                Some(tls) => {
                    let agreed = tokio::select! {
                        agreed = agree_on_tls(tls, stream, address) => agreed,
                        () = hub.stopping.cancelled() => return,
                    };
                    let Some(stream) = agreed else { return };
                    stream
                }
            };
            let certificate = tls::identity(&stream).map(Arc::new);
            let connection = Connection { address, certificate, _place: Arc::new(place) };
            serve_connection(&hub, stream, connection, service).await;
        });
    }
}

/// `None`: the peer speaks none, or not in time.
async fn agree_on_tls(tls: &TlsPort, stream: TcpStream, address: SocketAddr) -> Option<Transport> {
    /// The first byte of a handshake (RFC 8446, 5.1).
    const HANDSHAKE: u8 = 22;
    let agree = async move {
        let mut first = [0];
        if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
            say_that_it_is_tls(stream).await?;
            return Ok(None);
        }
        tls.accept(stream).await.map(Some)
    };
    match tokio::time::timeout(TLS_DEADLINE, agree).await {
        Ok(Ok(agreed)) => agreed,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "no TLS with this peer");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "no TLS in time");
            None
        }
    }
}

/// Answers whoever speaks plain HTTP to a port of TLS.
async fn say_that_it_is_tls(mut stream: TcpStream) -> std::io::Result<()> {
    let body = json!({ "error": "this port speaks TLS: connect with wss:// or https://" }).to_string();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    session::linger(&mut stream).await;
    Ok(())
}

async fn serve_connection(
    hub: &Hub,
    stream: Transport,
    connection: Connection,
    service: TowerToHyperService<Router>,
) {
    let address = connection.address;
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(connection.clone());
        hyper::service::Service::call(&service, request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = hub.stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_REQUEST_DEADLINE, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

fn refusal(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "error": message.into() }))).into_response()
}

async fn healthz(State(hub): State<Arc<Hub>>) -> Response {
    let (devices, connected) = hub.directory.counts();
    let status = if hub.failed.is_cancelled() {
        "failed"
    } else if hub.stopping.is_cancelled() {
        "stopping"
    } else {
        "ok"
    };
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "position": hub.live.position(),
        "devices": devices,
        "connected": connected,
    });
    (code, Json(body)).into_response()
}

/// Makes a device and gives its token, once. Operators only.
async fn add_device(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    match authenticate(&hub, &headers, &extensions).await {
        Ok(Principal { role: CredentialRole::Operator, .. }) => {}
        Ok(_) => return refusal(StatusCode::FORBIDDEN, "only an operator may add a device"),
        Err(response) => return *response,
    }
    let id = match DeviceId::new(&id) {
        Ok(id) => id,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    match hub.ingest.add_device(id.clone(), clock::now()).await {
        Ok((key, token)) => {
            hub.directory.created(key, &id);
            (StatusCode::CREATED, Json(json!({ "device": id, "token": token.reveal() }))).into_response()
        }
        Err(error) => {
            tracing::error!(device = %id, %error, "a device could not be added");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

/// What became of the batches of a device. Viewers and operators only.
async fn ledger(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    match authenticate(&hub, &headers, &extensions).await {
        Ok(Principal { role: CredentialRole::Viewer | CredentialRole::Operator, .. }) => {}
        Ok(_) => return refusal(StatusCode::FORBIDDEN, "only a viewer or an operator may look at a ledger"),
        Err(response) => return *response,
    }
    let id = match DeviceId::new(&id) {
        Ok(id) => id,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let asked = id.clone();
    match hub.readers.read(move |reader| reader.account(&asked)).await {
        Ok(Some(account)) => Json(account.told()).into_response(),
        Ok(None) => refusal(StatusCode::NOT_FOUND, format!("no device {id}")),
        Err(error) => {
            tracing::error!(device = %id, %error, "a ledger could not be read");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

/// When a device was connected, and why it was not any more.
async fn connections(
    _: Looker,
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let id = DeviceId::new(&id).map_err(|error| Refused::bad_field(error.to_string()))?;
    let asked = id.clone();
    match hub.readers.read(move |reader| reader.connections(&asked)).await? {
        Some(connections) => Ok(Json(json!({ "device": id, "connections": connections })).into_response()),
        None => Err(Refused::new(ErrorCode::NotFound, format!("no device {id}"))),
    }
}

fn unauthorized(message: &str) -> Response {
    let mut response = refusal(StatusCode::UNAUTHORIZED, message);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn no_lookup(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(%error, "a credential could not be looked up");
    refusal(StatusCode::SERVICE_UNAVAILABLE, "credentials cannot be looked up now: try again")
}

/// Who asks: by the token, if one is sent; else by the certificate.
pub(crate) async fn authenticate(
    hub: &Hub,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Principal, Box<Response>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let connection = extensions.get::<Connection>();
        return match connection.and_then(|connection| connection.certificate.as_deref()) {
            Some(Ok(identity)) => by_certificate(hub, identity).await,
            Some(Err(problem)) => Err(Box::new(unauthorized(problem))),
            None => Err(Box::new(unauthorized("no credential: send the header Authorization: Bearer TOKEN"))),
        };
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_MAX_BYTES)
        .map(|(_, token)| Token::from_text(token));
    let Some(token) = token else {
        return Err(Box::new(unauthorized("the header Authorization is not of the form: Bearer TOKEN")));
    };
    match hub.readers.read(move |reader| auth::find(reader, &token)).await {
        Ok(Some(principal)) => Ok(principal),
        Ok(None) => Err(Box::new(unauthorized(
            "unknown or revoked token: `hub device add` makes one for a device, `hub token add` any other",
        ))),
        Err(error) => Err(Box::new(no_lookup(&error))),
    }
}

/// The device of a certificate. The first time it comes it is stored like a token, so that it is listed and can be revoked.
async fn by_certificate(hub: &Hub, identity: &Identity) -> Result<Principal, Box<Response>> {
    let hash = identity.hash;
    for _ in 0..2 {
        let found = hub.readers.read(move |reader| auth::find_hash(reader, &hash)).await;
        if let Some(principal) = found.map_err(|error| Box::new(no_lookup(&error)))? {
            return Ok(principal);
        }
        match hub.ingest.add_certificate(identity.clone(), clock::now()).await {
            Ok((key, device_key)) => {
                hub.directory.created(device_key, &identity.device);
                tracing::info!(device = %identity.device, key = key.0, "a certificate is used for the first time");
                let role = CredentialRole::Device(identity.device.clone());
                return Ok(Principal { key, role, label: auth::certificate_label(&identity.device) });
            }
            // Revoked; or another connection was faster, and then it is found now.
            Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(Box::new(no_lookup(&error))),
        }
    }
    Err(Box::new(unauthorized(
        "the certificate is revoked: give the device a new key and a certificate for it",
    )))
}

/// Checks that this is an upgrade as RFC 6455, 4.2.1 asks, in our subprotocol. Returns the key.
fn check_upgrade(request: &Request) -> Result<HeaderValue, Box<Response>> {
    let headers = request.headers();
    let has = |name: header::HeaderName, word: &str| {
        headers.get_all(name).iter().any(|value| {
            value.to_str().is_ok_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        })
    };
    let bad = |message: String| Box::new(refusal(StatusCode::BAD_REQUEST, message));
    let upgrade_required = |message: &str| {
        let mut response = refusal(StatusCode::UPGRADE_REQUIRED, message);
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        Box::new(response)
    };
    if request.method() != Method::GET || request.version() < Version::HTTP_11 {
        return Err(bad("an upgrade is a GET of HTTP/1.1".into()));
    }
    if !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        return Err(upgrade_required("this path speaks WebSocket: send an upgrade"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(upgrade_required("Sec-WebSocket-Version must be 13"));
    }
    if !has(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(bad(format!(
            "unknown subprotocol: Sec-WebSocket-Protocol must name one of: {SUBPROTOCOL}"
        )));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) if is_key(key.as_bytes()) => Ok(key.clone()),
        _ => Err(bad("Sec-WebSocket-Key must be 16 bytes in base64".into())),
    }
}

/// Whether these are 16 bytes in base64 (RFC 6455, 4.1).
fn is_key(key: &[u8]) -> bool {
    let digits = |part: &[u8]| part.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(digits)
}

/// A browser says which page opens the connection; only those that are named may, so that no other page can use what the
/// browser knows. What is no browser sends no `Origin`.
fn check_origin(hub: &Hub, headers: &HeaderMap) -> Result<(), Box<Response>> {
    for origin in headers.get_all(header::ORIGIN) {
        if !hub.config.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            let origin: String = origin.chars().take(ORIGIN_SHOWN_MAX).collect();
            let problem =
                format!("the page {origin:?} may not connect: `origins` in hub.toml names those that may");
            return Err(Box::new(refusal(StatusCode::FORBIDDEN, problem)));
        }
    }
    Ok(())
}

async fn upgrade(State(hub): State<Arc<Hub>>, mut request: Request, door: Door) -> Response {
    if let Err(response) = check_origin(&hub, request.headers()) {
        return *response;
    }
    let principal = match authenticate(&hub, request.headers(), request.extensions()).await {
        Ok(principal) => principal,
        Err(response) => return *response,
    };
    let admitted = match &principal.role {
        CredentialRole::Device(_) | CredentialRole::Fleet => door == Door::Device,
        CredentialRole::Viewer | CredentialRole::Operator => door == Door::Viewer,
    };
    if !admitted {
        return refusal(
            StatusCode::FORBIDDEN,
            match door {
                Door::Device => "this token is not a device's: devices connect here",
                Door::Viewer => "this token is a device's: viewers and operators connect here",
            },
        );
    }
    let key = match check_upgrade(&request) {
        Ok(key) => key,
        Err(response) => return *response,
    };
    if hub.stopping.is_cancelled() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the hub is stopping: try again");
    }
    let Some(connection) = request.extensions_mut().remove::<Connection>() else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection");
    };
    let address = connection.address;
    let revoked = hub.revocations.watch(principal.key);
    let peer = Peer { session: hub.next_session(), address, principal, revoked };
    let on_upgrade = hyper::upgrade::on(&mut request);
    let tasks = hub.tasks.clone();
    tasks.spawn(async move {
        let upgraded = match on_upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%address, %error, "the upgrade was not finished");
                return;
            }
        };
        let Ok(parts) = upgraded.downcast::<TokioIo<Transport>>() else {
            tracing::error!(%address, "an upgraded connection of an unknown kind");
            return;
        };
        let config = match door {
            Door::Device => socket_config(4 * 1024, limits::DEVICE_MESSAGE_MAX_BYTES, 256 * 1024),
            Door::Viewer => socket_config(
                4 * 1024,
                limits::VIEWER_MESSAGE_MAX_BYTES,
                limits::HUB_MESSAGE_MAX_BYTES + 64 * 1024,
            ),
        };
        let stream = parts.io.into_inner();
        let socket =
            WebSocketStream::from_partially_read(stream, parts.read_buf.to_vec(), Role::Server, Some(config))
                .await;
        match door {
            Door::Device => Box::pin(session::device::run(hub, socket, peer)).await,
            Door::Viewer => Box::pin(session::viewer::run(hub, socket, peer)).await,
        }
        drop(connection);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
