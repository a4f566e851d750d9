//! Refusals as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::refusal::Refusal;

/// What types of problems start with; the rest is the refusal's word.
const TYPE: &str = "urn:edgecloud:problem:";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (name, status) = self.name_and_status();
        tracing::info!(refusal = name, detail = %self, "refused");
        let body = json!({
            "type": format!("{TYPE}{name}"),
            "title": name.replace('-', " "),
            "status": status,
            "detail": self.to_string(),
        });
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = HeaderValue::from_static("application/problem+json");
        let body = body.to_string();
        (status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

/// A body that is no document of the interface.
pub(super) fn malformed(rejection: &axum::extract::rejection::JsonRejection) -> Refusal {
    Refusal::Malformed(rejection.body_text())
}
