//! Sequence numbers (RFC 9293 §3.4) and sets of their ranges.

use alloc::vec::Vec;

/// A sequence number: compared modulo 2³², so only within half of that space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    pub(crate) fn plus(self, n: usize) -> Seq {
        Seq(self.0.wrapping_add(n as u32))
    }

    pub(crate) fn minus(self, n: usize) -> Seq {
        Seq(self.0.wrapping_sub(n as u32))
    }

    /// How far `self` lies behind `other`; modulo 2³².
    pub(crate) fn since(self, other: Seq) -> usize {
        self.0.wrapping_sub(other.0) as usize
    }

    fn signed_distance(self, other: Seq) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    pub(crate) fn max(self, other: Seq) -> Seq {
        if self < other { other } else { self }
    }

    pub(crate) fn min(self, other: Seq) -> Seq {
        if other < self { other } else { self }
    }
}

impl PartialOrd for Seq {
    fn partial_cmp(&self, other: &Seq) -> Option<core::cmp::Ordering> {
        Some(self.signed_distance(*other).cmp(&0))
    }
}

/// Most ranges kept of either kind. More only arise from an adversary or from loss so heavy that
/// retransmission by timeout is as good.
const RANGES_MAX: usize = 64;

/// Disjoint ranges in ascending order: what came out of order, or what the peer said it has.
#[derive(Default)]
pub(crate) struct Ranges(Vec<(Seq, Seq)>);

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Seq, Seq)> + '_ {
        self.0.iter().copied()
    }

    /// Adds `[start, end)`, joined with what it touches. False, and nothing changes, if that would make
    /// too many.
    pub(crate) fn insert(&mut self, start: Seq, end: Seq) -> bool {
        let first = self
            .0
            .iter()
            .position(|&(_, e)| start <= e)
            .unwrap_or(self.0.len());
        let joined = self.0[first..]
            .iter()
            .take_while(|&&(s, _)| s <= end)
            .count();
        if joined == 0 {
            if self.0.len() >= RANGES_MAX {
                return false;
            }
            self.0.insert(first, (start, end));
            return true;
        }
        let start = start.min(self.0[first].0);
        let end = end.max(self.0[first + joined - 1].1);
        self.0[first] = (start, end);
        self.0.drain(first + 1..first + joined);
        true
    }

    /// Removes everything below `seq`.
    pub(crate) fn remove_below(&mut self, seq: Seq) {
        let gone = self.0.iter().take_while(|&&(_, end)| end <= seq).count();
        self.0.drain(..gone);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(seq);
        }
        self.release_if_empty();
    }

    /// Removes and returns the end of the range that contains or starts at `seq`, if the first does.
    pub(crate) fn take_contiguous(&mut self, seq: Seq) -> Option<Seq> {
        let &(start, end) = self.0.first()?;
        if seq < start {
            return None;
        }
        self.0.remove(0);
        self.release_if_empty();
        Some(end)
    }

    /// The first number at or after `seq` that is in no range, and the start of the range behind it.
    pub(crate) fn gap(&self, seq: Seq) -> (Seq, Option<Seq>) {
        let mut at = seq;
        for &(start, end) in &self.0 {
            if at < start {
                return (at, Some(start));
            }
            at = at.max(end);
        }
        (at, None)
    }

    /// Numbers in the ranges within `[from, to)`.
    pub(crate) fn count(&self, from: Seq, to: Seq) -> usize {
        let within = |&(start, end): &(Seq, Seq)| {
            let (start, end) = (start.max(from), end.min(to));
            if start < end { end.since(start) } else { 0 }
        };
        self.0.iter().map(within).sum()
    }

    /// The end of the last range.
    pub(crate) fn end(&self) -> Option<Seq> {
        self.0.last().map(|&(_, end)| end)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
        self.release_if_empty();
    }

    /// Idle connections hold no memory for this.
    fn release_if_empty(&mut self) {
        if self.0.is_empty() && self.0.capacity() > 0 {
            self.0 = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Random;

    #[test]
    fn order_wraps_around() {
        assert!(Seq(u32::MAX) < Seq(1));
        assert_eq!(Seq(1).since(Seq(u32::MAX)), 2);
        assert_eq!(Seq(u32::MAX).max(Seq(0)), Seq(0));
    }

    /// Against a set of single numbers, around the wrap.
    #[test]
    fn ranges_behave_as_a_set() {
        let mut random = Random::seeded("ranges");
        for _ in 0..500 {
            let base = Seq(u32::MAX - 60);
            let (mut ranges, mut model) = (Ranges::default(), [false; 140]);
            for _ in 0..12 {
                let (start, len) = (random.below(120), 1 + random.below(18));
                assert!(ranges.insert(base.plus(start), base.plus(start + len)));
                model[start..start + len].fill(true);
            }
            let (from, to) = (random.below(70), 70 + random.below(70));
            let counted = model[from..to].iter().filter(|&&x| x).count();
            assert_eq!(ranges.count(base.plus(from), base.plus(to)), counted);
            let gap = from
                + model[from..]
                    .iter()
                    .position(|&x| !x)
                    .unwrap_or(model.len() - from);
            assert_eq!(ranges.gap(base.plus(from)).0, base.plus(gap));
            ranges.remove_below(base.plus(from));
            assert_eq!(
                ranges.count(base, base.plus(140)),
                model[from..].iter().filter(|&&x| x).count()
            );
        }
    }

    #[test]
    fn ranges_are_bounded() {
        let mut ranges = Ranges::default();
        let inserted = (0..1000)
            .filter(|&i| ranges.insert(Seq(i * 10), Seq(i * 10 + 1)))
            .count();
        assert_eq!(inserted, RANGES_MAX);
    }
}
