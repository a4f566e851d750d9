//! Gates: whom an appliance has let through, and what the others may.

use std::net::IpAddr;

use manifest::{Admit, Rule, Services, Source};
use openflow::{Field, mac};

use super::sender::is_now;
use super::{is_clients, is_udp};
use crate::fake_switch::Packet;
use crate::pipeline::{Admitted, Application, DesiredState, From};

/// Whether a client has to wait in front of a gate.
pub(super) fn is_visitor(state: &DesiredState, packet: &Packet) -> bool {
    let Some((source, _)) = packet.addresses() else {
        return false;
    };
    let hardware = packet.get(Field::EthSrc);
    let is_let = |a: &Admitted| a.address == source && Some(mac(a.mac)) == hardware;
    is_gated(state, source) && !admitted(state).any(is_let)
}

fn admitted(state: &DesiredState) -> impl Iterator<Item = &Admitted> {
    state.applications().iter().flat_map(|a| &a.admitted)
}

fn gates(state: &DesiredState) -> impl Iterator<Item = Source> {
    state
        .applications()
        .iter()
        .filter_map(Application::keeps_gate)
}

/// Whether a gate is kept for a client.
fn is_gated(state: &DesiredState, client: IpAddr) -> bool {
    is_clients(state, client)
        && gates(state).any(|source| match source {
            Source::Net(range) => range.contains(client),
            _ => true,
        })
}

/// Who may open what an application serves.
pub(super) fn may_call(a: &Application, came_from: From) -> bool {
    match came_from {
        From::Client | From::Neighbour => true,
        From::Visitor => a.keeps_gate().is_some() || a.free_to_client,
        _ => false,
    }
}

/// Whether an application intercepts flows of those.
pub(super) fn waits_for(a: &Application, came_from: From) -> bool {
    match came_from {
        From::Client => a.keeps_gate().is_none(),
        From::Visitor => a.keeps_gate().is_some() || a.free_to_client,
        _ => false,
    }
}

/// Whether what would pass by is denied, because a gate is closed.
pub(super) fn is_closed(state: &DesiredState, packet: &Packet, came_from: From) -> bool {
    let Some((source, target)) = packet.addresses() else {
        return false;
    };
    let concerns = match came_from {
        From::Visitor => true,
        From::Stranger => gates(state).any(|gate| gate == Source::Clients),
        From::Backhaul => {
            let is_let = |a: &Admitted| a.address == target;
            is_gated(state, target) && !admitted(state).any(is_let)
        }
        _ => false,
    };
    concerns
        && !is_free(state, packet, came_from)
        && !is_needed(state, packet, (source, target), came_from)
}

/// What somebody pays for.
pub(super) fn is_free(state: &DesiredState, packet: &Packet, came_from: From) -> bool {
    let Some((source, target)) = packet.addresses() else {
        return false;
    };
    let (client, there, tcp, udp) = match came_from {
        From::Backhaul => (target, source, Field::TcpSrc, Field::UdpSrc),
        From::Visitor => (source, target, Field::TcpDst, Field::UdpDst),
        _ => return false,
    };
    let at = |services: &Services| {
        let is = |ports: &manifest::Ports, field: Field| {
            let port = packet.get(field).and_then(|port| u16::try_from(port).ok());
            port.is_some_and(|port| ports.contains(port))
        };
        is(services.tcp(), tcp) || is(services.udp(), udp)
    };
    let mut grants = state.applications().iter().flat_map(|a| &a.grants);
    grants.any(|grant| match &grant.rule {
        Rule::Admit(Admit {
            from,
            to: Some((to, services)),
        }) => {
            let is_from = match from {
                Source::Net(range) => range.contains(client),
                _ => true,
            };
            is_from && is_now(state, to, there) && at(services)
        }
        _ => false,
    })
}

/// What every client needs to find the portal.
fn is_needed(
    state: &DesiredState,
    packet: &Packet,
    (source, target): (IpAddr, IpAddr),
    came_from: From,
) -> bool {
    let is_resolver = |address: &IpAddr| state.host().resolvers.contains(address);
    let port = |tcp, udp| packet.get(tcp) == Some(53) || packet.get(udp) == Some(53);
    let kind = packet.get(Field::Icmpv6Type);
    let is_neighbours = kind.is_some_and(|kind| (133..=136).contains(&kind));
    let dhcp = match came_from {
        From::Backhaul => is_udp(packet, false, 67, 68) || is_udp(packet, true, 547, 546),
        _ => is_udp(packet, false, 68, 67) || is_udp(packet, true, 546, 547),
    };
    let dns = match came_from {
        From::Visitor => is_resolver(&target) && port(Field::TcpDst, Field::UdpDst),
        From::Backhaul => is_resolver(&source) && port(Field::TcpSrc, Field::UdpSrc),
        _ => false,
    };
    is_neighbours || dhcp || dns
}
