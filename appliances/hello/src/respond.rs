//! From a request to its answer.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use edgecloud_appliance::{Drain, Ends, Refusals, Stage};
use http_body::Body as _;
use tokio::time::timeout;

use crate::answer::{Answer, Question, Refused, answer};

/// Bytes in the body of a request. Nothing here wants one; reading a small one keeps its connection.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// For the body of a request.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers every path.
pub(crate) fn router<T>(stage: &Stage<T>) -> Router {
    let desk = Desk {
        drain: stage.drain.clone(),
        refusals: stage.refusals::<Refused>(),
    };
    Router::new().fallback(respond).with_state(desk)
}

#[derive(Clone)]
struct Desk {
    drain: Drain,
    refusals: Refusals,
}

async fn respond(
    State(desk): State<Desk>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let answered = match discard(body).await {
        Err(refused) => Err(refused),
        Ok(()) => answer(&Question {
            method: &head.method,
            path: head.uri.path(),
            version: head.version,
            ends,
            draining: desk.drain.has_begun(),
        }),
    };
    match answered {
        Ok(answer) => response(answer),
        Err(refused) => {
            let mut response = desk.refusals.refuse(refused, &ends);
            if response.status() == StatusCode::METHOD_NOT_ALLOWED {
                let allowed = HeaderValue::from_static("GET, HEAD");
                response.headers_mut().insert(header::ALLOW, allowed);
            }
            response
        }
    }
}

/// Reads a body that nobody wants, so that its connection can be used again.
async fn discard(body: Body) -> Result<(), Refused> {
    // Who says at once that it will be too much need not send it.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Refused::BadBody);
    }
    match timeout(BODY_TIME_MAX, axum::body::to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err(Refused::BadBody),
        Err(_) => Err(Refused::SlowBody),
    }
}

fn response(answer: Answer) -> Response {
    let mut response = answer.text().into_response();
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}
