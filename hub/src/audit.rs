//! What the audit trail is told while the hub runs, and the trail over HTTP.
//!
//! Changes of who may connect are written by the store together with the change. What comes here is who was let in and who
//! was not. That may be much and is not ours to bound, so the same thing is told once at once, and after that once a minute
//! with how often it happened; and of what was refused only so many different things a minute are told apart.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use protocol::Timestamp;
use protocol::desk::Actor;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{AuditEntry, AuditFilter, CredentialKey};
use tokio_util::sync::CancellationToken;

use crate::access::Admin;
use crate::auth::Principal;
use crate::clock;
use crate::limits::{Limit, Limits};
use crate::metrics::Metrics;
use crate::orders::caller::Refused;
use crate::orders::check_limit;
use crate::serve::Hub;

/// How often what has gathered is stored.
const FLUSH: Duration = Duration::from_secs(1);
/// For how long the same thing is counted before it is told again.
const WINDOW: Duration = Duration::from_secs(60);

/// Where the hub notes what the trail is to be told.
#[derive(Debug)]
pub struct Audit {
    state: Mutex<Gathered>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Gathered {
    /// Different things that are told apart in a window. A row is some 150 bytes, so at 100 an attack from everywhere grows the
    /// file by 20 MB a day.
    told_apart_max: usize,
    /// To be stored next.
    due: Vec<AuditEntry>,
    /// What was told in this window already, and how often it happened since.
    told: HashMap<Thing, Since>,
    /// What was too much to be told apart.
    others: u32,
    /// From where each device came last, for so many of them.
    seen_max: usize,
    seen: HashMap<CredentialKey, IpAddr>,
}

/// What makes two events the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Thing {
    action: &'static str,
    refused: bool,
    by: String,
    address: Option<String>,
    subject: String,
    detail: Option<String>,
}

#[derive(Debug)]
struct Since {
    more: u32,
    until: tokio::time::Instant,
}

impl Thing {
    fn entry(&self, count: u32) -> AuditEntry {
        AuditEntry {
            at: clock::now(),
            action: self.action,
            refused: self.refused,
            actor: Actor { by: self.by.clone(), address: self.address.clone() },
            subject: self.subject.clone(),
            detail: self.detail.clone(),
            count,
        }
    }
}

/// The host alone: the port is another one for each connection.
fn host(address: Option<String>) -> Option<String> {
    address.map(|text| {
        text.parse::<SocketAddr>().map_or(text, |address| address.ip().to_canonical().to_string())
    })
}

impl Audit {
    /// Nothing has happened yet.
    pub fn new(limits: &Limits, metrics: Arc<Metrics>) -> Self {
        let gathered = Gathered {
            told_apart_max: limits.count(Limit::AuditToldApart),
            seen_max: limits.count(Limit::SignInsKnown),
            ..Gathered::default()
        };
        Self { state: Mutex::new(gathered), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody was not let in, or not let do something. No word of theirs may be in `subject` or `detail`.
    pub fn refused(&self, action: &'static str, actor: Actor, subject: String, detail: &str) {
        let thing = Thing {
            action,
            refused: true,
            by: actor.by,
            address: host(actor.address),
            subject,
            detail: Some(detail.to_owned()),
        };
        if !self.lock().note(thing) {
            self.metrics.reached(Limit::AuditToldApart);
        }
    }

    /// A session began. Devices come and go: of them it is told when one comes from another host than before, or for the first
    /// time since the hub started.
    pub fn signed_in(&self, principal: &Principal, address: SocketAddr, subject: String) {
        let ip = address.ip().to_canonical();
        let mut state = self.lock();
        if principal.role.device().is_some() {
            if state.seen.len() >= state.seen_max && !state.seen.contains_key(&principal.key) {
                self.metrics.reached(Limit::SignInsKnown);
                return;
            }
            if state.seen.insert(principal.key, ip) == Some(ip) {
                return;
            }
            let entry = Thing {
                action: "sign_in",
                refused: false,
                by: principal.label.clone(),
                address: Some(ip.to_string()),
                subject,
                detail: None,
            };
            state.due.push(entry.entry(1));
            return;
        }
        state.note(Thing {
            action: "sign_in",
            refused: false,
            by: principal.label.clone(),
            address: Some(ip.to_string()),
            subject,
            detail: None,
        });
    }

    /// Somebody does something that changes nothing and is told all the same.
    pub fn done(&self, action: &'static str, actor: Actor, subject: String) {
        let thing = Thing {
            action,
            refused: false,
            by: actor.by,
            address: host(actor.address),
            subject,
            detail: None,
        };
        self.lock().note(thing);
    }

    /// Stores what has gathered, now and then, until the hub stops; and a last time then.
    pub(crate) async fn keep(self: Arc<Self>, hub: Arc<Hub>, stopping: CancellationToken) {
        let mut again = tokio::time::interval(FLUSH);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let last = tokio::select! {
                () = stopping.cancelled() => true,
                _ = again.tick() => false,
            };
            let due = self.lock().take(last);
            let count = due.len();
            if !due.is_empty()
                && let Err(error) = hub.ingest.audit(due).await
            {
                tracing::error!(%error, count, "the audit trail lacks what just happened");
            }
            if last {
                return;
            }
        }
    }
}

impl Gathered {
    /// Whether it is told apart from others.
    fn note(&mut self, thing: Thing) -> bool {
        if let Some(since) = self.told.get_mut(&thing) {
            since.more = since.more.saturating_add(1);
        } else if self.told.len() < self.told_apart_max {
            self.due.push(thing.entry(1));
            self.told.insert(thing, Since { more: 0, until: tokio::time::Instant::now() + WINDOW });
        } else {
            self.others = self.others.saturating_add(1);
            return false;
        }
        true
    }

    /// What is to be stored now: what is new, and what happened again in windows that are over.
    fn take(&mut self, all: bool) -> Vec<AuditEntry> {
        let now = tokio::time::Instant::now();
        let mut due = std::mem::take(&mut self.due);
        let before = self.told.len();
        self.told.retain(|thing, since| {
            let over = all || since.until <= now;
            if over && since.more > 0 {
                due.push(thing.entry(since.more));
            }
            !over
        });
        if self.others > 0 && (self.told.len() < before || all) {
            let thing = Thing {
                action: "sign_in",
                refused: true,
                by: "unknown".into(),
                address: None,
                subject: "more than could be told apart".into(),
                detail: None,
            };
            due.push(thing.entry(std::mem::take(&mut self.others)));
        }
        due
    }
}

/// What the trail may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuditQuery {
    before: Option<i64>,
    since: Option<i64>,
    action: Option<String>,
    by: Option<String>,
    #[serde(default)]
    refused: bool,
    limit: Option<u32>,
}

/// The trail, newest first.
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    _: Admin,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(AuditQuery { before, since, action, by, refused, limit }) = query?;
    let limit = check_limit(&hub, limit)?;
    let filter = AuditFilter { before, since: since.map(Timestamp), action, by, refused };
    let rows = hub.readers.read(move |reader| reader.audit(&filter, limit)).await?;
    Ok(Json(json!({ "audit": rows })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(audit: &Audit, address: &str, detail: &str) {
        let actor = Actor { by: "unknown".into(), address: Some(address.into()) };
        audit.refused("sign_in", actor, "GET /v1/viewer".into(), detail);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_again_is_told_once_a_minute_with_how_often() {
        let audit = Audit::new(&Limits::default(), Arc::default());
        for port in 1..=50 {
            refuse(&audit, &format!("10.0.0.7:{port}"), "unknown token");
        }
        refuse(&audit, "10.0.0.8:1", "unknown token");
        let told = audit.lock().take(false);
        let of: Vec<_> = told.iter().map(|e| (e.actor.address.as_deref().unwrap(), e.count)).collect();
        assert_eq!(of, [("10.0.0.7", 1), ("10.0.0.8", 1)], "at once, whatever the port");
        refuse(&audit, "10.0.0.7:9", "unknown token");
        assert!(audit.lock().take(false).is_empty(), "not again in the same minute");
        tokio::time::advance(WINDOW).await;
        let told = audit.lock().take(false);
        assert_eq!(told.iter().map(|e| e.count).collect::<Vec<_>>(), [50], "the rest together");
        tokio::time::advance(WINDOW).await;
        assert!(audit.lock().take(false).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_attack_from_everywhere_adds_a_bounded_number_of_rows() {
        let audit = Audit::new(&Limits::default(), Arc::default());
        for host in 0..100_000_u32 {
            refuse(&audit, &SocketAddr::from((host.to_be_bytes(), 1)).to_string(), "unknown token");
        }
        assert_eq!(audit.lock().take(false).len(), 100);
        let told = audit.lock().take(true);
        assert_eq!(told.iter().map(|e| e.count).sum::<u32>() as usize, 100_000 - 100, "all are counted");
        assert_eq!(told.len(), 1);
    }
}
