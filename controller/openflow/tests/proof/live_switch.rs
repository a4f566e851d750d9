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

#[test]
fn a_switch_answers_every_question() {
    let switch = Switch::start();
    for version in [Version::V15, Version::V13] {
        let mut connection = switch.connect(version);
        install_one_of_each(&mut connection);
        let flow = FlowStatsRequest::all();
        let answer = |connection: &mut Connection, request| dump(connection, request).remove(0);
        let c = &mut connection;
        let desc = answer(c, MultipartRequest::Desc);
        assert!(
            matches!(&desc, MultipartBody::Desc(d) if d.hardware == "Open vSwitch"),
            "{desc:?}"
        );
        let flows = answer(c, MultipartRequest::Flow(flow.clone()));
        assert!(
            matches!(&flows, MultipartBody::Flow(f) if f.len() == 1),
            "{flows:?}"
        );
        let sum = answer(c, MultipartRequest::Aggregate(flow));
        assert!(
            matches!(&sum, MultipartBody::Aggregate(s) if s.packets == Some(0)),
            "{sum:?}"
        );
        let tables = answer(c, MultipartRequest::Table);
        assert!(
            matches!(&tables, MultipartBody::Table(t) if t[1].active == 1),
            "{tables:?}"
        );
        let ports = answer(c, MultipartRequest::PortDesc(PortNumber::ANY));
        assert!(
            matches!(&ports, MultipartBody::PortDesc(p) if p[0].name == "br0"),
            "{ports:?}"
        );
        let counts = answer(c, MultipartRequest::Port(PortNumber::LOCAL));
        assert!(
            matches!(&counts, MultipartBody::Port(p) if p.len() == 1),
            "{counts:?}"
        );
        let groups = answer(c, MultipartRequest::Group(Group::ALL));
        let is_used = |g: &Vec<multipart::GroupStats>| g[0].references == 1 && g[0].id == 3;
        assert!(
            matches!(&groups, MultipartBody::Group(g) if is_used(g)),
            "{groups:?}"
        );
        let meters = answer(c, MultipartRequest::Meter(Meter::ALL));
        assert!(
            matches!(&meters, MultipartBody::Meter(m) if m[0].id == 4),
            "{meters:?}"
        );
        ask_the_rest(c, version);
        clear(c);
    }
}

fn install_one_of_each(connection: &mut Connection) {
    let bucket = Bucket::new(0, 1, vec![Action::output(PortNumber::LOCAL)]);
    let buckets = vec![bucket];
    let group = Group {
        id: 3,
        kind: GroupKind::Select,
        buckets,
        selection: None,
    };
    connection.send(&Message::GroupMod(GroupMod::Add(group)));
    connection.send(&Message::MeterMod(MeterMod::Add(Meter::limit_kbps(
        4, 1000, 100,
    ))));
    let to_group = Instructions::apply(vec![Action::Group(3)]);
    let flow = Flow::new(1, 1, Match::new().arp(), to_group);
    connection.send(&Message::FlowMod(FlowMod::add(flow)));
}

fn ask_the_rest(connection: &mut Connection, version: Version) {
    let role = RoleMessage {
        role: Role::Master,
        generation: 1,
    };
    let answer = connection.ask(&Message::RoleRequest(role));
    assert_eq!(answer, Message::RoleReply(role));
    let config = connection.ask(&Message::GetConfigRequest);
    assert!(matches!(config, Message::GetConfigReply(_)), "{config:?}");
    let some = Some(Reasons {
        master: 1,
        slave: 0,
    });
    let wanted = AsyncConfig {
        packet_in: some,
        port_status: some,
        flow_removed: some,
        ..AsyncConfig::default()
    };
    connection.send(&Message::SetAsync(wanted));
    let told = connection.ask(&Message::GetAsyncRequest);
    assert!(
        matches!(told, Message::GetAsyncReply(t) if t.packet_in == some),
        "{told:?}"
    );
    connection.send(&Message::ConntrackFlushZone(9));
    let mut flush = ConntrackFlush {
        zone: Some(9),
        ..ConntrackFlush::default()
    };
    connection.send(&Message::ConntrackFlush(flush.clone()));
    flush.original.source = Some("::ffff:192.0.2.1".parse().expect("an address"));
    connection.send(&Message::ConntrackFlush(flush));
    // A refusal of any of these would come before this answer, and end the test.
    assert_eq!(
        connection.ask(&Message::BarrierRequest),
        Message::BarrierReply
    );
    if version == Version::V15 {
        watch_flows(connection);
    }
    let wrong = FlowMod::add(Flow::new(1, 1, Match::new(), Instructions::goto(0)));
    let answer = connection.ask(&Message::FlowMod(wrong));
    let Message::Error(error) = answer else {
        panic!("not refused: {answer:?}")
    };
    assert_eq!(error.name(), Some(("BAD_INSTRUCTION", "BAD_TABLE_ID")));
}

fn watch_flows(connection: &mut Connection) {
    use multipart::{FlowMonitorCommand, FlowMonitorRequest, FlowUpdate, monitor_flags as flags};
    let request = FlowMonitorRequest {
        id: 1,
        out_port: PortNumber::ANY,
        out_group: FlowMod::ANY_GROUP,
        flags: flags::INITIAL | flags::ADD | flags::INSTRUCTIONS,
        table: FlowMod::ALL_TABLES,
        command: FlowMonitorCommand::Add,
        matching: Match::new(),
    };
    let told = dump(connection, MultipartRequest::FlowMonitor(vec![request]));
    let [MultipartBody::FlowMonitor(updates)] = &told[..] else {
        panic!("not told: {told:?}")
    };
    let to_group = Instructions::apply(vec![Action::Group(3)]);
    let is_the_flow = |update: &FlowUpdate| matches!(update, FlowUpdate::Full { instructions, .. } if *instructions == to_group);
    assert!(
        updates.len() == 1 && is_the_flow(&updates[0]),
        "{updates:?}"
    );
}

/// A packet is held for the controller and goes on when the controller says so.
#[test]
fn a_packet_is_held_and_goes_on() {
    let switch = Switch::start();
    for version in [Version::V15, Version::V13] {
        let mut connection = switch.connect(version);
        // Open vSwitch sends no packets to its management socket until it is told how much.
        let config = SwitchConfig {
            flags: 0,
            miss_send_len: NO_BUFFER,
        };
        connection.send(&Message::SetConfig(config));
        // NXT_PACKET_IN2.
        connection.send(&Message::SetPacketInFormat(2));
        let hold = ToController {
            pause: true,
            userdata: vec![1, 2, 3],
            ..Default::default()
        };
        let actions = vec![
            Action::set(Field::Reg3, 77u8),
            Action::Controller(hold),
            Action::resubmit(1),
        ];
        let held = Flow::new(0, 1, Match::new(), Instructions::apply(actions));
        let on = Match::new().with(Field::Reg3, 77u8);
        let on = Flow::new(1, 1, on, Instructions::drop()).with_cookie(0x60);
        connection.send(&Message::FlowMod(FlowMod::add(held)));
        connection.send(&Message::FlowMod(FlowMod::add(on)));

        let mut frame = vec![0x02; 12];
        frame.extend([0x88, 0xcc]);
        frame.resize(64, 0xee);
        let to_tables = vec![Action::output(PortNumber::TABLE)];
        let packet = PacketOut::new(PortNumber::LOCAL, to_tables, frame.clone());
        connection.send(&Message::PacketOut(packet));
        let held = loop {
            let (_, message) = connection.receive();
            if let Message::PacketIn2(held) = message {
                break held;
            }
            assert!(!matches!(message, Message::Error(_)), "{message:?}");
        };
        assert_eq!(held.packet, frame);
        assert_eq!(held.userdata, [1, 2, 3]);
        assert_eq!(
            held.metadata.get(Field::Reg3).map(|reg| reg.value),
            Some(77)
        );
        let port = held.metadata.get(Field::InPort).map(|port| port.value);
        assert_eq!(port, Some(PortNumber::LOCAL.0.into()));
        assert!(held.continuation.is_some());

        assert_eq!(packets_of(&mut connection, 0x60), Some(0));
        connection.send(&Message::Resume(held));
        assert_eq!(
            connection.ask(&Message::BarrierRequest),
            Message::BarrierReply
        );
        assert_eq!(packets_of(&mut connection, 0x60), Some(1));
        clear(&mut connection);
    }
}

fn packets_of(connection: &mut Connection, cookie: u64) -> Option<u64> {
    let cookie_mask = u64::MAX;
    let request = FlowStatsRequest {
        cookie,
        cookie_mask,
        ..FlowStatsRequest::all()
    };
    let told = dump(connection, MultipartRequest::Aggregate(request));
    let [MultipartBody::Aggregate(counters)] = told[..] else {
        panic!("not told: {told:?}")
    };
    counters.packets
}
