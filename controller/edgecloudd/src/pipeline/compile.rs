//! From what is desired to what is installed: each table in its file, and here what they share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use manifest::Cidr;
use openflow::{
    Action, Band, BandAction, Field, Flow, FlowFlags, FlowKey, Instructions, Match, Meter,
    MeterUnit,
};

use super::cookie::{Class, Cookie, Deny};
use super::registers::{Exit, Register};
use super::{
    Application, DesiredState, Installed, Table, ZONE_MAX, admission, control, established, gate,
    replica, rewrite, rules, track,
};

/// What one application's control packets (ARP, DNS, the metadata service …) may be a second, and at
/// once: a domain that starts asks some dozens, and one that floods must not occupy dom0.
const CONTROL_PACKETS_PER_SECOND: u32 = 500;
const CONTROL_PACKETS_AT_ONCE: u32 = 200;

/// The flows, groups and meters that enforce what is desired.
pub fn compile(state: &DesiredState) -> Installed {
    let mut flows = Flows::default();
    admission::compile(state, &mut flows);
    control::compile(state, &mut flows);
    track::compile(state, &mut flows);
    established::compile(state, &mut flows);
    rules::compile(state, &mut flows);
    replica::compile(state, &mut flows);
    gate::compile(state, &mut flows);
    rewrite::compile(state, &mut flows);
    let applications = state.applications();
    Installed {
        flows: flows.into_map(),
        groups: by_number(applications.iter().filter_map(replica::group), |g| g.id),
        meters: by_number(
            applications
                .iter()
                .flat_map(meters)
                .chain(gate::meters(state)),
            |m: &Meter| m.id,
        ),
    }
}

fn by_number<T>(items: impl Iterator<Item = T>, number: impl Fn(&T) -> u32) -> BTreeMap<u32, T> {
    items.map(|item| (number(&item), item)).collect()
}

/// The meter of all that an application's rules permit.
pub(super) fn rate_meter(application: &Application) -> Option<Action> {
    let number = u32::from(application.zone);
    application.rate.map(|_| Action::Meter(number))
}

/// The meter of what an application says to the network itself.
pub(super) fn control_meter(application: &Application) -> Action {
    Action::Meter(control_meter_number(application))
}

fn control_meter_number(application: &Application) -> u32 {
    u32::from(ZONE_MAX) + 1 + u32::from(application.zone)
}

fn meters(application: &Application) -> Vec<Meter> {
    let control = Meter {
        id: control_meter_number(application),
        unit: MeterUnit::PacketsPerSecond,
        burst: true,
        stats: true,
        bands: vec![Band {
            rate: CONTROL_PACKETS_PER_SECOND,
            burst: CONTROL_PACKETS_AT_ONCE,
            action: BandAction::Drop,
        }],
    };
    let limit = |rate: manifest::Rate| {
        // A second's worth at once: TCP's windows are not cut, and the mean holds all the same.
        Meter::limit_kbps(application.zone.into(), rate.kbit(), rate.kbit())
    };
    application
        .rate
        .map(limit)
        .into_iter()
        .chain([control])
        .collect()
}

/// The flows so far, in the order in which they came: to sort once is less than to search for each.
#[derive(Default)]
pub(super) struct Flows(Vec<Flow>);

impl Flows {
    /// By their keys. Of those with the same key the first stays; clauses are joined to it.
    fn into_map(self) -> BTreeMap<FlowKey, Flow> {
        let mut flows = self.0;
        // Stable: what came first is first among its equals.
        flows.sort_by(|one, other| one.key.cmp(&other.key));
        flows.dedup_by(|later, first| {
            let is_same = later.key == first.key;
            if is_same && is_clause(later) {
                let clause = later.instructions.apply.drain(..);
                first.instructions.apply.extend(clause);
            }
            is_same
        });
        flows
            .into_iter()
            .map(|flow| (flow.key.clone(), flow))
            .collect()
    }

    /// Adds a flow. One that is there already stays: what comes first has precedence.
    pub(super) fn add(
        &mut self,
        place: (Table, u16),
        matching: Match,
        cookie: Cookie,
        instructions: Instructions,
    ) {
        let (table, priority) = place;
        debug_assert_eq!(matching.check(), Ok(()), "{matching}");
        let flow = Flow::new(table.number(), priority, matching, instructions);
        let mut flow = flow.with_cookie(cookie.number());
        if cookie.class.is_traffic() {
            // What it counted last is billed, too.
            flow.flags = FlowFlags::SEND_FLOW_REMOVED;
        }
        self.0.push(flow);
    }

    /// Adds a flow that drops, and says why.
    pub(super) fn deny(
        &mut self,
        place: (Table, u16),
        matching: Match,
        reason: Deny,
        application: u32,
    ) {
        let cookie = Cookie::of(Class::Deny(reason), application);
        self.add(place, matching, cookie, Instructions::drop());
    }

    /// Adds a clause of a conjunction; several conjunctions share the flow of a common clause.
    pub(super) fn clause(
        &mut self,
        place: (Table, u16),
        matching: Match,
        cookie: Cookie,
        conjunction: Action,
    ) {
        let (table, priority) = place;
        debug_assert_eq!(matching.check(), Ok(()), "{matching}");
        let clause = Instructions::apply(vec![conjunction]);
        let flow = Flow::new(table.number(), priority, matching, clause);
        self.0.push(flow.with_cookie(cookie.number()));
    }
}

/// Whether it is a part of conjunctions, which may be of several.
fn is_clause(flow: &Flow) -> bool {
    matches!(
        flow.instructions.apply.first(),
        Some(Action::Conjunction { .. })
    )
}

/// Goes on in another table after some actions.
pub(super) fn goto(table: Table, actions: impl Into<Vec<Action>>) -> Instructions {
    Instructions::apply(actions.into()).then_goto(table.number())
}

/// Leaves in a way, after some actions.
pub(super) fn leave(exit: Exit) -> Instructions {
    let table = match exit {
        Exit::Transit => Table::Gate,
        _ => Table::Rewrite,
    };
    goto(table, [Register::Exit.set(exit as u32)])
}

/// Asks for IP of the family of a range, and for a field of it within the range.
pub(super) fn within(matching: Match, end: End, range: &Cidr) -> Match {
    let prefix = u32::from(range.prefix());
    match (range.address(), end) {
        (IpAddr::V4(a), End::Source) => matching.ipv4().ipv4_src(a, prefix),
        (IpAddr::V4(a), End::Target) => matching.ipv4().ipv4_dst(a, prefix),
        (IpAddr::V6(a), End::Source) => matching.ipv6().ipv6_src(a, prefix),
        (IpAddr::V6(a), End::Target) => matching.ipv6().ipv6_dst(a, prefix),
    }
}

/// Which address of a packet.
#[derive(Clone, Copy)]
pub(super) enum End {
    Source,
    Target,
}

/// IP of either family: what Open vSwitch demands of a flow that tracks connections.
pub(super) fn families() -> [Match; 2] {
    [Match::new().ipv4(), Match::new().ipv6()]
}

/// ICMPv6 of a type.
pub(super) fn icmpv6(matching: Match, kind: u8) -> Match {
    let icmpv6 = matching.ipv6().ip_proto(58);
    icmpv6.with(Field::Icmpv6Type, kind)
}

/// UDP from a port to a port; None for any.
pub(super) fn udp(matching: Match, source: Option<u16>, target: Option<u16>) -> Match {
    let mut matching = matching.ip_proto(17);
    if let Some(port) = source {
        matching = matching.with(Field::UdpSrc, port);
    }
    if let Some(port) = target {
        matching = matching.with(Field::UdpDst, port);
    }
    matching
}
