//! What the cache counts, for each publisher.

use axum::body::Body;
use edgecloud_appliance::metrics::{Counter, Registry};
use http::Response;
use http_body::Body as _;

use crate::fetched::Broken;

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the store.
    Hit,
    /// From what another request was fetching.
    Joined,
    /// From the store, after the origin said that it holds.
    Validated,
    /// From the store, because the origin failed.
    Outlived,
    /// From the origin, and stored.
    Missed,
    /// From the origin, and not stored.
    Passed,
}

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Hit, "hit"),
    (Outcome::Joined, "joined"),
    (Outcome::Validated, "validated"),
    (Outcome::Outlived, "outlived"),
    (Outcome::Missed, "missed"),
    (Outcome::Passed, "passed"),
];

/// The counters of a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    requests: Vec<(Outcome, Counter)>,
    served: Counter,
    saved: Counter,
    fetched: Counter,
    broken: Vec<(Broken, Counter)>,
}

impl Figures {
    pub(crate) fn of(registry: &Registry, publisher: &str) -> Self {
        let count = |(outcome, name): &(Outcome, &str)| {
            let help = "Requests by how they were answered.";
            let labels = [("publisher", publisher), ("outcome", *name)];
            let counter = registry.counter("edgecloud_cache_requests_total", help, &labels);
            (*outcome, counter)
        };
        let broken = |reason: &Broken| {
            let help = "Bodies from the origin that did not arrive, by reason.";
            let labels = [("publisher", publisher), ("reason", reason.reason())];
            let counter = registry.counter("edgecloud_cache_broken_bodies_total", help, &labels);
            (*reason, counter)
        };
        let bytes = |name, help| registry.counter(name, help, &[("publisher", publisher)]);
        Self {
            requests: OUTCOMES.iter().map(count).collect(),
            served: bytes(
                "edgecloud_cache_served_bytes_total",
                "Bytes of bodies that answers promised to clients.",
            ),
            saved: bytes(
                "edgecloud_cache_saved_bytes_total",
                "Bytes of bodies that did not come over the backhaul.",
            ),
            fetched: bytes(
                "edgecloud_cache_fetched_bytes_total",
                "Bytes of bodies that came from the origin to be stored.",
            ),
            broken: Broken::ALL.iter().map(broken).collect(),
        }
    }

    /// Requests that were answered so.
    pub(crate) fn requests(&self, outcome: Outcome) -> u64 {
        let of_it = self.requests.iter().filter(|(one, _)| *one == outcome);
        of_it.map(|(_, counter)| counter.get()).sum()
    }

    /// Requests that the origin did not see, and all.
    pub(crate) fn hits(&self) -> (u64, u64) {
        let count = |outcome| self.requests(outcome);
        let hits = count(Outcome::Hit) + count(Outcome::Joined) + count(Outcome::Outlived);
        let others = count(Outcome::Validated) + count(Outcome::Missed) + count(Outcome::Passed);
        (hits, hits + others)
    }

    /// Bytes of bodies that did not come over the backhaul.
    pub(crate) fn saved(&self) -> u64 {
        self.saved.get()
    }

    /// Bytes of bodies that were promised to clients.
    pub(crate) fn served(&self) -> u64 {
        self.served.get()
    }

    /// Counts bytes that came from the origin.
    pub(crate) fn fetched(&self, bytes: usize) {
        self.fetched.add(bytes as u64);
    }

    /// Counts a body that did not arrive.
    pub(crate) fn broke(&self, reason: Broken) {
        if let Some((_, counter)) = self.broken.iter().find(|(one, _)| *one == reason) {
            counter.add(1);
        }
    }

    pub(crate) fn count(&self, outcome: Outcome, response: &Response<Body>) {
        if let Some((_, counter)) = self.requests.iter().find(|(one, _)| *one == outcome) {
            counter.add(1);
        }
        let bytes = response.body().size_hint().lower();
        self.served.add(bytes);
        if !matches!(outcome, Outcome::Missed | Outcome::Passed) {
            self.saved.add(bytes);
        }
    }
}
