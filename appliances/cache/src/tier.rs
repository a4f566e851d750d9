//! What is held in a bounded number of bytes: W-TinyLFU with a sampled main part.
//!
//! ```text
//!   new ──► window (first in, first out) ──contest──► main
//!                                             └─► the less popular of the two goes
//! ```
//! What is new stays in the window for a while whatever it is. What leaves that stands against the least
//! popular of some that the main part is asked for at random: one request never displaces what comes
//! again and again. What must not go (a response that still arrives) wins each contest.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use crate::popularity::Popularity;
use crate::store::Key;

/// A hundredth of the bytes are the window.
const WINDOW_SHARE: u64 = 100;
/// Keys in the window's queue that may be gone, beside twice those that are held.
const WINDOW_SLACK: usize = 16;
/// How many of the main part stand in one contest.
const SAMPLES: usize = 24;

/// What is held, by key.
#[derive(Debug)]
pub struct Tier<V> {
    slots: Vec<Slot<V>>,
    places: HashMap<Key, usize>,
    hasher: RandomState,
    popularity: Popularity,
    /// Keys in the window, oldest first; some may be gone or held anew.
    window: VecDeque<(Key, u64)>,
    window_bytes: u64,
    bytes: u64,
    bytes_max: u64,
    /// Counts what was inserted: a key in the window is known by it.
    inserted: u64,
    random: u64,
}

#[derive(Debug)]
struct Slot<V> {
    key: Key,
    value: V,
    hash: u64,
    weight: u64,
    /// The number under which it is in the window, if it is.
    window: Option<u64>,
}

/// What a tier holds.
pub trait Held {
    /// Bytes that it counts for; the same for as long as it is held.
    fn weight(&self) -> u64;
    /// Whether it must stay.
    fn must_stay(&self) -> bool;
}

impl<V: Held> Tier<V> {
    /// An empty tier of so many bytes, for about so many objects.
    pub fn new(bytes_max: u64, objects: usize) -> Self {
        Self {
            slots: Vec::new(),
            places: HashMap::new(),
            hasher: RandomState::new(),
            popularity: Popularity::of(objects),
            window: VecDeque::new(),
            window_bytes: 0,
            bytes: 0,
            bytes_max,
            inserted: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Finds a value for a request, which counts.
    pub fn find(&mut self, key: &Key) -> Option<&V> {
        self.popularity.count(self.hasher.hash_one(key));
        self.peek(key)
    }

    /// Finds a value.
    pub fn peek(&self, key: &str) -> Option<&V> {
        self.places.get(key).map(|&place| &self.slots[place].value)
    }

    /// Puts a value in the place of the key's last one, or into the window.
    pub fn insert(&mut self, key: &Key, value: V) {
        let weight = value.weight() + key.len() as u64;
        if let Some(&place) = self.places.get(key) {
            let slot = &mut self.slots[place];
            let before = std::mem::replace(&mut slot.weight, weight);
            slot.value = value;
            self.bytes = self.bytes - before + weight;
            if slot.window.is_some() {
                self.window_bytes = self.window_bytes - before + weight;
            }
        } else {
            self.inserted += 1;
            self.places.insert(Key::clone(key), self.slots.len());
            self.slots.push(Slot {
                key: Key::clone(key),
                value,
                hash: self.hasher.hash_one(key),
                weight,
                window: Some(self.inserted),
            });
            self.window.push_back((Key::clone(key), self.inserted));
            self.window_bytes += weight;
            self.bytes += weight;
        }
        self.shrink();
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &str) -> Option<V> {
        let place = *self.places.get(key)?;
        Some(self.take(place).value)
    }

    /// Removes what is chosen; how many.
    pub fn remove_all(&mut self, chosen: impl Fn(&Key, &V) -> bool) -> usize {
        let before = self.slots.len();
        let mut place = 0;
        while let Some(slot) = self.slots.get(place) {
            match chosen(&slot.key, &slot.value) {
                true => drop(self.take(place)), // Another is in its place now.
                false => place += 1,
            }
        }
        before - self.slots.len()
    }

    /// All that is held.
    pub fn each(&self) -> impl Iterator<Item = (&Key, &V)> {
        self.slots.iter().map(|slot| (&slot.key, &slot.value))
    }

    /// Keys and bytes that are held.
    pub fn held(&self) -> (usize, u64) {
        (self.slots.len(), self.bytes)
    }

    /// Moves what is too much out of the window, and lets it contend for a place.
    fn shrink(&mut self) {
        while self.window_bytes > self.bytes_max / WINDOW_SHARE
            && let Some(candidate) = self.leave_window()
        {
            self.contest(candidate);
        }
        // What grew, or is new, displaces others without a contest until it leaves the window.
        while self.bytes > self.bytes_max {
            let Some(victim) = self.victim(None).or_else(|| self.leave_window()) else {
                break;
            };
            self.take(victim);
        }
        if self.window.len() > 2 * self.slots.len() + WINDOW_SLACK {
            let (slots, places) = (&self.slots, &self.places);
            self.window.retain(|(key, number)| {
                let place = places.get(key);
                place.is_some_and(|&place| slots[place].window == Some(*number))
            });
        }
    }

    /// As long as there are too many bytes the less popular goes: this one or another.
    fn contest(&mut self, mut candidate: usize) {
        while self.bytes > self.bytes_max {
            let Some(victim) = self.victim(Some(candidate)) else {
                return;
            };
            let popularity = |place: usize| self.popularity.estimate(self.slots[place].hash);
            let stays = self.slots[candidate].value.must_stay();
            if !stays && popularity(candidate) <= popularity(victim) {
                self.take(candidate);
                return;
            }
            self.take(victim);
            if candidate == self.slots.len() {
                candidate = victim; // The last fills the gap.
            }
        }
    }

    /// The place of the oldest of the window, which is in the main part from now on.
    fn leave_window(&mut self) -> Option<usize> {
        while let Some((key, number)) = self.window.pop_front() {
            let Some(&place) = self.places.get(&key) else {
                continue;
            };
            let slot = &mut self.slots[place];
            if slot.window == Some(number) {
                slot.window = None;
                self.window_bytes -= slot.weight;
                return Some(place);
            }
        }
        None
    }

    /// The least popular of some of the main part, but not this one.
    fn victim(&mut self, but: Option<usize>) -> Option<usize> {
        let mut least: Option<(bool, u8, usize)> = None;
        for _ in 0..SAMPLES {
            let place = self.anywhere()?;
            let slot = &self.slots[place];
            if slot.window.is_some() || but == Some(place) {
                continue;
            }
            let popularity = self.popularity.estimate(slot.hash);
            let one = (slot.value.must_stay(), popularity, place);
            least = Some(least.map_or(one, |least| least.min(one)));
        }
        least.map(|(.., place)| place)
    }

    /// A place by xorshift (Marsaglia, 2003): who could foresee it gains nothing.
    fn anywhere(&mut self) -> Option<usize> {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let places = self.slots.len() as u64;
        (places > 0).then(|| (self.random % places) as usize)
    }

    fn take(&mut self, place: usize) -> Slot<V> {
        let slot = self.slots.swap_remove(place);
        self.places.remove(&slot.key);
        if let Some(moved) = self.slots.get(place)
            && let Some(moved) = self.places.get_mut(&moved.key)
        {
            *moved = place;
        }
        self.bytes -= slot.weight;
        if slot.window.is_some() {
            self.window_bytes -= slot.weight;
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Thing {
        bytes: u64,
        arrives: bool,
    }

    impl Held for Thing {
        fn weight(&self) -> u64 {
            self.bytes
        }

        fn must_stay(&self) -> bool {
            self.arrives
        }
    }

    fn key(number: u64) -> Key {
        format!("{number:08}").into()
    }

    fn thing(bytes: u64) -> Thing {
        Thing {
            bytes,
            arrives: false,
        }
    }

    #[test]
    fn what_comes_once_displaces_nothing_that_comes_again() {
        let mut tier = Tier::new(100 * 108, 100);
        for _ in 0..3 {
            for number in 0..90 {
                if tier.find(&key(number)).is_none() {
                    tier.insert(&key(number), thing(100));
                }
            }
        }
        for number in 1000..5000 {
            tier.find(&key(number));
            tier.insert(&key(number), thing(100));
        }
        let kept = (0..90).filter(|&number| tier.peek(&key(number)).is_some());
        assert_eq!(kept.count(), 90);
        assert!(tier.held().1 <= 100 * 108);
    }

    #[test]
    fn what_arrives_stays() {
        let mut tier = Tier::new(10 * 108, 10);
        let arriving = Thing {
            bytes: 100,
            arrives: true,
        };
        tier.insert(&key(0), arriving);
        for number in 1..1000 {
            tier.find(&key(number));
            tier.insert(&key(number), thing(100));
        }
        assert!(tier.peek(&key(0)).is_some());
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(steps in prop::collection::vec((0u64..40, 0u64..600, 0u8..4), 0..400)) {
            let mut tier = Tier::new(1000, 10);
            for (number, bytes, what) in steps {
                match what {
                    0 => drop(tier.remove(&key(number))),
                    1 => drop(tier.find(&key(number)).is_some()),
                    _ => tier.insert(&key(number), thing(bytes)),
                }
                prop_assert!(tier.bytes <= 1000);
                prop_assert_eq!(tier.bytes, tier.slots.iter().map(|slot| slot.weight).sum::<u64>());
                let window = tier.slots.iter().filter(|slot| slot.window.is_some());
                prop_assert_eq!(tier.window_bytes, window.map(|slot| slot.weight).sum::<u64>());
                for (place, slot) in tier.slots.iter().enumerate() {
                    prop_assert_eq!(tier.places.get(&slot.key), Some(&place));
                }
                prop_assert_eq!(tier.places.len(), tier.slots.len());
                prop_assert!(tier.window.len() <= 2 * tier.slots.len() + WINDOW_SLACK);
            }
        }
    }
}
