//! The frontend of a virtual network interface (`io/netif.h`).
//!
//! Packets to send are written into an [`arena`] of pages that stay granted; received ones are copied out of
//! pages that stay granted, too, and are posted again at once: no packet costs a grant operation. What the
//! backend writes is copied once, and then checked; whatever cannot be is counted and dropped, and a ring
//! that lies ends the interface.
//!
//! Parts of the header that Linux's netback enforces by disabling the interface: a packet has at most 18
//! slots, no slot crosses a page, the first slot's size is the whole packet's, a GSO size is not 0.

mod arena;
pub mod wire;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use super::front_ring::FrontRing;
use super::grants::{Access, DomainId, GrantRef, Grants};
use super::shared_page::SharedPage;
use crate::memory::PAGE;
use crate::net::{GsoKind, RxMeta, TxChecksum, TxDevice, TxMeta};
use alloc::vec::Vec;
use arena::Arena;
use wire::{RxResponse, TxRequest};

/// Slots of a packet at most (XEN_NETIF_NR_SLOTS_MIN); the header promises no more.
const SLOTS_MAX: usize = 18;
/// The longest packet that is received or sent: what the size field can say.
pub const FRAME_MAX: usize = 65_535;

const _: () = assert!(FRAME_MAX.div_ceil(PAGE) + 1 < SLOTS_MAX);

/// How much memory an interface has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Pages for packets on their way in: at least what one large packet needs.
    pub rx_pages: u32,
    /// Pages for packets on their way out: at least two large packets.
    pub tx_pages: usize,
}

impl Sizes {
    /// Sizes for a guest with so many bytes of memory: a sixteenth, within what is of use.
    pub fn for_memory(bytes: usize) -> Self {
        let pages = bytes / 16 / PAGE;
        Self {
            rx_pages: (pages / 2).clamp(32, 256) as u32,
            tx_pages: (pages / 2).clamp(36, 256),
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets received and handed on.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets that the backend marked as failed.
    pub rx_errors: u64,
    /// Packets whose fragments make no sense, or are too long together.
    pub rx_malformed: u64,
    /// Packets given to the backend.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Notifications sent.
    pub notifications: u64,
}

/// The backend broke the protocol of the rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

struct RxBuffer {
    page: SharedPage,
    grant: GrantRef,
}

/// An interface.
pub struct Netfront {
    tx: FrontRing<3>,
    rx: FrontRing<2>,
    ring_grants: [GrantRef; 2],
    arena: Arena,
    requests: TxRequests,
    buffers: Vec<RxBuffer>,
    /// Which buffer each ring slot has.
    buffer_of_slot: Vec<u16>,
    /// Requests posted so far: the next slot is this number modulo the ring's size.
    rx_posted: u32,
    rx_taken: u32,
    /// Where a received packet is put together.
    packet: Vec<u8>,
    counters: Counters,
    /// Whether the backend has ever answered a packet.
    answered: bool,
    broken: bool,
}

impl Netfront {
    /// An interface whose rings `backend` may use; `None` when memory or grants are out.
    pub fn new(backend: DomainId, sizes: Sizes, grants: &mut Grants) -> Option<Self> {
        let tx = FrontRing::<3>::new()?;
        let rx = FrontRing::<2>::new()?;
        let ring_grants = [
            grants.grant(backend, tx.page().frame(), Access::ReadWrite)?,
            grants.grant(backend, rx.page().frame(), Access::ReadWrite)?,
        ];
        let arena = Arena::new(sizes.tx_pages, backend, grants)?;
        let mut buffers = Vec::new();
        for _ in 0..sizes.rx_pages.min(FrontRing::<2>::ENTRIES) {
            let page = SharedPage::new()?;
            let grant = grants.grant(backend, page.frame(), Access::ReadWrite)?;
            buffers.push(RxBuffer { page, grant });
        }
        let mut front = Self {
            tx,
            rx,
            ring_grants,
            arena,
            requests: TxRequests::new(FrontRing::<3>::ENTRIES as u16),
            buffer_of_slot: alloc::vec![0; FrontRing::<2>::ENTRIES as usize],
            rx_posted: 0,
            rx_taken: 0,
            packet: Vec::with_capacity(FRAME_MAX),
            counters: Counters::default(),
            answered: false,
            broken: false,
            buffers,
        };
        for buffer in 0..front.buffers.len() {
            front.post(buffer as u16);
        }
        // The backend is not connected yet: it finds them when it is.
        let _ = front.rx.publish();
        Some(front)
    }

    /// The grants of the TX and the RX ring, for xenstore.
    pub fn ring_grants(&self) -> [GrantRef; 2] {
        self.ring_grants
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Ends all grants and frees what the backend no longer uses.
    pub fn release(self, grants: &mut Grants) {
        for (grant, page) in self
            .ring_grants
            .into_iter()
            .zip([self.tx.into_page(), self.rx.into_page()])
        {
            give_up(page, grant, grants);
        }
        self.arena.release(grants);
        for buffer in self.buffers {
            give_up(buffer.page, buffer.grant, grants);
        }
    }

    fn post(&mut self, buffer: u16) {
        let slot = self.rx_posted % FrontRing::<2>::ENTRIES;
        self.buffer_of_slot[slot as usize] = buffer;
        let grant = self.buffers[usize::from(buffer)].grant;
        self.rx.put(&wire::emit_rx(slot as u16, grant.0));
        self.rx_posted = self.rx_posted.wrapping_add(1);
    }

    /// Takes the next RX response and the buffer of its slot.
    fn take_slot(&mut self) -> ([u32; 2], u16) {
        let entry = self.rx.take();
        // The backend answers in the order of the requests, so the slot tells the buffer.
        let slot = self.rx_taken % FrontRing::<2>::ENTRIES;
        self.rx_taken = self.rx_taken.wrapping_add(1);
        (entry, self.buffer_of_slot[slot as usize])
    }

    /// Hands every packet that has come to `deliver`; whether the backend is to be notified of the buffers
    /// that are free again.
    pub fn receive(&mut self, mut deliver: impl FnMut(RxMeta, &[u8])) -> Result<bool, Broken> {
        let mut notify = false;
        loop {
            let mut waiting = self.rx_waiting()?;
            if waiting == 0 {
                match self.rx.ask_for_notification(1) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(notify),
                    Err(_) => return Err(self.broke()),
                }
            }
            while waiting > 0 {
                let Some(meta) = self.gather(&mut waiting) else {
                    continue;
                };
                self.counters.rx_packets += 1;
                self.counters.rx_bytes += self.packet.len() as u64;
                deliver(meta, &self.packet);
            }
            if self.rx.publish() {
                self.counters.notifications += 1;
                notify = true;
            }
        }
    }

    fn rx_waiting(&mut self) -> Result<u32, Broken> {
        match self.rx.responses() {
            Ok(waiting) if !self.broken => Ok(waiting),
            _ => Err(self.broke()),
        }
    }

    fn broke(&mut self) -> Broken {
        self.broken = true;
        Broken
    }

    /// Puts one packet together out of at most `waiting` responses. Its buffers are posted again.
    fn gather(&mut self, waiting: &mut u32) -> Option<RxMeta> {
        self.packet.clear();
        let mut meta = RxMeta::default();
        let (mut failed, mut malformed, mut first) = (false, false, true);
        loop {
            if *waiting == 0 {
                // A packet is published whole; this one never ends.
                malformed = true;
                break;
            }
            *waiting -= 1;
            let (entry, buffer) = self.take_slot();
            let response = RxResponse::parse(&entry);
            match response.size {
                Some(size) => malformed |= !self.append(buffer, response.offset, size),
                None => failed = true,
            }
            self.post(buffer);
            if first {
                meta.checksum = response.checksum;
                if response.extra_info {
                    malformed |= !self.extras(waiting, &mut meta);
                }
                first = false;
            }
            if !response.more_data {
                break;
            }
        }
        if failed {
            self.counters.rx_errors += 1;
        } else if malformed {
            self.counters.rx_malformed += 1;
        }
        (!failed && !malformed).then_some(meta)
    }

    /// Copies a fragment behind the packet's bytes; whether it is one.
    fn append(&mut self, buffer: u16, offset: u16, size: u16) -> bool {
        let (offset, size) = (usize::from(offset), usize::from(size));
        let have = self.packet.len();
        if offset + size > PAGE || have + size > FRAME_MAX {
            return false;
        }
        self.packet.resize(have + size, 0);
        self.buffers[usize::from(buffer)]
            .page
            .read(offset, &mut self.packet[have..]);
        true
    }

    /// Takes the extra infos behind a packet's first response; whether they end.
    fn extras(&mut self, waiting: &mut u32, meta: &mut RxMeta) -> bool {
        while *waiting > 0 {
            *waiting -= 1;
            let (entry, buffer) = self.take_slot();
            self.post(buffer);
            let (gso_size, more) = wire::parse_extra(&entry);
            meta.gso_size = gso_size.filter(|&size| size > 0).or(meta.gso_size);
            if !more {
                return true;
            }
        }
        false
    }

    /// Takes back the memory of packets that the backend is done with.
    pub fn reclaim(&mut self) -> Result<(), Broken> {
        loop {
            match self.tx.responses() {
                Ok(0) => match self.tx.ask_for_notification(self.tx.outstanding() / 2) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(()),
                    Err(_) => return Err(self.broke()),
                },
                Ok(_) => {
                    let Some(id) = wire::tx_response_id(&self.tx.take()) else {
                        continue;
                    };
                    self.answered = true;
                    let number = self.requests.end(id);
                    if self.broken || !number.is_some_and(|number| self.arena.answered(number)) {
                        return Err(self.broke());
                    }
                }
                Err(_) => return Err(self.broke()),
            }
        }
    }

    /// Whether something was sent and the backend has never answered anything.
    pub fn is_unanswered(&self) -> bool {
        !self.answered && self.tx.outstanding() > 0
    }

    /// Publishes what was sent; whether the backend is to be notified.
    pub fn publish(&mut self) -> bool {
        let notify = self.tx.publish();
        self.counters.notifications += u64::from(notify);
        notify
    }
}

fn give_up(page: SharedPage, grant: GrantRef, grants: &mut Grants) {
    if !grants.end(grant) {
        page.leak();
    }
}

impl TxDevice for Netfront {
    fn has_room(&self, len: usize) -> bool {
        !self.broken && self.tx.room() as usize >= SLOTS_MAX && self.arena.find(len).is_some()
    }

    fn send(&mut self, len: usize, meta: TxMeta, fill: impl FnOnce(&mut [u8])) {
        let Some(place) = self.arena.find(len) else {
            return;
        };
        fill(self.arena.bytes(place, len));
        let end = place.offset + len;
        let fragments = end.div_ceil(PAGE) - place.offset / PAGE;
        let number = self.arena.take(place, fragments as u16);
        let mut at = place.offset;
        while at < end {
            let stop = (at - at % PAGE + PAGE).min(end);
            let first = at == place.offset;
            let mut flags = if stop < end { wire::TX_MORE_DATA } else { 0 };
            if first {
                flags |= first_flags(&meta);
            }
            let request = TxRequest {
                grant: self.arena.grant(at).0,
                offset: (at % PAGE) as u16,
                flags,
                id: self.requests.begin(number),
                size: if first { len } else { stop - at } as u16,
            };
            self.tx.put(&request.emit());
            if first && let Some(gso) = meta.gso {
                self.tx.put(&wire::emit_gso(gso.kind, gso.size));
            }
            at = stop;
        }
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += len as u64;
    }
}

/// Requests without a response: which packet each belongs to.
///
/// Linux's netback answers in the order in which it is done with packets, not in the ring's: the entry of
/// a request that still waits may already hold the next one, so an id is no place in the ring.
struct TxRequests {
    packet_of_id: Vec<Option<u32>>,
    free: Vec<u16>,
}

impl TxRequests {
    fn new(count: u16) -> Self {
        Self {
            packet_of_id: alloc::vec![None; usize::from(count)],
            free: (0..count).rev().collect(),
        }
    }

    /// An id for a request of this packet.
    fn begin(&mut self, packet: u32) -> u16 {
        // As many requests as the ring has entries wait at most.
        let id = self.free.pop().expect("an id for each entry of the ring");
        self.packet_of_id[usize::from(id)] = Some(packet);
        id
    }

    /// The packet of the request that is answered; `None` if no such request waits.
    fn end(&mut self, id: u16) -> Option<u32> {
        let packet = self.packet_of_id.get_mut(usize::from(id))?.take()?;
        self.free.push(id);
        Some(packet)
    }
}

fn first_flags(meta: &TxMeta) -> u16 {
    let checksum = match meta.checksum {
        TxChecksum::Complete => 0,
        TxChecksum::Partial { .. } => wire::TX_CSUM_BLANK | wire::TX_DATA_VALIDATED,
    };
    let extra = if meta.gso.is_some() {
        wire::TX_EXTRA_INFO
    } else {
        0
    };
    checksum | extra
}

/// The kinds of segmentation that a backend offers, by its xenstore keys.
pub const GSO_FEATURES: [(GsoKind, &str); 2] = [
    (GsoKind::TcpV4, "feature-gso-tcpv4"),
    (GsoKind::TcpV6, "feature-gso-tcpv6"),
];
