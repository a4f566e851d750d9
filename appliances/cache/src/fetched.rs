//! From an origin's answer to a stored response, which fills while it is read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::{Body, End};
use crate::directives::Directives;
use crate::disk::Disk;
use crate::freshness::{Freshness, Timestamp};
use crate::limits::{BODY_TIME_MAX, OUTGROWN_AHEAD};
use crate::ranges::Part;
use crate::storable::{self, NotStored};
use crate::store::{Entry, Key, Store};
use crate::validation;
use crate::variance::Selecting;

/// What was asked, when, and how much may be stored.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a Directives,
    pub(crate) requested: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) object_bytes_max: u64,
    /// Seconds for which it is told that something is not there, where the origin does not say.
    pub(crate) negative_seconds: u64,
}

/// An answer that may be stored.
pub(crate) struct Fetched {
    pub(crate) entry: Entry,
}

impl Fetched {
    /// Decides whether and as what an answer is stored.
    pub(crate) fn of(asked: Asked<'_>, head: &Parts, body: &Incoming) -> Result<Self, NotStored> {
        let directives = Directives::of_response(&head.headers);
        let request = storable::Asked {
            method: asked.method,
            headers: asked.headers,
            directives: asked.directives,
        };
        storable::check(request, head.status, &head.headers, &directives)?;
        let selecting = Selecting::of(&head.headers, asked.headers).ok_or(NotStored::VaryStar)?;
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > asked.object_bytes_max) {
            return Err(NotStored::TooLarge);
        }
        let part = match head.status {
            StatusCode::PARTIAL_CONTENT => Some(part(&head.headers, length)?),
            _ => None,
        };
        let mut freshness = Freshness::of(
            head.status,
            &head.headers,
            &directives,
            asked.requested,
            asked.received,
        );
        if is_negative(head.status) && !speaks_of_lifetime(&head.headers, &directives) {
            freshness.lifetime = freshness.lifetime.max(asked.negative_seconds);
        }
        let useful = freshness.is_fresh(asked.received) || validation::has_validator(&head.headers);
        if !useful && directives.stale_while_revalidate.is_none() {
            return Err(NotStored::Useless);
        }
        let mut headers = storable::stored_headers(&head.headers, &directives);
        if !headers.contains_key(header::DATE) {
            // RFC 9110, section 6.6.1.
            headers.insert(header::DATE, http_date(asked.received));
        }
        Ok(Self {
            entry: Entry {
                status: head.status,
                headers,
                selecting,
                freshness,
                received: asked.received,
                body: Arc::new(Body::default()),
                length,
                part,
            },
        })
    }
}

/// What says that there is nothing, of what may be stored without a word about it (RFC 9110, section 15.1).
fn is_negative(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

fn speaks_of_lifetime(headers: &HeaderMap, directives: &Directives) -> bool {
    directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || directives.no_cache
        || headers.contains_key(header::EXPIRES)
}

/// A part whose length is known, or it could not be told apart from one that broke off.
fn part(headers: &HeaderMap, length: Option<u64>) -> Result<Part, NotStored> {
    let told = Part::of(headers).ok_or(NotStored::BadRange)?;
    let real = length.and_then(|length| told.with_length(length));
    real.map(|_| told).ok_or(NotStored::BadRange)
}

/// A time as a field's value.
pub(crate) fn http_date(time: Timestamp) -> HeaderValue {
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time));
    HeaderValue::try_from(date).expect("dates are ASCII")
}

/// Fills a stored response with what arrives. One that breaks off, or outgrows what may be kept, leaves
/// the store; one that is whole, and was not removed meanwhile, goes to the disk as well.
pub(crate) async fn fill(
    store: Arc<Store>,
    disk: Option<Disk>,
    key: Key,
    entry: Arc<Entry>,
    mut body: Incoming,
    bytes_max: u64,
) {
    let mut outgrown = false;
    let end = loop {
        match timeout(BODY_TIME_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                let Ok(bytes) = frame.into_data() else {
                    continue; // Trailers are not stored.
                };
                if entry.body.arrived() + bytes.len() as u64 > bytes_max {
                    if !outgrown {
                        store.replace(&key, &entry, None);
                        outgrown = true;
                    }
                    if !entry.body.overtaken(OUTGROWN_AHEAD, bytes_max).await {
                        break End::Broken;
                    }
                }
                entry.body.append(bytes);
            }
            Ok(None) => break End::Whole,
            Ok(Some(Err(_))) | Err(_) => break End::Broken,
        }
    };
    entry.body.finish(end);
    match end {
        End::Whole if outgrown => {}
        End::Whole => {
            store.reweigh(&key);
            if let Some(disk) = disk
                && entry.part.is_none()
                && store.holds(&key, &entry)
            {
                disk.keep(&key, &entry);
            }
        }
        End::Broken => store.replace(&key, &entry, None),
    }
}
