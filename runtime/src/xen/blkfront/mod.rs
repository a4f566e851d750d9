//! The frontend of a virtual block device (`io/blkif.h`).
//!
//! Data is copied once, between the caller's buffer and [`pages`] that stay granted, so no request costs a
//! grant operation, and a backend that offers persistent grants maps each page once. Many requests are in
//! flight at once; each has a [`Ticket`], with which its outcome is taken.
//!
//! States: *opening* (the ring exists, nothing is sent), *connected*, *broken* (for ever). [`Blkfront::reopen`]
//! goes back to opening, for another backend after the domain has moved: what was not answered is then sent
//! again when it is connected, in the order in which it was asked for, and nobody who waits for it notices.
//! Every request can be repeated: reads, flushes, and writes of the same bytes to the same place.
//!
//! **Threats.** A backend may answer in any order, late, never, or with nonsense. An answer to what was not
//! asked, a status that the header does not know, or a ring that claims too much breaks the device: all that
//! is outstanding and all that comes later fails.

mod pages;
pub mod wire;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

use super::front_ring::FrontRing;
use super::grants::{Access, DomainId, GrantRef, Grants};
use super::ring::BrokenRing;
use crate::memory::PAGE;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use pages::{PageNumber, Pages};
use wire::{Operation, Outcome, Parameters, Request, Response, SECTOR, SEGMENTS_MAX, Segment};

/// The most that one request moves. (Indirect descriptors would allow more; with many requests in flight the
/// gain is in fewer ring entries only.)
pub const REQUEST_MAX: usize = SEGMENTS_MAX * PAGE;
/// Requests in flight at most: the ring's size.
const REQUESTS_MAX: usize = FrontRing::<{ wire::WORDS }>::ENTRIES as usize;

/// Pages of a device: eight of the largest requests at once, or less in a guest that is small. `bytes` is the
/// guest's memory, of which a thirty-second goes there.
pub fn pages_for_memory(bytes: usize) -> u16 {
    (bytes / 32 / PAGE).clamp(2 * SEGMENTS_MAX, 8 * SEGMENTS_MAX) as u16
}

/// The name in `/dev` of a virtual device number (Xen's `docs/man/xen-vbd-interface.7`): xvda to xvdzz and
/// their partitions. Numbers that mean hd or sd devices have none.
pub fn disk_name(number: u64) -> Option<String> {
    let (disk, partition) = match number {
        // 202 << 8 | disk << 4 | partition
        0xca00..=0xcaff => (number >> 4 & 0xf, number & 0xf),
        // 1 << 28 | disk << 8 | partition
        0x1000_0000..=0x1fff_ffff => (number >> 8 & 0xf_ffff, number & 0xff),
        _ => return None,
    };
    let letter = |number: u64| char::from(b'a' + number as u8);
    let mut name = String::from("xvd");
    match disk {
        0..26 => name.push(letter(disk)),
        26..702 => name.extend([letter(disk / 26 - 1), letter(disk % 26)]),
        _ => return None,
    }
    if partition > 0 {
        name.push_str(&partition.to_string());
    }
    Some(name)
}

/// How the backend broke the protocol, or why else the device is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It claims more responses than there are requests.
    Ring,
    /// It answered a request that nobody made, or made and got answered.
    UnknownRequest,
    /// It answered with a status that does not exist.
    UnknownStatus,
    /// The toolstack took the device away.
    Detached,
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ring => "the backend claims more responses than there were requests",
            Self::UnknownRequest => "the backend answered a request that was not made",
            Self::UnknownStatus => "the backend answered with an unknown status",
            Self::Detached => "the host detached it",
        })
    }
}

impl From<BrokenRing> for Broken {
    fn from(_: BrokenRing) -> Self {
        Self::Ring
    }
}

/// Why a request did not do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The disk failed.
    Error,
    /// The disk cannot do that.
    NotSupported,
    /// The device is broken.
    Broken,
}

/// Stands for a request until its outcome is taken.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a ticket that is not taken keeps its pages for ever"]
pub struct Ticket(u64);

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests to read.
    pub reads: u64,
    /// Bytes that they asked for.
    pub bytes_read: u64,
    /// Requests to write.
    pub writes: u64,
    /// Bytes that they gave.
    pub bytes_written: u64,
    /// Flushes and barriers.
    pub flushes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Notifications sent.
    pub notifications: u64,
}

struct InFlight {
    /// The low byte is the slot's number, the rest counts requests: no number comes twice.
    id: u64,
    operation: Operation,
    sector: u64,
    pages: Vec<PageNumber>,
    bytes: usize,
    outcome: Option<Result<(), Failure>>,
}

/// A device.
pub struct Blkfront {
    ring: FrontRing<{ wire::WORDS }>,
    ring_grant: GrantRef,
    pages: Pages,
    /// As many as the ring has entries.
    slots: Vec<Option<InFlight>>,
    issued: u64,
    connected: bool,
    flush: bool,
    barrier: bool,
    broken: Option<Broken>,
    counters: Counters,
}

impl Blkfront {
    /// A device whose ring and pages `backend` may use; `None` when memory or grants are out.
    pub fn new(backend: DomainId, pages: u16, grants: &mut Grants) -> Option<Self> {
        let (ring, ring_grant) = new_ring(backend, grants)?;
        let Some(pages) = Pages::new(pages, backend, grants) else {
            end_ring(ring, ring_grant, grants);
            return None;
        };
        Some(Self {
            ring,
            ring_grant,
            pages,
            slots: (0..REQUESTS_MAX).map(|_| None).collect(),
            issued: 0,
            connected: false,
            flush: false,
            barrier: false,
            broken: None,
            counters: Counters::default(),
        })
    }

    /// The grant of the ring, to be told to the backend (`ring-ref`).
    pub fn ring_grant(&self) -> GrantRef {
        self.ring_grant
    }

    /// The backend is connected and says this of the disk. What was asked for before is sent again.
    pub fn connect(&mut self, parameters: &Parameters) {
        self.connected = true;
        self.flush = parameters.flush;
        self.barrier = parameters.barrier;
        let mut unanswered: Vec<u64> = self
            .slots
            .iter()
            .flatten()
            .filter(|request| request.outcome.is_none())
            .map(|request| request.id)
            .collect();
        unanswered.sort_unstable();
        for id in unanswered {
            self.send(slot_of(id));
        }
    }

    /// Makes ring and grants anew for `backend`, which may be another one; false when memory or grants are
    /// out, and then the device is as before. Nothing is sent until it is connected.
    pub fn reopen(&mut self, backend: DomainId, grants: &mut Grants) -> bool {
        let Some((ring, grant)) = new_ring(backend, grants) else {
            return false;
        };
        let count = self.pages.count() as u16;
        let Some(pages) = Pages::new(count, backend, grants) else {
            end_ring(ring, grant, grants);
            return false;
        };
        let old = core::mem::replace(&mut self.pages, pages);
        self.pages.adopt(old, grants);
        let old = core::mem::replace(&mut self.ring, ring);
        end_ring(old, self.ring_grant, grants);
        self.ring_grant = grant;
        self.connected = false;
        true
    }

    /// Ends all grants. The backend is closed by then; pages that it holds on to are leaked.
    pub fn close(self, grants: &mut Grants) {
        end_ring(self.ring, self.ring_grant, grants);
        self.pages.end(grants);
    }

    /// The device is of no use any more.
    pub fn give_up(&mut self, why: Broken) {
        self.broken.get_or_insert(why);
        for request in self.slots.iter_mut().flatten() {
            request.outcome.get_or_insert(Err(Failure::Broken));
        }
    }

    /// Why the device is of no use any more.
    pub fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether what is written can be made durable, as far as is known.
    pub fn can_flush(&self) -> bool {
        self.flush || self.barrier
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many bytes a request can have now: whole pages, 0 when there is no room at all.
    pub fn room(&self) -> usize {
        if self.can_send() {
            self.pages.available().min(SEGMENTS_MAX) * PAGE
        } else {
            0
        }
    }

    fn can_send(&self) -> bool {
        let broken_or_room = self.broken.is_some() || self.ring.room() > 0;
        self.connected && broken_or_room && self.slots.iter().any(Option::is_none)
    }

    /// Asks for `bytes`, a multiple of the disk's block, from `sector` on. The caller has seen that there is
    /// room.
    pub fn read(&mut self, sector: u64, bytes: usize) -> Ticket {
        self.counters.reads += 1;
        self.counters.bytes_read += bytes as u64;
        let pages = self.take_pages(bytes);
        self.issue(Operation::Read, sector, pages, bytes)
    }

    /// Writes the bytes of all `parts`, together a multiple of the disk's block, from `sector` on. The caller
    /// has seen that there is room.
    pub fn write(&mut self, sector: u64, parts: &[&[u8]]) -> Ticket {
        let bytes = parts.iter().map(|part| part.len()).sum();
        self.counters.writes += 1;
        self.counters.bytes_written += bytes as u64;
        let pages = self.take_pages(bytes);
        let mut at = 0;
        for part in parts {
            for_each_piece(at, part.len(), |page, offset, range| {
                self.pages.write(pages[page], offset, &part[range]);
            });
            at += part.len();
        }
        self.issue(Operation::Write, sector, pages, bytes)
    }

    /// Makes everything durable whose outcome was taken; `None` if there is no room now. The disk can flush,
    /// as far as is known.
    pub fn flush(&mut self) -> Option<Ticket> {
        if !self.can_send() {
            return None;
        }
        self.counters.flushes += 1;
        let operation = if self.flush {
            Operation::Flush
        } else {
            Operation::Barrier
        };
        Some(self.issue(operation, 0, Vec::new(), 0))
    }

    fn take_pages(&mut self, bytes: usize) -> Vec<PageNumber> {
        let count = bytes.div_ceil(PAGE);
        assert!(
            bytes.is_multiple_of(SECTOR)
                && (1..=SEGMENTS_MAX).contains(&count)
                && bytes <= self.room(),
            "a request of {bytes} bytes with room for {}",
            self.room()
        );
        core::iter::from_fn(|| self.pages.take())
            .take(count)
            .collect()
    }

    fn issue(
        &mut self,
        operation: Operation,
        sector: u64,
        pages: Vec<PageNumber>,
        bytes: usize,
    ) -> Ticket {
        let Some(slot) = self.slots.iter().position(Option::is_none) else {
            panic!("a request without room");
        };
        self.issued += 1;
        let id = self.issued << 8 | slot as u64;
        self.slots[slot] = Some(InFlight {
            id,
            operation,
            sector,
            pages,
            bytes,
            outcome: self.broken.map(|_| Err(Failure::Broken)),
        });
        if self.broken.is_none() {
            self.send(slot);
        }
        Ticket(id)
    }

    /// Puts a slot's request into the ring.
    fn send(&mut self, slot: usize) {
        let Some(request) = &self.slots[slot] else {
            panic!("slot {slot} is empty");
        };
        let mut segments = [Segment {
            grant: 0,
            first: 0,
            last: 0,
        }; SEGMENTS_MAX];
        let mut left = request.bytes;
        for (segment, &page) in segments.iter_mut().zip(&request.pages) {
            let sectors = left.min(PAGE) / SECTOR;
            left -= sectors * SECTOR;
            segment.grant = self.pages.grant(page).0;
            segment.last = sectors as u8 - 1;
        }
        let entry = Request {
            operation: request.operation,
            id: request.id,
            sector: request.sector,
            segments: &segments[..request.pages.len()],
        }
        .emit();
        self.ring.put(&entry);
    }

    /// Publishes what was asked for; whether the backend wants to be notified.
    #[must_use = "a backend that waits for a notification waits for ever"]
    pub fn publish(&mut self) -> bool {
        let notify = self.broken.is_none() && self.ring.publish();
        self.counters.notifications += u64::from(notify);
        notify
    }

    /// Takes the responses that have come, and asks to be notified of the next one. Whether there were any:
    /// nobody else will tell those who wait for them.
    #[must_use = "who waits for an answer must be told"]
    pub fn collect(&mut self) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let before = self.ring.outstanding();
        if let Err(why) = self.collect_all() {
            self.give_up(why);
            return true;
        }
        self.ring.outstanding() != before
    }

    fn collect_all(&mut self) -> Result<(), Broken> {
        loop {
            for _ in 0..self.ring.responses()? {
                let response = Response::parse(&self.ring.take());
                self.answered(response)?;
            }
            if !self.ring.ask_for_notification(1)? {
                return Ok(());
            }
        }
    }

    fn answered(&mut self, response: Response) -> Result<(), Broken> {
        let request = self
            .slots
            .get_mut(slot_of(response.id))
            .and_then(Option::as_mut)
            .filter(|request| request.id == response.id && request.outcome.is_none())
            .ok_or(Broken::UnknownRequest)?;
        let outcome = match response.outcome.ok_or(Broken::UnknownStatus)? {
            Outcome::Okay => Ok(()),
            Outcome::Error => Err(Failure::Error),
            Outcome::NotSupported => Err(Failure::NotSupported),
        };
        request.outcome = Some(outcome);
        self.counters.errors += u64::from(outcome.is_err());
        if outcome == Err(Failure::NotSupported) {
            match request.operation {
                Operation::Flush => self.flush = false,
                Operation::Barrier => self.barrier = false,
                Operation::Read | Operation::Write => {}
            }
        }
        Ok(())
    }

    /// Whether a request has been answered.
    pub fn is_answered(&self, ticket: &Ticket) -> bool {
        let request = self.slots[slot_of(ticket.0)].as_ref();
        request.is_some_and(|request| request.id == ticket.0 && request.outcome.is_some())
    }

    /// Ends an answered request. Of one that was a read, the bytes from `skip` on are copied into `bytes`.
    pub fn take(&mut self, ticket: Ticket, skip: usize, bytes: &mut [u8]) -> Result<(), Failure> {
        let Some(request) = self.slots[slot_of(ticket.0)].take() else {
            panic!("a ticket without a request");
        };
        let Some(outcome) = request.outcome else {
            panic!("a request was taken before its answer");
        };
        if outcome.is_ok() {
            assert!(bytes.is_empty() || skip + bytes.len() <= request.bytes);
            for_each_piece(skip, bytes.len(), |page, offset, range| {
                self.pages
                    .read(request.pages[page], offset, &mut bytes[range]);
            });
        }
        // Of a broken device the backend may still write to the pages; but nothing is sent there any more.
        for page in request.pages {
            self.pages.give(page);
        }
        outcome
    }
}

fn slot_of(id: u64) -> usize {
    (id & 0xff) as usize
}

/// Cuts `length` bytes that begin `at` bytes into a run of pages at their boundaries: the page's index, the
/// offset in it, and the range of the bytes.
fn for_each_piece(
    at: usize,
    length: usize,
    mut piece: impl FnMut(usize, usize, core::ops::Range<usize>),
) {
    let mut done = 0;
    while done < length {
        let (page, offset) = ((at + done) / PAGE, (at + done) % PAGE);
        let count = (PAGE - offset).min(length - done);
        piece(page, offset, done..done + count);
        done += count;
    }
}

type Ring = FrontRing<{ wire::WORDS }>;

fn new_ring(backend: DomainId, grants: &mut Grants) -> Option<(Ring, GrantRef)> {
    let ring = Ring::new()?;
    let grant = grants.grant(backend, ring.page().frame(), Access::ReadWrite)?;
    Some((ring, grant))
}

fn end_ring(ring: Ring, grant: GrantRef, grants: &mut Grants) {
    let page = ring.into_page();
    if !grants.end(grant) {
        page.leak();
    }
}
