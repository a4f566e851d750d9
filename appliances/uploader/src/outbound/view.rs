//! What is on its way, for the status.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::destination::priority;
use crate::id::Id;
use crate::outbound::{Outbound, State as Sending, left, now_s, origin_of};
use crate::schedule::Priority;
use crate::status::{Report, Shown, State};
use crate::store::{Delivery, Entry};

impl Outbound {
    /// What the operator sees.
    pub(crate) fn report(&self) -> Report {
        let (now, seconds) = (Instant::now(), now_s());
        let terms = self.settings.timetable.at(seconds);
        let price_max = self.settings.original_price_max;
        let state = self.state();
        let ledger = self.store.ledger();
        let show = |(id, entry): (Id, &Entry)| self.show(id, entry, &state, now, seconds);
        let mut report = Report {
            disk_bytes: ledger.blocks.1 * 4096,
            disk_bytes_free: ledger.blocks.0 * 4096,
            disk_failed: ledger.failed.clone(),
            price: terms.price,
            is_cheap: terms.price <= price_max,
            cheap_in_s: self.settings.timetable.seconds_until(price_max, seconds),
            bytes_per_second: speed(&state, now),
            waiting: 0,
            waiting_bytes: 0,
            more: 0,
            uploads: ledger.iter().map(show).collect(),
        };
        drop(ledger);
        drop(state);
        report.conclude();
        report
    }

    fn show(&self, id: Id, entry: &Entry, state: &Sending, now: Instant, now_s: u64) -> Shown {
        let record = &entry.record;
        let flight = state.flights.get(&id);
        let is_delivered = matches!(record.delivery, Delivery::Delivered { .. });
        let sent = match flight {
            Some(flight) => flight.progress.sent.load(Ordering::Relaxed),
            None if is_delivered => record.length.unwrap_or_default(),
            None => 0,
        };
        let rests = left(state.pauses.get(&id).copied(), now).max(self.rest_of(entry, now));
        Shown {
            id: id.public(),
            name: record
                .metadata
                .text("filename")
                .or(record.metadata.text("name"))
                .map(str::to_owned),
            origin: origin_of(&record.metadata),
            is_thumbnail: priority(&record.metadata) == Priority::Thumbnail,
            state: match (flight, record.delivery) {
                (Some(_), _) => State::Sending,
                (None, Delivery::Delivered { .. }) => State::Delivered,
                (None, Delivery::Refused { .. }) => State::Refused,
                (None, Delivery::Damaged) => State::Damaged,
                (None, Delivery::Waiting) if record.whole.is_none() => State::Arriving,
                (None, Delivery::Waiting) if record.partial => State::Part,
                (None, Delivery::Waiting) if record.twin_of.is_some() => State::Twin,
                (None, Delivery::Waiting) => State::Waiting,
            },
            digest: record.whole.map(|whole| whole.digest.to_string()),
            bytes: record.length,
            received: entry.offset(),
            sent,
            attempts: record.attempts,
            status: match record.delivery {
                Delivery::Delivered { status, .. } | Delivery::Refused { status, .. } => {
                    Some(status)
                }
                Delivery::Waiting | Delivery::Damaged => None,
            },
            age_s: now_s.saturating_sub(record.created_s),
            rests_s: rests.as_secs(),
            estimate_s: None,
        }
    }
}

/// What all that is under way takes now, or what the last ones took.
fn speed(state: &Sending, now: Instant) -> Option<u64> {
    let flights = state.flights.values();
    let rates: Vec<f64> = flights
        .map(|flight| {
            (
                flight.progress.sent.load(Ordering::Relaxed),
                now.saturating_duration_since(flight.began),
            )
        })
        .filter(|(sent, time)| *sent > 0 && *time >= Duration::from_secs(1))
        .map(|(sent, time)| sent as f64 / time.as_secs_f64())
        .collect();
    match rates.is_empty() {
        true => state.speed.map(|speed| speed as u64),
        false => Some(rates.iter().sum::<f64>() as u64),
    }
}

/// The speed as known after one more upload: the last ones count most.
pub(super) fn average(speed: Option<f64>, sent: u64, time: Duration) -> Option<f64> {
    let seconds = time.as_secs_f64();
    if sent == 0 || seconds <= 0.0 {
        return speed;
    }
    let last = sent as f64 / seconds;
    Some(speed.map_or(last, |speed| speed * 0.7 + last * 0.3))
}
