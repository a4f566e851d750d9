//! What the cache counts.

use axum::body::Body;
use edgecloud_appliance::metrics::{Counter, Registry};
use http::Response;
use http_body::Body as _;

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

/// The counters.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    requests: Vec<(Outcome, Counter)>,
    saved: Counter,
}

impl Figures {
    pub(crate) fn of(registry: &Registry) -> Self {
        let count = |(outcome, name): &(Outcome, &str)| {
            let help = "Requests by how they were answered.";
            let counter =
                registry.counter("edgecloud_cache_requests_total", help, &[("outcome", name)]);
            (*outcome, counter)
        };
        let help = "Bytes of bodies that did not come over the backhaul.";
        Self {
            requests: OUTCOMES.iter().map(count).collect(),
            saved: registry.counter("edgecloud_cache_saved_bytes_total", help, &[]),
        }
    }

    /// Requests that were answered so.
    pub(crate) fn requests(&self, outcome: Outcome) -> u64 {
        let of_it = self.requests.iter().filter(|(one, _)| *one == outcome);
        of_it.map(|(_, counter)| counter.get()).sum()
    }

    /// Bytes of bodies that did not come over the backhaul.
    pub(crate) fn saved(&self) -> u64 {
        self.saved.get()
    }

    pub(crate) fn count(&self, outcome: Outcome, response: &Response<Body>) {
        if let Some((_, counter)) = self.requests.iter().find(|(one, _)| *one == outcome) {
            counter.add(1);
        }
        if !matches!(outcome, Outcome::Missed | Outcome::Passed) {
            self.saved.add(response.body().size_hint().lower());
        }
    }
}
