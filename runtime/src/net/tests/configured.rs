//! Addresses that come from a server or a router.

use super::super::testing::{OFFLOADING, Port, mac, stack};
use super::super::time::{MS, SECOND};
use super::super::*;

fn frames(stack: &mut Stack, now: Instant) -> Vec<Vec<u8>> {
    let mut port = Port {
        frames: Vec::new(),
        room: usize::MAX,
        packet_max: 1514,
    };
    stack.transmit(now, &mut port);
    port.frames.into_iter().map(|(_, frame)| frame).collect()
}

fn ipv4(protocol: u8, payload: &[u8], src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    let mut frame = [mac(1).0, mac(0).0].concat();
    let len = (20 + payload.len()) as u16;
    frame.extend([
        8,
        0,
        0x45,
        0,
        (len >> 8) as u8,
        len as u8,
        0,
        0,
        0,
        0,
        64,
        protocol,
        0,
        0,
    ]);
    frame.extend(src.into_iter().chain(dst));
    let sum = super::super::checksum::Sum::default()
        .add(&frame[14..])
        .complement();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 2131's exchange, with answers laid out by hand.
#[test]
fn dhcp() {
    let mut guest = stack(1, "ip=dhcp", OFFLOADING);
    let mut now = Instant(SECOND);
    let mut kinds = Vec::new();
    for _ in 0..200 {
        for frame in frames(&mut guest, now) {
            let from_client =
                frame.len() > 286 && frame[12..14] == [8, 0] && frame[34..38] == [0, 68, 0, 67];
            if !from_client {
                continue;
            }
            let kind = frame[284]; // the first option: the message's type
            kinds.push(kind);
            let mut reply = vec![0, 67, 0, 68, 0, 0, 0, 0, 2, 1, 6, 0];
            reply.extend(&frame[46..50]); // transaction
            reply.extend([0; 8]);
            reply.extend([192, 0, 2, 50, 192, 0, 2, 1, 0, 0, 0, 0]);
            reply.extend(mac(1).0);
            reply.extend([0; 10 + 64 + 128]);
            reply.extend([99, 130, 83, 99, 53, 1, if kind == 1 { 2 } else { 5 }]);
            reply.extend([
                54, 4, 192, 0, 2, 1, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 1,
            ]);
            reply.extend([6, 4, 192, 0, 2, 53, 51, 4, 0, 0, 14, 16, 255]);
            let len = (reply.len() as u16).to_be_bytes();
            reply[4..6].copy_from_slice(&len);
            let frame = ipv4(17, &reply, [192, 0, 2, 1], [192, 0, 2, 50]);
            guest.receive(now, RxMeta::default(), &frame);
        }
        now = now.after(50 * MS);
    }
    assert_eq!(kinds, [1, 3], "discover, request");
    assert!(
        guest.addresses().contains(&([192, 0, 2, 50].into(), 24)),
        "{:?}",
        guest.addresses()
    );
    assert_eq!(
        guest.config().dns,
        [core::net::IpAddr::from([192, 0, 2, 53])]
    );
    assert!(!guest.is_waiting_for_address());
    let id = guest.tcp_socket(Family::V4).unwrap();
    let connected = guest.tcp_connect(now, id, ([9, 9, 9, 9], 80).into());
    assert_eq!(
        connected,
        Err(crate::Errno::EINPROGRESS),
        "there is a route"
    );
}

/// A router's advertisement of a prefix (RFC 4861 §4.2), as radvd sends it.
fn advertisement(prefix: core::net::Ipv6Addr, length: u8) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, length, 0xc0, 0, 1, 81, 128, 0, 0, 56, 64, 0, 0, 0, 0]);
    message.extend(prefix.octets());
    message.extend([1, 1]);
    message.extend(mac(0).0);
    let src: core::net::Ipv6Addr = "fe80::1".parse().unwrap();
    let dst: core::net::Ipv6Addr = "ff02::1".parse().unwrap();
    let sum = super::super::checksum::pseudo_header(src.into(), dst.into(), 58, message.len())
        .add(&message);
    message[2..4].copy_from_slice(&sum.complement().to_be_bytes());
    let mut frame = [[0x33, 0x33, 0, 0, 0, 1], mac(0).0].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(src.octets().into_iter().chain(dst.octets()));
    frame.extend(message);
    frame
}

#[test]
fn router_advertisement() {
    let mut guest = stack(1, "ip=auto", OFFLOADING);
    let mut now = Instant(SECOND);
    let solicited = frames(&mut guest, now)
        .iter()
        .any(|frame| frame.len() > 54 && frame[54] == 133);
    assert!(solicited, "a router solicitation");
    let frame = advertisement("2001:db8:1::".parse().unwrap(), 64);
    guest.receive(now, RxMeta::default(), &frame);
    for _ in 0..20 {
        now = now.after(100 * MS);
        frames(&mut guest, now);
    }
    let expected: core::net::IpAddr = "2001:db8:1::ff:fe00:2".parse().unwrap();
    assert!(
        guest.addresses().contains(&(expected, 64)),
        "{:?}",
        guest.addresses()
    );
    let id = guest.tcp_socket(Family::V6).unwrap();
    let connected = guest.tcp_connect(now, id, "[2a00::1]:80".parse().unwrap());
    assert_eq!(
        connected,
        Err(crate::Errno::EINPROGRESS),
        "there is a route"
    );
}

/// Found by the fuzzer: smoltcp takes any prefix, and panics over it.
#[test]
fn impossible_prefixes_are_refused() {
    for (prefix, length) in [("ff02::", 64), ("::", 64), ("2001:db8::", 129)] {
        let mut guest = stack(1, "ip=auto", OFFLOADING);
        let now = Instant(SECOND);
        frames(&mut guest, now);
        guest.receive(
            now,
            RxMeta::default(),
            &advertisement(prefix.parse().unwrap(), length),
        );
        frames(&mut guest, now);
        assert_eq!(guest.addresses().len(), 1, "{:?}", guest.addresses());
        assert_eq!(guest.counters().dropped(DropReason::BadHeader), 1);
    }
}
