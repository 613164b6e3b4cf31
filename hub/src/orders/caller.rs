//! Who asks over HTTP, and how a refusal is answered.
//!
//! A handler names [`Operator`] or [`Looker`] among its arguments, and is not run for anyone else.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use protocol::ErrorCode;
use protocol::desk::Actor;
use protocol::device::ErrorMessage;
use serde_json::json;
use store::{CredentialRole, StoreError};

use crate::auth::Principal;
use crate::http::{Connection, authenticate};
use crate::serve::Hub;

/// An operator, who may do everything.
pub(crate) struct Operator(pub(crate) Actor);

/// A viewer or an operator, who may look at everything.
pub(crate) struct Looker;

/// Why someone is not let in: no credential that is known, or not this one's business.
pub(crate) struct NotLetIn(Box<Response>);

impl IntoResponse for NotLetIn {
    fn into_response(self) -> Response {
        *self.0
    }
}

fn forbidden(message: &str) -> NotLetIn {
    NotLetIn(Box::new(Refused::new(ErrorCode::Forbidden, message).into_response()))
}

impl FromRequestParts<Arc<Hub>> for Operator {
    type Rejection = NotLetIn;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, NotLetIn> {
        let Principal { role, label, .. } =
            authenticate(hub, &parts.headers, &parts.extensions).await.map_err(NotLetIn)?;
        if role != CredentialRole::Operator {
            return Err(forbidden("only an operator may do this"));
        }
        let address = parts.extensions.get::<Connection>().map(|connection| connection.address.to_string());
        Ok(Self(Actor { by: label, address }))
    }
}

impl FromRequestParts<Arc<Hub>> for Looker {
    type Rejection = NotLetIn;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, NotLetIn> {
        match authenticate(hub, &parts.headers, &parts.extensions).await.map_err(NotLetIn)?.role {
            CredentialRole::Viewer | CredentialRole::Operator => Ok(Self),
            CredentialRole::Device(_) | CredentialRole::Fleet => {
                Err(forbidden("only a viewer or an operator may look at this"))
            }
        }
    }
}

/// A request that is refused: the answer says why in words, and by a code.
pub(crate) struct Refused(ErrorMessage);

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ErrorMessage { id: None, code, message: message.into() })
    }

    pub(crate) fn bad_field(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadField, message)
    }
}

impl From<ErrorMessage> for Refused {
    fn from(error: ErrorMessage) -> Self {
        Self(error)
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_field(rejection.body_text())
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the database could not be read");
        Self::new(ErrorCode::Internal, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let ErrorMessage { code, message, .. } = self.0;
        (status(code), Json(json!({ "error": message, "code": code }))).into_response()
    }
}

/// The status that goes with an error.
const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::WrongState => StatusCode::CONFLICT,
        ErrorCode::LimitReached => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Malformed
        | ErrorCode::UnknownType
        | ErrorCode::BadField
        | ErrorCode::Unexpected
        | ErrorCode::BadCommand => StatusCode::BAD_REQUEST,
    }
}
