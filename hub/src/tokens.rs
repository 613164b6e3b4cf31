//! Tokens over HTTP: make, list, revoke. A revoked one opens nothing more, and what it has open is closed.
//!
//! Administrators only. A token is shown once, in the answer that makes it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use protocol::{DeviceId, ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Credential, CredentialKey, CredentialRole, StoreError};
use tokio_util::sync::CancellationToken;

use crate::access::Admin;
use crate::auth::AuthError;
use crate::clock;
use crate::limits::{Limit, Limits};
use crate::orders::caller::Refused;
use crate::orders::{check_limit, fields};
use crate::serve::Hub;

/// Tells the sessions of a credential that it was revoked.
#[derive(Debug, Default)]
pub struct Revocations {
    state: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of each credential that has had a session.
    open: HashMap<CredentialKey, CancellationToken>,
    /// Those that were revoked since the hub started: a session that was let in a moment before learns of it here.
    revoked: HashSet<CredentialKey>,
}

impl Revocations {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a session: is cancelled when its credential is revoked, or was by now.
    pub fn watch(&self, key: CredentialKey) -> CancellationToken {
        let mut state = self.lock();
        let watch = state.open.entry(key).or_default().child_token();
        if state.revoked.contains(&key) {
            watch.cancel();
        }
        watch
    }

    /// Whether it was revoked since the hub started.
    pub fn has(&self, key: CredentialKey) -> bool {
        self.lock().revoked.contains(&key)
    }

    /// The credential is stored as revoked.
    fn revoke(&self, key: CredentialKey) {
        let mut state = self.lock();
        state.revoked.insert(key);
        if let Some(open) = state.open.remove(&key) {
            open.cancel();
        }
    }
}

/// A token as it is listed; the secret itself is nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Its number, by which it is revoked.
    pub key: i64,
    /// `device`, `fleet`, `viewer`, `operator` or `admin`.
    pub role: String,
    /// The device, if it opens one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// What a person calls it, and by which the audit trail names its holder.
    pub label: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl From<Credential> for TokenInfo {
    fn from(credential: Credential) -> Self {
        let Credential { key, role, label, created_at, revoked_at } = credential;
        let name = role.as_str().to_owned();
        let device = role.device().cloned();
        Self { key: key.0, role: name, device, label, created_at, revoked_at }
    }
}

/// What a new token is to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// `device`, `fleet`, `viewer`, `operator` or `admin`.
    pub role: String,
    /// The device, where the role is `device`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// What a person calls it: who holds it, or where it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl NewToken {
    /// The role and the label, or what is wrong.
    pub fn check(self, limits: &Limits) -> Result<(CredentialRole, String), String> {
        let role = match (self.role.as_str(), self.device) {
            ("device", Some(id)) => {
                limits.check_id(&id).map_err(|refusal| refusal.to_string())?;
                CredentialRole::Device(id)
            }
            ("device", None) => {
                return Err("device: a token of the role device names the device that it is for".into());
            }
            ("fleet", None) => CredentialRole::Fleet,
            ("viewer", None) => CredentialRole::Viewer,
            ("operator", None) => CredentialRole::Operator,
            ("admin", None) => CredentialRole::Admin,
            ("fleet" | "viewer" | "operator" | "admin", Some(_)) => {
                return Err(format!("device: a token of the role {} opens no single device", self.role));
            }
            (other, _) => {
                return Err(format!("role: {other:?} is not one of device, fleet, viewer, operator, admin"));
            }
        };
        let label = match (self.label, &role) {
            (Some(label), _) if label.trim().is_empty() => return Err("label: it is empty".into()),
            (Some(label), _) if label.len() > limits.count(Limit::LabelBytes) => {
                let found = format!("label: {} bytes", label.len());
                return Err(limits.refusal(Limit::LabelBytes, found).to_string());
            }
            (Some(label), _) => label,
            (None, CredentialRole::Device(id)) => format!("device {id}"),
            (None, _) => return Err("label: say who holds it: the audit trail names its holder so".into()),
        };
        Ok((role, label))
    }
}

pub(crate) async fn add(
    State(hub): State<Arc<Hub>>,
    Admin(actor): Admin,
    body: Bytes,
) -> Result<Response, Refused> {
    let (role, label) =
        fields::<NewToken>(&body, &json!({}))?.check(&hub.config.limits).map_err(Refused::bad_field)?;
    let device = role.device().cloned();
    let made = hub.ingest.add_token(role.clone(), label.clone(), actor.clone(), clock::now()).await;
    let (key, device_key, token) = made.map_err(|error| trouble(&error))?;
    if let (Some(id), Some(device_key)) = (&device, device_key) {
        hub.directory.created(device_key, id);
    }
    tracing::info!(by = actor.by, address = actor.address, key = key.0, ?role, label, "a token was made");
    let body = json!({ "key": key.0, "label": label, "token": token.reveal() });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Which part of a list is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// The number of the last one of the page before.
    pub(crate) before: Option<i64>,
    pub(crate) limit: Option<u32>,
}

/// Tokens, newest first.
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    _: Admin,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(PageQuery { before, limit }) = query?;
    let limit = check_limit(&hub, limit)?;
    let credentials = hub.readers.read(move |reader| reader.credentials(before, limit)).await?;
    let tokens: Vec<TokenInfo> = credentials.into_iter().map(TokenInfo::from).collect();
    Ok(Json(json!({ "tokens": tokens })))
}

pub(crate) async fn revoke(
    State(hub): State<Arc<Hub>>,
    Admin(actor): Admin,
    Path(key): Path<String>,
) -> Result<Json<TokenInfo>, Refused> {
    let number =
        key.parse().map_err(|_| Refused::bad_field(format!("{key} is not the number of a token")))?;
    let key = CredentialKey(number);
    let credential =
        hub.ingest.revoke_token(key, actor.clone(), clock::now()).await.map_err(|error| match error {
            StoreError::NotFound(_) => Refused::new(ErrorCode::NotFound, format!("no token {number}")),
            error => error.into(),
        })?;
    hub.revocations.revoke(key);
    tracing::info!(
        by = actor.by,
        address = actor.address,
        key = number,
        label = credential.label,
        "a token was revoked"
    );
    Ok(Json(credential.into()))
}

fn trouble(error: &AuthError) -> Refused {
    tracing::error!(%error, "a token could not be made");
    Refused::new(ErrorCode::Internal, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_learn_of_a_revocation_before_and_after_they_begin() {
        let revocations = Revocations::default();
        let (first, second) = (CredentialKey(1), CredentialKey(2));
        let (open, other) = (revocations.watch(first), revocations.watch(second));
        revocations.revoke(first);
        assert!(open.is_cancelled() && !other.is_cancelled());
        assert!(revocations.watch(first).is_cancelled(), "it was let in a moment before");
        assert!(revocations.has(first) && !revocations.has(second));
        assert!(!revocations.watch(second).is_cancelled());
    }

    #[test]
    fn what_a_token_cannot_be_is_said() {
        let new = |role: &str, device: Option<&str>, label: Option<&str>| {
            let device = device.map(|id| id.parse().unwrap());
            NewToken { role: role.into(), device, label: label.map(str::to_owned) }.check(&Limits::default())
        };
        assert_eq!(new("device", Some("d"), None).unwrap().1, "device d");
        assert_eq!(new("viewer", None, Some("anna")).unwrap(), (CredentialRole::Viewer, "anna".into()));
        for (wrong, words) in [
            (new("device", None, None), "names the device"),
            (new("viewer", Some("d"), Some("x")), "no single device"),
            (new("king", None, Some("x")), "not one of"),
            (new("viewer", None, None), "who holds it"),
            (new("viewer", None, Some(" ")), "empty"),
            (new("viewer", None, Some(&"x".repeat(257))), "257 bytes"),
        ] {
            assert!(wrong.as_ref().unwrap_err().contains(words), "{wrong:?}");
        }
    }
}
