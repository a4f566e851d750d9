//! What is sent, in which order, and that it is what Open vSwitch reads.

use edgecloudd::pipeline::{Deny, Installed, ReplicaState::Live, Table, compile, difference};
use openflow::{FlowCommand, GroupMod, Message, MeterMod};

use crate::world::*;

/// Where in a bundle a message may stand.
fn stage(message: &Message) -> u8 {
    match message {
        Message::MeterMod(MeterMod::Add(_) | MeterMod::Modify(_)) => 0,
        Message::GroupMod(GroupMod::Add(_) | GroupMod::Modify(_)) => 1,
        Message::FlowMod(flow_mod) if flow_mod.command == FlowCommand::Add => 2,
        Message::FlowMod(_) => 3,
        Message::GroupMod(_) => 4,
        Message::MeterMod(_) => 5,
        other => panic!("{other:?} in a bundle"),
    }
}

#[test]
fn additions_come_first_and_what_is_used_stays_until_unused() {
    let one = compile(&World::photos(&[Live]).state);
    let other = application(9, PHOTOS, vec![replica(4, Live)]);
    let two = compile(&World::new(vec![other], photo_names()).state);
    let nothing = Installed::default();
    for (from, to) in [(&nothing, &one), (&one, &two), (&two, &nothing)] {
        let changes = difference(from, to);
        let stages: Vec<u8> = changes.messages.iter().map(stage).collect();
        assert!(!stages.is_empty() && stages.is_sorted(), "{stages:?}");
    }
    assert!(difference(&one, &one).is_empty());
}

#[test]
fn a_bundle_that_cannot_be_done_does_nothing() {
    let mut world = World::photos(&[Live]);
    let before = world.switch.dump();
    let mut changes = difference(&before, &Installed::default());
    let last = changes.messages.last().cloned().unwrap();
    changes.messages.push(last);
    assert!(world.switch.bundle(&changes).is_err());
    assert_eq!(world.switch.dump(), before);
}

#[test]
fn compiling_is_deterministic_and_every_flow_says_whose_it_is() {
    let mut all = World::photos(&[Live, Live]).state.applications().to_vec();
    all.push(application(
        8,
        "[[admit]]\nfrom = \"clients\"\n",
        vec![replica(5, Live)],
    ));
    let world = World::new(all, photo_names());
    let installed = compile(&world.state);
    assert_eq!(installed, compile(&world.state));
    let mut reasons = std::collections::BTreeSet::new();
    for flow in installed.flows.values() {
        assert!(Table::with_number(flow.key.table).is_some(), "{flow}");
        let cookie = edgecloudd::pipeline::Cookie::with_number(flow.cookie);
        let cookie = cookie.unwrap_or_else(|| panic!("{flow}"));
        if let edgecloudd::pipeline::Class::Deny(reason) = cookie.class {
            assert!(flow.instructions.apply.is_empty(), "{flow}");
            reasons.insert(reason);
        }
    }
    assert_eq!(reasons.len(), Deny::ALL.len(), "{reasons:?}");
}
