//! Table `gate`: what passes by as if there were no domains, where an appliance keeps the gate
//! (`[[admit]]` in its manifest).
//!
//! Clients of such a range are visitors until the appliance lets them through: then `admission` knows
//! them by MAC and IP address as clients, and here their traffic is counted and metered in both
//! directions. Visitors reach what every client needs to find the portal (the operator's resolvers, DHCP,
//! neighbours), what manifests pay for, and, in the tables before, what the appliance that keeps the gate
//! serves and intercepts. All else is denied, in both directions.

use std::net::IpAddr;

use manifest::{Admit, Cidr, Rule, Services, Source};
use openflow::{Action, Match, Meter};

use super::admission::{
    DHCP_CLIENT, DHCP_SERVER, DHCPV6_CLIENT, DHCPV6_SERVER, NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use super::compile::{End, Flows, families, goto, icmpv6, udp, within};
use super::control::DNS;
use super::cookie::{Class, Cookie, Deny};
use super::desired::host_range;
use super::registers::{From, OnRegisters};
use super::spread::{PortEnd, services_at};
use super::{Admitted, Application, DesiredState, Table, ZONE_MAX};

/// Priorities, highest first.
mod priority {
    /// What is paid for is no client's.
    pub(super) const FREE: u16 = 700;
    pub(super) const SESSION: u16 = 600;
    pub(super) const NEEDED: u16 = 500;
    pub(super) const CLOSED: u16 = 400;
    pub(super) const MISS: u16 = 0;
}

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    free(state, flows);
    for application in state.applications() {
        for admitted in &application.admitted {
            session(application, admitted, flows);
        }
    }
    let gated = gated(state);
    if !gated.is_empty() {
        needed(state, flows);
        closed(state, &gated, flows);
    }
    let miss = (Table::Gate, priority::MISS);
    let cookie = Cookie::host(Class::Transit);
    flows.add(miss, Match::new(), cookie, goto(Table::Rewrite, []));
}

/// The ranges of clients that pass only if they are let through.
pub(super) fn gated(state: &DesiredState) -> Vec<Cidr> {
    let clients = &state.host().clients;
    let mut ranges: Vec<Cidr> = Vec::new();
    for source in state
        .applications()
        .iter()
        .filter_map(Application::keeps_gate)
    {
        match source {
            Source::Net(range) => {
                let inside = clients.iter().filter_map(|of| {
                    let narrower = of.covers(&range).then_some(range);
                    narrower.or(range.covers(of).then_some(*of))
                });
                ranges.extend(inside);
            }
            _ => ranges.extend(clients),
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    ranges
}

/// The meters of those who are let through with a rate.
pub(super) fn meters(state: &DesiredState) -> impl Iterator<Item = Meter> + '_ {
    let all = state.applications().iter().flat_map(|a| &a.admitted);
    all.filter_map(|admitted| {
        let kbit = admitted.rate?.kbit();
        // A second's worth at once, as for applications.
        Some(Meter::limit_kbps(meter_number(admitted), kbit, kbit))
    })
}

/// Those of applications come before: two for each zone.
fn meter_number(admitted: &Admitted) -> u32 {
    2 * (u32::from(ZONE_MAX) + 1) + u32::from(admitted.place)
}

/// A client's traffic in both directions.
fn session(application: &Application, admitted: &Admitted, flows: &mut Flows) {
    let number = application.number.get();
    let range = host_range(&admitted.address);
    let ways = [
        (From::Client, End::Source, admitted.cookie_rule(false)),
        (From::Backhaul, End::Target, admitted.cookie_rule(true)),
    ];
    for (from, end, rule) in ways {
        let matching = within(Match::new().from(from), end, &range);
        let cookie = Cookie {
            rule,
            ..Cookie::of(Class::Session, number)
        };
        let meter = admitted.rate.map(|_| Action::Meter(meter_number(admitted)));
        let meter: Vec<Action> = meter.into_iter().collect();
        let place = (Table::Gate, priority::SESSION);
        flows.add(place, matching, cookie, goto(Table::Rewrite, meter));
    }
}

/// A service that somebody pays for: whose rule it is, and an address where it is now.
struct Paid<'a> {
    application: &'a Application,
    rule: u16,
    from: Source,
    range: Cidr,
    services: &'a Services,
}

fn paid(state: &DesiredState) -> Vec<Paid<'_>> {
    let mut all = Vec::new();
    for application in state.applications() {
        for grant in &application.grants {
            let Rule::Admit(Admit {
                from,
                to: Some((to, services)),
            }) = &grant.rule
            else {
                continue;
            };
            all.extend(state.current(to).into_iter().map(|range| Paid {
                application,
                rule: grant.index,
                from: *from,
                range,
                services,
            }));
        }
    }
    all
}

impl Paid<'_> {
    /// What goes there, or comes from there: the service is at one end of it, clients are at the other.
    fn matches(&self, matching: Match, there: End) -> Vec<Match> {
        let (here, port) = match there {
            End::Target => (End::Source, PortEnd::Target),
            End::Source => (End::Target, PortEnd::Source),
        };
        let matching = within(matching, there, &self.range);
        let matching = match &self.from {
            Source::Net(clients)
                if clients.address().is_ipv4() != self.range.address().is_ipv4() =>
            {
                return Vec::new();
            }
            Source::Net(clients) => within(matching, here, clients),
            _ => matching,
        };
        services_at(&matching, self.services, port)
    }
}

/// What rules let all clients reach, and what answers from there.
fn free(state: &DesiredState, flows: &mut Flows) {
    for service in paid(state) {
        let cookie = Cookie {
            rule: service.rule,
            ..Cookie::of(Class::Free, service.application.number.get())
        };
        let out = service.matches(Match::new().came_from_clients(), End::Target);
        let back = service.matches(Match::new().from(From::Backhaul), End::Source);
        for matching in out.into_iter().chain(back) {
            let place = (Table::Gate, priority::FREE);
            flows.add(place, matching, cookie, goto(Table::Rewrite, []));
        }
    }
}

/// What visitors send to services that somebody pays for: who keeps the gate intercepts none of it,
/// however wide its rules are.
pub(super) fn free_from_visitors(state: &DesiredState) -> Vec<Match> {
    let all = paid(state).into_iter();
    all.flat_map(|service| service.matches(Match::new().from(From::Visitor), End::Target))
        .collect()
}

/// What every client needs before it is let through, and answers to that.
fn needed(state: &DesiredState, flows: &mut Flows) {
    let cookie = Cookie::host(Class::Transit);
    let mut add = |matching: Match| {
        let place = (Table::Gate, priority::NEEDED);
        flows.add(place, matching, cookie, goto(Table::Rewrite, []));
    };
    for from in [From::Visitor, From::Stranger, From::Backhaul] {
        let from_there = || Match::new().from(from);
        let ports = match from {
            From::Backhaul => [(DHCP_SERVER, DHCP_CLIENT), (DHCPV6_SERVER, DHCPV6_CLIENT)],
            _ => [(DHCP_CLIENT, DHCP_SERVER), (DHCPV6_CLIENT, DHCPV6_SERVER)],
        };
        add(udp(from_there().ipv4(), Some(ports[0].0), Some(ports[0].1)));
        add(udp(from_there().ipv6(), Some(ports[1].0), Some(ports[1].1)));
        for kind in [
            ROUTER_SOLICITATION,
            ROUTER_ADVERTISEMENT,
            NEIGHBOUR_SOLICITATION,
            NEIGHBOUR_ADVERTISEMENT,
        ] {
            add(icmpv6(from_there(), kind));
        }
    }
    for resolver in &state.host().resolvers {
        let range = host_range(resolver);
        let asks = within(Match::new().from(From::Visitor), End::Target, &range);
        add(udp(asks.clone(), None, Some(DNS)));
        add(asks.ip_proto(6).with(openflow::Field::TcpDst, DNS));
        let tells = within(Match::new().from(From::Backhaul), End::Source, &range);
        add(udp(tells.clone(), Some(DNS), None));
        add(tells.ip_proto(6).with(openflow::Field::TcpSrc, DNS));
    }
}

fn closed(state: &DesiredState, gated: &[Cidr], flows: &mut Flows) {
    let place = (Table::Gate, priority::CLOSED);
    let mut deny = |matching: Match| flows.deny(place, matching, Deny::NotAdmitted, 0);
    for family in families() {
        deny(family.clone().from(From::Visitor));
        if is_closed_to_strangers(state) {
            deny(family.from(From::Stranger));
        }
    }
    for range in gated {
        let to = within(Match::new().from(From::Backhaul), End::Target, range);
        deny(to);
    }
}

/// Whether who has no client's address passes as little as a visitor: else another address would be
/// the way past the gate.
fn is_closed_to_strangers(state: &DesiredState) -> bool {
    let mut gates = state
        .applications()
        .iter()
        .filter_map(Application::keeps_gate);
    gates.any(|source| source == Source::Clients)
}

/// Where a client is that was let through.
pub(super) fn is_let_through(admitted: &Admitted, matching: Match) -> Match {
    let mac = openflow::mac(admitted.mac);
    let matching = matching.with(openflow::Field::EthSrc, mac);
    match admitted.address {
        IpAddr::V4(v4) => matching.ipv4().ipv4_src(v4, 32),
        IpAddr::V6(v6) => matching.ipv6().ipv6_src(v6, 128),
    }
}
