//! Since when a load has been under way: what was forgotten meanwhile must not come back by it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::FORGOTTEN_PLACES;
use crate::store::Key;

/// Counts purges, and addresses that were made invalid. A few of these share a count, so that a load is
/// seldom in vain because of another address, and nothing grows.
#[derive(Debug)]
pub(crate) struct Forgotten {
    purges: AtomicU64,
    invalidated: [AtomicU64; FORGOTTEN_PLACES],
    /// Nobody outside knows which share one.
    hasher: RandomState,
}

/// What was counted at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    purges: u64,
    invalidated: u64,
}

impl Default for Forgotten {
    fn default() -> Self {
        Self {
            purges: AtomicU64::new(0),
            invalidated: [const { AtomicU64::new(0) }; FORGOTTEN_PLACES],
            hasher: RandomState::new(),
        }
    }
}

impl Forgotten {
    /// What has been counted for an address.
    pub(crate) fn now(&self, key: &Key) -> Since {
        Since {
            purges: self.purges.load(Ordering::Relaxed),
            invalidated: self.place(key).load(Ordering::Relaxed),
        }
    }

    /// Whatever is under way may be meant.
    pub(crate) fn purge(&self) {
        self.purges.fetch_add(1, Ordering::Relaxed);
    }

    /// What is under way for an address is of before.
    pub(crate) fn invalidate(&self, key: &Key) {
        self.place(key).fetch_add(1, Ordering::Relaxed);
    }

    fn place(&self, key: &Key) -> &AtomicU64 {
        let hash = self.hasher.hash_one(key) % FORGOTTEN_PLACES as u64;
        &self.invalidated[usize::try_from(hash).unwrap_or(0)]
    }
}
