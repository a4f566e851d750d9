//! Memory that the backend reads packets from: contiguous pages, granted once for reading only, and used as
//! one circle.
//!
//! Packets are taken from the head and given back at the tail. The backend mostly answers in order; a packet
//! answered before its elders waits for them, which costs room and nothing else.

use super::super::grants::{Access, DomainId, GrantRef, Grants};
use super::super::shared_page::frame_of;
use crate::memory::PAGE;
use alloc::alloc::{alloc_zeroed, dealloc};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ptr::NonNull;

/// Packets begin at multiples of this, a cache line.
const ALIGNMENT: usize = 64;

/// A packet in the arena.
struct Packet {
    /// Bytes from the packet's start to the next one's, the skipped end of the circle included.
    length: usize,
    /// Requests that are not answered yet.
    outstanding: u16,
}

/// The memory.
pub struct Arena {
    start: NonNull<u8>,
    size: usize,
    grants: Vec<GrantRef>,
    packets: VecDeque<Packet>,
    /// The number of the oldest packet.
    first: u32,
    head: usize,
    used: usize,
}

// SAFETY: the memory is owned.
unsafe impl Send for Arena {}

/// Where a packet's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Offset from the arena's start.
    pub offset: usize,
    /// Bytes taken with it.
    taken: usize,
}

impl Arena {
    /// An arena of so many pages, granted to `backend`; `None` when memory or grants are out.
    pub fn new(pages: usize, backend: DomainId, grants: &mut Grants) -> Option<Self> {
        let layout = layout(pages * PAGE)?;
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let mut arena = Self {
            start,
            size: pages * PAGE,
            grants: Vec::new(),
            packets: VecDeque::new(),
            first: 0,
            head: 0,
            used: 0,
        };
        for page in 0..pages {
            let frame = frame_of(start.as_ptr().wrapping_add(page * PAGE));
            match grants.grant(backend, frame, Access::Read) {
                Some(grant) => arena.grants.push(grant),
                None => {
                    arena.release(grants);
                    return None;
                }
            }
        }
        Some(arena)
    }

    /// Where a packet of `length` bytes would go, if there is room.
    pub fn find(&self, length: usize) -> Option<Place> {
        let length = length.next_multiple_of(ALIGNMENT);
        let to_end = self.size - self.head;
        // A packet is contiguous: what is left at the end of the circle is skipped if it is too short.
        let (offset, taken) = if length <= to_end {
            (self.head, length)
        } else {
            (0, to_end + length)
        };
        (length <= self.size && taken <= self.size - self.used).then_some(Place { offset, taken })
    }

    /// Takes a place that was just found, for a packet of so many requests; the packet's number.
    pub fn take(&mut self, place: Place, requests: u16) -> u32 {
        let number = self.first.wrapping_add(self.packets.len() as u32);
        self.packets.push_back(Packet {
            length: place.taken,
            outstanding: requests,
        });
        self.head = (self.head + place.taken) % self.size;
        self.used += place.taken;
        number
    }

    /// The bytes of a place. The backend may read them at any time, but not write.
    pub fn bytes(&mut self, place: Place, length: usize) -> &mut [u8] {
        assert!(place.offset + length <= self.size);
        // SAFETY: within the allocation, which the backend cannot write: the grants are for reading.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().add(place.offset), length) }
    }

    /// The grant of the page that `offset` is in.
    pub fn grant(&self, offset: usize) -> GrantRef {
        self.grants[offset / PAGE]
    }

    /// One of a packet's requests was answered; whether that packet was waiting for answers at all.
    pub fn answered(&mut self, number: u32) -> bool {
        let index = number.wrapping_sub(self.first) as usize;
        let Some(packet) = self
            .packets
            .get_mut(index)
            .filter(|packet| packet.outstanding > 0)
        else {
            return false;
        };
        packet.outstanding -= 1;
        while let Some(oldest) = self.packets.front()
            && oldest.outstanding == 0
        {
            self.used -= oldest.length;
            self.packets.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        true
    }

    /// Withdraws the grants and frees the memory; leaks it if the backend still uses a page.
    pub fn release(mut self, grants: &mut Grants) {
        // Every grant is ended, also behind one that cannot be.
        let in_use = self
            .grants
            .drain(..)
            .filter(|&grant| !grants.end(grant))
            .count();
        if let Some(layout) = layout(self.size).filter(|_| in_use == 0) {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, PAGE)
        .ok()
        .filter(|layout| layout.size() > 0)
}

#[cfg(test)]
mod tests {
    use super::super::super::grants::Entry;
    use super::*;

    #[test]
    fn random_packets_never_overlap_and_all_room_comes_back() {
        let entries: Vec<Entry> = (0..64).map(|_| Entry::default()).collect();
        let mut grants = Grants::new(&entries);
        let mut arena = Arena::new(8, DomainId(0), &mut grants).unwrap();
        let mut flying: Vec<(u32, usize, usize, u8)> = Vec::new();
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % below
        };
        for round in 0..20_000 {
            let length = 1 + random(9000);
            if let Some(place) = arena.find(length) {
                let fill = round as u8;
                arena.bytes(place, length).fill(fill);
                let number = arena.take(place, 1);
                flying.push((number, place.offset, length, fill));
            } else {
                assert!(!flying.is_empty(), "an empty arena has room for a packet");
                // Mostly the oldest, sometimes another.
                let index = if random(4) == 0 {
                    random(flying.len())
                } else {
                    0
                };
                let (number, offset, length, fill) = flying.remove(index);
                let bytes = arena.bytes(Place { offset, taken: 0 }, length);
                assert!(bytes.iter().all(|&byte| byte == fill));
                assert!(arena.answered(number));
                assert!(!arena.answered(number), "an answer counts once");
            }
        }
        for (number, ..) in flying {
            assert!(arena.answered(number));
        }
        assert_eq!(arena.used, 0);
        let before = grants.available();
        arena.release(&mut grants);
        assert_eq!(grants.available(), before + 8);
    }
}
