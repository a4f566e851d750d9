//! A small operator's network: clients at one port, the backhaul at another, and domains between.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edgecloudd::fake_switch::{Answer, FakeSwitch, Packet};
use edgecloudd::pipeline::{
    Addresses, Application, Class, DesiredState, Host, Replica, ReplicaState, Side, compile,
    difference,
};
use edgecloudd::reference::{Delivery, Reference, Verdict};
use manifest::token::ApplicationNumber;
use manifest::{Grant, Manifest, Name};
use openflow::{Field, PortNumber, mac};

pub(crate) const ACCESS: PortNumber = PortNumber(1);
pub(crate) const BACKHAUL: PortNumber = PortNumber(2);
pub(crate) const CLIENT: &str = "10.0.0.5";
pub(crate) const CLIENT_V6: &str = "2001:db8:c::5";
pub(crate) const ORIGIN: &str = "203.0.113.7";
pub(crate) const ORIGIN_V6: &str = "2001:db8:f::7";
pub(crate) const HOST: &str = "10.0.1.1";
pub(crate) const METADATA: &str = "169.254.169.254";

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The MAC addresses: of dom0, the gateway, a client, or a replica by its number.
pub(crate) const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
pub(crate) const ALL_MAC: [u8; 6] = [0xff; 6];

pub(crate) fn replica_mac(number: u32) -> [u8; 6] {
    [2, 0, 0, 1, 0, number as u8]
}

pub(crate) fn host() -> Host {
    Host {
        access: ACCESS,
        backhaul: BACKHAUL,
        mac: HOST_MAC,
        addresses: vec![ip(HOST), ip("fd00::1")],
        gateway: GATEWAY_MAC,
        clients: vec![
            "10.0.0.0/24".parse().unwrap(),
            "2001:db8:c::/64".parse().unwrap(),
        ],
        resolvers: vec![ip(HOST), ip("198.51.100.53")],
        time_servers: vec![ip("198.51.100.123")],
        dhcp: Side::Host,
    }
}

/// Replica `number` has port 10 + number, 10.0.1.(10 + number) and fd00::(10 + number).
pub(crate) fn replica(number: u32, state: ReplicaState) -> Replica {
    let last = 10 + number;
    Replica {
        number,
        port: PortNumber(last),
        mac: replica_mac(number),
        addresses: vec![
            ip(&format!("10.0.1.{last}")),
            ip(&format!("fd00::{last:x}")),
        ],
        state,
    }
}

/// An application by the rules of its manifest; its zone is its number.
pub(crate) fn application(number: u16, rules: &str, replicas: Vec<Replica>) -> Application {
    let text = format!(
        "name = \"a\"\npublisher = \"ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"\n\
         expires = 2027-01-01T00:00:00Z\n{rules}\n[limit]\nrate = \"50Mbit\"\n\
         [bill]\naccount = \"a\"\nfree-to-client = true\n"
    );
    let manifest = Manifest::from_toml(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let rules = manifest.rules().iter().cloned().enumerate();
    let grants = rules.map(|(index, rule)| Grant {
        index: index as u16,
        rule,
    });
    Application {
        number: ApplicationNumber::new(number.into()).unwrap(),
        zone: number,
        grants: grants.collect(),
        on_fail: manifest.on_fail(),
        rate: manifest.limit().rate,
        sleeping: false,
        replicas,
        free_to_client: manifest.bill().free_to_client,
        admitted: vec![],
    }
}

pub(crate) fn names(list: &[(&str, &[&str], &[&str])]) -> BTreeMap<Name, Addresses> {
    let addresses = |texts: &[&str]| texts.iter().map(|text| ip(text)).collect();
    let entry = |(name, current, retired): &(&str, &[&str], &[&str])| {
        let (current, retired) = (addresses(current), addresses(retired));
        (name.parse().unwrap(), Addresses { current, retired })
    };
    list.iter().map(entry).collect()
}

pub(crate) const PHOTOS: &str = r#"
[[speak]]
protocols = ["arp", "dns"]
[[intercept]]
from = "clients"
to = { name = "www.photos.example", tcp = [80, 443] }
[[call]]
to = { name = "api.photos.example", tcp = [443] }
[[serve]]
as = "edge.photos.example"
tcp = [443]
"#;

pub(crate) fn photo_names() -> BTreeMap<Name, Addresses> {
    names(&[
        ("www.photos.example", &[ORIGIN, ORIGIN_V6], &[]),
        ("api.photos.example", &["203.0.113.8"], &[]),
    ])
}

/// Both: the compiled tables on a switch, and what should be.
pub(crate) struct World {
    pub(crate) state: DesiredState,
    pub(crate) switch: FakeSwitch,
    pub(crate) reference: Reference,
}

impl World {
    pub(crate) fn new(applications: Vec<Application>, names: BTreeMap<Name, Addresses>) -> World {
        let state = DesiredState::new(host(), applications, names).unwrap();
        let mut world = World {
            state: state.clone(),
            switch: FakeSwitch::new(),
            reference: Reference::new(),
        };
        world.become_state(state);
        world
    }

    /// One application, the photo site's, with replicas 1 and so on in these states.
    pub(crate) fn photos(states: &[ReplicaState]) -> World {
        World::new(vec![photos(states)], photo_names())
    }

    /// Sends the difference in one bundle; how many messages it had.
    pub(crate) fn become_state(&mut self, state: DesiredState) -> usize {
        let desired = compile(&state);
        let changes = difference(&self.switch.dump(), &desired);
        self.switch.bundle(&changes).unwrap();
        assert_eq!(self.switch.dump(), desired);
        self.state = state;
        changes.messages.len()
    }

    pub(crate) fn change(
        &mut self,
        applications: Vec<Application>,
        names: BTreeMap<Name, Addresses>,
    ) -> usize {
        self.become_state(DesiredState::new(host(), applications, names).unwrap())
    }

    /// Sends a packet through the tables, and asks the reference: they must agree.
    pub(crate) fn send(&mut self, packet: &Packet) -> Answer {
        let answer = self.switch.send(packet);
        let verdict = self.reference.decide(&self.state, packet);
        if let Err(difference) = agree(&mut self.reference, &answer, &verdict) {
            let why: Vec<String> = answer.cookies().iter().map(|c| c.to_string()).collect();
            panic!("{difference}\n{packet:#?}\nverdict: {verdict:#?}\nby the tables: {why:#?}");
        }
        answer
    }

    /// What becomes of a packet: `deny REASON`, or `PORT` with the MAC addresses that changed.
    #[track_caller]
    pub(crate) fn check(&mut self, packet: &Packet, expected: &str) {
        let answer = self.send(packet);
        assert_eq!(told(packet, &answer), expected, "{packet:?}");
    }
}

pub(crate) fn photos(states: &[ReplicaState]) -> Application {
    let replicas = (1..).zip(states).map(|(n, state)| replica(n, *state));
    application(7, PHOTOS, replicas.collect())
}

fn delivery((port, packet): &(PortNumber, Packet)) -> Delivery {
    Delivery {
        port: *port,
        source: packet.get(Field::EthSrc).unwrap_or_default(),
        target: packet.get(Field::EthDst).unwrap_or_default(),
    }
}

fn agree(reference: &mut Reference, answer: &Answer, verdict: &Verdict) -> Result<(), String> {
    let mut left: Vec<Delivery> = answer.outputs.iter().map(delivery).collect();
    left.sort();
    let same = match verdict {
        Verdict::Deny(reason) => {
            let last = answer.cookies().last().map(|cookie| cookie.class);
            left.is_empty() && answer.paused.is_none() && last == Some(Class::Deny(*reason))
        }
        Verdict::Deliver(expected) => {
            let mut expected = expected.clone();
            expected.sort();
            left == expected
        }
        Verdict::Choose(choice) => {
            let chosen = choice.replicas.iter().find(|(_, d)| left == [*d]);
            if let Some((replica, _)) = chosen {
                reference.chosen(choice, *replica);
            }
            chosen.is_some()
        }
        Verdict::Summon(number) => answer.paused == Some(number.to_be_bytes().to_vec()),
    };
    match same {
        true => Ok(()),
        false => Err(format!(
            "the tables say {left:?}, paused {:?}",
            answer.paused
        )),
    }
}

fn told(packet: &Packet, answer: &Answer) -> String {
    if let Some(userdata) = &answer.paused {
        return format!("summon {userdata:?}");
    }
    if answer.outputs.is_empty() {
        let last = answer.cookies().last().map(|cookie| cookie.class);
        return match last {
            Some(Class::Deny(reason)) => format!("deny {}", reason.as_str()),
            other => format!("lost after {other:?}"),
        };
    }
    let changed = |left: &Packet, field: Field, word: &str| {
        let value = left.get(field).unwrap_or_default();
        let is_changed = packet.get(field) != Some(value);
        is_changed.then(|| format!(" {word} {}", mac_name(value)))
    };
    let one = |(port, left): &(PortNumber, Packet)| {
        let source = changed(left, Field::EthSrc, "from").unwrap_or_default();
        let target = changed(left, Field::EthDst, "to").unwrap_or_default();
        format!("{}{source}{target}", port_name(*port))
    };
    answer
        .outputs
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

fn port_name(port: PortNumber) -> String {
    match port {
        ACCESS => "access".to_owned(),
        BACKHAUL => "backhaul".to_owned(),
        PortNumber::LOCAL => "host".to_owned(),
        PortNumber(number) => format!("replica {}", number - 10),
    }
}

fn mac_name(value: u128) -> String {
    let known = [
        (HOST_MAC, "host"),
        (GATEWAY_MAC, "gateway"),
        (CLIENT_MAC, "client"),
    ];
    if let Some((_, name)) = known.iter().find(|(address, _)| mac(*address) == value) {
        return (*name).to_owned();
    }
    let replica = (1..10).find(|number| mac(replica_mac(*number)) == value);
    replica.map_or(format!("{value:#x}"), |number| format!("replica {number}"))
}

/// A client's TCP segment to somewhere.
pub(crate) fn client_tcp(target: &str, ports: (u16, u16), flags: u8) -> Packet {
    let source = if target.contains(':') {
        CLIENT_V6
    } else {
        CLIENT
    };
    Packet::ethernet(ACCESS, CLIENT_MAC, GATEWAY_MAC, 0).tcp(ip(source), ip(target), ports, flags)
}

/// A frame from a replica to the gateway.
pub(crate) fn replica_frame(number: u32) -> Packet {
    Packet::ethernet(PortNumber(10 + number), replica_mac(number), GATEWAY_MAC, 0)
}

/// A replica's TCP segment from an address to another.
pub(crate) fn replica_tcp(
    number: u32,
    (source, target): (&str, &str),
    ports: (u16, u16),
    flags: u8,
) -> Packet {
    replica_frame(number).tcp(ip(source), ip(target), ports, flags)
}
