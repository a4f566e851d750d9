//! TCP sockets as POSIX knows them.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use super::route::{map, unmap, unspecified};
use super::sockets::{Family, Listener, Readiness, Socket, SocketId, Unconnected};
use super::stack::Stack;
use super::tcp::connection::Opening;
use super::tcp::{Connection, State, TcpOptions, Tuple};
use super::time::Instant;
use crate::Errno;

/// The backlog that `listen` is bounded by; Linux's `somaxconn`.
const BACKLOG_MAX: usize = 4096;
/// Ephemeral ports, as on Linux (`ip_local_port_range`).
pub(super) const EPHEMERAL: core::ops::Range<u16> = 32_768..61_000;
/// Random tries for a port before all are searched in order.
const PORT_TRIES: usize = 16;

/// What `shutdown` closes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// `SHUT_RD`.
    Read,
    /// `SHUT_WR`.
    Write,
    /// `SHUT_RDWR`.
    Both,
}

impl Stack {
    /// `socket(…, SOCK_STREAM)`. ENOBUFS if there are too many.
    pub fn tcp_socket(&mut self, family: Family) -> Result<SocketId, Errno> {
        let socket = Unconnected {
            family,
            bound: None,
            options: TcpOptions::default(),
        };
        self.sockets
            .insert(Socket::Unconnected(Box::new(socket)))
            .map(SocketId)
    }

    /// `bind` on a TCP socket. Any unicast address is allowed: what is not ours is for transparent
    /// proxies. EADDRINUSE, EINVAL if bound or connected, EAFNOSUPPORT.
    pub fn tcp_bind(&mut self, id: SocketId, address: SocketAddr) -> Result<(), Errno> {
        let Some(Socket::Unconnected(socket)) = self.sockets.get(id.0) else {
            return Err(Errno::EINVAL);
        };
        if socket.bound.is_some() {
            return Err(Errno::EINVAL);
        }
        check_family(socket.family, address)?;
        let (family, options) = (socket.family, socket.options);
        let port = match address.port() {
            0 => self.free_tcp_port(family, &options, address.ip())?,
            port if self.tcp_port_taken(port, family, &options, address.ip()) => {
                return Err(Errno::EADDRINUSE);
            }
            port => port,
        };
        self.tcp_ports.entry(port).or_default().push(id.0);
        if let Some(Socket::Unconnected(socket)) = self.sockets.get_mut(id.0) {
            socket.bound = Some(SocketAddr::new(address.ip(), port));
        }
        Ok(())
    }

    fn free_tcp_port(
        &mut self,
        family: Family,
        options: &TcpOptions,
        address: IpAddr,
    ) -> Result<u16, Errno> {
        let start = self.random_port(None);
        let candidates = (start..EPHEMERAL.end).chain(EPHEMERAL.start..start);
        for port in candidates {
            if !self.tcp_port_taken(port, family, options, address) {
                return Ok(port);
            }
        }
        Err(Errno::EADDRINUSE)
    }

    /// An unpredictable ephemeral port.
    pub(super) fn random_port(&mut self, peer: Option<SocketAddr>) -> u16 {
        EPHEMERAL.start + (self.secret.draw(peer) % EPHEMERAL.len() as u64) as u16
    }

    /// TIME-WAIT never keeps a port from being bound, as if `SO_REUSEADDR` were always set.
    fn tcp_port_taken(
        &self,
        port: u16,
        family: Family,
        options: &TcpOptions,
        address: IpAddr,
    ) -> bool {
        let Some(holders) = self.tcp_ports.get(&port) else {
            return false;
        };
        holders.iter().any(|&id| {
            let (other_family, other_address, other_options) = match self.sockets.get(id) {
                Some(Socket::Listener(other)) => (other.family, other.local.ip(), &other.options),
                Some(Socket::Unconnected(other)) => {
                    let bound = other.bound.map_or(address, |bound| bound.ip());
                    (other.family, bound, &other.options)
                }
                _ => return false,
            };
            let shared = options.reuse_port && other_options.reuse_port;
            !shared
                && overlap(
                    (family, options.v6_only, address),
                    (other_family, other_options.v6_only, other_address),
                )
        })
    }

    /// `listen`; again on a listening socket it changes the backlog. EINVAL if connected.
    pub fn tcp_listen(&mut self, id: SocketId, backlog: usize) -> Result<(), Errno> {
        let backlog = backlog.clamp(1, BACKLOG_MAX);
        if let Some(listener) = self.sockets.listener(id.0) {
            listener.backlog = backlog;
            return Ok(());
        }
        let Some(Socket::Unconnected(socket)) = self.sockets.get(id.0) else {
            return Err(Errno::EINVAL);
        };
        let (family, options) = (socket.family, socket.options);
        if socket.bound.is_none() {
            self.tcp_bind(id, family.unspecified())?;
        }
        let Some(Socket::Unconnected(socket)) = self.sockets.get(id.0) else {
            return Err(Errno::EINVAL);
        };
        let local = socket.bound.ok_or(Errno::EINVAL)?;
        let queue = alloc::collections::VecDeque::new();
        let listener = Listener {
            family,
            local,
            backlog,
            queue,
            half_open: 0,
            options,
        };
        self.sockets
            .replace(id.0, Socket::Listener(Box::new(listener)));
        self.network.counters.tcp_listeners += 1;
        Ok(())
    }

    /// `accept`: a connection and its peer. EAGAIN if there is none, EINVAL if the socket does not listen.
    pub fn tcp_accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        let listener = self.sockets.listener(id.0).ok_or(Errno::EINVAL)?;
        let new = listener.queue.pop_front().ok_or(Errno::EAGAIN)?;
        if listener.queue.is_empty() {
            listener.queue.shrink_to(0);
        }
        let connection = self.sockets.connection(new).ok_or(Errno::ECONNABORTED)?;
        connection.listener = None;
        let peer = shown(connection.tuple.remote, connection.mapped);
        Ok((SocketId(new), peer))
    }

    /// `connect`. EINPROGRESS when begun; then EALREADY, and EISCONN when done. ENETUNREACH without a
    /// route, EADDRNOTAVAIL without a free port, EADDRINUSE if that very connection exists.
    pub fn tcp_connect(
        &mut self,
        now: Instant,
        id: SocketId,
        remote: SocketAddr,
    ) -> Result<(), Errno> {
        let socket = match self.sockets.get(id.0).ok_or(Errno::EBADF)? {
            Socket::Unconnected(socket) => socket,
            Socket::Connection(connection) => {
                return Err(match connection.state {
                    State::SynSent | State::SynReceived => Errno::EALREADY,
                    State::Closed => Errno::ECONNABORTED,
                    _ => Errno::EISCONN,
                });
            }
            _ => return Err(Errno::EISCONN),
        };
        check_family(socket.family, remote)?;
        let (family, bound, options) = (socket.family, socket.bound, socket.options);
        let mut peer = SocketAddr::new(unmap(remote.ip()), remote.port());
        if peer.ip().is_unspecified() {
            peer.set_ip(if peer.is_ipv4() {
                [127, 0, 0, 1].into()
            } else {
                IpAddr::V6(core::net::Ipv6Addr::LOCALHOST)
            });
        }
        if peer.port() == 0 || peer.ip().is_multicast() {
            return Err(Errno::ENETUNREACH);
        }
        let tuple = self.choose_tuple(bound, peer)?;
        self.release_tcp_port(id.0, bound.map(|bound| bound.port()));
        let opening = Opening {
            tuple,
            iss: self.secret.initial_sequence(now, &tuple),
            mss: self.route_mss(peer.ip()),
            options,
            limits: self.limits,
        };
        let mut connection = Connection::active(now, opening);
        connection.mapped = family == Family::V6 && peer.is_ipv4();
        self.sockets
            .replace(id.0, Socket::Connection(Box::new(connection)));
        self.connections.insert(tuple, id.0);
        self.network.counters.tcp_connected += 1;
        self.settle(now, id.0);
        Err(Errno::EINPROGRESS)
    }

    /// Both ends of a connection to be: RFC 6056's unpredictable port, unless one is bound.
    fn choose_tuple(
        &mut self,
        bound: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> Result<Tuple, Errno> {
        let bound_ip = bound
            .map(|bound| unmap(bound.ip()))
            .filter(|ip| !ip.is_unspecified());
        let ip = match bound_ip {
            Some(ip) if ip.is_ipv4() != remote.is_ipv4() => return Err(Errno::EINVAL),
            Some(ip) => ip,
            None => self
                .network
                .routes
                .source_for(remote.ip())
                .ok_or(Errno::ENETUNREACH)?,
        };
        let reachable = self.network.routes.is_own(remote.ip())
            || self.network.routes.next_hop(remote.ip()).is_some();
        if !reachable {
            return Err(Errno::ENETUNREACH);
        }
        let tuple = |port| Tuple {
            local: SocketAddr::new(ip, port),
            remote,
        };
        if let Some(bound) = bound {
            let tuple = tuple(bound.port());
            let taken = self.connections.contains_key(&tuple);
            return if taken {
                Err(Errno::EADDRINUSE)
            } else {
                Ok(tuple)
            };
        }
        let free = |stack: &Stack, port: u16| {
            let tuple = tuple(port);
            let taken = stack.connections.contains_key(&tuple) || stack.time_wait.contains(&tuple);
            !taken && !stack.tcp_ports.contains_key(&port)
        };
        for _ in 0..PORT_TRIES {
            let port = self.random_port(Some(remote));
            if free(self, port) {
                return Ok(tuple(port));
            }
        }
        let start = self.random_port(Some(remote));
        let mut all = (start..EPHEMERAL.end).chain(EPHEMERAL.start..start);
        all.find(|&port| free(self, port))
            .map(tuple)
            .ok_or(Errno::EADDRNOTAVAIL)
    }

    fn release_tcp_port(&mut self, id: u32, port: Option<u16>) {
        if let Some(port) = port
            && let Some(holders) = self.tcp_ports.get_mut(&port)
        {
            holders.retain(|&holder| holder != id);
            if holders.is_empty() {
                self.tcp_ports.remove(&port);
            }
        }
    }

    /// `send`: how many bytes were taken. EAGAIN if none fit now, EPIPE after the end, ENOTCONN, or the
    /// pending error.
    pub fn tcp_send(&mut self, now: Instant, id: SocketId, data: &[u8]) -> Result<usize, Errno> {
        let connection = self.sockets.connection(id.0).ok_or(Errno::ENOTCONN)?;
        let sent = connection.write(&mut self.pool, data);
        if connection.writer_waits && self.pool.bytes_left() == 0 {
            self.starved.push(id.0);
        }
        self.settle(now, id.0);
        sent
    }

    /// `recv`: how many bytes came; 0 at the end of the peer's stream. EAGAIN if there are none yet.
    pub fn tcp_recv(&mut self, now: Instant, id: SocketId, out: &mut [u8]) -> Result<usize, Errno> {
        let connection = self.sockets.connection(id.0).ok_or(Errno::ENOTCONN)?;
        let read = connection.read(&mut self.pool, out)?;
        if connection.may_have_output() {
            self.settle(now, id.0);
        }
        Ok(read)
    }

    /// `recv` with `MSG_PEEK`, from `offset` on.
    pub fn tcp_peek(
        &mut self,
        id: SocketId,
        offset: usize,
        out: &mut [u8],
    ) -> Result<usize, Errno> {
        self.sockets
            .connection(id.0)
            .ok_or(Errno::ENOTCONN)?
            .peek(offset, out)
    }

    /// `FIONREAD`: bytes that can be read at once.
    pub fn tcp_readable_bytes(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0) {
            Some(Socket::Connection(connection)) => connection.rcv.buffer.len(),
            _ => 0,
        }
    }

    /// `SIOCOUTQ`: bytes written and not yet acknowledged by the peer; for lingering closes too.
    pub fn tcp_unsent_bytes(&self, id: SocketId) -> usize {
        match self.sockets.get(id.0) {
            Some(Socket::Connection(connection)) => connection.snd.buffer.len(),
            _ => 0,
        }
    }

    /// `shutdown`. ENOTCONN if there is no connection.
    pub fn tcp_shutdown(&mut self, now: Instant, id: SocketId, how: Shutdown) -> Result<(), Errno> {
        let connection = self.sockets.connection(id.0).ok_or(Errno::ENOTCONN)?;
        if matches!(connection.state, State::SynSent | State::Closed) {
            return Err(Errno::ENOTCONN);
        }
        if how != Shutdown::Write {
            connection.shut_read();
        }
        if how != Shutdown::Read {
            connection.shut_write();
        }
        self.sockets.notify(id.0); // EPOLLRDHUP or EPOLLHUP
        self.settle(now, id.0);
        Ok(())
    }

    /// `close`: what was written is still delivered, unless data was left unread.
    pub fn close(&mut self, now: Instant, id: SocketId) {
        match self.sockets.get(id.0) {
            Some(Socket::Unconnected(socket)) => {
                let port = socket.bound.map(|bound| bound.port());
                self.release_tcp_port(id.0, port);
                self.sockets.remove(id.0);
            }
            Some(Socket::Listener(listener)) => {
                let port = listener.local.port();
                self.release_tcp_port(id.0, Some(port));
                self.close_listener(now, id.0);
            }
            Some(Socket::Connection(_)) => self.close_connection(now, id.0, false),
            Some(Socket::Udp(_)) => self.close_udp(id.0),
            None => {}
        }
    }

    /// Closes a TCP connection at once: the peer gets a RST, and what was not delivered is lost.
    pub fn tcp_abort(&mut self, now: Instant, id: SocketId) {
        self.close_connection(now, id.0, true);
    }

    fn close_connection(&mut self, now: Instant, id: u32, abort: bool) {
        let Some(connection) = self.sockets.connection(id) else {
            return;
        };
        connection.options.reset_on_close |= abort;
        let reset = connection.release(now, &mut self.pool);
        let (tuple, back) = (connection.tuple, connection.came_from);
        if let Some(reset) = reset {
            self.network.send_reset(now, &tuple, reset, back);
        }
        self.settle(now, id);
    }

    /// Whoever has not been accepted is sent away.
    fn close_listener(&mut self, now: Instant, id: u32) {
        self.network.counters.tcp_listeners -= 1;
        let Some(Socket::Listener(listener)) = self.sockets.remove(id) else {
            return;
        };
        for other in self.sockets.ids() {
            if let Some(connection) = self.sockets.connection(other)
                && connection.listener == Some(id)
            {
                connection.listener = None;
                self.close_connection(now, other, true);
            }
        }
        self.network.counters.tcp_half_open -= listener.half_open as u32;
    }

    /// The options of a TCP socket.
    pub fn tcp_options(&self, id: SocketId) -> Result<TcpOptions, Errno> {
        match self.sockets.get(id.0) {
            Some(Socket::Unconnected(socket)) => Ok(socket.options),
            Some(Socket::Listener(listener)) => Ok(listener.options),
            Some(Socket::Connection(connection)) => Ok(connection.options),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    /// Changes the options of a TCP socket.
    pub fn set_tcp_options(
        &mut self,
        now: Instant,
        id: SocketId,
        options: TcpOptions,
    ) -> Result<(), Errno> {
        match self.sockets.get_mut(id.0) {
            Some(Socket::Unconnected(socket)) => socket.options = options,
            Some(Socket::Listener(listener)) => listener.options = options,
            Some(Socket::Connection(connection)) => {
                connection.options = options;
                connection.rearm_keep_alive(now);
                self.settle(now, id.0);
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// `getsockname`: of an intercepted connection, the address that the client meant.
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        Ok(match self.sockets.get(id.0).ok_or(Errno::EBADF)? {
            Socket::Unconnected(socket) => socket.bound.unwrap_or(socket.family.unspecified()),
            Socket::Listener(listener) => listener.local,
            Socket::Connection(connection) => shown(connection.tuple.local, connection.mapped),
            Socket::Udp(socket) => socket.local.unwrap_or(socket.family.unspecified()),
        })
    }

    /// `getpeername`. ENOTCONN if there is none.
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr, Errno> {
        match self.sockets.get(id.0).ok_or(Errno::EBADF)? {
            Socket::Connection(connection) if connection.state != State::SynSent => {
                Ok(shown(connection.tuple.remote, connection.mapped))
            }
            Socket::Udp(socket) => socket.remote.ok_or(Errno::ENOTCONN),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// `SO_ERROR`: the pending error, which is then no longer pending.
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        match self.sockets.get_mut(id.0)? {
            Socket::Connection(connection) => connection.take_error(),
            Socket::Udp(socket) => socket.error.take(),
            _ => None,
        }
    }

    /// What a socket is ready for.
    pub fn readiness(&self, id: SocketId) -> Readiness {
        match self.sockets.get(id.0) {
            Some(Socket::Listener(listener)) => Readiness {
                readable: !listener.queue.is_empty(),
                ..Readiness::default()
            },
            Some(Socket::Connection(connection)) => connection_readiness(connection),
            Some(Socket::Udp(socket)) => socket.readiness(self.network.has_room()),
            // As Linux: nothing will come of it.
            Some(Socket::Unconnected(_)) => Readiness {
                writable: true,
                hung_up: true,
                ..Readiness::default()
            },
            None => Readiness::default(),
        }
    }
}

fn connection_readiness(connection: &Connection) -> Readiness {
    let (error, read_closed) = (connection.error.is_some(), connection.read_closed());
    let write_closed = connection.write_closed();
    Readiness {
        readable: connection.rcv.buffer.len() > 0 || read_closed || error,
        writable: connection.writable() || write_closed || error,
        read_closed,
        hung_up: read_closed && write_closed,
        error,
    }
}

/// An address as a socket of its family shows it.
fn shown(address: SocketAddr, mapped: bool) -> SocketAddr {
    if mapped {
        SocketAddr::new(map(address.ip()), address.port())
    } else {
        address
    }
}

pub(super) fn check_family(family: Family, address: SocketAddr) -> Result<(), Errno> {
    let fits = (family == Family::V4) == address.is_ipv4();
    if fits {
        Ok(())
    } else {
        Err(Errno::EAFNOSUPPORT)
    }
}

/// Whether two bindings of one port would get the same packets.
pub(super) fn overlap(a: (Family, bool, IpAddr), b: (Family, bool, IpAddr)) -> bool {
    // An address as packets carry it, and whether any of the other family is meant too.
    let seen = |(family, v6_only, address): (Family, bool, IpAddr)| {
        let both = family == Family::V6 && !v6_only && address.is_unspecified();
        (unmap(address), both)
    };
    let ((a, a_both), (b, b_both)) = (seen(a), seen(b));
    let any = |address: IpAddr| address == unspecified(address);
    let same_family = a.is_ipv4() == b.is_ipv4();
    (same_family && (a == b || any(a) || any(b))) || (!same_family && (a_both || b_both))
}
