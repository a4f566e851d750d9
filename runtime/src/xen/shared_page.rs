//! A page that another domain may read and write at any time.
//!
//! There is never a Rust reference to its bytes: they are copied in and out, once, and what was copied out is
//! then checked. What is looked at in place are atomics.

use crate::memory::PAGE;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

const LAYOUT: Layout = match Layout::from_size_align(PAGE, PAGE) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

/// The number of the page at `address`: RAM is mapped one to one.
#[cfg(not(test))]
pub fn frame_of(address: *const u8) -> u64 {
    (address as usize / PAGE) as u64
}

#[cfg(test)]
pub use fake::frame_of;

/// Page numbers for tests on Linux, whose addresses have more bits than a grant's frame.
#[cfg(test)]
pub mod fake {
    use core::cell::RefCell;

    std::thread_local!(static PAGES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) });

    /// A number for the page at `address`, for this test.
    pub fn frame_of(address: *const u8) -> u64 {
        PAGES.with_borrow_mut(|pages| {
            let address = address as usize;
            let known = pages.iter().position(|&page| page == address);
            known.unwrap_or_else(|| {
                pages.push(address);
                pages.len() - 1
            }) as u64
        })
    }

    /// The page of this number.
    pub fn address_of(frame: u64) -> *mut u8 {
        PAGES.with_borrow(|pages| pages[frame as usize] as *mut u8)
    }
}

/// A page of our own, zeroed, at a page's boundary.
pub struct SharedPage(NonNull<u8>);

// SAFETY: the page is owned, and its bytes are only accessed through copies and atomics.
unsafe impl Send for SharedPage {}

impl SharedPage {
    /// A new page; `None` when memory is out.
    pub fn new() -> Option<Self> {
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { alloc_zeroed(LAYOUT) }).map(Self)
    }

    /// The page's number, as grants name it.
    pub fn frame(&self) -> u64 {
        frame_of(self.0.as_ptr())
    }

    /// Copies bytes out, from `offset` on. Panics if they are not all within the page.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= PAGE && bytes.len() <= PAGE - offset);
        // SAFETY: the range is within the page; another domain may write meanwhile, then any mix is copied.
        unsafe {
            ptr::copy_nonoverlapping(self.0.as_ptr().add(offset), bytes.as_mut_ptr(), bytes.len());
        }
    }

    /// Copies bytes in, from `offset` on. Panics if they are not all within the page.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= PAGE && bytes.len() <= PAGE - offset);
        // SAFETY: the range is within the page, and no reference to it exists.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ptr().add(offset), bytes.len());
        }
    }

    /// The page as a structure of atomics.
    ///
    /// # Safety
    /// `T` consists of atomics only (so any bits and any change are allowed) and fits into a page.
    pub unsafe fn as_atomics<T>(&self) -> &T {
        const { assert!(size_of::<T>() <= PAGE && align_of::<T>() <= PAGE) };
        // SAFETY: promised by the caller; the page lives as long as `self`.
        unsafe { self.0.cast::<T>().as_ref() }
    }

    /// Never frees the page: a backend that does not let go of its grant can still write to it.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.0.as_ptr(), LAYOUT) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_to_the_last_byte() {
        let page = SharedPage::new().unwrap();
        page.write(PAGE - 3, b"end");
        let mut bytes = [0; 4];
        page.read(PAGE - 4, &mut bytes);
        assert_eq!(&bytes, b"\0end");
        page.write(PAGE, b"");
    }

    #[test]
    #[should_panic(expected = "offset <= PAGE")]
    fn does_not_copy_beyond() {
        SharedPage::new().unwrap().write(PAGE - 1, b"ab");
    }
}
