//! What should become of a packet, in the words of the manifest: no tables, no priorities, no flows.
//!
//! It is slow and plain, so that it can be seen to be right, and it shares nothing with the
//! compiler but the words: random states and packets are put to both, and they must agree.
//!
//! What it cannot know is which live replica a hash chooses: then it says [`Verdict::Choose`], and
//! is told the choice with [`Reference::chosen`].

mod gate;
mod onward;
mod outside;
mod sender;

use std::collections::HashMap;
use std::net::IpAddr;

use manifest::rule::Protocol;
use openflow::{Field, PortNumber};

use crate::fake_switch::{Packet, Tuple};
use crate::pipeline::{Application, Deny, DesiredState, From, METADATA, Replica, ReplicaState};

/// The connections that were permitted.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// By application and the tuple of the first packet.
    connections: HashMap<(u32, Tuple), Known>,
}

/// What is known of a connection.
#[derive(Debug, Clone, Copy)]
struct Known {
    replica: u32,
    came_from: From,
    /// The MAC addresses of the first packet.
    opener: u128,
    intended: u128,
    /// The application and its rule that pays for it, if its replica opened it for a visitor.
    paid_by: Option<(u32, u16)>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is dropped.
    Deny(Deny),
    /// It leaves, in any order.
    Deliver(Vec<Delivery>),
    /// One of the live replicas gets it.
    Choose(Choice),
    /// It waits until this application wakes.
    Summon(u32),
}

/// A way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    /// The port.
    pub port: PortNumber,
    /// The source MAC address as a number.
    pub source: u128,
    /// The destination MAC address as a number.
    pub target: u128,
}

/// A new connection for one of several replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The application's number.
    pub application: u32,
    /// Each live replica with how the packet then leaves.
    pub replicas: Vec<(u32, Delivery)>,
    tuple: Option<Tuple>,
    came_from: From,
    opener: u128,
    intended: u128,
    paid_by: Option<(u32, u16)>,
}

/// What the connection tracker knows of a packet.
#[derive(Debug, Clone, Copy)]
enum Track {
    /// It goes the way that the connection's first packet went.
    Forth(Known),
    /// It goes against it.
    Back(Known),
    /// No connection is known; may it begin one?
    Unknown { is_opening: bool },
}

impl Reference {
    /// Nothing is connected.
    pub fn new() -> Reference {
        Reference::default()
    }

    /// What becomes of a packet. Connections that it opens are remembered.
    pub fn decide(&mut self, state: &DesiredState, packet: &Packet) -> Verdict {
        let host = state.host();
        let port = packet.in_port();
        if let Some((application, replica)) = state.replicas().find(|(_, r)| r.port == port) {
            return self.sent_by_domain(state, application, replica, packet);
        }
        if [host.access, host.backhaul, PortNumber::LOCAL].contains(&port) {
            return self.sent_from_outside(state, packet);
        }
        Verdict::Deny(Deny::UnknownPort)
    }

    /// Remembers which replica got a new connection.
    pub fn chosen(&mut self, choice: &Choice, replica: u32) {
        let known = Known {
            replica,
            came_from: choice.came_from,
            opener: choice.opener,
            intended: choice.intended,
            paid_by: choice.paid_by,
        };
        if let Some(tuple) = choice.tuple {
            self.connections.insert((choice.application, tuple), known);
        }
    }

    /// Forgets an application's connections: its token was revoked.
    pub fn flush(&mut self, application: u32) {
        self.connections.retain(|(of, _), _| *of != application);
    }

    fn remember(&mut self, a: &Application, r: &Replica, packet: &Packet, came_from: From) {
        let choice = Choice::of(a, packet, came_from);
        self.chosen(&choice, r.number);
    }

    fn track(&self, application: &Application, packet: &Packet) -> Track {
        let Some(tuple) = packet.tuple().filter(|_| !packet.invalid) else {
            return Track::Unknown { is_opening: false };
        };
        let find = |tuple| self.connections.get(&(application.number.get(), tuple));
        if let Some(known) = find(tuple.reversed()) {
            return Track::Back(*known);
        }
        match find(tuple) {
            Some(known) => Track::Forth(*known),
            None => Track::Unknown {
                is_opening: is_opening(packet),
            },
        }
    }
}

impl Choice {
    fn of(application: &Application, packet: &Packet, came_from: From) -> Choice {
        Choice {
            application: application.number.get(),
            replicas: Vec::new(),
            tuple: packet.tuple().filter(|_| !packet.invalid),
            came_from,
            opener: packet.get(Field::EthSrc).unwrap_or_default(),
            intended: packet.get(Field::EthDst).unwrap_or_default(),
            paid_by: None,
        }
    }
}

/// Whether a packet may begin a connection: TCP with SYN alone, UDP, an echo request.
fn is_opening(packet: &Packet) -> bool {
    match packet.get(Field::IpProto) {
        Some(6) => packet
            .get(Field::TcpFlags)
            .is_some_and(|f| f & 0x12 == 0x02),
        Some(17) => true,
        _ => is_echo_request(packet),
    }
}

fn is_echo_request(packet: &Packet) -> bool {
    packet.get(Field::Icmpv4Type) == Some(8) || packet.get(Field::Icmpv6Type) == Some(128)
}

fn leave(packet: &Packet, port: PortNumber) -> Delivery {
    Delivery {
        port,
        source: packet.get(Field::EthSrc).unwrap_or_default(),
        target: packet.get(Field::EthDst).unwrap_or_default(),
    }
}

fn out(packet: &Packet, ports: impl IntoIterator<Item = PortNumber>) -> Verdict {
    Verdict::Deliver(ports.into_iter().map(|port| leave(packet, port)).collect())
}

/// To a replica, whatever MAC address it was sent to.
fn hand_to(replica: &Replica, packet: &Packet) -> Delivery {
    Delivery {
        target: openflow::mac(replica.mac),
        ..leave(packet, replica.port)
    }
}

fn owner(state: &DesiredState, address: IpAddr) -> Option<(&Application, &Replica)> {
    state
        .replicas()
        .find(|(_, r)| r.addresses.contains(&address))
}

fn is_clients(state: &DesiredState, address: IpAddr) -> bool {
    state
        .host()
        .clients
        .iter()
        .any(|range| range.contains(address))
}

fn is_hosts(state: &DesiredState, address: IpAddr) -> bool {
    state.host().addresses.contains(&address)
}

/// A protocol for a replica: to it, if its application speaks it.
fn if_spoken(a: &Application, r: &Replica, protocol: Protocol, packet: &Packet) -> Verdict {
    if a.speaks(protocol) {
        out(packet, [r.port])
    } else {
        Verdict::Deny(Deny::NotSpoken)
    }
}

/// UDP from a port to a port, in IPv6 or not.
fn is_udp(packet: &Packet, is_v6: bool, source: u16, target: u16) -> bool {
    packet.get(Field::Ipv6Dst).is_some() == is_v6
        && packet.get(Field::UdpSrc) == Some(source.into())
        && packet.get(Field::UdpDst) == Some(target.into())
}

/// UDP to the groups of mDNS (RFC 6762).
fn is_mdns(packet: &Packet) -> bool {
    let groups = ["224.0.0.251", "ff02::fb"];
    packet.get(Field::UdpDst) == Some(5353)
        && packet
            .addresses()
            .is_some_and(|(_, target)| groups.contains(&target.to_string().as_str()))
}

fn v4(packet: &Packet, field: Field) -> Option<IpAddr> {
    // The field has 32 bits.
    packet
        .get(field)
        .map(|bits| IpAddr::V4((bits as u32).into()))
}

fn v6(packet: &Packet, field: Field) -> Option<IpAddr> {
    packet.get(field).map(|bits| IpAddr::V6(bits.into()))
}

fn is_metadata(address: IpAddr) -> bool {
    address == IpAddr::V4(METADATA)
}

/// Whether a replica goes on with what was opened to it.
fn keeps(replica: &Replica, came_from: From) -> bool {
    replica.state != ReplicaState::Failed || came_from == From::Host
}
