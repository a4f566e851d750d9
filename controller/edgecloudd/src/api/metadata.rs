//! The metadata service. Who asks is who has the source address.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;

use super::documents::{
    Admission, Admissions, Admit, Challenge, DomainState, FreeServices, Registration,
};
use super::problem::malformed;
use crate::daemon::Daemon;
use crate::refusal::Refusal;

/// Longest request: a token of the largest manifest in base64, and a proof.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

type Shared = State<Arc<Daemon>>;
type From = Extension<SocketAddr>;

/// The service of a daemon.
pub fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/nonce", get(nonce))
        .route("/v1/register", post(register))
        .route("/v1/configuration", get(configuration))
        .route("/v1/ready", post(ready))
        .route("/v1/drain", post(drain))
        .route("/v1/state", get(state))
        .route("/v1/admissions", get(admissions).post(admit))
        .route("/v1/admissions/{client}", delete(dismiss))
        .route("/v1/free-services", get(free_services))
        .fallback(async || Refusal::NotADomain)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(daemon)
}

fn address(from: SocketAddr) -> IpAddr {
    from.ip().to_canonical()
}

async fn nonce(State(daemon): Shared, Extension(from): From) -> Result<Json<Challenge>, Refusal> {
    daemon.challenge(address(from)).map(Json)
}

async fn register(
    State(daemon): Shared,
    Extension(from): From,
    body: Result<Json<Registration>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let Json(registration) = body.map_err(|rejection| malformed(&rejection))?;
    daemon.register(address(from), &registration)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn configuration(State(daemon): Shared, Extension(from): From) -> Result<String, Refusal> {
    daemon.configuration(address(from))
}

async fn ready(State(daemon): Shared, Extension(from): From) -> Result<StatusCode, Refusal> {
    daemon.be_ready(address(from)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn drain(State(daemon): Shared, Extension(from): From) -> Result<StatusCode, Refusal> {
    daemon.drain(address(from)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a domain knows already.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    known: Option<String>,
}

async fn state(
    State(daemon): Shared,
    Extension(from): From,
    Query(known): Query<Known>,
) -> Result<Json<DomainState>, Refusal> {
    let state = daemon.state(address(from), known.known.as_deref());
    state.await.map(Json)
}

async fn admit(
    State(daemon): Shared,
    Extension(from): From,
    body: Result<Json<Admit>, JsonRejection>,
) -> Result<(StatusCode, Json<Admission>), Refusal> {
    let Json(request) = body.map_err(|rejection| malformed(&rejection))?;
    let admission = daemon.admit(address(from), &request).await?;
    Ok((StatusCode::CREATED, Json(admission)))
}

async fn dismiss(
    State(daemon): Shared,
    Extension(from): From,
    Path(client): Path<IpAddr>,
) -> Result<Json<Admission>, Refusal> {
    daemon.dismiss(address(from), client).await.map(Json)
}

async fn admissions(
    State(daemon): Shared,
    Extension(from): From,
) -> Result<Json<Admissions>, Refusal> {
    daemon.admissions(address(from)).await.map(Json)
}

async fn free_services(
    State(daemon): Shared,
    Extension(from): From,
    Query(known): Query<Known>,
) -> Result<Json<FreeServices>, Refusal> {
    let services = daemon.free_services(address(from), known.known.as_deref());
    services.await.map(Json)
}
