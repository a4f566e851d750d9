//! From an origin's answer to a stored response, which fills while it is read.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::body::{Body, End};
use crate::digest::Checking;
use crate::directives::Directives;
use crate::freshness::{Freshness, Timestamp};
use crate::limits::{BODY_TIME_MAX, CROWDED_AHEAD, OUTGROWN_AHEAD};
use crate::parts;
use crate::ranges::Part;
use crate::share::Share;
use crate::storable::{self, NotStored};
use crate::store::{Entry, Key};
use crate::validation;
use crate::variance::Selecting;

/// What was asked, when, and whose part of the cache the answer would be in.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) directives: &'a Directives,
    pub(crate) requested: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) share: &'a Share,
    /// Seconds for which it is told that something is not there, where the origin does not say.
    pub(crate) negative_seconds: u64,
}

/// An answer that may be stored.
pub(crate) struct Fetched {
    pub(crate) entry: Entry,
    /// The digests that its content has to have, if it came with some.
    pub(crate) digest: Option<Checking>,
}

impl Fetched {
    /// Decides whether and as what an answer is stored.
    pub(crate) fn of(asked: Asked<'_>, head: &Parts, body: &Incoming) -> Result<Self, NotStored> {
        let mut entry = Self::head_of(asked, head)?;
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length > asked.share.object_bytes_max) {
            return Err(NotStored::TooLarge);
        }
        if asked.share.is_crowded_by(length.unwrap_or(0)) {
            return Err(NotStored::Crowded);
        }
        if head.status == StatusCode::PARTIAL_CONTENT {
            entry.part = Some(part(&head.headers, length)?);
        }
        entry.length = length;
        let digest = Checking::of(head.status, &head.headers);
        Ok(Self { entry, digest })
    }

    /// Decides the same by the head alone. Nothing is said of the content.
    pub(crate) fn head_of(asked: Asked<'_>, head: &Parts) -> Result<Entry, NotStored> {
        let directives = Directives::of_response(&head.headers);
        let request = storable::Asked {
            method: asked.method,
            headers: asked.headers,
            directives: asked.directives,
        };
        storable::check(request, head.status, &head.headers, &directives)?;
        let selecting = Selecting::of(&head.headers, asked.headers).ok_or(NotStored::VaryStar)?;
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
        Ok(Entry {
            status: head.status,
            headers,
            selecting,
            freshness,
            received: asked.received,
            body: Arc::new(Body::counted(&asked.share.live)),
            length: None,
            part: None,
            is_sliced: false,
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

/// Why the rest of a body does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The origin broke off, or lied about the length.
    Off,
    /// It was silent for too long.
    Slow,
    /// What came has another digest than it should have.
    Digest,
    /// It outgrew what may be kept, and nobody reads it any more.
    Unread,
}

impl Broken {
    /// All of them, for the counters.
    pub(crate) const ALL: [Self; 4] = [Self::Off, Self::Slow, Self::Digest, Self::Unread];

    /// Its name in metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Off => "broke-off",
            Self::Slow => "slow",
            Self::Digest => "digest",
            Self::Unread => "unread",
        }
    }
}

/// A stored response that fills with what arrives.
///
/// One that breaks off, or outgrows what may be kept, leaves the store; one that is whole, and was not
/// removed meanwhile, goes to the disk as well. Of one that breaks off what came may stay as a part, if it
/// is known of what.
pub(crate) struct Filling {
    pub(crate) share: Arc<Share>,
    pub(crate) key: Key,
    pub(crate) entry: Arc<Entry>,
    pub(crate) digest: Option<Checking>,
}

impl Filling {
    pub(crate) async fn run(mut self, mut body: Incoming) {
        let mut outgrown = None;
        let broken = loop {
            match timeout(BODY_TIME_MAX, body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else {
                        continue; // Trailers are not stored.
                    };
                    if let Err(broken) = self.take(&bytes, &mut outgrown).await {
                        break Some(broken);
                    }
                }
                Ok(None) if self.is_whole() => break None,
                Ok(None) => break Some(Broken::Digest),
                Ok(Some(Err(_))) => break Some(Broken::Off),
                Err(_) => break Some(Broken::Slow),
            }
        };
        match broken {
            None => self.entry.body.finish(End::Whole),
            Some(broken) => {
                self.share.figures.broke(broken);
                self.entry.body.finish(End::Broken);
            }
        }
        if outgrown.is_none() {
            self.settle(broken);
        }
    }

    /// Takes what has arrived. `outgrown` is how much of what is too large is kept for those who read it.
    async fn take(&mut self, bytes: &[u8], outgrown: &mut Option<u64>) -> Result<(), Broken> {
        let (share, entry) = (&self.share, &self.entry);
        let arrived = entry.body.arrived();
        let crowded = share.is_crowded_by(bytes.len() as u64);
        if outgrown.is_none() {
            let most = share.object_bytes_max;
            if crowded || arrived + bytes.len() as u64 > most {
                share.store.replace(&self.key, entry, None);
                *outgrown = Some(arrived.min(most));
            }
        }
        if let Some(kept) = *outgrown {
            let ahead = if crowded {
                CROWDED_AHEAD
            } else {
                OUTGROWN_AHEAD
            };
            if !entry.body.overtaken(ahead, kept).await {
                return Err(Broken::Unread);
            }
        }
        share.figures.fetched(bytes.len());
        if let Some(digest) = &mut self.digest {
            digest.take(bytes);
            let is_last = entry.length == Some(arrived + bytes.len() as u64);
            if is_last && !digest.is_right() {
                return Err(Broken::Digest); // Without its end nobody takes it for what it is not.
            }
        }
        // What came may lie in a much larger piece of memory, of which nothing would be counted.
        self.entry.body.append(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.digest.as_ref().is_none_or(Checking::is_right)
    }

    /// What becomes of it in the store and on the disk.
    fn settle(self, broken: Option<Broken>) {
        let Self {
            share, key, entry, ..
        } = self;
        let store = &share.store;
        match broken {
            None => {
                store.reweigh(&key);
                let entry = match entry.part {
                    Some(_) => store.join(&key, &entry),
                    None => entry,
                };
                if let Some(disk) = &share.disk
                    && entry.part.is_none()
                    && store.holds(&key, &entry)
                {
                    disk.keep(&key, &entry);
                }
            }
            Some(Broken::Off | Broken::Slow) => {
                let begun = parts::broken_off(&entry).map(Arc::new);
                store.replace(&key, &entry, begun);
            }
            Some(_) => store.replace(&key, &entry, None),
        }
    }
}
