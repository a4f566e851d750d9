//! TCP/IP without a clock, a device or randomness: frames, time and secrets come from the shell.
//!
//! A [`Stack`] is one interface with its sockets, used by one thread. The shell calls
//! [`Stack::receive`] for every frame that came, the socket calls as its user makes them, then
//! [`Stack::transmit`], which writes straight into the driver's memory ([`TxDevice`]), and sleeps until
//! [`Stack::next_deadline`]. Sockets whose readiness changed are named by [`Stack::take_changed`].
//!
//! | file | holds |
//! |---|---|
//! | [`stack`], [`ingress`], [`egress`] | the whole; a frame's way in; a segment's way out |
//! | [`sockets`], [`tcp_socket`], [`udp`] | the table of sockets and what POSIX does with them |
//! | [`tcp`] | one connection: the protocol, without I/O; and why it is not smoltcp's |
//! | [`buffer`] | the memory of all connections, in pages from one pool |
//! | [`network`], [`arp`], [`icmp`], [`neighbor`], [`route`], [`reassembly`] | IP and below |
//! | [`autoconfiguration`], [`config`] | addresses from DHCP and routers, or from text |
//! | [`dns`] | what a stub resolver needs, as pure functions |
//! | [`packet`], [`checksum`], [`device`] | bytes, and what travels beside them |
//! | [`secret`] | what outsiders must not guess |
//!
//! **Invariants.** No packet costs time in proportion to the number of connections: packets find theirs
//! by a keyed hash of addresses and ports, deadlines lie in a tree, and only connections with something
//! to send are asked for output. Every queue is bounded, and what does not fit is counted by
//! [`DropReason`]. No bytes from the network make this panic.
//!
//! **Interception.** A listener on the wildcard address takes connections to any destination; their
//! [`Stack::local_addr`] is then the address that the client meant (Linux: `IP_TRANSPARENT`). ARP and
//! neighbour discovery are answered for own addresses only.
//!
//! **Threats.** Whoever can send frames: floods of SYNs (bounded half-open state), of fragments, of
//! neighbours; forged RST, SYN, ICMP (RFC 5961, RFC 5927); hash flooding (keyed tables); guessing
//! sequence numbers and ports ([`secret`]); making us a reflector (answers are rationed).

#![forbid(unsafe_code)]

mod arp;
mod autoconfiguration;
mod buffer;
mod checksum;
mod config;
mod counters;
mod device;
pub mod dns;
mod egress;
mod icmp;
mod ingress;
mod neighbor;
mod network;
mod packet;
mod reassembly;
mod route;
mod secret;
mod sockets;
mod stack;
mod tcp;
mod tcp_socket;
mod time;
mod udp;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError};
pub use counters::{Counters, DropReason};
pub use device::{Capabilities, Gso, GsoKind, RxChecksum, RxMeta, TxChecksum, TxDevice, TxMeta};
pub use packet::Mac;
pub use sockets::{Family, Readiness, SocketId};
pub use stack::{Interface, Memory, Stack};
pub use tcp::{KeepAlive, TcpOptions};
pub use tcp_socket::Shutdown;
pub use time::Instant;
pub use udp::{Received, UdpOptions};
