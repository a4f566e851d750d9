//! Advisory locks on a file: flock(2), and fcntl(2)'s locks of open file descriptions (F_OFD_SETLK).
//!
//! Both belong to an open file description, and the two kinds do not see each other, as on Linux. A process's
//! own locks (F_SETLK) never conflict here, where there is one process.

use alloc::vec::Vec;
use core::ops::Range;

/// An open file description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner(pub u64);

/// Whether others may have the same lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are flock(2)'s")]
pub enum Kind {
    Shared,
    Exclusive,
}

impl Kind {
    fn conflicts_with(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// Somebody else has a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Conflict;

/// A lock on some bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeLock {
    /// Who has it.
    pub owner: Owner,
    /// What it allows.
    pub kind: Kind,
    /// The bytes; an end of `u64::MAX` is beyond every length.
    pub range: Range<u64>,
}

/// The locks on one file.
#[derive(Default)]
pub struct Locks {
    whole: Vec<(Owner, Kind)>,
    ranges: Vec<RangeLock>,
}

impl Locks {
    /// Locks the file, or changes the lock that `owner` has, or unlocks it (flock(2)).
    pub fn lock_whole(&mut self, owner: Owner, kind: Option<Kind>) -> Result<(), Conflict> {
        if let Some(kind) = kind
            && self
                .whole
                .iter()
                .any(|&(other, has)| other != owner && kind.conflicts_with(has))
        {
            return Err(Conflict);
        }
        self.whole.retain(|&(other, _)| other != owner);
        self.whole.extend(kind.map(|kind| (owner, kind)));
        Ok(())
    }

    /// Locks bytes, or changes what `owner` has of them, or unlocks them (F_OFD_SETLK).
    pub fn lock_range(
        &mut self,
        owner: Owner,
        range: Range<u64>,
        kind: Option<Kind>,
    ) -> Result<(), Conflict> {
        if let Some(kind) = kind
            && self.conflict(owner, &range, kind).is_some()
        {
            return Err(Conflict);
        }
        let mut kept = Vec::new();
        for lock in self.ranges.drain(..) {
            if lock.owner != owner {
                kept.push(lock);
                continue;
            }
            let before = lock.range.start..lock.range.end.min(range.start);
            let after = lock.range.start.max(range.end)..lock.range.end;
            let rest = [before, after].into_iter().filter(|rest| !rest.is_empty());
            kept.extend(rest.map(|range| RangeLock {
                range,
                ..lock.clone()
            }));
        }
        kept.extend(kind.map(|kind| RangeLock { owner, kind, range }));
        self.ranges = kept;
        Ok(())
    }

    /// A lock of somebody else's that `owner` would wait for (F_OFD_GETLK).
    pub fn conflict(&self, owner: Owner, range: &Range<u64>, kind: Kind) -> Option<&RangeLock> {
        self.ranges.iter().find(|lock| {
            lock.owner != owner
                && kind.conflicts_with(lock.kind)
                && lock.range.start < range.end
                && range.start < lock.range.end
        })
    }

    /// `owner` is closed; whether it had locks.
    pub fn release(&mut self, owner: Owner) -> bool {
        let before = self.whole.len() + self.ranges.len();
        self.whole.retain(|&(other, _)| other != owner);
        self.ranges.retain(|lock| lock.owner != owner);
        before != self.whole.len() + self.ranges.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Kind::{Exclusive, Shared};
    use super::*;

    const A: Owner = Owner(1);
    const B: Owner = Owner(2);

    #[test]
    fn whole_files_are_shared_or_not() {
        let mut locks = Locks::default();
        assert_eq!(locks.lock_whole(A, Some(Shared)), Ok(()));
        assert_eq!(locks.lock_whole(B, Some(Shared)), Ok(()));
        assert_eq!(locks.lock_whole(A, Some(Exclusive)), Err(Conflict));
        assert_eq!(locks.lock_whole(B, None), Ok(()));
        assert_eq!(locks.lock_whole(A, Some(Exclusive)), Ok(()));
        assert_eq!(locks.lock_whole(B, Some(Shared)), Err(Conflict));
        assert_eq!(
            locks.lock_range(B, 0..10, Some(Exclusive)),
            Ok(()),
            "the other kind"
        );
        assert!(locks.release(A) && !locks.release(A));
        assert_eq!(locks.lock_whole(B, Some(Exclusive)), Ok(()));
    }

    #[test]
    fn ranges_conflict_where_they_overlap() {
        let mut locks = Locks::default();
        assert_eq!(locks.lock_range(A, 10..20, Some(Exclusive)), Ok(()));
        for (range, conflicts) in [
            (0..10, false),
            (0..11, true),
            (19..30, true),
            (20..u64::MAX, false),
        ] {
            let found = locks.conflict(B, &range, Shared).is_some();
            assert_eq!(found, conflicts, "{range:?}");
            assert!(locks.conflict(A, &range, Exclusive).is_none());
        }
    }

    #[test]
    fn unlocking_the_middle_leaves_the_ends() {
        let mut locks = Locks::default();
        assert_eq!(locks.lock_range(A, 0..u64::MAX, Some(Exclusive)), Ok(()));
        assert_eq!(locks.lock_range(A, 10..20, None), Ok(()));
        assert_eq!(locks.lock_range(B, 10..20, Some(Exclusive)), Ok(()));
        for range in [0..11, 19..30] {
            assert_eq!(locks.lock_range(B, range, Some(Shared)), Err(Conflict));
        }
        assert_eq!(locks.lock_range(A, 5..15, Some(Shared)), Err(Conflict));
        assert_eq!(locks.lock_range(A, 5..10, Some(Shared)), Ok(()));
        assert_eq!(locks.lock_range(B, 5..10, Some(Shared)), Ok(()));
        assert_eq!(locks.lock_range(B, 4..6, Some(Shared)), Err(Conflict));
    }
}
