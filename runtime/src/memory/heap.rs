//! The heap: the `talc` allocator under C's interface.
//!
//! `free` is not told a block's size, so each C block is preceded by two words: its layout.

use core::alloc::Layout;
use core::ptr::{self, NonNull};
use talc::base::Talc;
use talc::base::binning::DefaultBinning;
use talc::source::Manual;

/// Alignment of `malloc` (`max_align_t` of x86-64).
pub const ALIGNMENT: usize = 16;

/// How full the heap is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Memory that was given to the heap.
    pub total: usize,
    /// Memory that is free.
    pub free: usize,
    /// In how many pieces the free memory is.
    pub pieces: usize,
}

/// An allocator over ranges of memory.
pub struct Heap(Talc<Manual, DefaultBinning>);

// SAFETY: the pointers within are to memory that only the heap uses.
unsafe impl Send for Heap {}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Heap {
    /// An empty heap.
    pub const fn new() -> Self {
        Self(Talc::new(Manual))
    }

    /// Adds the memory from `start` on. Ranges too small to be of use are ignored.
    ///
    /// # Safety
    /// Nobody else may use the memory, ever.
    pub unsafe fn add(&mut self, start: *mut u8, size: usize) {
        // SAFETY: promised by the caller.
        let _ = unsafe { self.0.claim(start, size) };
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        let counters = self.0.counters();
        Usage {
            total: counters.claimed_bytes,
            free: counters.available_bytes,
            pieces: counters.fragment_count,
        }
    }

    /// A block of `layout`, or null.
    pub fn allocate(&mut self, layout: Layout) -> *mut u8 {
        if layout.size() == 0 {
            return ptr::without_provenance_mut(layout.align());
        }
        // SAFETY: the size is not zero.
        unsafe { self.0.allocate(layout) }.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Frees a block.
    ///
    /// # Safety
    /// `block` came from [`Heap::allocate`] with this layout.
    pub unsafe fn deallocate(&mut self, block: *mut u8, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: promised by the caller.
            unsafe { self.0.deallocate(block, layout) }
        }
    }

    /// A block of `size` bytes aligned to `alignment` (a power of two), for C; or null.
    pub fn c_allocate(&mut self, size: usize, alignment: usize) -> *mut u8 {
        let Some(layout) = c_layout(size, alignment) else {
            return ptr::null_mut();
        };
        let start = self.allocate(layout);
        if start.is_null() {
            return start;
        }
        // SAFETY: the block is `layout.align()` longer than `size`, which is room for the two words,
        // and they are aligned because the block is to at least 16.
        unsafe {
            let block = start.add(layout.align());
            let header = block.cast::<usize>();
            header.sub(2).write(size);
            header.sub(1).write(layout.align());
            block
        }
    }

    /// The size that a C block was asked for.
    ///
    /// # Safety
    /// `block` came from [`Heap::c_allocate`] and is not freed.
    pub unsafe fn c_size(block: *mut u8) -> usize {
        // SAFETY: `c_allocate` wrote the word.
        unsafe { block.cast::<usize>().sub(2).read() }
    }

    /// Frees a C block.
    ///
    /// # Safety
    /// `block` came from [`Heap::c_allocate`] and is not freed.
    pub unsafe fn c_free(&mut self, block: *mut u8) {
        // SAFETY: `c_allocate` wrote the words, and the block begins `align` bytes before.
        unsafe {
            let size = block.cast::<usize>().sub(2).read();
            let alignment = block.cast::<usize>().sub(1).read();
            let layout = Layout::from_size_align_unchecked(size + alignment, alignment);
            self.deallocate(block.sub(alignment), layout);
        }
    }

    /// Changes the size of a C block where it is; whether that was possible.
    ///
    /// # Safety
    /// `block` came from [`Heap::c_allocate`] and is not freed.
    pub unsafe fn c_resize(&mut self, block: *mut u8, size: usize) -> bool {
        // SAFETY: as in `c_free`; the new size is not zero because the header counts.
        unsafe {
            let header = block.cast::<usize>();
            let (old, alignment) = (header.sub(2).read(), header.sub(1).read());
            let layout = Layout::from_size_align_unchecked(old + alignment, alignment);
            let Some(new) = c_layout(size, alignment) else {
                return false;
            };
            let done = self
                .0
                .try_realloc_in_place(block.sub(alignment), layout, new.size());
            if done {
                header.sub(2).write(size);
            }
            done
        }
    }
}

/// The layout of a C block with its two words before it.
fn c_layout(size: usize, alignment: usize) -> Option<Layout> {
    let alignment = alignment.max(ALIGNMENT);
    Layout::from_size_align(size.checked_add(alignment)?, alignment).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heap(size: usize) -> Heap {
        let mut heap = Heap::new();
        let memory = vec![0u8; size].leak();
        // SAFETY: leaked memory of our own.
        unsafe { heap.add(memory.as_mut_ptr(), memory.len()) };
        heap
    }

    #[test]
    fn random_blocks_do_not_overlap_and_everything_comes_back() {
        let mut heap = heap(1 << 20);
        let before = heap.usage();
        let mut blocks: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for round in 0..20_000u32 {
            let choice = random(3);
            if choice == 0 && !blocks.is_empty() {
                let (block, size, fill) = blocks.swap_remove(random(blocks.len() as u64) as usize);
                // SAFETY: the block is ours and `size` long.
                unsafe {
                    assert_eq!(Heap::c_size(block), size);
                    assert!(
                        core::slice::from_raw_parts(block, size)
                            .iter()
                            .all(|&b| b == fill)
                    );
                    heap.c_free(block);
                }
                continue;
            }
            if choice == 1 && !blocks.is_empty() {
                let index = random(blocks.len() as u64) as usize;
                let size = random(3000) as usize;
                let (block, old, fill) = blocks[index];
                // SAFETY: as above; only bytes within the new size are written.
                unsafe {
                    if heap.c_resize(block, size) {
                        assert!(
                            core::slice::from_raw_parts(block, old.min(size))
                                .iter()
                                .all(|&byte| byte == fill)
                        );
                        block.write_bytes(fill, size);
                        blocks[index].1 = size;
                    }
                }
                continue;
            }
            let (size, alignment) = (random(2000) as usize, 1 << random(13));
            let block = heap.c_allocate(size, alignment);
            if !block.is_null() {
                assert_eq!(block as usize % alignment.max(ALIGNMENT), 0);
                // SAFETY: the block is `size` long.
                unsafe { block.write_bytes(round as u8, size) };
                blocks.push((block, size, round as u8));
            }
        }
        for (block, ..) in blocks {
            // SAFETY: the block is ours.
            unsafe { heap.c_free(block) };
        }
        assert_eq!(heap.usage(), before);
    }

    #[test]
    fn what_cannot_be_gives_null() {
        let mut heap = heap(64 * 1024);
        assert!(heap.c_allocate(usize::MAX, 16).is_null());
        assert!(heap.c_allocate(isize::MAX as usize, 4096).is_null());
        assert!(heap.c_allocate(64 * 1024, 16).is_null());
        assert!(!heap.c_allocate(0, 16).is_null());
        assert!(
            Heap::new().c_allocate(1, 16).is_null(),
            "a heap without memory"
        );
    }
}
