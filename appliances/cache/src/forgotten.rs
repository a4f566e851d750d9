//! Since when a load has been under way: what was forgotten meanwhile must not come back by it.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::INVALIDATED_MAX;
use crate::store::Key;

/// Counts purges, and remembers which addresses were made invalid last.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    purges: AtomicU64,
    invalidated: Mutex<Invalidated>,
    /// Nobody outside knows which addresses would be taken for one.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Invalidated {
    /// How many there were.
    count: u64,
    /// The last of them, by their number, and hashed.
    last: VecDeque<(u64, u64)>,
    /// The number of the last that is not among them any more.
    lost: u64,
}

/// When a load began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since {
    purges: u64,
    invalidated: u64,
}

impl Forgotten {
    /// A load begins.
    pub(crate) fn now(&self) -> Since {
        Since {
            purges: self.purges.load(Ordering::Relaxed),
            invalidated: self.invalidated().count,
        }
    }

    /// Whatever is under way may be meant.
    pub(crate) fn purge(&self) {
        self.purges.fetch_add(1, Ordering::Relaxed);
    }

    /// What is under way for an address is of before.
    pub(crate) fn invalidate(&self, key: &Key) {
        let hash = self.hasher.hash_one(key);
        let mut invalidated = self.invalidated();
        invalidated.count += 1;
        let number = invalidated.count;
        // Who makes one address invalid again and again takes one place.
        invalidated.last.retain(|(_, other)| *other != hash);
        if invalidated.last.len() == INVALIDATED_MAX
            && let Some((lost, _)) = invalidated.last.pop_front()
        {
            invalidated.lost = lost;
        }
        invalidated.last.push_back((number, hash));
    }

    /// Whether an address was forgotten since, or so much was that it may have been.
    pub(crate) fn has(&self, key: &Key, since: Since) -> bool {
        if self.purges.load(Ordering::Relaxed) != since.purges {
            return true;
        }
        let invalidated = self.invalidated();
        if invalidated.count == since.invalidated {
            return false;
        }
        let hash = self.hasher.hash_one(key);
        let is_later = |(number, _): &&(u64, u64)| *number > since.invalidated;
        let mut later = invalidated.last.iter().rev().take_while(is_later);
        invalidated.lost > since.invalidated || later.any(|(_, other)| *other == hash)
    }

    fn invalidated(&self) -> MutexGuard<'_, Invalidated> {
        self.invalidated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::from(format!("http://a.example/{number}"))
    }

    #[test]
    fn an_address_is_forgotten_by_its_own_invalidation_and_by_any_purge() {
        let forgotten = Forgotten::default();
        forgotten.invalidate(&key(1));
        let since = forgotten.now();
        for number in 2..INVALIDATED_MAX {
            forgotten.invalidate(&key(number));
            assert!(forgotten.has(&key(number), since));
        }
        assert!(!forgotten.has(&key(1), since), "it was before");
        assert!(!forgotten.has(&key(0), since));
        assert!(!forgotten.has(&key(2), forgotten.now()));
        forgotten.purge();
        assert!(forgotten.has(&key(0), since));
        assert!(!forgotten.has(&key(0), forgotten.now()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_comes_back_for_that() {
        let forgotten = Forgotten::default();
        let since = forgotten.now();
        for _ in 0..3 * INVALIDATED_MAX {
            forgotten.invalidate(&key(1));
        }
        assert!(!forgotten.has(&key(0), since), "one address, one place");
        for number in 2..INVALIDATED_MAX + 2 {
            forgotten.invalidate(&key(number));
        }
        assert_eq!(forgotten.invalidated().last.len(), INVALIDATED_MAX);
        assert!(forgotten.has(&key(0), since), "who knows");
        assert!(!forgotten.has(&key(0), forgotten.now()));
    }
}
