//! Table `established`: a connection with a verdict keeps it, whatever rules and names say by now.
//!
//! The verdict is `ct_mark`, not the tracker's word `est`: a repeated SYN is still `new`, and must
//! reach the replica that the first one reached.

use openflow::{Field, Match, conntrack_state};

use super::compile::{Flows, families, goto, leave, rate_meter};
use super::control::echo;
use super::cookie::{Class, Cookie, Deny};
use super::registers::{Exit, From, OnRegisters, Register};
use super::{Application, DesiredState, Replica, ReplicaState, Table};

/// Priorities, highest first.
mod priority {
    pub(super) const PINNED: u16 = 300;
    pub(super) const LIE: u16 = 200;
    pub(super) const OPENING: u16 = 100;
    pub(super) const MISS: u16 = 0;
}

/// `tcp_flags` of a packet that begins a connection: SYN set, ACK clear.
const SYN: u128 = 0x02;
const SYN_ACK: u128 = 0x12;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Which way a packet goes in its connection.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Original,
    Reply,
}

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    for (application, replica) in state.replicas() {
        pinned(application, replica, flows);
    }
    super::onward::follows(state, (Table::Established, priority::PINNED), flows);
    for application in state.applications() {
        let number = application.number.get();
        let lie = Match::new().from(From::Foreign).application(number);
        let place = (Table::Established, priority::LIE);
        flows.deny(place, lie, Deny::SpoofedAddress, number);
    }
    openings(flows);
}

pub(super) fn going(matching: Match, way: Way) -> Match {
    use conntrack_state::{INVALID, REPLY, TRACKED};
    match way {
        Way::Original => matching.ct_state(TRACKED, REPLY | INVALID),
        Way::Reply => matching.ct_state(TRACKED | REPLY, INVALID),
    }
}

fn pinned(application: &Application, replica: &Replica, flows: &mut Flows) {
    let number = application.number.get();
    let marked = Match::new().application(number);
    let marked = marked.with(Field::CtMark, replica.number);
    let mut add = |matching: Match, way: Way, exit: Exit| {
        let mut instructions = leave(exit);
        let apply = &mut instructions.apply;
        apply.insert(0, Register::Replica.set(replica.number));
        apply.splice(0..0, rate_meter(application));
        let place = (Table::Established, priority::PINNED);
        let cookie = Cookie::of(Class::Established, number);
        flows.add(place, going(matching, way), cookie, instructions);
    };
    // Dom0 goes on asking a replica that failed how it is; its clients go elsewhere.
    let opener = match replica.state {
        ReplicaState::Failed => marked.clone().from(From::Host),
        _ => marked.clone().came_from_outside(),
    };
    add(opener, Way::Original, Exit::ToReplica);
    add(
        marked.clone().came_from_outside(),
        Way::Reply,
        Exit::ToReplica,
    );
    let own = marked.register(Register::Replica, replica.number);
    let sent = own.clone().from(From::Replica);
    add(sent.clone(), Way::Original, Exit::Depart);
    add(sent, Way::Reply, Exit::Answer);
    // An intercepted client is answered from the address that it meant.
    add(own.from(From::Foreign), Way::Reply, Exit::Answer);
}

/// What may begin a connection. A TCP segment in the middle of one that is not known belongs to a
/// connection that began before the redirect did: to redirect it would reset it.
fn openings(flows: &mut Flows) {
    let place = (Table::Established, priority::OPENING);
    let cookie = Cookie::host(Class::Track);
    let begins = |matching: Match| going(matching, Way::Original);
    let rules = |opening: u32| goto(Table::Rules, [Register::Opening.set(opening)]);
    for family in families() {
        let tcp = begins(family.clone().ip_proto(TCP));
        let syn = tcp.with_masked(Field::TcpFlags, SYN, SYN_ACK);
        flows.add(place, syn, cookie, rules(1));
        flows.add(place, begins(family.ip_proto(UDP)), cookie, rules(1));
    }
    for request in echo(Match::new()) {
        flows.add(place, begins(request), cookie, rules(1));
    }
    let miss = (Table::Established, priority::MISS);
    flows.add(miss, Match::new(), cookie, rules(0));
}
