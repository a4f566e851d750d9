//! Connections meant for others, and connections made in others' names.

use super::super::testing::{Link, OFFLOADING, World, addr, mac};
use super::super::*;
use crate::Errno;

/// Host 0 sends everything that is not on its link to host 1, as a switch would that redirects flows.
fn world(name: &str) -> World {
    World::new(name, Link::PERFECT, OFFLOADING)
}

#[test]
fn a_wildcard_listener_takes_any_destination() {
    let mut world = world("intercept");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    let client = world.connect(0, "93.184.216.34:80");
    let mut accepted = None;
    world.run(5, |world| {
        accepted = accepted.or_else(|| world.hosts[1].tcp_accept(listener).ok());
        accepted.is_some()
    });
    let (server, peer) = accepted.unwrap();
    assert_eq!(
        world.hosts[1].local_addr(server),
        Ok(addr("93.184.216.34:80"))
    );
    assert_eq!(peer, world.hosts[0].local_addr(client).unwrap());
    let data = world.random.bytes(200_000);
    world.transfer(0, client, server, &data);
    world.transfer(1, server, client, &data);
}

/// Where there is no listener, others' packets are none of our business, and get no answer.
#[test]
fn what_is_not_intercepted_is_left_alone() {
    let mut world = world("left alone");
    world.listen(1, "10.0.0.2:80", 16);
    for port in [80, 81] {
        world.connect(0, &format!("93.184.216.34:{port}"));
    }
    world.pass(500);
    let counters = world.hosts[1].counters();
    assert_eq!(
        (
            counters.dropped(DropReason::NotOurs),
            counters.tcp_resets_sent
        ),
        (2, 0)
    );
}

/// ARP and neighbour discovery are answered for own addresses only, even while intercepting.
#[test]
fn others_addresses_are_not_claimed() {
    let mut world = world("claims");
    world.listen(1, "[::]:80", 16);
    for remote in ["10.0.0.99:80", "[fd00::99]:80"] {
        let client = world.connect(0, remote);
        world.run(10, |world| world.hosts[0].readiness(client).error);
        assert_eq!(world.hosts[0].take_error(client), Some(Errno::EHOSTUNREACH));
    }
}

/// A transparent proxy connects to the origin in its client's name.
#[test]
fn foreign_source_address() {
    let mut world = world("foreign source");
    let listener = world.listen(0, "0.0.0.0:80", 16);
    let now = world.now;
    let proxy = &mut world.hosts[1];
    let id = proxy.tcp_socket(Family::V4).unwrap();
    proxy.tcp_bind(id, addr("192.0.2.7:4321")).unwrap();
    assert_eq!(
        proxy.tcp_connect(now, id, addr("10.0.0.1:80")),
        Err(Errno::EINPROGRESS)
    );
    let mut accepted = None;
    world.run(5, |world| {
        accepted = accepted.or_else(|| world.hosts[0].tcp_accept(listener).ok());
        accepted.is_some()
    });
    let (server, peer) = accepted.unwrap();
    assert_eq!(peer, addr("192.0.2.7:4321"));
    let data = world.random.bytes(200_000);
    world.transfer(1, id, server, &data);
}

/// Without a route, answers go back to the station from which the connection came.
#[test]
fn the_way_back_without_a_route() {
    let mut world = world("way back");
    // Host 1 has no gateway, and the client's address is on no link of its.
    let now = world.now;
    let client = world.hosts[0].tcp_socket(Family::V4).unwrap();
    world.hosts[0]
        .tcp_bind(client, addr("198.51.100.9:1000"))
        .unwrap();
    let listener = world.listen(1, "0.0.0.0:80", 16);
    world.keep_sent = true;
    let _ = world.hosts[0].tcp_connect(now, client, addr("10.0.0.2:80"));
    world.run(5, |world| world.hosts[0].readiness(client).writable);
    world.pass(100);
    assert!(world.hosts[1].tcp_accept(listener).is_ok());
    let answers = world
        .sent
        .iter()
        .filter(|(from, frame)| *from == 1 && frame[12..14] == [8, 0]);
    assert!(answers.into_iter().all(|(_, frame)| frame[..6] == mac(0).0));
}

/// After a restart the interceptor does not know its old connections; their clients must learn that.
#[test]
fn old_connections_are_told() {
    let mut world = world("told");
    let listener = world.listen(1, "0.0.0.0:80", 16);
    let client = world.connect(0, "93.184.216.34:80");
    world.run(5, |world| world.hosts[1].tcp_accept(listener).is_ok());
    world.hosts[1] = super::super::testing::stack(1, "ip=10.0.0.2/24", OFFLOADING);
    world.listen(1, "0.0.0.0:80", 16);
    world.send(0, client, b"hello?");
    world.run(5, |world| world.hosts[0].readiness(client).error);
    assert_eq!(world.hosts[0].take_error(client), Some(Errno::ECONNRESET));
}
