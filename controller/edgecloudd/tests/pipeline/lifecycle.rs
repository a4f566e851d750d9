//! Names that rotate, tokens that are revoked, restarts.

use edgecloudd::fake_switch::{ACK, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;

use crate::world::*;

const OWN: &str = "10.0.1.11";
const API: &str = "203.0.113.8";

#[test]
fn connections_survive_that_a_name_gets_other_addresses() {
    let mut world = World::photos(&[Live]);
    world.check(
        &client_tcp(ORIGIN, (5000, 80), SYN),
        "replica 1 to replica 1",
    );
    world.check(&replica_tcp(1, (OWN, API), (4000, 443), SYN), "backhaul");
    let rotated = names(&[
        ("www.photos.example", &["198.51.100.1"], &[ORIGIN]),
        ("api.photos.example", &["198.51.100.2"], &[]),
    ]);
    world.change(vec![photos(&[Live])], rotated);
    world.check(
        &client_tcp(ORIGIN, (5000, 80), ACK),
        "replica 1 to replica 1",
    );
    let reply = replica_tcp(1, (ORIGIN, CLIENT), (80, 5000), ACK);
    world.check(&reply, "access from gateway to client");
    world.check(&replica_tcp(1, (OWN, API), (4000, 443), ACK), "backhaul");
    let answer =
        edgecloudd::fake_switch::Packet::ethernet(BACKHAUL, GATEWAY_MAC, replica_mac(1), 0);
    let answer = answer.tcp(ip(API), ip(OWN), (443, 4000), SYN_ACK);
    world.check(&answer, "replica 1");
    // New ones go by what DNS says now.
    world.check(&client_tcp(ORIGIN, (5001, 80), SYN), "backhaul");
    let moved = client_tcp("198.51.100.1", (5001, 80), SYN);
    world.check(&moved, "replica 1 to replica 1");
    world.check(
        &replica_tcp(1, (OWN, API), (4001, 443), SYN),
        "deny unspoken",
    );
}

#[test]
fn revoking_cuts_what_lives_and_leaves_others_alone() {
    let rules =
        "[[intercept]]\nfrom = \"clients\"\nto = { net = \"198.51.100.0/28\", tcp = [80] }\n";
    let other = || application(9, rules, vec![replica(5, Live)]);
    let mut world = World::new(vec![photos(&[Live]), other()], photo_names());
    world.check(
        &client_tcp(ORIGIN, (5000, 80), SYN),
        "replica 1 to replica 1",
    );
    let theirs = client_tcp("198.51.100.1", (5000, 80), SYN);
    world.check(&theirs, "replica 5 to replica 5");
    world.change(vec![other()], photo_names());
    world.switch.flush_zone(7);
    world.reference.flush(7);
    world.check(&client_tcp(ORIGIN, (5000, 80), ACK), "backhaul");
    let reply = replica_tcp(1, (ORIGIN, CLIENT), (80, 5000), ACK);
    world.check(&reply, "deny unknown-port");
    let theirs = client_tcp("198.51.100.1", (5000, 80), ACK);
    world.check(&theirs, "replica 5 to replica 5");
    // The same application again does not find its old connections.
    world.change(vec![photos(&[Live]), other()], photo_names());
    world.check(&client_tcp(ORIGIN, (5000, 80), ACK), "backhaul");
}

#[test]
fn a_restart_that_finds_all_as_it_was_sends_nothing() {
    let mut world = World::photos(&[Live, Live]);
    assert_eq!(world.change(vec![photos(&[Live, Live])], photo_names()), 0);
    assert!(world.change(vec![photos(&[Live])], photo_names()) > 0);
}
