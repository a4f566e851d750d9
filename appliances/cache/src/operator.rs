//! What operators see and do, on the management listener: it is for the host's own people, and no rule of
//! a manifest leads to it.
//!
//! | request | does |
//! |---|---|
//! | `GET /` | a page: hit ratio, bytes that were saved, each publisher's account, the busiest objects |
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

use crate::limits::{BUSIEST_SHOWN, ORDERS_BYTES_MAX};
use crate::purge;
use crate::service::Cache;
use crate::share::Share;

const PREFETCH_FORM: &str =
    "write lines like http://a.example/b, of a cache that stands for an origin\n";

/// The pages of a cache.
pub(crate) fn pages(cache: Arc<Cache>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/purge", post(forget))
        .route("/prefetch", post(prefetch))
        .layer(DefaultBodyLimit::max(ORDERS_BYTES_MAX))
        .with_state(cache)
}

async fn forget(State(cache): State<Arc<Cache>>, body: Bytes) -> Response {
    let Some(bans) = purge::orders(&body) else {
        let said = format!("{}\n", purge::FORM);
        return (StatusCode::BAD_REQUEST, said).into_response();
    };
    let (forgotten, is_kept) = cache.purge_all(&bans).await;
    purge::told(forgotten, is_kept).into_response()
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
    let shares: Vec<_> = cache.shares.each().collect();
    let (mut hits, mut requests, mut saved, mut addresses, mut bytes, mut disk) =
        (0, 0, 0, 0, 0, 0);
    for share in &shares {
        let (its_hits, its_requests) = share.figures.hits();
        let (its_addresses, its_bytes) = share.store.held();
        hits += its_hits;
        requests += its_requests;
        saved += share.figures.saved();
        addresses += its_addresses;
        bytes += its_bytes;
        disk += share.disk.as_ref().map_or(0, |disk| disk.objects());
    }
    let mut page = format!(
        "<!doctype html><meta charset=utf-8><title>Cache</title><h1>Cache</h1>\
         <p>Hit ratio: <b>{:.1} %</b> of {requests} requests. Saved: <b>{} MB</b> of backhaul.\
         <p>Held: {addresses} addresses, {} MB in memory; {disk} objects on disk.",
        percent(hits, requests),
        saved / MEGABYTE,
        bytes / MEGABYTE,
    );
    if shares.len() > 1 {
        page += "<h2>Publishers</h2><table><tr><th>publisher<th>requests<th>hit ratio<th>served MB\
                 <th>saved MB<th>held MB<th>of MB";
        shares.iter().for_each(|share| account(&mut page, share));
        page += "</table>";
    }
    page += "<h2>Busiest objects</h2><table><tr><th>answers<th>kB<th>address";
    for (answers, bytes, key) in busiest(&cache) {
        let key = escaped(&key);
        // Writing to a string cannot fail.
        let _ = write!(page, "<tr><td>{answers}<td>{}<td>{key}", bytes / 1000);
    }
    page += "</table>\n";
    Html(page)
}

const MEGABYTE: u64 = 1_000_000;

fn percent(hits: u64, requests: u64) -> f64 {
    100.0 * hits as f64 / requests.max(1) as f64
}

/// A publisher's line.
fn account(page: &mut String, share: &Share) {
    let (hits, requests) = share.figures.hits();
    let (served, saved) = (
        share.figures.served() / MEGABYTE,
        share.figures.saved() / MEGABYTE,
    );
    let (_, held) = share.store.held();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<tr><td>{}<td>{requests}<td>{:.1} %<td>{served}<td>{saved}<td>{}<td>{}",
        escaped(&share.name),
        percent(hits, requests),
        held / MEGABYTE,
        share.memory_bytes / MEGABYTE,
    );
}

/// What was answered most often, with its bytes and its address.
fn busiest(cache: &Cache) -> Vec<(u64, u64, String)> {
    let mut all = Vec::new();
    for share in cache.shares.each() {
        share.store.each(|key, entry| {
            all.push((entry.body.readers(), entry.body.arrived(), key.to_owned()));
        });
    }
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
