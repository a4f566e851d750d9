//! The operator's page and its JSON, on a listener of its own that no phone is led to.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a page with all uploads, their progress and when they will be there |
//! | `GET /status.json` | the same as JSON: [`report`] has its fields |
//! | `POST /uploads/ID/again` with `Content-Type: application/json` | one that was refused is sent again |
//!
//! It shows no secret, and nothing by which an upload could be changed.

mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Held};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) use report::{Report, Shown, State};

use crate::outbound::Outbound;
use crate::store::{Note, Store};

/// People and programs that look at once.
const CONNECTIONS_MAX: usize = 8;
/// For a connection of theirs: a page is read at once.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(60);
/// For a head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// Who knows what is shown.
#[derive(Clone)]
struct Status {
    store: Store,
    outbound: Arc<Outbound>,
}

/// Listens.
///
/// # Errors
/// An address that is not ours, or in use.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, std::io::Error> {
    let told = |error: std::io::Error| {
        let cure = format!("status = {address} cannot be listened on: {error}; name another");
        std::io::Error::new(error.kind(), cure)
    };
    TcpListener::bind(address).await.map_err(told)
}

/// Answers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, store: Store, outbound: Arc<Outbound>) {
    let router = Router::new()
        .route("/", get(page))
        .route("/status.json", get(json))
        .route("/uploads/{id}/again", post(again))
        .with_state(Status { store, outbound });
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Descriptors are used up; it would come again at once.
            tokio::time::sleep(HEAD_TIME_MAX).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let mut protocol = http1::Builder::new();
            let protocol = protocol
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX);
            // What goes wrong on it is its client's business.
            let _ = timeout(
                CONNECTION_TIME_MAX,
                protocol.serve_connection(TokioIo::new(stream), service),
            )
            .await;
            drop(seat);
        });
    }
}

async fn page(Held(status): Held<Status>) -> Response<Body> {
    let mut response = status.outbound.report().page().into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn json(Held(status): Held<Status>) -> Response<Body> {
    let Ok(text) = serde_json::to_string(&status.outbound.report()) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Pages of others cannot ask for this: their browsers would have to ask us first.
async fn again(
    Held(status): Held<Status>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    if !is_json {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let refused = {
        let ledger = status.store.ledger();
        let is_it = |entry: &crate::store::Entry| {
            matches!(
                entry.record.delivery,
                crate::store::Delivery::Refused { .. }
            )
        };
        let mut refused = ledger
            .iter()
            .filter(|(_, entry)| is_it(entry))
            .map(|(id, _)| id);
        refused.find(|known| known.public() == id)
    };
    match refused {
        None => StatusCode::NOT_FOUND,
        Some(id) => match status.store.note(id, Note::Again).await {
            Ok(()) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        },
    }
}
