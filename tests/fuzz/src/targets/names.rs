//! DNS as the host's resolver meets it: the bytes are a domain's question, and a server's answer.

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "names",
    run: edgecloudd::resolver::fuzz,
    seeds,
};

/// RFC 1035, section 4.1: the head with one question, and as many answers.
fn message(flags: [u8; 2], answers: &[&[u8]]) -> Vec<u8> {
    let count = answers.len() as u8;
    let head = [0, 7, flags[0], flags[1], 0, 1, 0, count, 0, 0, 0, 0];
    let question = b"\x03www\x06photos\x07example\0\0\x01\0\x01";
    [&head[..], question, &answers.concat()].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    // An alias of the name at 12, for what follows the record's own head; then its addresses.
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x07\x04edge\xc0\x10";
    let address = b"\xc0\x30\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x07";
    let own = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\x01\x01";
    vec![
        message([1, 0], &[]),
        message([0x81, 0x80], &[own]),
        message([0x81, 0x80], &[alias, address]),
        message([0x81, 0x83], &[]),
    ]
}
