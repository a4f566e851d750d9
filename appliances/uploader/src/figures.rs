//! What is counted.

use edgecloud_appliance::metrics::{Counter, Gauge, Histogram, Registry, SECONDS};

/// The uploader's own figures.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    /// Bytes of bodies that clients sent.
    pub(crate) received: Counter,
    /// Uploads that are whole and durable.
    pub(crate) stored: Counter,
    /// From the last byte of a body to its durability.
    pub(crate) durable_time: Histogram,
    pub(crate) delivered: Counter,
    pub(crate) refused: Counter,
    pub(crate) later: Counter,
    pub(crate) damaged: Counter,
    pub(crate) forgotten: Counter,
    /// Bytes that origins took.
    pub(crate) sent: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) free_bytes: Gauge,
}

impl Figures {
    pub(crate) fn of(registry: &Registry) -> Figures {
        let counter = |name, help| registry.counter(name, help, &[]);
        let outcome = |outcome| {
            let help = "Attempts to send an upload to its origin, by what became of them.";
            registry.counter("uploader_attempts_total", help, &[("outcome", outcome)])
        };
        Figures {
            received: counter(
                "uploader_received_bytes_total",
                "Bytes of bodies that clients sent.",
            ),
            stored: counter(
                "uploader_stored_total",
                "Uploads that became whole and durable.",
            ),
            durable_time: registry.histogram(
                "uploader_durable_seconds",
                "From the last byte of a body to its durability.",
                &[],
                SECONDS,
            ),
            delivered: outcome("delivered"),
            refused: outcome("refused"),
            later: outcome("later"),
            damaged: outcome("damaged"),
            forgotten: counter("uploader_forgotten_total", "Uploads that expired."),
            sent: counter(
                "uploader_sent_bytes_total",
                "Bytes of bodies that origins took.",
            ),
            waiting: registry.gauge(
                "uploader_waiting",
                "Uploads that wait for their origin.",
                &[],
            ),
            free_bytes: registry.gauge(
                "uploader_free_bytes",
                "Bytes of the disk that may be promised to uploads.",
                &[],
            ),
        }
    }
}
