//! Pages that the backend reads from and writes to: contiguous, granted once, and used again and again.
//!
//! They are written by somebody else at any time, so there is never a reference to their bytes.

use super::super::grants::{Access, DomainId, GrantRef, Grants};
use super::super::shared_page::frame_of;
use crate::memory::PAGE;
use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// One of the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageNumber(u16);

/// The pages.
pub struct Pages {
    start: NonNull<u8>,
    grants: Vec<GrantRef>,
    free: Vec<PageNumber>,
}

// SAFETY: the memory is owned, and its bytes are only accessed through copies.
unsafe impl Send for Pages {}

impl Pages {
    /// `count` pages, granted to `backend`; `None` when memory or grants are out.
    pub fn new(count: u16, backend: DomainId, grants: &mut Grants) -> Option<Self> {
        let layout = layout(usize::from(count))?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let mut pages = Self {
            start,
            grants: Vec::new(),
            // The lowest numbers are used first.
            free: (0..count).rev().map(PageNumber).collect(),
        };
        for number in 0..usize::from(count) {
            let frame = frame_of(start.as_ptr().wrapping_add(number * PAGE));
            match grants.grant(backend, frame, Access::ReadWrite) {
                Some(grant) => pages.grants.push(grant),
                None => {
                    pages.release(count, grants);
                    return None;
                }
            }
        }
        Some(pages)
    }

    /// How many pages there are.
    pub fn count(&self) -> usize {
        self.grants.len()
    }

    /// How many are free.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Takes a free page.
    pub fn take(&mut self) -> Option<PageNumber> {
        self.free.pop()
    }

    /// Gives a page back that the backend has answered for.
    pub fn give(&mut self, page: PageNumber) {
        self.free.push(page);
    }

    /// A page's grant.
    pub fn grant(&self, page: PageNumber) -> GrantRef {
        self.grants[usize::from(page.0)]
    }

    /// Copies bytes out of a page, from `offset` on. Panics if they are not all within the page.
    pub fn read(&self, page: PageNumber, offset: usize, bytes: &mut [u8]) {
        let from = self.place(page, offset, bytes.len());
        // SAFETY: the range is within the allocation; the backend may write meanwhile, then any mix is copied.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Copies bytes into a page, from `offset` on. Panics if they are not all within the page.
    pub fn write(&mut self, page: PageNumber, offset: usize, bytes: &[u8]) {
        let to = self.place(page, offset, bytes.len());
        // SAFETY: the range is within the allocation, and no reference to it exists.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn place(&self, page: PageNumber, offset: usize, length: usize) -> *mut u8 {
        assert!(usize::from(page.0) < self.grants.len());
        assert!(offset <= PAGE && length <= PAGE - offset);
        // SAFETY: the page is one of the allocation's.
        unsafe { self.start.as_ptr().add(usize::from(page.0) * PAGE + offset) }
    }

    /// Takes over the contents of as many other pages, and which of them are free; those end.
    pub fn adopt(&mut self, other: Self, grants: &mut Grants) {
        assert_eq!(self.count(), other.count());
        // SAFETY: two allocations of as many pages.
        unsafe {
            let (from, to) = (other.start.as_ptr(), self.start.as_ptr());
            ptr::copy_nonoverlapping(from, to, self.count() * PAGE);
        }
        self.free.clone_from(&other.free);
        other.end(grants);
    }

    /// Withdraws the grants and frees the memory; leaks it if the backend still uses a page.
    pub fn end(self, grants: &mut Grants) {
        let count = self.grants.len() as u16;
        self.release(count, grants);
    }

    fn release(mut self, count: u16, grants: &mut Grants) {
        let mut all_ended = true;
        for grant in self.grants.drain(..) {
            all_ended &= grants.end(grant);
        }
        if let Some(layout) = layout(usize::from(count)).filter(|_| all_ended) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages * PAGE, PAGE)
        .ok()
        .filter(|layout| layout.size() > 0)
}

#[cfg(test)]
mod tests {
    use super::super::super::grants::{Entry, fake};
    use super::super::super::shared_page::fake::address_of;
    use super::*;

    #[test]
    fn what_was_written_is_read_even_in_new_pages() {
        let entries: Vec<Entry> = (0..32).map(|_| Entry::default()).collect();
        let mut grants = Grants::new(&entries);
        let before = grants.available();
        let mut pages = Pages::new(3, DomainId(0), &mut grants).unwrap();
        let (first, second) = (pages.take().unwrap(), pages.take().unwrap());
        pages.write(first, PAGE - 3, b"end");
        pages.write(second, 0, b"start");
        let mut anew = Pages::new(3, DomainId(5), &mut grants).unwrap();
        anew.adopt(pages, &mut grants);
        let mut pages = anew;
        let mut bytes = [0; 8];
        pages.read(first, PAGE - 3, &mut bytes[..3]);
        pages.read(second, 0, &mut bytes[3..]);
        assert_eq!(&bytes, b"endstart");
        assert_eq!(pages.available(), 1);
        let grant = pages.grant(second);
        let frame = fake::look_up(&entries, grant.0).unwrap().0;
        let place = pages.start.as_ptr().wrapping_add(PAGE);
        assert_eq!(address_of(frame), place);
        pages.give(first);
        pages.end(&mut grants);
        assert_eq!(grants.available(), before);
    }

    #[test]
    fn pages_in_use_are_not_freed() {
        let entries: Vec<Entry> = (0..32).map(|_| Entry::default()).collect();
        let mut grants = Grants::new(&entries);
        let pages = Pages::new(2, DomainId(0), &mut grants).unwrap();
        let start = pages.start;
        fake::set_in_use(&entries, pages.grants[1].0, true);
        pages.end(&mut grants);
        // SAFETY: the test is about these pages still being there.
        assert_eq!(unsafe { start.as_ptr().add(PAGE).read() }, 0);
        assert_eq!(grants.available(), 32 - 8 - 1);
    }

    #[test]
    fn too_few_grants_leave_nothing_behind() {
        let entries: Vec<Entry> = (0..10).map(|_| Entry::default()).collect();
        let mut grants = Grants::new(&entries);
        assert!(Pages::new(3, DomainId(0), &mut grants).is_none());
        assert_eq!(grants.available(), 2);
    }
}
