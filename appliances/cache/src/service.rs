//! The cache as a service: each request finds its answer in the store or at the origin.
//!
//! GET is looked up, and fetched if it must be; HEAD is answered from what GET stored; everything
//! else passes, and makes invalid what it changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::body::Body as Outgoing;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use edgecloud_appliance::{Ends, Failure as StartFailure, Refusals, Stage};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::body::Incoming;

use crate::answer::{Asking, as_fetched, from_store, tell};
use crate::collapse::{Boarding, Flights, Lead, Shared, landed};
use crate::directives::Directives;
use crate::disk::Disk;
use crate::fetched::{self, Fetched};
use crate::figures::{Figures, Outcome};
use crate::freshness::{Failure, Freshness, Timestamp, Verdict};
use crate::hops;
use crate::invalidation;
use crate::operator;
use crate::origin::Origin;
use crate::ranges::Wanted;
use crate::refusal::Refused;
use crate::settings::{Own, Role};
use crate::site::Site;
use crate::status::{CacheStatus, Forwarded};
use crate::storable::NotStored;
use crate::store::{Entry, Key, Store};
use crate::validation;

/// How often a request waits for another's answer before it goes itself: the one that went may have
/// been given up by its client.
const JOINS_MAX: usize = 3;

const NO_PREFETCH: &str =
    "prefetch names URLs like http://a.example/b, and wants an origin to be set";

/// A cache that serves.
pub(crate) struct Cache {
    pub(crate) role: Role,
    object_bytes_max: u64,
    negative_seconds: u64,
    /// Counts purges: what was asked for before one is not stored after it.
    pub(crate) purges: AtomicU64,
    pub(crate) store: Arc<Store>,
    pub(crate) disk: Option<Disk>,
    flights: Flights,
    origin: Origin,
    pub(crate) figures: Figures,
    refusals: Refusals,
}

/// A request, as far as it is looked at.
pub(crate) struct Question {
    pub(crate) method: Method,
    pub(crate) site: Site,
    pub(crate) key: Key,
    pub(crate) headers: HeaderMap,
    pub(crate) directives: Directives,
    pub(crate) wanted: Option<Wanted>,
}

impl Question {
    fn asking(&self) -> Asking<'_> {
        Asking {
            method: &self.method,
            headers: &self.headers,
            wanted: self.wanted,
            now: now(),
        }
    }

    /// Whether it may wait for another's answer.
    fn can_join(&self) -> bool {
        let directives = &self.directives;
        let insists = directives.no_cache || directives.no_store || directives.max_age == Some(0);
        !insists && self.wanted.is_none() && !self.headers.contains_key(header::AUTHORIZATION)
    }
}

/// Makes the router of a cache.
///
/// # Errors
/// The disk cannot be used.
pub fn router(stage: &Stage<Own>) -> Result<Router, StartFailure> {
    let store = Arc::new(Store::new(stage.settings.memory_bytes()));
    let index_bytes = stage.settings.index_bytes();
    let open = |path: &PathBuf| Disk::open(path, index_bytes, &stage.log);
    let disk = stage.settings.disk.as_ref().map(open).transpose()?;
    if let Some(disk) = disk.clone() {
        let drain = stage.drain.clone();
        stage.background.spawn(async move {
            drain.begun().await;
            disk.flush().await;
        });
    }
    let cache = Cache {
        role: stage.settings.role(),
        object_bytes_max: stage.settings.object_bytes_max(),
        negative_seconds: stage.settings.negative_seconds.into(),
        purges: AtomicU64::new(0),
        store,
        disk,
        flights: Flights::default(),
        origin: Origin::new(),
        figures: Figures::of(&stage.metrics),
        refusals: stage.refusals::<Refused>(),
    };
    let cache = Arc::new(cache);
    stage.pages.show(operator::pages(Arc::clone(&cache)));
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
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Cache {
    async fn answer(self: &Arc<Self>, ends: &Ends, request: Request) -> Result<Response, Refused> {
        let (parts, body) = request.into_parts();
        let site = Site::of(&self.role, ends, &parts)?;
        let mut headers = hops::forwarded(&parts.headers);
        headers.insert(
            header::HOST,
            HeaderValue::try_from(site.authority.as_str()).map_err(|_| Refused::Host)?,
        );
        let question = Question {
            key: site.key(),
            wanted: Wanted::of(&headers),
            directives: Directives::of_request(&headers),
            method: parts.method,
            site,
            headers,
        };
        match question.method {
            Method::GET => self.get(question).await,
            Method::HEAD => self.head(question).await,
            Method::CONNECT | Method::TRACE => Err(Refused::Method),
            _ => self.pass(question, body).await,
        }
    }

    pub(crate) async fn get(self: &Arc<Self>, question: Question) -> Result<Response, Refused> {
        let mut stale = None;
        let mut lead = None;
        let mut collapsed = false;
        let mut warmed = false;
        for _ in 0..JOINS_MAX {
            match self.look_up(&question) {
                Ok((entry, verdict)) => return Ok(self.hit(question, &entry, verdict, collapsed)),
                Err(unusable) => stale = unusable,
            }
            if !question.can_join() {
                if stale.is_some() || !self.warm(&question, &mut warmed).await {
                    break;
                }
                continue;
            }
            match self.flights.board(&question.key) {
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

    /// Brings a response from the disk into memory, once for a request.
    async fn warm(&self, question: &Question, warmed: &mut bool) -> bool {
        let Some(disk) = self.disk.as_ref().filter(|_| !*warmed) else {
            return false;
        };
        *warmed = true;
        let found = disk.load(&question.key, &question.headers).await;
        if let Some(entry) = found {
            self.store.insert(&question.key, entry);
            return true;
        }
        false
    }

    /// What may be served; or what is stored, but may not be served as it is.
    fn look_up(&self, question: &Question) -> Result<(Arc<Entry>, Verdict), Option<Arc<Entry>>> {
        let found = self
            .store
            .find(&question.key, &question.headers, question.wanted);
        let entry = found.ok_or(None)?;
        match entry.freshness.decide(&question.directives, now()) {
            Verdict::Stale => Err(Some(entry)),
            verdict => Ok((entry, verdict)),
        }
    }

    fn hit(
        self: &Arc<Self>,
        question: Question,
        entry: &Arc<Entry>,
        verdict: Verdict,
        collapsed: bool,
    ) -> Response {
        let status = match collapsed {
            false => CacheStatus::Hit {
                ttl: entry.freshness.left(now()),
            },
            true => CacheStatus::Forwarded {
                because: Forwarded::Miss,
                status: None,
                stored: Ok(()),
                collapsed,
            },
        };
        let outcome = if collapsed {
            Outcome::Joined
        } else {
            Outcome::Hit
        };
        let response = from_store(entry, question.asking(), status);
        self.figures.count(outcome, &response);
        if verdict == Verdict::WhileRevalidating {
            self.refresh(question, Arc::clone(entry));
        }
        response
    }

    /// Fetches anew beside the requests, once at a time.
    fn refresh(self: &Arc<Self>, mut question: Question, stale: Arc<Entry>) {
        let Boarding::Lead(lead) = self.flights.board(&question.key) else {
            return;
        };
        question.wanted = None;
        question.headers.remove(header::RANGE);
        let cache = Arc::clone(self);
        tokio::spawn(async move {
            // Nobody waits for it; a failure shows at the origin's figures.
            let _ = cache.fetch(&question, Some(stale), Some(lead)).await;
        });
    }

    /// Asks the origin; `stale` is what is stored.
    async fn fetch(
        self: &Arc<Self>,
        question: &Question,
        stale: Option<Arc<Entry>>,
        lead: Option<Lead>,
    ) -> Result<Response, Refused> {
        let mut headers = question.headers.clone();
        let asked = stale
            .as_ref()
            .filter(|stale| stale.part.is_none() && validation::has_validator(&stale.headers));
        if let Some(stale) = asked {
            validation::make_conditional(&mut headers, &stale.headers);
        }
        let requested = now();
        let purges = self.purges.load(Ordering::Relaxed);
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
        match asked {
            Some(stale) if response.status() == StatusCode::NOT_MODIFIED => {
                if !validation::confirms(response.headers(), &stale.headers) {
                    self.remove(&question.key);
                    let sent = self.send(question, question.headers.clone(), Outgoing::empty());
                    let response = sent.await?;
                    return Ok(self.take_in(
                        question,
                        response,
                        (requested, purges),
                        lead,
                        Forwarded::Stale,
                    ));
                }
                Ok(self.confirmed(question, stale, response.headers(), requested, lead))
            }
            _ => {
                let because = if stale.is_some() {
                    Forwarded::Stale
                } else {
                    Forwarded::Miss
                };
                Ok(self.take_in(question, response, (requested, purges), lead, because))
            }
        }
    }

    /// Serves what is stale in place of a failure, where that is allowed.
    fn outlive(
        &self,
        question: &Question,
        stale: Option<&Arc<Entry>>,
        failure: Failure,
    ) -> Option<Response> {
        let entry = stale?;
        let now = now();
        if !entry.freshness.outlives(failure, &question.directives, now) {
            return None;
        }
        let status = CacheStatus::Hit {
            ttl: entry.freshness.left(now),
        };
        let response = from_store(entry, question.asking(), status);
        self.figures.count(Outcome::Outlived, &response);
        Some(response)
    }

    /// A 304: what is stored holds, with newer fields (section 4.3.4).
    fn confirmed(
        &self,
        question: &Question,
        stale: &Arc<Entry>,
        not_modified: &HeaderMap,
        requested: Timestamp,
        lead: Option<Lead>,
    ) -> Response {
        let entry = Arc::new(renewed(stale, not_modified, requested));
        self.store.insert(&question.key, Arc::clone(&entry));
        if let Some(lead) = lead {
            lead.land(Shared::Stored);
        }
        let status = CacheStatus::Forwarded {
            because: Forwarded::Stale,
            status: Some(StatusCode::NOT_MODIFIED.as_u16()),
            stored: Ok(()),
            collapsed: false,
        };
        let response = from_store(&entry, question.asking(), status);
        self.figures.count(Outcome::Validated, &response);
        response
    }

    /// Stores an answer if it may be, and passes it on. It is told when it was asked for, and how many
    /// purges there were before.
    fn take_in(
        self: &Arc<Self>,
        question: &Question,
        response: http::Response<Incoming>,
        (requested, purges): (Timestamp, u64),
        lead: Option<Lead>,
        because: Forwarded,
    ) -> Response {
        let status = |stored| CacheStatus::Forwarded {
            because,
            status: None,
            stored,
            collapsed: false,
        };
        let (head, body) = response.into_parts();
        let asked = fetched::Asked {
            method: &question.method,
            headers: &question.headers,
            directives: &question.directives,
            requested,
            received: now(),
            object_bytes_max: self.object_bytes_max,
            negative_seconds: self.negative_seconds,
        };
        let fetched = match self.purges.load(Ordering::Relaxed) == purges {
            true => Fetched::of(asked, &head, &body),
            false => Err(NotStored::Purged),
        };
        match fetched {
            Ok(fetched) => {
                let entry = Arc::new(fetched.entry);
                self.store.insert(&question.key, Arc::clone(&entry));
                if let Some(lead) = lead {
                    lead.land(Shared::Stored);
                }
                let fill = fetched::fill(
                    Arc::clone(&self.store),
                    self.disk.clone(),
                    Arc::clone(&question.key),
                    Arc::clone(&entry),
                    body,
                    self.object_bytes_max,
                );
                tokio::spawn(fill);
                let response = as_fetched(&entry, question.asking(), status(Ok(())));
                self.figures.count(Outcome::Missed, &response);
                response
            }
            Err(reason) => {
                if let Some(lead) = lead {
                    lead.land(Shared::Alone);
                }
                let response = passed(http::Response::from_parts(head, body), status(Err(reason)));
                self.figures.count(Outcome::Passed, &response);
                response
            }
        }
    }

    async fn head(self: &Arc<Self>, question: Question) -> Result<Response, Refused> {
        let mut looked_up = self.look_up(&question);
        if let Err(None) = looked_up
            && self.warm(&question, &mut false).await
        {
            looked_up = self.look_up(&question);
        }
        let stored = match looked_up {
            Ok((entry, verdict)) => return Ok(self.hit(question, &entry, verdict, false)),
            Err(stored) => stored,
        };
        if question.directives.only_if_cached {
            return Err(Refused::OnlyIfCached);
        }
        let requested = now();
        let response = self
            .send(&question, question.headers.clone(), Outgoing::empty())
            .await?;
        if let Some(stored) = stored.filter(|_| response.status() == StatusCode::OK) {
            // Section 4.3.5.
            let entry = match validation::head_agrees(response.headers(), &stored.headers) {
                true => renewed(&stored, response.headers(), requested),
                false => Entry {
                    freshness: stored.freshness.clone().spent(),
                    ..(*stored).clone()
                },
            };
            self.store
                .replace(&question.key, &stored, Some(Arc::new(entry)));
        }
        Ok(self.forwarded(response, NotStored::Method))
    }

    /// Passes a request with its body, and makes invalid what it changed (section 4.4).
    async fn pass(&self, question: Question, body: Outgoing) -> Result<Response, Refused> {
        let response = self.send(&question, question.headers.clone(), body).await?;
        if invalidation::invalidates(&question.method, response.status()) {
            let site = &question.site;
            self.remove(&question.key);
            for target in invalidation::also(&site.authority, &site.target, response.headers()) {
                self.remove(&site.key_of(&target));
            }
        }
        Ok(self.forwarded(response, NotStored::Method))
    }

    /// Removes an address from both tiers.
    fn remove(&self, key: &Key) {
        self.store.remove(key);
        if let Some(disk) = &self.disk {
            disk.remove(key);
        }
    }

    fn forwarded(&self, response: http::Response<Incoming>, reason: NotStored) -> Response {
        let status = CacheStatus::Forwarded {
            because: Forwarded::Method,
            status: None,
            stored: Err(reason),
            collapsed: false,
        };
        let response = passed(response, status);
        self.figures.count(Outcome::Passed, &response);
        response
    }

    async fn send(
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
        self.origin.send(request).await
    }
}

/// A stored response with newer fields, fresh anew.
fn renewed(stored: &Entry, newer: &HeaderMap, requested: Timestamp) -> Entry {
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

/// Passes an answer on without storing it.
fn passed(response: http::Response<Incoming>, status: CacheStatus) -> Response {
    let (mut head, body) = response.into_parts();
    head.headers = hops::end_to_end(&head.headers);
    head.version = Version::default();
    tell(&mut head.headers, status);
    Response::from_parts(head, Outgoing::new(body))
}
