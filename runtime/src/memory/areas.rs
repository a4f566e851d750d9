//! Which addresses above RAM are in use, and how: stacks, and what mmap(2) gave.
//!
//! Bookkeeping only. Page tables follow it in `machine/paging.rs`.

use super::{AREAS_END, AREAS_START, PAGE};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What may be done with memory (the bits of mmap's `prot`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protection(pub u32);

impl Protection {
    /// Nothing: a guard.
    pub const NONE: Protection = Protection(0);
    /// Reading and writing.
    pub const READ_WRITE: Protection = Protection(3);

    /// The protection of these `PROT_*` bits, unless there is no such.
    pub fn from_bits(bits: i32) -> Option<Self> {
        (bits & !7 == 0).then_some(Protection(bits as u32))
    }

    /// Whether it may be read (on x86, whoever may do anything may read).
    pub fn is_accessible(self) -> bool {
        self.0 != 0
    }

    /// Whether it may be written.
    pub fn is_writable(self) -> bool {
        self.0 & 2 != 0
    }

    /// Whether it may be executed.
    pub fn is_executable(self) -> bool {
        self.0 & 4 != 0
    }
}

/// A range of addresses, both multiples of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First address.
    pub start: usize,
    /// First address after it.
    pub end: usize,
}

#[derive(Clone, Copy)]
struct Area {
    end: usize,
    protection: Protection,
}

/// The areas in use, none of which overlap.
#[derive(Default)]
pub struct AreaMap(BTreeMap<usize, Area>);

impl AreaMap {
    /// No areas.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Takes `size` bytes (a multiple of a page, not 0) of unused addresses, with at least one unused page before
    /// and behind.
    pub fn take(&mut self, size: usize, protection: Protection) -> Option<Span> {
        let needed = size.checked_add(2 * PAGE)?;
        let mut gap = AREAS_START;
        for (&start, area) in &self.0 {
            if start.saturating_sub(gap) >= needed {
                break;
            }
            gap = area.end;
        }
        let start = gap + PAGE;
        let end = start
            .checked_add(size)
            .filter(|end| end + PAGE <= AREAS_END)?;
        self.0.insert(start, Area { end, protection });
        Some(Span { start, end })
    }

    /// How the page at `address` may be used, if it is in use.
    pub fn find(&self, address: usize) -> Option<Protection> {
        let (_, area) = self.0.range(..=address).next_back()?;
        (address < area.end).then_some(area.protection)
    }

    /// Gives up what is used of `span`, and says what that was.
    pub fn release(&mut self, span: Span) -> Vec<Span> {
        let within = self.cut_out(span);
        within
            .into_iter()
            .map(|(start, area)| Span {
                start,
                end: area.end,
            })
            .collect()
    }

    /// Changes the protection of `span`, all of which must be in use; whether it was.
    pub fn protect(&mut self, span: Span, protection: Protection) -> bool {
        if !self.covers(span) {
            return false;
        }
        for (start, area) in self.cut_out(span) {
            self.0.insert(start, Area { protection, ..area });
        }
        true
    }

    fn covers(&self, span: Span) -> bool {
        let mut at = span.start;
        while at < span.end {
            match self.0.range(..=at).next_back() {
                Some((_, area)) if at < area.end => at = area.end,
                _ => return false,
            }
        }
        true
    }

    /// Removes the areas within `span`, splitting those that reach out of it.
    fn cut_out(&mut self, span: Span) -> Vec<(usize, Area)> {
        for edge in [span.start, span.end] {
            if let Some((&start, &area)) = self.0.range(..edge).next_back()
                && edge < area.end
            {
                self.0.insert(start, Area { end: edge, ..area });
                self.0.insert(edge, area);
            }
        }
        let starts: Vec<usize> = self
            .0
            .range(span.start..span.end)
            .map(|(&start, _)| start)
            .collect();
        starts
            .into_iter()
            .filter_map(|start| Some((start, self.0.remove(&start)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: Protection = Protection::READ_WRITE;

    fn span(start: usize, pages: usize) -> Span {
        Span {
            start,
            end: start + pages * PAGE,
        }
    }

    #[test]
    fn areas_keep_a_page_between_them_and_gaps_are_used_again() {
        let mut map = AreaMap::new();
        let a = map.take(4 * PAGE, RW).unwrap();
        let b = map.take(PAGE, RW).unwrap();
        assert_eq!(a.start, AREAS_START + PAGE);
        assert!(b.start >= a.end + PAGE);
        map.release(a);
        assert_eq!(
            map.take(8 * PAGE, RW).map(|area| area.start > b.end),
            Some(true)
        );
        assert_eq!(map.take(4 * PAGE, RW), Some(a));
    }

    #[test]
    fn releasing_a_part_splits() {
        let mut map = AreaMap::new();
        let all = map.take(5 * PAGE, RW).unwrap();
        let middle = span(all.start + 2 * PAGE, 1);
        assert_eq!(map.release(middle), [middle]);
        assert_eq!(map.find(all.start + PAGE), Some(RW));
        assert_eq!(map.find(middle.start), None);
        assert_eq!(map.find(middle.end), Some(RW));
        let rest = map.release(span(all.start - PAGE, 9));
        assert_eq!(rest, [span(all.start, 2), span(middle.end, 2)]);
        assert_eq!(map.find(all.start), None);
    }

    #[test]
    fn protecting_needs_all_of_it_in_use() {
        let mut map = AreaMap::new();
        let all = map.take(4 * PAGE, RW).unwrap();
        assert!(!map.protect(span(all.start, 5), Protection::NONE));
        assert!(map.protect(span(all.start + PAGE, 2), Protection::NONE));
        let found: Vec<_> = (0..5)
            .map(|page| map.find(all.start + page * PAGE))
            .collect();
        let none = Some(Protection::NONE);
        assert_eq!(found, [Some(RW), none, none, Some(RW), None]);
        assert!(map.protect(all, RW));
    }

    #[test]
    fn the_address_space_ends() {
        let mut map = AreaMap::new();
        assert_eq!(map.take(AREAS_END - AREAS_START, RW), None);
        assert_eq!(map.take(usize::MAX - PAGE + 1, RW), None);
        assert!(map.take(AREAS_END - AREAS_START - 2 * PAGE, RW).is_some());
        assert_eq!(map.take(PAGE, RW), None);
        assert_eq!(Protection::from_bits(8), None);
    }
}
