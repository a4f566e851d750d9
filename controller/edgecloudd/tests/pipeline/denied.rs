//! What is not spoken of, and lies.

use edgecloudd::fake_switch::{ACK, Packet, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;
use openflow::{PortNumber, mac};

use crate::world::*;

const OWN: &str = "10.0.1.11";
const OWN_V6: &str = "fd00::b";
const SIBLING: &str = "10.0.1.12";

#[test]
fn everything_unspoken_is_denied() {
    let mut world = World::photos(&[Live]);
    let mut tcp = |target: &str, port: u16, expected: &str| {
        world.check(&replica_tcp(1, (OWN, target), (4000, port), SYN), expected);
    };
    tcp("203.0.113.8", 443, "backhaul");
    tcp("203.0.113.8", 80, "deny unspoken");
    tcp("203.0.113.9", 443, "deny unspoken");
    tcp(CLIENT, 443, "deny unspoken");
    tcp(HOST, 22, "deny unspoken");
    tcp(METADATA, 80, "host to host");
    tcp(METADATA, 22, "deny unspoken");
    let udp = replica_frame(1).udp(ip(OWN), ip("203.0.113.8"), (4000, 443));
    world.check(&udp, "deny unspoken");
    let echo = replica_frame(1).icmp(ip(OWN), ip(ORIGIN), 8);
    world.check(&echo, "deny unspoken");
    let time = replica_frame(1).udp(ip(OWN), ip("198.51.100.123"), (123, 123));
    world.check(&time, "deny unspoken");
    let names = replica_frame(1).udp(ip(OWN), ip("198.51.100.53"), (4000, 53));
    world.check(&names, "backhaul");
    let elsewhere = replica_frame(1).udp(ip(OWN), ip("8.8.8.8"), (4000, 53));
    world.check(&elsewhere, "deny unspoken");
    let solicitation = replica_frame(1).icmp(ip(OWN_V6), ip("ff02::2"), 133);
    world.check(&solicitation, "deny not-spoken");
}

#[test]
fn nobody_reaches_a_domain_unasked() {
    let mut world = World::photos(&[Live]);
    world.check(&client_tcp(OWN, (5000, 443), SYN), "replica 1 to replica 1");
    world.check(&client_tcp(OWN, (5000, 22), SYN), "deny unspoken");
    world.check(&client_tcp(OWN, (5001, 443), ACK), "deny unspoken");
    let backhaul = Packet::ethernet(BACKHAUL, GATEWAY_MAC, replica_mac(1), 0);
    let probe = backhaul.tcp(ip(ORIGIN), ip(OWN), (5000, 443), SYN);
    world.check(&probe, "deny unspoken");
    world.check(&client_tcp(METADATA, (5000, 80), SYN), "deny metadata");
    let unknown = Packet::ethernet(PortNumber(99), CLIENT_MAC, GATEWAY_MAC, 0);
    world.check(&unknown, "deny unknown-port");
}

#[test]
fn a_domain_that_lies_is_denied() {
    let mut world = World::photos(&[Live, Live]);
    let call = |source: &str| replica_tcp(1, (source, "203.0.113.8"), (4000, 443), SYN);
    world.check(&call(SIBLING), "deny spoofed-address");
    world.check(&call(CLIENT), "deny spoofed-address");
    world.check(&call(HOST), "deny spoofed-address");
    world.check(&call(OWN).tagged(5), "deny tagged");
    let mut other_mac = call(OWN);
    other_mac.set(openflow::Field::EthSrc, mac(replica_mac(2)));
    world.check(&other_mac, "deny spoofed-mac");
    let lldp = Packet::ethernet(PortNumber(11), replica_mac(1), ALL_MAC, 0x88cc);
    world.check(&lldp, "deny other-protocol");
    // A "reply" to a client who asked nothing, and one in another replica's connection.
    let reply = |number: u32| replica_tcp(number, (ORIGIN, CLIENT), (80, 5000), SYN_ACK);
    world.check(&reply(1), "deny spoofed-address");
    let opened = world.send(&client_tcp(ORIGIN, (5000, 80), SYN));
    let chosen = opened.outputs[0].0.0 - 10;
    world.check(&reply(3 - chosen), "deny spoofed-address");
    world.check(&reply(chosen), "access from gateway to client");
}

#[test]
fn resolution_tells_the_truth_or_nothing() {
    let mut world = World::photos(&[Live, Live]);
    let asks = |sender: [u8; 6], source: &str, target: &str| {
        let frame = Packet::ethernet(PortNumber(11), replica_mac(1), ALL_MAC, 0);
        frame.arp(1, (sender, ip(source)), ip(target))
    };
    let own = replica_mac(1);
    world.check(&asks(own, OWN, CLIENT), "access");
    world.check(&asks(own, OWN, HOST), "host");
    world.check(&asks(own, OWN, "10.0.1.254"), "backhaul");
    world.check(&asks(own, OWN, SIBLING), "replica 2");
    world.check(&asks(own, OWN, OWN), "deny own-address");
    world.check(&asks(own, CLIENT, "10.0.1.254"), "deny spoofed-arp");
    world.check(&asks(replica_mac(2), OWN, CLIENT), "deny spoofed-arp");
    let client = Packet::ethernet(ACCESS, CLIENT_MAC, ALL_MAC, 0);
    let asked = client.clone().arp(1, (CLIENT_MAC, ip(CLIENT)), ip(OWN));
    world.check(&asked, "replica 1");
    let poison = client.arp(2, (CLIENT_MAC, ip(OWN)), ip(CLIENT));
    world.check(&poison, "deny spoofed-arp");
}

#[test]
fn neighbour_discovery_tells_the_truth_or_nothing() {
    let rules = "[[speak]]\nprotocols = [\"nd\"]\n";
    let replicas = vec![replica(1, Live), replica(2, Live)];
    let mut world = World::new(vec![application(7, rules, replicas)], names(&[]));
    let says = |kind: u8, about: &str, told: u128| {
        let frame = replica_frame(1).icmp(ip(OWN_V6), ip(CLIENT_V6), kind);
        frame.about(ip(about), told)
    };
    let own = mac(replica_mac(1));
    world.check(&says(135, CLIENT_V6, own), "access");
    world.check(&says(135, "2001:db8::1", 0), "backhaul");
    world.check(&says(135, "fd00::1", own), "host");
    world.check(&says(135, "fd00::c", own), "replica 2");
    // What Open vSwitch makes of an option that stands twice.
    world.check(&says(135, "::", 0), "deny spoofed-neighbour");
    let lie = mac(replica_mac(2));
    world.check(&says(135, CLIENT_V6, lie), "deny spoofed-neighbour");
    world.check(&says(136, OWN_V6, own), "access");
    world.check(&says(136, "fd00::c", own), "deny spoofed-neighbour");
    world.check(&says(136, OWN_V6, lie), "deny spoofed-neighbour");
    let router = replica_frame(1).icmp(ip(OWN_V6), ip("ff02::1"), 134);
    world.check(&router, "deny spoofed-neighbour");
    let detection = replica_frame(1).icmp(ip("::"), ip("ff02::1:ff00:b"), 135);
    world.check(&detection.about(ip(OWN_V6), 0), "deny own-address");
    let advertisement = Packet::ethernet(BACKHAUL, GATEWAY_MAC, ALL_MAC, 0);
    let advertisement = advertisement.icmp(ip("fe80::1"), ip("ff02::1"), 134);
    world.check(&advertisement, "access, host, replica 1, replica 2");
}

#[test]
fn outsiders_that_pretend_to_be_ours_are_denied() {
    let mut world = World::photos(&[Live]);
    for (source, expected) in [
        (OWN, "deny spoofed-address"),
        (HOST, "deny spoofed-address"),
        (METADATA, "deny spoofed-address"),
        ("192.0.2.1", "deny spoofed-address"),
    ] {
        let frame = Packet::ethernet(ACCESS, CLIENT_MAC, GATEWAY_MAC, 0);
        world.check(&frame.udp(ip(source), ip(OWN), (53, 4000)), expected);
    }
    let as_replica = Packet::ethernet(ACCESS, replica_mac(1), GATEWAY_MAC, 0);
    let as_replica = as_replica.udp(ip(CLIENT), ip(ORIGIN), (1, 1));
    world.check(&as_replica, "deny spoofed-mac");
    // An answer to a question that was not asked.
    let answer = Packet::ethernet(PortNumber::LOCAL, HOST_MAC, replica_mac(1), 0);
    let answer = answer.tcp(ip(HOST), ip(OWN), (53, 4000), SYN_ACK);
    world.check(&answer, "deny unspoken");
}
