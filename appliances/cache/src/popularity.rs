//! How often keys were asked for lately: a count-min sketch that ages (TinyLFU: Einziger, Friedman and
//! Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", 2017).
//!
//! It remembers keys that are not held as well, in a few bytes each, so that what comes again is told
//! from what comes once.

/// Counters of one key; the least of them is the estimate.
const ROWS: usize = 4;
/// Counters in a row for each object that is held: others' keys share them rarely.
const COUNTERS_PER_OBJECT: usize = 8;
/// Requests for each object that is held until all counts are halved: the longer, the better what is
/// nearly as popular is told apart, and the later the cache learns of new fashions.
const REQUESTS_PER_OBJECT: usize = 64;
/// Objects that are reckoned with at least.
const OBJECTS_MIN: usize = 1024;

/// The sketch.
#[derive(Debug)]
pub struct Popularity {
    /// The rows, one behind the other.
    counters: Vec<u8>,
    mask: usize,
    requests: usize,
    requests_max: usize,
}

impl Popularity {
    /// A sketch for a cache of about so many objects.
    pub fn of(objects: usize) -> Self {
        let objects = objects.max(OBJECTS_MIN);
        let row = (objects * COUNTERS_PER_OBJECT).next_power_of_two();
        Self {
            counters: vec![0; row * ROWS],
            mask: row - 1,
            requests: 0,
            requests_max: objects * REQUESTS_PER_OBJECT,
        }
    }

    /// Counts a request for the key of this hash.
    pub fn count(&mut self, hash: u64) {
        let least = self.estimate(hash);
        for row in 0..ROWS {
            let place = self.place(row, hash);
            // Only the least grow: what shares a counter with many is counted right in another row.
            if self.counters[place] == least {
                self.counters[place] = least.saturating_add(1);
            }
        }
        self.requests += 1;
        if self.requests == self.requests_max {
            self.requests = 0;
            self.counters.iter_mut().for_each(|counter| *counter /= 2);
        }
    }

    /// How often the key of this hash was asked for, at most.
    pub fn estimate(&self, hash: u64) -> u8 {
        let counts = (0..ROWS).map(|row| self.counters[self.place(row, hash)]);
        counts.min().unwrap_or(0)
    }

    fn place(&self, row: usize, hash: u64) -> usize {
        // Two halves make as many functions as are wanted (Kirsch and Mitzenmacher, 2006).
        let (low, high) = (hash as u32 as usize, (hash >> 32) as usize | 1);
        row * (self.mask + 1) + (low.wrapping_add(high.wrapping_mul(row)) & self.mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_more_often_counts_more_and_is_forgotten_by_halves() {
        let mut popularity = Popularity::of(1);
        let hash = |key: u64| key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..100 {
            popularity.count(hash(1));
        }
        popularity.count(hash(2));
        assert_eq!(popularity.estimate(hash(1)), 100);
        assert_eq!(popularity.estimate(hash(2)), 1);
        for other in 0..popularity.requests_max as u64 - 101 {
            popularity.count(hash(3 + other % 1000));
        }
        assert_eq!(popularity.estimate(hash(1)), 50);
        assert_eq!(popularity.estimate(hash(2)), 0);
    }
}
