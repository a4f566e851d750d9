//! What is forgotten, and when. Only time that the program ran counts, so that a clock that jumps forgets
//! nothing; and what is whole and not delivered is never forgotten.

use std::time::{Duration, Instant};

use edgecloud_appliance::{Gate, Log};

use crate::figures::Figures;
use crate::id::Id;
use crate::limits::EXPIRY_TIME;
use crate::store::{Delivery, Ledger, Store};

/// Forgets what has expired, and tells what the disk does, for as long as it is polled.
pub(crate) async fn watch(
    store: Store,
    unfinished: Duration,
    keep: Duration,
    figures: Figures,
    gate: Gate,
    log: Log,
) {
    let mut is_failed = false;
    loop {
        let gone = expired(&store.ledger(), Instant::now(), unfinished, keep);
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
fn expired(ledger: &Ledger, now: Instant, unfinished: Duration, keep: Duration) -> Vec<Id> {
    let is_over = |entry: &crate::store::Entry| {
        let idle = now.saturating_duration_since(entry.touched);
        match (
            entry.record.whole,
            entry.record.partial,
            entry.record.delivery,
        ) {
            (None, ..) | (Some(_), true, _) => idle >= unfinished,
            (Some(_), false, Delivery::Waiting) => false,
            (Some(_), false, _) => idle >= keep,
        }
    };
    ledger
        .iter()
        .filter(|(_, entry)| is_over(entry))
        .map(|(id, _)| id)
        .collect()
}
