//! Uploads on their way to their origins: the shell around [`crate::schedule`].
//!
//! *States of an attempt.* connecting → (tus: made or found) → sending → answered. From each of them it ends
//! as delivered, refused for good, or to be tried again later; only the first two are written down before
//! anything else happens to the upload.

mod http;
mod outgoing;
mod replay;
mod s3;
mod tus;
mod verdict;
mod view;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edgecloud_appliance::{Drain, Failure, Log};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::destination::{Destination, Place, priority};
use crate::figures::Figures;
use crate::id::Id;
use crate::limits::{RETRY_TIME_MAX, SCHEDULE_TIME_MAX, SENDERS_MAX};
use crate::metadata;
use crate::outbound::http::{HttpError, Tls};
use crate::outbound::outgoing::{Outgoing, Progress, Rate};
pub(crate) use crate::outbound::s3::{Keys, read_answer};
use crate::outbound::verdict::Verdict;
use crate::schedule::{self, Job, Next, Priority, Terms};
use crate::settings::{Protocol, Settings};
use crate::store::{Delivery, Entry, Note, Store};

/// The sender.
pub(crate) struct Outbound {
    settings: Arc<Settings>,
    store: Store,
    figures: Figures,
    log: Log,
    tls: Tls,
    /// For origins that speak S3.
    keys: Option<Keys>,
    rate: Arc<Rate>,
    state: Mutex<State>,
    ended: Notify,
}

/// What is on its way, and what rests.
#[derive(Default)]
pub(crate) struct State {
    flights: HashMap<Id, Flight>,
    /// Until when one that failed is left alone.
    pauses: HashMap<Id, Instant>,
    /// Until when an origin is left alone, and how often it failed in a row.
    origins: HashMap<String, (Instant, u32)>,
    /// Bytes that went, by sender.
    served: HashMap<u64, u64>,
    /// Bytes a second that the last ones took.
    speed: Option<f64>,
}

/// An attempt under way.
pub(crate) struct Flight {
    priority: Priority,
    sender: u64,
    began: Instant,
    progress: Arc<Progress>,
}

impl Outbound {
    pub(crate) fn new(
        settings: Arc<Settings>,
        keys: Option<Keys>,
        store: Store,
        figures: Figures,
        log: Log,
    ) -> Result<Arc<Outbound>, Failure> {
        Ok(Arc::new(Outbound {
            tls: Tls::new(settings.roots.clone())?,
            settings,
            keys,
            store,
            figures,
            log,
            rate: Arc::default(),
            state: Mutex::default(),
            ended: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends until the program is to end. What is under way then goes on from the disk the next time.
    pub(crate) async fn run(self: Arc<Outbound>, drain: Drain) {
        let mut attempts = JoinSet::new();
        while !drain.has_begun() {
            while attempts.try_join_next().is_some() {}
            let wait = match self.next() {
                Next::Start(id) => {
                    if let Some(attempt) = self.begin(id) {
                        let outbound = Arc::clone(&self);
                        attempts.spawn(async move { outbound.attempt(attempt).await });
                    }
                    continue;
                }
                Next::Wait(wait) => wait.min(SCHEDULE_TIME_MAX),
                Next::Rest => SCHEDULE_TIME_MAX,
            };
            tokio::select! {
                () = self.store.changed() => {}
                () = self.ended.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = drain.begun() => {}
            }
        }
    }

    /// What goes now.
    fn next(&self) -> Next {
        let now = Instant::now();
        let now_s = now_s();
        let state = self.state();
        let ledger = self.store.ledger();
        // What cannot be written down as delivered would go again and again.
        if ledger.failed.is_some() {
            return Next::Rest;
        }
        let hosts: Vec<(Id, String)> = ledger
            .iter()
            .filter(|(id, entry)| entry.is_waiting() && !state.flights.contains_key(id))
            .map(|(id, entry)| (id, origin_of(&entry.record.metadata)))
            .collect();
        let job = |(id, origin): &'_ (Id, String)| {
            let entry = ledger.get(*id)?;
            let known = now.saturating_duration_since(entry.known);
            let age = schedule::age(known, entry.record.created_s, now_s);
            Some((*id, origin.clone(), age, entry))
        };
        let waiting: Vec<_> = hosts.iter().filter_map(job).collect();
        let jobs: Vec<Job<'_>> = waiting
            .iter()
            .map(|(id, origin, age, entry)| Job {
                id: *id,
                priority: priority(&entry.record.metadata),
                sender: entry.record.metadata.sender(),
                origin,
                age: *age,
                pause: left(state.pauses.get(id).copied(), now).max(self.rest_of(entry, now)),
            })
            .collect();
        let flights: Vec<schedule::Flight> = state
            .flights
            .values()
            .map(|flight| schedule::Flight {
                priority: flight.priority,
                sender: flight.sender,
            })
            .collect();
        let held = state.origins.iter();
        let held = held.map(|(origin, (until, _))| (origin.clone(), left(Some(*until), now)));
        schedule::next(
            &jobs,
            &flights,
            &self.terms(now_s),
            &state.served,
            &held.collect(),
        )
    }

    /// How long an original rests still.
    fn rest_of(&self, entry: &Entry, now: Instant) -> Duration {
        match priority(&entry.record.metadata) {
            Priority::Thumbnail => Duration::ZERO,
            Priority::Original => left(Some(entry.touched + self.settings.rest), now),
        }
    }

    /// Whether an upload is on its way, or there: then nobody can take it back.
    pub(crate) fn has_gone(&self, id: Id) -> bool {
        let is_on_its_way = self.state().flights.contains_key(&id);
        let ledger = self.store.ledger();
        let delivery = ledger.get(id).map(|entry| entry.record.delivery);
        is_on_its_way || matches!(delivery, Some(Delivery::Delivered { .. }))
    }

    fn terms(&self, now_s: u64) -> Terms {
        let Settings {
            timetable,
            original_price_max,
            ..
        } = self.settings.as_ref();
        let terms = timetable.at(now_s);
        self.rate.set(terms.rate);
        let cheap_in = timetable.seconds_until(*original_price_max, now_s);
        Terms {
            is_cheap: terms.price <= *original_price_max,
            cheap_in: cheap_in.map(Duration::from_secs),
            patience: self.settings.patience,
            originals_max: self.settings.originals_at_once,
            thumbnails_max: self.settings.thumbnails_at_once,
        }
    }

    /// Takes an upload on its way; `None` if it is gone meanwhile.
    fn begin(&self, id: Id) -> Option<Outgoing> {
        let entry = self.store.ledger().get(id).cloned()?;
        let whole = entry.record.whole?;
        let progress = Arc::new(Progress::default());
        let flight = Flight {
            priority: priority(&entry.record.metadata),
            sender: entry.record.metadata.sender(),
            began: Instant::now(),
            progress: Arc::clone(&progress),
        };
        let mut state = self.state();
        state.flights.insert(id, flight);
        state.pauses.remove(&id);
        Some(Outgoing {
            store: self.store.clone(),
            id,
            digest: whole.digest,
            length: entry.record.length.unwrap_or_default(),
            record: entry.record,
            body: entry.body,
            progress,
            figures: self.figures.clone(),
            rate: Arc::clone(&self.rate),
        })
    }

    async fn attempt(&self, outgoing: Outgoing) {
        let verdict = match Destination::of(&outgoing.record.metadata, &self.settings.origins) {
            Ok(destination) => self.send(&outgoing, &destination).await,
            // The operator has closed this origin since.
            Err(_) => Verdict::Refused(403),
        };
        self.conclude(outgoing, verdict).await;
        self.ended.notify_one();
    }

    async fn send(&self, outgoing: &Outgoing, destination: &Destination) -> Verdict {
        let sent = match destination.protocol {
            Protocol::Replay | Protocol::Put => {
                replay::replay(outgoing, destination, &self.tls).await
            }
            Protocol::Tus => tus::upload(outgoing, destination, &self.tls).await,
            Protocol::S3 => match &self.keys {
                Some(keys) => s3::upload(outgoing, destination, &self.tls, keys).await,
                // Without keys nothing starts that has such an origin.
                None => Ok(Verdict::Refused(401)),
            },
        };
        sent.unwrap_or_else(|error| Verdict::Later {
            retry_after: None,
            is_origin: !matches!(error, HttpError::Http(_)),
            why: error.to_string(),
        })
    }

    /// Writes down what became of it, and only then lets it go.
    async fn conclude(&self, outgoing: Outgoing, verdict: Verdict) {
        let id = outgoing.id;
        let is_damaged = outgoing.progress.is_damaged.load(Ordering::Relaxed);
        let origin = origin_of(&outgoing.record.metadata);
        let (note, outcome) = match &verdict {
            _ if is_damaged => (Note::Damaged, "damaged"),
            Verdict::Delivered(status) => (Note::Delivered(*status), "delivered"),
            Verdict::Refused(status) => (Note::Refused(*status), "refused"),
            Verdict::Later { .. } => (Note::Failed, "later"),
        };
        match &note {
            Note::Delivered(_) => self.figures.delivered.add(1),
            Note::Refused(_) => self.figures.refused.add(1),
            Note::Damaged => self.figures.damaged.add(1),
            _ => self.figures.later.add(1),
        }
        let why = match &verdict {
            Verdict::Later { why, .. } => why.clone(),
            Verdict::Delivered(status) | Verdict::Refused(status) => status.to_string(),
        };
        self.log.often(
            outcome,
            &[("upload", &id.public()), ("origin", &origin), ("why", &why)],
        );
        // One that was taken back meanwhile is unknown, and a disk that fails has told so.
        let is_noted = self.store.note(id, note).await.is_ok();
        let sent = outgoing.progress.sent.load(Ordering::Relaxed);
        let attempts = outgoing.record.attempts + 1;
        // Its blocks can be given back only when nobody holds them.
        drop(outgoing);
        self.rest(id, &origin, verdict, attempts, sent);
        if !is_noted {
            let until = Instant::now() + RETRY_TIME_MAX;
            self.state().pauses.insert(id, until);
        }
    }

    /// Lets what failed, and the origin if it is its fault, alone for a while.
    fn rest(&self, id: Id, origin: &str, verdict: Verdict, attempts: u32, sent: u64) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(flight) = state.flights.remove(&id) else {
            return;
        };
        if state.served.len() >= SENDERS_MAX {
            state.served.clear();
        }
        *state.served.entry(flight.sender).or_default() += sent;
        let time = now.saturating_duration_since(flight.began);
        state.speed = view::average(state.speed, sent, time);
        state.pauses.retain(|_, until| *until > now);
        match verdict {
            Verdict::Later {
                retry_after,
                is_origin,
                ..
            } => {
                let pause = schedule::pause(attempts, random(), retry_after);
                state.pauses.insert(id, now + pause);
                if is_origin {
                    let known = state.origins.get(origin).copied();
                    let held = known.map_or((Duration::ZERO, 0), |(until, failures)| {
                        (left(Some(until), now), failures)
                    });
                    let (time, failures) = schedule::hold(held, random(), retry_after);
                    let held = (now + time, failures);
                    state.origins.insert(origin.to_owned(), held);
                }
            }
            Verdict::Delivered(_) | Verdict::Refused(_) => drop(state.origins.remove(origin)),
        }
    }
}

/// How long it is until then.
fn left(until: Option<Instant>, now: Instant) -> Duration {
    until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
}

/// The origin's name, as the schedule knows it.
fn origin_of(metadata: &metadata::Metadata) -> String {
    let place = metadata.text(metadata::URL).and_then(Place::parse);
    place.map_or_else(String::new, |place| place.host)
}

/// By which an origin knows an upload that comes again: of its name, which itself stays secret.
fn idempotency_key(id: Id) -> String {
    format!("edgecloud-{}", id.public())
}

/// 0 if there is none: then pauses are a little longer.
fn random() -> u32 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
