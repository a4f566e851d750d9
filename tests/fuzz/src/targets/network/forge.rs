//! Frames that are right in everything that the caller does not choose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::victim::VICTIM_MAC;

pub(in super::super) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(in super::super) const BROADCAST_MAC: [u8; 6] = [0xff; 6];

const PEERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
];
const VICTIMS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
];

/// Who speaks to whom.
#[derive(Clone, Copy)]
pub(super) struct Path {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
}

impl Path {
    /// From our peer to an address of the victim, over IPv4 or IPv6.
    pub(super) fn usual(v6: bool) -> Path {
        Path {
            from: PEERS[usize::from(v6)],
            to: VICTIMS[usize::from(v6)],
        }
    }

    /// A whole frame for the victim.
    pub(super) fn frame(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let packet = ipv4(from, to, protocol, [0x40, 0], 0, payload);
                ethernet(VICTIM_MAC, PEER_MAC, 0x0800, &packet)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let packet = ipv6(from, to, protocol, payload);
                ethernet(VICTIM_MAC, PEER_MAC, 0x86dd, &packet)
            }
            _ => Vec::new(), // an empty frame is a frame
        }
    }
}

pub(in super::super) fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// A packet; `flags` are the flags and the offset of a fragment as the header has them.
pub(in super::super) fn ipv4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    flags: [u8; 2],
    id: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(flags);
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, 255]); // neighbour discovery asks for 255
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A segment whose checksum nobody looks at.
pub(super) struct TcpFields<'a> {
    pub(super) ports: [u16; 2],
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
}

pub(super) fn tcp(fields: &TcpFields) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(fields.ports[0].to_be_bytes());
    segment.extend(fields.ports[1].to_be_bytes());
    segment.extend(fields.seq.to_be_bytes());
    segment.extend(fields.ack.to_be_bytes());
    let options = &fields.options[..fields.options.len().min(40)];
    let words = options.len().div_ceil(4);
    segment.extend([(5 + words as u8) << 4, fields.flags]);
    segment.extend(fields.window.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(options);
    segment.resize(20 + words * 4, 0);
    segment.extend(fields.payload);
    segment
}

/// A datagram without a checksum.
pub(in super::super) fn udp(ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(ports[0].to_be_bytes());
    datagram.extend(ports[1].to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An ICMP message of either version: `body` follows the checksum.
pub(super) fn icmp(path: Path, kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0], body].concat();
    let sum = match (path.from, path.to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut pseudo = [from.octets(), to.octets()].concat();
            pseudo.extend((message.len() as u32).to_be_bytes());
            pseudo.extend([0, 0, 0, 58]);
            pseudo.extend(&message);
            checksum(&pseudo)
        }
        _ => checksum(&message),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// What a router tells everybody (RFC 4861 §4.2), from behind the checksum on.
pub(in super::super) fn router_message(body: &[u8]) -> Vec<u8> {
    let path = Path {
        from: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
        to: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    let mut frame = path.frame(58, &icmp(path, 134, 0, body));
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
