//! What is written is read as it was, and written again the same.

use openflow::{Field, Flow, FlowMod, Header, Instructions, Match, Message, Version};

use crate::random::Random;
use crate::seed;

const CASES: u64 = 20_000;

#[test]
fn what_is_written_is_read_as_it_was() {
    let seed = seed();
    for case in 0..CASES {
        for version in [Version::V13, Version::V15] {
            let message = Random::new(seed ^ case, version).message();
            let header = Header {
                version,
                xid: case as u32,
            };
            let bytes = message
                .emit(header)
                .unwrap_or_else(|error| panic!("seed {seed} case {case}: {error}: {message:#?}"));
            let (read_header, read) = Message::parse(&bytes).unwrap_or_else(|error| {
                panic!("seed {seed} case {case}: {error}: {message:#?}\n{bytes:02x?}")
            });
            assert_eq!(read, message, "seed {seed} case {case}");
            if !matches!(message, Message::Hello(_)) {
                assert_eq!(read_header, header, "seed {seed} case {case}");
            }
            assert_eq!(
                read.emit(header).as_ref(),
                Ok(&bytes),
                "seed {seed} case {case}"
            );
        }
    }
}

/// Every field there is, in a flow of its own with what it depends on.
#[test]
fn every_field_is_read_as_it_was() {
    let packets = [
        Match::new(),
        Match::new().vlan(5),
        Match::new().arp(),
        Match::new().ipv4().ip_proto(6),
        Match::new().ipv4().ip_proto(17),
        Match::new().ipv4().ip_proto(132),
        Match::new().ipv4().ip_proto(1),
        Match::new()
            .ipv6()
            .ip_proto(58)
            .with(Field::Icmpv6Type, 135u8),
        Match::new()
            .ipv6()
            .ip_proto(58)
            .with(Field::Icmpv6Type, 136u8),
        Match::new().eth_type(0x8847),
        Match::new().eth_type(0x88e7),
        Match::new().ipv4().ct_state(0x22, 0),
        Match::new().ipv6().ct_state(0x22, 0),
        Match::new().ct_state(0x22, 0).with(Field::CtNwProto, 6u8),
    ];
    let mut tried = 0;
    for field in Field::ALL {
        let with = |packet: &Match| {
            let mut matching = packet.clone();
            let value = packet
                .get(*field)
                .map_or(field.full_mask(), |field| field.value);
            matching.set(*field, value, field.full_mask()).ok()?;
            matching.check().ok().map(|()| matching)
        };
        let Some(matching) = packets.iter().find_map(with) else {
            assert_eq!(*field, Field::VlanTci, "no packet has it");
            continue;
        };
        for version in [Version::V13, Version::V15] {
            let flow = Flow::new(1, 2, matching.clone(), Instructions::drop());
            let message = Message::FlowMod(FlowMod::add(flow));
            let bytes = message
                .emit(Header { version, xid: 1 })
                .expect("it has a form");
            assert_eq!(Message::parse(&bytes).map(|(_, read)| read), Ok(message));
            tried += 1;
        }
    }
    assert_eq!(tried, 2 * (Field::ALL.len() - 1));
}
