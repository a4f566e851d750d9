//! Who waits for what: queues of threads by a key, which is an address (futex(2)) or an object's.

use super::ThreadId;
use alloc::collections::{BTreeMap, VecDeque};

/// Matches every bit set (FUTEX_BITSET_MATCH_ANY).
pub const ANY: u32 = u32::MAX;

/// The queues.
#[derive(Default)]
pub struct Waits {
    queues: BTreeMap<usize, VecDeque<(ThreadId, u32)>>,
}

impl Waits {
    /// `thread` waits for `key`, and is woken by those who share a bit of `bits` with it.
    pub fn add(&mut self, key: usize, thread: ThreadId, bits: u32) {
        self.queues
            .entry(key)
            .or_default()
            .push_back((thread, bits));
    }

    /// `thread` no longer waits for `key`.
    pub fn remove(&mut self, key: usize, thread: ThreadId) {
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.retain(|&(waiting, _)| waiting != thread);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
    }

    /// Takes the thread that has waited longest for `key`.
    pub fn take(&mut self, key: usize, bits: u32) -> Option<ThreadId> {
        let queue = self.queues.get_mut(&key)?;
        let index = queue.iter().position(|&(_, waiting)| waiting & bits != 0)?;
        let (thread, _) = queue.remove(index)?;
        if queue.is_empty() {
            self.queues.remove(&key);
        }
        Some(thread)
    }

    /// At most `count` threads wait for `to` from now on instead of `from`; how many.
    pub fn requeue(&mut self, from: usize, to: usize, count: usize) -> usize {
        let mut moved = 0;
        while moved < count
            && let Some(thread) = self.take(from, ANY)
        {
            self.add(to, thread, ANY);
            moved += 1;
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_fair_and_end_empty() {
        let mut waits = Waits::default();
        let threads = [ThreadId(2), ThreadId(3), ThreadId(4)];
        for thread in threads {
            waits.add(8, thread, ANY);
        }
        waits.remove(8, threads[1]);
        assert_eq!(waits.take(8, ANY), Some(threads[0]));
        assert_eq!(waits.take(16, ANY), None);
        assert_eq!(waits.take(8, ANY), Some(threads[2]));
        assert!(waits.queues.is_empty());
    }

    #[test]
    fn bits_choose() {
        let mut waits = Waits::default();
        waits.add(8, ThreadId(2), 0b01);
        waits.add(8, ThreadId(3), 0b10);
        assert_eq!(waits.take(8, 0b10), Some(ThreadId(3)));
        assert_eq!(waits.take(8, 0b10), None);
    }

    #[test]
    fn requeue_keeps_the_order() {
        let mut waits = Waits::default();
        for number in 1..=3 {
            waits.add(8, ThreadId(number), ANY);
        }
        assert_eq!(waits.requeue(8, 16, 2), 2);
        assert_eq!(waits.take(16, ANY), Some(ThreadId(1)));
        assert_eq!(waits.take(16, ANY), Some(ThreadId(2)));
        assert_eq!(waits.take(8, ANY), Some(ThreadId(3)));
        assert_eq!(waits.requeue(8, 16, 1), 0);
    }
}
