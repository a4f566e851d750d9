//! NXT_CT_FLUSH_ZONE (29) and NXT_CT_FLUSH (32): make the connection tracker forget. `nicira-ext.h`.
//!
//! Open vSwitch 3.1 knows NXT_CT_FLUSH with zone and addresses; marks and labels come with 3.3.

use std::net::Ipv6Addr;

use crate::error::ParseCause;
use crate::property;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// `NXT_CT_*`.
mod kind {
    pub(super) const ORIGINAL: u16 = 0;
    pub(super) const REPLY: u16 = 1;
    pub(super) const ZONE: u16 = 2;
    pub(super) const MARK: u16 = 3;
    pub(super) const MARK_MASK: u16 = 4;
    pub(super) const LABEL: u16 = 5;
    pub(super) const LABEL_MASK: u16 = 6;
}

/// `NXT_CT_TUPLE_*`.
mod tuple_kind {
    pub(super) const SOURCE: u16 = 0;
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const SOURCE_PORT: u16 = 2;
    pub(super) const DESTINATION_PORT: u16 = 3;
    pub(super) const ICMP_ID: u16 = 4;
    pub(super) const ICMP_TYPE: u16 = 5;
    pub(super) const ICMP_CODE: u16 = 6;
}

/// Which connections to forget: those that have everything that is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ConntrackFlush {
    /// The protocol in IP, 0 for any.
    pub protocol: u8,
    /// The zone.
    pub zone: Option<u16>,
    /// As the first packet went.
    pub original: ConntrackTuple,
    /// As its answer went.
    pub reply: ConntrackTuple,
    /// From Open vSwitch 3.3 on: the mark, at the bits of a mask.
    pub mark: Option<(u32, u32)>,
    /// From Open vSwitch 3.3 on: the label, at the bits of a mask.
    pub label: Option<(u128, u128)>,
}

/// One direction of a connection, as far as given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ConntrackTuple {
    /// The source; an IPv4 address as IPv6 has it (`::ffff:…`).
    pub source: Option<Ipv6Addr>,
    /// The destination, likewise.
    pub destination: Option<Ipv6Addr>,
    /// The source's port.
    pub source_port: Option<u16>,
    /// The destination's port.
    pub destination_port: Option<u16>,
    /// ICMP's identifier.
    pub icmp_id: Option<u16>,
    /// ICMP's type.
    pub icmp_type: Option<u8>,
    /// ICMP's code.
    pub icmp_code: Option<u8>,
}

impl ConntrackFlush {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<ConntrackFlush> {
        let mut flush = ConntrackFlush {
            protocol: from.u8("protocol")?,
            ..Default::default()
        };
        from.pad("flush's padding", 7)?;
        while !from.is_empty() {
            let (kind, mut value) = property::next(from)?;
            match kind {
                kind::ORIGINAL => flush.original = ConntrackTuple::parse(&mut value)?,
                kind::REPLY => flush.reply = ConntrackTuple::parse(&mut value)?,
                kind::ZONE => flush.zone = Some(value.u16("zone")?),
                kind::MARK => flush.mark.get_or_insert((0, u32::MAX)).0 = value.u32("mark")?,
                kind::MARK_MASK => {
                    flush.mark.get_or_insert_default().1 = value.u32("mark's mask")?;
                }
                kind::LABEL => {
                    flush.label.get_or_insert((0, u128::MAX)).0 = value.number("label", 16)?;
                }
                kind::LABEL_MASK => {
                    flush.label.get_or_insert_default().1 = value.number("label's mask", 16)?;
                }
                _ => return Err(value.error("flush's property", ParseCause::Value(kind.into()))),
            }
        }
        Ok(flush)
    }

    pub(crate) fn emit(&self, to: &mut Writer) -> Emitted {
        to.u8(self.protocol);
        to.zeros(7);
        self.original.emit(to, kind::ORIGINAL)?;
        self.reply.emit(to, kind::REPLY)?;
        if let Some(zone) = self.zone {
            property::emit_u16(to, kind::ZONE, zone)?;
        }
        if let Some((mark, mask)) = self.mark {
            property::emit(to, kind::MARK, &mark.to_be_bytes())?;
            property::emit(to, kind::MARK_MASK, &mask.to_be_bytes())?;
        }
        if let Some((label, mask)) = self.label {
            property::emit(to, kind::LABEL, &label.to_be_bytes())?;
            property::emit(to, kind::LABEL_MASK, &mask.to_be_bytes())?;
        }
        Ok(())
    }
}

impl ConntrackTuple {
    fn parse(from: &mut Reader<'_>) -> Parsed<ConntrackTuple> {
        from.pad("tuple's padding", 4)?;
        let mut tuple = ConntrackTuple::default();
        while !from.is_empty() {
            let (kind, mut value) = property::next(from)?;
            let mut address = || value.array("tuple's address").map(Ipv6Addr::from_octets);
            match kind {
                tuple_kind::SOURCE => tuple.source = Some(address()?),
                tuple_kind::DESTINATION => tuple.destination = Some(address()?),
                tuple_kind::SOURCE_PORT => tuple.source_port = Some(value.u16("tuple's port")?),
                tuple_kind::DESTINATION_PORT => {
                    tuple.destination_port = Some(value.u16("tuple's port")?);
                }
                tuple_kind::ICMP_ID => tuple.icmp_id = Some(value.u16("ICMP's id")?),
                tuple_kind::ICMP_TYPE => tuple.icmp_type = Some(value.u8("ICMP's type")?),
                tuple_kind::ICMP_CODE => tuple.icmp_code = Some(value.u8("ICMP's code")?),
                _ => return Err(value.error("tuple's property", ParseCause::Value(kind.into()))),
            }
        }
        Ok(tuple)
    }

    fn emit(&self, to: &mut Writer, kind: u16) -> Emitted {
        if *self == ConntrackTuple::default() {
            return Ok(());
        }
        let mut value = Writer::new();
        value.zeros(4);
        let addresses = [self.source, self.destination].into_iter().enumerate();
        for (place, address) in addresses {
            let kind = [tuple_kind::SOURCE, tuple_kind::DESTINATION][place];
            if let Some(address) = address {
                property::emit(&mut value, kind, &address.octets())?;
            }
        }
        let ports = [
            (tuple_kind::SOURCE_PORT, self.source_port),
            (tuple_kind::DESTINATION_PORT, self.destination_port),
            (tuple_kind::ICMP_ID, self.icmp_id),
        ];
        for (kind, number) in ports {
            if let Some(number) = number {
                property::emit_u16(&mut value, kind, number)?;
            }
        }
        let bytes = [
            (tuple_kind::ICMP_TYPE, self.icmp_type),
            (tuple_kind::ICMP_CODE, self.icmp_code),
        ];
        for (kind, number) in bytes {
            if let Some(number) = number {
                property::emit(&mut value, kind, &[number])?;
            }
        }
        // Nested properties end at a multiple of 8, and the outer length counts all of them.
        property::emit(to, kind, &value.into_bytes())
    }
}
