//! Readers that do not read, writers that must wait, and edges that wake them.

use super::super::testing::{Link, OFFLOADING, World};
use super::super::time::{MS, SECOND};
use super::super::*;
use crate::Errno;

/// Writes until nothing fits any more.
fn fill(world: &mut World, id: SocketId) -> Vec<u8> {
    let mut written = Vec::new();
    loop {
        let piece = world.random.bytes(10_000);
        let n = world.send(0, id, &piece);
        written.extend(&piece[..n]);
        if n == 0 {
            world.pass(500);
            if world.hosts[0].tcp_send(world.now, id, &[0]) == Err(Errno::EAGAIN) {
                return written;
            }
            written.push(0);
        }
    }
}

#[test]
fn zero_window_then_reopened() {
    for capabilities in [Capabilities::default(), OFFLOADING] {
        let mut world = World::new("zero window", Link::PERFECT, capabilities);
        let (client, server) = world.pair("10.0.0.2:80");
        let written = fill(&mut world, client);
        println!("{} bytes fit", written.len());
        // Ten minutes of probes: the connection must outlive them.
        world.pass(600_000);
        assert!(!world.hosts[0].readiness(client).writable);
        world.hosts[0]
            .tcp_shutdown(world.now, client, Shutdown::Write)
            .unwrap();
        let start = world.now;
        let mut received = Vec::new();
        world.run(60, |world| world.recv(1, server, &mut received));
        assert!(received == written);
        assert!(
            world.now.since(start) < SECOND,
            "the window update came by itself"
        );
    }
}

/// The window update is lost: only the persist timer finds out.
#[test]
fn a_lost_window_update() {
    let mut world = World::new("lost update", Link::PERFECT, OFFLOADING);
    let (client, server) = world.pair("10.0.0.2:80");
    let written = fill(&mut world, client);
    world.hosts[0]
        .tcp_shutdown(world.now, client, Shutdown::Write)
        .unwrap();
    world.link.loss_percent = 100;
    let mut received = Vec::new();
    world.recv(1, server, &mut received);
    world.transmit();
    world.link.loss_percent = 0;
    world.run(120, |world| world.recv(1, server, &mut received));
    assert!(received == written);
}

/// A reader of one byte at a time makes no silly windows, and of one chunk per second loses nothing.
#[test]
fn slow_readers() {
    let mut world = World::new("slow reader", Link::PERFECT, Capabilities::default());
    let (client, server) = world.pair("10.0.0.2:80");
    let data = world.random.bytes(400_000);
    let (mut sent, mut received) = (0, Vec::<u8>::new());
    let mut next_read = world.now;
    world.run(3000, |world| {
        sent += world.send(0, client, &data[sent..]);
        if world.now >= next_read {
            next_read = world.now.after(20 * MS);
            let mut buffer = vec![0; 1 + world.random.below(4000)];
            match world.hosts[1].tcp_recv(world.now, server, &mut buffer) {
                Ok(n) => received.extend(&buffer[..n]),
                Err(error) => assert_eq!(error, Errno::EAGAIN),
            }
        }
        world.pass(5);
        received.len() == data.len()
    });
    assert!(received == data);
    let packets = world.hosts[0].counters().tx_packets;
    assert!(
        packets < 700,
        "{packets} packets for 274 packets' worth of data"
    );
}

/// Edges: one per arrival, even if the socket was readable before; one when a full buffer has room.
#[test]
fn edges_for_epoll() {
    let mut world = World::new("edges", Link::PERFECT, OFFLOADING);
    let (client, server) = world.pair("10.0.0.2:80");
    let changed = |world: &mut World, host: usize| {
        let mut changed = Vec::new();
        world.hosts[host].take_changed(&mut |id| changed.push(id));
        changed
    };
    changed(&mut world, 0);
    changed(&mut world, 1);
    for _ in 0..3 {
        world.send(0, client, b"x");
        world.pass(100);
        assert_eq!(changed(&mut world, 1), [server]);
        assert_eq!(changed(&mut world, 1), []);
        assert_eq!(changed(&mut world, 0), [], "nobody waits to write");
    }
    fill(&mut world, client);
    changed(&mut world, 0);
    let mut received = Vec::new();
    world.run(60, |world| {
        world.recv(1, server, &mut received);
        world.hosts[0].readiness(client).writable
    });
    assert_eq!(changed(&mut world, 0), [client]);
    world.hosts[1].close(world.now, server);
    world.pass(100);
    assert_eq!(changed(&mut world, 0), [client]);
    let readiness = world.hosts[0].readiness(client);
    assert!(readiness.read_closed && readiness.readable);
}

/// A dialogue of small messages needs one packet per message: acknowledgments travel with the answers.
#[test]
fn acknowledgments_ride_on_answers() {
    let mut world = World::new("dialogue", Link::PERFECT, OFFLOADING);
    let (client, server) = world.pair("10.0.0.2:80");
    let before = world
        .hosts
        .each_mut()
        .map(|host| host.counters().tx_packets);
    for _ in 0..100 {
        for (from, to, sender, receiver) in [(0, 1, client, server), (1, 0, server, client)] {
            world.send(from, sender, b"message");
            let mut received = Vec::new();
            world.run(5, |world| {
                world.recv(to, receiver, &mut received);
                received.len() == 7
            });
        }
    }
    let after = world
        .hosts
        .each_mut()
        .map(|host| host.counters().tx_packets);
    assert!(
        after[0] - before[0] <= 105 && after[1] - before[1] <= 105,
        "{before:?} {after:?}"
    );
}

/// Nagle: small writes are gathered while something is on the way, and not with `TCP_NODELAY`.
#[test]
fn small_writes() {
    for (nodelay, expected) in [(false, 2), (true, 20)] {
        let mut world = World::new("small writes", Link::PERFECT, OFFLOADING);
        let (client, server) = world.pair("10.0.0.2:80");
        let options = TcpOptions {
            nodelay,
            ..TcpOptions::default()
        };
        world.hosts[0]
            .set_tcp_options(world.now, client, options)
            .unwrap();
        world.pass(1000);
        let before = world.hosts[0].counters().tx_packets;
        for _ in 0..20 {
            world.send(0, client, b"abc");
            world.transmit();
        }
        world.pass(1000);
        let mut received = Vec::new();
        world.recv(1, server, &mut received);
        assert_eq!(received, b"abc".repeat(20));
        assert_eq!(world.hosts[0].counters().tx_packets - before, expected);
    }
}

/// `MSG_PEEK` and `FIONREAD`.
#[test]
fn peeking_takes_nothing() {
    let mut world = World::new("peek", Link::PERFECT, OFFLOADING);
    let (client, server) = world.pair("10.0.0.2:80");
    world.send(0, client, b"0123456789");
    world.pass(100);
    let mut buffer = [0; 4];
    assert_eq!(world.hosts[1].tcp_peek(server, 3, &mut buffer), Ok(4));
    assert_eq!(
        (&buffer, world.hosts[1].tcp_readable_bytes(server)),
        (b"3456", 10)
    );
    let mut received = Vec::new();
    world.recv(1, server, &mut received);
    assert_eq!(received, b"0123456789");
}
