//! The operator's interface.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::documents::{
    Accounts, Applications, Domain, Domains, Flows, Launch, Names, Revocations, Revoked, Stop,
    Trace, Traced,
};
use super::problem::malformed;
use crate::daemon::Daemon;
use crate::refusal::Refusal;

/// Longest request: a token of the largest manifest, in base64, with what else a launch has.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

type Shared = State<Arc<Daemon>>;
type Body<T> = Result<Json<T>, JsonRejection>;
type Answer<T> = Result<Json<T>, Refusal>;

/// The interface of a daemon.
pub fn router(daemon: Arc<Daemon>) -> Router {
    Router::new()
        .route("/v1/launch", post(launch))
        .route("/v1/domains", get(domains))
        .route("/v1/domains/{name}", get(domain))
        .route("/v1/domains/{name}/log", get(log))
        .route("/v1/domains/{name}/stop", post(stop))
        .route("/v1/applications", get(applications))
        .route("/v1/applications/{number}/revoke", post(revoke))
        .route("/v1/revocations", post(revocations))
        .route("/v1/flows", get(flows))
        .route("/v1/trace", post(trace))
        .route("/v1/accounts", get(accounts))
        .route("/v1/names", get(names))
        .route("/metrics", get(metrics))
        .route("/health", get(async || "lives\n"))
        .route("/ready", get(ready))
        .fallback(async || Refusal::NotFound("such request".to_owned()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(daemon)
}

async fn launch(
    State(daemon): Shared,
    body: Body<Launch>,
) -> Result<(StatusCode, Json<Domain>), Refusal> {
    let Json(launch) = body.map_err(|rejection| malformed(&rejection))?;
    // Whoever asked may go away: a launch is not left half done.
    let launched = tokio::spawn(async move { daemon.launch(launch).await });
    let domain = launched.await.map_err(|_| Refusal::Ended)??;
    Ok((StatusCode::CREATED, Json(domain)))
}

async fn domains(State(daemon): Shared) -> Json<Domains> {
    Json(daemon.domains())
}

async fn domain(State(daemon): Shared, Path(name): Path<String>) -> Answer<Domain> {
    daemon.domain_named(&name).map(Json)
}

async fn log(State(daemon): Shared, Path(name): Path<String>) -> Result<String, Refusal> {
    daemon.log(&name).await
}

async fn stop(
    State(daemon): Shared,
    Path(name): Path<String>,
    body: axum::body::Bytes,
) -> Result<StatusCode, Refusal> {
    let stop = match body.is_empty() {
        true => Stop::default(),
        false => {
            serde_json::from_slice(&body).map_err(|error| Refusal::Malformed(error.to_string()))?
        }
    };
    let stopped = tokio::spawn(async move { daemon.stop(&name, stop).await });
    stopped.await.map_err(|_| Refusal::Ended)??;
    Ok(StatusCode::NO_CONTENT)
}

async fn applications(State(daemon): Shared) -> Json<Applications> {
    Json(daemon.applications())
}

async fn revoke(State(daemon): Shared, Path(number): Path<u32>) -> Answer<Revoked> {
    let revoked = tokio::spawn(async move { daemon.revoke(number).await });
    revoked.await.map_err(|_| Refusal::Ended)?.map(Json)
}

async fn revocations(State(daemon): Shared, body: Body<Revocations>) -> Answer<Revoked> {
    let Json(revocations) = body.map_err(|rejection| malformed(&rejection))?;
    let taken = tokio::spawn(async move { daemon.take_revocations(&revocations.list).await });
    taken.await.map_err(|_| Refusal::Ended)?.map(Json)
}

async fn flows(State(daemon): Shared) -> Answer<Flows> {
    daemon.flows().await.map(Json)
}

async fn trace(State(daemon): Shared, body: Body<Trace>) -> Answer<Traced> {
    let Json(trace) = body.map_err(|rejection| malformed(&rejection))?;
    daemon.trace(&trace).await.map(Json)
}

async fn accounts(State(daemon): Shared) -> Answer<Accounts> {
    daemon.accounts().await.map(Json)
}

async fn names(State(daemon): Shared) -> Json<Names> {
    Json(daemon.names())
}

async fn ready(State(daemon): Shared) -> (StatusCode, &'static str) {
    match daemon.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the switch is not as desired\n",
        ),
    }
}

/// Prometheus' text format, version 0.0.4.
async fn metrics(State(daemon): Shared) -> String {
    let numbers = daemon.numbers();
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, values: &[(String, u64)]| {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "# HELP edgecloudd_{name} {help}\n# TYPE edgecloudd_{name} {kind}"
        );
        for (labels, value) in values {
            let _ = writeln!(text, "edgecloudd_{name}{labels} {value}");
        }
    };
    let plain = |value: usize| vec![(String::new(), value as u64)];
    let replicas = numbers.replicas.iter();
    let replicas: Vec<(String, u64)> = replicas
        .map(|(state, count)| (format!("{{state=\"{state}\"}}"), *count as u64))
        .collect();
    family("replicas", "gauge", "Running domains by state.", &replicas);
    let applications = plain(numbers.applications);
    family(
        "applications",
        "gauge",
        "Applications that are served.",
        &applications,
    );
    family(
        "names",
        "gauge",
        "Names with addresses.",
        &plain(numbers.names),
    );
    let restarts = vec![(String::new(), numbers.restarts)];
    family(
        "restarts",
        "gauge",
        "How often the domains that are here were started again.",
        &restarts,
    );
    let ready = plain(numbers.is_ready.into());
    family(
        "ready",
        "gauge",
        "Whether the switch holds what is desired.",
        &ready,
    );
    let refused = plain(numbers.connections_refused);
    family(
        "metadata_connections_refused_total",
        "counter",
        "Connections of domains that had too many at the metadata service.",
        &refused,
    );
    let sent = plain(numbers.sent);
    family(
        "switch_messages_total",
        "counter",
        "Changes sent to the switch.",
        &sent,
    );
    text
}
