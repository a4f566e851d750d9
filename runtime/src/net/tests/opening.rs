//! How connections begin, and how they fail to.

use super::super::testing::{Link, OFFLOADING, Port, World, addr};
use super::super::*;
use crate::Errno;

fn world(name: &str) -> World {
    World::new(name, Link::PERFECT, OFFLOADING)
}

#[test]
fn addresses_are_those_of_both_ends() {
    let mut world = world("addresses");
    let (client, server) = world.pair("10.0.0.2:80");
    let local = world.hosts[0].local_addr(client).unwrap();
    assert_eq!(world.hosts[1].peer_addr(server), Ok(local));
    assert_eq!(world.hosts[1].local_addr(server), Ok(addr("10.0.0.2:80")));
    assert_eq!(local.ip(), addr("10.0.0.1:0").ip());
    let again = world.hosts[0].tcp_connect(world.now, client, addr("10.0.0.2:80"));
    assert_eq!(again, Err(Errno::EISCONN));
}

/// A socket of IPv6 that is bound to any address speaks IPv4 too, in mapped addresses.
#[test]
fn a_dual_stack_listener_takes_both() {
    let mut world = world("dual stack");
    let listener = world.listen(1, "[::]:80", 16);
    for (remote, shown) in [
        ("10.0.0.2:80", "[::ffff:10.0.0.1]:0"),
        ("[fd00::2]:80", "[fd00::1]:0"),
    ] {
        world.connect(0, remote);
        let mut accepted = None;
        world.run(5, |world| {
            accepted = accepted.or_else(|| world.hosts[1].tcp_accept(listener).ok());
            accepted.is_some()
        });
        assert_eq!(accepted.unwrap().1.ip(), addr(shown).ip());
    }
}

#[test]
fn a_port_without_listener_refuses() {
    let mut world = world("refused");
    let client = world.connect(0, "10.0.0.2:81");
    world.run(5, |world| world.hosts[0].readiness(client).error);
    let readiness = world.hosts[0].readiness(client);
    assert!(readiness.writable && readiness.readable && readiness.hung_up);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::ECONNREFUSED));
    assert_eq!(world.hosts[0].take_error(client), None);
    assert_eq!(world.hosts[1].counters().dropped(DropReason::NoListener), 1);
}

#[test]
fn nobody_there() {
    let mut world = world("nobody");
    let client = world.connect(0, "10.0.0.77:80");
    world.run(10, |world| world.hosts[0].readiness(client).error);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::EHOSTUNREACH));
    let unrouted = world.hosts[1].tcp_socket(Family::V4).unwrap();
    let result = world.hosts[1].tcp_connect(world.now, unrouted, addr("9.9.9.9:80"));
    assert_eq!(result, Err(Errno::ENETUNREACH));
}

#[test]
fn a_silent_peer_times_out() {
    let mut world = world("silent");
    let (client, _) = world.pair("10.0.0.2:80"); // so that the neighbour is known
    world.link.loss_percent = 100;
    world.hosts[0].close(world.now, client);
    let client = world.connect(0, "10.0.0.2:80");
    world.run(200, |world| world.hosts[0].readiness(client).error);
    let error = world.hosts[0].take_error(client);
    // The neighbour stops answering too, which is the more telling error.
    assert!(
        matches!(error, Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH)),
        "{error:?}"
    );
}

/// RFC 9293 §3.5, figure 8: both send SYN, and one connection comes of it.
#[test]
fn simultaneous_open() {
    let mut world = world("simultaneous");
    let open = |world: &mut World, host: usize, local: &str, remote: &str| {
        let now = world.now;
        let stack = &mut world.hosts[host];
        let id = stack.tcp_socket(Family::V4).unwrap();
        stack.tcp_bind(id, addr(local)).unwrap();
        assert_eq!(
            stack.tcp_connect(now, id, addr(remote)),
            Err(Errno::EINPROGRESS)
        );
        id
    };
    // Both know each other's Ethernet address, or one SYN would be late.
    world.pair("10.0.0.2:80");
    world.pair("10.0.0.2:80");
    let a = open(&mut world, 0, "10.0.0.1:1000", "10.0.0.2:2000");
    let b = open(&mut world, 1, "10.0.0.2:2000", "10.0.0.1:1000");
    let writable = |world: &World, host: usize, id| world.hosts[host].readiness(id).writable;
    world.run(5, |world| writable(world, 0, a) && writable(world, 1, b));
    world.transfer(0, a, b, b"hello");
    world.transfer(1, b, a, b"world");
}

#[test]
fn the_listener_is_told_and_data_with_fin_is_kept() {
    let mut world = world("data and fin");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    let client = world.connect(0, "10.0.0.2:80");
    world.run(5, |world| world.hosts[0].readiness(client).writable);
    // The request and the end in one segment, before anybody accepts.
    world.send(0, client, b"GET /");
    world.hosts[0]
        .tcp_shutdown(world.now, client, Shutdown::Write)
        .unwrap();
    world.pass(100);
    let mut changed = Vec::new();
    world.hosts[1].take_changed(&mut |id| changed.push(id));
    assert_eq!(changed, [listener]);
    let (server, _) = world.hosts[1].tcp_accept(listener).unwrap();
    assert_eq!(world.hosts[1].tcp_accept(listener), Err(Errno::EAGAIN));
    let mut received = Vec::new();
    assert!(world.recv(1, server, &mut received));
    assert_eq!(received, b"GET /");
    world.transfer(1, server, client, b"200 OK");
}

#[test]
fn ports_are_bound_once_unless_shared() {
    let mut world = world("ports");
    world.listen(1, "0.0.0.0:80", 1);
    let stack = &mut world.hosts[1];
    let bind = |stack: &mut Stack, family, address: &str| {
        let id = stack.tcp_socket(family).unwrap();
        let bound = stack.tcp_bind(id, addr(address));
        (id, bound)
    };
    assert_eq!(
        bind(stack, Family::V4, "10.0.0.2:80").1,
        Err(Errno::EADDRINUSE)
    );
    assert_eq!(bind(stack, Family::V6, "[::]:80").1, Err(Errno::EADDRINUSE));
    assert_eq!(bind(stack, Family::V6, "[fd00::2]:80").1, Ok(()));
    assert_eq!(bind(stack, Family::V4, "10.0.0.2:81").1, Ok(()));
    assert_eq!(bind(stack, Family::V4, "10.0.0.1:81").1, Ok(()));
    assert_eq!(
        bind(stack, Family::V4, "[::]:82").1,
        Err(Errno::EAFNOSUPPORT)
    );
    let (any, bound) = bind(stack, Family::V4, "0.0.0.0:0");
    assert_eq!(
        (bound, stack.local_addr(any).unwrap().port() >= 32_768),
        (Ok(()), true)
    );
    stack.close(Instant(0), any);
}

/// `SO_REUSEPORT`: connections are spread over the listeners.
#[test]
fn listeners_share_a_port() {
    let mut world = world("reuse port");
    let mut listeners = Vec::new();
    for _ in 0..4 {
        let now = world.now;
        let stack = &mut world.hosts[1];
        let id = stack.tcp_socket(Family::V4).unwrap();
        let options = TcpOptions {
            reuse_port: true,
            ..TcpOptions::default()
        };
        stack.set_tcp_options(now, id, options).unwrap();
        stack.tcp_bind(id, addr("0.0.0.0:80")).unwrap();
        stack.tcp_listen(id, 100).unwrap();
        listeners.push(id);
    }
    for _ in 0..60 {
        world.connect(0, "10.0.0.2:80");
    }
    world.pass(1000);
    for listener in listeners {
        let accepted = (0..)
            .take_while(|_| world.hosts[1].tcp_accept(listener).is_ok())
            .count();
        assert!(
            (3..=30).contains(&accepted),
            "{accepted} of 60 to one of four"
        );
    }
}

/// A guest talks to itself over 127.0.0.1, ::1 and its own addresses.
#[test]
fn loopback() {
    let mut world = world("loopback");
    for remote in ["127.0.0.1:80", "10.0.0.1:80", "[::1]:80", "[fd00::1]:80"] {
        let any = if addr(remote).is_ipv4() {
            "0.0.0.0:80"
        } else {
            "[::]:80"
        };
        let listener = world.listen(0, any, 16);
        let client = world.connect(0, remote);
        let mut server = None;
        world.run(5, |world| {
            server = server.or_else(|| world.hosts[0].tcp_accept(listener).ok());
            server.is_some()
        });
        let (server, peer) = server.unwrap();
        assert_eq!(peer, world.hosts[0].local_addr(client).unwrap());
        let data = world.random.bytes(3 << 20);
        let (mut sent, mut received) = (0, Vec::new());
        world.run(60, |world| {
            sent += world.send(0, client, &data[sent..]);
            world.recv(0, server, &mut received);
            received.len() == data.len()
        });
        assert!(received == data);
        for id in [client, server, listener] {
            world.hosts[0].close(world.now, id);
        }
        world.pass(1000);
    }
    assert_eq!(world.hosts[0].counters().tcp_connections, 0);
    assert_eq!(world.hosts[0].counters().tcp_retransmissions, 0);
}

/// A guest without an interface talks to itself, though what its stack would announce cannot leave.
#[test]
fn loopback_without_an_interface() {
    let interface = Interface {
        mac: Mac([2, 0, 0, 0, 0, 0]),
        capabilities: Capabilities::default(),
        memory: Memory::default(),
    };
    let now = Instant(1_000_000_000);
    let mut stack = Stack::new(interface, Config::default(), [7; 32], now);
    let mut nothing = Port {
        frames: Vec::new(),
        room: 0,
        packet_max: 0,
    };
    for (any, remote, family) in [
        ("127.0.0.1:80", "127.0.0.1:80", Family::V4),
        ("[::1]:81", "[::1]:81", Family::V6),
    ] {
        let listener = stack.tcp_socket(family).unwrap();
        stack.tcp_bind(listener, addr(any)).unwrap();
        stack.tcp_listen(listener, 4).unwrap();
        let client = stack.tcp_socket(family).unwrap();
        let begun = stack.tcp_connect(now, client, addr(remote));
        assert_eq!(begun, Err(Errno::EINPROGRESS));
        stack.transmit(now, &mut nothing);
        let (_, peer) = stack.tcp_accept(listener).unwrap();
        assert_eq!(peer, stack.local_addr(client).unwrap());
    }
    assert!(nothing.frames.is_empty());
}

/// Who can see one port or sequence number cannot foretell the next.
#[test]
fn ports_and_sequence_numbers_are_scattered() {
    let mut world = world("scattered");
    world.keep_sent = true;
    for _ in 0..32 {
        world.connect(0, "10.0.0.2:80");
    }
    world.pass(100);
    let syns = world
        .sent
        .iter()
        .filter(|(from, frame)| *from == 0 && frame.len() > 47 && frame[47] == 2);
    let (ports, numbers): (Vec<u16>, Vec<u32>) = syns
        .map(|(_, frame)| {
            let port = u16::from_be_bytes([frame[34], frame[35]]);
            (
                port,
                u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]]),
            )
        })
        .unzip();
    assert_eq!(ports.len(), 32);
    assert!(
        ports.windows(2).all(|pair| pair[0].abs_diff(pair[1]) > 1),
        "{ports:?}"
    );
    assert!(
        numbers
            .windows(2)
            .all(|pair| pair[0].abs_diff(pair[1]) > 1 << 12),
        "{numbers:?}"
    );
}
