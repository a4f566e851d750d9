//! Request collapsing: of many requests for what is not stored, one goes to the origin.
//!
//! The others wait for the head of its answer alone. If that is stored they read the body while it
//! arrives; if it is not for sharing, each goes its own way at once, so that nobody queues behind an
//! answer that he cannot have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::store::Key;

/// Requests that are under way, by key; bounded by the clients' connections and streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<Option<Shared>>>>>);

/// What became of the answer of the one that went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shared {
    /// It is in the store.
    Stored,
    /// It is for nobody else.
    Alone,
}

/// Whether to go or to wait.
pub(crate) enum Boarding {
    Lead(Lead),
    Join(watch::Receiver<Option<Shared>>),
}

/// The one that goes. Dropped without a word (its client went away), another may go.
pub(crate) struct Lead {
    flights: Flights,
    key: Key,
    tell: watch::Sender<Option<Shared>>,
}

impl Flights {
    pub(crate) fn board(&self, key: &Key) -> Boarding {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(key) {
            return Boarding::Join(flight.clone());
        }
        let (tell, told) = watch::channel(None);
        flights.insert(Arc::clone(key), told);
        Boarding::Lead(Lead {
            flights: self.clone(),
            key: Arc::clone(key),
            tell,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<Shared>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Tells those who wait, and lets the next one go.
    pub(crate) fn land(self, shared: Shared) {
        self.tell.send_replace(Some(shared));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

/// Waits for the head; None: the one that went is gone, and another may go.
pub(crate) async fn landed(mut flight: watch::Receiver<Option<Shared>>) -> Option<Shared> {
    let told = flight.wait_for(Option::is_some).await;
    told.ok().and_then(|told| *told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_goes_and_the_others_hear_of_it() {
        let (flights, key) = (Flights::default(), Key::from("http://a.example/"));
        let Boarding::Lead(lead) = flights.board(&key) else {
            panic!("nobody was there before")
        };
        let Boarding::Join(first) = flights.board(&key) else {
            panic!("one has gone")
        };
        lead.land(Shared::Stored);
        assert_eq!(landed(first).await, Some(Shared::Stored));
        let Boarding::Lead(gone) = flights.board(&key) else {
            panic!("the first has landed")
        };
        let Boarding::Join(second) = flights.board(&key) else {
            panic!("one has gone")
        };
        drop(gone);
        assert_eq!(landed(second).await, None);
        assert!(matches!(flights.board(&key), Boarding::Lead(_)));
    }
}
