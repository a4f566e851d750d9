//! Configuration from the network, against whoever answers: a stack that asks for an address by DHCP and
//! listens to routers. The input is a list of steps: a DHCP reply to the stack's own question (its id is
//! filled in), a router advertisement, a raw frame, time.

use std::net::IpAddr;

use edgecloud_runtime::net::{RxChecksum, RxMeta};

use super::network::{BROADCAST_MAC, PEER_MAC, Victim, ethernet, ipv4, udp};
use crate::Target;
use crate::input::Input;

pub(super) const TARGET: Target = Target {
    name: "dhcp",
    run,
    seeds,
};

/// Most addresses an interface may get from strangers: smoltcp's list has room for eight.
const ADDRESSES_MAX: usize = 10;
/// Where the options begin in a BOOTP message (RFC 2131 §2).
const OPTIONS: usize = 236;
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn run(data: &[u8]) {
    let mut victim = Victim::new("ip=dhcp,ip=auto".parse().expect("a configuration"));
    let mut input = Input(data);
    let mut id = [0; 4];
    while !input.is_empty() {
        if let Some(asked) = victim
            .device
            .frames
            .iter()
            .rev()
            .find_map(|frame| question(frame))
        {
            id = asked;
        }
        match input.byte() % 4 {
            0 => victim.receive(VERIFIED, &reply(id, &mut input)),
            1 => victim.receive(VERIFIED, &advertisement(&mut input)),
            2 => victim.receive(RxMeta::default(), input.piece()),
            _ => victim.pass(u64::from(input.short()) * 100),
        }
        let addresses = victim.addresses();
        assert!(addresses.len() <= ADDRESSES_MAX, "{addresses:?}");
        for (address, _) in addresses {
            let impossible = match address {
                IpAddr::V4(v4) => v4.is_broadcast() || v4.is_multicast() || v4.is_unspecified(),
                IpAddr::V6(v6) => v6.is_multicast() || v6.is_unspecified(),
            };
            assert!(!impossible, "has the address {address}");
        }
    }
}

const VERIFIED: RxMeta = RxMeta {
    checksum: RxChecksum::Verified,
    gso_size: None,
};

/// The id of a DHCP question.
fn question(frame: &[u8]) -> Option<[u8; 4]> {
    let ports = frame.get(34..38)?;
    (frame.get(12..14)? == [8, 0] && ports == [0, 68, 0, 67])
        .then(|| frame.get(46..50)?.try_into().ok())?
}

/// A reply: an address, a kind, then options as the input has them.
fn reply(id: [u8; 4], input: &mut Input) -> Vec<u8> {
    let mut message = vec![0; OPTIONS];
    message[..3].copy_from_slice(&[2, 1, 6]);
    message[4..8].copy_from_slice(&id);
    message[16..20].copy_from_slice(&input.word().to_be_bytes());
    message[28..34].copy_from_slice(&CLIENT_MAC);
    message.extend([99, 130, 83, 99, 53, 1, input.byte()]);
    message.extend(input.piece());
    message.push(255);
    let datagram = udp([67, 68], &message);
    let packet = ipv4(
        [10, 0, 0, 1].into(),
        [255; 4].into(),
        17,
        [0, 0],
        0,
        &datagram,
    );
    ethernet(BROADCAST_MAC, PEER_MAC, 0x0800, &packet)
}

/// A router advertisement from fe80::1 to all nodes with options as the input has them.
fn advertisement(input: &mut Input) -> Vec<u8> {
    let mut body = vec![64, input.byte()];
    body.extend(input.short().to_be_bytes());
    body.extend([0; 8]);
    body.extend(input.piece());
    super::network::router_message(&body)
}

fn seeds() -> Vec<Vec<u8>> {
    let offer = |kind: u8| {
        let mut step = vec![0, 10, 0, 0, 77, kind];
        let options: &[u8] = &[
            1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 1, 51, 4, 0, 0, 1, 0, 54, 4,
            10, 0, 0, 1,
        ];
        step.extend((options.len() as u16).to_be_bytes());
        step.extend(options);
        step
    };
    // Source link-layer address, MTU, and a prefix from which addresses are formed.
    let mut router = vec![
        1, 0, 7, 8, 0, 48, 1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 0,
    ];
    router.extend([3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0]);
    router.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let wait: &[u8] = &[3, 0, 50];
    vec![
        [
            wait,
            &offer(2),
            wait,
            &offer(5),
            wait,
            &[3, 8, 0],
            &offer(6),
        ]
        .concat(),
        [wait, &router, wait, &router, &[3, 255, 255]].concat(),
    ]
}
