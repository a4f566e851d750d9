//! The cache as a service: each request finds its answer in the store or at the origin.
//!
//! GET is looked up, and fetched if it must be (`fetch.rs`); HEAD is answered from what GET stored;
//! everything else passes, and makes invalid what it changes.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Body as Outgoing;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use edgecloud_appliance::{Ends, Failure as StartFailure, Refusals, Stage};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use crate::answer::{Asking, from_store};
use crate::collapse::{Boarding, Shared, landed};
use crate::directives::Directives;
use crate::fetch::renewed;
use crate::figures::Outcome;
use crate::freshness::{Failure, Timestamp, Verdict};
use crate::hops;
use crate::invalidation;
use crate::operator;
use crate::publisher;
use crate::ranges::Wanted;
use crate::refusal::Refused;
use crate::settings::Own;
use crate::share::{Share, Shares};
use crate::site::Site;
use crate::status::{CacheStatus, Forwarded};
use crate::storable::{self, NotStored};
use crate::store::{Entry, Key};
use crate::validation;

/// How often a request waits for another's answer before it goes itself: the one that went may have
/// been given up by its client.
pub(crate) const JOINS_MAX: usize = 3;

const NO_PREFETCH: &str =
    "prefetch names URLs like http://a.example/b, and wants an origin to be set";

/// A cache that serves.
pub(crate) struct Cache {
    pub(crate) shares: Shares,
    pub(crate) negative_seconds: u64,
    refusals: Refusals,
}

/// A request, as far as it is looked at.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) site: Site,
    pub(crate) share: Arc<Share>,
    pub(crate) key: Key,
    pub(crate) headers: HeaderMap,
    pub(crate) directives: Directives,
    pub(crate) wanted: Option<Wanted>,
}

impl Question {
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            method: &self.method,
            headers: &self.headers,
            wanted: self.wanted,
            now: now(),
        }
    }

    /// Whether it may wait for another's answer.
    fn can_join(&self) -> bool {
        !self.insists()
            && self.wanted.is_none()
            && !self.headers.contains_key(header::AUTHORIZATION)
    }

    /// Whether its client wants to hear from the origin itself.
    pub(crate) fn insists(&self) -> bool {
        let directives = &self.directives;
        directives.no_cache || directives.no_store || directives.max_age == Some(0)
    }
}

/// Makes the router of a cache.
///
/// # Errors
/// The settings make no sense as a whole, or the disk cannot be used.
pub fn router(stage: &Stage<Own>) -> Result<Router, StartFailure> {
    let cache = Arc::new(Cache {
        shares: Shares::of(stage)?,
        negative_seconds: stage.settings.negative_seconds.into(),
        refusals: stage.refusals::<Refused>(),
    });
    stage.pages.show(operator::pages(Arc::clone(&cache)));
    let sites = Arc::clone(&cache);
    let choose = move |site: &str| sites.shares.certificate(site);
    stage.certificates.choose_by(choose);
    let ahead = stage.settings.prefetch.clone();
    if !ahead.is_empty() {
        cache.prefetch(ahead).map_err(|_| NO_PREFETCH)?;
    }
    Ok(Router::new().fallback(respond).with_state(cache))
}

async fn respond(
    State(cache): State<Arc<Cache>>,
    Extension(ends): Extension<Ends>,
    request: Request,
) -> Response {
    match cache.answer(&ends, request).await {
        Ok(response) => response,
        Err(refused) => cache.refusals.refuse(refused, &ends),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Cache {
    async fn answer(self: &Arc<Self>, ends: &Ends, request: Request) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let (site, share) = Site::of(&self.shares, ends, &parts)?;
        if share.takes_purges() && site.target == publisher::PURGE_TARGET {
            return publisher::purge(&share, ends, &parts, body).await;
        }
        let mut headers = hops::forwarded(&parts.headers);
        headers.insert(
            header::HOST,
            HeaderValue::try_from(site.authority.as_str()).map_err(|_| Refused::Host)?,
        );
        let question = Question {
            key: site.key(),
            // RFC 9110, section 14.2: of no other method.
            wanted: Wanted::of(&headers).filter(|_| parts.method == Method::GET),
            directives: Directives::of_request(&headers),
            method: parts.method,
            site,
            share,
            headers,
        };
        match question.method {
            Method::GET => self.get(without_content(question)).await,
            Method::HEAD => self.head(without_content(question)).await,
            Method::CONNECT | Method::TRACE => Err(Refused::Method),
            _ => self.pass(question, body).await,
        }
    }

    pub(crate) async fn get(self: &Arc<Self>, question: Question) -> Result<Response, Refused> {
        let share = &question.share;
        let mut stale = None;
        let mut lead = None;
        let mut seat = None;
        let mut collapsed = false;
        let mut warmed = false;
        for _ in 0..JOINS_MAX {
            match self.look_up(&question) {
                Ok((entry, verdict)) => {
                    return self.hit(&question, &entry, verdict, collapsed).await;
                }
                Err(unusable) => stale = unusable,
            }
            if let Err(busy) = self.take_seat(&question, &mut seat) {
                return self
                    .outlive(&question, stale.as_ref(), Failure::Answered)
                    .ok_or(busy);
            }
            if !question.can_join() {
                if stale.is_some() || !self.warm(&question, &mut warmed).await {
                    break;
                }
                continue;
            }
            match share.flights.board(&question.key) {
                Boarding::Lead(first) => {
                    if stale.is_none() && self.warm(&question, &mut warmed).await {
                        first.land(Shared::Stored);
                        continue;
                    }
                    lead = Some(first);
                    break;
                }
                Boarding::Join(_) if collapsed => break,
                Boarding::Join(flight) => match landed(flight).await {
                    Some(Shared::Stored) => collapsed = true,
                    Some(Shared::Alone) => break,
                    None => {}
                },
            }
        }
        if question.directives.only_if_cached {
            return Err(Refused::OnlyIfCached);
        }
        self.fetch(&question, stale, lead).await
    }

    /// A seat among those who wait for the origin, once for a request.
    fn take_seat(
        &self,
        question: &Question,
        seat: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<(), Refused> {
        if seat.is_none() {
            *seat = Some(question.share.seat()?);
        }
        Ok(())
    }

    /// Brings a response from the disk into memory, once for a request.
    async fn warm(&self, question: &Question, warmed: &mut bool) -> bool {
        let share = &question.share;
        if std::mem::replace(warmed, true) {
            return false;
        }
        let warm = share.warm(&question.key, &question.headers);
        warm.await.is_some()
    }

    /// What may be served; or what is stored, but may not be served as it is.
    fn look_up(&self, question: &Question) -> Result<(Arc<Entry>, Verdict), Option<Arc<Entry>>> {
        let store = &question.share.store;
        let found = store.find(&question.key, &question.headers, question.wanted);
        let entry = found.ok_or(None)?;
        match entry.freshness.decide(&question.directives, now()) {
            Verdict::Stale => Err(Some(entry)),
            verdict => Ok((entry, verdict)),
        }
    }

    async fn hit(
        self: &Arc<Self>,
        question: &Question,
        entry: &Arc<Entry>,
        verdict: Verdict,
        collapsed: bool,
    ) -> Result<Response, Refused> {
        let (status, outcome) = match collapsed {
            false => {
                let ttl = entry.freshness.left(now());
                (CacheStatus::Hit { ttl }, Outcome::Hit)
            }
            true => {
                let status = CacheStatus::Forwarded {
                    because: Forwarded::Miss,
                    status: None,
                    stored: Ok(()),
                    collapsed,
                };
                (status, Outcome::Joined)
            }
        };
        if verdict == Verdict::WhileRevalidating {
            self.refresh(question, Arc::clone(entry));
        }
        if entry.is_sliced {
            return self.sliced(question, entry, status, outcome).await;
        }
        let response = from_store(entry, question.asking(), status);
        question.share.figures.count(outcome, &response);
        Ok(response)
    }

    /// Fetches anew beside the requests, once at a time.
    fn refresh(self: &Arc<Self>, question: &Question, stale: Arc<Entry>) {
        let Boarding::Lead(lead) = question.share.flights.board(&question.key) else {
            return;
        };
        let Ok(seat) = question.share.seat() else {
            return;
        };
        let mut question = question.clone();
        question.wanted = None;
        question.headers.remove(header::RANGE);
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            // Nobody waits for it; a failure shows at the origin's figures.
            let _ = cache.fetch(&question, Some(stale), Some(lead)).await;
            drop(seat);
        });
    }

    /// Serves what is stale in place of a failure, where that is allowed.
    pub(crate) fn outlive(
        &self,
        question: &Question,
        stale: Option<&Arc<Entry>>,
        failure: Failure,
    ) -> Option<Response> {
        let entry = stale.filter(|stale| !stale.is_sliced)?;
        let now = now();
        if !entry.freshness.outlives(failure, &question.directives, now) {
            return None;
        }
        let status = CacheStatus::Hit {
            ttl: entry.freshness.left(now),
        };
        let response = from_store(entry, question.asking(), status);
        question.share.figures.count(Outcome::Outlived, &response);
        Some(response)
    }

    async fn head(self: &Arc<Self>, question: Question) -> Result<Response, Refused> {
        let mut looked_up = self.look_up(&question);
        if let Err(None) = looked_up
            && self.warm(&question, &mut false).await
        {
            looked_up = self.look_up(&question);
        }
        let stored = match looked_up {
            Ok((entry, verdict)) => return self.hit(&question, &entry, verdict, false).await,
            Err(stored) => stored,
        };
        if question.directives.only_if_cached {
            return Err(Refused::OnlyIfCached);
        }
        let _seat = question.share.seat()?;
        let requested = now();
        let headers = question.headers.clone();
        let response = self.send(&question, headers, Outgoing::empty()).await?;
        if let Some(stored) = stored.filter(|_| response.status() == StatusCode::OK) {
            // Section 4.3.5.
            let entry = match validation::head_agrees(response.headers(), &stored.headers) {
                true => renewed(&stored, response.headers(), requested),
                false => Entry {
                    freshness: stored.freshness.clone().spent(),
                    ..(*stored).clone()
                },
            };
            let (share, key) = (&question.share, &question.key);
            match storable::forbidden(&Directives::of_response(&entry.headers)) {
                Ok(()) => share.store.replace(key, &stored, Some(Arc::new(entry))),
                Err(_) => share.remove(key),
            }
        }
        Ok(self.forwarded(&question, response, NotStored::Method))
    }

    /// Passes a request with its body, and makes invalid what it changed (section 4.4).
    async fn pass(&self, question: Question, body: Outgoing) -> Result<Response, Refused> {
        let share = &question.share;
        let _seat = share.seat()?;
        let response = self.send(&question, question.headers.clone(), body).await?;
        if invalidation::invalidates(&question.method, response.status()) {
            let site = &question.site;
            share.invalidate(&question.key);
            for target in invalidation::also(&site.authority, &site.target, response.headers()) {
                share.invalidate(&site.key_of(&target));
            }
        }
        Ok(self.forwarded(&question, response, NotStored::Method))
    }
}

/// A request without content: what a client sends with GET or HEAD has no meaning (RFC 9110, section
/// 9.3.1) and is not passed on, so its length must not be either.
fn without_content(mut question: Question) -> Question {
    for name in [
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
    ] {
        question.headers.remove(name);
    }
    question
}
