//! The byte rings of the console and of xenstore (`io/console.h`, `io/xs_wire.h`).
//!
//! A ring is a power of two bytes and two free-running 32-bit indices, one of which the other end
//! writes. That index is read once per operation and believed only as far as it is possible: an end
//! that claims more than the ring holds is broken, and the ring says so.

use core::sync::atomic::{AtomicU8, AtomicU32, Ordering, fence};

/// The other end's index is impossible.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenRing;

/// The end of a ring that writes.
pub struct Writer<'r> {
    bytes: &'r [AtomicU8],
    consumed: &'r AtomicU32,
    produced: &'r AtomicU32,
}

impl<'r> Writer<'r> {
    /// The writing end of a ring. `bytes` must be a power of two long.
    pub fn new(bytes: &'r [AtomicU8], consumed: &'r AtomicU32, produced: &'r AtomicU32) -> Self {
        assert!(bytes.len().is_power_of_two());
        Self {
            bytes,
            consumed,
            produced,
        }
    }

    /// How many bytes there is room for.
    pub fn room(&self) -> Result<usize, BrokenRing> {
        let used = self
            .produced
            .load(Ordering::Relaxed)
            .wrapping_sub(self.consumed.load(Ordering::Acquire)) as usize;
        self.bytes.len().checked_sub(used).ok_or(BrokenRing)
    }

    /// Whether the other end has taken everything.
    pub fn is_empty(&self) -> bool {
        self.room() == Ok(self.bytes.len())
    }

    /// Whether the other end had taken everything that was there before the last `count` bytes: it may
    /// have looked before they came, and sleep.
    pub fn was_empty_before(&self, count: usize) -> bool {
        // It sees the index that was written, or this the one that it wrote: one of both notices.
        fence(Ordering::SeqCst);
        let before = self
            .produced
            .load(Ordering::Relaxed)
            .wrapping_sub(count as u32);
        let taken = self.consumed.load(Ordering::Relaxed);
        count > 0 && taken.wrapping_sub(before) as i32 >= 0
    }

    /// Writes as much of `data` as there is room for, and says how much that was.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, BrokenRing> {
        let count = self.room()?.min(data.len());
        let start = self.produced.load(Ordering::Relaxed);
        for (offset, &byte) in data[..count].iter().enumerate() {
            let at = (start as usize).wrapping_add(offset) & (self.bytes.len() - 1);
            self.bytes[at].store(byte, Ordering::Relaxed);
        }
        // The other end must see the bytes before the index.
        self.produced
            .store(start.wrapping_add(count as u32), Ordering::Release);
        Ok(count)
    }
}

/// The end of a ring that reads.
pub struct Reader<'r> {
    bytes: &'r [AtomicU8],
    consumed: &'r AtomicU32,
    produced: &'r AtomicU32,
}

impl<'r> Reader<'r> {
    /// The reading end of a ring. `bytes` must be a power of two long.
    pub fn new(bytes: &'r [AtomicU8], consumed: &'r AtomicU32, produced: &'r AtomicU32) -> Self {
        assert!(bytes.len().is_power_of_two());
        Self {
            bytes,
            consumed,
            produced,
        }
    }

    /// How many bytes wait.
    pub fn available(&self) -> Result<usize, BrokenRing> {
        let available = self
            .produced
            .load(Ordering::Acquire)
            .wrapping_sub(self.consumed.load(Ordering::Relaxed)) as usize;
        if available > self.bytes.len() {
            Err(BrokenRing)
        } else {
            Ok(available)
        }
    }

    /// Takes as many bytes as wait and fit, and says how many that was.
    pub fn read(&mut self, data: &mut [u8]) -> Result<usize, BrokenRing> {
        let count = self.available()?.min(data.len());
        let start = self.consumed.load(Ordering::Relaxed);
        for (offset, byte) in data[..count].iter_mut().enumerate() {
            let at = (start as usize).wrapping_add(offset) & (self.bytes.len() - 1);
            *byte = self.bytes[at].load(Ordering::Relaxed);
        }
        // The bytes must be taken before the other end may overwrite them.
        self.consumed
            .store(start.wrapping_add(count as u32), Ordering::Release);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of 8 bytes with both indices at `start`.
    fn ring(start: u32) -> ([AtomicU8; 8], AtomicU32, AtomicU32) {
        (
            Default::default(),
            AtomicU32::new(start),
            AtomicU32::new(start),
        )
    }

    #[test]
    fn bytes_come_out_as_they_went_in_across_both_wraps() {
        let (bytes, consumed, produced) = ring(u32::MAX - 20);
        let mut writer = Writer::new(&bytes, &consumed, &produced);
        let mut reader = Reader::new(&bytes, &consumed, &produced);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for round in 0..60u8 {
            let data = [round; 11];
            let count = writer.write(&data[..usize::from(round % 12)]).unwrap();
            sent.extend_from_slice(&data[..count]);
            let mut taken = [0; 5];
            let count = reader.read(&mut taken).unwrap();
            received.extend_from_slice(&taken[..count]);
        }
        assert!(received.len() > 100);
        assert_eq!(received, sent[..received.len()]);
    }

    #[test]
    fn a_full_ring_takes_nothing_and_an_empty_one_gives_nothing() {
        let (bytes, consumed, produced) = ring(3);
        let mut writer = Writer::new(&bytes, &consumed, &produced);
        assert!(writer.is_empty());
        assert_eq!(writer.write(b"0123456789"), Ok(8));
        assert_eq!(writer.write(b"x"), Ok(0));
        let mut reader = Reader::new(&bytes, &consumed, &produced);
        assert_eq!(reader.read(&mut [0; 16]), Ok(8));
        assert_eq!(reader.read(&mut [0; 16]), Ok(0));
    }

    #[test]
    fn an_impossible_index_is_noticed() {
        let (bytes, consumed, produced) = ring(0);
        consumed.store(1, Ordering::Relaxed); // more consumed than produced
        assert_eq!(
            Writer::new(&bytes, &consumed, &produced).write(b"x"),
            Err(BrokenRing)
        );
        produced.store(100, Ordering::Relaxed); // more produced than fits
        assert_eq!(
            Reader::new(&bytes, &consumed, &produced).read(&mut [0]),
            Err(BrokenRing)
        );
    }
}
