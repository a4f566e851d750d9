//! Which segments are sent again, and how soon.

use super::super::testing::{Link, OFFLOADING, World};
use super::super::time::{MS, SECOND};
use super::super::*;

/// Many seeds, small transfers, all kinds of links: everything arrives, and both ends are rid of it.
#[test]
fn any_link_will_do() {
    let mut seeds = super::super::testing::Random::seeded("any link");
    for _ in 0..150 {
        let link = Link {
            delay: 1 + seeds.next() % (50 * MS),
            rate: if seeds.chance(50) {
                200_000 + seeds.next() % 10_000_000
            } else {
                0
            },
            queue: 20_000 + seeds.next() % 200_000,
            loss_percent: seeds.below(15) as u32,
            reorder_percent: seeds.below(20) as u32,
            duplicate_percent: seeds.below(10) as u32,
        };
        let capabilities = if seeds.chance(50) {
            OFFLOADING
        } else {
            Capabilities::default()
        };
        let address = if seeds.chance(50) {
            "10.0.0.2:80"
        } else {
            "[fd00::2]:80"
        };
        let mut world = World::new("any link", link, capabilities);
        world.random = super::super::testing::Random::seeded(&seeds.next().to_string());
        let (client, server) = world.pair(address);
        let len = seeds.below(300_000);
        let data = world.random.bytes(len);
        world.transfer(0, client, server, &data);
        world.transfer(1, server, client, &data);
        world.hosts[0].close(world.now, client);
        world.hosts[1].close(world.now, server);
        world.pass(900_000);
        for host in &mut world.hosts {
            let counters = host.counters();
            assert_eq!((counters.tcp_connections, counters.buffer_bytes), (0, 0));
        }
    }
}

/// One lost segment in a window costs a round trip, not a timeout.
#[test]
fn one_loss_costs_no_timeout() {
    let link = Link {
        delay: 10 * MS,
        rate: 10_000_000,
        queue: 60_000,
        ..Link::PERFECT
    };
    let mut world = World::new("one loss", link, Capabilities::default());
    let (client, server) = world.pair("10.0.0.2:80");
    let data = world.random.bytes(10_000_000);
    world.transfer(0, client, server, &data);
    let counters = world.hosts[0].counters();
    println!("{counters:?}");
    assert!(counters.tcp_retransmissions > 0);
    assert_eq!(counters.tcp_timeouts, 0);
}

/// The last segment of a message is lost: nothing follows that could tell, so a probe must.
#[test]
fn a_lost_tail_is_found_out_quickly() {
    let mut world = World::new("tail", Link::PERFECT, OFFLOADING);
    let (client, server) = world.pair("10.0.0.2:80");
    for _ in 0..10 {
        world.send(0, client, b"warm");
        world.pass(100);
    }
    world.link.loss_percent = 100;
    world.send(0, client, b"lost");
    world.transmit();
    world.link.loss_percent = 0;
    let start = world.now;
    let mut received = Vec::new();
    world.run(10, |world| {
        world.recv(1, server, &mut received);
        received.len() == 44
    });
    assert!(world.now.since(start) < SECOND / 2);
}

/// A path that has become longer than the timeout is found out: the timeout stays doubled until something that was
/// sent once is measured, whatever answers to what was sent twice come meanwhile.
#[test]
fn a_path_grows_longer_than_the_timeout() {
    let mut world = World::new("longer", Link::PERFECT, Capabilities::default());
    let (client, server) = world.pair("10.0.0.2:80");
    let mut received = Vec::new();
    for round in 1..=10 {
        world.send(0, client, b"warm");
        world.run(10, |world| {
            world.recv(1, server, &mut received);
            received.len() == 4 * round
        });
        world.pass(100);
    }
    world.link.delay = SECOND / 2;
    let data = world.random.bytes(400_000);
    world.transfer(0, client, server, &data);
    let counters = world.hosts[0].counters();
    println!("{counters:?}");
    assert!(counters.tcp_timeouts <= 6, "{}", counters.tcp_timeouts);
}
