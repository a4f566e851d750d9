//! What a domain sends.

use std::net::{IpAddr, Ipv4Addr};

use manifest::rule::Protocol;
use manifest::{Peer, Rule, Services};
use openflow::{Field, PortNumber, mac};

use super::onward::{is_offered, who_pays};
use super::{
    Choice, Known, Reference, Track, Verdict, if_spoken, is_clients, is_echo_request, is_hosts,
    is_mdns, is_metadata, is_opening, is_udp, leave, out, owner, v4, v6,
};
use crate::fake_switch::Packet;
use crate::pipeline::{Application, Deny, DesiredState, From, Replica, Side};

impl Reference {
    pub(super) fn sent_by_domain(
        &mut self,
        state: &DesiredState,
        a: &Application,
        r: &Replica,
        packet: &Packet,
    ) -> Verdict {
        if packet.get(Field::VlanVid) != Some(0) {
            return Verdict::Deny(Deny::Tagged);
        }
        if packet.get(Field::EthSrc) != Some(mac(r.mac)) {
            return Verdict::Deny(Deny::SpoofedMac);
        }
        if packet.get(Field::ArpOp).is_some() {
            return arp(state, a, r, packet);
        }
        if let Some(kind @ 133..=137) = packet.get(Field::Icmpv6Type) {
            return neighbour_discovery(state, a, r, packet, kind);
        }
        let Some((source, _)) = packet.addresses() else {
            return Verdict::Deny(Deny::OtherProtocol);
        };
        if asks_for_address(r, packet) {
            return match a.speaks(Protocol::Dhcp) {
                true => out(packet, [server(state)]),
                false => Verdict::Deny(Deny::NotSpoken),
            };
        }
        if r.addresses.contains(&source) {
            return self.speaks_truly(state, a, r, packet);
        }
        self.speaks_for_another(state, a, r, packet)
    }

    fn speaks_truly(
        &mut self,
        state: &DesiredState,
        a: &Application,
        r: &Replica,
        packet: &Packet,
    ) -> Verdict {
        if is_mdns(packet) {
            return match a.speaks(Protocol::Mdns) {
                true => out(packet, [state.host().access]),
                false => Verdict::Deny(Deny::NotSpoken),
            };
        }
        let spoken = is_spoken(state, a, packet);
        let track = self.track(a, packet);
        if let Track::Forth(known) | Track::Back(known) = track
            && let Some(rule) = known.paid_by
        {
            return match track {
                Track::Forth(_) if is_offered(state, a, rule) => {
                    self.depart(state, a, packet, spoken)
                }
                Track::Forth(_) if may_open(packet) => self.open(state, a, r, packet),
                _ => Verdict::Deny(Deny::Unspoken),
            };
        }
        match track {
            Track::Back(known) if known.replica == r.number => self.answer(state, known, packet),
            Track::Back(_) => Verdict::Deny(Deny::Unspoken),
            Track::Forth(known) if known.replica == r.number => {
                self.depart(state, a, packet, spoken)
            }
            Track::Forth(_) | Track::Unknown { .. } if !may_open(packet) => {
                Verdict::Deny(Deny::Unspoken)
            }
            Track::Forth(_) | Track::Unknown { .. } => self.open(state, a, r, packet),
        }
    }

    /// A connection that a domain begins.
    fn open(
        &mut self,
        state: &DesiredState,
        a: &Application,
        r: &Replica,
        packet: &Packet,
    ) -> Verdict {
        let spoken = is_spoken(state, a, packet);
        let paid_by = who_pays(state, a, packet).filter(|_| !spoken);
        if !spoken && paid_by.is_none() && !may_call(state, a, packet) {
            return Verdict::Deny(Deny::Unspoken);
        }
        let choice = Choice {
            paid_by,
            ..Choice::of(a, packet, From::Replica)
        };
        self.chosen(&choice, r.number);
        self.depart(state, a, packet, spoken)
    }

    /// Only as a reply to who opened a connection to it.
    fn speaks_for_another(
        &mut self,
        state: &DesiredState,
        a: &Application,
        r: &Replica,
        packet: &Packet,
    ) -> Verdict {
        let attracts = |rule: &Rule| matches!(rule, Rule::Intercept(_) | Rule::Serve(_));
        let may_answer = a.grants.iter().any(|grant| attracts(&grant.rule));
        match self.track(a, packet) {
            Track::Back(known) if may_answer && known.replica == r.number => {
                self.answer(state, known, packet)
            }
            _ => Verdict::Deny(Deny::SpoofedAddress),
        }
    }

    fn depart(
        &mut self,
        state: &DesiredState,
        a: &Application,
        packet: &Packet,
        spoken: bool,
    ) -> Verdict {
        let Some((_, target)) = packet.addresses() else {
            return Verdict::Deny(Deny::OtherProtocol);
        };
        let host = state.host();
        if let Some((other, _)) = owner(state, target) {
            return match other.number == a.number {
                true => Verdict::Deny(Deny::Hairpin),
                false => self.arrive(state, packet, From::Neighbour),
            };
        }
        if is_hosts(state, target) || is_metadata(target) {
            if !spoken {
                return Verdict::Deny(Deny::Host);
            }
            let mut to_host = leave(packet, PortNumber::LOCAL);
            to_host.target = mac(host.mac);
            return Verdict::Deliver(vec![to_host]);
        }
        match is_clients(state, target) {
            true => out(packet, [host.access]),
            false => out(packet, [host.backhaul]),
        }
    }

    /// With the MAC addresses that who opened the connection expects.
    fn answer(&mut self, state: &DesiredState, known: Known, packet: &Packet) -> Verdict {
        let mut packet = packet.clone();
        packet.set(Field::EthDst, known.opener);
        packet.set(Field::EthSrc, known.intended);
        match known.came_from {
            From::Client | From::Visitor => out(&packet, [state.host().access]),
            From::Backhaul => out(&packet, [state.host().backhaul]),
            From::Host => out(&packet, [PortNumber::LOCAL]),
            From::Neighbour => self.arrive(state, &packet, From::Neighbour),
            _ => Verdict::Deny(Deny::SpoofedAddress),
        }
    }
}

fn may_open(packet: &Packet) -> bool {
    !packet.invalid && is_opening(packet)
}

fn may_call(state: &DesiredState, a: &Application, packet: &Packet) -> bool {
    let Some((_, target)) = packet.addresses() else {
        return false;
    };
    a.grants.iter().any(|grant| match &grant.rule {
        Rule::Call(call) => is_now(state, &call.to, target) && is_service(&call.services, packet),
        _ => false,
    })
}

/// Whether an address is a peer's now.
pub(super) fn is_now(state: &DesiredState, peer: &Peer, address: IpAddr) -> bool {
    match peer {
        Peer::Net(range) => range.contains(address),
        Peer::Name(pattern) => state
            .names()
            .iter()
            .any(|(name, a)| pattern.matches(name) && a.current.contains(&address)),
        _ => false,
    }
}

/// Whether a packet goes to one of the services' ports.
pub(super) fn is_service(services: &Services, packet: &Packet) -> bool {
    // Ports have 16 bits.
    let at = |field| packet.get(field).map(|port| port as u16);
    let tcp = at(Field::TcpDst).is_some_and(|port| services.tcp().contains(port));
    tcp || at(Field::UdpDst).is_some_and(|port| services.udp().contains(port))
}

/// What a domain may say to the network itself beside its rules.
fn is_spoken(state: &DesiredState, a: &Application, packet: &Packet) -> bool {
    let Some((_, target)) = packet.addresses() else {
        return false;
    };
    let host = state.host();
    let (tcp, udp) = (packet.get(Field::TcpDst), packet.get(Field::UdpDst));
    let metadata = is_metadata(target) && tcp == Some(80);
    let dns = host.resolvers.contains(&target) && (tcp == Some(53) || udp == Some(53));
    let ntp = host.time_servers.contains(&target) && udp == Some(123);
    metadata
        || dns && a.speaks(Protocol::Dns)
        || ntp && a.speaks(Protocol::Ntp)
        || is_echo_request(packet) && a.speaks(Protocol::Icmp)
}

fn asks_for_address(r: &Replica, packet: &Packet) -> bool {
    let Some((source, target)) = packet.addresses() else {
        return false;
    };
    let (nobody, all) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let first = source == IpAddr::V4(nobody) && target == IpAddr::V4(all);
    let own = r.addresses.contains(&source);
    is_udp(packet, false, 68, 67) && (first || own) || is_udp(packet, true, 546, 547) && own
}

fn server(state: &DesiredState) -> PortNumber {
    match state.host().dhcp {
        Side::Host => PortNumber::LOCAL,
        Side::Backhaul => state.host().backhaul,
    }
}

fn arp(state: &DesiredState, a: &Application, r: &Replica, packet: &Packet) -> Verdict {
    let is_own = |field| v4(packet, field).is_some_and(|ip| r.addresses.contains(&ip));
    if is_own(Field::ArpTpa) {
        return Verdict::Deny(Deny::OwnAddress);
    }
    if packet.get(Field::ArpSha) != Some(mac(r.mac)) || !is_own(Field::ArpSpa) {
        return Verdict::Deny(Deny::SpoofedArp);
    }
    if !a.speaks(Protocol::Arp) {
        return Verdict::Deny(Deny::NotSpoken);
    }
    ask_for(state, v4(packet, Field::ArpTpa), Protocol::Arp, packet)
}

/// To whoever has an address.
fn ask_for(
    state: &DesiredState,
    address: Option<IpAddr>,
    protocol: Protocol,
    packet: &Packet,
) -> Verdict {
    let Some(address) = address else {
        return Verdict::Deny(Deny::OtherProtocol);
    };
    if let Some((other, replica)) = owner(state, address) {
        return if_spoken(other, replica, protocol, packet);
    }
    let host = state.host();
    if is_hosts(state, address) {
        return out(packet, [PortNumber::LOCAL]);
    }
    match is_clients(state, address) {
        true => out(packet, [host.access]),
        false => out(packet, [host.backhaul]),
    }
}

fn neighbour_discovery(
    state: &DesiredState,
    a: &Application,
    r: &Replica,
    packet: &Packet,
    kind: u128,
) -> Verdict {
    let about = v6(packet, Field::NdTarget);
    let about_own = about.is_some_and(|ip| r.addresses.contains(&ip));
    let source = v6(packet, Field::Ipv6Src);
    let from_own = source.is_some_and(|ip| r.addresses.contains(&ip));
    let from_nobody = packet.get(Field::Ipv6Src) == Some(0);
    let tells_truly = |field| [Some(0), Some(mac(r.mac))].contains(&packet.get(field));
    let target = v6(packet, Field::Ipv6Dst);
    let to_own = target.is_some_and(|ip| r.addresses.contains(&ip));
    if kind == 135 && about_own || kind == 136 && to_own {
        return Verdict::Deny(Deny::OwnAddress);
    }
    let asks_for_somebody = packet.get(Field::NdTarget) != Some(0);
    let is_true = match kind {
        133 => from_own || from_nobody,
        135 => from_own && asks_for_somebody && tells_truly(Field::NdSll),
        136 => from_own && about_own && tells_truly(Field::NdTll),
        _ => false,
    };
    if !is_true {
        return Verdict::Deny(Deny::SpoofedNeighbour);
    }
    if !a.speaks(Protocol::Nd) {
        return Verdict::Deny(Deny::NotSpoken);
    }
    match kind {
        133 => out(packet, [state.host().backhaul]),
        135 => ask_for(state, about, Protocol::Nd, packet),
        _ => ask_for(state, target, Protocol::Nd, packet),
    }
}
