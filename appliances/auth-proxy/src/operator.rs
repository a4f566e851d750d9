//! The operator's port: sessions and vouchers as JSON under `/v1/`, and a page for people.
//!
//! | request | does |
//! |---|---|
//! | `GET /v1/sessions` | all sessions, with what is left |
//! | `DELETE /v1/sessions/ADDRESS` | ends one |
//! | `GET /v1/vouchers` | all vouchers, without their codes |
//! | `POST /v1/vouchers` | makes some: `{"count", "batch", "good-days", "quota": {…}}`; the codes are told this once |
//! | `DELETE /v1/vouchers/ID` | takes one back, and ends who uses it |
//! | `GET /` | a page of it |
//!
//! Everything wants the operator's token, as a bearer or, for browsers, as the password of HTTP's basic
//! authentication. What changes anything is JSON or DELETE, which no other site can send from a browser
//! without being allowed to, and nobody is. Guesses are bounded like those of clients.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use data_encoding::BASE64;
use edgecloud_appliance::{Ends, Refusals};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::attempts::Who;
use crate::hotspot::Hotspot;
use crate::limits::VOUCHERS_PER_REQUEST_MAX;
use crate::page::{escaped, style};
use crate::refusal::Refused;
use crate::session::{End, Pass, Quota};
use crate::settings::Look;

/// The operator's token, as its digest: comparing takes the same time for every guess, of any length.
#[derive(Clone, Debug)]
pub struct Secret([u8; 32]);

/// The shortest token: sixteen characters of a generator are out of reach of guesses.
const TOKEN_CHARACTERS_MIN: usize = 16;

impl Secret {
    /// Of the token; nothing if it is too short.
    pub fn of(token: &str) -> Option<Self> {
        let digest = Sha256::digest(token.as_bytes()).into();
        (token.len() >= TOKEN_CHARACTERS_MIN).then_some(Self(digest))
    }

    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        given.ct_eq(&self.0).into()
    }
}

/// What the operator's requests have in common.
#[derive(Debug)]
pub struct Desk {
    /// The hotspot.
    pub hotspot: Arc<Hotspot>,
    /// Who may.
    pub secret: Secret,
    /// How the page looks.
    pub look: Look,
    /// Refuses.
    pub refusals: Refusals,
}

type Shared = State<Arc<Desk>>;

/// What the operator is served.
pub fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/portal.css", get(stylesheet))
        .route("/v1/sessions", get(sessions))
        .route("/v1/sessions/{client}", delete(end))
        .route("/v1/vouchers", get(vouchers).post(make))
        .route("/v1/vouchers/{id}", delete(withdraw))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&desk),
            only_the_operator,
        ))
        .with_state(desk)
}

/// The token that a request brings.
fn credential(fields: &HeaderMap) -> Option<Vec<u8>> {
    let field = fields.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = field.strip_prefix("Bearer ") {
        return Some(token.as_bytes().to_vec());
    }
    let pair = BASE64
        .decode(field.strip_prefix("Basic ")?.as_bytes())
        .ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

async fn only_the_operator(
    State(desk): Shared,
    Extension(ends): Extension<Ends>,
    request: Request,
    next: Next,
) -> Response {
    let given = credential(request.headers());
    let check = async {
        match given {
            Some(given) if desk.secret.is(&given) => Ok(()),
            // To ask without a token is how browsers begin.
            None => Err(Refused::Unauthorized),
            Some(_) => Err(Refused::WrongAccount),
        }
    };
    let may = desk
        .hotspot
        .attempted(ends.client(), Who::Operator, check)
        .await;
    let mut response = match may {
        Ok(()) => next.run(request).await,
        Err(Refused::TooOften) => desk.refusals.refuse(Refused::TooOften, &ends),
        Err(_) => desk.refusals.refuse(Refused::Unauthorized, &ends),
    };
    let fields = response.headers_mut();
    let mut set = |name, value| fields.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let policy = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'";
    set(header::CONTENT_SECURITY_POLICY, policy);
    if may == Err(Refused::Unauthorized) || may == Err(Refused::WrongAccount) {
        set(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"operator\", charset=\"UTF-8\"",
        );
    }
    response
}

fn left(pass: &Pass, now: u64) -> serde_json::Value {
    match pass.left(now) {
        Ok(left) => serde_json::json!({"seconds": left.seconds, "bytes": left.bytes}),
        Err(end) => serde_json::json!({"ended": end.reason()}),
    }
}

async fn sessions(State(desk): Shared) -> Json<serde_json::Value> {
    let now = desk.hotspot.clock.now();
    let all = desk.hotspot.sessions();
    let told = all.iter().map(|(session, pass)| {
        serde_json::json!({
            "client": session.client,
            "pass": session.pass,
            "began": session.began,
            "bytes": session.carried.bytes(),
            "sent": session.carried.sent,
            "received": session.carried.received,
            "left": left(pass, now),
        })
    });
    let told: Vec<serde_json::Value> = told.collect();
    Json(serde_json::json!({"sessions": told}))
}

async fn end(
    State(desk): Shared,
    Extension(ends): Extension<Ends>,
    Path(client): Path<IpAddr>,
) -> Response {
    match desk.hotspot.end(client, End::Operator).await {
        true => StatusCode::NO_CONTENT.into_response(),
        false => desk.refusals.refuse(Refused::NotFound, &ends),
    }
}

async fn vouchers(State(desk): Shared) -> Json<serde_json::Value> {
    let now = desk.hotspot.clock.now();
    let all = desk.hotspot.vouchers();
    let told = all.iter().map(|(hash, voucher, pass)| {
        serde_json::json!({
            "id": hash,
            "batch": voucher.batch,
            "quota": voucher.quota,
            "good-until": voucher.good_until,
            "used": pass.is_some(),
            "left": pass.as_ref().map(|pass| left(pass, now)),
        })
    });
    let told: Vec<serde_json::Value> = told.collect();
    Json(serde_json::json!({"vouchers": told}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Order {
    count: u16,
    #[serde(default)]
    batch: String,
    #[serde(default = "a_year")]
    good_days: u32,
    #[serde(default)]
    quota: Quota,
}

fn a_year() -> u32 {
    365
}

/// Characters of a batch's name.
const BATCH_CHARACTERS_MAX: usize = 64;

async fn make(
    State(desk): Shared,
    Extension(ends): Extension<Ends>,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    let fits = |order: &Order| {
        (1..=VOUCHERS_PER_REQUEST_MAX).contains(&order.count)
            && order.batch.chars().count() <= BATCH_CHARACTERS_MAX
    };
    let Some(Json(order)) = order.ok().filter(|Json(order)| fits(order)) else {
        return desk.refusals.refuse(Refused::Malformed, &ends);
    };
    let good_seconds = u64::from(order.good_days) * 24 * 3600;
    let made = desk
        .hotspot
        .make_vouchers(order.count, order.quota, good_seconds, &order.batch);
    match made {
        Ok(codes) => {
            let codes: Vec<String> = codes.iter().map(crate::voucher::Code::printed).collect();
            (
                StatusCode::CREATED,
                Json(serde_json::json!({"codes": codes})),
            )
                .into_response()
        }
        Err(refused) => desk.refusals.refuse(refused, &ends),
    }
}

async fn withdraw(
    State(desk): Shared,
    Extension(ends): Extension<Ends>,
    Path(id): Path<String>,
) -> Response {
    match desk.hotspot.withdraw(&id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => desk.refusals.refuse(refused, &ends),
    }
}

/// Sessions that the page shows; the rest is in the API.
const ROWS_MAX: usize = 500;

async fn page(State(desk): Shared) -> Response {
    let now = desk.hotspot.clock.now();
    let sessions = desk.hotspot.sessions();
    let vouchers = desk.hotspot.vouchers();
    let mut rows = String::new();
    for (session, pass) in sessions.iter().take(ROWS_MAX) {
        let seconds = pass.left(now).map_or(0, |left| left.seconds);
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{} min</td></tr>\n",
            session.client,
            escaped(&session.pass),
            session.carried.bytes(),
            seconds / 60
        ));
    }
    let used = vouchers.iter().filter(|(.., pass)| pass.is_some()).count();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Hotspot</title><link rel=\"stylesheet\" href=\"/portal.css\"></head>\n\
         <body><header><h1>Hotspot</h1></header><main>\n<h2>{} sessions</h2>\n\
         <table><thead><tr><th scope=\"col\">Client</th><th scope=\"col\">Pass</th>\
         <th scope=\"col\">Bytes</th><th scope=\"col\">Left</th></tr></thead><tbody>\n{rows}</tbody></table>\n\
         <h2>Vouchers</h2><p>{} known, {used} used</p>\n</main></body></html>\n",
        sessions.len(),
        vouchers.len(),
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn stylesheet(State(desk): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/css")], style(&desk.look)).into_response()
}
