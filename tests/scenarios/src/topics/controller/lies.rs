//! Frames that a domain may not send, with the reason for which each is dropped.

use std::net::Ipv4Addr;

/// Dom0's address, a client's, and the router's Ethernet address.
const DOM0: [u8; 4] = [10, 0, 1, 1];
const SOMEBODY: [u8; 4] = [10, 0, 0, 5];
const METADATA: [u8; 4] = [169, 254, 169, 254];
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Who lies, and about whom.
pub(super) struct Liar {
    pub(super) mac: [u8; 6],
    pub(super) address: Ipv4Addr,
    pub(super) neighbour: Ipv4Addr,
}

/// The lies: the reason's name, and a frame.
pub(super) fn lies(liar: &Liar) -> Vec<(&'static str, Vec<u8>)> {
    let own = liar.mac;
    let (address, neighbour) = (liar.address.octets(), liar.neighbour.octets());
    let other = [2, 0, 0, 0, 0, 0x99];
    vec![
        ("spoofed-mac", udp(other, address, SOMEBODY, [9, 9])),
        ("tagged", frame(own, 0x8100, &[0, 5, 8, 0])),
        ("other-protocol", frame(own, 0x88cc, &[0; 40])),
        ("spoofed-arp", arp(2, own, DOM0, SOMEBODY)),
        ("spoofed-arp", arp(2, own, neighbour, SOMEBODY)),
        ("own-address", arp(1, own, address, address)),
        ("spoofed-neighbour", advertisement(own)),
        ("spoofed-address", udp(own, neighbour, SOMEBODY, [9, 9])),
        ("spoofed-address", udp(own, neighbour, METADATA, [9, 80])),
        ("not-spoken", udp(own, [0; 4], [255; 4], [68, 67])),
        ("unspoken", udp(own, address, SOMEBODY, [9, 9])),
        ("unspoken", udp(own, address, DOM0, [9, 9])),
    ]
}

fn frame(source: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [GATEWAY, source].concat();
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// ARP (RFC 826): a request or a reply, about who sends and who is meant.
fn arp(operation: u8, own: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let packet = [&head[..], &own, &sender, &[0; 6], &target].concat();
    frame(own, 0x0806, &packet)
}

fn udp(own: [u8; 6], source: [u8; 4], target: [u8; 4], ports: [u16; 2]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([source, target].concat());
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    for word in [ports[0], ports[1], 8, 0] {
        packet.extend(word.to_be_bytes());
    }
    frame(own, 0x0800, &packet)
}

/// A neighbour advertisement (RFC 4861, 4.4) for somebody else's address.
fn advertisement(own: [u8; 6]) -> Vec<u8> {
    let other = [0xfd, 0, 0, 0xd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut packet = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
    packet.extend([other, other].concat());
    packet.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
    packet.extend(other);
    packet.extend([2, 1]);
    packet.extend(own);
    frame(own, 0x86dd, &packet)
}
