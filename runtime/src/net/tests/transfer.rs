//! Bytes that go in come out, whatever the link does.

use super::super::testing::{Link, OFFLOADING, World};
use super::super::time::{MS, SECOND};
use super::super::*;

const LOSSY: Link = Link {
    delay: 5 * MS,
    rate: 0,
    queue: u64::MAX,
    loss_percent: 5,
    reorder_percent: 3,
    duplicate_percent: 2,
};

fn check(name: &str, link: Link, capabilities: Capabilities, address: &str, len: usize) -> World {
    let mut world = World::new(name, link, capabilities);
    let (client, server) = world.pair(address);
    let data = world.random.bytes(len);
    let start = world.now;
    world.transfer(0, client, server, &data);
    println!(
        "{name}: there in {} ms of simulated time",
        world.now.since(start) / MS
    );
    let start = world.now;
    world.transfer(1, server, client, &data);
    println!(
        "{name}: back in {} ms of simulated time",
        world.now.since(start) / MS
    );
    let counters = world.hosts[0].counters();
    println!("{name}: {counters:?}");
    world
}

#[test]
fn a_perfect_link_needs_no_retransmission() {
    for (capabilities, address) in [
        (Capabilities::default(), "10.0.0.2:80"),
        (OFFLOADING, "10.0.0.2:80"),
        (OFFLOADING, "[fd00::2]:80"),
    ] {
        let mut world = check("perfect", Link::PERFECT, capabilities, address, 4 << 20);
        assert_eq!(
            world
                .hosts
                .each_mut()
                .map(|host| host.counters().tcp_retransmissions),
            [0, 0]
        );
        assert_eq!(
            world
                .hosts
                .each_mut()
                .map(|host| host.counters().tcp_time_wait),
            [1, 0]
        );
    }
}

#[test]
fn five_percent_loss() {
    check(
        "lossy",
        LOSSY,
        Capabilities::default(),
        "10.0.0.2:80",
        4 << 20,
    );
    check("lossy", LOSSY, OFFLOADING, "[fd00::2]:80", 4 << 20);
}

/// A bottleneck with a queue of one bandwidth-delay product: the link must be well used.
#[test]
fn a_bottleneck_is_filled() {
    let link = Link {
        delay: 10 * MS,
        rate: 5_000_000,
        queue: 100_000,
        ..Link::PERFECT
    };
    let mut world = World::new("bottleneck", link, Capabilities::default());
    let (client, server) = world.pair("10.0.0.2:80");
    let data = world.random.bytes(20_000_000);
    let start = world.now;
    world.transfer(0, client, server, &data);
    let used = world.now.since(start);
    println!("{} ms, {:?}", used / MS, world.hosts[0].counters());
    assert!(used < 6 * SECOND, "4 s at full rate");
}

#[test]
fn a_device_with_one_slot_loses_nothing() {
    let mut world = World::new("one slot", Link::PERFECT, OFFLOADING);
    world.port_room = 1;
    let (client, server) = world.pair("10.0.0.2:80");
    let data = world.random.bytes(1 << 20);
    world.transfer(0, client, server, &data);
    assert_eq!(world.hosts[0].counters().tcp_retransmissions, 0);
}

/// Packets of other sizes, and devices that say impossible things.
#[test]
fn other_packet_sizes() {
    for (mtu, gso) in [
        (0, false),
        (600, true),
        (1280, true),
        (9000, false),
        (9000, true),
        (65_535, true),
    ] {
        let capabilities = Capabilities {
            mtu,
            gso_v4: gso,
            gso_v6: gso,
            ..OFFLOADING
        };
        let mut world = World::new("sizes", Link::PERFECT, capabilities);
        world.packet_max = usize::from(mtu.max(576)) + 14;
        for address in ["10.0.0.2:80", "[fd00::2]:80"] {
            let (client, server) = world.pair(address);
            let data = world.random.bytes(1 << 20);
            world.transfer(0, client, server, &data);
            world.transfer(1, server, client, &data);
        }
    }
}
