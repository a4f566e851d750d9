//! A running Open vSwitch takes what we send, and tells it back as it was.

use std::collections::BTreeMap;

use openflow::*;

use crate::random::Random;
use crate::seed;
use crate::switch::{Connection, Switch};

const FLOWS: usize = 400;
const GROUPS: u32 = 20;
const METERS: u32 = 10;
const BUNDLE: u32 = 7;

#[test]
fn a_switch_tells_back_what_it_was_sent() {
    let seed = seed();
    let switch = Switch::start();
    for version in [Version::V15, Version::V13] {
        let mut connection = switch.connect(version);
        let features = connection.ask(&Message::FeaturesRequest);
        assert!(
            matches!(features, Message::FeaturesReply(f) if f.tables == 254),
            "{features:?}"
        );
        let echo = connection.ask(&Message::EchoRequest(b"there?".to_vec()));
        assert_eq!(echo, Message::EchoReply(b"there?".to_vec()));
        install_and_compare(&mut connection, seed, version);
        clear(&mut connection);
    }
}

fn install_and_compare(connection: &mut Connection, seed: u64, version: Version) {
    let mut random = Random::new(seed, version);
    let meters: Vec<_> = (1..=METERS).map(|id| meter(&mut random, id)).collect();
    let groups: Vec<_> = (1..=GROUPS)
        .map(|id| Group {
            id,
            ..random.group()
        })
        .collect();
    let flows = flows(&mut random);
    // Open vSwitch has no meters in bundles.
    for meter in &meters {
        connection.send(&Message::MeterMod(MeterMod::Add(meter.clone())));
    }
    let barrier = connection.ask(&Message::BarrierRequest);
    assert_eq!(barrier, Message::BarrierReply);

    let adds = groups
        .iter()
        .map(|group| Message::GroupMod(GroupMod::Add(group.clone())));
    let flow_mods = flows
        .values()
        .map(|flow| Message::FlowMod(FlowMod::add(flow.clone())));
    commit(connection, adds.chain(flow_mods).collect());

    let told = dump(connection, MultipartRequest::MeterConfig(Meter::ALL));
    compare_meters(told, meters, seed);
    let told = dump(connection, MultipartRequest::GroupDesc(Group::ALL));
    compare_groups(told, groups, seed);
    let told = dump(connection, MultipartRequest::Flow(FlowStatsRequest::all()));
    compare_flows(told, flows, seed);
}

fn control(connection: &mut Connection, step: BundleStep, done: BundleStep) {
    let flags = BundleFlags::ATOMIC_ORDERED;
    let answer = connection.ask(&Message::BundleControl(BundleControl {
        id: BUNDLE,
        step,
        flags,
    }));
    // Open vSwitch leaves the flags out of its answers.
    let is_done = |c: &BundleControl| c.id == BUNDLE && c.step == done;
    assert!(
        matches!(&answer, Message::BundleControl(c) if is_done(c)),
        "{answer:?}"
    );
}

fn commit(connection: &mut Connection, messages: Vec<Message>) {
    control(connection, BundleStep::OpenRequest, BundleStep::OpenReply);
    for message in messages {
        let flags = BundleFlags::ATOMIC_ORDERED;
        let message = Box::new(message);
        connection.send(&Message::BundleAdd(BundleAdd {
            id: BUNDLE,
            flags,
            message,
        }));
    }
    control(
        connection,
        BundleStep::CommitRequest,
        BundleStep::CommitReply,
    );
}

/// The parts of an answer.
fn dump(connection: &mut Connection, request: MultipartRequest) -> Vec<MultipartBody> {
    let xid = connection.send(&Message::MultipartRequest(request));
    let mut parts = Vec::new();
    loop {
        let answer = connection.answer(xid);
        let Message::MultipartReply(reply) = answer else {
            panic!("not told: {answer:?}")
        };
        parts.push(reply.body);
        if !reply.more {
            return parts;
        }
    }
}

/// A meter that drops: the userspace datapath has no other band.
fn meter(random: &mut Random, id: u32) -> Meter {
    let mut meter = Meter {
        id,
        ..random.meter()
    };
    meter
        .bands
        .iter_mut()
        .for_each(|band| band.action = BandAction::Drop);
    meter
}

/// Random flows that use only the groups and meters that there are.
fn flows(random: &mut Random) -> BTreeMap<FlowKey, Flow> {
    (0..FLOWS)
        .map(|_| {
            let mut flow = random.flow();
            let instructions = &mut flow.instructions;
            instructions.meter = instructions.meter.map(|id| id % METERS + 1);
            instructions.apply.iter_mut().for_each(use_what_is_there);
            (flow.key.clone(), flow)
        })
        .collect()
}

fn use_what_is_there(action: &mut Action) {
    match action {
        Action::Group(id) => *id = *id % GROUPS + 1,
        Action::Meter(id) => *id = *id % METERS + 1,
        Action::Controller(controller) => {
            controller.meter = controller.meter.map(|id| id % METERS + 1);
        }
        _ => {}
    }
}

fn compare_meters(told: Vec<MultipartBody>, sent: Vec<Meter>, seed: u64) {
    let mut meters = Vec::new();
    for body in told {
        let MultipartBody::MeterConfig(part) = body else {
            panic!("not meters: {body:?}")
        };
        meters.extend(part);
    }
    meters.sort_by_key(|meter| meter.id);
    assert_eq!(meters, sent, "seed {seed}");
}

fn compare_groups(told: Vec<MultipartBody>, sent: Vec<Group>, seed: u64) {
    let mut groups = BTreeMap::new();
    for body in told {
        let MultipartBody::GroupDesc(part) = body else {
            panic!("not groups: {body:?}")
        };
        groups.extend(part.into_iter().map(|group| (group.id, group)));
    }
    for group in sent {
        assert_eq!(groups.remove(&group.id), Some(group), "seed {seed}");
    }
    assert!(groups.is_empty(), "seed {seed}: {groups:?}");
}

fn compare_flows(told: Vec<MultipartBody>, sent: BTreeMap<FlowKey, Flow>, seed: u64) {
    let mut flows = BTreeMap::new();
    for body in told {
        let MultipartBody::Flow(part) = body else {
            panic!("not flows: {body:?}")
        };
        flows.extend(
            part.into_iter()
                .map(|stats| (stats.flow.key.clone(), stats.flow)),
        );
    }
    for (key, flow) in sent {
        let told = flows.remove(&key);
        assert_eq!(
            told.as_ref(),
            Some(&flow),
            "seed {seed}: {flow}\n{}",
            key.matching
        );
    }
    assert!(flows.is_empty(), "seed {seed}: {flows:?}");
}

fn clear(connection: &mut Connection) {
    connection.send(&Message::FlowMod(FlowMod::delete_by_cookie(0, 0)));
    connection.send(&Message::GroupMod(GroupMod::Delete(Group::ALL)));
    connection.send(&Message::MeterMod(MeterMod::Delete(Meter::ALL)));
    let told = dump(
        connection,
        MultipartRequest::Aggregate(FlowStatsRequest::all()),
    );
    assert!(
        matches!(told[..], [MultipartBody::Aggregate(c)] if c.flows == Some(0)),
        "{told:?}"
    );
}
