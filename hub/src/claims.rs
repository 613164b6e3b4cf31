//! Claims: how a device gets its token without anyone carrying it there.
//!
//! An administrator makes a code for a device and gives it to whoever sets the device up: to type, to print, to scan. The
//! device sends it once and gets its id and a token of its own. A code is good once and expires; its hash alone is stored.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use protocol::desk::Actor;
use protocol::{DeviceId, ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{Claim, NewClaim, StoreError};

use crate::access::{self, Admin};
use crate::auth::AuthError;
use crate::clock;
use crate::http::{refusal, retry_later};
use crate::limits::{Limit, Limits, Refusal};
use crate::orders::caller::Refused;
use crate::orders::{check_limit, fields};
use crate::serve::Hub;
use crate::tokens::PageQuery;

/// For how long a code is good unless asked otherwise.
pub const LIFETIME_DEFAULT: Duration = Duration::from_hours(24);
/// Characters of a code, in groups of five: 100 bits.
const CODE_CHARS: usize = 20;
/// Crockford's alphabet: no letter that looks like a figure, and none that makes words.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Code(String);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Code {
    /// Draws a new code.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0_u8; CODE_CHARS];
        getrandom::fill(&mut bytes)?;
        // 256 is a multiple of 32: every character is as likely as any other.
        Ok(Self(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()))
    }

    /// Takes a code as somebody typed it. `None`: it cannot be one.
    pub fn from_text(text: &str) -> Option<Self> {
        let code: String = text
            .chars()
            .filter(|c| !matches!(c, '-' | ' '))
            .map(|c| match c.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            })
            .take(CODE_CHARS + 1)
            .collect();
        let known = |c: char| u8::try_from(c).is_ok_and(|byte| ALPHABET.contains(&byte));
        (code.len() == CODE_CHARS && code.chars().all(known)).then_some(Self(code))
    }

    /// The code itself, in groups, to be given to whoever sets the device up.
    pub fn reveal(&self) -> String {
        let groups: Vec<String> =
            self.0.as_bytes().chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        groups.join("-")
    }

    /// What the database keeps of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// A claim as it is listed; the code itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimInfo {
    /// Its number, by which it is taken back.
    pub key: i64,
    /// The device that it is for.
    pub device: DeviceId,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// From when on it is good for nothing.
    pub expires_at: Timestamp,
    /// When it was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<Timestamp>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_from: Option<String>,
}

impl From<Claim> for ClaimInfo {
    fn from(claim: Claim) -> Self {
        let Claim { key, device, created_at, created_by, expires_at, used_at, used_from } = claim;
        Self { key, device, created_at, created_by, expires_at, used_at, used_from }
    }
}

/// A claim that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// For which device.
    pub device: DeviceId,
    /// For how long the code is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Why a claim is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It would be good for no time.
    #[error("seconds: 0 is no time: a code must be good for 1 s at least")]
    Nothing,
    /// It would be good for too long, or the name of its device is too long.
    #[error("{0}")]
    Limit(Refusal),
}

impl Wanted {
    /// The claim that is stored for `code`, or what is wrong.
    pub fn check(self, code: &Code, now: Timestamp, limits: &Limits) -> Result<NewClaim, Unfit> {
        let seconds = self.seconds.unwrap_or(LIFETIME_DEFAULT.as_secs());
        if seconds == 0 {
            return Err(Unfit::Nothing);
        }
        if seconds > limits.get(Limit::ClaimSeconds) {
            return Err(Unfit::Limit(limits.refusal(Limit::ClaimSeconds, format!("seconds: {seconds}"))));
        }
        limits.check_id(&self.device).map_err(Unfit::Limit)?;
        let expires_at = now.plus_micros(seconds as i64 * 1_000_000);
        Ok(NewClaim { hash: code.hash(), device: self.device, created_at: now, expires_at })
    }
}

/// Makes a claim and gives its code, once.
pub(crate) async fn add(
    State(hub): State<Arc<Hub>>,
    Admin(actor): Admin,
    body: Bytes,
) -> Result<Response, Refused> {
    let wanted: Wanted = fields(&body, &json!({}))?;
    let code = Code::draw().map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))?;
    let claim = wanted.check(&code, clock::now(), &hub.config.limits);
    let claim = claim.map_err(|unfit| Refused::bad_field(unfit.to_string()))?;
    let (device, expires_at) = (claim.device.clone(), claim.expires_at);
    let key = hub.ingest.add_claim(claim, actor).await?;
    tracing::info!(key, %device, "a claim was made");
    let body = json!({ "key": key, "device": device, "code": code.reveal(), "expires_at": expires_at });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// Claims, newest first.
pub(crate) async fn list(
    State(hub): State<Arc<Hub>>,
    _: Admin,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, Refused> {
    let Query(PageQuery { before, limit }) = query?;
    let limit = check_limit(&hub, limit)?;
    let claims = hub.readers.read(move |reader| reader.claims(before, limit)).await?;
    let claims: Vec<ClaimInfo> = claims.into_iter().map(ClaimInfo::from).collect();
    Ok(Json(json!({ "claims": claims })))
}

pub(crate) async fn end(
    State(hub): State<Arc<Hub>>,
    Admin(actor): Admin,
    Path(key): Path<String>,
) -> Result<Json<ClaimInfo>, Refused> {
    let number =
        key.parse().map_err(|_| Refused::bad_field(format!("{key} is not the number of a claim")))?;
    let claim = hub.ingest.end_claim(number, actor, clock::now()).await.map_err(|error| match error {
        StoreError::NotFound(_) => Refused::new(ErrorCode::NotFound, format!("no claim {number}")),
        error => error.into(),
    })?;
    Ok(Json(claim.into()))
}

#[derive(Deserialize)]
struct Asked {
    code: String,
}

/// What a device sends: `{"code": "..."}`. No credential is needed, as it has none; so wrong codes of an address are counted,
/// and after too many even the right one must wait.
pub(crate) async fn claim(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    const SUBJECT: &str = "POST /v1/claim";
    let Some(address) = access::address_of(request.extensions()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let actor = || Actor { by: "unknown".into(), address: Some(address.to_string()) };
    if let Err(wait) = hub.gate.may_guess(address.ip()) {
        hub.audit.refused("claim.use", actor(), SUBJECT.into(), "too many wrong credentials");
        return retry_later(&wait);
    }
    let most = hub.config.limits.count(Limit::RequestBodyBytes);
    let Ok(body) = axum::body::to_bytes(request.into_body(), most).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let Ok(Asked { code }) = serde_json::from_slice(&body) else {
        return refusal(
            StatusCode::BAD_REQUEST,
            "the body is not of the form {\"code\": \"XXXXX-XXXXX-XXXXX-XXXXX\"}",
        );
    };
    let used = match Code::from_text(&code) {
        Some(code) => hub.ingest.use_claim(code, address.to_string(), clock::now()).await,
        None => Ok(None),
    };
    match used {
        Ok(Some((device_key, claim, token))) => {
            hub.directory.created(device_key, &claim.device);
            tracing::info!(device = %claim.device, key = claim.key, %address, "a claim was used");
            let body = json!({ "device": claim.device, "token": token.reveal() });
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Ok(None) => {
            hub.audit.refused("claim.use", actor(), SUBJECT.into(), "unknown, used or expired code");
            match hub.gate.failed(address.ip()) {
                Ok(()) => refusal(
                    StatusCode::FORBIDDEN,
                    "this code is good for nothing: it is mistyped, was used, or has expired. `hub claim add` makes a new one",
                ),
                Err(wait) => retry_later(&wait),
            }
        }
        Err(AuthError::Store(error)) => Refused::from(error).into_response(),
        Err(error) => Refused::new(ErrorCode::Internal, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_meant_and_does_not_print_itself() {
        let code = Code::draw().unwrap();
        let text = code.reveal();
        assert_eq!((text.len(), text.matches('-').count()), (23, 3), "{text}");
        assert_eq!(Code::from_text(&text.to_lowercase().replace('-', " ")), Some(code.clone()));
        assert_eq!(Code::from_text("OIL00-00000-00000-00000"), Code::from_text("01100-00000-00000-00000"));
        for wrong in [
            "",
            "0",
            "00000-00000-00000-0000",
            "00000-00000-00000-000000",
            "U0000-00000-00000-00000",
            "é0000-00000-00000-00000",
        ] {
            assert_eq!(Code::from_text(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{code:?}"), "***");
        assert_ne!(code, Code::draw().unwrap());
    }
}
