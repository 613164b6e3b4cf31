//! How a request over HTTP is refused: in words, and by a code.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::ErrorCode;
use protocol::device::ErrorMessage;
use serde_json::json;
use store::StoreError;

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
