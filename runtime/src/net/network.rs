//! The layer between sockets and the device: frames built here wait here, for the device or for a
//! neighbour's address.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::checksum::pseudo_header;
use super::counters::{Counters, DropReason};
use super::device::{Capabilities, TxDevice, TxMeta};
use super::neighbor::{Due, Hop, Neighbors, Question, Waiting};
use super::packet::{ETHERNET_LEN, Ethernet, IpHeader, Mac, ip_header_len, protocol};
use super::route::{Destination, Routes, group_mac};
use super::tcp::connection::Reset;
use super::tcp::segment::CHECKSUM_AT;
use super::tcp::{Flags, Header, Seq, Tuple};
use super::time::{Instant, SECOND};

/// Bytes of built frames that may wait for the device: datagrams beyond it find the socket not writable.
const OUTBOX_BYTES_MAX: usize = 512 * 1024;
/// Packets to ourselves that may wait.
const LOOPBACK_MAX: usize = 256;
/// RST segments and ICMP errors per second: an answer to everything would make us a reflector.
pub(crate) const ANSWERS_PER_SECOND: u32 = 1000;
/// The hop limit of everything that says no other.
pub(crate) const HOP_LIMIT: u8 = 64;

/// The way of a packet from here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Back to ourselves.
    Loopback,
    /// To this station.
    Station(Mac),
    /// The station is being looked for.
    Pending(IpAddr),
}

/// The interface without its sockets.
pub(crate) struct Network {
    pub(crate) mac: Mac,
    pub(crate) capabilities: Capabilities,
    pub(crate) routes: Routes,
    pub(crate) neighbors: Neighbors,
    pub(crate) counters: Counters,
    /// Frames ready for the device.
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    /// Packets to ourselves, behind an unused Ethernet header.
    loopback: VecDeque<Vec<u8>>,
    answers: Allowance,
    fragment_id: u16,
}

/// So many per second, and no more.
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        if now.since(self.since) >= SECOND {
            (self.left, self.since) = (ANSWERS_PER_SECOND, now);
        }
        let granted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        granted
    }
}

impl Network {
    pub(crate) fn new(
        mac: Mac,
        capabilities: Capabilities,
        routes: Routes,
        neighbors: Neighbors,
        fragment_id: u16,
        now: Instant,
    ) -> Network {
        Network {
            mac,
            capabilities,
            routes,
            neighbors,
            counters: Counters::default(),
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            loopback: VecDeque::new(),
            answers: Allowance {
                left: ANSWERS_PER_SECOND,
                since: now,
            },
            fragment_id,
        }
    }

    /// Whether one more answer to a stranger may be given; counts it if not.
    pub(crate) fn may_answer(&mut self, now: Instant) -> bool {
        let granted = self.answers.take(now);
        if !granted {
            self.counters.drop(DropReason::RateLimited);
        }
        granted
    }

    /// Room for one more datagram.
    pub(crate) fn has_room(&self) -> bool {
        self.outbox_bytes < OUTBOX_BYTES_MAX && self.loopback.len() < LOOPBACK_MAX
    }

    pub(crate) fn loopback_has_room(&self) -> bool {
        self.loopback.len() < LOOPBACK_MAX
    }

    pub(crate) fn push_loopback(&mut self, frame: Vec<u8>) {
        if self.loopback_has_room() {
            self.loopback.push_back(frame);
        } else {
            self.counters.drop(DropReason::QueueFull);
        }
    }

    pub(crate) fn pop_loopback(&mut self) -> Option<Vec<u8>> {
        self.loopback.pop_front()
    }

    /// Something waits for the device or for us.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.outbox.is_empty() || !self.loopback.is_empty()
    }

    pub(crate) fn has_loopback(&self) -> bool {
        !self.loopback.is_empty()
    }

    /// The largest IP packet for this destination.
    pub(crate) fn mtu(&self, dst: IpAddr) -> usize {
        if self.routes.is_own(dst) {
            usize::from(u16::MAX)
        } else {
            usize::from(self.capabilities.mtu)
        }
    }

    /// The device completes transport checksums of this family.
    pub(crate) fn offloads_checksum(&self, dst: IpAddr) -> bool {
        if dst.is_ipv4() {
            self.capabilities.checksum_v4
        } else {
            self.capabilities.checksum_v6
        }
    }

    /// The way to `dst`; `back` is the station to use if there is no route.
    pub(crate) fn way(
        &mut self,
        now: Instant,
        dst: IpAddr,
        back: Option<Mac>,
    ) -> Result<Way, DropReason> {
        match self.routes.classify(dst) {
            Destination::Own => return Ok(Way::Loopback),
            Destination::Group => return Ok(Way::Station(group_mac(dst))),
            Destination::Foreign => {}
        }
        match (self.routes.next_hop(dst), back) {
            (Some(next), _) => Ok(match self.resolve(now, next) {
                Some(hop) => Way::Station(hop.mac),
                None => Way::Pending(next),
            }),
            (None, Some(mac)) => Ok(Way::Station(mac)),
            (None, None) => Err(DropReason::NoRoute),
        }
    }

    /// A neighbour's address, if known; otherwise it is being asked for.
    pub(crate) fn resolve(&mut self, now: Instant, next: IpAddr) -> Option<Hop> {
        let (hop, question) = self.neighbors.resolve(now, next);
        if let Some(question) = question {
            self.ask(question);
        }
        hop
    }

    fn ask(&mut self, question: Question) {
        match question.target {
            IpAddr::V4(target) => self.ask_arp(target, question.mac),
            IpAddr::V6(target) => self.ask_ndisc(target, question.mac),
        }
    }

    /// Builds a packet and sends it on its way. `fill` writes the payload.
    pub(crate) fn send_ip(
        &mut self,
        now: Instant,
        header: IpHeader,
        back: Option<Mac>,
        payload_len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        let ip_len = ip_header_len(header.dst);
        let payload_at = ETHERNET_LEN + ip_len;
        let mut frame = alloc::vec![0; payload_at + payload_len];
        header.emit(&mut frame[ETHERNET_LEN..], payload_len);
        fill(&mut frame[payload_at..]);
        let mtu = self.mtu(header.dst);
        if ip_len + payload_len <= mtu {
            return self.send_frame(now, header, back, frame);
        }
        // RFC 791 §3.2; IPv6's callers see to it that this does not happen.
        self.fragment_id = self.fragment_id.wrapping_add(1);
        let piece_max = (mtu - ip_len) / 8 * 8;
        for (n, piece) in frame[payload_at..].chunks(piece_max).enumerate() {
            let mut fragment = alloc::vec![0; payload_at + piece.len()];
            let (offset, more) = (n * piece_max, (n + 1) * piece_max < payload_len);
            header.emit_fragment(
                &mut fragment[ETHERNET_LEN..],
                piece.len(),
                self.fragment_id,
                offset,
                more,
            );
            fragment[payload_at..].copy_from_slice(piece);
            self.send_frame(now, header, back, fragment);
        }
    }

    /// Sends a frame that lacks its Ethernet header on its way.
    fn send_frame(
        &mut self,
        now: Instant,
        header: IpHeader,
        back: Option<Mac>,
        mut frame: Vec<u8>,
    ) {
        match self.way(now, header.dst, back) {
            Ok(Way::Loopback) => self.push_loopback(frame),
            Ok(Way::Station(mac)) => {
                Ethernet::emit(&mut frame, mac, self.mac, header.ethertype());
                self.enqueue(frame);
            }
            Ok(Way::Pending(next)) => {
                Ethernet::emit(&mut frame, Mac::default(), self.mac, header.ethertype());
                if !self.neighbors.park(next, frame) {
                    self.counters.drop(DropReason::NeighborUnresolved);
                }
            }
            Err(reason) => self.counters.drop(reason),
        }
    }

    /// A finished frame.
    pub(crate) fn enqueue(&mut self, frame: Vec<u8>) {
        // Twice the bound: what refuses datagrams must leave room for ARP and the like.
        if self.outbox_bytes >= 2 * OUTBOX_BYTES_MAX {
            return self.counters.drop(DropReason::QueueFull);
        }
        self.outbox_bytes += frame.len();
        self.outbox.push_back(frame);
    }

    /// A RST (RFC 9293 §3.10.7.1).
    pub(crate) fn send_reset(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        reset: Reset,
        back: Option<Mac>,
    ) {
        let header = Header {
            src_port: tuple.local.port(),
            dst_port: tuple.remote.port(),
            seq: reset.seq,
            ack: reset.ack.unwrap_or(Seq(0)),
            flags: if reset.ack.is_some() {
                Flags::RST.with(Flags::ACK)
            } else {
                Flags::RST
            },
            ..Header::default()
        };
        self.counters.tcp_resets_sent += 1;
        self.send_bare(now, tuple, &header, back);
    }

    /// A TCP segment without data, outside of any connection.
    pub(crate) fn send_bare(
        &mut self,
        now: Instant,
        tuple: &Tuple,
        header: &Header,
        back: Option<Mac>,
    ) {
        let (src, dst) = (tuple.local.ip(), tuple.remote.ip());
        let ip = IpHeader {
            src,
            dst,
            protocol: protocol::TCP,
            hop_limit: HOP_LIMIT,
        };
        self.send_ip(now, ip, back, header.len(), |out| {
            header.emit(out);
            let checksum = pseudo_header(src, dst, protocol::TCP, out.len())
                .add(out)
                .complement();
            out[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
        });
    }

    /// A UDP datagram.
    pub(crate) fn send_udp(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: SocketAddr,
        hop_limit: u8,
        data: &[u8],
    ) {
        let (src, dst) = (from.ip(), to.ip());
        let len = 8 + data.len();
        let ip = IpHeader {
            src,
            dst,
            protocol: protocol::UDP,
            hop_limit,
        };
        self.send_ip(now, ip, None, len, |out| {
            out[..2].copy_from_slice(&from.port().to_be_bytes());
            out[2..4].copy_from_slice(&to.port().to_be_bytes());
            out[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            out[8..].copy_from_slice(data);
            let checksum = pseudo_header(src, dst, protocol::UDP, len)
                .add(out)
                .complement();
            // RFC 768: zero would mean that there is none.
            out[6..8].copy_from_slice(&if checksum == 0 { 0xffff } else { checksum }.to_be_bytes());
        });
    }

    /// Hands waiting frames to the device; false if it is full.
    pub(crate) fn flush(&mut self, device: &mut impl TxDevice) -> bool {
        while let Some(frame) = self.outbox.front() {
            if !device.has_room(frame.len()) {
                return false;
            }
            device.send(frame.len(), TxMeta::COMPLETE, |out| {
                out.copy_from_slice(frame)
            });
            self.counters.tx_packets += 1;
            self.counters.tx_bytes += frame.len() as u64;
            self.outbox_bytes -= frame.len();
            self.outbox.pop_front();
        }
        if self.outbox.capacity() > 64 {
            self.outbox.shrink_to(16);
        }
        true
    }

    /// A neighbour told its address: its frames go out; returns the connections that waited.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        address: IpAddr,
        mac: Mac,
        create: bool,
    ) -> Vec<u32> {
        let Waiting {
            connections,
            parked,
        } = self.neighbors.learn(now, address, mac, create);
        for mut frame in parked {
            frame[..6].copy_from_slice(&mac.0);
            self.enqueue(frame);
        }
        connections
    }

    /// Questions that are due; returns the connections whose neighbour does not answer.
    pub(crate) fn on_timer(&mut self, now: Instant) -> Vec<u32> {
        let mut unreachable = Vec::new();
        while let Some(due) = self.neighbors.next_due(now) {
            match due {
                Due::Ask(question) => self.ask(question),
                Due::Failed(waiting) => {
                    for _ in waiting.parked {
                        self.counters.drop(DropReason::NeighborUnresolved);
                    }
                    unreachable.extend(waiting.connections);
                }
            }
        }
        unreachable
    }
}
