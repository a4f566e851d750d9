//! Socket buffers: queues of equal chunks from one pool with a limit.
//!
//! A buffer takes a chunk when bytes need it and gives it back when they are gone, so it grows and
//! shrinks with use without ever being copied, and an idle connection holds no buffer memory at all.
//! One pool for all sockets makes the memory limit a single number.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes per chunk: one page. A request of a few hundred bytes occupies one.
pub(crate) const CHUNK: usize = 4096;

/// Free chunks that the pool keeps rather than returning them to the heap: 1 MiB, and no more than a
/// quarter of the pool.
const KEEP: usize = 256;
/// Chunks whose list a buffer keeps when it is empty: 64 bytes, to spare each small message two calls
/// of the allocator.
const LIST_KEEP: usize = 4;

type Chunk = Box<[u8]>;

/// Where all socket buffers get their memory.
pub(crate) struct Pool {
    free: Vec<Chunk>,
    in_use: usize,
    limit: usize,
}

impl Pool {
    /// A pool that hands out at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Pool {
        Pool {
            free: Vec::new(),
            in_use: 0,
            limit: (bytes / CHUNK).max(1),
        }
    }

    /// Bytes handed out.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.in_use * CHUNK
    }

    /// Bytes still to be had.
    pub(crate) fn bytes_left(&self) -> usize {
        self.limit.saturating_sub(self.in_use) * CHUNK
    }

    fn take(&mut self) -> Option<Chunk> {
        if self.in_use >= self.limit {
            return None;
        }
        let chunk = match self.free.pop() {
            Some(chunk) => chunk,
            None => {
                let mut chunk = Vec::new();
                chunk.try_reserve_exact(CHUNK).ok()?; // a full heap is a full pool
                chunk.resize(CHUNK, 0);
                chunk.into_boxed_slice()
            }
        };
        self.in_use += 1;
        Some(chunk)
    }

    fn give(&mut self, chunk: Chunk) {
        self.in_use -= 1;
        if self.free.len() < KEEP.min(self.limit / 4) {
            self.free.push(chunk);
        }
    }
}

/// A queue of bytes, which may also be written ahead of its end (segments out of order).
#[derive(Default)]
pub(crate) struct Buffer {
    chunks: VecDeque<Chunk>,
    /// Of the first byte in the first chunk.
    start: usize,
    len: usize,
    /// End of the furthest byte written, counted from the first byte: at least `len`.
    extent: usize,
}

impl Buffer {
    /// Bytes in the queue.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends as much of `data` as memory allows and says how much.
    pub(crate) fn append(&mut self, pool: &mut Pool, data: &[u8]) -> usize {
        let written = self.write_ahead(pool, 0, data);
        self.len += written;
        written
    }

    /// Writes `data` at `gap` bytes behind the end, without making it part of the queue yet, and says how
    /// much of it memory allowed.
    pub(crate) fn write_ahead(&mut self, pool: &mut Pool, gap: usize, data: &[u8]) -> usize {
        let at = self.len + gap;
        let writable = self
            .reserve(pool, at + data.len())
            .saturating_sub(at)
            .min(data.len());
        let mut left = &data[..writable];
        let mut position = self.start + at;
        while !left.is_empty() {
            let offset = position % CHUNK;
            let (now, later) = left.split_at(left.len().min(CHUNK - offset));
            self.chunks[position / CHUNK][offset..offset + now.len()].copy_from_slice(now);
            position += now.len();
            left = later;
        }
        self.extent = self.extent.max(at + writable);
        writable
    }

    /// Makes `n` bytes that were written ahead part of the queue.
    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
        debug_assert!(self.len <= self.extent);
    }

    /// Makes room for `size` bytes in all; returns for how many there is.
    fn reserve(&mut self, pool: &mut Pool, size: usize) -> usize {
        while self.chunks.len() * CHUNK < self.start + size {
            let Some(chunk) = pool.take() else { break };
            self.chunks.push_back(chunk);
        }
        (self.chunks.len() * CHUNK).saturating_sub(self.start)
    }

    /// Copies `out.len()` bytes, or as many as there are, from `offset` on; returns how many.
    pub(crate) fn copy_to(&self, offset: usize, out: &mut [u8]) -> usize {
        let count = out.len().min(self.len.saturating_sub(offset));
        let mut left = &mut out[..count];
        let mut position = self.start + offset;
        while !left.is_empty() {
            let at = position % CHUNK;
            let (now, later) = left.split_at_mut(left.len().min(CHUNK - at));
            now.copy_from_slice(&self.chunks[position / CHUNK][at..at + now.len()]);
            position += now.len();
            left = later;
        }
        count
    }

    /// Removes `n` bytes from the front, and what is then unused goes back to the pool.
    pub(crate) fn consume(&mut self, pool: &mut Pool, n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        self.extent -= n;
        self.start += n;
        while self.start >= CHUNK {
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            pool.give(chunk);
            self.start -= CHUNK;
        }
        if self.extent == 0 {
            self.clear(pool);
        }
    }

    /// What was written ahead will never become part of the queue.
    pub(crate) fn forget_ahead(&mut self, pool: &mut Pool) {
        self.extent = self.len;
        if self.len == 0 {
            self.clear(pool);
        }
    }

    /// Gives everything back.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        while let Some(chunk) = self.chunks.pop_front() {
            pool.give(chunk);
        }
        if self.chunks.capacity() > LIST_KEEP {
            self.chunks = VecDeque::new();
        }
        (self.start, self.len, self.extent) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::Random;

    #[test]
    fn an_empty_buffer_holds_nothing() {
        let mut pool = Pool::new(1 << 20);
        let mut buffer = Buffer::default();
        buffer.append(&mut pool, &[1; 10_000]);
        assert_eq!(pool.bytes_in_use(), 3 * CHUNK);
        buffer.consume(&mut pool, 10_000);
        assert_eq!(pool.bytes_in_use(), 0);
        assert!(buffer.chunks.capacity() <= LIST_KEEP);
    }

    #[test]
    fn a_full_pool_takes_part_of_the_data() {
        let mut pool = Pool::new(2 * CHUNK);
        let mut buffer = Buffer::default();
        assert_eq!(buffer.append(&mut pool, &[1; 3 * CHUNK]), 2 * CHUNK);
        assert_eq!(buffer.append(&mut pool, &[1]), 0);
        assert_eq!(buffer.write_ahead(&mut pool, 1, &[1]), 0);
        buffer.consume(&mut pool, CHUNK + 1);
        assert_eq!(buffer.append(&mut pool, &[1; CHUNK]), CHUNK);
    }

    /// Any mix of appending, writing ahead and consuming keeps the bytes a plain queue would hold.
    #[test]
    fn behaves_as_a_queue() {
        let mut random = Random::seeded("buffer");
        let mut pool = Pool::new(1 << 20);
        let (mut buffer, mut model) = (Buffer::default(), VecDeque::new());
        let mut next = 0u8;
        for _ in 0..20_000 {
            let mut data: Vec<u8> = (0..random.below(9_000))
                .map(|i| next.wrapping_add(i as u8))
                .collect();
            next = next.wrapping_add(data.len() as u8);
            match random.below(3) {
                0 if model.len() < 200_000 => {
                    assert_eq!(buffer.append(&mut pool, &data), data.len());
                    model.extend(data);
                }
                1 if model.len() < 200_000 => {
                    // The second half first, then the first, then both at once.
                    let half = data.len() / 2;
                    buffer.write_ahead(&mut pool, half, &data[half..]);
                    buffer.write_ahead(&mut pool, 0, &data[..half]);
                    buffer.advance(data.len());
                    model.extend(data);
                }
                _ => {
                    let n = buffer.copy_to(0, &mut data);
                    assert!(model.drain(..n).eq(data[..n].iter().copied()));
                    buffer.consume(&mut pool, n);
                }
            }
            assert_eq!(buffer.len(), model.len());
        }
    }
}
