//! Refusals: one enum of an appliance gives status, text, log line and metric.

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::connection::Ends;
use crate::log::Log;
use crate::metrics::{Counter, Registry};

/// Seconds that a client shall wait after 429 and 503, unless the refusal knows better.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Why a request is refused: an enum without fields, all of whose values are in `ALL`.
pub trait Refusal: Copy + 'static {
    /// Every value, for the counters.
    const ALL: &'static [Self];

    /// Its name in logs and metrics: `body-too-large`.
    fn reason(self) -> &'static str;

    /// The status of the answer.
    fn status(self) -> StatusCode;

    /// What the client is told: the cause, and what would be right.
    fn explanation(self) -> &'static str;

    /// When the client may come again; for 429 and 503.
    fn retry_after_seconds(self) -> u32 {
        RETRY_AFTER_SECONDS
    }
}

/// Refuses, logs and counts.
#[derive(Clone, Debug)]
pub struct Refusals {
    counters: Vec<(&'static str, Counter)>,
    log: Log,
}

impl Refusals {
    /// Those of a list of reasons.
    pub fn of<R: Refusal>(registry: &Registry, log: &Log) -> Self {
        let count = |refusal: &R| {
            let reason = refusal.reason();
            let help = "Requests that were refused, by reason.";
            let labels = [("reason", reason)];
            let counter = registry.counter("edgecloud_refusals_total", help, &labels);
            (reason, counter)
        };
        Self {
            counters: R::ALL.iter().map(count).collect(),
            log: log.clone(),
        }
    }

    /// The answer to a request that is refused, which is counted and logged.
    pub fn refuse(&self, refusal: impl Refusal, ends: &Ends) -> Response {
        self.note(refusal, ends);
        answer(refusal)
    }

    /// Counts and logs a refusal that is answered in another way.
    pub fn note(&self, refusal: impl Refusal, ends: &Ends) {
        let known = |(reason, _): &&(&str, Counter)| *reason == refusal.reason();
        if let Some((_, counter)) = self.counters.iter().find(known) {
            counter.add(1);
        }
        let (reason, status) = (refusal.reason(), refusal.status());
        let facts: [(&str, &dyn Display); 3] = [
            ("reason", &reason),
            ("status", &status.as_u16()),
            ("client", &ends.client()),
        ];
        self.log.often("refused", &facts);
    }
}

/// The answer alone.
fn answer(refusal: impl Refusal) -> Response {
    let status = refusal.status();
    let text = format!("{}\n", refusal.explanation());
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
    {
        let seconds = HeaderValue::from(refusal.retry_after_seconds());
        headers.insert(header::RETRY_AFTER, seconds);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Sample {
        Busy,
        Large,
    }

    impl Refusal for Sample {
        const ALL: &'static [Self] = &[Sample::Busy, Sample::Large];

        fn reason(self) -> &'static str {
            match self {
                Sample::Busy => "busy",
                Sample::Large => "large",
            }
        }

        fn status(self) -> StatusCode {
            match self {
                Sample::Busy => StatusCode::SERVICE_UNAVAILABLE,
                Sample::Large => StatusCode::PAYLOAD_TOO_LARGE,
            }
        }

        fn explanation(self) -> &'static str {
            "no"
        }
    }

    #[test]
    fn a_refusal_is_answered_and_counted() {
        let registry = Registry::default();
        let refusals = Refusals::of::<Sample>(&registry, &Log::new("sample"));
        let ends = Ends {
            peer: "[::ffff:10.0.0.1]:5000".parse().expect("an address"),
            local: None,
            tls: false,
        };
        let busy = refusals.refuse(Sample::Busy, &ends);
        assert_eq!(busy.status(), 503);
        assert_eq!(busy.headers()[header::RETRY_AFTER], "1");
        let large = refusals.refuse(Sample::Large, &ends);
        assert_eq!(large.status(), 413);
        assert!(!large.headers().contains_key(header::RETRY_AFTER));
        refusals.note(Sample::Large, &ends);
        let text = registry.text();
        for line in [
            "edgecloud_refusals_total{reason=\"busy\"} 1\n",
            "edgecloud_refusals_total{reason=\"large\"} 2\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
