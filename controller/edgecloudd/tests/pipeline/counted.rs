//! Each packet that rules carry is counted once, for the application that pays.

use edgecloudd::fake_switch::{ACK, Packet, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;

use crate::world::*;

/// For which applications a packet counts.
fn counts_for(world: &mut World, packet: &Packet) -> Vec<u32> {
    let cookies = world.send(packet).cookies();
    let traffic = cookies.iter().filter(|cookie| cookie.class.is_traffic());
    traffic.map(|cookie| cookie.application).collect()
}

#[test]
fn each_packet_of_a_connection_counts_once() {
    let mut world = World::photos(&[Live, Live]);
    let request = |flags| client_tcp(ORIGIN, (5000, 80), flags);
    let chosen = world.send(&request(SYN)).outputs[0].0.0 - 10;
    let reply = |flags| replica_tcp(chosen, (ORIGIN, CLIENT), (80, 5000), flags);
    assert_eq!(counts_for(&mut world, &request(SYN)), [7], "sent again");
    assert_eq!(counts_for(&mut world, &reply(SYN_ACK)), [7]);
    assert_eq!(counts_for(&mut world, &request(ACK)), [7]);
    let other = client_tcp(ORIGIN, (5001, 80), SYN);
    assert_eq!(
        counts_for(&mut world, &other),
        [7],
        "the first of a connection"
    );
    let passing = client_tcp("203.0.113.99", (5000, 80), SYN);
    assert_eq!(counts_for(&mut world, &passing), [0; 0]);
    let denied = replica_tcp(1, ("10.0.1.11", ORIGIN), (4000, 22), SYN);
    assert_eq!(counts_for(&mut world, &denied), [0; 0]);
}

#[test]
fn between_domains_it_counts_for_both() {
    let calls = "[[call]]\nto = { net = \"10.0.1.15/32\", tcp = [8080] }\n";
    let serves = "[[serve]]\nas = \"up.photos.example\"\ntcp = [8080]\n";
    let caller = application(3, calls, vec![replica(1, Live)]);
    let called = application(4, serves, vec![replica(5, Live)]);
    let mut world = World::new(vec![caller, called], names(&[]));
    let call = |flags| replica_tcp(1, ("10.0.1.11", "10.0.1.15"), (4000, 8080), flags);
    assert_eq!(counts_for(&mut world, &call(SYN)), [3, 4]);
    assert_eq!(counts_for(&mut world, &call(ACK)), [3, 4]);
}

#[test]
fn what_a_domain_says_to_the_network_is_metered_apart() {
    let mut world = World::photos(&[Live]);
    let control = world.switch.dump().meters.keys().copied().max().unwrap();
    let asks = replica_frame(1).udp(ip("10.0.1.11"), ip(HOST), (4000, 53));
    world.check(&asks, "host to host");
    let arp = replica_frame(1).arp(1, (replica_mac(1), ip("10.0.1.11")), ip(HOST));
    world.check(&arp, "host");
    assert_eq!(world.switch.metered(control), 2);
    assert_eq!(world.switch.metered(7), 0);
}
