//! What those see who watch the appliance: `/health`, `/ready` and `/metrics`.
//!
//! | path | answer |
//! |---|---|
//! | `/health` | 200: the process lives and its event loop turns |
//! | `/ready` | 200, or 503 with the first reason why more requests are not welcome |
//! | `/metrics` | the figures, in Prometheus' text |
//! | others | what the appliance itself shows ([`Pages`]) |
//!
//! It is a listener of its own, which no manifest's rule leads to: the switch lets dom0 alone there.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_service::Service as _;

use crate::metrics::{self, Registry};
use crate::readiness::Readiness;

/// What an appliance shows, and takes, beside what all have.
#[derive(Clone, Debug, Default)]
pub struct Pages(Arc<OnceLock<Router>>);

impl Pages {
    /// Shows these; the first who shows something counts.
    pub fn show(&self, router: Router) {
        self.0.get_or_init(|| router);
    }
}

pub(crate) fn router(readiness: Readiness, metrics: Registry, pages: Pages) -> Router {
    Router::new()
        .route("/health", get(async || answer(StatusCode::OK, "alive")))
        .route("/ready", get(ready).with_state(readiness))
        .route("/metrics", get(figures).with_state(metrics))
        .fallback(others)
        .with_state(pages)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.check() {
        Ok(()) => answer(StatusCode::OK, "ready"),
        Err(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, reason),
    }
}

async fn others(State(pages): State<Pages>, request: Request) -> Response {
    let Some(mut router) = pages.0.get().cloned() else {
        return answer(StatusCode::NOT_FOUND, "not here");
    };
    router.call(request).await.into_response()
}

async fn figures(State(metrics): State<Registry>) -> Response {
    let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}

fn answer(status: StatusCode, text: &str) -> Response {
    let mut response = (status, format!("{text}\n")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
