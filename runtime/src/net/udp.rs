//! UDP sockets (RFC 768).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::counters::DropReason;
use super::icmp::{Problem, Report};
use super::network::HOP_LIMIT;
use super::packet::{Ip, Mac, ip_header_len, u16_at};
use super::route::{Destination, map, unmap};
use super::sockets::{Family, Readiness, Socket, SocketId};
use super::stack::Stack;
use super::tcp_socket::{EPHEMERAL, check_family, overlap};
use super::time::Instant;
use crate::Errno;

/// Bytes of datagrams that wait to be read, with what it costs to keep them; as Linux's `rmem_default`.
const QUEUE_BYTES_MAX: usize = 212_992;
/// What keeping one datagram costs beside its bytes.
const DATAGRAM_COST: usize = 128;
/// Length of a UDP header.
const HEADER_LEN: usize = 8;

/// A received datagram.
struct Datagram {
    from: SocketAddr,
    to: IpAddr,
    data: Vec<u8>,
}

/// What `setsockopt` sets on a UDP socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UdpOptions {
    /// `SO_REUSEADDR` or `SO_REUSEPORT`.
    pub reuse: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `IP_TRANSPARENT`: datagrams for others' addresses are taken too.
    pub transparent: bool,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`; 0 for the default of 64.
    pub hop_limit: u8,
}

/// A UDP socket.
pub(crate) struct UdpSocket {
    pub(crate) family: Family,
    /// In the socket's own family.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) error: Option<Errno>,
    options: UdpOptions,
    queue: VecDeque<Datagram>,
    queued: usize,
}

/// What `recvmsg` tells of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes stored.
    pub len: usize,
    /// Bytes there were: more than `len` if the buffer was too small (`MSG_TRUNC`).
    pub full_len: usize,
    /// The sender.
    pub from: SocketAddr,
    /// The address it was sent to (`IP_PKTINFO`).
    pub to: IpAddr,
}

impl UdpSocket {
    pub(crate) fn readiness(&self, room: bool) -> Readiness {
        Readiness {
            readable: !self.queue.is_empty() || self.error.is_some(),
            writable: room || self.error.is_some(),
            error: self.error.is_some(),
            ..Readiness::default()
        }
    }

    fn shown(&self, address: IpAddr) -> IpAddr {
        if self.family == Family::V6 {
            map(address)
        } else {
            address
        }
    }

    /// How well a datagram fits: connected before bound to the address before bound to any.
    fn score(&self, to: IpAddr, from: SocketAddr, foreign: bool) -> Option<u8> {
        if foreign && !self.options.transparent {
            return None;
        }
        let bound = unmap(self.local?.ip());
        let any = bound.is_unspecified();
        let family_fits = match self.family {
            Family::V4 => to.is_ipv4(),
            Family::V6 => !to.is_ipv4() || !self.options.v6_only,
        };
        if !(bound == to || (any && family_fits)) {
            return None;
        }
        match self.remote {
            Some(remote) if unmap(remote.ip()) != from.ip() || remote.port() != from.port() => None,
            Some(_) => Some(3),
            None if any => Some(1),
            None => Some(2),
        }
    }
}

impl Stack {
    /// `socket(…, SOCK_DGRAM)`. ENOBUFS if there are too many.
    pub fn udp_socket(&mut self, family: Family) -> Result<SocketId, Errno> {
        let socket = UdpSocket {
            family,
            local: None,
            remote: None,
            error: None,
            options: UdpOptions::default(),
            queue: VecDeque::new(),
            queued: 0,
        };
        let id = self.sockets.insert(Socket::Udp(Box::new(socket)))?;
        self.network.counters.udp_sockets += 1;
        Ok(SocketId(id))
    }

    /// `bind` on a UDP socket; port 0 for any free one. EADDRINUSE, EINVAL if bound, EAFNOSUPPORT.
    pub fn udp_bind(&mut self, id: SocketId, address: SocketAddr) -> Result<(), Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        if socket.local.is_some() {
            return Err(Errno::EINVAL);
        }
        check_family(socket.family, address)?;
        let (family, options) = (socket.family, socket.options);
        let port = match address.port() {
            0 => self.free_udp_port(family, options, address.ip())?,
            port if self.udp_port_taken(port, family, options, address.ip()) => {
                return Err(Errno::EADDRINUSE);
            }
            port => port,
        };
        self.udp_ports.entry(port).or_default().push(id.0);
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        socket.local = Some(SocketAddr::new(address.ip(), port));
        Ok(())
    }

    fn free_udp_port(
        &mut self,
        family: Family,
        options: UdpOptions,
        address: IpAddr,
    ) -> Result<u16, Errno> {
        let start = self.random_port(None);
        let options = UdpOptions {
            reuse: false,
            ..options
        };
        let mut all = (start..EPHEMERAL.end).chain(EPHEMERAL.start..start);
        all.find(|&port| !self.udp_port_taken(port, family, options, address))
            .ok_or(Errno::EADDRINUSE)
    }

    fn udp_port_taken(
        &self,
        port: u16,
        family: Family,
        options: UdpOptions,
        address: IpAddr,
    ) -> bool {
        let Some(holders) = self.udp_ports.get(&port) else {
            return false;
        };
        holders.iter().any(|&id| match self.sockets.get(id) {
            Some(Socket::Udp(other)) => {
                let shared = options.reuse && other.options.reuse;
                let theirs = other.local.map_or(address, |local| local.ip());
                !shared
                    && overlap(
                        (family, options.v6_only, address),
                        (other.family, other.options.v6_only, theirs),
                    )
            }
            _ => false,
        })
    }

    /// `connect` on a UDP socket: the only peer from now on.
    pub fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        check_family(socket.family, remote)?;
        let source = self.udp_source(id, unmap(remote.ip()))?;
        self.udp_bind_if_needed(id)?;
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        let source = socket.shown(source);
        if let Some(local) = &mut socket.local
            && local.ip().is_unspecified()
        {
            local.set_ip(source); // as getsockname shows it on Linux
        }
        socket.remote = Some(remote);
        Ok(())
    }

    /// `connect` with `AF_UNSPEC`: any peer again.
    pub fn udp_disconnect(&mut self, id: SocketId) -> Result<(), Errno> {
        self.sockets.udp(id.0).ok_or(Errno::EBADF)?.remote = None;
        Ok(())
    }

    fn udp_bind_if_needed(&mut self, id: SocketId) -> Result<(), Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        if socket.local.is_some() {
            return Ok(());
        }
        let any = socket.family.unspecified();
        self.udp_bind(id, any)
    }

    /// The address from which this socket speaks to `to`.
    fn udp_source(&mut self, id: SocketId, to: IpAddr) -> Result<IpAddr, Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        let bound = socket
            .local
            .map(|local| unmap(local.ip()))
            .filter(|ip| !ip.is_unspecified());
        match bound {
            Some(ip) if ip.is_ipv4() == to.is_ipv4() => Ok(ip),
            Some(_) => Err(Errno::ENETUNREACH),
            None => self.network.routes.source_for(to).ok_or(Errno::ENETUNREACH),
        }
    }

    /// `sendto`. EAGAIN if too much waits, EMSGSIZE beyond 65,507 bytes, or one packet of IPv6,
    /// EDESTADDRREQ without a peer, ENETUNREACH without a route, or the pending error.
    pub fn udp_send(
        &mut self,
        now: Instant,
        id: SocketId,
        to: Option<SocketAddr>,
        data: &[u8],
    ) -> Result<(), Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let to = to.or(socket.remote).ok_or(Errno::EDESTADDRREQ)?;
        check_family(socket.family, to)?;
        let hop_limit = match socket.options.hop_limit {
            0 => HOP_LIMIT,
            chosen => chosen,
        };
        let to = SocketAddr::new(unmap(to.ip()), to.port());
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        let longest = if to.is_ipv4() {
            usize::from(u16::MAX)
        } else {
            self.network.mtu(to.ip())
        };
        if data.len() + HEADER_LEN + ip_header_len(to.ip()) > longest {
            return Err(Errno::EMSGSIZE);
        }
        if !self.network.has_room() {
            self.crowded.push(id.0);
            return Err(Errno::EAGAIN);
        }
        self.udp_bind_if_needed(id)?;
        let source = self.udp_source(id, to.ip())?;
        let routes = &self.network.routes;
        if routes.classify(to.ip()) == Destination::Foreign && routes.next_hop(to.ip()).is_none() {
            return Err(Errno::ENETUNREACH);
        }
        let port = self
            .sockets
            .udp(id.0)
            .and_then(|socket| socket.local)
            .map_or(0, |local| local.port());
        self.network
            .send_udp(now, SocketAddr::new(source, port), to, hop_limit, data);
        Ok(())
    }

    /// `recvfrom`, or with `peek` as `MSG_PEEK`. EAGAIN if there is nothing.
    pub fn udp_recv(
        &mut self,
        id: SocketId,
        out: &mut [u8],
        peek: bool,
    ) -> Result<Received, Errno> {
        let socket = self.sockets.udp(id.0).ok_or(Errno::EBADF)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let datagram = socket.queue.front().ok_or(Errno::EAGAIN)?;
        let len = out.len().min(datagram.data.len());
        out[..len].copy_from_slice(&datagram.data[..len]);
        let from = SocketAddr::new(socket.shown(datagram.from.ip()), datagram.from.port());
        let received = Received {
            len,
            full_len: datagram.data.len(),
            from,
            to: socket.shown(datagram.to),
        };
        if !peek {
            socket.queued -= received.full_len + DATAGRAM_COST;
            socket.queue.pop_front();
            if socket.queue.is_empty() {
                socket.queue.shrink_to(0);
            }
        }
        Ok(received)
    }

    /// `FIONREAD`: the length of the next datagram.
    pub fn udp_readable_bytes(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0) {
            Some(Socket::Udp(socket)) => socket
                .queue
                .front()
                .map_or(0, |datagram| datagram.data.len()),
            _ => 0,
        }
    }

    /// The options of a UDP socket.
    pub fn udp_options(&self, id: SocketId) -> Result<UdpOptions, Errno> {
        match self.sockets.get(id.0) {
            Some(Socket::Udp(socket)) => Ok(socket.options),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// Changes the options of a UDP socket.
    pub fn set_udp_options(&mut self, id: SocketId, options: UdpOptions) -> Result<(), Errno> {
        self.sockets.udp(id.0).ok_or(Errno::ENOPROTOOPT)?.options = options;
        Ok(())
    }

    pub(super) fn close_udp(&mut self, id: u32) {
        let port = self
            .sockets
            .udp(id)
            .and_then(|socket| socket.local)
            .map(|local| local.port());
        if let Some(port) = port
            && let Some(holders) = self.udp_ports.get_mut(&port)
        {
            holders.retain(|&holder| holder != id);
            if holders.is_empty() {
                self.udp_ports.remove(&port);
            }
        }
        self.sockets.remove(id);
        self.network.counters.udp_sockets -= 1;
    }

    /// A datagram whose checksum is right.
    pub(super) fn receive_udp(
        &mut self,
        now: Instant,
        back: Option<Mac>,
        ip: &Ip,
    ) -> Result<(), DropReason> {
        let field = |at| u16_at(ip.payload, at).ok_or(DropReason::Truncated);
        let (src_port, dst_port, len) = (field(0)?, field(2)?, usize::from(field(4)?));
        let data = ip
            .payload
            .get(HEADER_LEN..len)
            .ok_or(DropReason::Truncated)?;
        let (from, kind) = (
            SocketAddr::new(ip.src, src_port),
            self.network.routes.classify(ip.dst),
        );
        let Some(id) = self.find_udp(ip.dst, dst_port, from, kind == Destination::Foreign) else {
            return match kind {
                Destination::Own => {
                    self.network.refuse_port(now, ip, back);
                    Err(DropReason::NoListener)
                }
                _ => Err(DropReason::NotOurs),
            };
        };
        let Some(socket) = self.sockets.udp(id) else {
            return Err(DropReason::NoListener);
        };
        if socket.queued + data.len() + DATAGRAM_COST > QUEUE_BYTES_MAX {
            return Err(DropReason::QueueFull);
        }
        socket.queued += data.len() + DATAGRAM_COST;
        socket.queue.push_back(Datagram {
            from,
            to: ip.dst,
            data: data.to_vec(),
        });
        self.sockets.notify(id);
        Ok(())
    }

    fn find_udp(&self, to: IpAddr, port: u16, from: SocketAddr, foreign: bool) -> Option<u32> {
        let candidates = self.udp_ports.get(&port)?.iter();
        let scored = candidates.filter_map(|&id| match self.sockets.get(id) {
            Some(Socket::Udp(socket)) => Some((socket.score(to, from, foreign)?, id)),
            _ => None,
        });
        scored.max_by_key(|&(score, _)| score).map(|(_, id)| id)
    }

    /// An ICMP error about a datagram: connected sockets hear of it, as on Linux.
    pub(super) fn report_udp(&mut self, report: &Report) {
        let Problem::Unreachable(error) = report.problem else {
            return;
        };
        let Some(id) = self
            .find_udp(report.local.ip(), report.local.port(), report.remote, true)
            .or_else(|| {
                self.find_udp(report.local.ip(), report.local.port(), report.remote, false)
            })
        else {
            return;
        };
        if let Some(socket) = self.sockets.udp(id)
            && socket.remote.is_some()
        {
            socket.error = Some(error);
            self.sockets.notify(id);
        }
    }
}
