//! `ct(…)`: the connection tracker, as `nicira-ext.h` and `ovs-actions(7)` describe NXAST_CT.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::{Action, Subfield};

/// Which zone of the connection tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// This one.
    Number(u16),
    /// The one whose number 16 bits of a field hold.
    Field(Subfield),
}

/// Go through the connection tracker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conntrack {
    /// Keep the connection; without it a new one is forgotten after the packet.
    pub commit: bool,
    /// With `commit`: end a connection that exists in the other direction.
    pub force: bool,
    /// The zone.
    pub zone: Zone,
    /// Where the packet goes on with its connection's state; without it the state is not told.
    pub table: Option<u8>,
    /// The port of a protocol whose helper follows (21 for FTP), 0 for none.
    pub alg: u16,
    /// Translate addresses.
    pub nat: Option<Nat>,
    /// With `commit`: what to set of the connection, `ct_mark` and `ct_label` only.
    pub exec: Vec<Action>,
}

impl Conntrack {
    /// Track in a zone and go on in a table.
    pub fn track(zone: u16, table: u8) -> Conntrack {
        Conntrack {
            table: Some(table),
            ..Conntrack::in_zone(zone)
        }
    }

    /// Commit in a zone, setting marks and labels.
    pub fn commit(zone: u16, exec: Vec<Action>) -> Conntrack {
        Conntrack {
            commit: true,
            exec,
            ..Conntrack::in_zone(zone)
        }
    }

    const fn in_zone(zone: u16) -> Conntrack {
        Conntrack {
            commit: false,
            force: false,
            zone: Zone::Number(zone),
            table: None,
            alg: 0,
            nat: None,
            exec: Vec::new(),
        }
    }
}

/// Address translation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Nat {
    /// As the connection was committed; nothing for a new one.
    Existing,
    /// Translate the source (SNAT).
    Source(NatTarget),
    /// Translate the destination (DNAT).
    Destination(NatTarget),
}

/// What addresses and ports are translated to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NatTarget {
    /// The addresses; any of the switch's choice without.
    pub addresses: Option<NatAddresses>,
    /// The ports; only with addresses.
    pub ports: Option<RangeInclusive<u16>>,
    /// Keep the choice over a restart of the switch.
    pub persistent: bool,
    /// Choose the port by hash.
    pub hash: bool,
    /// Choose the port by chance.
    pub random: bool,
}

/// A range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NatAddresses {
    /// IPv4 addresses.
    V4(RangeInclusive<Ipv4Addr>),
    /// IPv6 addresses.
    V6(RangeInclusive<Ipv6Addr>),
}
