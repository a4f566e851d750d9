//! Which blocks are free, and how many of them are promised.
//!
//! An upload of a known length is promised its blocks when it is made, so that it never finds the disk full
//! half-way. Some blocks are promised to nobody: the last extent of an upload that goes on is written anew
//! beside the old one, which is free only when the new one is durable.

use std::ops::Range;

/// Blocks of a word of the map.
const WORD: u64 = 64;
/// The part of the disk that is promised to nobody, as a divisor, where [`HELD_BLOCKS_MAX`] is more.
const HELD_SHARE: u64 = 8;
/// An extent for each body that may be on its way.
const HELD_BLOCKS_MAX: u64 =
    crate::limits::BODIES_MAX as u64 * (crate::limits::EXTENT_BYTES_MAX as u64 / 4096);

/// The blocks of a disk.
#[derive(Debug)]
pub(crate) struct Space {
    /// A bit for each block: whether it is taken.
    map: Vec<u64>,
    blocks: u64,
    free: u64,
    /// Blocks that are free, and spoken for.
    promised: u64,
    /// Where to look first: behind what was taken last, or at what was given back before that. What was
    /// written lately is in the caches of hosts, and a file in place of a disk has blocks there already.
    next: u64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Space {
    /// A disk of so many free blocks.
    pub(crate) fn of(blocks: u64) -> Space {
        let words = blocks.div_ceil(WORD);
        let mut map = vec![0; words as usize];
        if !blocks.is_multiple_of(WORD)
            && let Some(last) = map.last_mut()
        {
            // Behind the end nothing is free.
            *last = !0 << (blocks % WORD);
        }
        Space {
            map,
            blocks,
            free: blocks,
            promised: 0,
            next: 0,
        }
    }

    /// Blocks that there are.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Blocks that may be promised.
    pub(crate) fn available(&self) -> u64 {
        let held = (self.blocks / HELD_SHARE).min(HELD_BLOCKS_MAX);
        self.free.saturating_sub(self.promised + held)
    }

    /// Promises blocks.
    pub(crate) fn promise(&mut self, blocks: u64) -> Result<(), Full> {
        if blocks > self.available() {
            return Err(Full);
        }
        self.promised += blocks;
        Ok(())
    }

    /// Promises blocks that were promised before the program was started anew.
    pub(crate) fn promise_again(&mut self, blocks: u64) {
        self.promised += blocks.min(self.free - self.promised.min(self.free));
    }

    /// Takes a promise back, or as much of it as is left.
    pub(crate) fn release(&mut self, blocks: u64) {
        self.promised = self.promised.saturating_sub(blocks);
    }

    /// Takes up to so many neighbouring blocks: a run that is long enough, or else the longest.
    pub(crate) fn take(&mut self, blocks: u64) -> Result<Range<u64>, Full> {
        let mut longest = 0..0;
        let starts = [self.next..self.blocks, 0..self.next];
        'search: for part in starts {
            let mut from = part.start;
            while let Some(run) = self.run(from, part.end, blocks) {
                from = run.end;
                let long_enough = run.end - run.start >= blocks;
                if run.end - run.start > longest.end - longest.start {
                    longest = run;
                }
                if long_enough {
                    break 'search;
                }
            }
        }
        if longest.is_empty() {
            return Err(Full);
        }
        self.mark(longest.clone(), true);
        self.next = longest.end % self.blocks.max(1);
        Ok(longest)
    }

    /// Takes these very blocks, as the index says; false if one of them is taken or is none of ours.
    pub(crate) fn occupy(&mut self, run: Range<u64>) -> bool {
        let good = run.start < run.end
            && run.end <= self.blocks
            && run.clone().all(|block| !self.is_taken(block));
        if good {
            self.mark(run, true);
        }
        good
    }

    /// Gives blocks back.
    pub(crate) fn free(&mut self, run: Range<u64>) {
        self.next = self.next.min(run.start);
        self.mark(run, false);
    }

    /// The first free run between two places, of at most so many blocks.
    fn run(&self, from: u64, to: u64, blocks_max: u64) -> Option<Range<u64>> {
        let mut start = from;
        while start < to {
            let word = self.map[(start / WORD) as usize] >> (start % WORD);
            if word & 1 == 0 {
                break;
            }
            start += u64::from(word.trailing_ones()).min(WORD - start % WORD);
        }
        let mut end = start;
        while end < to && end - start < blocks_max && !self.is_taken(end) {
            end += 1;
        }
        (start < end).then_some(start..end)
    }

    fn is_taken(&self, block: u64) -> bool {
        self.map[(block / WORD) as usize] >> (block % WORD) & 1 == 1
    }

    fn mark(&mut self, run: Range<u64>, taken: bool) {
        for block in run {
            let (word, bit) = ((block / WORD) as usize, 1 << (block % WORD));
            let was = self.map[word] & bit != 0;
            assert!(was != taken, "block {block} is given twice");
            self.map[word] ^= bit;
            match taken {
                true => self.free -= 1,
                false => self.free += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_there_is_room() {
        let mut space = Space::of(100);
        assert_eq!(space.take(64), Ok(0..64));
        assert_eq!(space.take(64), Ok(64..100));
        assert_eq!(space.take(1), Err(Full));
        space.free(10..12);
        space.free(20..30);
        assert_eq!(space.take(5), Ok(20..25));
        assert_eq!(space.take(5), Ok(25..30));
        assert_eq!(space.take(5), Ok(10..12));
        assert_eq!(space.take(5), Err(Full));
    }

    #[test]
    fn what_is_promised_is_not_promised_again() {
        let mut space = Space::of(80);
        assert_eq!(space.available(), 70);
        assert_eq!(space.promise(71), Err(Full));
        assert_eq!(space.promise(60), Ok(()));
        assert_eq!(space.promise(11), Err(Full));
        space.release(60);
        assert_eq!(space.promise(70), Ok(()));
        assert_eq!(space.available(), 0);
    }

    #[test]
    fn only_free_blocks_that_are_there_are_occupied() {
        let mut space = Space::of(70);
        assert!(space.occupy(60..70) && space.occupy(0..1));
        for run in [60..61, 69..71, 70..71, 5..5] {
            assert!(!space.occupy(run.clone()), "{run:?}");
        }
    }
}
