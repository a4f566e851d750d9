//! Table `admission`: every packet is from whom it says, or goes no further.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use manifest::rule::Protocol;
use openflow::{Field, Instructions, Match, PortNumber, VLAN_PRESENT, mac};

use super::compile::{End, Flows, control_meter, goto, icmpv6, udp, within};
use super::cookie::{Class, Cookie, Deny};
use super::desired::host_range;
use super::registers::{From, HOPS_MAX, Register};
use super::{Application, DesiredState, METADATA, Replica, Table};

/// Priorities, highest first.
mod priority {
    /// Forged sources, each kind apart so that a packet has one reason; asking for oneself.
    pub(super) const FORGED_MAC: u16 = 720;
    pub(super) const FORGED_ADDRESS: u16 = 710;
    pub(super) const FORGED: u16 = 700;
    /// What speaks truly.
    /// A client that was let through a gate.
    pub(super) const LET_THROUGH: u16 = 650;
    /// A client in front of a gate.
    pub(super) const GATED: u16 = 610;
    pub(super) const TRUE: u16 = 600;
    /// Neighbour discovery that does not.
    pub(super) const FALSE_NEIGHBOUR: u16 = 550;
    /// IP from own addresses, neighbour discovery left aside.
    pub(super) const OWN: u16 = 500;
    /// IP from other addresses, ARP that lies.
    pub(super) const OTHER: u16 = 400;
    pub(super) const OTHER_PROTOCOL: u16 = 300;
    pub(super) const TAGGED: u16 = 200;
    pub(super) const PORT: u16 = 100;
    pub(super) const MISS: u16 = 0;
}

/// ICMPv6's types of neighbour and router discovery (RFC 4861).
pub(super) const ROUTER_SOLICITATION: u8 = 133;
pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
pub(super) const NEIGHBOUR_SOLICITATION: u8 = 135;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

pub(super) const DHCP_CLIENT: u16 = 68;
pub(super) const DHCP_SERVER: u16 = 67;
pub(super) const DHCPV6_CLIENT: u16 = 546;
pub(super) const DHCPV6_SERVER: u16 = 547;

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    sides(state, flows);
    for (application, replica) in state.replicas() {
        forged_from_outside(state, application, replica, flows);
        let vif = Vif {
            application,
            replica,
        };
        vif.neighbour_discovery(flows);
        vif.arp(flows);
        vif.addresses(flows);
        vif.others(flows);
    }
    let miss = (Table::Admission, priority::MISS);
    flows.deny(miss, Match::new(), Deny::UnknownPort, 0);
}

fn sides(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let enter = |from: From| goto(Table::Control, [Register::From.set(from as u32)]);
    let cookie = Cookie::host(Class::Admit);
    let port = (Table::Admission, priority::PORT);
    let access = Match::new().in_port(host.access);
    let backhaul = Match::new().in_port(host.backhaul);
    for range in &host.clients {
        let matching = within(access.clone(), End::Source, range);
        let place = (Table::Admission, priority::TRUE);
        flows.add(place, matching, cookie, enter(From::Client));
    }
    for range in super::gate::gated(state) {
        let matching = within(access.clone(), End::Source, &range);
        let place = (Table::Admission, priority::GATED);
        flows.add(place, matching, cookie, enter(From::Visitor));
    }
    for application in state.applications() {
        for admitted in &application.admitted {
            let matching = super::gate::is_let_through(admitted, access.clone());
            let place = (Table::Admission, priority::LET_THROUGH);
            flows.add(place, matching, cookie, enter(From::Client));
        }
    }
    flows.add(port, access, cookie, enter(From::Stranger));
    flows.add(port, backhaul, cookie, enter(From::Backhaul));
    let local = Match::new().in_port(PortNumber::LOCAL);
    flows.add(port, local, cookie, enter(From::Host));
    // Who pretends to be dom0 could answer a domain's questions in its place.
    let forged = (Table::Admission, priority::FORGED_MAC);
    let own = host.addresses.iter().copied().chain([METADATA.into()]);
    for side in outside(state) {
        flows.deny(forged, side.clone().eth_src(host.mac), Deny::SpoofedMac, 0);
        for address in own.clone() {
            forged_address(&side, &address, 0, flows);
        }
    }
}

fn outside(state: &DesiredState) -> [Match; 2] {
    let host = state.host();
    [host.access, host.backhaul].map(|port| Match::new().in_port(port))
}

/// IP, ARP and neighbour advertisements that speak for an address.
fn forged_address(side: &Match, address: &IpAddr, application: u32, flows: &mut Flows) {
    let place = (Table::Admission, priority::FORGED_ADDRESS);
    let source = within(side.clone(), End::Source, &host_range(address));
    flows.deny(place, source, Deny::SpoofedAddress, application);
    let place = (Table::Admission, priority::FORGED);
    match address {
        IpAddr::V4(v4) => {
            let arp = side.clone().arp().with(Field::ArpSpa, v4.to_bits());
            flows.deny(place, arp, Deny::SpoofedArp, application);
        }
        IpAddr::V6(v6) => {
            let advertisement = icmpv6(side.clone(), NEIGHBOUR_ADVERTISEMENT);
            let advertisement = advertisement.with(Field::NdTarget, v6.to_bits());
            flows.deny(place, advertisement, Deny::SpoofedNeighbour, application);
        }
    }
}

fn forged_from_outside(
    state: &DesiredState,
    application: &Application,
    replica: &Replica,
    flows: &mut Flows,
) {
    let place = (Table::Admission, priority::FORGED_MAC);
    let number = application.number.get();
    for side in outside(state) {
        let matching = side.clone().eth_src(replica.mac);
        flows.deny(place, matching, Deny::SpoofedMac, number);
        for address in &replica.addresses {
            forged_address(&side, address, number, flows);
        }
    }
}

/// A domain's interface.
struct Vif<'a> {
    application: &'a Application,
    replica: &'a Replica,
}

impl Vif<'_> {
    fn number(&self) -> u32 {
        self.application.number.get()
    }

    /// From the vif, untagged, with the MAC address that was given.
    fn own_mac(&self) -> Match {
        let port = Match::new().in_port(self.replica.port);
        port.no_vlan().eth_src(self.replica.mac)
    }

    fn enter(&self, from: From, table: Table) -> Instructions {
        let registers = [
            Register::Application.set(self.number()),
            Register::From.set(from as u32),
            Register::Replica.set(self.replica.number),
            Register::Hops.set(HOPS_MAX),
        ];
        goto(table, registers)
    }

    fn admit(&self, level: u16, matching: Match, flows: &mut Flows) {
        let cookie = Cookie::of(Class::Admit, self.number());
        let enter = self.enter(From::Replica, Table::Control);
        flows.add((Table::Admission, level), matching, cookie, enter);
    }

    /// What only who speaks a protocol may say; metered, for somebody has to listen.
    fn admit_protocol(&self, protocol: Protocol, matching: Match, flows: &mut Flows) {
        let place = (Table::Admission, priority::TRUE);
        if !self.application.speaks(protocol) {
            flows.deny(place, matching, Deny::NotSpoken, self.number());
            return;
        }
        let mut enter = self.enter(From::Replica, Table::Control);
        enter.apply.insert(0, control_meter(self.application));
        let cookie = Cookie::of(Class::Admit, self.number());
        flows.add(place, matching, cookie, enter);
    }

    fn deny(&self, level: u16, matching: Match, reason: Deny, flows: &mut Flows) {
        flows.deny((Table::Admission, level), matching, reason, self.number());
    }

    fn v4(&self) -> impl Iterator<Item = Ipv4Addr> {
        let addresses = self.replica.addresses.iter();
        addresses.filter_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }

    fn v6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let addresses = self.replica.addresses.iter();
        addresses.filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(*v6),
        })
    }

    fn arp(&self, flows: &mut Flows) {
        let hardware = mac(self.replica.mac);
        for address in self.v4() {
            let own = self.own_mac().arp().with(Field::ArpSha, hardware);
            let own = own.with(Field::ArpSpa, address.to_bits());
            self.admit_protocol(Protocol::Arp, own, flows);
            let about_itself = self.own_mac().arp();
            let about_itself = about_itself.with(Field::ArpTpa, address.to_bits());
            self.deny(priority::FORGED, about_itself, Deny::OwnAddress, flows);
        }
        self.deny(
            priority::OTHER,
            self.own_mac().arp(),
            Deny::SpoofedArp,
            flows,
        );
    }

    /// The link-layer address that is told is the own one, or none (0 to the switch).
    fn neighbour_discovery(&self, flows: &mut Flows) {
        let hardware = mac(self.replica.mac);
        for address in self.v6() {
            let from = self.own_mac().ipv6().ipv6_src(address, 128);
            for told in [0, hardware] {
                let asks = icmpv6(from.clone(), NEIGHBOUR_SOLICITATION).with(Field::NdSll, told);
                self.admit_protocol(Protocol::Nd, asks, flows);
                for target in self.v6() {
                    let tells = icmpv6(from.clone(), NEIGHBOUR_ADVERTISEMENT);
                    let tells = tells.with(Field::NdTarget, target.to_bits());
                    let tells = tells.with(Field::NdTll, told);
                    self.admit_protocol(Protocol::Nd, tells, flows);
                }
            }
            let looks_for_routers = icmpv6(from, ROUTER_SOLICITATION);
            self.admit_protocol(Protocol::Nd, looks_for_routers, flows);
            // RFC 4862's duplicate address detection comes from no address, and asks for itself.
            let asks = icmpv6(self.own_mac(), NEIGHBOUR_SOLICITATION);
            let about_itself = asks.with(Field::NdTarget, address.to_bits());
            self.deny(priority::FORGED, about_itself, Deny::OwnAddress, flows);
            let to_itself = self.own_mac().ipv6().ipv6_dst(address, 128);
            let to_itself = icmpv6(to_itself, NEIGHBOUR_ADVERTISEMENT);
            self.deny(priority::FORGED, to_itself, Deny::OwnAddress, flows);
        }
        // Open vSwitch reads options that are malformed, or stand twice, as none, and asks for
        // nobody: behind them a domain could tell another's link-layer address.
        let malformed = icmpv6(self.own_mac(), NEIGHBOUR_SOLICITATION).with(Field::NdTarget, 0u8);
        let level = priority::FORGED;
        self.deny(level, malformed, Deny::SpoofedNeighbour, flows);
        let nobody = self.own_mac().ipv6().ipv6_src(Ipv6Addr::UNSPECIFIED, 128);
        self.admit_protocol(Protocol::Nd, icmpv6(nobody, ROUTER_SOLICITATION), flows);
        for kind in ROUTER_SOLICITATION..=REDIRECT {
            let matching = icmpv6(self.own_mac(), kind);
            let level = priority::FALSE_NEIGHBOUR;
            self.deny(level, matching, Deny::SpoofedNeighbour, flows);
        }
    }

    fn addresses(&self, flows: &mut Flows) {
        let nobody = self.own_mac().ipv4().ipv4_src(Ipv4Addr::UNSPECIFIED, 32);
        let everybody = nobody.ipv4_dst(Ipv4Addr::BROADCAST, 32);
        let asks = udp(everybody, Some(DHCP_CLIENT), Some(DHCP_SERVER));
        self.admit_protocol(Protocol::Dhcp, asks, flows);
        for address in &self.replica.addresses {
            let own = within(self.own_mac(), End::Source, &host_range(address));
            let (client, server) = match address {
                IpAddr::V4(_) => (DHCP_CLIENT, DHCP_SERVER),
                IpAddr::V6(_) => (DHCPV6_CLIENT, DHCPV6_SERVER),
            };
            let dhcp = udp(own.clone(), Some(client), Some(server));
            self.admit_protocol(Protocol::Dhcp, dhcp, flows);
            self.admit(priority::OWN, own, flows);
        }
    }

    /// From others' addresses: replies in connections that were redirected to it, which the
    /// connection tracker will tell from lies; nothing, where nothing is redirected.
    fn others(&self, flows: &mut Flows) {
        for family in [self.own_mac().ipv4(), self.own_mac().ipv6()] {
            let place = (Table::Admission, priority::OTHER);
            // Who serves answers from the address that was called, which may be another replica's.
            if self.application.attracts() {
                let cookie = Cookie::of(Class::Admit, self.number());
                flows.add(
                    place,
                    family,
                    cookie,
                    self.enter(From::Foreign, Table::Track),
                );
            } else {
                flows.deny(place, family, Deny::SpoofedAddress, self.number());
            }
        }
        let own_mac = self.own_mac();
        let level = priority::OTHER_PROTOCOL;
        self.deny(level, own_mac, Deny::OtherProtocol, flows);
        let port = Match::new().in_port(self.replica.port);
        let bit = u128::from(VLAN_PRESENT);
        let tagged = port.clone().with_masked(Field::VlanVid, bit, bit);
        self.deny(priority::TAGGED, tagged, Deny::Tagged, flows);
        self.deny(priority::PORT, port, Deny::SpoofedMac, flows);
    }
}
