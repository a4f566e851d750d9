//! Answers of a name server, from whoever can send datagrams: the first byte chooses the question, the
//! rest is the answer.

use std::net::IpAddr;

use edgecloud_runtime::net::dns::{Answer, RecordType, frame, parse, query, unframe};

use crate::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "dns",
    run,
    seeds,
};

const NAME: &str = "www.photos.example";
const ID: u16 = 0x1234;

fn run(data: &[u8]) {
    let mut input = Input(data);
    let kind = kind(input.byte());
    let response = input.0;
    if let Some(message) = unframe(response) {
        assert!(message.len() + 2 <= response.len());
    }
    match parse(response, NAME, kind, ID) {
        Ok(Answer::Addresses(addresses, _)) => {
            assert!(!addresses.is_empty());
            let right = |address: &IpAddr| address.is_ipv4() == (kind == RecordType::A);
            assert!(addresses.iter().all(right), "{addresses:?} for {kind:?}");
            // A record is ten bytes and more.
            assert!(addresses.len() <= response.len() / 10);
        }
        // The shell asks for it next, so it must be a name that can be asked for.
        Ok(Answer::Alias(name)) => {
            let asked = query(&name, kind, ID);
            assert!(
                asked.is_ok() || name.is_empty(),
                "alias {name:?}: {asked:?}"
            );
        }
        Ok(_) | Err(_) => {}
    }
}

fn kind(choice: u8) -> RecordType {
    if choice & 1 == 0 {
        RecordType::A
    } else {
        RecordType::Aaaa
    }
}

/// The question as an answer with these records.
fn answer(choice: u8, flags: u16, records: &[&[u8]]) -> Vec<u8> {
    let mut message = query(NAME, kind(choice), ID).unwrap_or_default();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[7] = records.len() as u8;
    message.extend(records.concat());
    [&[choice], &message[..]].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    const ADDRESS: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09";
    const ADDRESS_V6: &[u8] =
        b"\xc0\x0c\0\x1c\0\x01\0\0\0\x3c\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x09";
    const ALIAS: &[u8] = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x07\x04edge\xc0\x10";
    const OF_ALIAS: &[u8] = b"\xc0\x30\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x09";
    vec![
        answer(0, 0x8180, &[ADDRESS]),
        answer(1, 0x8180, &[ADDRESS_V6, ADDRESS_V6]),
        answer(0, 0x8180, &[ALIAS, OF_ALIAS]),
        answer(0, 0x8180, &[ALIAS]),
        answer(0, 0x8183, &[]),
        answer(0, 0x8380, &[]),
        [&[0], &frame(&answer(0, 0x8180, &[ADDRESS])[1..])[..]].concat(),
    ]
}
