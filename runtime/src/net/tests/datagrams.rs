//! UDP, ICMP, fragments.

use super::super::testing::{Link, OFFLOADING, World, addr, mac};
use super::super::*;
use crate::Errno;

fn world(name: &str) -> World {
    World::new(name, Link::PERFECT, OFFLOADING)
}

fn udp(world: &mut World, host: usize, address: &str) -> SocketId {
    let family = if addr(address).is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let id = world.hosts[host].udp_socket(family).unwrap();
    world.hosts[host].udp_bind(id, addr(address)).unwrap();
    id
}

fn recv(world: &mut World, host: usize, id: SocketId) -> Result<(Vec<u8>, Received), Errno> {
    let mut buffer = [0; 2000];
    let received = world.hosts[host].udp_recv(id, &mut buffer, false)?;
    Ok((buffer[..received.len].to_vec(), received))
}

#[test]
fn there_and_back() {
    for (any, remote) in [
        ("0.0.0.0:53", "10.0.0.2:53"),
        ("[::]:53", "[fd00::2]:53"),
        ("[::]:53", "[::ffff:10.0.0.2]:53"),
    ] {
        let mut world = world("there and back");
        let server = udp(&mut world, 1, any);
        let family = if addr(remote).is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let client = world.hosts[0].udp_socket(family).unwrap();
        world.hosts[0].udp_connect(client, addr(remote)).unwrap();
        let now = world.now;
        for n in 0..5 {
            world.hosts[0]
                .udp_send(now, client, None, &[n; 1000])
                .unwrap();
        }
        world.pass(100);
        for n in 0..5 {
            let (data, received) = recv(&mut world, 1, server).unwrap();
            assert_eq!(data, [n; 1000]);
            assert_eq!(received.from, world.hosts[0].local_addr(client).unwrap());
            assert_eq!(received.to, addr(remote).ip());
            world.hosts[1]
                .udp_send(world.now, server, Some(received.from), &data)
                .unwrap();
        }
        assert_eq!(recv(&mut world, 1, server).unwrap_err(), Errno::EAGAIN);
        world.pass(100);
        assert!(world.hosts[0].readiness(client).readable);
        assert_eq!(recv(&mut world, 0, client).unwrap().1.from, addr(remote));
    }
}

#[test]
fn a_closed_port_is_reported_to_the_connected() {
    for remote in ["10.0.0.2:53", "[fd00::2]:53"] {
        let mut world = world("closed port");
        let family = if addr(remote).is_ipv4() {
            Family::V4
        } else {
            Family::V6
        };
        let client = world.hosts[0].udp_socket(family).unwrap();
        world.hosts[0].udp_connect(client, addr(remote)).unwrap();
        world.hosts[0]
            .udp_send(world.now, client, None, b"anyone?")
            .unwrap();
        world.pass(100);
        assert!(world.hosts[0].readiness(client).error);
        assert_eq!(
            recv(&mut world, 0, client).unwrap_err(),
            Errno::ECONNREFUSED
        );
        assert_eq!(recv(&mut world, 0, client).unwrap_err(), Errno::EAGAIN);
        assert_eq!(world.hosts[1].counters().icmp_errors_sent, 1);
    }
}

#[test]
fn connected_sockets_hear_only_their_peer() {
    let mut world = world("connected");
    let server = udp(&mut world, 1, "10.0.0.2:53");
    let other = udp(&mut world, 1, "10.0.0.2:54");
    let client = udp(&mut world, 0, "10.0.0.1:1000");
    world.hosts[0]
        .udp_connect(client, addr("10.0.0.2:53"))
        .unwrap();
    world.hosts[1]
        .udp_send(world.now, other, Some(addr("10.0.0.1:1000")), b"forged")
        .unwrap();
    world.hosts[1]
        .udp_send(world.now, server, Some(addr("10.0.0.1:1000")), b"true")
        .unwrap();
    world.pass(100);
    assert_eq!(recv(&mut world, 0, client).unwrap().0, b"true");
    assert_eq!(recv(&mut world, 0, client).unwrap_err(), Errno::EAGAIN);
}

#[test]
fn bounds() {
    let mut world = world("bounds");
    let server = udp(&mut world, 1, "0.0.0.0:53");
    let client = udp(&mut world, 0, "0.0.0.0:0");
    let to = Some(addr("10.0.0.2:53"));
    let now = world.now;
    assert_eq!(
        world.hosts[0].udp_send(now, client, to, &[0; 65_508]),
        Err(Errno::EMSGSIZE)
    );
    assert_eq!(
        world.hosts[0].udp_send(now, client, None, &[0; 10]),
        Err(Errno::EDESTADDRREQ)
    );
    assert_eq!(world.hosts[0].udp_send(now, client, to, &[0; 1472]), Ok(()));
    world.pass(10);
    for _ in 0..500 {
        world.hosts[0]
            .udp_send(world.now, client, to, &[0; 1000])
            .unwrap();
        world.pass(1);
    }
    assert!(world.hosts[1].counters().dropped(DropReason::QueueFull) > 200);
    let small = world.hosts[1].udp_recv(server, &mut [0; 10], true).unwrap();
    assert_eq!((small.len, small.full_len), (10, 1472));
    // Nobody takes frames: at some point the socket says so.
    let refused = (0..10_000).find(|_| {
        world.hosts[0]
            .udp_send(now, client, to, &[0; 1000])
            .is_err()
    });
    assert!(refused.is_some() && !world.hosts[0].readiness(client).writable);
    world.hosts[0].take_changed(&mut |_| {});
    world.transmit();
    let mut changed = Vec::new();
    world.hosts[0].take_changed(&mut |id| changed.push(id));
    assert_eq!(changed, [client], "an edge when there is room again");
}

/// Larger than a packet: cut here, put together there.
#[test]
fn large_datagrams_go_in_fragments() {
    let mut world = world("large");
    world.link.reorder_percent = 30;
    let server = udp(&mut world, 1, "0.0.0.0:53");
    let client = udp(&mut world, 0, "0.0.0.0:0");
    for len in [1473, 2952, 2953, 65_507] {
        let data = world.random.bytes(len);
        world.hosts[0]
            .udp_send(world.now, client, Some(addr("10.0.0.2:53")), &data)
            .unwrap();
        world.pass(100);
        let mut buffer = vec![0; 70_000];
        let received = world.hosts[1].udp_recv(server, &mut buffer, false).unwrap();
        assert!(buffer[..received.len] == data);
    }
    let six = world.hosts[0].udp_socket(Family::V6).unwrap();
    let sent = world.hosts[0].udp_send(world.now, six, Some(addr("[fd00::2]:53")), &[0; 1453]);
    assert_eq!(sent, Err(Errno::EMSGSIZE));
}

#[test]
fn foreign_datagrams_are_for_transparent_sockets() {
    let mut world = world("transparent");
    let server = udp(&mut world, 1, "0.0.0.0:53");
    let client = udp(&mut world, 0, "0.0.0.0:0");
    for transparent in [false, true] {
        let options = UdpOptions {
            transparent,
            ..UdpOptions::default()
        };
        world.hosts[1].set_udp_options(server, options).unwrap();
        world.hosts[0]
            .udp_send(world.now, client, Some(addr("9.9.9.9:53")), b"hi")
            .unwrap();
        world.pass(100);
        let received = recv(&mut world, 1, server).map(|(_, received)| received.to);
        assert_eq!(
            received,
            if transparent {
                Ok(addr("9.9.9.9:53").ip())
            } else {
                Err(Errno::EAGAIN)
            }
        );
    }
}

/// Frames of a `ping -s 8`, and of one in three fragments out of order.
#[test]
fn echo_whole_and_in_fragments() {
    let mut world = world("echo");
    world.keep_sent = true;
    let echo: Vec<u8> = {
        let mut message = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
        message.extend(0..24);
        let sum = super::super::checksum::Sum::default()
            .add(&message)
            .complement();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        message
    };
    let packet = |offset: usize, data: &[u8], more: bool| {
        let mut frame = [mac(1).0, mac(0).0].concat();
        frame.extend([
            8,
            0,
            0x45,
            0,
            0,
            20 + data.len() as u8,
            0,
            9,
            u8::from(more) << 5,
            offset as u8 / 8,
            64,
            1,
            0,
            0,
        ]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let sum = super::super::checksum::Sum::default()
            .add(&frame[14..])
            .complement();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame.extend(data);
        frame
    };
    for frames in [
        vec![packet(0, &echo, false)],
        vec![
            packet(8, &echo[8..16], true),
            packet(16, &echo[16..], false),
            packet(0, &echo[..8], true),
        ],
    ] {
        world.sent.clear();
        for frame in frames {
            world.hosts[1].receive(world.now, RxMeta::default(), &frame);
        }
        world.pass(10);
        let replies: Vec<_> = world
            .sent
            .iter()
            .filter(|(from, frame)| *from == 1 && frame[23] == 1)
            .collect();
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].1[34..36], [0, 0]);
        assert_eq!(replies[0].1[38..], echo[4..]);
    }
    assert_eq!(world.hosts[1].counters().icmp_echo_replies, 2);
}

/// A router on the way takes only smaller packets (RFC 1191).
#[test]
fn packets_shrink_when_told() {
    let mut world = world("too big");
    let (client, server) = world.pair("10.0.0.2:80");
    world.keep_sent = true;
    world.link.loss_percent = 100;
    let data = world.random.bytes(30_000);
    world.send(0, client, &data);
    world.transmit();
    world.link.loss_percent = 0;
    let (_, lost) = world
        .sent
        .iter()
        .find(|(_, frame)| frame.len() > 500)
        .unwrap();
    let mut message = vec![3, 4, 0, 0, 0, 0, 2, 88]; // 600 bytes
    message.extend(&lost[14..14 + 28]);
    let sum = super::super::checksum::Sum::default()
        .add(&message)
        .complement();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [mac(0).0, mac(1).0].concat();
    frame.extend([
        8,
        0,
        0x45,
        0,
        0,
        20 + message.len() as u8,
        0,
        9,
        0,
        0,
        64,
        1,
        0,
        0,
        10,
        0,
        0,
        77,
        10,
        0,
        0,
        1,
    ]);
    let sum = super::super::checksum::Sum::default()
        .add(&frame[14..])
        .complement();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend(message);
    world.sent.clear();
    world.hosts[0].receive(world.now, RxMeta::default(), &frame);
    let mut received = Vec::new();
    world.run(10, |world| {
        world.recv(1, server, &mut received);
        received.len() == data.len()
    });
    assert!(received == data);
    assert_eq!(
        world.hosts[0].counters().tcp_timeouts,
        0,
        "it did not wait to be told twice"
    );
}
