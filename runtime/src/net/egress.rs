//! A segment on its way out: from the socket buffer straight into the driver's memory.

use core::net::IpAddr;

use super::checksum::pseudo_header;
use super::counters::DropReason;
use super::device::{Gso, GsoKind, TxChecksum, TxDevice, TxMeta};
use super::neighbor::Hop;
use super::network::{HOP_LIMIT, Network};
use super::packet::{ETHERNET_LEN, Ethernet, IpHeader, Mac, ip_header_len, protocol};
use super::sockets::Socket;
use super::stack::Stack;
use super::tcp::connection::{Ack, Outcome};
use super::tcp::output::{Plan, Purpose};
use super::tcp::segment::CHECKSUM_AT;
use super::tcp::{Connection, Flags, State};
use super::time::Instant;
use crate::Errno;

/// Segments of one connection before another has its turn.
const TURN: usize = 16;
/// The largest IP packet that a device can be given to cut.
const PACKET_MAX: usize = 65_535;
/// More than any TCP header we write.
const TCP_HEADER_MAX: usize = 60;

/// How a connection's turn ended.
#[derive(PartialEq, Eq)]
enum Turn {
    /// Nothing more to send now, or waiting for a neighbour.
    Done,
    /// More to send.
    Over,
    /// The device, or the queue to ourselves, has no room.
    DeviceFull,
}

impl Stack {
    /// Gives each connection with something to send its turns; false if the device is full.
    pub(super) fn emit_dirty(&mut self, now: Instant, device: &mut impl TxDevice) -> bool {
        while let Some(id) = self.dirty.pop_front() {
            let turn = self.emit(now, id, device);
            if let Some(connection) = self.sockets.connection(id) {
                connection.queued = false;
            }
            match turn {
                Turn::Done => self.reschedule(now, id),
                Turn::Over => self.settle(now, id),
                Turn::DeviceFull => {
                    if let Some(connection) = self.sockets.connection(id) {
                        connection.queued = true;
                        self.dirty.push_front(id);
                    }
                    self.reschedule(now, id);
                    return false;
                }
            }
        }
        true
    }

    fn emit(&mut self, now: Instant, id: u32, device: &mut impl TxDevice) -> Turn {
        let Some(Socket::Connection(connection)) = self.sockets.get_mut(id) else {
            return Turn::Done;
        };
        let remote = connection.tuple.remote.ip();
        let network = &mut self.network;
        let hop = match way(network, now, connection, id, remote) {
            Some(way) => way,
            None => return Turn::Done,
        };
        let own = hop.is_none();
        let offloaded = own || network.offloads_checksum(remote);
        let payload_max = payload_max(network, own, remote);
        for _ in 0..TURN {
            let Some(plan) = connection.plan(now, &self.pool, payload_max) else {
                return Turn::Done;
            };
            let len = ETHERNET_LEN + ip_header_len(remote) + plan.header.len() + plan.len;
            let frame = Frame {
                connection,
                plan: &plan,
                network,
                hop,
                offloaded,
            };
            if own {
                if !network.loopback_has_room() {
                    return Turn::DeviceFull;
                }
                let mut out = alloc::vec![0; len];
                frame.fill(&mut out);
                network.push_loopback(out);
            } else {
                if !device.has_room(len) {
                    return Turn::DeviceFull;
                }
                device.send(len, frame.meta(), |out| frame.fill(out));
                network.counters.tx_packets += 1;
                network.counters.tx_bytes += len as u64;
                network.counters.tx_gso_packets += u64::from(plan.len > plan.packet_len);
            }
            let again =
                plan.header.seq < connection.snd.max && !matches!(plan.purpose, Purpose::Probe);
            network.counters.tcp_retransmissions +=
                u64::from(again && (plan.len > 0 || has_control(&plan)));
            connection.sent(now, &plan);
        }
        Turn::Over
    }

    /// Acts on what an event did to a connection.
    pub(super) fn apply(&mut self, now: Instant, id: u32, outcome: Outcome, back: Option<Mac>) {
        let counters = &mut self.network.counters;
        counters.tcp_timeouts += u64::from(outcome.timed_out);
        counters.tcp_out_of_order += u64::from(outcome.out_of_order);
        counters.tcp_resets_received += u64::from(outcome.reset_received);
        let Some(connection) = self.sockets.connection(id) else {
            return;
        };
        let (tuple, listener) = (connection.tuple, connection.listener);
        let back = back.or(connection.came_from);
        if let Some(reset) = outcome.reset {
            self.network.send_reset(now, &tuple, reset, back);
        }
        if outcome.established {
            self.network.counters.tcp_accepted += 1;
            self.network.counters.tcp_half_open -= 1;
            if let Some(listener_id) = listener
                && let Some(listener) = self.sockets.listener(listener_id)
            {
                listener.half_open -= 1;
                listener.queue.push_back(id);
                self.sockets.notify(listener_id);
            }
        }
        if outcome.notify && listener.is_none() {
            self.sockets.notify(id);
        }
        self.settle(now, id);
    }

    /// Puts a connection where it belongs after anything that may have changed it: on the list of those
    /// with something to send, into the timer tree, into TIME-WAIT, or away.
    pub(super) fn settle(&mut self, now: Instant, id: u32) {
        let Some(connection) = self.sockets.connection(id) else {
            return;
        };
        if connection.may_have_output() && !connection.queued {
            connection.queued = true;
            self.dirty.push_back(id);
        }
        self.reschedule(now, id);
    }

    /// As [`Stack::settle`], for a connection that has just been asked for output.
    fn reschedule(&mut self, now: Instant, id: u32) {
        let Some(connection) = self.sockets.connection(id) else {
            return;
        };
        if connection.state == State::TimeWait && connection.ack != Ack::Now {
            self.time_wait.add(now, connection);
            connection.close(&mut self.pool);
        }
        if connection.state == State::Closed {
            return self.end(id);
        }
        let (scheduled, deadline) = (connection.scheduled, connection.deadline());
        if let Some(deadline) = deadline
            && scheduled.is_none_or(|at| deadline < at)
        {
            connection.scheduled = Some(deadline);
            if let Some(at) = scheduled {
                self.timers.remove(&(at, id));
            }
            self.timers.insert((deadline, id));
        }
    }

    /// A connection is closed: packets do not find it any more, and if nobody holds it, it is gone.
    fn end(&mut self, id: u32) {
        let Some(connection) = self.sockets.connection(id) else {
            return;
        };
        let (tuple, orphan, listener) = (connection.tuple, connection.orphan, connection.listener);
        let scheduled = connection.scheduled.take();
        if let Some(at) = scheduled {
            self.timers.remove(&(at, id));
        }
        if self.connections.get(&tuple) == Some(&id) {
            self.connections.remove(&tuple);
        }
        let queued = listener
            .and_then(|listener| self.sockets.listener(listener))
            .map(|listener| {
                let queued = listener.queue.contains(&id);
                listener.half_open -= usize::from(!queued);
                queued
            });
        // What is in the queue stays there: accept gives it out, and its user finds the error.
        if queued == Some(false) {
            self.network.counters.tcp_half_open -= 1;
        }
        if orphan || queued == Some(false) {
            if let Some(connection) = self.sockets.connection(id) {
                connection.rcv.buffer.clear(&mut self.pool);
            }
            self.sockets.remove(id);
        }
    }
}

fn has_control(plan: &Plan) -> bool {
    plan.header.flags.has(Flags::SYN) || plan.header.flags.has(Flags::FIN)
}

/// Most payload bytes per segment: what the device cuts, or one packet's worth.
fn payload_max(network: &Network, own: bool, remote: IpAddr) -> usize {
    let capabilities = &network.capabilities;
    let cuts = if remote.is_ipv4() {
        capabilities.gso_v4
    } else {
        capabilities.gso_v6
    };
    if own || !cuts {
        return 0;
    }
    let packet = PACKET_MAX.min(capabilities.frame_max.saturating_sub(ETHERNET_LEN));
    packet.saturating_sub(ip_header_len(remote) + TCP_HEADER_MAX)
}

/// Where a connection's segments go: outer none if that is not known yet, inner none if to ourselves.
fn way(
    network: &mut Network,
    now: Instant,
    connection: &mut Connection,
    id: u32,
    remote: IpAddr,
) -> Option<Option<Mac>> {
    if let Some(hop) = &connection.hop
        && network.neighbors.is_fresh(now, hop)
    {
        return Some(Some(hop.mac));
    }
    if network.routes.is_own(remote) {
        return Some(None);
    }
    let Some(next) = network.routes.next_hop(remote) else {
        return match connection.came_from {
            Some(mac) => Some(Some(mac)),
            None => {
                network.counters.drop(DropReason::NoRoute);
                connection.soft_error = Some(Errno::ENETUNREACH);
                None
            }
        };
    };
    connection.hop = network.resolve(now, next);
    match connection.hop {
        Some(Hop { mac, .. }) => Some(Some(mac)),
        None => {
            network.neighbors.wait(next, id);
            None
        }
    }
}

/// What is needed to write a segment.
struct Frame<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    network: &'a Network,
    hop: Option<Mac>,
    /// The checksum is left to the device.
    offloaded: bool,
}

impl Frame<'_> {
    fn meta(&self) -> TxMeta {
        let remote = self.connection.tuple.remote.ip();
        let start = (ETHERNET_LEN + ip_header_len(remote)) as u16;
        let checksum = if self.offloaded {
            TxChecksum::Partial {
                start,
                offset: CHECKSUM_AT as u16,
            }
        } else {
            TxChecksum::Complete
        };
        let kind = if remote.is_ipv4() {
            GsoKind::TcpV4
        } else {
            GsoKind::TcpV6
        };
        let cut = self.plan.len > self.plan.packet_len;
        TxMeta {
            checksum,
            gso: cut.then_some(Gso {
                size: self.plan.packet_len as u16,
                kind,
            }),
        }
    }

    fn fill(&self, out: &mut [u8]) {
        let Frame {
            connection,
            plan,
            network,
            hop,
            offloaded,
        } = *self;
        let tuple = &connection.tuple;
        let (src, dst) = (tuple.local.ip(), tuple.remote.ip());
        let hop_limit = match connection.options.hop_limit {
            0 => HOP_LIMIT,
            chosen => chosen,
        };
        let ip = IpHeader {
            src,
            dst,
            protocol: protocol::TCP,
            hop_limit,
        };
        Ethernet::emit(out, hop.unwrap_or_default(), network.mac, ip.ethertype());
        let (ip_out, tcp_out) = out[ETHERNET_LEN..].split_at_mut(ip_header_len(dst));
        ip.emit(ip_out, tcp_out.len());
        plan.header.emit(tcp_out);
        connection
            .snd
            .buffer
            .copy_to(plan.offset, &mut tcp_out[plan.header.len()..]);
        let sum = pseudo_header(src, dst, protocol::TCP, tcp_out.len());
        let checksum = if offloaded {
            sum.folded()
        } else {
            sum.add(tcp_out).complement()
        };
        tcp_out[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}
