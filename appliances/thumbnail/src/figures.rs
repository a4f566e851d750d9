//! What is counted.

use edgecloud_appliance::metrics::{Counter, Histogram, Registry, SECONDS};

use crate::picture::PictureError;
use crate::reason::Pass;

/// The thumbnailer's own figures.
pub(crate) struct Figures {
    taken: Counter,
    passed: Vec<(Pass, Counter)>,
    failed: Vec<(&'static str, Counter)>,
    pub(crate) posted: Counter,
    pub(crate) refused: Counter,
    pub(crate) handed_over: Counter,
    pub(crate) lost: Counter,
    pub(crate) forgotten: Counter,
    pub(crate) decoding_time: Histogram,
}

/// [`PictureError::reason`]'s values.
const FAILURES: [&str; 6] = [
    "unknown-format",
    "too-many-pixels",
    "too-much-memory",
    "broken",
    "panicked",
    "stopped",
];

impl Figures {
    pub(crate) fn of(registry: &Registry) -> Figures {
        let passed = |reason: Pass| {
            let help =
                "Uploads and other requests that went to the origin as they were, by reason.";
            let labels = [("reason", reason.reason())];
            (
                reason,
                registry.counter("thumbnail_passed_total", help, &labels),
            )
        };
        let failed = |reason| {
            let help = "Pictures without thumbnails, by reason.";
            (
                reason,
                registry.counter("thumbnail_failed_total", help, &[("reason", reason)]),
            )
        };
        let outcome = |outcome| {
            let help = "Thumbnails, by what became of them.";
            registry.counter("thumbnail_thumbnails_total", help, &[("outcome", outcome)])
        };
        Figures {
            taken: registry.counter("thumbnail_taken_total", "Uploads that were taken.", &[]),
            passed: Pass::ALL.map(passed).into(),
            failed: FAILURES.map(failed).into(),
            posted: outcome("posted"),
            refused: outcome("refused"),
            handed_over: outcome("handed-over"),
            lost: outcome("lost"),
            forgotten: registry.counter(
                "thumbnail_forgotten_total",
                "Uploads by tus that went on after what had come of them was forgotten.",
                &[],
            ),
            decoding_time: registry.histogram(
                "thumbnail_decoding_seconds",
                "From a picture that is whole to its thumbnails.",
                &[],
                SECONDS,
            ),
        }
    }

    pub(crate) fn taken(&self) {
        self.taken.add(1);
    }

    pub(crate) fn passed(&self, reason: Pass) {
        if let Some((_, counter)) = self.passed.iter().find(|(of, _)| *of == reason) {
            counter.add(1);
        }
    }

    pub(crate) fn failed(&self, error: &PictureError) {
        if let Some((_, counter)) = self.failed.iter().find(|(of, _)| *of == error.reason()) {
            counter.add(1);
        }
    }
}
