//! The figures that every appliance has.

use std::time::Duration;

use axum::http::StatusCode;

use crate::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

/// Answers by the first digit of their status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Figures of a listener for clients.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    accepted: Counter,
    open: Gauge,
    handshakes_failed: Counter,
    meant_for_others: Counter,
    answers: [Counter; CLASSES.len()],
    seconds: Histogram,
}

/// A connection that is open until this is dropped.
pub(crate) struct Open(Gauge);

impl Figures {
    pub(crate) fn of(registry: &Registry, listener: &str) -> Self {
        let labels = [("listener", listener)];
        let answers = CLASSES.map(|class| {
            let labels = [("listener", listener), ("class", class)];
            let help = "Requests that were answered, by class of status.";
            registry.counter("edgecloud_answers_total", help, &labels)
        });
        Self {
            accepted: registry.counter(
                "edgecloud_connections_total",
                "Connections that were accepted.",
                &labels,
            ),
            open: registry.gauge(
                "edgecloud_connections_open",
                "Connections that are open.",
                &labels,
            ),
            handshakes_failed: registry.counter(
                "edgecloud_handshakes_failed_total",
                "TLS handshakes that failed or took too long.",
                &labels,
            ),
            meant_for_others: registry.counter(
                "edgecloud_meant_for_others_total",
                "TLS connections that were reset because they were meant for others.",
                &labels,
            ),
            answers,
            seconds: registry.histogram(
                "edgecloud_answer_seconds",
                "From the head of a request to the head of its answer.",
                &labels,
                SECONDS,
            ),
        }
    }

    pub(crate) fn accepted(&self) -> Open {
        self.accepted.add(1);
        self.open.add(1);
        Open(self.open.clone())
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.add(1);
    }

    pub(crate) fn meant_for_others(&self) {
        self.meant_for_others.add(1);
    }

    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(answers) = self.answers.get(class) {
            answers.add(1);
        }
        self.seconds.observe_time(after);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
