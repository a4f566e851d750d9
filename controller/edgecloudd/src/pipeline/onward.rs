//! What an appliance that keeps a gate may reach for its visitors: the free services that have a name.
//!
//! A visitor may look for a free service at an address that the host's resolver has not given. What finds
//! the appliance then says by name whom it means, in a handshake or in `Host`, and the appliance takes the
//! bytes on to the service, from its own address. So that a name opens no other destination, the switch
//! lets it reach the addresses that names have *here*, at the ports that are granted, and nothing else.
//!
//! *Whose it is.* The connection is in the zone of who keeps the gate, and its `ct_mark` is no replica's
//! but names who pays ([`mark`]): the flows that follow it are of the payer's rule, count for that rule as
//! clients' own connections do, and pass the payer's meter. When its token is revoked they are gone, and
//! with them every connection that bears the mark.
//!
//! *What a service is.* What `[[admit]]` rules with a name in `to` let clients reach, whoever's they are;
//! and what applications with `free-to-client` serve to all clients from this host, which is counted and
//! metered where it arrives. Not what they intercept: that is taken on its way to somebody else, and who
//! pays for the interception has not paid for the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use manifest::{Admit, Name, NamePattern, Peer, Ports, Rule, Serve, Services, Source};
use openflow::{Action, Conntrack, Field, Match};

use super::compile::{End, Flows, goto, rate_meter, within};
use super::cookie::{Class, Cookie};
use super::desired::{RANGES_PER_RULE_MAX, host_range};
use super::established::{Way, going};
use super::registers::{Exit, From, OnRegisters, Register, Towards};
use super::spread::services_of;
use super::{Application, DesiredState, METADATA, ReplicaState, Table, ZONE_MAX};

/// `ct_mark` of connections to free services has this bit, and no replica's number does.
pub(super) const ONWARD: u32 = 1 << 31;
const RULE_BITS: u32 = 9;

const _: () = assert!(manifest::document::RULES_MAX <= 1 << RULE_BITS);
const _: () = assert!((ZONE_MAX as u32) << RULE_BITS < ONWARD);

/// A free service under one name, as who keeps a gate is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeService {
    /// The name.
    pub name: Name,
    /// As the manifest has it: the name, or the wildcard that it is known by.
    pub pattern: NamePattern,
    /// Who pays.
    pub payer: Payer,
    /// For whom it is free.
    pub from: Source,
    /// At which ports.
    pub tcp: Ports,
    /// Where the switch lets the asking appliance reach it now.
    pub addresses: BTreeSet<IpAddr>,
}

/// Who pays for a free service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Payer {
    /// The application's number.
    pub application: u32,
    /// The rule's index in its manifest.
    pub rule: u16,
}

/// A rule that makes something free under a name.
struct Offer<'a> {
    application: &'a Application,
    rule: u16,
    pattern: NamePattern,
    from: Source,
    /// TCP alone: nothing else has a name that it begins with.
    services: Services,
    /// Whether replicas on this host serve it.
    is_here: bool,
}

/// The free services that the appliance which keeps a gate may reach now: those of applications in the
/// order of their zones, of their rules by index, of their names by the alphabet.
pub fn free_services(state: &DesiredState, keeper: &Application) -> Vec<FreeService> {
    let mut services = Vec::new();
    for offer in offers(state, keeper) {
        let tcp = offer.services.tcp().clone();
        for (name, addresses) in offer.names(state) {
            services.push(FreeService {
                name,
                pattern: offer.pattern.clone(),
                payer: offer.payer(),
                from: offer.from,
                tcp: tcp.clone(),
                addresses,
            });
        }
    }
    services
}

/// Who pays for what the appliance which keeps a gate has begun: as long as one is here, the switch lets
/// its connections go on, also to addresses that the name has no more.
pub fn payers(state: &DesiredState, keeper: &Application) -> Vec<Payer> {
    let all = offers(state, keeper);
    all.iter().map(Offer::payer).collect()
}

fn offers<'a>(state: &'a DesiredState, keeper: &Application) -> Vec<Offer<'a>> {
    if keeper.keeps_gate().is_none() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for application in state.applications() {
        for grant in &application.grants {
            let mut offer = |pattern: &NamePattern, from, services: &Services, is_here| {
                let tcp = Services::new(services.tcp().clone(), Ports::default());
                all.extend(tcp.map(|services| Offer {
                    application,
                    rule: grant.index,
                    pattern: pattern.clone(),
                    from,
                    services,
                    is_here,
                }));
            };
            match &grant.rule {
                Rule::Admit(Admit {
                    from,
                    to: Some((Peer::Name(pattern), services)),
                }) => offer(pattern, *from, services, false),
                // Who serves a range serves its own addresses: the portal's is none of them.
                Rule::Serve(Serve {
                    name,
                    services,
                    from: from @ Source::Clients,
                }) if application.free_to_client && application.number != keeper.number => {
                    let pattern = NamePattern::Exactly(name.clone());
                    offer(&pattern, *from, services, true);
                }
                _ => {}
            }
        }
    }
    all
}

impl Offer<'_> {
    fn payer(&self) -> Payer {
        Payer {
            application: self.application.number.get(),
            rule: self.rule,
        }
    }

    /// The names with addresses, no more of them than a rule has anywhere.
    fn names(&self, state: &DesiredState) -> BTreeMap<Name, BTreeSet<IpAddr>> {
        let mut names = BTreeMap::new();
        let mut left = RANGES_PER_RULE_MAX;
        let mut take = |name: &Name, addresses: BTreeSet<IpAddr>| {
            let addresses: BTreeSet<IpAddr> = addresses.into_iter().take(left).collect();
            left -= addresses.len();
            if !addresses.is_empty() {
                names.insert(name.clone(), addresses);
            }
        };
        match &self.pattern {
            NamePattern::Exactly(name) if self.is_here => take(name, self.served()),
            NamePattern::Exactly(name) => {
                let known = state.names().get(name);
                take(name, known.map(|a| far(state, a)).unwrap_or_default());
            }
            pattern => {
                let all = state.names().iter();
                for (name, known) in all.filter(|(name, _)| pattern.matches(name)) {
                    take(name, far(state, known));
                }
            }
        }
        names
    }

    /// The addresses of replicas that take new connections; from a link-local one nobody is reached who
    /// is not on the link.
    fn served(&self) -> BTreeSet<IpAddr> {
        let live = self.application.replicas.iter();
        let live = live.filter(|replica| replica.state == ReplicaState::Live);
        let all = live.flat_map(|replica| replica.addresses.iter().copied());
        let on_link = |a: &IpAddr| matches!(a, IpAddr::V6(v6) if v6.is_unicast_link_local());
        all.filter(|address| !on_link(address)).collect()
    }

    /// Who pays, in the cookie of its flows. What a replica here serves counts where it arrives.
    fn cookie(&self) -> Cookie {
        let class = if self.is_here {
            Class::Rule
        } else {
            Class::Free
        };
        Cookie {
            rule: self.rule,
            ..Cookie::of(class, self.application.number.get())
        }
    }

    fn meter(&self) -> Option<Action> {
        rate_meter(self.application).filter(|_| !self.is_here)
    }

    fn mark(&self) -> u32 {
        mark(self.application.zone, self.rule)
    }
}

/// `ct_mark` of connections that a rule of the application in a zone pays for.
fn mark(zone: u16, rule: u16) -> u32 {
    ONWARD | u32::from(zone) << RULE_BITS | u32::from(rule)
}

/// A name's addresses behind the backhaul. Its owner chooses them: dom0, domains and clients are none.
fn far(state: &DesiredState, known: &super::Addresses) -> BTreeSet<IpAddr> {
    let host = state.host();
    let is_here = |address: &IpAddr| {
        host.addresses.contains(address)
            || *address == IpAddr::V4(METADATA)
            || host.clients.iter().any(|range| range.contains(*address))
            || state
                .replicas()
                .any(|(_, replica)| replica.addresses.contains(address))
    };
    let all = known.current.iter().copied();
    all.filter(|address| !is_here(address)).collect()
}

fn keepers(state: &DesiredState) -> impl Iterator<Item = &Application> {
    let all = state.applications().iter();
    all.filter(|application| application.keeps_gate().is_some())
}

/// In `rules`: a connection to a free service begins. `highest` is for the first rule that speaks of an
/// address, and each further one is below.
pub(super) fn begins(state: &DesiredState, highest: u16, flows: &mut Flows) {
    for keeper in keepers(state) {
        let mut rules_before: BTreeMap<IpAddr, u16> = BTreeMap::new();
        for offer in offers(state, keeper) {
            let addresses: BTreeSet<IpAddr> = offer.names(state).into_values().flatten().collect();
            for address in addresses {
                let before = rules_before.entry(address).or_default();
                let place = (Table::Rules, highest - *before);
                *before = (*before + 1).min(RULES_PER_ADDRESS_MAX);
                begin(keeper, &offer, &address, place, flows);
            }
        }
    }
}

/// Rules that speak of one address and have an order among each other: which of more pays is not told.
pub(super) const RULES_PER_ADDRESS_MAX: u16 = 1000;

fn begin(
    keeper: &Application,
    offer: &Offer<'_>,
    address: &IpAddr,
    place: (Table, u16),
    flows: &mut Flows,
) {
    let from = Match::new()
        .from(From::Replica)
        .application(keeper.number.get());
    let opening = from.register(Register::Opening, 1);
    let to = within(opening, End::Target, &host_range(address));
    let remember = Action::set(Field::CtMark, offer.mark());
    let mut actions: Vec<Action> = offer.meter().into_iter().collect();
    actions.push(Register::Exit.set(Exit::Depart as u32));
    let commit = Conntrack::commit(keeper.zone, vec![remember]);
    actions.push(Action::Conntrack(commit));
    for matching in services_of(&to, &offer.services) {
        let instructions = goto(Table::Rewrite, actions.clone());
        flows.add(place, matching, offer.cookie(), instructions);
    }
}

/// In `established`: what follows such a connection, while somebody pays for it.
pub(super) fn follows(state: &DesiredState, place: (Table, u16), flows: &mut Flows) {
    for keeper in keepers(state) {
        for offer in offers(state, keeper) {
            let marked = Match::new().application(keeper.number.get());
            let marked = marked.with(Field::CtMark, offer.mark());
            let sent = marked.clone().from(From::Replica);
            let to_replica = Towards::Replica as u32;
            let came = marked
                .came_from_outside()
                .register(Register::Towards, to_replica);
            for (matching, exit) in [
                (going(sent, Way::Original), Exit::Depart),
                (going(came, Way::Reply), Exit::ToReplica),
            ] {
                let mut actions: Vec<Action> = offer.meter().into_iter().collect();
                actions.push(Register::Exit.set(exit as u32));
                let instructions = goto(Table::Rewrite, actions);
                flows.add(place, matching, offer.cookie(), instructions);
            }
        }
    }
}
