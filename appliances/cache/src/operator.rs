//! What operators see and do, on the management listener: it is for the host's own people, and no rule of
//! a manifest leads to it.
//!
//! | request | does |
//! |---|---|
//! | `GET /` | a page: hit ratio, bytes that were saved, the busiest objects |
//! | `POST /purge` | forgets what the lines of the body name: `url URL`, `prefix URL` or `tag TAG` |
//! | `POST /prefetch` | fetches the URLs of the body, one a line, one after the other |

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;

use crate::figures::Outcome;
use crate::limits::{BUSIEST_SHOWN, ORDERS_BYTES_MAX, PURGES_MAX};
use crate::purge::Ban;
use crate::service::Cache;

/// What an order is made of.
const PURGE_FORM: &str = "write lines like `url http://a.example/b`, `prefix http://a.example/` or `tag news`, \
                          no more than 256\n";
const PREFETCH_FORM: &str =
    "write lines like http://a.example/b, of a cache that stands for an origin\n";

/// The pages of a cache.
pub(crate) fn pages(cache: Arc<Cache>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/purge", post(purge))
        .route("/prefetch", post(prefetch))
        .layer(DefaultBodyLimit::max(ORDERS_BYTES_MAX))
        .with_state(cache)
}

async fn purge(State(cache): State<Arc<Cache>>, body: Bytes) -> Response {
    let lines = std::str::from_utf8(&body).unwrap_or("no text").lines();
    let bans: Result<Vec<Ban>, _> = lines.map(|line| line.trim().parse()).collect();
    let bans = match bans {
        Ok(bans) if !bans.is_empty() && bans.len() <= PURGES_MAX => bans,
        _ => return (StatusCode::BAD_REQUEST, PURGE_FORM).into_response(),
    };
    let mut forgotten = 0;
    let mut is_kept = true;
    for ban in bans {
        let (count, kept) = cache.purge(ban).await;
        forgotten += count;
        is_kept &= kept;
    }
    match is_kept {
        true => format!("purged; {forgotten} addresses were in memory\n").into_response(),
        false => {
            let said = "purged until the next start: the disk did not take it; see the log\n";
            (StatusCode::INTERNAL_SERVER_ERROR, said).into_response()
        }
    }
}

async fn prefetch(State(cache): State<Arc<Cache>>, body: Bytes) -> Response {
    let lines = std::str::from_utf8(&body).unwrap_or_default().lines();
    let urls: Vec<String> = lines.map(|line| line.trim().to_owned()).collect();
    let count = urls.len();
    match cache.prefetch(urls) {
        Ok(()) => (StatusCode::ACCEPTED, format!("fetching {count}\n")).into_response(),
        Err(_) => (StatusCode::BAD_REQUEST, PREFETCH_FORM).into_response(),
    }
}

async fn page(State(cache): State<Arc<Cache>>) -> Html<String> {
    let figures = &cache.figures;
    let count = |outcome| figures.requests(outcome);
    let hits = count(Outcome::Hit) + count(Outcome::Joined) + count(Outcome::Outlived);
    let others = count(Outcome::Validated) + count(Outcome::Missed) + count(Outcome::Passed);
    let ratio = 100.0 * hits as f64 / (hits + others).max(1) as f64;
    let (addresses, bytes) = cache.store.held();
    let disk = cache.disk.as_ref().map_or(0, |disk| disk.objects());
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>Cache</title><h1>Cache</h1>\
         <p>Hit ratio: <b>{ratio:.1} %</b> of {} requests. Saved: <b>{} MB</b> of backhaul.\
         <p>Held: {addresses} addresses, {} MB in memory; {disk} objects on disk.\
         <h2>Busiest objects</h2><table><tr><th>answers<th>kB<th>address",
        hits + others,
        figures.saved() / 1_000_000,
        bytes / 1_000_000,
    );
    for (answers, bytes, key) in busiest(&cache) {
        let key = escaped(&key);
        // Writing to a string cannot fail.
        let _ = write!(page, "<tr><td>{answers}<td>{}<td>{key}", bytes / 1000);
    }
    page += "</table>\n";
    Html(page)
}

/// What was answered most often, with its bytes and its address.
fn busiest(cache: &Cache) -> Vec<(u64, u64, String)> {
    let mut all = Vec::new();
    cache.store.each(|key, entry| {
        all.push((entry.body.readers(), entry.body.arrived(), key.to_owned()));
    });
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(BUSIEST_SHOWN);
    all
}

/// Addresses are clients' words.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_markup() {
        assert_eq!(escaped("/<b>&'\""), "/&lt;b&gt;&amp;&#39;&quot;");
    }
}
