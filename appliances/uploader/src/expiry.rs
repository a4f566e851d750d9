//! What is forgotten, and when. Only time that the program ran counts, so that a clock that jumps forgets
//! nothing; and what is whole and not delivered is never forgotten.

use std::time::{Duration, Instant};

use edgecloud_appliance::{Gate, Log};

use crate::figures::Figures;
use crate::id::Id;
use crate::limits::{EXPIRY_TIME, SAME_TIME_MAX};
use crate::store::{Delivery, Ledger, Store};

/// How long what needs nobody's care any more is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keep {
    /// An upload that nobody goes on with.
    pub(crate) unfinished: Duration,
    /// One that its origin has.
    pub(crate) delivered: Duration,
    /// One that its origin does not want, so that this is the last copy of what a client was told is safe.
    pub(crate) refused: Duration,
}

impl Keep {
    /// What is only kept to be looked at goes earlier where others need the room.
    fn when(self, is_tight: bool) -> Keep {
        match is_tight {
            true => Keep {
                unfinished: self.unfinished,
                delivered: self.delivered.min(SAME_TIME_MAX),
                refused: self.refused.min(self.delivered),
            },
            false => self,
        }
    }
}

/// Forgets what has expired, and tells what the disk does, for as long as it is polled.
pub(crate) async fn watch(store: Store, keep: Keep, figures: Figures, gate: Gate, log: Log) {
    let mut is_failed = false;
    loop {
        let gone = expired(&store.ledger(), Instant::now(), keep);
        for id in gone {
            if store.remove(id).await.is_ok() {
                figures.forgotten.add(1);
            }
        }
        let failed = {
            let ledger = store.ledger();
            figures
                .free_bytes
                .set(i64::try_from(ledger.blocks.0 * 4096).unwrap_or(i64::MAX));
            let waiting = ledger
                .iter()
                .filter(|(_, entry)| entry.is_waiting())
                .count();
            figures
                .waiting
                .set(i64::try_from(waiting).unwrap_or(i64::MAX));
            ledger.failed.clone()
        };
        if let Some(why) = failed.filter(|_| !is_failed) {
            is_failed = true;
            gate.close();
            log.tell(
                "the disk fails: nothing is taken until it is looked at",
                &[("cause", &why)],
            );
        }
        tokio::select! {
            () = store.failed() => {}
            () = tokio::time::sleep(EXPIRY_TIME) => {}
        }
    }
}

/// The uploads that are forgotten now.
fn expired(ledger: &Ledger, now: Instant, keep: Keep) -> Vec<Id> {
    let keep = keep.when(ledger.is_tight());
    let is_over = |entry: &crate::store::Entry| {
        let idle = now.saturating_duration_since(entry.touched);
        match (
            entry.record.whole,
            entry.record.partial,
            entry.record.delivery,
        ) {
            (None, ..) | (Some(_), true, _) => idle >= keep.unfinished,
            (Some(_), false, Delivery::Waiting) => false,
            (Some(_), false, Delivery::Delivered { .. }) => idle >= keep.delivered,
            (Some(_), false, _) => idle >= keep.refused,
        }
    };
    ledger
        .iter()
        .filter(|(_, entry)| is_over(entry))
        .map(|(id, _)| id)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metadata::Metadata;
    use crate::store::{Faulty, Note};

    async fn upload(store: &Store, note: Note) -> Id {
        let made = store.create(Some(0), false, Metadata::default(), None);
        let id = made.await.expect("made");
        store.note(id, note).await.expect("noted");
        id
    }

    #[tokio::test]
    async fn the_last_copy_is_kept_longer_than_one_that_its_origin_has() {
        let store = Store::start(Arc::new(Faulty::of_size(32 << 20))).expect("a store");
        let delivered = upload(&store, Note::Delivered(201)).await;
        let refused = upload(&store, Note::Refused(401)).await;
        let hour = Duration::from_secs(3600);
        let keep = Keep {
            unfinished: hour,
            delivered: hour,
            refused: 24 * hour,
        };
        let later = |time| expired(&store.ledger(), Instant::now() + time, keep);
        assert_eq!(later(Duration::ZERO), []);
        assert_eq!(later(2 * hour), [delivered]);
        assert_eq!(later(25 * hour).len(), 2);
        // Others need the room.
        let tight = keep.when(true);
        assert_eq!((tight.delivered, tight.refused), (SAME_TIME_MAX, hour));
        assert!(store.ledger().get(refused).is_some());
    }
}
