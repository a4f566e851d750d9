//! ICMP (RFC 792), ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861): echo, errors in both
//! directions, neighbours.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, Icmpv6Packet, Icmpv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};

use super::checksum::{Sum, pseudo_header};
use super::counters::DropReason;
use super::network::{HOP_LIMIT, Network};
use super::packet::{Ip, IpHeader, Mac, protocol, u16_at, u32_at};
use super::route::{Destination, solicited_node};
use super::tcp::Seq;
use super::time::Instant;
use crate::Errno;

/// Echo requests answered are no larger than this: the largest that comes in one piece or reassembled.
const ECHO_MAX: usize = 65_000;

mod kind {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const UNREACHABLE: u8 = 3;
    pub(super) const ECHO: u8 = 8;
    pub(super) const V6_UNREACHABLE: u8 = 1;
    pub(super) const V6_TOO_BIG: u8 = 2;
    pub(super) const V6_ECHO: u8 = 128;
    pub(super) const V6_ECHO_REPLY: u8 = 129;
    pub(super) const V6_ROUTER_ADVERTISEMENT: u8 = 134;
    pub(super) const V6_SOLICITATION: u8 = 135;
    pub(super) const V6_ADVERTISEMENT: u8 = 136;
}

/// An error that somebody on the way reports of a packet that we may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Report {
    pub(crate) protocol: u8,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Of TCP: must lie within what is in flight (RFC 5927 §4.1).
    pub(crate) seq: Seq,
    pub(crate) problem: Problem,
}

/// What is the matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    Unreachable(Errno),
    /// Packets must be no larger than this.
    TooBig(usize),
}

/// What a message means to others than this module.
pub(crate) enum Message {
    Nothing,
    Report(Report),
    /// Connections that can go on, because a neighbour answered.
    Awake(Vec<u32>),
    RouterAdvertisement,
}

impl Network {
    pub(crate) fn receive_icmp_v4(
        &mut self,
        now: Instant,
        ip: &Ip,
        back: Option<Mac>,
    ) -> Result<Message, DropReason> {
        let payload = ip.payload;
        let &[kind, code, ..] = payload else {
            return Err(DropReason::Truncated);
        };
        if payload.len() < 8 {
            return Err(DropReason::Truncated);
        }
        if Sum::default().add(payload).complement() != 0 {
            return Err(DropReason::BadChecksum);
        }
        match kind {
            kind::ECHO => {
                self.answer_echo(now, ip, back, kind::ECHO_REPLY);
                Ok(Message::Nothing)
            }
            kind::UNREACHABLE => {
                let problem = match code {
                    2 | 3 => Problem::Unreachable(Errno::ECONNREFUSED),
                    4 => Problem::TooBig(usize::from(u16_at(payload, 6).unwrap_or(0))),
                    0 | 6 | 9 | 11 => Problem::Unreachable(Errno::ENETUNREACH),
                    _ => Problem::Unreachable(Errno::EHOSTUNREACH),
                };
                Ok(quoted_v4(&payload[8..], problem).map_or(Message::Nothing, Message::Report))
            }
            _ => Ok(Message::Nothing),
        }
    }

    pub(crate) fn receive_icmp_v6(
        &mut self,
        now: Instant,
        ip: &Ip,
        back: Option<Mac>,
    ) -> Result<Message, DropReason> {
        let payload = ip.payload;
        let &[kind, code, ..] = payload else {
            return Err(DropReason::Truncated);
        };
        if payload.len() < 8 {
            return Err(DropReason::Truncated);
        }
        if pseudo_header(ip.src, ip.dst, protocol::ICMPV6, payload.len())
            .add(payload)
            .complement()
            != 0
        {
            return Err(DropReason::BadChecksum);
        }
        match kind {
            kind::V6_ECHO => {
                self.answer_echo(now, ip, back, kind::V6_ECHO_REPLY);
                Ok(Message::Nothing)
            }
            kind::V6_UNREACHABLE => {
                let problem = match code {
                    4 => Problem::Unreachable(Errno::ECONNREFUSED),
                    0 => Problem::Unreachable(Errno::ENETUNREACH),
                    _ => Problem::Unreachable(Errno::EHOSTUNREACH),
                };
                Ok(quoted_v6(&payload[8..], problem).map_or(Message::Nothing, Message::Report))
            }
            kind::V6_TOO_BIG => {
                let problem = Problem::TooBig(u32_at(payload, 4).unwrap_or(0) as usize);
                Ok(quoted_v6(&payload[8..], problem).map_or(Message::Nothing, Message::Report))
            }
            kind::V6_SOLICITATION | kind::V6_ADVERTISEMENT | kind::V6_ROUTER_ADVERTISEMENT => {
                // RFC 4861 §6.1, §7.1: only from the link itself.
                if ip.hop_limit != 255 || code != 0 {
                    return Err(DropReason::BadHeader);
                }
                if kind == kind::V6_ROUTER_ADVERTISEMENT {
                    return Ok(Message::RouterAdvertisement);
                }
                self.receive_ndisc(now, ip, back).map(Message::Awake)
            }
            _ => Ok(Message::Nothing),
        }
    }

    fn answer_echo(&mut self, now: Instant, ip: &Ip, back: Option<Mac>, reply: u8) {
        if self.routes.classify(ip.dst) != Destination::Own || ip.payload.len() > ECHO_MAX {
            return; // RFC 1122 §3.2.2.6 allows silence to broadcasts
        }
        let whole = ip.payload.len() + super::packet::ip_header_len(ip.src);
        if ip.src.is_ipv6() && whole > self.mtu(ip.src) {
            return self.counters.drop(DropReason::Truncated); // the answer would need fragments
        }
        let header = IpHeader {
            src: ip.dst,
            dst: ip.src,
            protocol: ip.protocol,
            hop_limit: HOP_LIMIT,
        };
        self.counters.icmp_echo_replies += 1;
        self.send_icmp(now, header, back, ip.payload.len(), |out| {
            out.copy_from_slice(ip.payload);
            out[0] = reply;
        });
    }

    /// Completes and sends an ICMP message of either version.
    fn send_icmp(
        &mut self,
        now: Instant,
        header: IpHeader,
        back: Option<Mac>,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) {
        self.send_ip(now, header, back, len, |out| {
            fill(out);
            out[2..4].fill(0);
            let start = match header.protocol {
                protocol::ICMPV6 => pseudo_header(header.src, header.dst, protocol::ICMPV6, len),
                _ => Sum::default(),
            };
            let checksum = start.add(out).complement();
            out[2..4].copy_from_slice(&checksum.to_be_bytes());
        });
    }

    /// Tells a sender that nobody takes its datagram (RFC 1122 §3.2.2.1, RFC 4443 §3.1).
    pub(crate) fn refuse_port(&mut self, now: Instant, ip: &Ip, back: Option<Mac>) {
        if self.routes.classify(ip.dst) != Destination::Own || !self.may_answer(now) {
            return;
        }
        let (protocol, kind, code, quote_max) = match ip.dst {
            IpAddr::V4(_) => (protocol::ICMP, kind::UNREACHABLE, 3, 548),
            IpAddr::V6(_) => (protocol::ICMPV6, kind::V6_UNREACHABLE, 4, 1232),
        };
        let quote = &ip.packet[..ip.packet.len().min(quote_max)];
        let header = IpHeader {
            src: ip.dst,
            dst: ip.src,
            protocol,
            hop_limit: HOP_LIMIT,
        };
        self.counters.icmp_errors_sent += 1;
        self.send_icmp(now, header, back, 8 + quote.len(), |out| {
            out[..2].copy_from_slice(&[kind, code]);
            out[8..].copy_from_slice(quote);
        });
    }

    fn receive_ndisc(
        &mut self,
        now: Instant,
        ip: &Ip,
        back: Option<Mac>,
    ) -> Result<Vec<u32>, DropReason> {
        let (IpAddr::V6(src), IpAddr::V6(dst)) = (ip.src, ip.dst) else {
            return Err(DropReason::BadHeader);
        };
        let packet = Icmpv6Packet::new_checked(ip.payload).map_err(|_| DropReason::Truncated)?;
        let repr = Icmpv6Repr::parse(&src, &dst, &packet, &ChecksumCapabilities::ignored());
        match repr.map_err(|_| DropReason::BadHeader)? {
            Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
                target_addr,
                lladdr,
            }) => {
                if target_addr.is_loopback() || !self.routes.is_own(IpAddr::V6(target_addr)) {
                    return Ok(Vec::new());
                }
                let mac = lladdr
                    .and_then(station)
                    .or(back)
                    .ok_or(DropReason::BadHeader)?;
                let awake = if src.is_unspecified() {
                    Vec::new()
                } else {
                    self.learn(now, IpAddr::V6(src), mac, true)
                };
                self.advertise(now, target_addr, src);
                Ok(awake)
            }
            Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                target_addr,
                lladdr,
                ..
            }) => {
                let mac = lladdr
                    .and_then(station)
                    .or(back)
                    .ok_or(DropReason::BadHeader)?;
                if self.routes.is_own(IpAddr::V6(target_addr)) || target_addr.is_multicast() {
                    return Err(DropReason::NotOurs);
                }
                Ok(self.learn(now, IpAddr::V6(target_addr), mac, false))
            }
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    /// RFC 4861 §7.2.4: to the asker, or to all if it has no address yet.
    fn advertise(&mut self, now: Instant, target: Ipv6Addr, asker: Ipv6Addr) {
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let (to, solicited) = if asker.is_unspecified() {
            (all_nodes, NdiscNeighborFlags::empty())
        } else {
            (asker, NdiscNeighborFlags::SOLICITED)
        };
        let repr = NdiscRepr::NeighborAdvert {
            flags: solicited | NdiscNeighborFlags::OVERRIDE,
            target_addr: target,
            lladdr: Some(RawHardwareAddress::from(EthernetAddress(self.mac.0))),
        };
        self.send_ndisc(now, target, to, None, &repr);
    }

    /// Asks who has `target`: its group, or the one who had it.
    pub(crate) fn ask_ndisc(&mut self, target: Ipv6Addr, mac: Option<Mac>) {
        let repr = NdiscRepr::NeighborSolicit {
            target_addr: target,
            lladdr: Some(RawHardwareAddress::from(EthernetAddress(self.mac.0))),
        };
        let source = match self.routes.source_for(IpAddr::V6(target)) {
            Some(IpAddr::V6(source)) => source,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let to = if mac.is_some() {
            target
        } else {
            solicited_node(target)
        };
        // The time is of no account: a group has a way at once, and so has a station that is given.
        self.send_ndisc(Instant::default(), source, to, mac, &repr);
    }

    /// Tells everybody our addresses (RFC 4861 §7.2.6).
    pub(crate) fn announce_ndisc(&mut self, now: Instant) {
        for &(address, _) in &self.routes.addresses().to_vec() {
            if let IpAddr::V6(own) = address {
                self.advertise(now, own, Ipv6Addr::UNSPECIFIED);
            }
        }
    }

    fn send_ndisc(
        &mut self,
        now: Instant,
        src: Ipv6Addr,
        dst: Ipv6Addr,
        mac: Option<Mac>,
        repr: &NdiscRepr,
    ) {
        let header = IpHeader {
            src: IpAddr::V6(src),
            dst: IpAddr::V6(dst),
            protocol: protocol::ICMPV6,
            hop_limit: 255,
        };
        let repr = Icmpv6Repr::Ndisc(*repr);
        let len = repr.buffer_len();
        let fill = |out: &mut [u8]| {
            repr.emit(
                &src,
                &dst,
                &mut Icmpv6Packet::new_unchecked(out),
                &ChecksumCapabilities::ignored(),
            );
        };
        match mac {
            // To a known station, without looking it up: that is what is being checked.
            Some(mac) => {
                let mut frame =
                    alloc::vec![0; super::packet::ETHERNET_LEN + super::packet::IPV6_LEN + len];
                super::packet::Ethernet::emit(&mut frame, mac, self.mac, header.ethertype());
                let (ip, payload) =
                    frame[super::packet::ETHERNET_LEN..].split_at_mut(super::packet::IPV6_LEN);
                header.emit(ip, len);
                fill(payload);
                payload[2..4].fill(0);
                let sum = pseudo_header(header.src, header.dst, protocol::ICMPV6, len)
                    .add(payload)
                    .complement();
                payload[2..4].copy_from_slice(&sum.to_be_bytes());
                self.enqueue(frame);
            }
            None => self.send_icmp(now, header, None, len, fill),
        }
    }
}

fn station(address: RawHardwareAddress) -> Option<Mac> {
    let octets = address.as_bytes().get(..6)?;
    let mac = Mac(core::array::from_fn(|i| octets[i]));
    (!mac.is_group()).then_some(mac)
}

/// The packet that an ICMP error quotes: possibly cut short, so not for [`Ip::parse_v4`].
fn quoted_v4(quote: &[u8], problem: Problem) -> Option<Report> {
    let header_len = usize::from(quote.first()? & 0x0f) * 4;
    if quote[0] >> 4 != 4 || header_len < 20 {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(u32_at(quote, at)?.to_be_bytes()));
    quoted(
        *quote.get(9)?,
        address(12)?,
        address(16)?,
        quote.get(header_len..)?,
        problem,
    )
}

fn quoted_v6(quote: &[u8], problem: Problem) -> Option<Report> {
    if quote.first()? >> 4 != 6 {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = quote.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(octets))
    };
    quoted(
        *quote.get(6)?,
        address(8)?,
        address(24)?,
        quote.get(40..)?,
        problem,
    )
}

fn quoted(
    protocol: u8,
    src: IpAddr,
    dst: IpAddr,
    transport: &[u8],
    problem: Problem,
) -> Option<Report> {
    let local = SocketAddr::new(src, u16_at(transport, 0)?);
    let remote = SocketAddr::new(dst, u16_at(transport, 2)?);
    Some(Report {
        protocol,
        local,
        remote,
        seq: Seq(u32_at(transport, 4)?),
        problem,
    })
}
