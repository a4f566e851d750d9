//! The table of sockets, and what a socket is.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::tcp::{Connection, TcpOptions};
use super::udp::UdpSocket;
use crate::Errno;

/// Names a socket; not given to another while it is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(pub u32);

/// The address family a socket was made for. One of IPv6 speaks IPv4 too, with mapped addresses, unless
/// it is `v6_only`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    /// Port 0 of any address.
    pub(crate) fn unspecified(self) -> SocketAddr {
        match self {
            Family::V4 => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            Family::V6 => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
        }
    }
}

/// What a socket is ready for, in the words of `epoll`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Readiness {
    /// `EPOLLIN`: data, a connection to accept, the end of the stream, or an error.
    pub readable: bool,
    /// `EPOLLOUT`: a write would take bytes, or fail at once.
    pub writable: bool,
    /// `EPOLLRDHUP`: the peer sends no more.
    pub read_closed: bool,
    /// `EPOLLHUP`: both directions are closed.
    pub hung_up: bool,
    /// `EPOLLERR`: there is an error for `SO_ERROR`.
    pub error: bool,
}

/// A TCP socket that neither listens nor connects.
pub(crate) struct Unconnected {
    pub(crate) family: Family,
    pub(crate) bound: Option<SocketAddr>,
    pub(crate) options: TcpOptions,
}

/// A listening TCP socket.
pub(crate) struct Listener {
    pub(crate) family: Family,
    /// As bound, in the socket's own family.
    pub(crate) local: SocketAddr,
    /// Most connections in `queue`.
    pub(crate) backlog: usize,
    /// Established, not accepted.
    pub(crate) queue: VecDeque<u32>,
    /// Handshakes begun.
    pub(crate) half_open: usize,
    pub(crate) options: TcpOptions,
}

/// Any socket.
pub(crate) enum Socket {
    Unconnected(Box<Unconnected>),
    Listener(Box<Listener>),
    Connection(Box<Connection>),
    Udp(Box<UdpSocket>),
}

struct Slot {
    socket: Socket,
    /// It is in the list of sockets whose readiness gained an edge.
    changed: bool,
}

/// Most sockets of all kinds: file descriptors are bounded by the shell, half-open and orphaned
/// connections by this too.
const SOCKETS_MAX: usize = 65_536;

/// All sockets.
#[derive(Default)]
pub(crate) struct Sockets {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    changed: Vec<u32>,
}

impl Sockets {
    pub(crate) fn insert(&mut self, socket: Socket) -> Result<u32, Errno> {
        let slot = Some(Slot {
            socket,
            changed: false,
        });
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = slot;
            return Ok(id);
        }
        if self.slots.len() >= SOCKETS_MAX {
            return Err(Errno::ENOBUFS);
        }
        self.slots.push(slot);
        Ok((self.slots.len() - 1) as u32)
    }

    pub(crate) fn remove(&mut self, id: u32) -> Option<Socket> {
        let slot = self.slots.get_mut(id as usize)?.take()?;
        self.free.push(id);
        Some(slot.socket)
    }

    /// Puts another socket into the place of the one that was there.
    pub(crate) fn replace(&mut self, id: u32, socket: Socket) {
        if let Some(Some(slot)) = self.slots.get_mut(id as usize) {
            slot.socket = socket;
        }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Socket> {
        self.slots
            .get(id as usize)?
            .as_ref()
            .map(|slot| &slot.socket)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Socket> {
        self.slots
            .get_mut(id as usize)?
            .as_mut()
            .map(|slot| &mut slot.socket)
    }

    pub(crate) fn connection(&mut self, id: u32) -> Option<&mut Connection> {
        match self.get_mut(id)? {
            Socket::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    pub(crate) fn listener(&mut self, id: u32) -> Option<&mut Listener> {
        match self.get_mut(id)? {
            Socket::Listener(listener) => Some(listener),
            _ => None,
        }
    }

    pub(crate) fn udp(&mut self, id: u32) -> Option<&mut UdpSocket> {
        match self.get_mut(id)? {
            Socket::Udp(socket) => Some(socket),
            _ => None,
        }
    }

    /// The ids of all sockets.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let held = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some());
        held.map(|(id, _)| id as u32).collect()
    }

    /// Notes that readiness gained an edge.
    pub(crate) fn notify(&mut self, id: u32) {
        if let Some(Some(slot)) = self.slots.get_mut(id as usize)
            && !slot.changed
        {
            slot.changed = true;
            self.changed.push(id);
        }
    }

    pub(crate) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Names the sockets noted since the last call.
    pub(crate) fn take_changed(&mut self, tell: &mut dyn FnMut(SocketId)) {
        for id in core::mem::take(&mut self.changed) {
            if let Some(Some(slot)) = self.slots.get_mut(id as usize)
                && core::mem::take(&mut slot.changed)
            {
                tell(SocketId(id));
            }
        }
    }
}
