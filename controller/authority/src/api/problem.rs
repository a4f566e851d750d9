//! Refusals as problem documents (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// What types of problems start with; the rest is the refusal's word.
pub(super) const TYPE: &str = "urn:edgecloud:problem:";

/// Seconds after which a publisher that was too fast may try again: the limit is by minute.
const RETRY_SECONDS: &str = "60";

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (name, status) = self.name_and_status();
        tracing::info!(refusal = name, cause = causes(&self), "refused");
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = respond(status, name, &self.to_string(), json!({}));
        if matches!(status.as_u16(), 429 | 503 | 507) {
            let seconds = HeaderValue::from_static(RETRY_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// The error and what caused it: the database's own words are for the log only.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A problem document with further members.
pub(super) fn respond(
    status: StatusCode,
    name: &str,
    detail: &str,
    mut members: Value,
) -> Response {
    members["type"] = format!("{TYPE}{name}").into();
    members["title"] = name.replace('-', " ").into();
    members["status"] = status.as_u16().into();
    members["detail"] = detail.into();
    let kind = HeaderValue::from_static("application/problem+json");
    let body = members.to_string();
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
