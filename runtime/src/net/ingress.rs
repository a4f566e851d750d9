//! A frame on its way in: to the connection, listener or socket it is for, in constant time.

use core::net::{IpAddr, SocketAddr};

use super::autoconfiguration::check_advertisement;
use super::checksum::pseudo_header;
use super::counters::DropReason;
use super::device::{RxChecksum, RxMeta};
use super::icmp::{Message, Problem, Report};
use super::packet::{Ethernet, Ip, Mac, ethertype, protocol, u16_at};
use super::route::Destination;
use super::sockets::{Family, Socket};
use super::stack::Stack;
use super::tcp::connection::{Opening, Outcome, Reset};
use super::tcp::segment::HEADER_LEN;
use super::tcp::time_wait::Answer;
use super::tcp::{Connection, Flags, Header, Segment, State, Tuple};
use super::time::Instant;
use crate::Errno;

/// A listener may have this many unfinished handshakes however small its backlog is.
const HALF_OPEN_MIN: usize = 64;

impl Stack {
    /// Takes one Ethernet frame from the device.
    pub fn receive(&mut self, now: Instant, meta: RxMeta, frame: &[u8]) {
        let counters = &mut self.network.counters;
        counters.rx_packets += 1;
        counters.rx_bytes += frame.len() as u64;
        counters.rx_gso_packets += u64::from(meta.gso_size.is_some());
        if let Err(reason) = self.receive_frame(now, meta, frame) {
            self.network.counters.drop(reason);
        }
    }

    /// Takes a packet that we sent to ourselves.
    pub(super) fn receive_own(&mut self, now: Instant, frame: &[u8]) {
        let meta = RxMeta {
            checksum: RxChecksum::Verified,
            gso_size: None,
        };
        let packet = &frame[super::packet::ETHERNET_LEN..];
        let parsed = match packet.first().map(|byte| byte >> 4) {
            Some(4) => Ip::parse_v4(packet),
            _ => Ip::parse_v6(packet),
        };
        if let Err(reason) = parsed.and_then(|ip| self.receive_ip(now, meta, None, &ip)) {
            self.network.counters.drop(reason);
        }
    }

    fn receive_frame(
        &mut self,
        now: Instant,
        meta: RxMeta,
        frame: &[u8],
    ) -> Result<(), DropReason> {
        let ethernet = Ethernet::parse(frame)?;
        if ethernet.dst != self.network.mac && !ethernet.dst.is_group() {
            return Err(DropReason::NotOurs);
        }
        if ethernet.src.is_group() {
            return Err(DropReason::BadHeader);
        }
        let ip = match ethernet.ethertype {
            ethertype::ARP => {
                if let Some(auto) = &mut self.autoconfiguration {
                    auto.offer(now, frame);
                }
                let awake = self.network.receive_arp(now, ethernet.payload)?;
                self.awake(now, &awake);
                return Ok(());
            }
            ethertype::IPV4 => Ip::parse_v4(ethernet.payload)?,
            ethertype::IPV6 => Ip::parse_v6(ethernet.payload)?,
            _ => return Err(DropReason::UnknownProtocol),
        };
        if ip.src.is_multicast()
            || ip.src.is_loopback()
            || ip.dst.is_loopback()
            || self.network.routes.is_own(ip.src)
        {
            return Err(DropReason::BadHeader);
        }
        if is_for_autoconfiguration(&ip)
            && let Some(auto) = &mut self.autoconfiguration
        {
            if ip.src.is_ipv6() {
                check_advertisement(&ip)?;
            }
            auto.offer(now, frame);
            return Ok(());
        }
        self.receive_ip(now, meta, Some(ethernet.src), &ip)
    }

    fn receive_ip(
        &mut self,
        now: Instant,
        meta: RxMeta,
        from: Option<Mac>,
        ip: &Ip,
    ) -> Result<(), DropReason> {
        if ip.fragment.is_some() {
            let Some(payload) = self.reassembly.add(now, ip)? else {
                return Ok(());
            };
            let whole = Ip {
                fragment: None,
                payload: &payload,
                ..*ip
            };
            return self.receive_ip(now, RxMeta::default(), from, &whole);
        }
        match (ip.protocol, ip.dst) {
            (protocol::TCP, _) => self.receive_tcp(now, meta, from, ip),
            (protocol::UDP, _) => {
                check_sum(meta, ip)?;
                self.receive_udp(now, from, ip)
            }
            (protocol::ICMP, IpAddr::V4(_)) => {
                let message = self.network.receive_icmp_v4(now, ip, from)?;
                self.receive_message(now, message)
            }
            (protocol::ICMPV6, IpAddr::V6(_)) => {
                let message = self.network.receive_icmp_v6(now, ip, from)?;
                self.receive_message(now, message)
            }
            _ => Err(DropReason::UnknownProtocol),
        }
    }

    fn receive_tcp(
        &mut self,
        now: Instant,
        meta: RxMeta,
        from: Option<Mac>,
        ip: &Ip,
    ) -> Result<(), DropReason> {
        check_sum(meta, ip)?;
        let segment = Segment::parse(ip.payload)?;
        let tuple = Tuple {
            local: SocketAddr::new(ip.dst, segment.header.dst_port),
            remote: SocketAddr::new(ip.src, segment.header.src_port),
        };
        if let Some(&id) = self.connections.get(&tuple) {
            return self.receive_segment(now, id, from, &segment);
        }
        if ip.src.is_unspecified() || self.network.routes.classify(ip.dst) == Destination::Group {
            return Err(DropReason::NotOurs);
        }
        match self.time_wait.receive(&tuple, &segment) {
            Some(Answer::Acknowledge(seq, ack)) => {
                let window = u16::MAX;
                let (src_port, dst_port) = (tuple.local.port(), tuple.remote.port());
                let header = Header {
                    src_port,
                    dst_port,
                    seq,
                    ack,
                    flags: Flags::ACK,
                    window,
                    ..Header::default()
                };
                if self.network.may_answer(now) {
                    self.network.send_bare(now, &tuple, &header, from);
                }
                return Ok(());
            }
            Some(Answer::Silence) => return Ok(()),
            Some(Answer::Forgotten) | None => {}
        }
        let opens = segment.header.flags.has(Flags::SYN)
            && !segment.header.flags.has(Flags::ACK.with(Flags::RST));
        if opens {
            self.receive_syn(now, from, tuple, &segment)
        } else {
            self.refuse(now, from, &tuple, &segment)
        }
    }

    fn receive_segment(
        &mut self,
        now: Instant,
        id: u32,
        from: Option<Mac>,
        segment: &Segment,
    ) -> Result<(), DropReason> {
        let Some(connection) = self.sockets.connection(id) else {
            return Err(DropReason::NoListener);
        };
        connection.came_from = from;
        if connection.state == State::SynReceived
            && let Some(listener) = connection.listener
            && segment.header.flags.has(Flags::ACK)
            && !segment.header.flags.has(Flags::RST)
            && self
                .sockets
                .listener(listener)
                .is_some_and(|listener| listener.queue.len() >= listener.backlog)
        {
            // As Linux: the handshake stays unfinished; the peer's next segment or our SYN tries again.
            return Err(DropReason::BacklogFull);
        }
        let Some(connection) = self.sockets.connection(id) else {
            return Err(DropReason::NoListener);
        };
        let outcome = connection.receive(now, &mut self.pool, segment);
        self.apply(now, id, outcome, from);
        match outcome {
            Outcome {
                out_of_memory: true,
                ..
            } => Err(DropReason::Memory),
            Outcome {
                unacceptable: true, ..
            } => Err(DropReason::OutOfWindow),
            _ => Ok(()),
        }
    }

    /// A peer opens a connection.
    fn receive_syn(
        &mut self,
        now: Instant,
        from: Option<Mac>,
        tuple: Tuple,
        syn: &Segment,
    ) -> Result<(), DropReason> {
        let Some(id) = self.find_listener(&tuple) else {
            return self.refuse(now, from, &tuple, syn);
        };
        let total = self.network.counters.tcp_half_open;
        let Some(listener) = self.sockets.listener(id) else {
            return Err(DropReason::NoListener);
        };
        if listener.queue.len() >= listener.backlog {
            return Err(DropReason::BacklogFull);
        }
        if listener.half_open >= listener.backlog.max(HALF_OPEN_MIN) || total >= self.half_open_max
        {
            return Err(DropReason::HalfOpenFull);
        }
        let (options, mapped) = (
            listener.options,
            listener.family == Family::V6 && tuple.local.is_ipv4(),
        );
        let opening = Opening {
            tuple,
            iss: self.secret.initial_sequence(now, &tuple),
            mss: self.route_mss(tuple.remote.ip()),
            options,
            limits: self.limits,
        };
        let mut connection = Connection::passive(now, opening, syn);
        connection.listener = Some(id);
        connection.mapped = mapped;
        connection.came_from = from;
        let new = self
            .sockets
            .insert(Socket::Connection(alloc::boxed::Box::new(connection)));
        let new = new.map_err(|_| DropReason::Memory)?;
        if let Some(listener) = self.sockets.listener(id) {
            listener.half_open += 1;
        }
        self.network.counters.tcp_half_open += 1;
        self.connections.insert(tuple, new);
        self.settle(now, new);
        Ok(())
    }

    /// Payload bytes per packet on the way to this address.
    pub(super) fn route_mss(&self, remote: IpAddr) -> u16 {
        let headers = super::packet::ip_header_len(remote) + HEADER_LEN;
        (self.network.mtu(remote) - headers) as u16
    }

    /// Who listens there: for just this address before for any.
    fn find_listener(&mut self, tuple: &Tuple) -> Option<u32> {
        let here = tuple.local.ip();
        let candidates = self.tcp_ports.get(&tuple.local.port())?;
        let mut best = (0, None, 0u64);
        for &id in candidates {
            let Some(Socket::Listener(listener)) = self.sockets.get(id) else {
                continue;
            };
            let bound = super::route::unmap(listener.local.ip());
            let family_fits = match (listener.family, here) {
                (Family::V4, IpAddr::V4(_)) => true,
                (Family::V6, IpAddr::V6(_)) => true,
                (Family::V6, IpAddr::V4(_)) => !listener.options.v6_only,
                (Family::V4, IpAddr::V6(_)) => false,
            };
            let score = match bound {
                address if address == here => 2,
                address if address.is_unspecified() && family_fits => 1,
                _ => continue,
            };
            // Among equals (SO_REUSEPORT) the peer decides, so that its segments meet the same one.
            let lot = self
                .secret
                .initial_sequence(Instant::default(), tuple)
                .plus(id as usize * 0x9e37_79b9)
                .0;
            if (score, u64::from(lot)) > (best.0, best.2) || best.1.is_none() {
                best = (score, Some(id), u64::from(lot));
            }
        }
        best.1
    }

    /// Nobody here takes the segment.
    fn refuse(
        &mut self,
        now: Instant,
        from: Option<Mac>,
        tuple: &Tuple,
        segment: &Segment,
    ) -> Result<(), DropReason> {
        let ours = self.network.routes.is_own(tuple.local.ip());
        // Connections that were intercepted here before a restart must learn that they are gone; packets
        // that merely came by must not be answered in the name of their receiver.
        if !ours && self.find_listener(tuple).is_none() {
            return Err(DropReason::NotOurs);
        }
        if let Some(reset) = Reset::answering(segment)
            && self.network.may_answer(now)
        {
            self.network.send_reset(now, tuple, reset, from);
        }
        Err(DropReason::NoListener)
    }

    fn receive_message(&mut self, now: Instant, message: Message) -> Result<(), DropReason> {
        match message {
            Message::Nothing | Message::RouterAdvertisement => {}
            Message::Awake(connections) => self.awake(now, &connections),
            Message::Report(report) => self.receive_report(now, &report),
        }
        Ok(())
    }

    /// Connections whose neighbour is known now.
    fn awake(&mut self, now: Instant, connections: &[u32]) {
        for &id in connections {
            self.settle(now, id);
        }
    }

    /// An ICMP error about a packet of ours.
    fn receive_report(&mut self, now: Instant, report: &Report) {
        let tuple = Tuple {
            local: report.local,
            remote: report.remote,
        };
        match report.protocol {
            protocol::UDP => self.report_udp(report),
            protocol::TCP => {
                let Some(&id) = self.connections.get(&tuple) else {
                    return;
                };
                let headers = super::packet::ip_header_len(tuple.remote.ip()) + HEADER_LEN;
                let Some(connection) = self.sockets.connection(id) else {
                    return;
                };
                let in_flight = connection.snd.una <= report.seq && report.seq < connection.snd.max;
                if !in_flight {
                    return; // RFC 5927 §4.1: forged, or of long ago
                }
                let outcome = match report.problem {
                    Problem::Unreachable(error) => {
                        connection.on_unreachable(now, &mut self.pool, error)
                    }
                    Problem::TooBig(mtu) => connection.on_too_big(mtu.saturating_sub(headers)),
                };
                self.apply(now, id, outcome, None);
            }
            _ => {}
        }
    }

    /// The neighbour of a connection does not answer.
    pub(super) fn unreachable(&mut self, now: Instant, id: u32) {
        if let Some(connection) = self.sockets.connection(id) {
            let outcome = connection.on_unreachable(now, &mut self.pool, Errno::EHOSTUNREACH);
            self.apply(now, id, outcome, None);
        }
    }
}

/// DHCP replies and router advertisements.
fn is_for_autoconfiguration(ip: &Ip) -> bool {
    match ip.protocol {
        protocol::UDP => {
            ip.dst.is_ipv4()
                && u16_at(ip.payload, 0) == Some(67)
                && u16_at(ip.payload, 2) == Some(68)
        }
        protocol::ICMPV6 => ip.payload.first() == Some(&134),
        _ => false,
    }
}

/// Verifies the checksum of TCP or UDP, unless somebody vouches for it.
fn check_sum(meta: RxMeta, ip: &Ip) -> Result<(), DropReason> {
    if meta.checksum != RxChecksum::Unknown {
        return Ok(());
    }
    let none = ip.protocol == protocol::UDP && ip.dst.is_ipv4() && u16_at(ip.payload, 6) == Some(0);
    let sum = pseudo_header(ip.src, ip.dst, ip.protocol, ip.payload.len());
    if none || sum.add(ip.payload).complement() == 0 {
        Ok(())
    } else {
        Err(DropReason::BadChecksum)
    }
}
