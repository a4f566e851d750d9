//! A small operator's network, as states of the switch.

use std::collections::BTreeMap;
use std::net::IpAddr;

use edgecloudd::pipeline::{
    Addresses, Application, DesiredState, Host, Replica, ReplicaState, Side,
};
use manifest::token::ApplicationNumber;
use manifest::{Grant, Manifest};
use openflow::PortNumber;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) fn block_on(outcome: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread();
    { runtime }.enable_all().build()?.block_on(outcome)
}

pub(crate) const CLIENT: &str = "10.0.0.5";
pub(crate) const ORIGIN: &str = "203.0.113.7";
/// The photo site's number and zone.
pub(crate) const PHOTOS: u16 = 7;
pub(crate) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn replica_mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 1, 0, number]
}

/// Replica `number` has port 10 + number and 10.0.1.(10 + number).
fn replica(number: u8) -> Replica {
    Replica {
        number: number.into(),
        port: PortNumber(10 + u32::from(number)),
        mac: replica_mac(number),
        addresses: vec![ip(&format!("10.0.1.{}", 10 + number))],
        state: ReplicaState::Live,
    }
}

/// The photo site with one replica, which intercepts what clients send to the origin's port 80.
pub(crate) fn photos() -> Vec<Application> {
    photos_with(1)
}

pub(crate) fn photos_with(replicas: u8) -> Vec<Application> {
    let text = "name = \"photos\"\n\
        publisher = \"ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\"\n\
        expires = 2027-01-01T00:00:00Z\n\
        [[intercept]]\nfrom = \"clients\"\nto = { name = \"www.photos.example\", tcp = [80] }\n\
        [bill]\naccount = \"photos\"\nfree-to-client = true\n";
    let manifest = Manifest::from_toml(text).expect("a manifest");
    let grants = manifest.rules().iter().cloned().zip(0..);
    vec![Application {
        number: ApplicationNumber::new(PHOTOS.into()).expect("a number"),
        zone: PHOTOS,
        grants: grants.map(|(rule, index)| Grant { index, rule }).collect(),
        on_fail: manifest.on_fail(),
        rate: None,
        sleeping: false,
        replicas: (1..=replicas).map(replica).collect(),
        free_to_client: manifest.bill().free_to_client,
        admitted: vec![],
    }]
}

/// Clients at port 1, the origin behind a gateway at port 2.
pub(crate) fn state(applications: Vec<Application>) -> DesiredState {
    let host = Host {
        access: PortNumber(1),
        backhaul: PortNumber(2),
        mac: [2, 0, 0, 0, 0, 1],
        addresses: vec![ip("10.0.1.1")],
        gateway: GATEWAY_MAC,
        clients: vec!["10.0.0.0/24".parse().expect("a range")],
        resolvers: vec![ip("10.0.1.1")],
        time_servers: vec![],
        dhcp: Side::Host,
    };
    let addresses = Addresses {
        current: [ip(ORIGIN)].into(),
        ..Addresses::default()
    };
    let name = "www.photos.example".parse().expect("a name");
    let names = BTreeMap::from([(name, addresses)]);
    DesiredState::new(host, applications, names).expect("a state")
}
