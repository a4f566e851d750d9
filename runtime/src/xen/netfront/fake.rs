//! A netback for tests: it obeys the header, or breaks it on demand.

use super::super::front_ring::fake::BackRing;
use super::super::grants::{Entry, fake::look_up};
use super::super::shared_page::fake::address_of;
use super::Netfront;
use crate::memory::PAGE;

/// A packet as the backend sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub bytes: Vec<u8>,
    pub flags: u16,
    pub gso_size: Option<u16>,
}

/// The backend.
pub struct Netback<'e> {
    entries: &'e [Entry],
    tx: BackRing<3>,
    rx: BackRing<2>,
}

/// A fragment to be written into one of the frontend's buffers.
pub struct Fragment<'b> {
    pub bytes: &'b [u8],
    pub offset: u16,
    pub flags: u16,
}

impl<'e> Netback<'e> {
    pub fn new(entries: &'e [Entry]) -> Self {
        Self {
            entries,
            tx: BackRing::default(),
            rx: BackRing::default(),
        }
    }

    fn page(&self, grant: u32) -> (*mut u8, bool) {
        let (frame, writable) = look_up(self.entries, grant).expect("a valid grant");
        (address_of(frame), writable)
    }

    /// Takes one packet from the TX ring, and answers all its requests.
    pub fn take(&mut self, front: &Netfront) -> Option<Seen> {
        let (seen, answers) = self.take_unanswered(front)?;
        self.answer(front, &answers);
        Some(seen)
    }

    /// Answers requests, in this order.
    pub fn answer(&mut self, front: &Netfront, answers: &[u32]) {
        for &answer in answers {
            self.tx.put(&front.tx, &[answer, 0, 0]);
        }
    }

    /// Takes one packet from the TX ring; also the answers that its requests wait for.
    pub fn take_unanswered(&mut self, front: &Netfront) -> Option<(Seen, Vec<u32>)> {
        let first = self.tx.take(&front.tx)?;
        let flags = (first[1] >> 16) as u16;
        let total = (first[2] >> 16) as usize;
        let mut answers = vec![first[2] & 0xffff];
        let mut gso_size = None;
        if flags & super::wire::TX_EXTRA_INFO != 0 {
            let extra = self.tx.take(&front.tx).unwrap();
            gso_size = Some((extra[0] >> 16) as u16);
            answers.push(1 << 16 | 0xbad); // RSP_NULL, with an id that means nothing
        }
        let mut fragments = vec![first];
        while (fragments.last().unwrap()[1] >> 16) as u16 & super::wire::TX_MORE_DATA != 0 {
            let next = self.tx.take(&front.tx).unwrap();
            answers.push(next[2] & 0xffff);
            fragments.push(next);
        }
        let rest: usize = fragments[1..]
            .iter()
            .map(|entry| (entry[2] >> 16) as usize)
            .sum();
        let mut bytes = Vec::new();
        for (index, entry) in fragments.iter().enumerate() {
            let offset = (entry[1] & 0xffff) as usize;
            let size = if index == 0 {
                total - rest
            } else {
                (entry[2] >> 16) as usize
            };
            assert!(offset + size <= PAGE, "a slot crosses a page");
            let (page, writable) = self.page(entry[0]);
            assert!(!writable, "packets are granted for reading");
            // SAFETY: the page is the frontend's, and the range is within it.
            bytes.extend(unsafe { core::slice::from_raw_parts(page.add(offset), size) });
        }
        let seen = Seen {
            bytes,
            flags,
            gso_size,
        };
        Some((seen, answers))
    }

    /// Answers a TX request that was never made.
    pub fn answer_nonsense(&mut self, front: &Netfront) {
        assert!(self.tx.take(&front.tx).is_some());
        self.tx.put(&front.tx, &[0xfff, 0, 0]);
    }

    /// Claims TX responses that are not there.
    pub fn lie(&mut self, front: &Netfront) {
        self.tx.lie(&front.tx, 1000);
    }

    /// Writes a packet into the frontend's buffers; `extra` goes behind the first fragment.
    pub fn give(&mut self, front: &Netfront, fragments: &[Fragment], extra: Option<[u32; 2]>) {
        for (index, fragment) in fragments.iter().enumerate() {
            let request = self.rx.take(&front.rx).expect("a posted buffer");
            let (page, writable) = self.page(request[1]);
            assert!(writable);
            let room = PAGE
                .saturating_sub(usize::from(fragment.offset))
                .min(fragment.bytes.len());
            let start = usize::from(fragment.offset).min(PAGE);
            // SAFETY: the page is the frontend's, and the range is within it.
            unsafe {
                page.add(start)
                    .copy_from_nonoverlapping(fragment.bytes.as_ptr(), room)
            };
            let words = [
                request[0] & 0xffff | u32::from(fragment.offset) << 16,
                u32::from(fragment.flags) | (fragment.bytes.len() as u32) << 16,
            ];
            self.rx.put(&front.rx, &words);
            if index == 0
                && let Some(extra) = extra
            {
                self.rx.take(&front.rx).expect("a posted buffer");
                self.rx.put(&front.rx, &extra);
            }
        }
    }
}
