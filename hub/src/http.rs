//! HTTP on the hub's one port: the upgrade to WebSocket, done here through hyper, and a few plain answers.
//!
//! A credential is checked before the 101 (I-12), and every refusal is a status with a JSON body that says why.
//! Each step has a deadline: the request head, then (in the session) the hello.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Extension, Path, Request, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Extensions, Method, StatusCode, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use protocol::desk::Actor;
use protocol::limits::HUB_MESSAGE_MAX_BYTES;
use protocol::{DeviceId, ErrorCode, SUBPROTOCOL};
use serde_json::json;
use store::{CredentialRole, StoreError};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::access::{self, Admin, Looker};
use crate::auth::{self, Principal, TOKEN_MAX_BYTES, Token};
use crate::clock;
use crate::deadline::WriteDeadline;
use crate::door::Connection;
use crate::gate::TooManyFailures;
use crate::limits::{Limit, Refusal, seconds_up};
use crate::orders::caller::{Refused, Uncounted, name_limit};
use crate::serve::Hub;
use crate::session::{self, Peer, socket_config};
use crate::tickets;
use crate::tls::Identity;
use crate::wire::Tapped;

/// Longest `Origin` that a refusal repeats.
const ORIGIN_SHOWN_MAX: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Device,
    Viewer,
}

/// All routes: those of the table in [`access`], and an answer to all others.
pub fn router(hub: &Arc<Hub>) -> Router {
    access::router(hub)
        .layer(DefaultBodyLimit::max(hub.config.limits.count(Limit::RequestBodyBytes)))
        .method_not_allowed_fallback(async || {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "this path has no such method: `Allow` names those that it has")
        })
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "no such path: the hub has /v1/device, /v1/viewer, /v1/commands, /v1/groups, /v1/tokens and others, see docs/protocol.md",
            )
        })
        .layer(middleware::from_fn_with_state(Arc::clone(hub), answer))
        .with_state(Arc::clone(hub))
}

/// Answers a request. With the answer the turn of a first request is over; one that goes on as a WebSocket ends it when the
/// memory of the handshake is given back.
async fn answer(State(hub): State<Arc<Hub>>, request: Request, next: Next) -> Response {
    let turn = request.extensions().get::<Connection>().map(|connection| Arc::clone(&connection.turn));
    let answer = in_time(&hub, request, next).await;
    if let Some(turn) = turn
        && answer.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        turn.end();
    }
    answer
}

/// A request whose head is too large, whose body does not come, or that takes too long to answer, is given up.
async fn in_time(hub: &Hub, request: Request, next: Next) -> Response {
    let limits = &hub.config.limits;
    let headers = request.headers();
    if headers.len() > limits.count(Limit::RequestHeaders) {
        return limited(hub, Limit::RequestHeaders, &format!("{} headers", headers.len()));
    }
    // A line ends with CR LF, and a name with a colon and a space.
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let head = lines + request.uri().to_string().len();
    if head > limits.count(Limit::RequestHeadBytes) {
        return limited(hub, Limit::RequestHeadBytes, &format!("a head of {head} bytes"));
    }
    match tokio::time::timeout(limits.time(Limit::RequestSeconds), next.run(request)).await {
        Ok(answer) => {
            if let Some(Uncounted(limit)) = answer.extensions().get() {
                hub.metrics.reached(*limit);
            }
            let too_large = answer.status() == StatusCode::PAYLOAD_TOO_LARGE;
            if too_large { limited(hub, Limit::RequestBodyBytes, "the body is larger") } else { answer }
        }
        Err(_) => limited(hub, Limit::RequestSeconds, "the request was not answered in time"),
    }
}

/// The answer to whoever reaches a limit.
pub(crate) fn limited(hub: &Hub, limit: Limit, found: &str) -> Response {
    hub.metrics.reached(limit);
    let status = match limit {
        Limit::RequestSeconds => StatusCode::REQUEST_TIMEOUT,
        Limit::RequestBodyBytes => StatusCode::PAYLOAD_TOO_LARGE,
        Limit::RequestHeaders | Limit::RequestHeadBytes => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        _ => StatusCode::TOO_MANY_REQUESTS,
    };
    let refusal = hub.config.limits.refusal(limit, found);
    (status, Json(refusal_body(&refusal))).into_response()
}

/// A refusal in JSON.
pub(crate) fn refusal_body(refusal: &Refusal) -> serde_json::Value {
    let mut body = json!({
        "error": refusal.to_string(),
        "code": ErrorCode::LimitReached,
        "limit": refusal.limit.name(),
        "value": refusal.value,
        "scope": refusal.limit.scope(),
    });
    if let Some(time) = refusal.retry_after {
        body["retry_after_seconds"] = seconds_up(time).into();
    }
    body
}

pub(crate) fn refusal(status: StatusCode, message: impl Into<String>) -> Response {
    let message = message.into();
    let mut body = json!({ "error": message });
    let named = name_limit(&mut body, &message);
    let mut response = (status, Json(body)).into_response();
    if let Some(limit) = named {
        response.extensions_mut().insert(Uncounted(limit));
    }
    response
}

/// Somebody has tried too often: how long to wait.
pub(crate) fn retry_later(wait: &TooManyFailures) -> Response {
    let seconds = wait.retry_after.as_secs();
    let refusal = Refusal {
        limit: Limit::FailuresPerMinute,
        value: wait.limit.into(),
        found: "too many wrong credentials".into(),
        retry_after: Some(wait.retry_after),
    };
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(refusal_body(&refusal))).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Whether the process lives: for whoever restarts it if not.
pub(crate) async fn healthz(State(hub): State<Arc<Hub>>) -> Response {
    let status = if hub.failed.is_cancelled() {
        "failed"
    } else if hub.stopping.is_cancelled() {
        "stopping"
    } else {
        "ok"
    };
    let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "status": status, "version": env!("CARGO_PKG_VERSION") }))).into_response()
}

/// Makes a device and gives its token, once.
pub(crate) async fn add_device(
    State(hub): State<Arc<Hub>>,
    Admin(actor): Admin,
    Path(id): Path<String>,
) -> Response {
    let id = match DeviceId::new(&id) {
        Ok(id) => id,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if let Err(refused) = hub.config.limits.check_id(&id) {
        return refusal(StatusCode::BAD_REQUEST, refused.to_string());
    }
    if let Err(found) = hub.directory.has_room(&id, hub.config.limits.count(Limit::Devices)) {
        return limited(&hub, Limit::Devices, &found);
    }
    match hub.ingest.add_device(id.clone(), actor, clock::now()).await {
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

/// What became of the batches of a device.
pub(crate) async fn ledger(
    State(hub): State<Arc<Hub>>,
    _: Looker,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let id = DeviceId::new(&id).map_err(|error| Refused::bad_field(error.to_string()))?;
    let asked = id.clone();
    match hub.readers.read(move |reader| reader.account(&asked)).await? {
        Some(account) => Ok(Json(account.told()).into_response()),
        None => Err(Refused::new(ErrorCode::NotFound, format!("no device {id}"))),
    }
}

/// When a device was connected, and why it was not any more.
pub(crate) async fn connections(
    State(hub): State<Arc<Hub>>,
    _: Looker,
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

/// Who asks: by the token, if one is sent; else by the ticket, where one will do; else by the certificate. What is wrong is
/// noted, and counted against the address that it comes from.
pub(crate) async fn authenticate(
    hub: &Hub,
    headers: &HeaderMap,
    extensions: &Extensions,
    subject: &str,
    ticket: bool,
) -> Result<Principal, Box<Response>> {
    let Some(connection) = extensions.get::<Connection>() else {
        return Err(Box::new(refusal(StatusCode::INTERNAL_SERVER_ERROR, "a request without a connection")));
    };
    match identify(hub, headers, connection, ticket).await {
        Ok(principal) => {
            connection.stranger.is_known();
            Ok(principal)
        }
        Err(Unknown::Lookup(response)) => Err(response),
        Err(Unknown::Nobody(problem)) => Err(Box::new(unauthorized(problem))),
        Err(Unknown::Wrong(problem)) => {
            let actor = Actor { by: "unknown".into(), address: Some(connection.address.to_string()) };
            hub.audit.refused("sign_in", actor, subject.to_owned(), &problem);
            hub.metrics.wrong_credentials.add(1);
            match hub.gate.failed(connection.address.ip()) {
                Ok(()) => Err(Box::new(unauthorized(&problem))),
                Err(wait) => {
                    hub.metrics.reached(Limit::FailuresPerMinute);
                    connection.turn.end();
                    tokio::time::sleep(hub.config.limits.time(Limit::GuessSeconds)).await;
                    Err(Box::new(retry_later(&wait)))
                }
            }
        }
    }
}

/// Why nobody is known.
enum Unknown {
    /// No credential was shown.
    Nobody(&'static str),
    /// One that opens nothing. Nothing of it is in the words.
    Wrong(String),
    /// It could not be looked up.
    Lookup(Box<Response>),
}

async fn identify(
    hub: &Hub,
    headers: &HeaderMap,
    connection: &Connection,
    ticket: bool,
) -> Result<Principal, Unknown> {
    let wrong = |problem: &str| Unknown::Wrong(problem.to_owned());
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        if let Some(ticket) = ticket.then(|| ticket_in(headers)).flatten() {
            // The token may have been revoked since.
            return hub.tickets.take(&ticket).filter(|known| !hub.revocations.has(known.key)).ok_or_else(|| {
                wrong("the ticket is good for nothing: it was used, its time is over, or its token is revoked. POST /v1/ticket gives a new one")
            });
        }
        return match connection.certificate.as_deref() {
            Some(Ok(identity)) => by_certificate(hub, identity, connection.address).await,
            Some(Err(problem)) => Err(wrong(problem)),
            None => Err(Unknown::Nobody("no credential: send the header Authorization: Bearer TOKEN")),
        };
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.len() <= TOKEN_MAX_BYTES)
        .map(|(_, token)| Token::from_text(token));
    let Some(token) = token else {
        return Err(wrong("the header Authorization is not of the form: Bearer TOKEN"));
    };
    match hub.readers.read(move |reader| auth::find(reader, &token)).await {
        Ok(Some(principal)) => Ok(principal),
        Ok(None) => Err(wrong(
            "unknown or revoked token: `hub device add` makes one for a device, `hub token add` any other",
        )),
        Err(error) => Err(Unknown::Lookup(Box::new(no_lookup(&error)))),
    }
}

/// The ticket among the subprotocols.
fn ticket_in(headers: &HeaderMap) -> Option<Token> {
    let named =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let ticket = named
        .flat_map(|value| value.split(','))
        .find_map(|name| name.trim().strip_prefix(tickets::PREFIX))?;
    (ticket.len() <= TOKEN_MAX_BYTES).then(|| Token::from_text(&format!("ticket_{ticket}")))
}

/// The device of a certificate. The first time it comes it is stored like a token, so that it is listed and can be revoked.
async fn by_certificate(hub: &Hub, identity: &Identity, address: SocketAddr) -> Result<Principal, Unknown> {
    let hash = identity.hash;
    for _ in 0..2 {
        let actor = Actor { by: "hub".into(), address: Some(address.to_string()) };
        let found = hub.readers.read(move |reader| auth::find_hash(reader, &hash)).await;
        if let Some(principal) = found.map_err(|error| Unknown::Lookup(Box::new(no_lookup(&error))))? {
            return Ok(principal);
        }
        match hub.ingest.add_certificate(identity.clone(), actor, clock::now()).await {
            Ok((key, device_key)) => {
                hub.directory.created(device_key, &identity.device);
                tracing::info!(device = %identity.device, key = key.0, "a certificate is used for the first time");
                let role = CredentialRole::Device(identity.device.clone());
                return Ok(Principal { key, role, label: auth::certificate_label(&identity.device) });
            }
            // Revoked; or another connection was faster, and then it is found now.
            Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(Unknown::Lookup(Box::new(no_lookup(&error)))),
        }
    }
    Err(Unknown::Wrong(
        "the certificate is revoked: give the device a new key and a certificate for it".to_owned(),
    ))
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

/// What somebody might take for the place of a credential in a URL.
const IN_URL: [&str; 8] =
    ["token", "access_token", "auth_token", "authorization", "bearer", "api_key", "apikey", "ticket"];

/// Which credential the URL seems to carry.
pub(crate) fn credential_in_url(uri: &axum::http::Uri) -> Option<&'static str> {
    let names = uri.query()?.split('&').map(|part| part.split_once('=').map_or(part, |(name, _)| name));
    let mut found = names.filter_map(|name| IN_URL.iter().find(|known| known.eq_ignore_ascii_case(name)));
    found.next().copied()
}

/// Why a URL with a credential in it is refused, whatever else stands in the request.
pub(crate) fn in_url(name: &str) -> String {
    format!(
        "`{name}` stands in the URL, where no credential is looked at and every log on the way keeps it: replace the token if \
         it is a real one, and send the header Authorization: Bearer TOKEN, or from a page a ticket as subprotocol"
    )
}

/// A browser says which page opens the connection; only those that are named may, so that no other page can use what the
/// browser knows. What is no browser sends no `Origin`.
pub(crate) fn check_origin(hub: &Hub, headers: &HeaderMap) -> Result<(), Box<Response>> {
    for origin in headers.get_all(header::ORIGIN) {
        if !hub.config.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) {
            // What is no origin is not repeated: it may be a secret that got there by mistake.
            let page = match origin.to_str().ok().filter(|text| text.len() <= ORIGIN_SHOWN_MAX) {
                Some(text) if crate::config::is_origin(text) => format!("the page {text:?}"),
                _ => "a page whose Origin is none".to_owned(),
            };
            let problem = format!("{page} may not connect: `origins` in hub.toml names those that may");
            return Err(Box::new(refusal(StatusCode::FORBIDDEN, problem)));
        }
    }
    Ok(())
}

/// The page that a request comes from, if it may come from there.
pub(crate) fn allowed_page(hub: &Hub, headers: &HeaderMap) -> Option<HeaderValue> {
    let page = headers.get(header::ORIGIN)?;
    check_origin(hub, headers).ok().map(|()| page.clone())
}

/// Lets a page read an answer (CORS); the answer is another one for other pages.
pub(crate) fn allow_page(response: &mut Response, page: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(page) = page {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

pub(crate) async fn upgrade_device(
    State(hub): State<Arc<Hub>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Response {
    upgrade(hub, principal, request, Door::Device)
}

pub(crate) async fn upgrade_viewer(
    State(hub): State<Arc<Hub>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Response {
    upgrade(hub, principal, request, Door::Viewer)
}

/// Goes from HTTP to WebSocket. Whoever comes here has been let in.
fn upgrade(hub: Arc<Hub>, principal: Principal, mut request: Request, door: Door) -> Response {
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
    let path = if door == Door::Device { protocol::DEVICE_PATH } else { protocol::VIEWER_PATH };
    hub.audit.signed_in(&principal, address, path.to_owned());
    // With a token, the certificate was not looked at.
    let certificate = connection.certificate.as_deref().and_then(|found| found.as_ref().ok());
    let has_token = request.headers().contains_key(header::AUTHORIZATION);
    let expires = certificate.filter(|_| !has_token && door == Door::Device).map(|identity| identity.expires);
    let peer = Peer { session: hub.next_session(), address, principal, revoked, expires };
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
        let Ok(parts) = upgraded.downcast::<TokioIo<WriteDeadline<Tapped>>>() else {
            tracing::error!(%address, "an upgraded connection of an unknown kind");
            return;
        };
        let limits = &hub.config.limits;
        let config = match door {
            Door::Device => session::device::socket_config(limits),
            Door::Viewer => socket_config(
                4 * 1024,
                limits.count(Limit::ViewerMessageBytes),
                HUB_MESSAGE_MAX_BYTES + 64 * 1024,
            ),
        };
        // What was read with the head, as a rule nothing: its buffer of 8 KiB would stay for as long as the session.
        let mut early = parts.read_buf.to_vec();
        drop(parts.read_buf);
        let mut stream = parts.io.into_inner().into_inner();
        early.extend_from_slice(&stream.not_read_again());
        connection.turn.end();
        let is_device = door == Door::Device;
        let recording = hub.wires.for_a_stranger().filter(|_| is_device);
        stream.upgraded(peer.name(), &early, is_device, recording);
        let socket = WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
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
