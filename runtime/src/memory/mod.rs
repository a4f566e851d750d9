//! Memory: the heap, and areas of demand-zero pages beside it.
//!
//! ```text
//! 0                  nothing: a null pointer faults
//! 4 KiB ..           RAM, mapped one to one: image (text r-x, constants r--, data rw-), heap rw-
//! AREAS_START ..     areas: stacks and mmap, a page at a time when first touched, with guards between
//! ```

pub mod areas;
pub mod heap;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Where areas begin: 1 TiB, above any RAM.
pub const AREAS_START: usize = 1 << 40;
/// Where areas end: the lower half of the address space has 47 bits.
pub const AREAS_END: usize = 1 << 46;

/// `bytes` rounded up to whole pages, unless that overflows.
pub fn pages_of(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(PAGE)
}
