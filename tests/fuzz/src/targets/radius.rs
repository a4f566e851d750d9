//! RADIUS: a packet as it comes by UDP. Its seeds are signed with a secret that the target does not have.

use auth_proxy::radius::packet::{Packet, Secret, attribute, code};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "radius",
    run,
    seeds,
};

/// RFC 2865, section 3.
const LENGTH: std::ops::Range<usize> = 2..4;
/// WISPr's, whose numbers say a session's rate.
const VENDOR: u32 = 14122;

fn run(bytes: &[u8]) {
    let Ok(packet) = Packet::parse(bytes) else {
        return;
    };
    let length = u16::from_be_bytes([bytes[LENGTH.start], bytes[LENGTH.end - 1]]);
    assert_eq!(packet.emit(), bytes[..usize::from(length)]);
    for number in 0..=u8::MAX {
        packet.number(number);
        packet.vendor_number(VENDOR, number);
    }
    // Nobody without the secret is believed.
    let secret = Secret::new("another");
    assert!(packet.check_request(&secret).is_err());
    for must_sign in [false, true] {
        let answered = packet.check_answer(&packet.authenticator, &secret, must_sign);
        assert!(answered.is_err());
    }
    // What is answered can be read and is believed by who asked.
    let answer = Packet {
        attributes: vec![],
        ..packet.clone()
    };
    let answer = answer.answer(&packet, &secret);
    let answer = Packet::parse(&answer).expect("what we make can be read");
    assert_eq!(answer.identifier, packet.identifier);
    let believed = answer.check_answer(&packet.authenticator, &secret, true);
    assert_eq!(believed, Ok(()));
}

fn seeds() -> Vec<Vec<u8>> {
    let secret = Secret::new("seed");
    let wispr = [
        &VENDOR.to_be_bytes()[..],
        &[8, 6],
        &1_000_000u32.to_be_bytes(),
    ]
    .concat();
    let attributes = vec![
        (attribute::USER_NAME, b"ada".to_vec()),
        (attribute::USER_PASSWORD, secret.hide(b"engine", &[1; 16])),
        (attribute::VENDOR_SPECIFIC, wispr),
    ];
    let codes = [
        code::ACCESS_REQUEST,
        code::ACCOUNTING_REQUEST,
        code::DISCONNECT_REQUEST,
        code::DISCONNECT_ACK,
    ];
    let of = |code| {
        let packet = Packet {
            code,
            identifier: 1,
            authenticator: [1; 16],
            attributes: attributes.clone(),
        };
        packet.request(&secret)
    };
    codes.into_iter().map(of).collect()
}
