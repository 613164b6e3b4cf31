//! Tickets: how a web page connects without its token in a URL, a log or a cookie.
//!
//! A browser can put nothing into the request of a WebSocket but the URL and the names of subprotocols. So whoever holds the
//! token, best a server that never shows it to the page, asks for a ticket: good once, for the role of the token, for a short
//! time. The page names it as a subprotocol. Tickets are kept in memory, by their hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use protocol::ErrorCode;
use serde_json::json;
use tokio::time::Instant;

use crate::auth::{Principal, Token};
use crate::http::limited;
use crate::limits::{Limit, Limits};
use crate::orders::caller::Refused;
use crate::serve::Hub;

/// What stands before a ticket among the subprotocols.
pub const PREFIX: &str = "ticket.";

/// The tickets that are good now.
#[derive(Debug, Default)]
pub struct Tickets {
    open: Mutex<HashMap<[u8; 32], Ticket>>,
}

#[derive(Debug)]
struct Ticket {
    principal: Principal,
    until: Instant,
}

impl Tickets {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Ticket>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a ticket with which one peer may connect as `principal`; or says which limit of open tickets is reached.
    fn draw(&self, principal: &Principal, limits: &Limits) -> Result<Result<Token, Limit>, getrandom::Error> {
        let ticket = Token::draw("ticket")?;
        let mut open = self.lock();
        let now = Instant::now();
        open.retain(|_, ticket| ticket.until > now);
        let of_this = open.values().filter(|ticket| ticket.principal.key == principal.key).count();
        if open.len() >= limits.count(Limit::TicketsOpen) {
            return Ok(Err(Limit::TicketsOpen));
        }
        if of_this >= limits.count(Limit::TicketsPerToken) {
            return Ok(Err(Limit::TicketsPerToken));
        }
        open.insert(
            ticket.hash(),
            Ticket { principal: principal.clone(), until: now + limits.time(Limit::TicketSeconds) },
        );
        Ok(Ok(ticket))
    }

    /// Uses a ticket: it is gone. `None`: there is no such ticket, or its time is over.
    pub fn take(&self, ticket: &Token) -> Option<Principal> {
        let ticket = self.lock().remove(&ticket.hash())?;
        (ticket.until > Instant::now()).then_some(ticket.principal)
    }
}

/// What a browser asks before a page of another origin may ask for a ticket.
pub(crate) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Gives a ticket for the role of the token that asks. Not for a certificate: its session ends with it, and that of a ticket
/// would not.
pub(crate) async fn draw(
    State(hub): State<Arc<Hub>>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if !headers.contains_key(header::AUTHORIZATION) {
        let problem = "a ticket is drawn with a token: with a certificate connect as you are";
        return Err(Refused::new(ErrorCode::Forbidden, problem));
    }
    match hub.tickets.draw(&principal, &hub.config.limits) {
        Ok(Ok(ticket)) => {
            let text = ticket.reveal().trim_start_matches("ticket_");
            let body = json!({ "ticket": text, "protocol": format!("{PREFIX}{text}"), "seconds": hub.config.limits.get(Limit::TicketSeconds) });
            Ok((StatusCode::CREATED, Json(body)).into_response())
        }
        Ok(Err(limit)) => Ok(limited(&hub, limit, "too many tickets are open")),
        Err(error) => Err(Refused::new(ErrorCode::Internal, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use store::{CredentialKey, CredentialRole};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_half_a_minute() {
        let (tickets, limits) = (Tickets::default(), Limits::default());
        let anna = Principal { key: CredentialKey(1), role: CredentialRole::Viewer, label: "anna".into() };
        let first = tickets.draw(&anna, &limits).unwrap().unwrap();
        let second = tickets.draw(&anna, &limits).unwrap().unwrap();
        assert_eq!(tickets.take(&first), Some(anna.clone()));
        assert_eq!(tickets.take(&first), None);
        tokio::time::advance(limits.time(Limit::TicketSeconds)).await;
        assert_eq!(tickets.take(&second), None);
        for _ in 0..limits.count(Limit::TicketsPerToken) {
            assert!(tickets.draw(&anna, &limits).unwrap().is_ok());
        }
        assert_eq!(tickets.draw(&anna, &limits).unwrap(), Err(Limit::TicketsPerToken));
        let other = Principal { key: CredentialKey(2), ..anna };
        assert!(tickets.draw(&other, &limits).unwrap().is_ok());
        assert!(!format!("{tickets:?}").contains(first.reveal()));
    }
}
