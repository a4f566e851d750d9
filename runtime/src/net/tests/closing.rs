//! How connections end.

use super::super::testing::{Link, OFFLOADING, World, addr};
use super::super::time::SECOND;
use super::super::*;
use crate::Errno;

fn world(name: &str) -> World {
    World::new(name, Link::PERFECT, OFFLOADING)
}

fn recv_once(world: &mut World, host: usize, id: SocketId) -> Result<usize, Errno> {
    world.hosts[host].tcp_recv(world.now, id, &mut [0; 100])
}

/// One direction ends; the other goes on for as long as it likes.
#[test]
fn half_close() {
    let mut world = world("half close");
    let (client, server) = world.pair("10.0.0.2:80");
    world.transfer(0, client, server, b"question");
    assert!(world.hosts[1].readiness(server).read_closed);
    assert!(!world.hosts[1].readiness(server).hung_up);
    world.pass(120_000);
    let answer = world.random.bytes(300_000);
    world.transfer(1, server, client, &answer);
    assert_eq!(recv_once(&mut world, 0, client), Ok(0));
    assert!(world.hosts[0].readiness(client).hung_up);
    world.hosts[0].close(world.now, client);
    world.hosts[1].close(world.now, server);
    world.pass(1000);
    let counters = world.hosts.each_mut().map(|host| host.counters().clone());
    assert_eq!(counters.each_ref().map(|c| c.tcp_connections), [0, 0]);
    assert_eq!(counters.each_ref().map(|c| c.buffer_bytes), [0, 0]);
    assert_eq!(counters.each_ref().map(|c| c.tcp_resets_sent), [0, 0]);
}

#[test]
fn simultaneous_close() {
    let mut world = world("simultaneous close");
    let (client, server) = world.pair("10.0.0.2:80");
    world.pass(1000);
    world.hosts[0].close(world.now, client);
    world.hosts[1].close(world.now, server);
    world.pass(1000);
    let counters = world.hosts.each_mut().map(|host| host.counters().clone());
    assert_eq!(
        counters
            .each_ref()
            .map(|c| (c.tcp_connections, c.tcp_time_wait)),
        [(0, 1), (0, 1)]
    );
    world.pass(61_000);
    assert_eq!(
        world
            .hosts
            .each_mut()
            .map(|host| host.counters().tcp_time_wait),
        [0, 0]
    );
    assert_eq!(
        world.hosts.each_ref().map(Stack::next_deadline),
        [None, None]
    );
}

#[test]
fn closing_delivers_what_was_written() {
    let mut world = world("close delivers");
    let (client, server) = world.pair("10.0.0.2:80");
    let data = world.random.bytes(50_000);
    assert_eq!(world.send(0, client, &data), data.len());
    world.hosts[0].close(world.now, client);
    let mut received = Vec::new();
    world.run(10, |world| world.recv(1, server, &mut received));
    assert!(received == data);
}

#[test]
fn closing_with_unread_data_resets() {
    let mut world = world("unread");
    let (client, server) = world.pair("10.0.0.2:80");
    world.send(0, client, b"never read");
    world.pass(100);
    world.hosts[1].close(world.now, server);
    world.pass(100);
    assert_eq!(recv_once(&mut world, 0, client), Err(Errno::ECONNRESET));
    assert_eq!(recv_once(&mut world, 0, client), Ok(0));
    let send = world.hosts[0].tcp_send(world.now, client, b"x");
    assert_eq!(send, Err(Errno::EPIPE));
}

/// Data that comes for a closed socket is answered by a RST.
#[test]
fn writing_to_one_who_left() {
    let mut world = world("left");
    let (client, server) = world.pair("10.0.0.2:80");
    world.hosts[1].close(world.now, server);
    world.pass(100);
    assert_eq!(recv_once(&mut world, 0, client), Ok(0));
    world.send(0, client, b"still there?");
    world.pass(100);
    assert!(world.hosts[0].readiness(client).error);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::EPIPE));
    assert_eq!(world.hosts[1].counters().tcp_connections, 0);
}

#[test]
fn reset_keeps_what_was_received() {
    let mut world = world("reset");
    let (client, server) = world.pair("10.0.0.2:80");
    world.send(0, client, b"last words");
    world.pass(100);
    world.hosts[0].tcp_abort(world.now, client);
    world.pass(100);
    assert_eq!(recv_once(&mut world, 1, server), Ok(10));
    assert_eq!(recv_once(&mut world, 1, server), Err(Errno::ECONNRESET));
    assert_eq!(world.hosts[1].counters().tcp_resets_received, 1);
}

#[test]
fn linger_zero_resets() {
    let mut world = world("linger");
    let (client, server) = world.pair("10.0.0.2:80");
    let options = TcpOptions {
        reset_on_close: true,
        ..TcpOptions::default()
    };
    world.hosts[0]
        .set_tcp_options(world.now, client, options)
        .unwrap();
    world.hosts[0].close(world.now, client);
    world.pass(100);
    assert_eq!(world.hosts[1].take_error(server), Some(Errno::ECONNRESET));
    assert_eq!(world.hosts[0].counters().tcp_time_wait, 0);
}

/// A peer that never closes its side cannot hold a closed connection for ever.
#[test]
fn orphans_die() {
    let mut world = world("orphans");
    let (client, server) = world.pair("10.0.0.2:80");
    world.hosts[0].close(world.now, client);
    world.pass(59_000);
    assert_eq!(world.hosts[0].counters().tcp_connections, 1);
    world.pass(2_000);
    assert_eq!(world.hosts[0].counters().tcp_connections, 0);
    // The other side does not know yet, and hears of it when it speaks.
    world.send(1, server, b"hello?");
    world.pass(1000);
    assert!(world.hosts[1].readiness(server).error);
}

/// The same ports again, at once: a new SYN takes the place of the connection in TIME-WAIT.
#[test]
fn ports_are_used_again_after_time_wait() {
    let mut world = world("time wait");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    for round in 0..20 {
        let now = world.now;
        let stack = &mut world.hosts[0];
        let client = stack.tcp_socket(Family::V4).unwrap();
        stack.tcp_bind(client, addr("10.0.0.1:5555")).unwrap();
        let connected = stack.tcp_connect(now, client, addr("10.0.0.2:80"));
        assert_eq!(connected, Err(Errno::EINPROGRESS), "round {round}");
        let mut server = None;
        world.run(5, |world| {
            server = server.or_else(|| world.hosts[1].tcp_accept(listener).ok());
            server.is_some()
        });
        let server = server.unwrap().0;
        world.transfer(0, client, server, b"ping");
        // The server closes last in even rounds, first in odd ones.
        let order = if round % 2 == 0 {
            [(0, client), (1, server)]
        } else {
            [(1, server), (0, client)]
        };
        for (host, id) in order {
            world.hosts[host].close(world.now, id);
            world.pass(10);
        }
    }
    assert_eq!(world.hosts[0].counters().tcp_connections, 0);
}

#[test]
fn keep_alive_finds_the_dead() {
    let mut world = world("keep alive");
    let (client, server) = world.pair("10.0.0.2:80");
    let keep_alive = KeepAlive {
        idle: 10,
        interval: 5,
        count: 3,
    };
    let options = TcpOptions {
        keep_alive_enabled: true,
        keep_alive,
        ..TcpOptions::default()
    };
    world.hosts[0]
        .set_tcp_options(world.now, client, options)
        .unwrap();
    world.pass(60_000);
    assert!(!world.hosts[0].readiness(client).error, "the peer answers");
    world.link.loss_percent = 100;
    let start = world.now;
    world.run(60, |world| world.hosts[0].readiness(client).error);
    assert!((15..=26).contains(&(world.now.since(start) / SECOND)));
    // The neighbour stops answering too, which is the more telling error.
    let error = world.hosts[0].take_error(client);
    assert!(
        matches!(error, Some(Errno::ETIMEDOUT | Errno::EHOSTUNREACH)),
        "{error:?}"
    );
    assert!(!world.hosts[1].readiness(server).error);
}

#[test]
fn user_timeout() {
    let mut world = world("user timeout");
    let (client, _) = world.pair("10.0.0.2:80");
    let options = TcpOptions {
        user_timeout_ms: 5000,
        ..TcpOptions::default()
    };
    world.hosts[0]
        .set_tcp_options(world.now, client, options)
        .unwrap();
    world.link.loss_percent = 100;
    world.send(0, client, b"anyone?");
    let start = world.now;
    world.run(60, |world| world.hosts[0].readiness(client).error);
    assert!((5..=13).contains(&(world.now.since(start) / SECOND)));
}

#[test]
fn shutdown_of_reading_ends_the_stream() {
    let mut world = world("shut read");
    let (client, server) = world.pair("10.0.0.2:80");
    world.send(0, client, b"before");
    world.pass(100);
    world.hosts[1]
        .tcp_shutdown(world.now, server, Shutdown::Read)
        .unwrap();
    assert_eq!(recv_once(&mut world, 1, server), Ok(6));
    assert_eq!(recv_once(&mut world, 1, server), Ok(0));
    let data = world.random.bytes(1 << 20);
    let mut sent = 0;
    world.run(60, |world| {
        sent += world.send(0, client, &data[sent..]);
        sent == data.len()
    });
    world.transfer(1, server, client, b"answer");
    world.pass(100);
    assert_eq!(world.hosts[1].counters().buffer_bytes, 0);
}
