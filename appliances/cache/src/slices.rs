//! Objects that are larger than the largest are stored in slices, each a response of its own.
//!
//! ```text
//!   key            the marker: fields, length and tag of the whole, no content
//!   key #"tag" 0   bytes       0 ..  1 MiB
//!   key #"tag" 1   bytes   1 MiB ..  2 MiB     …
//! ```
//! When an origin begins to send such an object, and says that it serves ranges of it and by which strong
//! tag its bytes are known, that answer is left, and what the client wants is put together from slices. A
//! slice is asked for once however many want it, is found in memory or on the disk like any other response,
//! and contends for its place alone: of a film that everybody watches to the middle, the half is kept.
//!
//! *Threats.* An origin whose slices are not of what it first spoke of: each must be exactly the range that was
//! asked for, of the same length and strong tag, or the answer breaks off and the marker goes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body as Outgoing, Bytes};
use axum::response::Response;
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use crate::answer::{Content, Plan};
use crate::body::{End, Reader};
use crate::collapse::{Boarding, Shared, landed};
use crate::fetched::{self, Fetched};
use crate::figures::Outcome;
use crate::limits::{SLICE_BYTES, SLICE_TRIES, SLICED_BYTES_MAX, SLICED_TAG_BYTES_MAX};
use crate::parts;
use crate::ranges::Part;
use crate::refusal::Refused;
use crate::service::{Cache, JOINS_MAX, Question, now};
use crate::status::{CacheStatus, Forwarded};
use crate::store::{Entry, Key};
use crate::validation::strong_tag;
use crate::variance::Selecting;

/// What stands for an object in slices, if this answer, which is too large to be stored in one piece, is of
/// one; nothing of its content is in it.
pub(crate) fn marker(asked: fetched::Asked<'_>, head: &Parts) -> Option<Entry> {
    let total = match head.status {
        StatusCode::OK if serves_ranges(&head.headers) => number(&head.headers)?,
        StatusCode::PARTIAL_CONTENT => Part::of(&head.headers)?.total,
        _ => return None,
    };
    let tag = strong_tag(&head.headers)?;
    let fits = tag.len() <= SLICED_TAG_BYTES_MAX && total <= SLICED_BYTES_MAX;
    if !fits || asked.method != Method::GET || total <= asked.share.object_bytes_max {
        return None;
    }
    let mut entry = Fetched::head_of(asked, head).ok()?;
    entry.status = StatusCode::OK;
    for name in [header::CONTENT_RANGE, header::CONTENT_LENGTH] {
        entry.headers.remove(name);
    }
    entry.length = Some(total);
    entry.is_sliced = true;
    entry.body.finish(End::Whole); // What still arrives could not be displaced.
    Some(entry)
}

fn serves_ranges(headers: &HeaderMap) -> bool {
    let value = headers.get(header::ACCEPT_RANGES);
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"bytes"))
}

fn number(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// A slice of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    number: u64,
    part: Part,
}

impl Slice {
    /// The one that has the byte at this place of an object of so many.
    fn with(place: u64, total: u64) -> Self {
        let number = place / SLICE_BYTES;
        let first = number * SLICE_BYTES;
        let last = (first + SLICE_BYTES).min(total) - 1;
        let part = Part { first, last, total };
        Self { number, part }
    }

    fn bytes(&self) -> u64 {
        self.part.last - self.part.first + 1
    }

    /// Blanks cannot be in an address: no request has such a key.
    fn key(&self, of: &Key, tag: &[u8]) -> Key {
        format!("{of} #{} {}", tag.escape_ascii(), self.number).into()
    }
}

impl Cache {
    /// Answers from slices. What cannot be had so is asked for in one piece.
    pub(crate) async fn sliced(
        self: &Arc<Self>,
        question: &Question,
        marker: &Arc<Entry>,
        status: CacheStatus,
        outcome: Outcome,
    ) -> Result<Response, Refused> {
        let plan = Plan::of(marker, question.asking(), status);
        let figures = &question.share.figures;
        let (place, until) = match plan.content {
            Content::Nothing => {
                let response = plan.with(Outgoing::empty());
                figures.count(outcome, &response);
                return Ok(response);
            }
            Content::All => (0, marker.length.unwrap_or(0)),
            Content::Between(first, end) => (first, end),
        };
        let mut slices = Slices {
            of: Of {
                cache: Arc::clone(self),
                question: Arc::new(question.clone()),
                marker: Arc::clone(marker),
            },
            place,
            until,
            reader: None,
            coming: None,
            tries: 0,
        };
        // Whether it can be had shows with the first.
        match slices.of.clone().slice(place).await {
            Some(first) => slices.read(&first),
            None => {
                question.share.remove(&question.key);
                return self.pass_whole(question, Forwarded::Miss).await;
            }
        }
        let response = plan.with(Outgoing::new(slices));
        figures.count(outcome, &response);
        Ok(response)
    }
}

/// An object in slices, and who wants it.
#[derive(Clone)]
struct Of {
    cache: Arc<Cache>,
    question: Arc<Question>,
    marker: Arc<Entry>,
}

impl Of {
    /// The slice that has a place: from memory, the disk, or the origin. None: it is not to be had.
    async fn slice(self, place: u64) -> Option<Arc<Entry>> {
        let slice = Slice::with(place, self.marker.length?);
        let tag = strong_tag(&self.marker.headers)?;
        let share = &self.question.share;
        let key = slice.key(&self.question.key, tag);
        for _ in 0..JOINS_MAX {
            if let Some(entry) = share.store.find(&key, &HeaderMap::new(), None) {
                return Some(entry);
            }
            match share.flights.board(&key) {
                Boarding::Lead(lead) => {
                    let entry = match share.warm(&key, &HeaderMap::new()).await {
                        Some(entry) => entry,
                        None => self.fetch(slice, &key, tag).await?,
                    };
                    lead.land(Shared::Stored);
                    return Some(entry);
                }
                Boarding::Join(flight) => {
                    landed(flight).await;
                }
            }
        }
        None
    }

    async fn fetch(&self, slice: Slice, key: &Key, tag: &[u8]) -> Option<Arc<Entry>> {
        let Self {
            cache, question, ..
        } = self;
        let share = &question.share;
        let _seat = share.seat().ok()?;
        let mut question = Question::clone(question);
        question.method = Method::GET;
        let range = format!("bytes={}-{}", slice.part.first, slice.part.last);
        parts::ask_for(&mut question.headers, &range, tag);
        let (requested, since) = (now(), share.since());
        let headers = question.headers.clone();
        let sent = cache.send(&question, headers, Outgoing::empty()).await;
        let (head, body): (Parts, Incoming) = sent.ok()?.into_parts();
        let is_it = parts::is_part(head.status, &head.headers, slice.part, tag)
            && body.size_hint().exact() == Some(slice.bytes());
        if !is_it {
            return None;
        }
        let asked = cache.asked(&question, requested);
        let Fetched { mut entry, digest } = Fetched::of(asked, &head, &body).ok()?;
        entry.part = None;
        entry.selecting = Selecting::default();
        let entry = Arc::new(entry);
        if !share.is_crowded_by(slice.bytes()) {
            // What was purged meanwhile goes to those who asked for it, and to nobody else.
            let _ = share.insert(key, &entry, since);
        }
        let filling = fetched::Filling {
            share: Arc::clone(share),
            key: Arc::clone(key),
            entry: Arc::clone(&entry),
            digest,
        };
        tokio::spawn(filling.run(body));
        Some(entry)
    }
}

type Coming = Pin<Box<dyn Future<Output = Option<Arc<Entry>>> + Send>>;

/// A body of slices, one after the other.
struct Slices {
    of: Of,
    place: u64,
    until: u64,
    reader: Option<Reader>,
    coming: Option<Coming>,
    /// How often the slice at hand was asked for.
    tries: u32,
}

impl Slices {
    /// Reads a slice from the place on; the next is asked for meanwhile, so that an origin that is far away
    /// is not waited for at each.
    fn read(&mut self, entry: &Arc<Entry>) {
        let total = self.of.marker.length.unwrap_or(0);
        let slice = Slice::with(self.place, total);
        let (first, behind) = (slice.part.first, slice.part.last + 1);
        self.reader = Some(Reader::part(
            Arc::clone(&entry.body),
            self.place - first,
            Some(self.until.min(behind) - first),
        ));
        let crowded = self.of.question.share.is_crowded_by(SLICE_BYTES);
        if behind < self.until && !crowded {
            tokio::spawn(self.of.clone().slice(behind));
        }
    }

    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match ready!(reader.next(context)) {
                    Some(Ok(bytes)) => {
                        self.place += bytes.len() as u64;
                        self.tries = 0;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    // The rest of a slice that broke off is asked for again.
                    Some(Err(_)) | None => self.reader = None,
                }
            }
            if self.place >= self.until {
                return Poll::Ready(None);
            }
            let coming = match &mut self.coming {
                Some(coming) => coming,
                None if self.tries == SLICE_TRIES => {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                None => {
                    self.tries += 1;
                    let coming = self.of.clone().slice(self.place);
                    self.coming.insert(Box::pin(coming))
                }
            };
            let found = ready!(coming.as_mut().poll(context));
            self.coming = None;
            match found {
                Some(entry) => self.read(&entry),
                None => {
                    let Of {
                        question, marker, ..
                    } = &self.of;
                    question.share.store.replace(&question.key, marker, None);
                    self.tries = SLICE_TRIES;
                }
            }
        }
    }
}

impl http_body::Body for Slices {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.next(context)
            .map(|next| next.map(|read| read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.place >= self.until
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.until - self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives::Directives;

    #[test]
    fn slices_lie_side_by_side_to_the_end() {
        let total = 5 * SLICE_BYTES / 2;
        let mut place = 0;
        for number in 0..3 {
            let slice = Slice::with(place, total);
            assert_eq!((slice.number, slice.part.first), (number, place));
            assert_eq!(Slice::with(slice.part.last, total), slice);
            place = slice.part.last + 1;
        }
        assert_eq!(place, total);
    }

    /// What must stay for ever could fill the memory.
    #[test]
    fn a_marker_waits_for_nothing() {
        let share = crate::share::Share::of_memory(1 << 20, None);
        let headers = HeaderMap::new();
        let asked = fetched::Asked {
            method: &Method::GET,
            headers: &headers,
            directives: &Directives::default(),
            requested: 0,
            received: 0,
            share: &share,
            negative_seconds: 0,
        };
        let head = http::Response::builder()
            .header(header::CONTENT_LENGTH, 1 << 30)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, "\"1\"")
            .body(());
        let (head, ()) = head.expect("an answer").into_parts();
        let marker = marker(asked, &head).expect("a marker");
        assert_eq!(marker.body.end(), Some(End::Whole));
        assert_eq!(marker.body_length(), Some(1 << 30));
    }

    #[test]
    fn no_address_has_a_slices_key() {
        let key = Slice::with(0, 1).key(&Key::from("http://a.example/b"), b"\"a\xff\"");
        assert_eq!(&*key, "http://a.example/b #\\\"a\\xff\\\" 0");
    }
}
