//! Table `replica`: a live replica for a new connection, and the commit that pins it. Table
//! `summon`: the packet waits in the switch until the controller has woken one.

use openflow::{
    Action, Bucket, Conntrack, Field, Group, GroupKind, Instructions, Match, Selection, Subfield,
    ToController,
};

use super::compile::{Flows, control_meter, families, goto};
use super::cookie::{Class, Cookie, Deny};
use super::registers::{Label, OnRegisters, Register};
use super::{Application, DesiredState, Replica, Table};

const CHOSEN: u16 = 200;
const CHOOSE: u16 = 100;
const MISS: u16 = 0;

pub(super) fn compile(state: &DesiredState, flows: &mut Flows) {
    for (application, replica) in state.replicas() {
        commit(application, replica, flows);
    }
    for application in state.applications() {
        choose(application, flows);
        if application.sleeping {
            summon(application, flows);
        }
    }
    let miss = (Table::Replica, MISS);
    flows.deny(miss, Match::new(), Deny::NoReplica, 0);
}

fn commit(application: &Application, replica: &Replica, flows: &mut Flows) {
    let number = application.number.get();
    let remember = |source: Subfield, label: Label| Action::Move {
        source,
        target: label.subfield(),
    };
    let from = Subfield::new(Register::From.field(), 0, Label::From.subfield().bits());
    let exec = vec![
        Action::set(Field::CtMark, replica.number),
        remember(Subfield::whole(Field::EthSrc), Label::Opener),
        remember(Subfield::whole(Field::EthDst), Label::Intended),
        remember(
            from.expect("a register is wider than the label's part"),
            Label::From,
        ),
    ];
    let commit = Action::Conntrack(Conntrack::commit(application.zone, exec));
    let cookie = Cookie::of(Class::Commit, number);
    for family in families() {
        let chosen = family.application(number);
        let chosen = chosen.register(Register::Replica, replica.number);
        let instructions = goto(Table::Rewrite, [commit.clone()]);
        flows.add((Table::Replica, CHOSEN), chosen, cookie, instructions);
    }
}

fn choose(application: &Application, flows: &mut Flows) {
    let Some(group) = group(application) else {
        return;
    };
    let number = application.number.get();
    let open = Match::new().application(number);
    let open = open.register(Register::Replica, 0);
    let cookie = Cookie::of(Class::Replica, number);
    let instructions = Instructions::apply(vec![Action::Group(group.id)]);
    flows.add((Table::Replica, CHOOSE), open, cookie, instructions);
}

/// The group of an application's live replicas; None without any.
pub(super) fn group(application: &Application) -> Option<Group> {
    // A bucket is an action set, of which only one action leads on: the commit is in the table.
    let bucket = |replica: &Replica| {
        let chosen = Register::Replica.set(replica.number);
        let again = Action::resubmit(Table::Replica.number());
        Bucket::new(replica.number, 1, vec![chosen, again])
    };
    let buckets: Vec<Bucket> = application.live().map(bucket).collect();
    if buckets.is_empty() {
        return None;
    }
    // By who connects and from which port: MAC addresses, which Open vSwitch would hash too, are
    // the same for all clients behind one router.
    let fields = [Field::Ipv4Src, Field::TcpSrc, Field::UdpSrc, Field::Ipv6Src];
    let fields = fields.map(|field| (field, field.full_mask())).to_vec();
    Some(Group {
        id: application.zone.into(),
        kind: GroupKind::Select,
        buckets,
        selection: Some(Selection::Hash { basis: 0, fields }),
    })
}

/// The controller learns which application is asked for, wakes it and lets the packet go on, which
/// then finds the group.
fn summon(application: &Application, flows: &mut Flows) {
    let number = application.number.get();
    let wake = Action::Controller(ToController {
        userdata: number.to_be_bytes().to_vec(),
        pause: true,
        ..ToController::default()
    });
    let go_on = Action::resubmit(Table::Replica.number());
    let instructions = Instructions::apply(vec![control_meter(application), wake, go_on]);
    let asked = Match::new().application(number);
    let cookie = Cookie::of(Class::Summon, number);
    flows.add((Table::Summon, CHOOSE), asked, cookie, instructions);
}
