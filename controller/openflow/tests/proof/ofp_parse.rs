//! Open vSwitch's own decoder reads what we write, and says what we meant.

use std::process::Stdio;

use openflow::{
    Bucket, Flow, FlowCommand, FlowMod, GroupMod, Header, Instructions, Message, MeterMod,
    MultipartBody, Version,
};

use crate::debian::program;
use crate::random::Random;
use crate::seed;

/// How many messages are read in one call, and how many calls there are per version.
const BATCH: u32 = 400;
const BATCHES: u32 = 5;
/// How many failures are shown.
const SHOWN: usize = 5;

#[test]
fn open_vswitch_reads_what_we_mean() {
    let seed = seed();
    let mut failures = Vec::new();
    for batch in 0..2 * BATCHES {
        let version = if batch % 2 == 0 {
            Version::V15
        } else {
            Version::V13
        };
        let messages: Vec<_> = (0..BATCH)
            .map(|n| Random::new(seed ^ u64::from(batch << 16 | n), version).message())
            .collect();
        let mut stream = Vec::new();
        for (xid, message) in (1..).zip(&messages) {
            stream.extend(
                message
                    .emit(Header { version, xid })
                    .expect("it has a form"),
            );
        }
        let text = ofp_parse(&stream);
        for (xid, message) in (1..).zip(&messages) {
            let wrong = check(said_of(&text, xid), message);
            failures.extend(wrong.map(|wrong| format!("batch {batch}, message {xid}: {wrong}")));
        }
    }
    let count = failures.len();
    failures.truncate(SHOWN);
    assert!(
        count == 0,
        "seed {seed}: {count} failures: {}",
        failures.join("\n")
    );
}

/// What a match allows, Open vSwitch takes: any fields at all, as long as [`Match::check`] says yes.
#[test]
fn open_vswitch_takes_every_match_that_is_allowed() {
    let seed = seed();
    let mut failures = Vec::new();
    for version in [Version::V15, Version::V13] {
        let mut random = Random::new(seed, version);
        let matches: Vec<_> = (0..BATCH).map(|_| random.allowed_match()).collect();
        let mut stream = Vec::new();
        for (xid, matching) in (1..).zip(&matches) {
            let flow = Flow::new(1, 2, matching.clone(), Instructions::drop());
            let message = Message::FlowMod(FlowMod::add(flow));
            stream.extend(
                message
                    .emit(Header { version, xid })
                    .expect("it has a form"),
            );
        }
        let text = ofp_parse(&stream);
        for (xid, matching) in (1..).zip(&matches) {
            let said = said_of(&text, xid);
            if said.contains("***") || !said.contains(&matching.to_string()) {
                failures.push(format!("{version:?}: {matching}: {said}"));
            }
        }
    }
    let count = failures.len();
    failures.truncate(SHOWN);
    assert!(
        count == 0,
        "seed {seed}: {count} failures: {}",
        failures.join("\n")
    );
}

/// Open vSwitch's text of a stream of messages.
fn ofp_parse(stream: &[u8]) -> String {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let process = std::process::id();
    let thread = std::thread::current().id();
    let file = directory.join(format!("ofp-parse-{process}-{thread:?}"));
    std::fs::write(&file, stream).expect("a file to write");
    let output = program("ovs-ofctl", "openvswitch-common")
        .arg("ofp-parse")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("ovs-ofctl starts");
    std::fs::remove_file(&file).expect("the file to remove");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "ovs-ofctl: {errors}\n{text}");
    text
}

/// The part of the text that begins with a message's number and ends before the next one's.
fn said_of(text: &str, xid: u32) -> &str {
    let line_with = |xid: u32| {
        let place = text.find(&format!("(xid={xid:#x})"))?;
        Some(text[..place].rfind('\n').map_or(0, |end| end + 1))
    };
    let start = line_with(xid).unwrap_or_else(|| panic!("no message {xid} in\n{text}"));
    &text[start..line_with(xid + 1).unwrap_or(text.len())]
}

/// What is wrong with what Open vSwitch says, if anything.
fn check(said: &str, message: &Message) -> Option<String> {
    if said.contains("***") || said.contains("decode error") {
        return Some(format!("refused: {said}\n{message:?}"));
    }
    let missing = expected(message)
        .into_iter()
        .find(|expected| !said.contains(expected))?;
    Some(format!("no {missing:?} in\n{said}\n{message:?}"))
}

/// What Open vSwitch must say of a message.
fn expected(message: &Message) -> Vec<String> {
    match message {
        Message::FlowMod(flow_mod) => expected_of_flow_mod(flow_mod),
        Message::BundleAdd(add) => {
            let mut words = vec![format!("bundle_id={:#x}", add.id)];
            words.extend(expected(&add.message));
            words
        }
        Message::GroupMod(GroupMod::Add(g) | GroupMod::Modify(g) | GroupMod::AddOrModify(g)) => {
            let mut words = vec![format!("group_id={},", g.id)];
            words.extend(g.buckets.iter().flat_map(expected_of_bucket));
            words
        }
        Message::GroupMod(GroupMod::InsertBuckets { buckets, .. }) => {
            buckets.iter().flat_map(expected_of_bucket).collect()
        }
        Message::MeterMod(MeterMod::Add(meter) | MeterMod::Modify(meter)) => {
            let mut words = vec![format!("meter={} ", meter.id)];
            words.extend(meter.bands.iter().map(|band| format!("rate={}", band.rate)));
            words
        }
        Message::MultipartReply(reply) => expected_of_reply(&reply.body),
        Message::PacketIn(packet) => vec![
            format!("cookie={:#x}", packet.cookie),
            format!("total_len={} ", packet.total_len),
            packet.metadata.to_string(),
        ],
        Message::PacketIn2(packet) => {
            let cookie = packet.cookie.map(|cookie| format!("cookie={cookie:#x}"));
            cookie
                .into_iter()
                .chain([packet.metadata.to_string()])
                .collect()
        }
        Message::PacketOut(packet) => packet
            .actions
            .iter()
            .map(|action| action.to_string())
            .collect(),
        Message::PortStatus(status) => vec![format!("({})", status.port.name)],
        Message::FlowRemoved(removed) => vec![
            format!("cookie:{:#x}", removed.cookie),
            removed.key.matching.to_string(),
        ],
        Message::FeaturesReply(features) => vec![format!("dpid:{:016x}", features.datapath_id)],
        Message::ConntrackFlushZone(zone) => vec![format!("zone_id={zone}")],
        _ => Vec::new(),
    }
}

fn expected_of_flow_mod(flow_mod: &FlowMod) -> Vec<String> {
    let command = match flow_mod.command {
        FlowCommand::Add => "ADD",
        FlowCommand::Modify => "MOD",
        FlowCommand::ModifyStrict => "MOD_STRICT",
        FlowCommand::Delete => "DEL",
        FlowCommand::DeleteStrict => "DEL_STRICT",
    };
    let mut words = vec![format!(": {command} "), flow_mod.matching.to_string()];
    if flow_mod.command == FlowCommand::Add {
        words.push(format!("priority={}", flow_mod.priority));
        words.push(format!("cookie:{:#x} ", flow_mod.cookie));
        words.push(format!("actions={}\n", flow_mod.instructions));
    }
    words
}

fn expected_of_bucket(bucket: &Bucket) -> Vec<String> {
    let actions: Vec<_> = bucket.actions.iter().map(ToString::to_string).collect();
    vec![format!("actions={}", actions.join(","))]
}

fn expected_of_reply(body: &MultipartBody) -> Vec<String> {
    match body {
        MultipartBody::Flow(flows) => flows
            .iter()
            .flat_map(|stats| {
                let key = &stats.flow.key;
                let comma = if key.matching.is_empty() { "" } else { "," };
                vec![
                    format!("cookie={:#x},", stats.flow.cookie),
                    format!(
                        "priority={}{comma}{} actions={}",
                        key.priority, key.matching, stats.flow.instructions
                    ),
                ]
            })
            .collect(),
        MultipartBody::GroupDesc(groups) => groups
            .iter()
            .flat_map(|group| {
                let buckets = group.buckets.iter().flat_map(expected_of_bucket);
                buckets
                    .chain([format!("group_id={},", group.id)])
                    .collect::<Vec<_>>()
            })
            .collect(),
        MultipartBody::MeterConfig(meters) => meters
            .iter()
            .map(|meter| format!("meter={} ", meter.id))
            .collect(),
        MultipartBody::PortDesc(ports) => ports
            .iter()
            .map(|port| format!("({})", port.name))
            .collect(),
        MultipartBody::Desc(desc) => vec![desc.manufacturer.clone(), desc.serial_number.clone()],
        _ => Vec::new(),
    }
}
