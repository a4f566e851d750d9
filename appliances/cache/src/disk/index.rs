//! Which records are there, by the hash of their address: in memory, bounded, oldest first to go.

use std::collections::{HashMap, VecDeque};

use crate::limits::VARIANTS_MAX;
use crate::purge::Ban;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) length: u32,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Newest last.
    places: HashMap<u64, Vec<Place>>,
    /// All that was inserted, by position; some may be gone.
    order: VecDeque<(u64, u64)>,
    /// What was forbidden, with its position: it concerns records before that.
    bans: VecDeque<(u64, Ban)>,
    records: usize,
    records_max: usize,
}

impl Index {
    pub(super) fn new(records_max: usize) -> Self {
        Self {
            records_max,
            ..Self::default()
        }
    }

    /// Notes a record, which is behind all others.
    pub(super) fn insert(&mut self, hash: u64, place: Place) {
        let places = self.places.entry(hash).or_default();
        if places.len() == VARIANTS_MAX {
            places.remove(0);
            self.records -= 1;
        }
        places.push(place);
        self.records += 1;
        self.order.push_back((place.position, hash));
        while self.records > self.records_max
            && let Some(&(position, _)) = self.order.front()
        {
            self.forget_before(position + 1);
        }
    }

    /// The records of an address, newest first.
    pub(super) fn get(&self, hash: u64) -> Vec<Place> {
        let places = self.places.get(&hash);
        places.into_iter().flatten().rev().copied().collect()
    }

    pub(super) fn has(&self, hash: u64) -> bool {
        self.places.contains_key(&hash)
    }

    /// Forgets all records of an address.
    pub(super) fn remove(&mut self, hash: u64) {
        self.records -= self.places.remove(&hash).map_or(0, |places| places.len());
    }

    /// Forgets one record.
    pub(super) fn remove_one(&mut self, hash: u64, position: u64) {
        if let Some(places) = self.places.get_mut(&hash) {
            let before = places.len();
            places.retain(|place| place.position != position);
            self.records -= before - places.len();
            if places.is_empty() {
                self.places.remove(&hash);
            }
        }
    }

    /// Forgets what lies before a position.
    pub(super) fn forget_before(&mut self, position: u64) {
        while let Some(&(oldest, hash)) = self.order.front()
            && oldest < position
        {
            self.order.pop_front();
            self.remove_one(hash, oldest);
        }
        while self.bans.front().is_some_and(|(at, _)| *at < position) {
            self.bans.pop_front();
        }
    }

    pub(super) fn ban(&mut self, position: u64, ban: Ban) {
        self.bans.push_back((position, ban));
    }

    /// Whether a record that lies there was forbidden later.
    pub(super) fn is_banned(&self, position: u64, forbids: impl Fn(&Ban) -> bool) -> bool {
        let mut later = self.bans.iter().filter(|(at, _)| *at > position);
        later.any(|(_, ban)| forbids(ban))
    }

    /// Records that are there.
    pub(super) fn records(&self) -> usize {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_what_was_forbidden_with_them() {
        let mut index = Index::new(3);
        let place = |position| Place {
            position,
            length: 1,
        };
        index.insert(1, place(0));
        index.insert(1, place(10));
        index.ban(15, "tag a".parse().expect("a ban"));
        index.insert(2, place(20));
        assert_eq!(index.get(1), [place(10), place(0)]);
        assert!(index.is_banned(10, |_| true) && !index.is_banned(20, |_| true));
        index.insert(3, place(30));
        assert_eq!((index.get(1), index.records()), (vec![place(10)], 3));
        index.forget_before(20);
        assert_eq!((index.has(1), index.records()), (false, 2));
        assert!(!index.is_banned(10, |_| true));
        index.remove(2);
        index.remove_one(3, 30);
        assert_eq!(index.records(), 0);
    }
}
