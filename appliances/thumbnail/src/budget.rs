//! The memory that bodies may hold, and each client's share of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::CLIENT_SHARE;

/// All of it.
#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// A part of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    client: IpAddr,
    bytes: usize,
}

/// Bytes with the room that is reserved for them.
struct Held {
    bytes: Vec<u8>,
    _reservation: Reservation,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// For anybody.
    All,
    /// For this client, who has its share.
    Client,
}

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Budget> {
        Arc::new(Budget {
            total,
            held: Mutex::default(),
        })
    }

    /// Reserves, or says for whom there is no room. Nobody waits: the origin is there.
    pub(crate) fn reserve(
        self: &Arc<Budget>,
        client: IpAddr,
        bytes: usize,
    ) -> Result<Reservation, Full> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(&client).copied().unwrap_or(0);
        if own + bytes > self.total / CLIENT_SHARE {
            return Err(Full::Client);
        }
        if held.values().sum::<usize>() + bytes > self.total {
            return Err(Full::All);
        }
        held.insert(client, own + bytes);
        Ok(Reservation {
            budget: Arc::clone(self),
            client,
            bytes,
        })
    }
}

impl Reservation {
    /// Bytes that hold it for as long as any part of them is somewhere: on its way out, too.
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Held {
            bytes,
            _reservation: self,
        })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = self
            .budget
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.client) {
            *own -= self.bytes;
            if *own == 0 {
                held.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_it_all() {
        let budget = Budget::new(100);
        let client = |last| IpAddr::from([10, 0, 0, last]);
        let first = budget.reserve(client(1), 40).expect("room");
        assert_eq!(budget.reserve(client(1), 11).err(), Some(Full::Client));
        let second = budget.reserve(client(2), 50).expect("room");
        assert_eq!(budget.reserve(client(3), 11).err(), Some(Full::All));
        drop(first);
        assert!(budget.reserve(client(3), 50).is_ok());
        drop(second);
        assert!(budget.held.lock().expect("held").is_empty());
    }
}
