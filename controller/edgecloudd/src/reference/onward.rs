//! Free services: what who keeps a gate may open for its visitors, and who pays for that.

use std::net::IpAddr;

use manifest::{Admit, Peer, Rule, Serve, Source};
use openflow::Field;

use super::sender::is_now;
use super::{is_clients, is_hosts, is_metadata, owner};
use crate::fake_switch::Packet;
use crate::pipeline::{Application, DesiredState, ReplicaState};

/// The first rule that lets the keeper of a gate open a connection: its application and index.
pub(super) fn who_pays(
    state: &DesiredState,
    a: &Application,
    packet: &Packet,
) -> Option<(u32, u16)> {
    let (_, target) = packet.addresses()?;
    let port = u16::try_from(packet.get(Field::TcpDst)?).ok()?;
    a.keeps_gate()?;
    for payer in state.applications() {
        for grant in &payer.grants {
            let opens = match &grant.rule {
                Rule::Admit(Admit {
                    to: Some((to, services)),
                    ..
                }) => {
                    matches!(to, Peer::Name(_))
                        && is_far(state, target)
                        && is_now(state, to, target)
                        && services.tcp().contains(port)
                }
                Rule::Serve(serve) => {
                    is_served_for_nothing(a, payer, serve)
                        && is_live_there(payer, target)
                        && serve.services.tcp().contains(port)
                }
                _ => false,
            };
            if opens {
                return Some((payer.number.get(), grant.index));
            }
        }
    }
    None
}

/// Whether a rule is still one that lets the keeper of a gate go on.
pub(super) fn is_offered(
    state: &DesiredState,
    a: &Application,
    (number, index): (u32, u16),
) -> bool {
    let mut all = state.applications().iter();
    let payer = all.find(|payer| payer.number.get() == number);
    let grants = payer.iter().flat_map(|payer| &payer.grants);
    let mut rules = grants.filter(|grant| grant.index == index);
    a.keeps_gate().is_some()
        && rules.any(|grant| match &grant.rule {
            Rule::Admit(Admit {
                to: Some((Peer::Name(_), services)),
                ..
            }) => !services.tcp().is_empty(),
            Rule::Serve(serve) => {
                payer.is_some_and(|payer| is_served_for_nothing(a, payer, serve))
                    && !serve.services.tcp().is_empty()
            }
            _ => false,
        })
}

/// Behind the backhaul, and not the network itself.
fn is_far(state: &DesiredState, address: IpAddr) -> bool {
    owner(state, address).is_none()
        && !is_hosts(state, address)
        && !is_metadata(address)
        && !is_clients(state, address)
}

fn is_served_for_nothing(a: &Application, payer: &Application, serve: &Serve) -> bool {
    payer.free_to_client && payer.number != a.number && serve.from == Source::Clients
}

fn is_live_there(payer: &Application, address: IpAddr) -> bool {
    payer
        .replicas
        .iter()
        .any(|r| r.state == ReplicaState::Live && r.addresses.contains(&address))
}
