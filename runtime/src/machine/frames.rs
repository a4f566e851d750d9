//! Page frames, for page tables and for areas, taken from the heap in chunks.
//!
//! A heap block of one aligned page would waste most of another one, so frames are cut from chunks of
//! sixteen; a chunk that is wholly free goes back to the heap when another has frames left.

use crate::memory::PAGE;
use alloc::vec::Vec;
use core::alloc::Layout;

/// Frames in a chunk: the bits of a `u16`.
const CHUNK_FRAMES: usize = 16;
const ALL_FREE: u16 = u16::MAX;
const LAYOUT: Layout = match Layout::from_size_align(CHUNK_FRAMES * PAGE, PAGE) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

struct Chunk {
    start: usize,
    free: u16,
}

/// The frames that were taken from the heap.
pub struct Frames {
    /// Sorted by address.
    chunks: Vec<Chunk>,
    free: usize,
}

impl Frames {
    pub const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: 0,
        }
    }

    /// A frame, with whatever is in it; `None` when memory is out.
    pub fn take(&mut self) -> Option<usize> {
        if self.free == 0 {
            self.grow()?;
        }
        let chunk = self.chunks.iter_mut().find(|chunk| chunk.free != 0)?;
        let index = chunk.free.trailing_zeros() as usize;
        chunk.free &= !(1 << index);
        self.free -= 1;
        Some(chunk.start + index * PAGE)
    }

    /// Gives a frame back.
    pub fn give(&mut self, frame: usize) {
        let after = self.chunks.partition_point(|chunk| chunk.start <= frame);
        let chunk = &mut self.chunks[after - 1];
        chunk.free |= 1 << ((frame - chunk.start) / PAGE);
        self.free += 1;
        if chunk.free == ALL_FREE && self.free > CHUNK_FRAMES {
            let chunk = self.chunks.remove(after - 1);
            self.free -= CHUNK_FRAMES;
            // SAFETY: the chunk came from the global allocator with this layout, and all of it is free.
            unsafe { alloc::alloc::dealloc(chunk.start as *mut u8, LAYOUT) };
        }
    }

    fn grow(&mut self) -> Option<()> {
        self.chunks.try_reserve(1).ok()?;
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc::alloc::alloc(LAYOUT) } as usize;
        if start == 0 {
            return None;
        }
        let index = self.chunks.partition_point(|chunk| chunk.start < start);
        self.chunks.insert(
            index,
            Chunk {
                start,
                free: ALL_FREE,
            },
        );
        self.free += CHUNK_FRAMES;
        Some(())
    }
}
