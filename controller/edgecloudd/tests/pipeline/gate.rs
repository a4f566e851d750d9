//! An appliance that keeps the gate: who waits there, who passes, and what counts.

use edgecloudd::fake_switch::{ACK, Packet, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;
use edgecloudd::pipeline::{Admitted, Application, Class};

use crate::world::*;

const PORTAL: &str = r#"
[[speak]]
protocols = ["arp", "dns"]
[[admit]]
from = "clients"
[[admit]]
from = "clients"
to = { name = "c.chat.example", tcp = [443] }
[[intercept]]
from = "clients"
to = { net = "0.0.0.0/0", tcp = [80, 443] }
on-fail = "block"
[[serve]]
as = "portal.example"
tcp = [80, 443]
[[serve]]
as = "radius.example"
from = "203.0.113.54/32"
udp = [3799]
"#;

const FAR: &str = "203.0.113.99";
const CHAT: &str = "203.0.113.50";

fn portal(admitted: &[[u8; 6]]) -> Vec<Application> {
    let mut portal = application(3, PORTAL, vec![replica(5, Live)]);
    let rate = manifest::Rate::from_kbit(2000);
    portal.admitted = admitted
        .iter()
        .zip(0..)
        .map(|(mac, place)| Admitted {
            place,
            address: ip(CLIENT),
            mac: *mac,
            rate,
        })
        .collect();
    let mut photos = application(7, PHOTOS, vec![replica(1, Live)]);
    photos.free_to_client = false;
    vec![portal, photos]
}

fn all_names() -> std::collections::BTreeMap<manifest::Name, edgecloudd::pipeline::Addresses> {
    let mut all = photo_names();
    all.extend(names(&[("c.chat.example", &[CHAT], &[])]));
    all
}

fn world(admitted: &[[u8; 6]]) -> World {
    World::new(portal(admitted), all_names())
}

fn back(from: &str, ports: (u16, u16), flags: u8) -> Packet {
    let frame = Packet::ethernet(BACKHAUL, GATEWAY_MAC, CLIENT_MAC, 0);
    frame.tcp(ip(from), ip(CLIENT), ports, flags)
}

fn client_udp(target: &str, ports: (u16, u16)) -> Packet {
    let frame = Packet::ethernet(ACCESS, CLIENT_MAC, GATEWAY_MAC, 0);
    frame.udp(ip(CLIENT), ip(target), ports)
}

#[test]
fn a_visitor_finds_the_portal_and_nothing_else() {
    let mut world = world(&[]);
    world.check(&client_tcp(FAR, (5000, 80), SYN), "replica 5 to replica 5");
    world.check(
        &client_tcp("10.0.1.15", (5001, 443), SYN),
        "replica 5 to replica 5",
    );
    world.check(&client_tcp(FAR, (5000, 443), SYN), "replica 5 to replica 5");
    world.check(&client_tcp(FAR, (5000, 22), SYN), "deny not-admitted");
    world.check(&client_tcp(ORIGIN, (5002, 22), SYN), "deny not-admitted");
    world.check(&client_udp(FAR, (5000, 53)), "deny not-admitted");
    world.check(&client_udp("198.51.100.53", (5000, 53)), "backhaul");
    world.check(&back(FAR, (443, 5000), SYN_ACK), "deny not-admitted");
}

#[test]
fn who_is_let_through_meets_the_others_appliances_and_not_the_portal() {
    let mut world = world(&[CLIENT_MAC]);
    world.check(&client_tcp(FAR, (5000, 80), SYN), "backhaul");
    world.check(&client_tcp(FAR, (5000, 443), SYN), "backhaul");
    world.check(&back(FAR, (443, 5000), SYN_ACK), "access");
    world.check(
        &client_tcp(ORIGIN, (5001, 80), SYN),
        "replica 1 to replica 1",
    );
    world.check(
        &client_tcp("10.0.1.15", (5001, 443), SYN),
        "replica 5 to replica 5",
    );
    assert_eq!(world.switch.metered(8192), 3);
}

#[test]
fn an_address_without_its_mac_is_a_visitors() {
    let mut world = world(&[[2, 0, 0, 0, 0, 0xc9]]);
    world.check(&client_tcp(FAR, (5000, 22), SYN), "deny not-admitted");
}

#[test]
fn free_services_count_for_who_pays_and_sessions_for_the_client() {
    let mut world = world(&[CLIENT_MAC]);
    let mut counts = |packet: &Packet| {
        let cookies = world.send(packet).cookies();
        let traffic = cookies.iter().filter(|cookie| cookie.class.is_traffic());
        let told = traffic.map(|c| (c.class, c.application, c.rule));
        told.collect::<Vec<_>>()
    };
    let chat = client_tcp(CHAT, (5000, 443), SYN);
    assert_eq!(counts(&chat), [(Class::Free, 3, 2)]);
    assert_eq!(counts(&back(CHAT, (443, 5000), ACK)), [(Class::Free, 3, 2)]);
    let (sent, received) = (512, 513);
    let far = client_tcp(FAR, (5000, 443), SYN);
    assert_eq!(counts(&far), [(Class::Session, 3, sent)]);
    assert_eq!(
        counts(&back(FAR, (443, 5000), ACK)),
        [(Class::Session, 3, received)]
    );
    assert_eq!(Admitted::of_cookie_rule(received), Some((0, true)));
    assert_eq!(Admitted::of_cookie_rule(511), None);
}

#[test]
fn without_being_let_through_a_free_service_is_reached_all_the_same() {
    let mut world = world(&[]);
    // The portal's wider rule does not take it.
    world.check(&client_tcp(CHAT, (5000, 443), SYN), "backhaul");
    world.check(&client_tcp(CHAT, (5000, 443), ACK), "backhaul");
    world.check(&back(CHAT, (443, 5000), SYN_ACK), "access");
    world.check(&client_tcp(CHAT, (5000, 22), SYN), "deny not-admitted");
    world.check(&back(CHAT, (22, 5000), SYN_ACK), "deny not-admitted");
}

#[test]
fn letting_one_through_and_back_changes_that_client_alone() {
    let mut world = world(&[]);
    let far = client_tcp(FAR, (5000, 22), SYN);
    world.check(&far, "deny not-admitted");
    world.change(portal(&[CLIENT_MAC]), all_names());
    world.check(&far, "backhaul");
    world.change(portal(&[]), all_names());
    world.check(&far, "deny not-admitted");
}

#[test]
fn a_server_of_the_operators_reaches_what_is_served_to_it_alone() {
    let mut world = world(&[]);
    let asks = |from: &str, port: u16| {
        let frame = Packet::ethernet(BACKHAUL, GATEWAY_MAC, replica_mac(5), 0);
        frame.udp(ip(from), ip("10.0.1.15"), (5000, port))
    };
    world.check(&asks("203.0.113.54", 3799), "replica 5");
    world.check(&asks("203.0.113.54", 80), "deny unspoken");
    world.check(&asks(FAR, 3799), "deny unspoken");
    world.check(&client_udp("10.0.1.15", (5000, 3799)), "deny unspoken");
}
