//! States that cannot be are refused before anything is compiled.

use edgecloudd::pipeline::ReplicaState::Live;
use edgecloudd::pipeline::{
    ADDRESSES_PER_NAME_MAX, Application, DesiredState, REPLICAS_MAX, Replica, StateError, ZONE_MAX,
};
use openflow::PortNumber;

use crate::world::*;

#[track_caller]
fn check(applications: Vec<Application>, expected: StateError) {
    let state = DesiredState::new(host(), applications, names(&[]));
    assert_eq!(state.err(), Some(expected));
}

fn with(change: impl Fn(&mut Replica)) -> Vec<Application> {
    let mut second = replica(2, Live);
    change(&mut second);
    vec![
        application(3, PHOTOS, vec![replica(1, Live)]),
        application(4, PHOTOS, vec![second]),
    ]
}

#[test]
fn what_belongs_to_one_is_not_given_to_two() {
    check(with(|r| r.number = 1), StateError::Replica(1));
    check(with(|r| r.number = 0), StateError::Replica(0));
    check(with(|r| r.port = PortNumber(11)), StateError::Port(11));
    check(with(|r| r.port = ACCESS), StateError::Port(1));
    let local = PortNumber::LOCAL;
    check(with(|r| r.port = local), StateError::Port(local.0));
    for mac in [replica_mac(1), HOST_MAC, GATEWAY_MAC, ALL_MAC] {
        check(with(|r| r.mac = mac), StateError::Mac(mac));
    }
    for address in ["10.0.1.11", HOST, METADATA, "0.0.0.0", "::1", "ff02::1"] {
        let address = ip(address);
        let taken = with(|r| r.addresses = vec![address]);
        check(taken, StateError::Address(address));
    }
    let zone = |zone| {
        let mut all = with(|_| {});
        all[1].zone = zone;
        all
    };
    check(zone(3), StateError::Zone(3));
    check(zone(0), StateError::Zone(0));
    check(zone(ZONE_MAX + 1), StateError::Zone(ZONE_MAX + 1));
    let mut twice = with(|_| {});
    twice[1].number = twice[0].number;
    check(twice, StateError::Application(3));
    let mut backwards = with(|_| {});
    backwards[0].grants.reverse();
    check(backwards, StateError::Grants(3));
}

#[test]
fn everything_is_bounded() {
    let many = (0..=REPLICAS_MAX as u32).map(|number| Replica {
        number: number + 1,
        ..replica(1, Live)
    });
    let too_many = StateError::Replicas(REPLICAS_MAX + 1);
    check(vec![application(3, PHOTOS, many.collect())], too_many);
    let addresses: Vec<String> = (0..=ADDRESSES_PER_NAME_MAX)
        .map(|n| format!("203.0.113.{n}"))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let names = names(&[("a.example", &addresses, &[])]);
    let state = DesiredState::new(host(), vec![], names);
    let refused = StateError::Addresses("a.example".to_owned());
    assert_eq!(state.err(), Some(refused));
}
