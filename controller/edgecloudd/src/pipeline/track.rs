//! Table `track`: whose application a packet concerns, and the connection tracker in its zone.
//!
//! Where one application alone intercepts an address, all that clients send there is tracked, and
//! ports are the rules' affair; where several do, ports decide here. Addresses that a name no longer
//! has are still tracked, so that connections to them keep their replica.

use manifest::{Cidr, Intercept, Rule};
use openflow::{Action, Conntrack, Instructions, Match};

use super::compile::{End, Flows, families, leave, within};
use super::cookie::{Class, Cookie, Deny};
use super::desired::host_range;
use super::registers::{Exit, From, OnRegisters, Register, Towards};
use super::spread::services_of;
use super::{Application, DesiredState, Table};

/// Priorities, highest first.
mod priority {
    pub(super) const DOMAIN: u16 = 60_000;
    pub(super) const STRANGER: u16 = 59_000;
    pub(super) const REPLICA: u16 = 58_000;
    pub(super) const HOST: u16 = 57_000;
    /// Less the zone: who was there first has precedence.
    pub(super) const INTERCEPTED: u16 = 56_000;
    pub(super) const MISS: u16 = 0;
}

const _: () = assert!(priority::INTERCEPTED > super::ZONE_MAX);

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    let transit = Cookie::host(Class::Transit);
    for application in state.applications() {
        let number = application.number.get();
        for from in [From::Replica, From::Foreign] {
            for family in families() {
                let matching = family.from(from).application(number);
                let place = (Table::Track, priority::DOMAIN);
                let cookie = Cookie::of(Class::Track, number);
                flows.add(place, matching, cookie, ask(application, vec![]));
            }
        }
    }
    to_replicas(state, flows);
    for address in &state.host().addresses {
        let to = within(
            Match::new().came_from_outside(),
            End::Target,
            &host_range(address),
        );
        let place = (Table::Track, priority::HOST);
        flows.add(place, to, transit, leave(Exit::Transit));
    }
    intercepted(state, flows);
    let miss = (Table::Track, priority::MISS);
    flows.add(miss, Match::new(), transit, leave(Exit::Transit));
}

/// Asks the connection tracker, after some actions.
fn ask(application: &Application, mut actions: Vec<Action>) -> Instructions {
    let established = Table::Established.number();
    let track = Conntrack::track(application.zone, established);
    actions.push(Action::Conntrack(track));
    Instructions::apply(actions)
}

fn to_replicas(state: &DesiredState, flows: &mut Flows) {
    for (application, replica) in state.replicas() {
        let number = application.number.get();
        for address in &replica.addresses {
            let to = within(Match::new(), End::Target, &host_range(address));
            let place = (Table::Track, priority::STRANGER);
            let stranger = to.clone().from(From::Stranger);
            flows.deny(place, stranger, Deny::SpoofedAddress, number);
            let registers = vec![
                Register::Application.set(number),
                Register::Replica.set(replica.number),
                Register::Towards.set(Towards::Replica as u32),
            ];
            let place = (Table::Track, priority::REPLICA);
            let cookie = Cookie::of(Class::Track, number);
            flows.add(place, to, cookie, ask(application, registers));
        }
    }
}

/// What an application intercepts, now or before: addresses and, behind them, the rule.
fn claims<'a>(state: &DesiredState, application: &'a Application) -> Vec<(Cidr, &'a Intercept)> {
    let rules = application.grants.iter().filter_map(|g| match &g.rule {
        Rule::Intercept(intercept) => Some(intercept),
        _ => None,
    });
    let of = |rule: &'a Intercept| {
        let ranges = state.current_and_retired(rule.to());
        ranges.into_iter().map(move |range| (range, rule))
    };
    rules.flat_map(of).collect()
}

fn intercepted(state: &DesiredState, flows: &mut Flows) {
    let applications = state.applications().iter();
    let all: Vec<_> = applications.map(|a| (a, claims(state, a))).collect();
    let mut claimed: Vec<(Cidr, u16)> = all
        .iter()
        .flat_map(|(a, claims)| claims.iter().map(|(range, _)| (*range, a.zone)))
        .collect();
    claimed.sort_unstable();
    claimed.dedup();
    let claimed = Contention::new(claimed);
    for (application, claims) in &all {
        let number = application.number.get();
        let place = (Table::Track, priority::INTERCEPTED - application.zone);
        let registers = vec![Register::Application.set(number)];
        let instructions = ask(application, registers);
        let cookie = Cookie::of(Class::Track, number);
        for (range, rule) in claims {
            let to = within(Match::new().intercepted_by(application), End::Target, range);
            let matches = if claimed.is_contended(range, application.zone) {
                services_of(&to, rule.services())
            } else {
                vec![to]
            };
            for matching in matches {
                flows.add(place, matching, cookie, instructions.clone());
            }
        }
    }
}

/// Ranges with who claims them, for finding those that two applications claim.
struct Contention {
    /// Sorted: what lies in a range follows it.
    claims: Vec<(Cidr, u16)>,
}

impl Contention {
    fn new(claims: Vec<(Cidr, u16)>) -> Contention {
        Contention { claims }
    }

    /// Whether another application claims a part of a range, or all of it. Ranges that contain this
    /// one are found by shortening it: at most 128 searches.
    fn is_contended(&self, range: &Cidr, zone: u16) -> bool {
        let at = |range: &Cidr| self.claims.partition_point(|(r, _)| r < range);
        let wider = (0..=range.prefix()).filter_map(|p| Cidr::new(range.address(), p));
        let contains = |wider: Cidr| {
            let same = self.claims.iter().skip(at(&wider));
            same.take_while(|(r, _)| *r == wider)
                .any(|(_, z)| *z != zone)
        };
        let inside = self.claims.iter().skip(at(range));
        let mut inside = inside.take_while(|(r, _)| range.contains(r.address()));
        wider.into_iter().any(contains) || inside.any(|(r, z)| range.covers(r) && *z != zone)
    }
}
