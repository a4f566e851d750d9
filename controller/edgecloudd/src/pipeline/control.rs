//! Table `control`: protocols with the network itself. ARP, ND, DHCP and mDNS, which have no
//! connections, are delivered here; DNS, NTP, echo and the metadata service are recognised here and
//! tracked like all else, so that nothing answers but what was asked.
//!
//! A domain gets no broadcasts: an ARP request reaches the one whose address it asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use manifest::rule::Protocol;
use openflow::{Action, Field, Instructions, Match, PortNumber};

use super::admission::{
    DHCP_CLIENT, DHCP_SERVER, DHCPV6_CLIENT, DHCPV6_SERVER, NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use super::compile::{End, Flows, control_meter, goto, icmpv6, udp, within};
use super::cookie::{Class, Cookie, Deny};
use super::desired::host_range;
use super::registers::{From, OnRegisters, Register};
use super::{Application, DesiredState, METADATA, Replica, Side, Table};

/// Priorities, highest first.
mod priority {
    pub(super) const ADDRESSED: u16 = 600;
    pub(super) const GROUP: u16 = 500;
    pub(super) const HOST: u16 = 400;
    pub(super) const SPOKEN: u16 = 300;
    pub(super) const SIDE: u16 = 200;
    pub(super) const REST: u16 = 100;
    pub(super) const MISS: u16 = 0;
}

const MDNS: u16 = 5353;
const MDNS_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const MDNS_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(super) const DNS: u16 = 53;
const NTP: u16 = 123;
const HTTP: u16 = 80;
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    for (application, replica) in state.replicas() {
        to_replica(state, application, replica, flows);
    }
    groups(state, flows);
    resolution_from_replicas(state, flows);
    configuration_from_replicas(state, flows);
    for application in state.applications() {
        spoken(state, application, flows);
    }
    not_for_others(flows);
    let miss = (Table::Control, priority::MISS);
    let cookie = Cookie::host(Class::Control);
    flows.add(miss, Match::new(), cookie, goto(Table::Track, []));
}

fn out(ports: &[PortNumber]) -> Instructions {
    Instructions::apply(ports.iter().copied().map(Action::output).collect())
}

/// What asks for a replica, tells it who somebody is, or gives it an address.
fn to_replica(
    state: &DesiredState,
    application: &Application,
    replica: &Replica,
    flows: &mut Flows,
) {
    let mut deliver = |protocol: Protocol, matching: Match| {
        let place = (Table::Control, priority::ADDRESSED);
        let number = application.number.get();
        if application.speaks(protocol) {
            let cookie = Cookie::of(Class::Control, number);
            flows.add(place, matching, cookie, out(&[replica.port]));
        } else {
            flows.deny(place, matching, Deny::NotSpoken, number);
        }
    };
    for address in &replica.addresses {
        match address {
            IpAddr::V4(v4) => {
                let arp = Match::new().arp().with(Field::ArpTpa, v4.to_bits());
                deliver(Protocol::Arp, arp);
            }
            IpAddr::V6(v6) => {
                let asks = icmpv6(Match::new(), NEIGHBOUR_SOLICITATION);
                deliver(Protocol::Nd, asks.with(Field::NdTarget, v6.to_bits()));
                let to = Match::new().ipv6().ipv6_dst(*v6, 128);
                let tells = icmpv6(to.clone(), NEIGHBOUR_ADVERTISEMENT);
                deliver(Protocol::Nd, tells);
                let router = icmpv6(to.from(From::Backhaul), ROUTER_ADVERTISEMENT);
                deliver(Protocol::Nd, router);
            }
        }
    }
    let server = Match::new().from(match state.host().dhcp {
        Side::Host => From::Host,
        Side::Backhaul => From::Backhaul,
    });
    let server = server.eth_dst(replica.mac);
    let v4 = udp(server.clone().ipv4(), Some(DHCP_SERVER), Some(DHCP_CLIENT));
    let v6 = udp(server.ipv6(), Some(DHCPV6_SERVER), Some(DHCPV6_CLIENT));
    deliver(Protocol::Dhcp, v4);
    deliver(Protocol::Dhcp, v6);
}

/// What is for whoever listens: routers' advertisements, and mDNS of the clients.
fn groups(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let listeners = |protocol: Protocol, others: [PortNumber; 2]| {
        let speaking = state.replicas().filter(|(a, _)| a.speaks(protocol));
        let ports = speaking.map(|(_, replica)| replica.port);
        out(&others.into_iter().chain(ports).collect::<Vec<_>>())
    };
    let place = (Table::Control, priority::GROUP);
    let cookie = Cookie::host(Class::Control);
    let all = Match::new()
        .from(From::Backhaul)
        .ipv6()
        .ipv6_dst(ALL_NODES, 128);
    let advertised = listeners(Protocol::Nd, [host.access, PortNumber::LOCAL]);
    flows.add(place, icmpv6(all, ROUTER_ADVERTISEMENT), cookie, advertised);
    for from in [From::Client, From::Visitor, From::Stranger] {
        for group in mdns(Match::new().from(from)) {
            let heard = listeners(Protocol::Mdns, [host.backhaul, PortNumber::LOCAL]);
            flows.add(place, group, cookie, heard);
        }
    }
}

fn mdns(matching: Match) -> [Match; 2] {
    [IpAddr::V4(MDNS_V4), IpAddr::V6(MDNS_V6)].map(|group| {
        let to = within(matching.clone(), End::Target, &host_range(&group));
        udp(to, None, Some(MDNS))
    })
}

/// Whom a domain asks for, or answers: dom0, a client, or else somebody on the backhaul side. Other
/// domains were served above.
fn resolution_from_replicas(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let domain = Match::new().from(From::Replica);
    let cookie = Cookie::host(Class::Control);
    let about = |range: &manifest::Cidr| {
        let prefix = range.prefix().into();
        match range.address() {
            IpAddr::V4(v4) => {
                let arp = domain.clone().arp();
                vec![arp.prefix(Field::ArpTpa, v4.to_bits().into(), prefix)]
            }
            IpAddr::V6(v6) => {
                let asks = icmpv6(domain.clone(), NEIGHBOUR_SOLICITATION);
                let to = domain.clone().ipv6().ipv6_dst(v6, prefix);
                vec![
                    asks.prefix(Field::NdTarget, v6.to_bits(), prefix),
                    icmpv6(to, NEIGHBOUR_ADVERTISEMENT),
                ]
            }
        }
    };
    let own = host.addresses.iter().map(host_range);
    let own = own.map(|range| (priority::HOST, range, PortNumber::LOCAL));
    let clients = host.clients.iter();
    let clients = clients.map(|range| (priority::SIDE, *range, host.access));
    for (level, range, port) in own.chain(clients) {
        for matching in about(&range) {
            flows.add((Table::Control, level), matching, cookie, out(&[port]));
        }
    }
    let rest = (Table::Control, priority::REST);
    let backhaul = || out(&[host.backhaul]);
    flows.add(rest, domain.clone().arp(), cookie, backhaul());
    for kind in [
        ROUTER_SOLICITATION,
        NEIGHBOUR_SOLICITATION,
        NEIGHBOUR_ADVERTISEMENT,
    ] {
        flows.add(rest, icmpv6(domain.clone(), kind), cookie, backhaul());
    }
}

/// DHCP, which `admission` let in, and mDNS of those who speak it.
fn configuration_from_replicas(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let domain = Match::new().from(From::Replica);
    let cookie = Cookie::host(Class::Control);
    let place = (Table::Control, priority::HOST);
    let server = match host.dhcp {
        Side::Host => PortNumber::LOCAL,
        Side::Backhaul => host.backhaul,
    };
    let v4 = udp(domain.clone().ipv4(), Some(DHCP_CLIENT), Some(DHCP_SERVER));
    let v6 = udp(domain.ipv6(), Some(DHCPV6_CLIENT), Some(DHCPV6_SERVER));
    for matching in [v4, v6] {
        flows.add(place, matching, cookie, out(&[server]));
    }
    for application in state.applications() {
        let number = application.number.get();
        let from = Match::new().from(From::Replica).application(number);
        for group in mdns(from) {
            if application.speaks(Protocol::Mdns) {
                let mut all = out(&[host.access]);
                all.apply.insert(0, control_meter(application));
                flows.add(place, group, Cookie::of(Class::Control, number), all);
            } else {
                flows.deny(place, group, Deny::NotSpoken, number);
            }
        }
    }
}

/// What an application may begin to say to the network, beside its rules.
fn spoken(state: &DesiredState, application: &Application, flows: &mut Flows) {
    let host = state.host();
    let number = application.number.get();
    let from = Match::new().from(From::Replica).application(number);
    let mut say = |matching: Match| {
        let marked = [control_meter(application), Register::Spoken.set(1)];
        let place = (Table::Control, priority::SPOKEN);
        let cookie = Cookie::of(Class::Control, number);
        flows.add(place, matching, cookie, goto(Table::Track, marked));
    };
    let metadata = from.clone().ipv4().ipv4_dst(METADATA, 32);
    say(metadata.ip_proto(6).with(Field::TcpDst, HTTP));
    if application.speaks(Protocol::Dns) {
        for address in &host.resolvers {
            let to = within(from.clone(), End::Target, &host_range(address));
            say(udp(to.clone(), None, Some(DNS)));
            say(to.ip_proto(6).with(Field::TcpDst, DNS));
        }
    }
    if application.speaks(Protocol::Ntp) {
        for address in &host.time_servers {
            let to = within(from.clone(), End::Target, &host_range(address));
            say(udp(to, None, Some(NTP)));
        }
    }
    if application.speaks(Protocol::Icmp) {
        echo(from).into_iter().for_each(say);
    }
}

/// Echo requests of both families.
pub(super) fn echo(matching: Match) -> [Match; 2] {
    let v4 = matching.clone().ipv4().ip_proto(1);
    [
        v4.with(Field::Icmpv4Type, ECHO_V4),
        icmpv6(matching, ECHO_V6),
    ]
}

/// The metadata address is each domain's own; to everybody else it does not exist.
fn not_for_others(flows: &mut Flows) {
    let place = (Table::Control, priority::REST);
    let metadata = Match::new()
        .came_from_outside()
        .ipv4()
        .ipv4_dst(METADATA, 32);
    flows.deny(place, metadata, Deny::Metadata, 0);
}
