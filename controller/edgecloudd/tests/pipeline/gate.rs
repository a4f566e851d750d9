//! An appliance that keeps the gate: who waits there, who passes, and what counts.

use edgecloudd::fake_switch::{ACK, Packet, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;
use edgecloudd::pipeline::{Admitted, Application, Class, FreeService, free_services};

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

/// The publisher of a chat service, which is elsewhere; of its edge, which is here; and of news by many names.
const CHAT_EDGE: &str = r#"
[[admit]]
from = "clients"
to = { name = "c.chat.example", tcp = [80, 443], udp = [443] }
[[serve]]
as = "edge.chat.example"
tcp = [443]
[[admit]]
from = "10.0.0.0/28"
to = { name = "*.news.example", tcp = [443] }
[[admit]]
from = "clients"
to = { net = "203.0.113.96/28", tcp = [443] }
"#;
const KEEPER: &str = r#"
[[speak]]
protocols = ["arp", "dns"]
[[admit]]
from = "clients"
[[intercept]]
from = "clients"
to = { net = "0.0.0.0/0", tcp = [80, 443] }
on-fail = "block"
"#;
const PORTAL_ADDRESS: &str = "10.0.1.15";
const EDGE_ADDRESS: &str = "10.0.1.11";

/// Who keeps the gate, and two with names: one that pays for others' services, and one that does not.
fn payers() -> Vec<Application> {
    let portal = application(3, KEEPER, vec![replica(5, Live)]);
    let chat = application(4, CHAT_EDGE, vec![replica(1, Live)]);
    let mut photos = application(7, PHOTOS, vec![replica(2, Live)]);
    photos.free_to_client = false;
    vec![portal, chat, photos]
}

fn payers_names() -> std::collections::BTreeMap<manifest::Name, edgecloudd::pipeline::Addresses> {
    let mut all = all_names();
    all.extend(names(&[
        (
            "a.news.example",
            &["203.0.113.60", EDGE_ADDRESS, CLIENT],
            &[],
        ),
        ("b.news.example", &[HOST], &["203.0.113.61"]),
    ]));
    all
}

fn portals(target: &str, ports: (u16, u16), flags: u8) -> Packet {
    replica_tcp(5, (PORTAL_ADDRESS, target), ports, flags)
}

fn to_portal(source: &str, ports: (u16, u16), flags: u8) -> Packet {
    let frame = Packet::ethernet(BACKHAUL, GATEWAY_MAC, replica_mac(5), 0);
    frame.tcp(ip(source), ip(PORTAL_ADDRESS), ports, flags)
}

/// What traffic a packet counts as.
fn counted(world: &mut World, packet: &Packet) -> Vec<(Class, u32, u16)> {
    let cookies = world.send(packet).cookies();
    let traffic = cookies.iter().filter(|cookie| cookie.class.is_traffic());
    traffic.map(|c| (c.class, c.application, c.rule)).collect()
}

#[test]
fn who_keeps_the_gate_reaches_free_services_at_their_payers_expense() {
    let mut world = World::new(payers(), payers_names());
    let (syn, answer) = (
        portals(CHAT, (5000, 443), SYN),
        to_portal(CHAT, (443, 5000), SYN_ACK),
    );
    world.check(&syn, "backhaul");
    world.check(&answer, "replica 5");
    world.check(&portals(CHAT, (5000, 443), ACK), "backhaul");
    // Each packet once, for the rule, as clients' own are.
    let paid = [(Class::Free, 4, 0)];
    for packet in [&syn, &answer, &portals(CHAT, (5000, 443), ACK)] {
        assert_eq!(counted(&mut world, packet), paid);
    }
    // By the payer's meter, whose number is its zone, and not by the portal's.
    assert_eq!((world.switch.metered(4), world.switch.metered(3)), (6, 0));
    world.check(&portals("203.0.113.60", (5001, 443), SYN), "backhaul");
    let news = portals("203.0.113.60", (5001, 443), ACK);
    assert_eq!(counted(&mut world, &news), [(Class::Free, 4, 2)]);
}

#[test]
fn who_keeps_the_gate_reaches_nothing_else() {
    let mut world = World::new(payers(), payers_names());
    // Another port, another protocol, somebody else, and what has no name.
    world.check(&portals(CHAT, (5000, 22), SYN), "deny unspoken");
    let udp = replica_frame(5).udp(ip(PORTAL_ADDRESS), ip(CHAT), (5000, 443));
    world.check(&udp, "deny unspoken");
    world.check(&portals(FAR, (5000, 443), SYN), "deny unspoken");
    world.check(&portals(ORIGIN, (5000, 443), SYN), "deny unspoken");
    world.check(&portals("203.0.113.97", (5000, 443), SYN), "deny unspoken");
    // An address that the name has no more, and those that its owner chose and cannot have.
    world.check(&portals("203.0.113.61", (5000, 443), SYN), "deny unspoken");
    world.check(&portals(CLIENT, (5000, 443), SYN), "deny unspoken");
    world.check(&portals(HOST, (5000, 443), SYN), "deny unspoken");
    // What another application serves and does not pay for.
    world.check(&portals("10.0.1.12", (5000, 443), SYN), "deny unspoken");
    // Neither in the middle of nothing, nor from the service unasked, nor from another's address.
    world.check(&portals(CHAT, (5000, 443), ACK), "deny unspoken");
    world.check(&to_portal(CHAT, (443, 5000), SYN), "deny unspoken");
    world.check(&to_portal(CHAT, (443, 8443), SYN_ACK), "deny unspoken");
    let forged = replica_tcp(5, (CLIENT, CHAT), (5000, 443), SYN);
    world.check(&forged, "deny spoofed-address");
    // Nor does anybody who keeps no gate.
    let from = |number, source| replica_tcp(number, (source, CHAT), (5000, 443), SYN);
    world.check(&from(1, EDGE_ADDRESS), "deny unspoken");
    world.check(&from(2, "10.0.1.12"), "deny unspoken");
}

#[test]
fn a_service_that_is_here_is_reached_through_its_own_rule() {
    let mut world = World::new(payers(), payers_names());
    world.check(
        &portals(EDGE_ADDRESS, (5000, 443), SYN),
        "replica 1 to replica 1",
    );
    // Where it arrives it counts, once.
    let more = portals(EDGE_ADDRESS, (5000, 443), ACK);
    assert_eq!(
        counted(&mut world, &more),
        [(Class::Established, 4, edgecloudd::pipeline::Cookie::NO_RULE)]
    );
    let answer = replica_tcp(1, (EDGE_ADDRESS, PORTAL_ADDRESS), (443, 5000), SYN_ACK);
    world.check(&answer, "replica 5 from gateway to replica 5");
    world.check(&portals(EDGE_ADDRESS, (5000, 80), SYN), "deny unspoken");
}

#[test]
fn revoking_who_pays_cuts_what_goes_to_the_free_service() {
    let mut world = World::new(payers(), payers_names());
    let (more, answer) = (
        portals(CHAT, (5000, 443), ACK),
        to_portal(CHAT, (443, 5000), ACK),
    );
    world.check(&portals(CHAT, (5000, 443), SYN), "backhaul");
    world.check(&answer, "replica 5");
    let mut left = payers();
    left.remove(1);
    world.change(left.clone(), payers_names());
    for packet in [&more, &answer, &portals(CHAT, (5001, 443), SYN)] {
        world.check(packet, "deny unspoken");
    }
    // Nor is it taken up by the next who pays.
    let mut other = application(5, CHAT_EDGE, vec![replica(3, Live)]);
    other.free_to_client = true;
    left.push(other);
    world.change(left, payers_names());
    world.check(&more, "deny unspoken");
    world.check(&answer, "deny unspoken");
    world.check(&portals(CHAT, (5001, 443), SYN), "backhaul");
}

#[test]
fn a_connection_outlives_that_the_name_gets_another_address() {
    let mut world = World::new(payers(), payers_names());
    world.check(&portals(CHAT, (5000, 443), SYN), "backhaul");
    let mut moved = payers_names();
    moved.extend(names(&[("c.chat.example", &["203.0.113.51"], &[CHAT])]));
    world.change(payers(), moved);
    world.check(&to_portal(CHAT, (443, 5000), SYN_ACK), "replica 5");
    world.check(&portals(CHAT, (5000, 443), ACK), "backhaul");
    world.check(&portals(CHAT, (5001, 443), SYN), "deny unspoken");
    world.check(&portals("203.0.113.51", (5001, 443), SYN), "backhaul");
}

#[test]
fn who_keeps_the_gate_is_told_what_the_switch_lets_it_reach() {
    let world = World::new(payers(), payers_names());
    let told = |number: usize| -> Vec<String> {
        let all = free_services(&world.state, &world.state.applications()[number]);
        all.iter().map(say).collect()
    };
    assert_eq!(
        told(0),
        [
            "c.chat.example (c.chat.example) (4, 0) clients 80,443 {203.0.113.50}",
            "edge.chat.example (edge.chat.example) (4, 1) clients 443 {10.0.1.11, fd00::b}",
            "a.news.example (*.news.example) (4, 2) 10.0.0.0/28 443 {203.0.113.60}",
        ]
    );
    assert!(told(1).is_empty(), "it keeps no gate");
}

fn say(service: &FreeService) -> String {
    let FreeService {
        name,
        pattern,
        payer,
        from,
        tcp,
        addresses,
    } = service;
    let payer = (payer.application, payer.rule);
    format!("{name} ({pattern}) {payer:?} {from} {tcp} {addresses:?}")
}
