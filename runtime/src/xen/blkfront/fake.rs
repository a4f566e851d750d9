//! A backend in memory, for tests, with a volatile cache and faults to order.
//!
//! It is as unhelpful as the header allows: it answers in any order, keeps writes from the medium until a
//! flush, and a flush covers only what was answered before the flush was asked for. [`Fake::lose_power`] then
//! leaves any mix of the rest, sector by sector.

use super::super::front_ring::fake::BackRing;
use super::super::grants::{Entry, fake as grant_table};
use super::super::shared_page::fake::address_of;
use super::Blkfront;
use super::wire::{Operation, Parameters, SECTOR, SEGMENTS_MAX, WORDS};
use crate::memory::PAGE;

/// Numbers that look random and follow from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What the backend does wrong with the next answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// It answers something that nobody asked.
    UnknownRequest,
    /// It answers twice.
    Twice,
    /// It answers with a status that does not exist.
    UnknownStatus,
    /// It claims responses that it never wrote.
    Ring,
}

struct Asked {
    entry: [u32; WORDS],
    /// Writes answered before this was asked for: what a flush covers.
    written: u64,
}

struct Written {
    number: u64,
    sector: usize,
    bytes: [u8; SECTOR],
}

/// The backend.
pub struct Fake<'e> {
    entries: &'e [Entry],
    ring: BackRing<WORDS>,
    /// What it says of the disk.
    pub parameters: Parameters,
    /// What a read gives.
    pub contents: Vec<u8>,
    /// What is there after a loss of power.
    medium: Vec<u8>,
    cache: Vec<Written>,
    /// Writes answered so far.
    written: u64,
    asked: Vec<Asked>,
    /// Requests seen, by operation.
    pub seen: [usize; 4],
    /// Sectors that cannot be read or written.
    pub bad_sectors: core::ops::Range<u64>,
    /// Flushes are answered with EOPNOTSUPP.
    pub refuses_flush: bool,
    /// Barriers are.
    pub refuses_barrier: bool,
    /// The next answer is wrong.
    pub lie: Option<Lie>,
}

/// Parameters of a disk of so many bytes that can flush.
pub fn parameters(capacity: usize) -> Parameters {
    Parameters {
        capacity: capacity as u64,
        block: SECTOR,
        read_only: false,
        flush: true,
        barrier: false,
    }
}

impl<'e> Fake<'e> {
    /// A backend for a frontend with this table of grants, with a disk of zeros.
    pub fn new(entries: &'e [Entry], parameters: Parameters) -> Self {
        let contents = vec![0; parameters.capacity as usize];
        Self {
            entries,
            ring: BackRing::default(),
            parameters,
            medium: contents.clone(),
            contents,
            cache: Vec::new(),
            written: 0,
            asked: Vec::new(),
            seen: [0; 4],
            bad_sectors: 0..0,
            refuses_flush: false,
            refuses_barrier: false,
            lie: None,
        }
    }

    /// Another backend for the same disk, which nobody is connected to yet.
    pub fn restart(&mut self) {
        self.ring = BackRing::default();
        self.asked.clear();
    }

    /// Takes what is in the ring.
    pub fn take(&mut self, front: &Blkfront) {
        while let Some(entry) = self.ring.take(&front.ring) {
            self.seen[entry[0] as u8 as usize] += 1;
            self.asked.push(Asked {
                entry,
                written: self.written,
            });
        }
    }

    /// How many requests it has taken and not answered.
    pub fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Answers one of the requests that it has taken, whichever; whether there was one.
    pub fn answer(&mut self, front: &Blkfront, random: &mut Random) -> bool {
        if self.asked.is_empty() {
            return false;
        }
        let asked = self.asked.swap_remove(random.below(self.asked.len()));
        let status = self.execute(&asked);
        let mut response = [0; WORDS];
        (response[0], response[1]) = (asked.entry[2], asked.entry[3]);
        response[2] = asked.entry[0] & 0xff | u32::from(status as u16) << 16;
        match self.lie.take() {
            None => {}
            Some(Lie::UnknownRequest) => response[0] ^= 0x100,
            Some(Lie::Twice) => {
                self.ring.put(&front.ring, &response);
            }
            Some(Lie::UnknownStatus) => response[2] |= 7 << 16,
            Some(Lie::Ring) => {
                self.ring.lie(&front.ring, 40);
                return true;
            }
        }
        self.ring.put(&front.ring, &response);
        true
    }

    /// Takes and answers until nothing is left.
    pub fn answer_all(&mut self, front: &Blkfront, random: &mut Random) {
        loop {
            self.take(front);
            if !self.answer(front, random) {
                return;
            }
        }
    }

    /// What was not flushed is on the medium, or not, sector by sector.
    pub fn lose_power(&mut self, random: &mut Random) {
        while !self.cache.is_empty() {
            // Caches reorder.
            let written = self.cache.swap_remove(random.below(self.cache.len()));
            if random.one_in(2) {
                self.medium[written.sector * SECTOR..][..SECTOR].copy_from_slice(&written.bytes);
            }
        }
        self.contents.clone_from(&self.medium);
        self.restart();
    }

    fn execute(&mut self, asked: &Asked) -> i16 {
        let entry = &asked.entry;
        let operation = entry[0] as u8;
        let segments = (entry[0] >> 8) as u8 as usize;
        assert!(segments <= SEGMENTS_MAX);
        match operation {
            _ if operation == Operation::Flush as u8 && self.refuses_flush => return -2,
            _ if operation == Operation::Barrier as u8 && self.refuses_barrier => return -2,
            _ if operation >= Operation::Barrier as u8 => {
                assert_eq!(segments, 0);
                self.flush(asked.written);
                return 0;
            }
            _ => assert!(segments > 0),
        }
        let mut sector = u64::from(entry[4]) | u64::from(entry[5]) << 32;
        let unit = self.parameters.block / SECTOR;
        for segment in entry[6..].chunks_exact(2).take(segments) {
            let (first, last) = (segment[1] as u8 as usize, (segment[1] >> 8) as u8 as usize);
            assert!(first <= last && last < PAGE / SECTOR, "{first} to {last}");
            assert!(first % unit == 0 && (last + 1) % unit == 0 && sector % unit as u64 == 0);
            for in_page in first..=last {
                if sector >= self.parameters.capacity / SECTOR as u64
                    || self.bad_sectors.contains(&sector)
                {
                    return -1;
                }
                let write = operation == Operation::Write as u8;
                self.transfer(segment[0], in_page * SECTOR, sector as usize, write);
                sector += 1;
            }
        }
        self.written += u64::from(operation == Operation::Write as u8);
        0
    }

    /// Moves a sector between the disk and a granted page.
    fn transfer(&mut self, grant: u32, offset: usize, sector: usize, write: bool) {
        let Some((frame, true)) = grant_table::look_up(self.entries, grant) else {
            panic!("grant {grant} is not valid");
        };
        let place = address_of(frame).wrapping_add(offset);
        let contents = &mut self.contents[sector * SECTOR..][..SECTOR];
        if write {
            let mut bytes = [0; SECTOR];
            // SAFETY: the frontend granted a page of its own memory, which is ours as well in a test.
            unsafe { place.copy_to_nonoverlapping(bytes.as_mut_ptr(), SECTOR) };
            contents.copy_from_slice(&bytes);
            let number = self.written;
            self.cache.push(Written {
                number,
                sector,
                bytes,
            });
        } else {
            // SAFETY: as above.
            unsafe { place.copy_from_nonoverlapping(contents.as_ptr(), SECTOR) };
        }
    }

    /// Puts the first `written` writes on the medium.
    fn flush(&mut self, written: u64) {
        for write in self.cache.extract_if(.., |write| write.number < written) {
            self.medium[write.sector * SECTOR..][..SECTOR].copy_from_slice(&write.bytes);
        }
    }
}
