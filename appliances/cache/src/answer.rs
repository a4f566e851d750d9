//! Answers made of stored responses (RFC 9111, section 4).

use std::sync::Arc;

use axum::body::Body as Outgoing;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::body::Reader;
use crate::freshness::Timestamp;
use crate::ranges::{self, NotSatisfiable, Wanted};
use crate::status::CacheStatus;
use crate::store::Entry;
use crate::validation;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What an answer depends on.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) wanted: Option<Wanted>,
    pub(crate) now: Timestamp,
}

/// Answers from the store: whole, a range of it, or that the client has it.
pub(crate) fn from_store(
    entry: &Arc<Entry>,
    asking: Asking<'_>,
    status: CacheStatus,
) -> Response<Outgoing> {
    let mut headers = told(entry, asking.now, status);
    let is_whole = entry.status == StatusCode::OK && entry.part.is_none();
    if is_whole && validation::client_has_it(asking.headers, &entry.headers, entry.received) {
        return response(
            StatusCode::NOT_MODIFIED,
            validation::not_modified(&headers),
            Outgoing::empty(),
        );
    }
    let total = match entry.part {
        Some(part) => Some(part.total),
        None => entry.body_length().filter(|_| is_whole),
    };
    let ranged =
        asking.method == Method::GET && ranges::if_range_holds(asking.headers, &entry.headers);
    if let (Some(wanted), Some(total), true) = (asking.wanted, total, ranged) {
        return part_of(entry, headers, wanted.within(total), total);
    }
    if let Some(length) = entry.body_length() {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    response(entry.status, headers, content(entry, asking.method))
}

/// Passes on what has just been fetched and stored, as it came.
pub(crate) fn as_fetched(
    entry: &Arc<Entry>,
    asking: Asking<'_>,
    status: CacheStatus,
) -> Response<Outgoing> {
    let mut headers = told(entry, asking.now, status);
    if entry.freshness.age(asking.now) == 0 {
        headers.remove(header::AGE);
    }
    response(entry.status, headers, content(entry, asking.method))
}

/// Appends what this cache did.
pub(crate) fn tell(headers: &mut HeaderMap, status: CacheStatus) {
    if let Ok(value) = HeaderValue::try_from(status.to_string()) {
        headers.append(CACHE_STATUS, value);
    }
}

fn told(entry: &Entry, now: Timestamp, status: CacheStatus) -> HeaderMap {
    let mut headers = entry.headers.clone();
    headers.insert(header::AGE, entry.freshness.age(now).into());
    tell(&mut headers, status);
    headers
}

fn content(entry: &Entry, method: &Method) -> Outgoing {
    if method == Method::HEAD {
        return Outgoing::empty();
    }
    Outgoing::new(Reader::all(Arc::clone(&entry.body), entry.body_length()))
}

fn part_of(
    entry: &Entry,
    mut headers: HeaderMap,
    within: Result<(u64, u64), NotSatisfiable>,
    total: u64,
) -> Response<Outgoing> {
    let Ok((first, last)) = within else {
        headers = validation::not_modified(&headers);
        insert(
            &mut headers,
            header::CONTENT_RANGE,
            &format!("bytes */{total}"),
        );
        return response(
            StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            Outgoing::empty(),
        );
    };
    insert(
        &mut headers,
        header::CONTENT_RANGE,
        &ranges::content_range(first, last, total),
    );
    headers.insert(header::CONTENT_LENGTH, (last - first + 1).into());
    let before = entry.part.map_or(0, |part| part.first);
    let reader = Reader::part(
        Arc::clone(&entry.body),
        first - before,
        Some(last + 1 - before),
    );
    response(StatusCode::PARTIAL_CONTENT, headers, Outgoing::new(reader))
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
