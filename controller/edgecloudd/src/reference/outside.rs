//! What clients, the backhaul side and dom0 send, and what arrives at a domain.

use std::net::IpAddr;

use manifest::rule::{OnFail, Protocol};
use manifest::{Cidr, Intercept, Peer, Rule, Serve, Source};
use openflow::{Field, PortNumber, mac};

use super::gate::{is_closed, is_free, is_visitor, may_call, waits_for};
use super::onward::is_offered;
use super::sender::{is_now, is_service};
use super::{
    Choice, Known, Reference, Track, Verdict, hand_to, if_spoken, is_clients, is_echo_request,
    is_hosts, is_mdns, is_metadata, is_opening, is_udp, keeps, out, owner, v4, v6,
};
use crate::fake_switch::Packet;
use crate::pipeline::{Application, Deny, DesiredState, From, Replica, Side};

impl Reference {
    pub(super) fn sent_from_outside(&mut self, state: &DesiredState, packet: &Packet) -> Verdict {
        let came_from = came_from(state, packet);
        if came_from != From::Host
            && let Some(reason) = forged(state, packet)
        {
            return Verdict::Deny(reason);
        }
        if let Some(verdict) = control(state, packet, came_from) {
            return verdict;
        }
        let Some((_, target)) = packet.addresses() else {
            return transit(state, packet);
        };
        let transit = || match is_closed(state, packet, came_from) {
            true => Verdict::Deny(Deny::NotAdmitted),
            false => transit(state, packet),
        };
        if owner(state, target).is_some() {
            return match came_from {
                From::Stranger => Verdict::Deny(Deny::SpoofedAddress),
                other => self.arrive(state, packet, other),
            };
        }
        let is_client = [From::Client, From::Visitor].contains(&came_from);
        if !is_client || is_hosts(state, target) {
            return transit();
        }
        let mut applications = state.applications().iter();
        let first =
            applications.find(|a| waits_for(a, came_from) && concerns(state, a, packet, target));
        match first {
            Some(application) => self.intercepted(state, application, packet, came_from),
            None => transit(),
        }
    }

    /// A packet to a replica's own address.
    pub(super) fn arrive(
        &mut self,
        state: &DesiredState,
        packet: &Packet,
        came_from: From,
    ) -> Verdict {
        let Some((source, target)) = packet.addresses() else {
            return Verdict::Deny(Deny::OtherProtocol);
        };
        let Some((a, addressed)) = owner(state, target) else {
            return Verdict::Deny(Deny::Unspoken);
        };
        if let Some(verdict) = self.pinned(state, a, packet, came_from) {
            return verdict;
        }
        if !self.may_begin(a, packet) {
            return Verdict::Deny(Deny::Unspoken);
        }
        let echo = is_echo_request(packet) && a.speaks(Protocol::Icmp);
        if came_from == From::Host || echo {
            self.remember(a, addressed, packet, came_from);
            return Verdict::Deliver(vec![hand_to(addressed, packet)]);
        }
        let is_called = |serve: &Serve| match serve.from {
            Source::Net(range) if state.host().is_behind(&range) => {
                [From::Backhaul, From::Neighbour].contains(&came_from)
            }
            _ => may_call(a, came_from),
        };
        let served = |serve: &Serve| {
            is_called(serve) && is_from(serve.from, source) && is_service(&serve.services, packet)
        };
        let serves = |rule: &Rule| matches!(rule, Rule::Serve(serve) if served(serve));
        if !a.grants.iter().any(|grant| serves(&grant.rule)) {
            return Verdict::Deny(Deny::Unspoken);
        }
        choose(a, packet, came_from).unwrap_or(Verdict::Deny(Deny::NoReplica))
    }

    /// A client's packet to somebody whose flows an application may intercept.
    fn intercepted(
        &mut self,
        state: &DesiredState,
        a: &Application,
        packet: &Packet,
        came_from: From,
    ) -> Verdict {
        if let Some(verdict) = self.pinned(state, a, packet, came_from) {
            return verdict;
        }
        let transit = |state, packet| match is_closed(state, packet, came_from) {
            true => Verdict::Deny(Deny::NotAdmitted),
            false => transit(state, packet),
        };
        let Some((source, target)) = packet.addresses() else {
            return transit(state, packet);
        };
        if a.keeps_gate().is_some() && is_free(state, packet, came_from) {
            return transit(state, packet);
        }
        let matches = |rule: &Intercept| {
            is_from(rule.from(), source)
                && is_now(state, rule.to(), target)
                && is_service(rule.services(), packet)
        };
        let first = intercepts(a).find(|rule| matches(rule));
        let Some(rule) = first else {
            return transit(state, packet);
        };
        let chosen = match self.may_begin(a, packet) {
            true => choose(a, packet, came_from),
            false => None,
        };
        chosen.unwrap_or_else(|| match rule.on_fail().unwrap_or(a.on_fail) {
            OnFail::Pass => transit(state, packet),
            OnFail::Block => Verdict::Deny(Deny::NoReplica),
        })
    }

    /// What belongs to a connection whose replica goes on with it.
    fn pinned(
        &self,
        state: &DesiredState,
        a: &Application,
        packet: &Packet,
        came_from: From,
    ) -> Option<Verdict> {
        let of = |number| a.replicas.iter().find(|r| r.number == number);
        let replica = match self.track(a, packet) {
            Track::Back(Known {
                replica,
                paid_by: Some(rule),
                ..
            }) => of(replica).filter(|_| is_offered(state, a, rule)),
            Track::Back(known) => of(known.replica),
            Track::Forth(known) if known.paid_by.is_some() => None,
            Track::Forth(known) => of(known.replica).filter(|r| keeps(r, came_from)),
            Track::Unknown { .. } => None,
        };
        replica.map(|replica| Verdict::Deliver(vec![hand_to(replica, packet)]))
    }

    fn may_begin(&self, a: &Application, packet: &Packet) -> bool {
        match self.track(a, packet) {
            Track::Back(_) => false,
            Track::Forth(_) => is_opening(packet),
            Track::Unknown { is_opening } => is_opening,
        }
    }
}

fn came_from(state: &DesiredState, packet: &Packet) -> From {
    let host = state.host();
    let client = |(source, _)| is_clients(state, source);
    match packet.in_port() {
        port if port == host.access && packet.addresses().is_some_and(client) => {
            match is_visitor(state, packet) {
                true => From::Visitor,
                false => From::Client,
            }
        }
        port if port == host.access => From::Stranger,
        port if port == host.backhaul => From::Backhaul,
        _ => From::Host,
    }
}

/// Who outside speaks as dom0 or as a domain.
fn forged(state: &DesiredState, packet: &Packet) -> Option<Deny> {
    let ours = |ip: IpAddr| is_hosts(state, ip) || is_metadata(ip) || owner(state, ip).is_some();
    let hardware = packet.get(Field::EthSrc);
    let domain = |(_, r): (&Application, &Replica)| Some(mac(r.mac)) == hardware;
    if Some(mac(state.host().mac)) == hardware || state.replicas().any(domain) {
        return Some(Deny::SpoofedMac);
    }
    if packet.addresses().is_some_and(|(source, _)| ours(source)) {
        return Some(Deny::SpoofedAddress);
    }
    if v4(packet, Field::ArpSpa).is_some_and(ours) {
        return Some(Deny::SpoofedArp);
    }
    let advertises = packet.get(Field::Icmpv6Type) == Some(136);
    let about = v6(packet, Field::NdTarget).filter(|_| advertises);
    about.is_some_and(ours).then_some(Deny::SpoofedNeighbour)
}

/// Protocols with the network, where a domain takes part.
fn control(state: &DesiredState, packet: &Packet, came_from: From) -> Option<Verdict> {
    let host = state.host();
    let to = |address: Option<IpAddr>, protocol| {
        let (a, r) = owner(state, address?)?;
        Some(if_spoken(a, r, protocol, packet))
    };
    let listeners = |protocol, others: [PortNumber; 2]| {
        let speaking = state.replicas().filter(|(a, _)| a.speaks(protocol));
        let ports = speaking.map(|(_, r)| r.port);
        Some(out(packet, others.into_iter().chain(ports)))
    };
    let target = v6(packet, Field::Ipv6Dst);
    if let Some(verdict) = to(v4(packet, Field::ArpTpa), Protocol::Arp) {
        return Some(verdict);
    }
    let found = match packet.get(Field::Icmpv6Type) {
        Some(134) if came_from == From::Backhaul => {
            let all = target.is_some_and(|ip| ip.to_string() == "ff02::1");
            if all {
                return listeners(Protocol::Nd, [host.access, PortNumber::LOCAL]);
            }
            to(target, Protocol::Nd)
        }
        Some(135) => to(v6(packet, Field::NdTarget), Protocol::Nd),
        Some(136) => to(target, Protocol::Nd),
        _ => None,
    };
    if found.is_some() {
        return found;
    }
    let gives = is_udp(packet, false, 67, 68) || is_udp(packet, true, 547, 546);
    let is_server = match host.dhcp {
        Side::Host => came_from == From::Host,
        Side::Backhaul => came_from == From::Backhaul,
    };
    let hardware = packet.get(Field::EthDst);
    let mut replicas = state.replicas();
    if gives
        && is_server
        && let Some((a, r)) = replicas.find(|(_, r)| Some(mac(r.mac)) == hardware)
    {
        return Some(if_spoken(a, r, Protocol::Dhcp, packet));
    }
    if is_mdns(packet) && [From::Client, From::Visitor, From::Stranger].contains(&came_from) {
        return listeners(Protocol::Mdns, [host.backhaul, PortNumber::LOCAL]);
    }
    let (_, target) = packet.addresses()?;
    is_metadata(target).then_some(Verdict::Deny(Deny::Metadata))
}

/// As a cable with dom0 at its side.
fn transit(state: &DesiredState, packet: &Packet) -> Verdict {
    let host = state.host();
    let local = PortNumber::LOCAL;
    let hardware = packet.get(Field::EthDst).unwrap_or_default();
    let is_group = hardware >> 40 & 1 == 1;
    let opposite = match packet.in_port() {
        PortNumber::LOCAL if hardware == mac(host.gateway) => return out(packet, [host.backhaul]),
        PortNumber::LOCAL => return out(packet, [host.access, host.backhaul]),
        port if port == host.access => host.backhaul,
        _ => host.access,
    };
    if hardware == mac(host.mac) {
        return out(packet, [local]);
    }
    match is_group {
        true => out(packet, [opposite, local]),
        false => out(packet, [opposite]),
    }
}

fn intercepts(a: &Application) -> impl Iterator<Item = &Intercept> {
    a.grants.iter().filter_map(|grant| match &grant.rule {
        Rule::Intercept(rule) => Some(rule),
        _ => None,
    })
}

/// Whether an application intercepts something there, or did. Ports count only where another
/// application intercepts the same addresses.
fn concerns(state: &DesiredState, a: &Application, packet: &Packet, target: IpAddr) -> bool {
    intercepts(a).any(|rule| {
        let ranges = ranges(state, rule);
        let mut there = ranges.iter().filter(|range| range.contains(target));
        there.any(|range| !is_contended(state, a, range) || is_service(rule.services(), packet))
    })
}

fn ranges(state: &DesiredState, rule: &Intercept) -> Vec<Cidr> {
    let whole = |ip: &IpAddr| Cidr::new(*ip, if ip.is_ipv4() { 32 } else { 128 });
    match rule.to() {
        Peer::Net(range) => vec![*range],
        Peer::Name(pattern) => {
            let names = state
                .names()
                .iter()
                .filter(|(name, _)| pattern.matches(name));
            let all = names.flat_map(|(_, a)| a.current.iter().chain(&a.retired));
            all.filter_map(whole).collect()
        }
        _ => Vec::new(),
    }
}

fn is_contended(state: &DesiredState, a: &Application, range: &Cidr) -> bool {
    let others = state.applications().iter().filter(|o| o.number != a.number);
    let rules = others.flat_map(intercepts);
    let mut claimed = rules.flat_map(|rule| ranges(state, rule));
    claimed.any(|other| other.covers(range) || range.covers(&other))
}

fn is_from(source: Source, address: IpAddr) -> bool {
    match source {
        Source::Net(range) => range.contains(address),
        _ => true,
    }
}

/// A live replica, or an appliance to be woken.
fn choose(a: &Application, packet: &Packet, came_from: From) -> Option<Verdict> {
    let replicas: Vec<_> = a.live().map(|r| (r.number, hand_to(r, packet))).collect();
    if replicas.is_empty() {
        return a.sleeping.then(|| Verdict::Summon(a.number.get()));
    }
    Some(Verdict::Choose(Choice {
        replicas,
        ..Choice::of(a, packet, came_from)
    }))
}
