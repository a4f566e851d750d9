//! Random manifests and random packets: the compiled tables agree with the reference.
//!
//! `EDGECLOUD_PIPELINE_CASES` says how many packets (a million takes some minutes), and
//! `EDGECLOUD_PIPELINE_SEED` repeats a run that failed: the seed is printed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edgecloudd::fake_switch::{ACK, Packet, SYN, SYN_ACK};
use edgecloudd::pipeline::{Addresses, Admitted, Application, Replica, ReplicaState};
use fastrand::Rng;
use manifest::{Admit, Name, Peer, Rule};
use openflow::{Field, PortNumber, mac};

use crate::world::*;

/// Packets by default: some seconds without optimisation.
const CASES: u64 = 40_000;
/// Packets and changes that one world sees.
const STEPS: u64 = 150;

#[test]
fn the_tables_agree_with_the_reference() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cases = number("EDGECLOUD_PIPELINE_CASES").unwrap_or(CASES);
    let seed = number("EDGECLOUD_PIPELINE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("EDGECLOUD_PIPELINE_SEED={seed} EDGECLOUD_PIPELINE_CASES={cases}");
    let mut rng = Rng::with_seed(seed);
    let mut left = Left::default();
    for _ in 0..cases.div_ceil(STEPS) {
        one_world(&mut rng, &mut left);
    }
    println!("{left:?}");
    if cases < CASES {
        return;
    }
    // A test whose packets were all denied would say nothing. Usual are 40, 57 and 5 in a hundred.
    let total = left.denied + left.delivered;
    assert!(left.denied > total / 5 && left.delivered > total / 5);
    assert!(left.to_replicas > total / 50);
}

#[derive(Debug, Default)]
struct Left {
    denied: u64,
    delivered: u64,
    to_replicas: u64,
}

fn one_world(rng: &mut Rng, left: &mut Left) {
    let mut world = World::new(applications(rng), random_names(rng));
    let mut seen: Vec<Packet> = Vec::new();
    for _ in 0..STEPS {
        if rng.u8(..) < 6 {
            change(rng, &mut world);
            continue;
        }
        let packet = match (rng.u8(..8), seen.is_empty()) {
            (0 | 1, false) => answer_to(rng, &seen),
            (2, false) => again(rng, &seen),
            (3..=5, _) => permitted(rng, &world).unwrap_or_else(|| packet(rng, &world)),
            _ => packet(rng, &world),
        };
        let answer = world.send(&packet);
        if answer.outputs.is_empty() {
            left.denied += 1;
        } else {
            left.delivered += 1;
        }
        for (port, out) in answer.outputs {
            if (11..20).contains(&port.0) {
                left.to_replicas += 1;
            }
            let mut out = out;
            out.set(Field::InPort, port.0.into());
            seen.push(fresh(&out));
        }
        // What was seen long ago is of no more interest than what was seen just now.
        if seen.len() > 40 {
            seen.drain(..20);
        }
    }
}

/// What a packet is on the wire: without registers and without its connection's state.
fn fresh(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    let carried = [Field::CtState, Field::CtZone, Field::CtMark, Field::CtLabel];
    for field in Field::REGISTERS.into_iter().chain(carried) {
        packet.set(field, 0);
    }
    packet
}

/// Who got a packet answers it.
fn answer_to(rng: &mut Rng, seen: &[Packet]) -> Packet {
    let mut packet = seen[rng.usize(..seen.len())].clone();
    let pairs = [
        (Field::EthSrc, Field::EthDst),
        (Field::Ipv4Src, Field::Ipv4Dst),
        (Field::Ipv6Src, Field::Ipv6Dst),
        (Field::TcpSrc, Field::TcpDst),
        (Field::UdpSrc, Field::UdpDst),
    ];
    for (one, other) in pairs {
        if let (Some(a), Some(b)) = (packet.get(one), packet.get(other)) {
            packet.set(one, b);
            packet.set(other, a);
        }
    }
    if packet.get(Field::TcpFlags).is_some() {
        let flags = pick(rng, &[SYN_ACK, ACK]);
        packet.set(Field::TcpFlags, flags.into());
    }
    // A domain that answers as another's MAC address would be denied for that alone.
    if rng.bool() {
        let number = packet.in_port().0.wrapping_sub(10);
        if (1..10).contains(&number) {
            packet.set(Field::EthSrc, mac(replica_mac(number)));
        }
    }
    packet
}

/// The same way once more, as it arrived.
fn again(rng: &mut Rng, seen: &[Packet]) -> Packet {
    let back = answer_to(rng, seen);
    let mut packet = answer_to(rng, std::slice::from_ref(&back));
    packet.set(Field::InPort, pick(rng, &[1u32, 2, 11, 12, 13, 14]).into());
    packet
}

fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

const NAMES: [&str; 4] = [
    "a.photos.example",
    "b.photos.example",
    "c.chat.example",
    "d.example",
];
const FAR: [&str; 6] = [
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.65",
    "198.51.100.53",
    "2001:db8:f::1",
    "2001:db8:f::2",
];
const PORTS: [u16; 7] = [22, 53, 80, 123, 443, 8000, 8099];

fn random_names(rng: &mut Rng) -> BTreeMap<Name, Addresses> {
    // Replicas have names, too: so domains call each other.
    let near: Vec<String> = (11..=16).map(|n| format!("10.0.1.{n}")).collect();
    let mut addresses = |most: usize| {
        let count = rng.usize(..=most);
        let any = |_| match rng.u8(..4) {
            0 => ip(&pick(rng, &near)),
            _ => ip(pick(rng, &FAR)),
        };
        (0..count).map(any).collect()
    };
    let mut all = BTreeMap::new();
    for name in NAMES {
        let (current, retired) = (addresses(4), addresses(2));
        all.insert(name.parse().unwrap(), Addresses { current, retired });
    }
    all
}

fn applications(rng: &mut Rng) -> Vec<Application> {
    let mut next = 1;
    let numbers = 1..=rng.u16(1..=3);
    let all = numbers.map(|number| {
        let replicas = (0..rng.u32(..=2)).map(|_| random_replica(rng, &mut next));
        let replicas: Vec<Replica> = replicas.collect();
        let mut application = application(number, &rules(rng), replicas);
        application.sleeping = rng.u8(..4) == 0;
        application.free_to_client = rng.bool();
        application
    });
    let mut all: Vec<Application> = all.collect();
    admit(rng, &mut all);
    all
}

/// Lets some clients through the first gate, one of them perhaps with another's MAC address.
fn admit(rng: &mut Rng, all: &mut [Application]) {
    for application in all.iter_mut() {
        application.admitted.clear();
    }
    let gate = all.iter_mut().find(|a| a.keeps_gate().is_some());
    let Some(gate) = gate else {
        return;
    };
    for (place, client) in [CLIENT, "10.0.0.20", CLIENT_V6].into_iter().enumerate() {
        if rng.bool() {
            let rate = rng
                .bool()
                .then(|| manifest::Rate::from_kbit(2000))
                .flatten();
            gate.admitted.push(Admitted {
                place: place as u16,
                address: ip(client),
                mac: pick(rng, &[CLIENT_MAC, CLIENT_MAC, [2, 0, 0, 0, 0, 0xc2]]),
                rate,
            });
        }
    }
}

fn random_replica(rng: &mut Rng, next: &mut u32) -> Replica {
    use ReplicaState::{Draining, Failed, Live, Starting};
    let state = pick(rng, &[Live, Live, Live, Draining, Failed, Starting]);
    *next += 1;
    replica(*next - 1, state)
}

fn rules(rng: &mut Rng) -> String {
    let mut text = String::new();
    if rng.bool() {
        text += "on-fail = \"block\"\n";
    }
    // A manifest has no rule twice.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..rng.usize(1..=6) {
        let rule = rule(rng);
        if seen.insert(rule.clone()) {
            text += &rule;
        }
    }
    text
}

fn rule(rng: &mut Rng) -> String {
    let protocols = ["arp", "nd", "dhcp", "dns", "mdns", "ntp", "icmp"];
    let spoken: Vec<String> = protocols
        .iter()
        .filter(|_| rng.bool())
        .map(|protocol| format!("\"{protocol}\""))
        .collect();
    match rng.u8(..7) {
        5 => format!(
            "[[admit]]\nfrom = \"{}\"\nto = {{ {} }}\n",
            source(rng),
            peer(rng)
        ),
        6 if rng.bool() => format!("[[admit]]\nfrom = \"{}\"\n", source(rng)),
        0 if !spoken.is_empty() => format!("[[speak]]\nprotocols = [{}]\n", spoken.join(", ")),
        1 | 2 => {
            let (from, to, on_fail) = (source(rng), peer(rng), rng.bool());
            let on_fail = if on_fail { "on-fail = \"pass\"\n" } else { "" };
            format!("[[intercept]]\nfrom = \"{from}\"\nto = {{ {to} }}\n{on_fail}")
        }
        3 => {
            let (name, from) = (pick(rng, &NAMES), source(rng));
            let ports = services(rng).replace(", ", "\n");
            format!("[[serve]]\nas = \"{name}\"\nfrom = \"{from}\"\n{ports}\n")
        }
        _ => format!("[[call]]\nto = {{ {} }}\n", peer(rng)),
    }
}

fn source(rng: &mut Rng) -> &'static str {
    let all = [
        "clients",
        "clients",
        "10.0.0.0/29",
        "2001:db8:c::/112",
        "10.0.1.0/28",
        "203.0.113.0/24",
    ];
    pick(rng, &all)
}

fn peer(rng: &mut Rng) -> String {
    let names = [
        "name = \"*.photos.example\"",
        "name = \"c.chat.example\"",
        "name = \"d.example\"",
    ];
    let nets = [
        "net = \"203.0.113.0/26\"",
        "net = \"0.0.0.0/0\"",
        "net = \"::/0\"",
    ];
    let (name, net) = (pick(rng, &names), pick(rng, &nets));
    let peer = if rng.u8(..3) == 0 { net } else { name };
    format!("{peer}, {}", services(rng))
}

fn services(rng: &mut Rng) -> String {
    let ports = [
        "[80]",
        "[443, 80]",
        "[\"8000-8100\", 22, 53]",
        "[\"1-1023\"]",
    ];
    let ports = pick(rng, &ports);
    // A comma within the ports has no space after it here, so that lines can be made of parts.
    let ports = ports.replace(", ", ",");
    match rng.u8(..3) {
        0 => format!("udp = {ports}"),
        1 => format!("tcp = {ports}, udp = [80,443]"),
        _ => format!("tcp = {ports}"),
    }
}

fn change(rng: &mut Rng, world: &mut World) {
    match rng.u8(..4) {
        3 => {
            let mut all = world.state.applications().to_vec();
            admit(rng, &mut all);
            let names = world.state.names().clone();
            world.change(all, names);
        }
        0 => {
            let (all, names) = (world.state.applications().to_vec(), random_names(rng));
            world.change(all, names);
        }
        1 => {
            let mut all = world.state.applications().to_vec();
            for replica in all.iter_mut().flat_map(|a| &mut a.replicas) {
                replica.state = random_replica(rng, &mut 1).state;
            }
            let names = world.state.names().clone();
            world.change(all, names);
        }
        _ => {
            let zone = rng.u16(1..=3);
            world.switch.flush_zone(zone);
            world.reference.flush(zone.into());
        }
    }
}

/// Addresses that mean something to somebody, and one that does not.
fn address(rng: &mut Rng) -> IpAddr {
    let near = rng.u32(11..=16);
    match rng.u8(..12) {
        0..=2 => ip(&format!("10.0.1.{near}")),
        3 => ip(&format!("fd00::{near:x}")),
        4 | 5 => ip(pick(rng, &[CLIENT, "10.0.0.20", CLIENT_V6])),
        6..=9 => ip(pick(rng, &FAR)),
        10 => ip(pick(
            rng,
            &[HOST, METADATA, "fd00::1", "fe80::1", "0.0.0.0", "::"],
        )),
        _ => ip(pick(
            rng,
            &[
                "192.0.2.99",
                "255.255.255.255",
                "224.0.0.251",
                "ff02::fb",
                "ff02::1",
            ],
        )),
    }
}

/// The addresses of who is at a port, mostly; otherwise any.
fn sender(rng: &mut Rng, port: u32, is_v6: bool) -> IpAddr {
    if rng.u8(..8) == 0 {
        return address(rng);
    }
    let text = match (port, is_v6) {
        (1, false) => CLIENT.to_owned(),
        (1, true) => CLIENT_V6.to_owned(),
        (2, false) => FAR[0].to_owned(),
        (2, true) => FAR[4].to_owned(),
        (11..20, false) => format!("10.0.1.{port}"),
        (11..20, true) => format!("fd00::{port:x}"),
        (_, false) => HOST.to_owned(),
        (_, true) => "fd00::1".to_owned(),
    };
    ip(&text)
}

fn packet(rng: &mut Rng, world: &World) -> Packet {
    let replicas: Vec<u32> = world.state.replicas().map(|(_, r)| r.port.0).collect();
    let outside = [1, 1, 2, PortNumber::LOCAL.0, 99];
    let port = match replicas.is_empty() || rng.bool() {
        true => pick(rng, &outside),
        false => pick(rng, &replicas),
    };
    let own = match port {
        1 => CLIENT_MAC,
        2 => GATEWAY_MAC,
        11..20 => replica_mac(port - 10),
        _ => HOST_MAC,
    };
    let macs = [
        own,
        CLIENT_MAC,
        GATEWAY_MAC,
        HOST_MAC,
        replica_mac(1),
        replica_mac(2),
        ALL_MAC,
    ];
    let source = if rng.u8(..10) == 0 {
        pick(rng, &macs)
    } else {
        own
    };
    let frame = Packet::ethernet(PortNumber(port), source, pick(rng, &macs), 0x88cc);
    let mut packet = contents(rng, port, frame, source);
    packet.invalid = rng.u8(..20) == 0;
    if rng.u8(..30) == 0 {
        packet = packet.tagged(9);
    }
    packet
}

/// What some rule of some application speaks of, or nearly so.
fn permitted(rng: &mut Rng, world: &World) -> Option<Packet> {
    let mut grants = world.state.applications().iter().flat_map(|a| {
        let rules = a.grants.iter().map(move |grant| (a, &grant.rule));
        rules.filter(|(_, rule)| rule.services().is_some())
    });
    let count = grants.clone().count();
    let (a, rule) = grants.nth(rng.usize(..count.max(1)))?;
    let own = a
        .replicas
        .first()
        .filter(|_| rng.bool())
        .or(a.replicas.last());
    let target = match rule {
        Rule::Intercept(rule) => peers_address(rng, world, rule.to()),
        Rule::Call(rule) => peers_address(rng, world, &rule.to),
        Rule::Admit(Admit {
            to: Some((peer, _)),
            ..
        }) => peers_address(rng, world, peer),
        _ => pick(rng, &own?.addresses),
    };
    // Who keeps a gate reaches free services for others.
    let keepers = world
        .state
        .replicas()
        .filter(|(a, _)| a.keeps_gate().is_some());
    let keepers: Vec<&Replica> = keepers.map(|(_, replica)| replica).collect();
    let (port, hardware) = match rule {
        Rule::Call(_) => (own?.port, own?.mac),
        Rule::Admit(_) | Rule::Serve(_) if !keepers.is_empty() && rng.bool() => {
            let keeper = pick(rng, &keepers);
            (keeper.port, keeper.mac)
        }
        _ => (ACCESS, CLIENT_MAC),
    };
    let source = match target.is_ipv6() {
        is_v6 if rng.u8(..16) == 0 => sender(rng, 2, is_v6),
        is_v6 => sender(rng, port.0, is_v6),
    };
    if source.is_ipv6() != target.is_ipv6() {
        return None;
    }
    let services = rule.services()?;
    let is_tcp = services.udp().is_empty() || !services.tcp().is_empty() && rng.bool();
    let ports = if is_tcp {
        services.tcp()
    } else {
        services.udp()
    };
    let (first, last) = pick(rng, ports.ranges());
    let ports = (
        rng.u16(4000..4010),
        pick(rng, &[first, last, last, last + 1]),
    );
    let frame = Packet::ethernet(port, hardware, GATEWAY_MAC, 0);
    Some(match is_tcp {
        true => frame.tcp(source, target, ports, pick(rng, &[SYN, SYN, SYN, ACK])),
        false => frame.udp(source, target, ports),
    })
}

fn peers_address(rng: &mut Rng, world: &World, peer: &Peer) -> IpAddr {
    let Peer::Name(pattern) = peer else {
        return address(rng);
    };
    let names = world.state.names().iter();
    let there = names.filter(|(name, _)| pattern.matches(name));
    let all: Vec<IpAddr> = there
        .flat_map(|(_, a)| a.current.iter().chain(&a.retired).copied())
        .collect();
    match all.is_empty() {
        true => address(rng),
        false => pick(rng, &all),
    }
}

fn contents(rng: &mut Rng, port: u32, frame: Packet, hardware: [u8; 6]) -> Packet {
    let mut target = address(rng);
    let mut source = sender(rng, port, target.is_ipv6());
    while source.is_ipv6() != target.is_ipv6() {
        (source, target) = (address(rng), address(rng));
    }
    let low = rng.u16(4000..4003);
    let ports = (low, pick(rng, &PORTS));
    match rng.u8(..16) {
        0..=6 => frame.tcp(source, target, ports, pick(rng, &[SYN, SYN, SYN_ACK, ACK])),
        7 | 8 => frame.udp(source, target, ports),
        9 => {
            let pairs = [
                (68, 67),
                (67, 68),
                (546, 547),
                (547, 546),
                (5353, 5353),
                (4000, 5353),
            ];
            frame.udp(source, target, pick(rng, &pairs))
        }
        10 | 11 => frame.icmp(source, target, pick(rng, &[8, 0, 128, 3])),
        12 | 13 if target.is_ipv6() => {
            let kind = pick(rng, &[133, 134, 135, 136, 137]);
            let told = pick(rng, &[0, mac(hardware), mac(CLIENT_MAC)]);
            let about = if rng.bool() { source } else { target };
            frame.icmp(source, target, kind).about(about, told)
        }
        12..=14 => {
            let told = if rng.u8(..6) == 0 {
                CLIENT_MAC
            } else {
                hardware
            };
            frame.arp(pick(rng, &[1, 2]), (told, source), target)
        }
        _ => frame,
    }
}
