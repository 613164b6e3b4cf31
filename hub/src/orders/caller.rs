//! How a request over HTTP is refused: in words, and by a code.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::ErrorCode;
use protocol::device::ErrorMessage;
use serde_json::{Value, json};
use store::StoreError;

use crate::limits::Limit;

/// A request that is refused: the answer says why in words, and by a code; and where a limit is reached, by which one.
pub(crate) struct Refused {
    error: ErrorMessage,
    /// Whoever refused it has counted it already.
    is_counted: bool,
}

/// The limit that an answer names, on its way to where it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uncounted(pub(crate) Limit);

impl Refused {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { error: ErrorMessage { id: None, code, message: message.into() }, is_counted: false }
    }

    pub(crate) fn bad_field(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadField, message)
    }
}

/// What the task of commands or the choice of a group refuses.
impl From<ErrorMessage> for Refused {
    fn from(error: ErrorMessage) -> Self {
        Self { error, is_counted: true }
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
        let ErrorMessage { code, message, .. } = self.error;
        let mut body = json!({ "error": message, "code": code });
        let named = name_limit(&mut body, &message);
        let mut response = (status(code), Json(body)).into_response();
        if let Some(limit) = named.filter(|_| !self.is_counted) {
            response.extensions_mut().insert(Uncounted(limit));
        }
        response
    }
}

/// Adds to the body of a refusal the limit that its words name, if they name one: its name, its value and its scope.
pub(crate) fn name_limit(body: &mut Value, words: &str) -> Option<Limit> {
    let (limit, value) = Limit::named_in(words)?;
    body["limit"] = limit.name().into();
    body["value"] = value.into();
    body["scope"] = limit.scope().into();
    Some(limit)
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
