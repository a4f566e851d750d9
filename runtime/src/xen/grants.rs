//! Grants: which pages another domain may map or copy (`grant_table.h`, version 1).
//!
//! An entry is 8 bytes: flags, domain, frame. It is valid from the moment its flags say so, which is why they
//! are written last, and withdrawn by changing the flags to 0 in one step, which fails while the other domain
//! has the page mapped.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering, fence};

/// Entries that the toolstack uses itself (GNTTAB_NR_RESERVED_ENTRIES).
pub const RESERVED: u32 = 8;
/// Entries of version 1 in a page.
pub const ENTRIES_PER_PAGE: usize = 512;

const PERMIT_ACCESS: u16 = 1;
const READ_ONLY: u16 = 1 << 2;
const IN_USE: u16 = 3 << 3; // GTF_reading, GTF_writing

/// A domain's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DomainId(pub u16);

/// An entry's number, as it is told to the other domain (`grant_ref_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct GrantRef(pub u32);

/// What the other domain may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read the page.
    Read,
    /// Read and write the page.
    ReadWrite,
}

/// `grant_entry_v1_t`, shared with the hypervisor.
#[repr(C)]
#[derive(Default)]
pub struct Entry {
    flags: AtomicU16,
    domain: AtomicU16,
    frame: AtomicU32,
}

/// The table.
pub struct Grants<'t> {
    entries: &'t [Entry],
    free: Vec<u32>,
}

impl<'t> Grants<'t> {
    /// The table in these entries, of which the reserved ones are left alone.
    pub fn new(entries: &'t [Entry]) -> Self {
        // Taken from the end, so the lowest numbers are used first.
        Self {
            entries,
            free: (RESERVED..entries.len() as u32).rev().collect(),
        }
    }

    /// Lets `domain` use the page `frame`; `None` when all entries are in use.
    pub fn grant(&mut self, domain: DomainId, frame: u64, access: Access) -> Option<GrantRef> {
        let frame = u32::try_from(frame).ok()?;
        let number = self.free.pop()?;
        let entry = &self.entries[number as usize];
        entry.domain.store(domain.0, Ordering::Relaxed);
        entry.frame.store(frame, Ordering::Relaxed);
        fence(Ordering::Release);
        let read_only = if access == Access::Read { READ_ONLY } else { 0 };
        entry
            .flags
            .store(PERMIT_ACCESS | read_only, Ordering::Relaxed);
        Some(GrantRef(number))
    }

    /// Withdraws a grant; whether that was possible. If not, the page must not be used for anything else, and
    /// the entry stays taken.
    #[must_use = "a page that is still in use must be leaked"]
    pub fn end(&mut self, grant: GrantRef) -> bool {
        let Some(entry) = self.entries.get(grant.0 as usize) else {
            return false;
        };
        let withdrawn = entry
            .flags
            .try_update(Ordering::AcqRel, Ordering::Acquire, |flags| {
                (flags & IN_USE == 0).then_some(0)
            })
            .is_ok();
        if withdrawn {
            self.free.push(grant.0);
        }
        withdrawn
    }

    /// How many entries are free.
    pub fn available(&self) -> usize {
        self.free.len()
    }
}

/// The backend's side of a table, for tests: what the hypervisor would check.
#[cfg(test)]
pub mod fake {
    use super::*;

    /// The frame of a valid grant, and whether it may be written.
    pub fn look_up(entries: &[Entry], grant: u32) -> Option<(u64, bool)> {
        let entry = entries.get(grant as usize)?;
        let flags = entry.flags.load(Ordering::Acquire);
        let frame = u64::from(entry.frame.load(Ordering::Relaxed));
        (flags & PERMIT_ACCESS != 0).then_some((frame, flags & READ_ONLY == 0))
    }

    /// Marks a grant as mapped, or no longer.
    pub fn set_in_use(entries: &[Entry], grant: u32, in_use: bool) {
        let flags = &entries[grant as usize].flags;
        if in_use {
            flags.fetch_or(IN_USE, Ordering::AcqRel);
        } else {
            flags.fetch_and(!IN_USE, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        (0..16).map(|_| Entry::default()).collect()
    }

    #[test]
    fn grants_are_what_the_header_says() {
        let entries = entries();
        let mut grants = Grants::new(&entries);
        let grant = grants.grant(DomainId(0), 0x1234, Access::Read).unwrap();
        assert_eq!(grant, GrantRef(RESERVED));
        assert_eq!(fake::look_up(&entries, grant.0), Some((0x1234, false)));
        let other = grants.grant(DomainId(7), 5, Access::ReadWrite).unwrap();
        assert_eq!(fake::look_up(&entries, other.0), Some((5, true)));
        assert!(grants.end(grant));
        assert_eq!(fake::look_up(&entries, grant.0), None);
    }

    #[test]
    fn a_page_in_use_is_not_withdrawn() {
        let entries = entries();
        let mut grants = Grants::new(&entries);
        let grant = grants.grant(DomainId(0), 1, Access::ReadWrite).unwrap();
        fake::set_in_use(&entries, grant.0, true);
        let before = grants.available();
        assert!(!grants.end(grant));
        assert_eq!(grants.available(), before);
        fake::set_in_use(&entries, grant.0, false);
        assert!(grants.end(grant));
    }

    #[test]
    fn the_table_has_an_end() {
        let entries = entries();
        let mut grants = Grants::new(&entries);
        let taken: Vec<_> =
            core::iter::from_fn(|| grants.grant(DomainId(0), 1, Access::Read)).collect();
        assert_eq!(taken.len(), 16 - RESERVED as usize);
        assert!(grants.end(taken[3]));
        assert_eq!(grants.grant(DomainId(0), 2, Access::Read), Some(taken[3]));
        assert_eq!(
            grants.grant(DomainId(0), 1 << 33, Access::Read),
            None,
            "version 1 has 32 bits"
        );
    }
}
