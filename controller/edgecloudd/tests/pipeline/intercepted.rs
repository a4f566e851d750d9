//! Interception in both directions, pinning, draining, failing, waking.

use edgecloudd::fake_switch::{ACK, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::{Draining, Failed, Live, Starting};

use crate::world::*;

const OTHERS: (u16, u16) = (5000, 80);

#[test]
fn both_addresses_survive_in_both_directions() {
    let mut world = World::photos(&[Live]);
    for (client, origin) in [(CLIENT, ORIGIN), (CLIENT_V6, ORIGIN_V6)] {
        world.check(&client_tcp(origin, OTHERS, SYN), "replica 1 to replica 1");
        // The reply has the origin's address, and the client sees the gateway's MAC address.
        let reply = |flags| replica_tcp(1, (origin, client), (80, 5000), flags);
        world.check(&reply(SYN_ACK), "access from gateway to client");
        world.check(&client_tcp(origin, OTHERS, ACK), "replica 1 to replica 1");
        world.check(&reply(ACK), "access from gateway to client");
    }
    assert_eq!(
        world.switch.metered(7),
        8,
        "the limit is for both directions"
    );
}

#[test]
fn what_is_not_intercepted_passes() {
    let mut world = World::photos(&[Live]);
    world.check(&client_tcp(ORIGIN, (5000, 22), SYN), "backhaul");
    world.check(&client_tcp("203.0.113.99", (5000, 80), SYN), "backhaul");
    // The middle of a connection that began before the redirect.
    world.check(&client_tcp(ORIGIN, (5001, 80), ACK), "backhaul");
    let mut broken = client_tcp(ORIGIN, (5002, 80), SYN);
    broken.invalid = true;
    world.check(&broken, "backhaul");
}

#[test]
fn the_appliance_is_not_redirected_to_itself() {
    let rules = r#"
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80] }
[[call]]
to = { name = "www.photos.example", tcp = [80] }
"#;
    let replicas = vec![replica(1, Live), replica(2, Live)];
    let mut world = World::new(vec![application(7, rules, replicas)], photo_names());
    let call = replica_tcp(1, ("10.0.1.11", ORIGIN), (4000, 80), SYN);
    world.check(&call, "backhaul");
    let names = names(&[("www.photos.example", &["10.0.1.12"], &[])]);
    let applications = world.state.applications().to_vec();
    world.change(applications, names);
    let sibling = replica_tcp(1, ("10.0.1.11", "10.0.1.12"), (4000, 80), SYN);
    world.check(&sibling, "deny hairpin");
}

#[test]
fn a_draining_replica_keeps_its_connections_and_gets_no_new_ones() {
    let mut world = World::photos(&[Live]);
    world.check(&client_tcp(ORIGIN, OTHERS, SYN), "replica 1 to replica 1");
    world.change(vec![photos(&[Draining, Live])], photo_names());
    world.check(&client_tcp(ORIGIN, OTHERS, SYN), "replica 1 to replica 1");
    world.check(&client_tcp(ORIGIN, OTHERS, ACK), "replica 1 to replica 1");
    for port in 6000..6032 {
        let begins = client_tcp(ORIGIN, (port, 80), SYN);
        world.check(&begins, "replica 2 to replica 2");
    }
    world.change(vec![photos(&[Draining, Starting])], photo_names());
    world.check(&client_tcp(ORIGIN, OTHERS, ACK), "replica 1 to replica 1");
    world.check(
        &client_tcp(ORIGIN, (6000, 80), ACK),
        "replica 2 to replica 2",
    );
    world.check(&client_tcp(ORIGIN, (7000, 80), SYN), "backhaul");
}

#[test]
fn a_second_replica_takes_new_connections_only() {
    let mut world = World::photos(&[Live]);
    for port in 5000..5064 {
        let begins = client_tcp(ORIGIN, (port, 80), SYN);
        world.check(&begins, "replica 1 to replica 1");
    }
    world.change(vec![photos(&[Live, Live])], photo_names());
    for port in 5000..5064 {
        let goes_on = client_tcp(ORIGIN, (port, 80), ACK);
        world.check(&goes_on, "replica 1 to replica 1");
    }
    let ports = 6000..6064;
    let chosen = ports.map(|port| world.send(&client_tcp(ORIGIN, (port, 80), SYN)).outputs[0].0);
    let chosen: std::collections::BTreeSet<_> = chosen.collect();
    assert_eq!(chosen.len(), 2, "both get some");
}

#[test]
fn on_fail_pass_and_block() {
    let rules = r#"
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80] }
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [443] }
on-fail = "block"
"#;
    let with = |state| vec![application(7, rules, vec![replica(1, state)])];
    let mut world = World::new(with(Live), photo_names());
    for port in [80, 443] {
        let begins = client_tcp(ORIGIN, (5000, port), SYN);
        world.check(&begins, "replica 1 to replica 1");
    }
    world.change(with(Failed), photo_names());
    for (port, expected) in [(80, "backhaul"), (443, "deny no-replica")] {
        world.check(&client_tcp(ORIGIN, (5001, port), SYN), expected);
        world.check(&client_tcp(ORIGIN, (5000, port), ACK), expected);
    }
    // Dom0 asks how it is, and it says so.
    let health = edgecloudd::fake_switch::Packet::ethernet(
        openflow::PortNumber::LOCAL,
        HOST_MAC,
        replica_mac(1),
        0,
    );
    let asks = health.tcp(ip(HOST), ip("10.0.1.11"), (9000, 8080), SYN);
    world.check(&asks, "replica 1");
    let tells = replica_tcp(1, ("10.0.1.11", HOST), (8080, 9000), SYN_ACK);
    world.check(&tells, "host to host");
    world.change(with(Live), photo_names());
    world.check(
        &client_tcp(ORIGIN, (5002, 443), SYN),
        "replica 1 to replica 1",
    );
}

#[test]
fn a_sleeping_appliance_is_woken() {
    let mut application = photos(&[]);
    application.sleeping = true;
    let mut world = World::new(vec![application], photo_names());
    world.check(&client_tcp(ORIGIN, OTHERS, SYN), "summon [0, 0, 0, 7]");
    world.check(&client_tcp(ORIGIN, OTHERS, ACK), "backhaul");
}

#[test]
fn who_came_first_keeps_a_shared_address() {
    let rule = |port: u16| {
        format!(
            "[[intercept]]\nfrom = \"clients\"\nto = {{ net = \"203.0.113.0/24\", tcp = [{port}] }}\n"
        )
    };
    let both = rule(80) + &rule(443);
    let first = application(3, &rule(80), vec![replica(1, Live)]);
    let second = application(4, &both, vec![replica(2, Live)]);
    let mut world = World::new(vec![second, first], names(&[]));
    world.check(
        &client_tcp(ORIGIN, (5000, 80), SYN),
        "replica 1 to replica 1",
    );
    world.check(
        &client_tcp(ORIGIN, (5000, 443), SYN),
        "replica 2 to replica 2",
    );
    world.check(&client_tcp(ORIGIN, (5000, 22), SYN), "backhaul");
}

#[test]
fn many_addresses_times_many_ports_are_a_sum() {
    let addresses: Vec<String> = (1..=40).map(|n| format!("203.0.113.{n}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let rules = "[[call]]\nto = { name = \"a.example\", tcp = [\"1000-1999\", 443, 80] }\n\
                 [[call]]\nto = { name = \"a.example\", tcp = [\"5000-5999\"] }\n";
    let applications = vec![application(7, rules, vec![replica(1, Live)])];
    let mut world = World::new(applications, names(&[("a.example", &addresses, &[])]));
    let count = world.switch.dump().flows.len();
    assert!(count < 300, "{count} flows");
    let mut call = |target: &str, port: u16, flags: u8, expected: &str| {
        let packet = replica_tcp(1, ("10.0.1.11", target), (4000, port), flags);
        world.check(&packet, expected);
    };
    call("203.0.113.1", 1999, SYN, "backhaul");
    call("203.0.113.40", 443, SYN, "backhaul");
    call("203.0.113.40", 5500, SYN, "backhaul");
    call("203.0.113.40", 2000, SYN, "deny unspoken");
    call("203.0.113.41", 443, SYN, "deny unspoken");
    call("203.0.113.2", 443, ACK, "deny unspoken");
}
