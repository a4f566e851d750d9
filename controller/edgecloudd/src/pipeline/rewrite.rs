//! Table `rewrite`: out of which port a packet goes, and with which MAC addresses. Both IP addresses
//! stay what they are.

use openflow::{Action, Field, Match, PortNumber, Subfield, mac};

use super::compile::{End, Flows, within};
use super::cookie::{Class, Cookie, Deny};
use super::desired::host_range;
use super::registers::{Exit, From, HOPS_MAX, Label, OnRegisters, Register};
use super::{DesiredState, METADATA, Table};

/// Priorities, highest first.
mod priority {
    pub(super) const HAIRPIN: u16 = 600;
    pub(super) const NEIGHBOUR: u16 = 500;
    pub(super) const SPOKEN: u16 = 400;
    pub(super) const HOST: u16 = 300;
    pub(super) const SIDE: u16 = 200;
    pub(super) const REST: u16 = 100;
}

/// The bit of a MAC address that says that it is a group's.
const GROUP: u128 = 1 << 40;

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    transit(state, flows);
    to_replicas(state, flows);
    departures(state, flows);
    answers(state, flows);
    crossings(flows);
}

fn out(ports: &[PortNumber]) -> Vec<Action> {
    ports.iter().copied().map(Action::output).collect()
}

fn add(flows: &mut Flows, level: u16, matching: Match, class: (Class, u32), actions: Vec<Action>) {
    let cookie = Cookie::of(class.0, class.1);
    let instructions = openflow::Instructions::apply(actions);
    flows.add((Table::Rewrite, level), matching, cookie, instructions);
}

/// What concerns no application crosses the host as if it were a cable with dom0 at its side.
fn transit(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let (access, backhaul, local) = (host.access, host.backhaul, PortNumber::LOCAL);
    // A port, the one whose MAC address is known and where it is, and where the rest goes.
    let sides = [
        (
            access,
            host.mac,
            local,
            vec![backhaul],
            vec![backhaul, local],
        ),
        (backhaul, host.mac, local, vec![access], vec![access, local]),
        (
            local,
            host.gateway,
            backhaul,
            vec![access, backhaul],
            vec![access, backhaul],
        ),
    ];
    for (port, known, there, rest, all) in sides {
        let from = Match::new().exit(Exit::Transit).in_port(port);
        let group = from.clone().with_masked(Field::EthDst, GROUP, GROUP);
        let class = (Class::Transit, 0);
        let known = from.clone().eth_dst(known);
        add(flows, priority::HOST, known, class, out(&[there]));
        add(flows, priority::SIDE, group, class, out(&all));
        add(flows, priority::REST, from, class, out(&rest));
    }
}

fn to_replicas(state: &DesiredState, flows: &mut Flows) {
    for (application, replica) in state.replicas() {
        let to = Match::new().exit(Exit::ToReplica);
        let to = to.register(Register::Replica, replica.number);
        let mut actions = vec![Action::set(Field::EthDst, mac(replica.mac))];
        actions.extend(out(&[replica.port]));
        let class = (Class::Deliver, application.number.get());
        add(flows, priority::REST, to, class, actions);
    }
}

/// What a domain sends in connections of its own.
fn departures(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let departs = || Match::new().exit(Exit::Depart);
    for (application, replica) in state.replicas() {
        let number = application.number.get();
        for address in &replica.addresses {
            let to = within(departs(), End::Target, &host_range(address));
            let hairpin = to.clone().application(number);
            let place = (Table::Rewrite, priority::HAIRPIN);
            flows.deny(place, hairpin, Deny::Hairpin, number);
            let class = (Class::Deliver, 0);
            add(flows, priority::NEIGHBOUR, to, class, cross());
        }
    }
    let metadata = METADATA.into();
    for address in host.addresses.iter().chain([&metadata]) {
        let to = within(departs(), End::Target, &host_range(address));
        let spoken = to.clone().register(Register::Spoken, 1);
        let mut actions = vec![Action::set(Field::EthDst, mac(host.mac))];
        actions.extend(out(&[PortNumber::LOCAL]));
        add(
            flows,
            priority::SPOKEN,
            spoken,
            (Class::Deliver, 0),
            actions,
        );
        flows.deny((Table::Rewrite, priority::HOST), to, Deny::Host, 0);
    }
    for range in &host.clients {
        let to = within(departs(), End::Target, range);
        let actions = out(&[host.access]);
        add(flows, priority::SIDE, to, (Class::Deliver, 0), actions);
    }
    let rest = out(&[host.backhaul]);
    add(flows, priority::REST, departs(), (Class::Deliver, 0), rest);
}

/// What a domain answers: with the MAC addresses that who asked expects, to where he is.
fn answers(state: &DesiredState, flows: &mut Flows) {
    let host = state.host();
    let restored = |label: Label, field: Field| Action::Move {
        source: label.subfield(),
        target: Subfield::whole(field),
    };
    let ways = [
        (From::Client, out(&[host.access])),
        (From::Visitor, out(&[host.access])),
        (From::Backhaul, out(&[host.backhaul])),
        (From::Host, out(&[PortNumber::LOCAL])),
        (From::Neighbour, cross()),
    ];
    // A "reply" in a connection that the domain itself opened.
    let place = (Table::Rewrite, priority::REST);
    let lie = Match::new().exit(Exit::Answer);
    flows.deny(place, lie, Deny::SpoofedAddress, 0);
    for (from, way) in ways {
        let asked = Label::From.subfield();
        let value = u128::from(from as u32) << asked.offset();
        let answers = Match::new().exit(Exit::Answer);
        let answers = answers.with_masked(Field::CtLabel, value, asked.mask());
        let mut actions = vec![
            restored(Label::Opener, Field::EthDst),
            restored(Label::Intended, Field::EthSrc),
        ];
        actions.extend(way);
        add(flows, priority::SIDE, answers, (Class::Deliver, 0), actions);
    }
}

fn cross() -> Vec<Action> {
    let exit = Register::Exit.set(Exit::Cross as u32);
    vec![exit, Action::resubmit(Table::Rewrite.number())]
}

/// From one domain to another: it arrives as a packet from a neighbour.
fn crossings(flows: &mut Flows) {
    let crosses = |hops: u32| {
        let crosses = Match::new().exit(Exit::Cross);
        crosses.register(Register::Hops, hops)
    };
    for hops in 1..=HOPS_MAX {
        let actions = vec![
            Register::Hops.set(hops - 1),
            Register::From.set(From::Neighbour as u32),
            Register::Spoken.set(0),
            Action::resubmit(Table::Track.number()),
        ];
        let class = (Class::Deliver, 0);
        add(flows, priority::REST, crosses(hops), class, actions);
    }
    flows.deny((Table::Rewrite, priority::REST), crosses(0), Deny::Hops, 0);
}
