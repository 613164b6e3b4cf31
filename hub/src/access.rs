//! Who may do what: one table of all paths, one of all messages, and nothing that is in neither (I-17).
//!
//! The router is made from the table, so no path can be there without a line that says who may use it. A request is
//! authenticated and held against its line before anything else is done with it; a handler names [`Looker`], [`Operator`]
//! or [`Admin`] among its arguments and so cannot be put under a line that lets in less.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, delete, get, options, post, put};
use protocol::desk::Actor;
use protocol::viewer::ViewerMessage;
use protocol::{DEVICE_PATH, ErrorCode, VIEWER_PATH};
use store::CredentialRole;

use crate::auth::Principal;
use crate::door::Connection;
use crate::http;
use crate::orders::caller::Refused;
use crate::orders::{self, groups};
use crate::serve::Hub;
use crate::{audit, claims, metrics, tickets, tokens};

/// Where pages draw tickets: the one path, besides the upgrades, that other pages than the hub's may use.
const TICKET_PATH: &str = "/v1/ticket";

/// What somebody must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nobody in particular: no credential is asked for, and nothing of the hub's is told.
    Nobody,
    /// Whoever has a credential.
    Known,
    /// A device, or a fleet of them.
    Device,
    /// A viewer, or more.
    Look,
    /// An operator, or more.
    Operate,
    /// An administrator.
    Administer,
}

impl Need {
    /// Whether whoever has this role may; `None` is somebody without a credential.
    pub const fn allows(self, role: Option<&CredentialRole>) -> bool {
        use CredentialRole as R;
        match (self, role) {
            (Self::Nobody, _) | (Self::Known, Some(_)) => true,
            (_, None) => false,
            (Self::Device, Some(role)) => match role {
                R::Device(_) | R::Fleet => true,
                R::Viewer | R::Operator | R::Admin => false,
            },
            (Self::Look, Some(role)) => match role {
                R::Viewer | R::Operator | R::Admin => true,
                R::Device(_) | R::Fleet => false,
            },
            (Self::Operate, Some(role)) => match role {
                R::Operator | R::Admin => true,
                R::Device(_) | R::Fleet | R::Viewer => false,
            },
            (Self::Administer, Some(role)) => match role {
                R::Admin => true,
                R::Device(_) | R::Fleet | R::Viewer | R::Operator => false,
            },
        }
    }

    /// Why it was refused.
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Nobody => "everyone may do this",
            Self::Known => "everyone with a credential may do this",
            Self::Device => "this token is not a device's: devices connect here",
            Self::Look => {
                "this token is a device's: only viewers, operators and administrators may look here"
            }
            Self::Operate => "only an operator may do this: this token is for less",
            Self::Administer => "only an administrator may do this: this token is for less",
        }
    }
}

/// One line of the table of paths.
pub struct Route {
    /// The verb; what is for `GET` is for `HEAD` as well.
    pub method: Method,
    /// The path, with `{name}` where something is named.
    pub path: &'static str,
    /// Who may.
    pub need: Need,
    handler: MethodRouter<Arc<Hub>>,
}

/// Every path that the hub answers.
pub fn routes() -> Vec<Route> {
    use Need::{Administer, Device, Known, Look, Nobody, Operate};
    let line = |method, path, need, handler| Route { method, path, need, handler };
    vec![
        line(Method::GET, DEVICE_PATH, Device, get(http::upgrade_device)),
        line(Method::GET, VIEWER_PATH, Look, get(http::upgrade_viewer)),
        line(Method::PUT, "/v1/devices/{id}", Administer, put(http::add_device)),
        line(Method::GET, "/v1/devices/{id}/ledger", Look, get(http::ledger)),
        line(Method::GET, "/v1/devices/{id}/connections", Look, get(http::connections)),
        line(Method::GET, "/v1/commands", Look, get(orders::list)),
        line(Method::POST, "/v1/commands", Operate, post(orders::issue)),
        line(Method::GET, "/v1/commands/{id}", Look, get(orders::show)),
        line(Method::POST, "/v1/commands/{id}/cancel", Operate, post(orders::cancel)),
        line(Method::GET, "/v1/groups", Look, get(groups::list)),
        line(Method::POST, "/v1/groups", Operate, post(groups::send)),
        line(Method::GET, "/v1/groups/{id}", Look, get(groups::show)),
        line(Method::GET, "/v1/groups/{id}/members", Look, get(groups::members)),
        line(Method::POST, "/v1/groups/{id}/cancel", Operate, post(groups::cancel)),
        line(Method::POST, "/v1/groups/{id}/retry", Operate, post(groups::retry)),
        line(Method::GET, "/v1/tokens", Administer, get(tokens::list)),
        line(Method::POST, "/v1/tokens", Administer, post(tokens::add)),
        line(Method::DELETE, "/v1/tokens/{key}", Administer, delete(tokens::revoke)),
        line(Method::GET, "/v1/claims", Administer, get(claims::list)),
        line(Method::POST, "/v1/claims", Administer, post(claims::add)),
        line(Method::DELETE, "/v1/claims/{key}", Administer, delete(claims::end)),
        line(Method::POST, "/v1/claim", Nobody, post(claims::claim)),
        line(Method::POST, TICKET_PATH, Known, post(tickets::draw)),
        line(Method::OPTIONS, TICKET_PATH, Nobody, options(tickets::preflight)),
        line(Method::GET, "/v1/audit", Administer, get(audit::list)),
        line(Method::GET, "/metrics", Look, get(metrics::show)),
        line(Method::GET, "/healthz", Nobody, get(http::healthz)),
        line(Method::GET, "/readyz", Nobody, get(metrics::readyz)),
    ]
}

/// Who may send a message to `/v1/viewer`. What a device may say it may say as the device that it is, and nobody else may
/// say it.
pub const fn viewer_message(message: &ViewerMessage) -> Need {
    match message {
        ViewerMessage::Subscribe(_)
        | ViewerMessage::Unsubscribe(_)
        | ViewerMessage::History(_)
        | ViewerMessage::Latest(_)
        | ViewerMessage::Commands(_)
        | ViewerMessage::Groups(_)
        | ViewerMessage::Members(_)
        | ViewerMessage::Ledger(_)
        | ViewerMessage::Connections(_)
        | ViewerMessage::Painted(_) => Need::Look,
        ViewerMessage::SendCommand(_)
        | ViewerMessage::CancelCommand(_)
        | ViewerMessage::SendGroup(_)
        | ViewerMessage::CancelGroup(_)
        | ViewerMessage::RetryGroup(_)
        | ViewerMessage::Inspect(_)
        | ViewerMessage::StopInspecting(_) => Need::Operate,
    }
}

/// The router of the table.
pub(crate) fn router(hub: &Arc<Hub>) -> Router<Arc<Hub>> {
    routes().into_iter().fold(Router::new(), |router, Route { method, path, need, handler }| {
        let line = Line { hub: Arc::clone(hub), need, path };
        debug_assert!(MethodFilter::try_from(method).is_ok(), "axum knows the verb");
        router.route(path, handler.route_layer(middleware::from_fn_with_state(line, guard)))
    })
}

/// What the guard of a path knows.
#[derive(Clone)]
struct Line {
    hub: Arc<Hub>,
    need: Need,
    path: &'static str,
}

/// Lets a request through to its handler, or answers it. The answer about tickets says which page may read it.
async fn guard(State(line): State<Line>, request: Request, next: Next) -> Response {
    let is_ticket = line.path == TICKET_PATH;
    let page = is_ticket.then(|| http::allowed_page(&line.hub, request.headers())).flatten();
    let mut response = let_through(line, request, next).await;
    if is_ticket {
        http::allow_page(&mut response, page);
    }
    response
}

async fn let_through(line: Line, mut request: Request, next: Next) -> Response {
    let Line { hub, need, path } = line;
    if need != Need::Nobody {
        let subject = format!("{} {path}", request.method());
        let from_pages = path == DEVICE_PATH || path == VIEWER_PATH || path == TICKET_PATH;
        if from_pages && let Err(response) = http::check_origin(&hub, request.headers()) {
            return *response;
        }
        if let Some(name) = http::credential_in_url(request.uri()) {
            return http::refusal(StatusCode::BAD_REQUEST, http::in_url(name));
        }
        let ticket = path == DEVICE_PATH || path == VIEWER_PATH;
        let principal =
            match http::authenticate(&hub, request.headers(), request.extensions(), &subject, ticket).await {
                Ok(principal) => principal,
                Err(response) => return *response,
            };
        if !need.allows(Some(&principal.role)) {
            let actor = actor_of(&principal, request.extensions());
            hub.metrics.forbidden.add(1);
            hub.audit.refused("request", actor, subject, need.refusal());
            return forbidden(need);
        }
        request.extensions_mut().insert(principal);
    }
    if path != DEVICE_PATH && path != VIEWER_PATH {
        // What it takes now may depend on the peer, whose body may be slow, and on what is asked for.
        if let Some(connection) = request.extensions().get::<Connection>() {
            connection.turn.end();
        }
    }
    next.run(request).await
}

fn forbidden(need: Need) -> Response {
    Refused::new(ErrorCode::Forbidden, need.refusal()).into_response()
}

/// Where a request comes from.
pub(crate) fn address_of(extensions: &axum::http::Extensions) -> Option<SocketAddr> {
    extensions.get::<Connection>().map(|connection| connection.address)
}

fn actor_of(principal: &Principal, extensions: &axum::http::Extensions) -> Actor {
    let address = address_of(extensions).map(|address| address.to_string());
    Actor { by: principal.label.clone(), address }
}

/// An administrator.
pub(crate) struct Admin(pub(crate) Actor);

/// An operator, or more.
pub(crate) struct Operator(pub(crate) Actor);

/// A viewer, or more.
pub(crate) struct Looker;

/// Why someone is not let in.
pub(crate) struct NotLetIn(Box<Response>);

impl IntoResponse for NotLetIn {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Nobody comes here but through [`guard`], which leaves the principal; without one nothing is done.
fn caller(parts: &Parts, need: Need) -> Result<Actor, NotLetIn> {
    match parts.extensions.get::<Principal>() {
        Some(principal) if need.allows(Some(&principal.role)) => Ok(actor_of(principal, &parts.extensions)),
        Some(_) => Err(NotLetIn(Box::new(forbidden(need)))),
        None => {
            tracing::error!(path = parts.uri.path(), "a request that nobody has let in");
            Err(NotLetIn(Box::new(StatusCode::INTERNAL_SERVER_ERROR.into_response())))
        }
    }
}

impl FromRequestParts<Arc<Hub>> for Admin {
    type Rejection = NotLetIn;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Hub>) -> Result<Self, NotLetIn> {
        caller(parts, Need::Administer).map(Self)
    }
}

impl FromRequestParts<Arc<Hub>> for Operator {
    type Rejection = NotLetIn;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Hub>) -> Result<Self, NotLetIn> {
        caller(parts, Need::Operate).map(Self)
    }
}

impl FromRequestParts<Arc<Hub>> for Looker {
    type Rejection = NotLetIn;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Hub>) -> Result<Self, NotLetIn> {
        caller(parts, Need::Look).map(|_| Self)
    }
}
