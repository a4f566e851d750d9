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

/// What of an entry is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Nothing,
    All,
    /// The bytes of the representation from the first on, before the second.
    Between(u64, u64),
}

/// An answer, but for its content.
#[derive(Debug)]
pub(crate) struct Plan {
    status: StatusCode,
    headers: HeaderMap,
    pub(crate) content: Content,
}

impl Plan {
    /// What a request gets of a stored response: the whole, a range of it, or that the client has it.
    pub(crate) fn of(entry: &Entry, asking: Asking<'_>, status: CacheStatus) -> Self {
        let mut headers = told(entry, asking.now, status);
        let is_whole = entry.status == StatusCode::OK && entry.part.is_none();
        if is_whole && validation::client_has_it(asking.headers, &entry.headers, entry.received) {
            return Self {
                status: StatusCode::NOT_MODIFIED,
                headers: validation::not_modified(&headers),
                content: Content::Nothing,
            };
        }
        let total = match entry.part {
            Some(part) => Some(part.total),
            None => entry.body_length().filter(|_| is_whole),
        };
        let ranged =
            asking.method == Method::GET && ranges::if_range_holds(asking.headers, &entry.headers);
        if let (Some(wanted), Some(total), true) = (asking.wanted, total, ranged) {
            return part_of(headers, wanted.within(total), total);
        }
        if let Some(length) = entry.body_length() {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        Self {
            status: entry.status,
            headers,
            content: match asking.method == Method::HEAD {
                true => Content::Nothing,
                false => Content::All,
            },
        }
    }

    /// The answer with its content.
    pub(crate) fn with(self, body: Outgoing) -> Response<Outgoing> {
        response(self.status, self.headers, body)
    }
}

/// Answers from the store.
pub(crate) fn from_store(
    entry: &Arc<Entry>,
    asking: Asking<'_>,
    status: CacheStatus,
) -> Response<Outgoing> {
    let plan = Plan::of(entry, asking, status);
    let body = match plan.content {
        Content::Nothing => Outgoing::empty(),
        Content::All => content(entry, asking.method),
        Content::Between(first, end) => {
            let before = entry.part.map_or(0, |part| part.first);
            let body = Arc::clone(&entry.body);
            Outgoing::new(Reader::part(body, first - before, Some(end - before)))
        }
    };
    plan.with(body)
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
    if let Some(length) = entry.body_length() {
        headers.insert(header::CONTENT_LENGTH, length.into());
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

fn part_of(mut headers: HeaderMap, within: Result<(u64, u64), NotSatisfiable>, total: u64) -> Plan {
    let Ok((first, last)) = within else {
        headers = validation::not_modified(&headers);
        let range = format!("bytes */{total}");
        insert(&mut headers, header::CONTENT_RANGE, &range);
        return Plan {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            content: Content::Nothing,
        };
    };
    let range = ranges::content_range(first, last, total);
    insert(&mut headers, header::CONTENT_RANGE, &range);
    headers.insert(header::CONTENT_LENGTH, (last - first + 1).into());
    Plan {
        status: StatusCode::PARTIAL_CONTENT,
        headers,
        content: Content::Between(first, last + 1),
    }
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
