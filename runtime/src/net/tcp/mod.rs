//! TCP (RFC 9293), one connection at a time and without I/O.
//!
//! **Why not smoltcp's sockets.** smoltcp 0.14 fixes each ring buffer at creation, has a retransmission
//! timeout of at least one second, ignores SACK when it sends, drops IPv6 frames meant for segmentation
//! offload (`Interface::dispatch_ip`), and draws sequence numbers from a 64-bit generator that two
//! connections reveal. All five are constants or private fields, so nothing around it can mend them.
//! What remains of smoltcp here are its wire formats and its DHCP and SLAAC clients.
//!
//! A [`Connection`] is a transmission control block. Segments go in by [`Connection::receive`]; what is
//! to be sent is asked for with [`Connection::plan`] and confirmed with [`Connection::sent`], so that a
//! full device loses nothing. Its files are the chapters of the specification:
//!
//! - [`input`]: segment arrives (RFC 9293 §3.10.7), RST and SYN in a window (RFC 5961);
//! - [`acknowledgment`]: what an ACK means to the sender, SACK and loss recovery (RFC 6675);
//! - [`output`]: what to send next, Nagle, silly windows, delayed ACK, probes;
//! - [`timer`]: what a deadline means;
//! - [`connection`]: the state itself, and the calls of the user.

pub(crate) mod acknowledgment;
pub(crate) mod connection;
pub(crate) mod cubic;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod rtt;
pub(crate) mod segment;
mod seq;
pub(crate) mod time_wait;
pub(crate) mod timer;

#[cfg(test)]
mod tests;

use core::net::SocketAddr;

pub(crate) use connection::Connection;
pub(crate) use segment::{Flags, Header, Segment};
pub(crate) use seq::{Ranges, Seq};

use super::time::SECOND;

/// A connection's two ends, as they are on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tuple {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// RFC 9293 §3.3.2. LISTEN is a socket of another kind here, TIME-WAIT a line in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    /// Both FINs are exchanged and acknowledged, and ours came first.
    TimeWait,
    Closed,
}

impl State {
    /// Both sides know each other's sequence numbers.
    pub(crate) fn is_synchronized(self) -> bool {
        !matches!(self, State::SynSent | State::SynReceived | State::Closed)
    }

    /// The peer may still send data.
    pub(crate) fn may_receive(self) -> bool {
        matches!(self, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// The user may still send data.
    pub(crate) fn may_send(self) -> bool {
        matches!(self, State::Established | State::CloseWait)
    }
}

/// When to ask a silent peer whether it is still there; as `TCP_KEEPIDLE` and its siblings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Seconds of silence before the first probe.
    pub idle: u32,
    /// Seconds between probes.
    pub interval: u32,
    /// Probes without an answer before the connection ends with ETIMEDOUT.
    pub count: u8,
}

impl Default for KeepAlive {
    /// Linux's defaults.
    fn default() -> Self {
        KeepAlive {
            idle: 7200,
            interval: 75,
            count: 9,
        }
    }
}

/// What `setsockopt` sets on a TCP socket. Accepted connections inherit their listener's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// `TCP_NODELAY`: send small segments at once.
    pub nodelay: bool,
    /// `SO_KEEPALIVE`: probe.
    pub keep_alive_enabled: bool,
    /// How to probe, when enabled.
    pub keep_alive: KeepAlive,
    /// `SO_LINGER` with zero seconds: closing resets the connection. Waiting at close is the shell's part.
    pub reset_on_close: bool,
    /// `TCP_USER_TIMEOUT`: milliseconds that sent data may stay unacknowledged; 0 for the default.
    pub user_timeout_ms: u32,
    /// `SO_REUSEPORT`: several listeners share a port.
    pub reuse_port: bool,
    /// `IPV6_V6ONLY`.
    pub v6_only: bool,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`; 0 for the default of 64.
    pub hop_limit: u8,
    /// `SO_RCVBUF`: most bytes of unread data, once what is on its way has come; 0 for the stack's bound.
    pub receive_max: u32,
    /// `SO_SNDBUF`: most bytes of unsent and unacknowledged data; 0 for the stack's bound.
    pub send_max: u32,
}

impl TcpOptions {
    /// The stack's bounds, and these where they are less.
    pub(crate) fn bound(&self, limits: &Limits) -> Limits {
        let less = |own: u32, most: usize| match own {
            0 => most,
            own => most.min((own as usize).max(BUFFER_MIN)),
        };
        Limits {
            receive_max: less(self.receive_max, limits.receive_max),
            send_max: less(self.send_max, limits.send_max),
        }
    }
}

/// A buffer of less than this holds no segment of most links.
const BUFFER_MIN: usize = 4096;

/// Bounds of a connection's memory and patience.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Most bytes of unread data per connection.
    pub(crate) receive_max: usize,
    /// Most bytes of unsent and unacknowledged data per connection.
    pub(crate) send_max: usize,
}

/// The receive window begins here and doubles as the reader keeps up.
pub(crate) const RECEIVE_START: usize = 64 * 1024;
/// The send buffer begins here and follows the congestion window.
pub(crate) const SEND_START: usize = 64 * 1024;
/// The window's unit is 128 bytes: enough for windows of 8 MiB.
pub(crate) const WINDOW_SCALE: u8 = 7;
/// Handshake retransmissions before ETIMEDOUT: about two minutes, as Linux.
pub(crate) const SYN_RETRIES: u8 = 6;
/// The same for the SYN of a passive connection: about one minute.
pub(crate) const SYN_ACK_RETRIES: u8 = 5;
/// Data retransmissions before ETIMEDOUT: about a quarter of an hour, as Linux.
pub(crate) const DATA_RETRIES: u8 = 15;
/// The same for a connection that nobody owns any more.
pub(crate) const ORPHAN_RETRIES: u8 = 8;
/// How long a closed connection waits for the peer's FIN; Linux's `tcp_fin_timeout`.
pub(crate) const FIN_TIMEOUT: u64 = 60 * SECOND;
