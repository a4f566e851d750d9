//! More than there is room for: every bound is reached, counted, and left again.

use super::super::testing::{Link, OFFLOADING, World, mac};
use super::super::*;
use crate::Errno;

fn world(name: &str) -> World {
    World::new(name, Link::PERFECT, OFFLOADING)
}

#[test]
fn a_full_backlog_makes_clients_wait() {
    let mut world = world("backlog");
    let listener = world.listen(1, "0.0.0.0:80", 4);
    let clients: Vec<_> = (0..10).map(|_| world.connect(0, "10.0.0.2:80")).collect();
    world.pass(500);
    assert!(world.hosts[1].counters().dropped(DropReason::BacklogFull) > 0);
    // As places become free, those who wait get them.
    let mut accepted = Vec::new();
    world.run(200, |world| {
        accepted.extend(world.hosts[1].tcp_accept(listener).ok().map(|(id, _)| id));
        world.pass(50);
        accepted.len() == 10
    });
    for &client in &clients {
        world.send(0, client, b"hello");
    }
    world.pass(5000);
    for server in accepted {
        let mut received = Vec::new();
        world.recv(1, server, &mut received);
        assert_eq!(received, b"hello");
    }
}

/// A SYN to port 80 from any address, checksum left to nobody.
fn syn(source: [u8; 4], port: u16, seq: u32) -> Vec<u8> {
    let mut frame = vec![0; 54];
    frame[..6].copy_from_slice(&mac(1).0);
    frame[6..12].copy_from_slice(&mac(0).0);
    frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6]);
    frame[26..30].copy_from_slice(&source);
    frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    let sum = super::super::checksum::Sum::default()
        .add(&frame[14..34])
        .complement();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&80u16.to_be_bytes());
    frame[38..42].copy_from_slice(&seq.to_be_bytes());
    frame[46..50].copy_from_slice(&[0x50, 2, 0xff, 0xff]);
    frame
}

#[test]
fn a_flood_of_syns_is_bounded_and_passes() {
    let mut world = world("flood");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    let meta = RxMeta {
        checksum: RxChecksum::Verified,
        gso_size: None,
    };
    for n in 0..100_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        world.hosts[1].receive(world.now, meta, &syn([10, b, c, d], 1000, n));
    }
    let counters = world.hosts[1].counters();
    assert!(counters.tcp_half_open <= 64, "{}", counters.tcp_half_open);
    assert!(counters.dropped(DropReason::HalfOpenFull) > 99_000);
    assert_eq!(counters.buffer_bytes, 0);
    world.pass(120_000);
    assert_eq!(world.hosts[1].counters().tcp_half_open, 0);
    world.connect(0, "10.0.0.2:80");
    world.run(60, |world| world.hosts[1].tcp_accept(listener).is_ok());
}

/// A listener that closes sends away those who wait.
#[test]
fn closing_a_listener() {
    let mut world = world("closing a listener");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    let client = world.connect(0, "10.0.0.2:80");
    world.run(5, |world| world.hosts[0].readiness(client).writable);
    let meta = RxMeta {
        checksum: RxChecksum::Verified,
        gso_size: None,
    };
    world.hosts[1].receive(world.now, meta, &syn([10, 0, 0, 77], 1000, 1));
    world.pass(100);
    world.hosts[1].close(world.now, listener);
    world.pass(100);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::ECONNRESET));
    let counters = world.hosts[1].counters();
    assert_eq!(
        (
            counters.tcp_connections,
            counters.tcp_half_open,
            counters.tcp_listeners
        ),
        (0, 0, 0)
    );
    let client = world.connect(0, "10.0.0.2:80");
    world.pass(100);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::ECONNREFUSED));
}

/// Answers to strangers are rationed.
#[test]
fn a_port_scan_is_not_amplified() {
    let mut world = world("scan");
    let meta = RxMeta {
        checksum: RxChecksum::Verified,
        gso_size: None,
    };
    for port in 1..5000 {
        world.hosts[1].receive(world.now, meta, &syn([10, 0, 0, 1], port, 1));
    }
    let counters = world.hosts[1].counters();
    assert_eq!(counters.tcp_resets_sent, 1000);
    assert_eq!(counters.dropped(DropReason::NoListener), 4999);
    assert!(counters.dropped(DropReason::RateLimited) >= 3999);
}

/// Ten thousand connections in waves: each says something, is answered, and is forgotten.
#[test]
fn a_storm_of_connects() {
    let mut world = world("storm");
    let listener = world.listen(1, "0.0.0.0:80", 1000);
    for _ in 0..20 {
        let clients: Vec<_> = (0..500).map(|_| world.connect(0, "10.0.0.2:80")).collect();
        let (mut servers, mut done) = (Vec::new(), 0);
        let mut asked = vec![false; clients.len()];
        world.run(60, |world| {
            while let Ok((server, _)) = world.hosts[1].tcp_accept(listener) {
                servers.push(server);
            }
            for (client, asked) in clients.iter().zip(&mut asked) {
                if !*asked && world.hosts[0].readiness(*client).writable {
                    *asked = world.send(0, *client, b"question") == 8;
                }
            }
            servers.retain(|&server| {
                let mut received = Vec::new();
                world.recv(1, server, &mut received);
                if received.is_empty() {
                    return true;
                }
                assert_eq!(received, b"question");
                world.send(1, server, b"answer");
                world.hosts[1].close(world.now, server);
                done += 1;
                false
            });
            done == clients.len()
        });
        world.pass(20);
        for client in clients {
            let mut received = Vec::new();
            assert!(world.recv(0, client, &mut received));
            assert_eq!(received, b"answer");
            world.hosts[0].close(world.now, client);
        }
        world.pass(20);
    }
    let counters = world.hosts[1].counters();
    assert_eq!(
        (counters.tcp_accepted, counters.tcp_connections),
        (10_000, 0)
    );
    assert!(counters.tcp_time_wait <= 4096);
    assert_eq!(
        (counters.tcp_retransmissions, counters.buffer_bytes),
        (0, 0)
    );
}

/// The promise: 2,000 idle connections in 20 MB. They hold no buffers, have no timers, and cost nothing
/// when others are busy.
#[test]
fn idle_connections_cost_nothing() {
    let mut world = world("idle");
    let listener = world.listen(1, "0.0.0.0:80", 3000);
    let clients: Vec<_> = (0..2000).map(|_| world.connect(0, "10.0.0.2:80")).collect();
    let mut servers = Vec::new();
    world.run(60, |world| {
        servers.extend(world.hosts[1].tcp_accept(listener).ok().map(|(id, _)| id));
        servers.len() == clients.len()
    });
    for &client in &clients {
        world.send(0, client, &[7; 5000]);
    }
    world.pass(1000);
    for &server in &servers {
        let mut received = Vec::new();
        world.recv(1, server, &mut received);
        assert_eq!(received.len(), 5000);
    }
    world.pass(60_000);
    for host in &mut world.hosts {
        assert_eq!(host.counters().buffer_bytes, 0);
        assert_eq!(host.next_deadline(), None);
        assert!(!host.wants_transmit());
    }
}

/// All memory is in unread data; it is never exceeded, and those who read go on.
#[test]
fn memory_runs_out_and_comes_back() {
    let mut world = world("memory");
    let interface = Interface {
        mac: mac(1),
        capabilities: OFFLOADING,
        memory: Memory {
            total: 1 << 20,
            receive_max: 1 << 20,
            send_max: 1 << 20,
        },
    };
    world.hosts[1] = Stack::new(
        interface,
        "ip=10.0.0.2/24".parse().unwrap(),
        [9; 32],
        world.now,
    );
    let listener = world.listen(1, "0.0.0.0:80", 100);
    let clients: Vec<_> = (0..50).map(|_| world.connect(0, "10.0.0.2:80")).collect();
    let mut servers = Vec::new();
    world.run(60, |world| {
        servers.extend(world.hosts[1].tcp_accept(listener).ok().map(|(id, _)| id));
        servers.len() == clients.len()
    });
    let data = world.random.bytes(200_000);
    let mut sent = vec![0; clients.len()];
    for round in 0..200 {
        for (&client, sent) in clients.iter().zip(&mut sent) {
            *sent += world.send(0, client, &data[*sent..]);
        }
        world.pass(50);
        assert!(
            world.hosts[1].counters().buffer_bytes <= 1 << 20,
            "round {round}"
        );
    }
    let mut received: Vec<Vec<u8>> = servers.iter().map(|_| Vec::new()).collect();
    world.run(300, |world| {
        for (&client, sent) in clients.iter().zip(&mut sent) {
            *sent += world.send(0, client, &data[*sent..]);
        }
        for (&server, received) in servers.iter().zip(&mut received) {
            world.recv(1, server, received);
        }
        received.iter().all(|received| received.len() == data.len())
    });
    assert_eq!(world.hosts[1].counters().buffer_bytes, 0);
}

/// Forged segments cannot end a connection (RFC 5961).
#[test]
fn blind_resets_and_syns() {
    let mut world = world("blind");
    let (client, server) = world.pair("10.0.0.2:80");
    let port = world.hosts[0].local_addr(client).unwrap().port();
    let meta = RxMeta {
        checksum: RxChecksum::Verified,
        gso_size: None,
    };
    for _ in 0..20_000 {
        let seq = world.random.next() as u32;
        let mut frame = syn([10, 0, 0, 1], port, seq);
        frame[47] = [2, 4, 0x14, 0x12][world.random.below(4)];
        world.hosts[1].receive(world.now, meta, &frame);
    }
    world.pass(1000);
    assert!(!world.hosts[1].readiness(server).error);
    world.transfer(0, client, server, b"still here");
}

/// What waits for who does not read is bounded at both ends, where their options say so.
#[test]
fn buffers_grow_to_what_was_set() {
    const SMALL: usize = 64 * 1024;
    let waiting = |options: TcpOptions| {
        let mut world = world("small-buffers");
        let (client, server) = world.pair("10.0.0.2:80");
        for (host, socket) in [(0, client), (1, server)] {
            let set = world.hosts[host].set_tcp_options(world.now, socket, options);
            set.expect("a connection");
        }
        let data = world.random.bytes(300_000);
        // A reader that keeps up has the window grow, and one that stops then has it full.
        let mut read = Vec::new();
        for _ in 0..20 {
            world.send(0, client, &data);
            world.pass(50);
            world.recv(1, server, &mut read);
        }
        let mut sent = 0;
        for _ in 0..50 {
            sent += world.send(0, client, &data);
            world.pass(50);
        }
        assert!(!read.is_empty() && sent > 0);
        world
            .hosts
            .iter_mut()
            .map(|host| host.counters().buffer_bytes)
            .collect::<Vec<_>>()
    };
    let grown = waiting(TcpOptions::default());
    assert!(grown.iter().all(|bytes| *bytes > 2 * SMALL), "{grown:?}");
    let bytes = u32::try_from(SMALL).expect("it is small");
    let small = waiting(TcpOptions {
        receive_max: bytes,
        send_max: bytes,
        ..TcpOptions::default()
    });
    // A page more, for what does not begin at one.
    assert!(
        small.iter().all(|bytes| *bytes <= SMALL + 8192),
        "{small:?}"
    );
}
