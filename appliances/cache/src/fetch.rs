//! What is not there, or stale, is fetched: conditional requests, the rest of what has begun to arrive,
//! and whether and as what an answer is stored.

use std::sync::Arc;

use axum::body::Body as Outgoing;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use hyper::body::Incoming;

use crate::answer::{as_fetched, from_store, tell};
use crate::body::Body;
use crate::collapse::{Lead, Shared};
use crate::directives::Directives;
use crate::fetched::{self, Fetched};
use crate::figures::Outcome;
use crate::forgotten::Since;
use crate::freshness::{Failure, Freshness, Timestamp, Verdict};
use crate::hops;
use crate::parts;
use crate::refusal::Refused;
use crate::service::{Cache, Question, now};
use crate::slices;
use crate::status::{CacheStatus, Forwarded};
use crate::storable::{self, NotStored};
use crate::store::Entry;
use crate::validation;

/// An answer on its way in: when it was asked for, what had been forgotten before, and why.
#[derive(Clone, Copy)]
struct Arrival {
    requested: Timestamp,
    since: Since,
    because: Forwarded,
}

impl Cache {
    /// Asks the origin; `stale` is what is stored.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        question: &Question,
        stale: Option<Arc<Entry>>,
        lead: Option<Lead>,
    ) -> Result<Response, Refused> {
        let mut headers = question.headers.clone();
        let asked = stale
            .as_ref()
            .filter(|stale| stale.part.is_none() && validation::has_validator(&stale.headers));
        let begun = match &stale {
            None => self.begun(question),
            Some(_) => None,
        };
        if let Some(stale) = asked {
            validation::make_conditional(&mut headers, &stale.headers);
        } else if let Some(begun) = &begun {
            parts::ask_for_rest(&mut headers, begun);
        }
        let arrival = Arrival {
            requested: now(),
            since: question.share.since(),
            because: match stale {
                Some(_) => Forwarded::Stale,
                None => Forwarded::Miss,
            },
        };
        let sent = self.send(question, headers, Outgoing::empty()).await;
        let response = match sent {
            Ok(response) => response,
            Err(refused) => {
                return self
                    .outlive(question, stale.as_ref(), Failure::Disconnected)
                    .ok_or(refused);
            }
        };
        if matches!(response.status().as_u16(), 500 | 502..=504)
            && let Some(answer) = self.outlive(question, stale.as_ref(), Failure::Answered)
        {
            return Ok(answer);
        }
        if let Some(stale) = asked
            && response.status() == StatusCode::NOT_MODIFIED
        {
            if validation::confirms(response.headers(), &stale.headers) {
                let newer = response.headers();
                return self.confirmed(question, stale, newer, arrival, lead).await;
            }
            question.share.remove(&question.key);
        } else if let Some(begun) = &begun
            && matches!(response.status().as_u16(), 206 | 416)
        {
            if parts::is_rest(response.status(), response.headers(), begun)
                && self.may_store(question, &response)
            {
                return Ok(self.completed(question, response, begun, arrival, lead));
            }
            // What was stored is of something else.
            question.share.remove(&question.key);
        } else {
            return self.take_in(question, response, arrival, lead).await;
        }
        let headers = question.headers.clone();
        let response = self.send(question, headers, Outgoing::empty()).await?;
        self.take_in(question, response, arrival, lead).await
    }

    /// The beginning of what is wanted whole, if that is stored and fresh, and the rest can be joined to it.
    fn begun(&self, question: &Question) -> Option<Arc<Entry>> {
        if question.wanted.is_some() || question.insists() {
            return None;
        }
        let store = &question.share.store;
        let begun = store.beginning(&question.key, &question.headers)?;
        let verdict = begun.freshness.decide(&question.directives, now());
        (verdict == Verdict::Fresh).then_some(begun)
    }

    fn may_store(&self, question: &Question, answer: &http::Response<Incoming>) -> bool {
        let directives = Directives::of_response(answer.headers());
        let asked = storable::Asked {
            method: &question.method,
            headers: &question.headers,
            directives: &question.directives,
        };
        storable::check(asked, answer.status(), answer.headers(), &directives).is_ok()
    }

    /// A 304: what is stored holds, with newer fields (section 4.3.4).
    async fn confirmed(
        self: &Arc<Self>,
        question: &Question,
        stale: &Arc<Entry>,
        not_modified: &HeaderMap,
        arrival: Arrival,
        lead: Option<Lead>,
    ) -> Result<Response, Refused> {
        let entry = Arc::new(renewed(stale, not_modified, arrival.requested));
        let (share, key) = (&question.share, &question.key);
        let may_stay = storable::forbidden(&Directives::of_response(&entry.headers));
        let stored = match may_stay {
            Ok(()) => share.insert(key, &entry, arrival.since),
            Err(reason) => {
                share.remove(key);
                Err(reason)
            }
        };
        land(lead, stored);
        if entry.is_sliced && may_stay.is_err() {
            return self.pass_whole(question, arrival.because).await;
        }
        let status = CacheStatus::Forwarded {
            because: Forwarded::Stale,
            status: Some(StatusCode::NOT_MODIFIED.as_u16()),
            stored,
            collapsed: false,
        };
        if entry.is_sliced {
            return self
                .sliced(question, &entry, status, Outcome::Validated)
                .await;
        }
        let response = from_store(&entry, question.asking(), status);
        question.share.figures.count(Outcome::Validated, &response);
        Ok(response)
    }

    /// A 206 with the rest of what is stored: both together are the whole (section 3.4).
    fn completed(
        self: &Arc<Self>,
        question: &Question,
        response: http::Response<Incoming>,
        begun: &Entry,
        arrival: Arrival,
        lead: Option<Lead>,
    ) -> Response {
        let share = &question.share;
        let (head, body) = response.into_parts();
        let mut entry = renewed(begun, &hops::end_to_end(&head.headers), arrival.requested);
        entry.status = StatusCode::OK;
        entry.headers.remove(header::CONTENT_RANGE);
        entry.length = begun.part.map(|part| part.total);
        entry.part = None;
        entry.body = Arc::new(Body::counted(&share.live));
        let pieces = begun.body.pieces_from(0);
        pieces
            .into_iter()
            .for_each(|piece| entry.body.append(piece));
        let entry = Arc::new(entry);
        let stored = share.insert(&question.key, &entry, arrival.since);
        self.read_in(question, &entry, body, None);
        land(lead, stored);
        let status = CacheStatus::Forwarded {
            because: arrival.because,
            status: Some(StatusCode::PARTIAL_CONTENT.as_u16()),
            stored,
            collapsed: false,
        };
        let response = as_fetched(&entry, question.asking(), status);
        share.figures.count(Outcome::Missed, &response);
        response
    }

    /// Stores an answer if it may be, and passes it on.
    async fn take_in(
        self: &Arc<Self>,
        question: &Question,
        response: http::Response<Incoming>,
        arrival: Arrival,
        lead: Option<Lead>,
    ) -> Result<Response, Refused> {
        let share = &question.share;
        let status = |stored| CacheStatus::Forwarded {
            because: arrival.because,
            status: None,
            stored,
            collapsed: false,
        };
        let (head, body) = response.into_parts();
        let fetched = Fetched::of(self.asked(question, arrival.requested), &head, &body);
        // Players ask for a film's beginning first: a small part of what is too large.
        let is_too_large = match &fetched {
            Ok(fetched) => fetched
                .entry
                .part
                .is_some_and(|part| part.total > share.object_bytes_max),
            Err(reason) => *reason == NotStored::TooLarge,
        };
        let asked = self.asked(question, arrival.requested);
        if is_too_large && let Some(marker) = slices::marker(asked, &head) {
            // What the origin sends now is left; slices are asked for from the beginning.
            drop(body);
            let marker = Arc::new(marker);
            let stored = share.insert(&question.key, &marker, arrival.since);
            land(lead, stored);
            let status = status(stored);
            return self
                .sliced(question, &marker, status, Outcome::Missed)
                .await;
        }
        match fetched {
            Ok(Fetched { entry, digest }) => {
                let entry = Arc::new(entry);
                let stored = share.insert(&question.key, &entry, arrival.since);
                land(lead, stored);
                self.read_in(question, &entry, body, digest);
                let response = as_fetched(&entry, question.asking(), status(stored));
                share.figures.count(Outcome::Missed, &response);
                Ok(response)
            }
            Err(reason) => {
                land(lead, Err(reason));
                let response = http::Response::from_parts(head, body);
                Ok(self.answered(question, response, status(Err(reason))))
            }
        }
    }

    /// What decides whether an answer is stored.
    pub(crate) fn asked<'q>(
        &self,
        question: &'q Question,
        requested: Timestamp,
    ) -> fetched::Asked<'q> {
        fetched::Asked {
            method: &question.method,
            headers: &question.headers,
            directives: &question.directives,
            requested,
            received: now(),
            share: &question.share,
            negative_seconds: self.negative_seconds,
        }
    }

    /// Fills an entry with what arrives, beside the requests.
    fn read_in(
        &self,
        question: &Question,
        entry: &Arc<Entry>,
        body: Incoming,
        digest: Option<crate::digest::Checking>,
    ) {
        let filling = fetched::Filling {
            share: Arc::clone(&question.share),
            key: Arc::clone(&question.key),
            entry: Arc::clone(entry),
            digest,
        };
        tokio::spawn(filling.run(body));
    }

    /// Asks for what is wanted without slices, after they failed.
    pub(crate) async fn pass_whole(
        &self,
        question: &Question,
        because: Forwarded,
    ) -> Result<Response, Refused> {
        let headers = question.headers.clone();
        let response = self.send(question, headers, Outgoing::empty()).await?;
        let status = CacheStatus::Forwarded {
            because,
            status: None,
            stored: Err(NotStored::TooLarge),
            collapsed: false,
        };
        Ok(self.answered(question, response, status))
    }

    pub(crate) fn forwarded(
        &self,
        question: &Question,
        response: http::Response<Incoming>,
        reason: NotStored,
    ) -> Response {
        let status = CacheStatus::Forwarded {
            because: Forwarded::Method,
            status: None,
            stored: Err(reason),
            collapsed: false,
        };
        self.answered(question, response, status)
    }

    /// Passes an answer on without storing it.
    fn answered(
        &self,
        question: &Question,
        response: http::Response<Incoming>,
        status: CacheStatus,
    ) -> Response {
        let (mut head, body) = response.into_parts();
        head.headers = hops::end_to_end(&head.headers);
        head.version = Version::default();
        tell(&mut head.headers, status);
        let response = Response::from_parts(head, Outgoing::new(body));
        question.share.figures.count(Outcome::Passed, &response);
        response
    }

    pub(crate) async fn send(
        &self,
        question: &Question,
        headers: HeaderMap,
        body: Outgoing,
    ) -> Result<http::Response<Incoming>, Refused> {
        let mut request = Request::new(body);
        *request.method_mut() = question.method.clone();
        *request.uri_mut() = question.site.uri()?;
        *request.headers_mut() = headers;
        request
            .headers_mut()
            .append(header::VIA, HeaderValue::from_static("1.1 edgecloud"));
        question.share.origin.send(request).await
    }
}

/// Tells those who wait for the one that went.
fn land(lead: Option<Lead>, stored: Result<(), NotStored>) {
    if let Some(lead) = lead {
        lead.land(match stored {
            Ok(()) => Shared::Stored,
            Err(_) => Shared::Alone,
        });
    }
}

/// A stored response with newer fields, fresh anew.
pub(crate) fn renewed(stored: &Entry, newer: &HeaderMap, requested: Timestamp) -> Entry {
    let newer_age = newer.get(header::AGE).cloned();
    let mut headers = validation::updated(&stored.headers, &hops::end_to_end(newer));
    let received = now();
    if !newer.contains_key(header::DATE) {
        headers.insert(header::DATE, fetched::http_date(received));
    }
    let directives = Directives::of_response(&headers);
    let mut aged = headers.clone();
    if let Some(age) = newer_age {
        aged.insert(header::AGE, age);
    }
    Entry {
        freshness: Freshness::of(stored.status, &aged, &directives, requested, received),
        received,
        headers,
        ..stored.clone()
    }
}
