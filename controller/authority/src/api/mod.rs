//! The interface over HTTPS: JSON for people, with the signed documents in base64url inside.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/manifests` `{"submission"}` | 201 with tokens, or 409 with an offer |
//! | `GET /v1/offers/{digest}` | the offer |
//! | `POST /v1/offers/{digest}/acceptance` `{"acceptance"}` | 201 with tokens |
//! | `GET /v1/revocations` | the signed list, for hosts |
//! | `POST /v1/revocations` `{"revocation"}` | the same, after an operator's order |
//! | `GET /v1/audit?after=N`, `Authorization: EdgeCloud REQUEST` | lines of the audit log |
//! | `GET /health` | 200 |
//!
//! Whatever is refused is a problem document (RFC 9457) whose type names the reason.

mod documents;
mod problem;
pub mod server;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use data_encoding::BASE64URL_NOPAD;
use manifest::signed::Document as _;
use manifest::{Digest, Submission, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::authority::Authority;
use crate::refusal::Refusal;

/// Longest body: a submission in base64, and the JSON around it.
pub const BODY_BYTES_MAX: usize = Submission::BYTES_MAX / 3 * 4 + 4096;
/// How long a request may take, its body included.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// Decisions at once: they need processor and memory, and wait for one database.
const DECISIONS_MAX: usize = 8;
/// Scheme of the header that has an operator's signed request.
const SCHEME: &str = "EdgeCloud ";

/// What all requests share.
struct Shared {
    authority: Arc<Authority>,
    decisions: Semaphore,
}

/// An answer, or why there is none.
type Answer = Result<Response, Refusal>;

/// The interface of an authority.
pub fn router(authority: Arc<Authority>) -> Router {
    let shared = Shared {
        authority,
        decisions: Semaphore::new(DECISIONS_MAX),
    };
    Router::new()
        .route("/v1/manifests", post(submit))
        .route("/v1/offers/{digest}", get(offer))
        .route("/v1/offers/{digest}/acceptance", post(accept))
        .route("/v1/revocations", get(revocations).post(revoke))
        .route("/v1/audit", get(audit))
        .route("/health", get(health))
        .fallback(async || Refusal::NotFound)
        .layer(axum::middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(shared))
}

async fn submit(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Answer {
    let submission = signed(body, "submission")?;
    let reply = shared
        .decide(move |authority, now| authority.submit(&submission, now))
        .await?;
    Ok(documents::reply(&reply))
}

async fn accept(
    State(shared): State<Arc<Shared>>,
    Path(digest): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let digest = Digest::from_hex(&digest).ok_or(Refusal::UnknownOffer)?;
    let acceptance = signed(body, "acceptance")?;
    let reply = shared
        .decide(move |authority, now| authority.accept(digest, &acceptance, now))
        .await?;
    Ok(documents::reply(&reply))
}

async fn offer(State(shared): State<Arc<Shared>>, Path(digest): Path<String>) -> Answer {
    let digest = Digest::from_hex(&digest).ok_or(Refusal::UnknownOffer)?;
    let offer = shared
        .decide(move |authority, now| authority.find_offer(digest, now))
        .await?;
    Ok(axum::Json(documents::offer(&offer)).into_response())
}

async fn revoke(State(shared): State<Arc<Shared>>, body: Result<Bytes, BytesRejection>) -> Answer {
    let order = signed(body, "revocation")?;
    let list = shared
        .decide(move |authority, now| authority.revoke(&order, now))
        .await?;
    Ok(axum::Json(documents::revocations(&list)).into_response())
}

async fn revocations(State(shared): State<Arc<Shared>>) -> Answer {
    let list = shared.decide(Authority::revocations).await?;
    Ok(axum::Json(documents::revocations(&list)).into_response())
}

/// Where to go on in the audit log.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct After {
    after: u64,
}

async fn audit(
    State(shared): State<Arc<Shared>>,
    after: Result<Query<After>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let Query(after) = after.map_err(|_| Refusal::Malformed("write ?after=NUMBER".to_owned()))?;
    let credentials = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix(SCHEME));
    let request = decoded(credentials.ok_or(Refusal::NotAnOperator)?)?;
    let lines = shared
        .decide(move |authority, now| authority.audit(&request, after.after, now))
        .await?;
    Ok(axum::Json(json!({ "lines": lines })).into_response())
}

async fn health() -> Response {
    axum::Json(json!({ "status": "ok" })).into_response()
}

impl Shared {
    /// Runs a decision, which waits for a disk, where it keeps no other request waiting.
    async fn decide<T: Send + 'static>(
        &self,
        decision: impl FnOnce(&Authority, Timestamp) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _permit = self.decisions.acquire().await.expect("never closed");
        let authority = Arc::clone(&self.authority);
        let decided = tokio::task::spawn_blocking(move || decision(&authority, now()));
        decided.await.expect("decisions do not panic")
    }
}

/// The present moment, by this machine's clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Timestamp::from_seconds(seconds).expect("the clock shows a year of four digits")
}

/// The signed document in a field of a JSON body.
fn signed(body: Result<Bytes, BytesRejection>, field: &'static str) -> Result<Vec<u8>, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Refusal::Malformed(format!("the body has more than {BODY_BYTES_MAX} bytes"))
        }
        _ => Refusal::Malformed("the body ended early".to_owned()),
    })?;
    let value: Value = serde_json::from_slice(&body)
        .map_err(|error| Refusal::Malformed(format!("the body is no JSON: {error}")))?;
    let text = value.get(field).and_then(Value::as_str);
    let missing = || Refusal::Malformed(format!("the body has no text {field:?}"));
    decoded(text.ok_or_else(missing)?)
}

fn decoded(text: &str) -> Result<Vec<u8>, Refusal> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    bytes.map_err(|_| Refusal::Malformed("what is signed is no base64url".to_owned()))
}

/// Ends a request that takes too long, so that a slow client keeps nothing.
async fn in_time(request: Request, next: Next) -> Response {
    let response = tokio::time::timeout(REQUEST_TIME_MAX, next.run(request)).await;
    let mut response = response.unwrap_or_else(|_| Refusal::TooSlow.into_response());
    // Tokens and lists of revoked ones are nothing for a cache on the way.
    let never = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, never);
    response
}
