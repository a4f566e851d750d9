//! A rule as flows: addresses times ports, or their sum as a conjunction where that is less.

use manifest::{Cidr, Ports, Services};
use openflow::{Action, Field, Instructions, Match};

use super::Table;
use super::compile::{End, Flows, within};
use super::cookie::Cookie;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A rule in its flows' words.
pub(super) struct Spread<'a> {
    pub(super) table: Table,
    pub(super) priority: u16,
    /// What else is asked.
    pub(super) base: Match,
    /// From where; None for anywhere.
    pub(super) source: Option<Cidr>,
    /// To where; None for anywhere.
    pub(super) targets: Option<Vec<Cidr>>,
    pub(super) services: &'a Services,
    /// The application's zone and the rule's index name its conjunctions.
    pub(super) zone: u16,
    pub(super) cookie: Cookie,
    /// What is asked in addition, and what is then done.
    pub(super) outcomes: Vec<Outcome>,
}

/// What a rule does with a packet that it matches.
pub(super) struct Outcome {
    pub(super) also: Match,
    pub(super) cookie: Cookie,
    pub(super) instructions: Instructions,
}

/// One family and one protocol of a rule.
#[derive(Clone, Copy)]
struct Kind {
    is_v6: bool,
    protocol: u8,
}

impl Spread<'_> {
    /// Adds the flows.
    pub(super) fn add(&self, flows: &mut Flows) {
        for is_v6 in [false, true] {
            for protocol in [TCP, UDP] {
                self.add_kind(Kind { is_v6, protocol }, flows);
            }
        }
    }

    fn add_kind(&self, kind: Kind, flows: &mut Flows) {
        let in_family = |range: &Cidr| range.address().is_ipv6() == kind.is_v6;
        if self
            .source
            .as_ref()
            .is_some_and(|source| !in_family(source))
        {
            return;
        }
        let ports = port_masks(ports_of(self.services, kind.protocol));
        let base = self.base_of(kind);
        let Some(targets) = &self.targets else {
            let matches = ports
                .into_iter()
                .map(|p| with_port(&base, kind.protocol, p));
            matches.for_each(|matching| self.add_outcomes(&matching, flows));
            return;
        };
        let targets: Vec<&Cidr> = targets.iter().filter(|range| in_family(range)).collect();
        let product = targets.len() * ports.len() * self.outcomes.len();
        if product > targets.len() + ports.len() + self.outcomes.len() {
            self.add_conjunction(kind, &base, &targets, &ports, flows);
            return;
        }
        for target in targets {
            let to = within(base.clone(), End::Target, target);
            for port in &ports {
                self.add_outcomes(&with_port(&to, kind.protocol, *port), flows);
            }
        }
    }

    /// The base with family, protocol and source.
    fn base_of(&self, kind: Kind) -> Match {
        let base = if kind.is_v6 {
            self.base.clone().ipv6()
        } else {
            self.base.clone().ipv4()
        };
        let base = base.ip_proto(kind.protocol);
        match &self.source {
            Some(source) => within(base, End::Source, source),
            None => base,
        }
    }

    fn add_outcomes(&self, matching: &Match, flows: &mut Flows) {
        for outcome in &self.outcomes {
            let matching = joined(matching, &outcome.also);
            let place = (self.table, self.priority);
            flows.add(
                place,
                matching,
                outcome.cookie,
                outcome.instructions.clone(),
            );
        }
    }

    /// Clauses of one conjunction have one family and protocol, and no other rule of the
    /// application has its priority: so no two conjunctions overlap at one priority.
    fn add_conjunction(
        &self,
        kind: Kind,
        base: &Match,
        targets: &[&Cidr],
        ports: &[(u16, u16)],
        flows: &mut Flows,
    ) {
        let id = self.conjunction(kind);
        let clause = |clause: u8| Action::Conjunction {
            id,
            clause,
            clauses: 2,
        };
        let place = (self.table, self.priority);
        for target in targets {
            let to = within(base.clone(), End::Target, target);
            flows.clause(place, to, self.cookie, clause(0));
        }
        for port in ports {
            let to = with_port(base, kind.protocol, *port);
            flows.clause(place, to, self.cookie, clause(1));
        }
        let whole = base.clone().with(Field::ConjId, id);
        self.add_outcomes(&whole, flows);
    }

    /// Zone 12 bits, rule 16 bits, family and protocol: one number per conjunction, the same
    /// whatever else is installed.
    fn conjunction(&self, kind: Kind) -> u32 {
        let kind = u32::from(kind.is_v6) << 1 | u32::from(kind.protocol == UDP);
        u32::from(self.zone) << 18 | u32::from(self.cookie.rule) << 2 | kind
    }
}

const _: () = assert!((super::ZONE_MAX as u32) < 1 << 12);

/// Both conditions at once; they ask about different fields.
fn joined(one: &Match, other: &Match) -> Match {
    let part =
        |matching: Match, f: &openflow::FieldMatch| matching.with_masked(f.field, f.value, f.mask);
    other.fields().iter().fold(one.clone(), part)
}

/// Which port of a packet.
#[derive(Clone, Copy)]
pub(super) enum PortEnd {
    Source,
    Target,
}

/// A match at each of the services' ports.
pub(super) fn services_of(to: &Match, services: &Services) -> Vec<Match> {
    services_at(to, services, PortEnd::Target)
}

/// A match at each of the services' ports, at one end.
pub(super) fn services_at(matching: &Match, services: &Services, end: PortEnd) -> Vec<Match> {
    let mut matches = Vec::new();
    for protocol in [TCP, UDP] {
        let of = matching.clone().ip_proto(protocol);
        let field = match (protocol, end) {
            (TCP, PortEnd::Source) => Field::TcpSrc,
            (TCP, PortEnd::Target) => Field::TcpDst,
            (_, PortEnd::Source) => Field::UdpSrc,
            (_, PortEnd::Target) => Field::UdpDst,
        };
        let ports = port_masks(ports_of(services, protocol));
        let at =
            |(value, mask): (u16, u16)| of.clone().with_masked(field, value.into(), mask.into());
        matches.extend(ports.into_iter().map(at));
    }
    matches
}

fn ports_of(services: &Services, protocol: u8) -> &Ports {
    match protocol {
        TCP => services.tcp(),
        _ => services.udp(),
    }
}

fn with_port(matching: &Match, protocol: u8, (value, mask): (u16, u16)) -> Match {
    let field = match protocol {
        TCP => Field::TcpDst,
        _ => Field::UdpDst,
    };
    matching
        .clone()
        .with_masked(field, value.into(), mask.into())
}

/// Ranges of ports as values and masks, the fewest that cover exactly them.
fn port_masks(ports: &Ports) -> Vec<(u16, u16)> {
    let mut masks = Vec::new();
    for &(first, last) in ports.ranges() {
        let (mut next, end) = (u32::from(first), u32::from(last) + 1);
        while next < end {
            // The largest aligned block that starts here and does not pass the end.
            let aligned = next.trailing_zeros().min(15);
            let fits = (end - next).ilog2();
            let size = 1u32 << aligned.min(fits);
            // Ports have 16 bits, and so have blocks of them.
            masks.push((next as u16, !(size - 1) as u16));
            next += size;
        }
    }
    masks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(ranges: &[(u16, u16)]) -> Vec<(u16, u16)> {
        port_masks(&Ports::new(ranges.iter().copied()).unwrap())
    }

    #[test]
    fn ports_become_the_fewest_masks() {
        assert_eq!(masks(&[(80, 80)]), [(80, 0xffff)]);
        assert_eq!(masks(&[(8000, 8003)]), [(8000, 0xfffc)]);
        assert_eq!(masks(&[(1, 65_535)]).len(), 16);
        assert_eq!(masks(&[(65_535, 65_535)]), [(65_535, 0xffff)]);
    }

    #[test]
    fn masks_cover_exactly_their_ports() {
        for (first, last) in [(1, 1), (5, 4097), (1000, 9999), (32_767, 65_535)] {
            let masks = masks(&[(first, last)]);
            for port in 0..=u16::MAX {
                let covering = masks.iter().filter(|(v, m)| port & m == *v).count();
                let inside = (first..=last).contains(&port);
                assert_eq!(covering, usize::from(inside), "{port} of {first}-{last}");
            }
        }
    }
}
