//! `nat(…)`, which stands in `ct(…)` only (NXAST_NAT).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::error::{EmitError, ParseCause};
use crate::wire::{Emitted, Parsed, Reader, Writer};

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
    /// The addresses, not 0; any of the switch's choice without.
    pub addresses: Option<NatAddresses>,
    /// The ports, not 0; only with addresses.
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

/// `NX_NAT_F_*`.
mod flag {
    pub(super) const SOURCE: u16 = 1;
    pub(super) const DESTINATION: u16 = 2;
    pub(super) const PERSISTENT: u16 = 4;
    pub(super) const HASH: u16 = 8;
    pub(super) const RANDOM: u16 = 16;
    pub(super) const ALL: u16 = 31;
}

/// `NX_NAT_RANGE_*`.
mod present {
    pub(super) const V4_MIN: u16 = 1;
    pub(super) const V4_MAX: u16 = 2;
    pub(super) const V6_MIN: u16 = 4;
    pub(super) const V6_MAX: u16 = 8;
    pub(super) const PORT_MIN: u16 = 16;
    pub(super) const PORT_MAX: u16 = 32;
}

/// Reads NXAST_NAT after its subtype.
pub(super) fn parse(body: &mut Reader<'_>) -> Parsed<Nat> {
    body.pad("nat's padding", 2)?;
    let place = body.clone();
    let flags = body.u16("nat's flags")?;
    let parts = body.u16("nat's ranges")?;
    let wrong = |value: u16| place.error("nat's flags", ParseCause::Value(value.into()));
    if flags & !flag::ALL != 0 {
        return Err(wrong(flags));
    }
    let target = NatTarget {
        addresses: parse_addresses(body, parts)?,
        ports: parse_range(body, parts, present::PORT_MIN, present::PORT_MAX, |body| {
            body.u16("nat's port")
        })?,
        persistent: flags & flag::PERSISTENT != 0,
        hash: flags & flag::HASH != 0,
        random: flags & flag::RANDOM != 0,
    };
    match flags & (flag::SOURCE | flag::DESTINATION) {
        0 if flags == 0 && parts == 0 => Ok(Nat::Existing),
        flag::SOURCE if is_valid(&target) => Ok(Nat::Source(target)),
        flag::DESTINATION if is_valid(&target) => Ok(Nat::Destination(target)),
        _ => Err(wrong(flags)),
    }
}

fn parse_addresses(body: &mut Reader<'_>, parts: u16) -> Parsed<Option<NatAddresses>> {
    let v4 = parse_range(body, parts, present::V4_MIN, present::V4_MAX, |body| {
        body.array("nat's address").map(Ipv4Addr::from_octets)
    })?;
    let v6 = parse_range(body, parts, present::V6_MIN, present::V6_MAX, |body| {
        body.array("nat's address").map(Ipv6Addr::from_octets)
    })?;
    match (v4, v6) {
        (Some(_), Some(_)) => Err(body.error("nat's addresses", ParseCause::Repeated)),
        (v4, v6) => Ok(v4.map(NatAddresses::V4).or(v6.map(NatAddresses::V6))),
    }
}

/// A range whose end may be left out where it is the beginning.
fn parse_range<T: Copy + PartialOrd>(
    body: &mut Reader<'_>,
    parts: u16,
    min: u16,
    max: u16,
    one: impl Fn(&mut Reader<'_>) -> Parsed<T>,
) -> Parsed<Option<RangeInclusive<T>>> {
    let place = body.clone();
    let wrong = place.error("nat's range", ParseCause::Value(parts.into()));
    if parts & min == 0 {
        return if parts & max == 0 {
            Ok(None)
        } else {
            Err(wrong)
        };
    }
    let first = one(body)?;
    let last = if parts & max == 0 { first } else { one(body)? };
    if last < first {
        Err(wrong)
    } else {
        Ok(Some(first..=last))
    }
}

/// What Open vSwitch takes: no zeros, ports only with addresses, and one way to choose a port.
fn is_valid(target: &NatTarget) -> bool {
    let addresses = match &target.addresses {
        Some(NatAddresses::V4(range)) => !range.is_empty() && !range.start().is_unspecified(),
        Some(NatAddresses::V6(range)) => !range.is_empty() && !range.start().is_unspecified(),
        None => target.ports.is_none(),
    };
    let ports = target
        .ports
        .as_ref()
        .is_none_or(|range| !range.is_empty() && *range.start() != 0);
    addresses && ports && !(target.hash && target.random)
}

/// Writes NXAST_NAT after its subtype.
pub(super) fn emit(to: &mut Writer, nat: &Nat) -> Emitted {
    let none = NatTarget::default();
    let (side, target) = match nat {
        Nat::Existing => (0, &none),
        Nat::Source(target) => (flag::SOURCE, target),
        Nat::Destination(target) => (flag::DESTINATION, target),
    };
    if !is_valid(target) {
        return Err(EmitError::NotAllowed("nat"));
    }
    let given = |flag: u16, is: bool| if is { flag } else { 0 };
    to.zeros(2);
    to.u16(
        side | given(flag::PERSISTENT, target.persistent)
            | given(flag::HASH, target.hash)
            | given(flag::RANDOM, target.random),
    );
    let mut parts = 0;
    let mut ranges = Writer::new();
    let mut part = |flag: u16, octets: &[u8]| {
        parts |= flag;
        ranges.bytes(octets);
    };
    match &target.addresses {
        Some(NatAddresses::V4(range)) => {
            part(present::V4_MIN, &range.start().octets());
            if range.start() != range.end() {
                part(present::V4_MAX, &range.end().octets());
            }
        }
        Some(NatAddresses::V6(range)) => {
            part(present::V6_MIN, &range.start().octets());
            if range.start() != range.end() {
                part(present::V6_MAX, &range.end().octets());
            }
        }
        None => {}
    }
    if let Some(range) = &target.ports {
        part(present::PORT_MIN, &range.start().to_be_bytes());
        if range.start() != range.end() {
            part(present::PORT_MAX, &range.end().to_be_bytes());
        }
    }
    to.u16(parts);
    to.bytes(&ranges.into_bytes());
    Ok(())
}
