//! NXT_PACKET_IN2 (30) and NXT_RESUME (28): a packet held at its place in the tables, and the order
//! to go on. `nicira-ext.h`.

use crate::flow_match::Match;
use crate::oxm;
use crate::property;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// `NXPINT_*`.
mod kind {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

/// A packet that a flow sent to the controller, perhaps held until NXT_RESUME.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PacketIn2 {
    /// The packet, from its Ethernet header on.
    pub packet: Vec<u8>,
    /// The packet's length, where `packet` is only the beginning.
    pub full_len: Option<u32>,
    /// Where the switch holds it for a packet-out.
    pub buffer_id: Option<u32>,
    /// The flow's table.
    pub table: Option<u8>,
    /// The flow's cookie. Open vSwitch 3.1 leaves it out where the packet came by packet-out: what
    /// must be known is better put into the action's userdata.
    pub cookie: Option<u64>,
    /// Why, of [`crate::packet_in::reason`].
    pub reason: Option<u8>,
    /// The packet's metadata: port, registers, tunnel, connection.
    pub metadata: Match,
    /// The bytes of the flow's action.
    pub userdata: Vec<u8>,
    /// Where the packet is held: send it back as it came, once and soon, in NXT_RESUME.
    pub continuation: Option<Vec<u8>>,
}

impl PacketIn2 {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<PacketIn2> {
        let mut packet_in = PacketIn2::default();
        while !from.is_empty() {
            let (kind, mut value) = property::next(from)?;
            packet_in.parse_property(kind, &mut value)?;
        }
        Ok(packet_in)
    }

    fn parse_property(&mut self, kind: u16, value: &mut Reader<'_>) -> Parsed<()> {
        match kind {
            kind::PACKET => self.packet = value.rest().to_vec(),
            kind::FULL_LEN => self.full_len = Some(value.u32("packet's length")?),
            kind::BUFFER_ID => self.buffer_id = Some(value.u32("buffer")?),
            kind::TABLE_ID => self.table = Some(value.u8("table")?),
            kind::COOKIE => {
                value.pad("property's padding", 4)?;
                self.cookie = Some(value.u64("cookie")?);
            }
            kind::REASON => self.reason = Some(value.u8("packet-in's reason")?),
            kind::METADATA => self.metadata = oxm::parse_fields(value)?,
            kind::USERDATA => self.userdata = value.rest().to_vec(),
            kind::CONTINUATION => {
                value.pad("property's padding", 4)?;
                self.continuation = Some(value.rest().to_vec());
            }
            // What a later Open vSwitch adds. None of it is needed to go on: that is in the
            // continuation.
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        if !self.packet.is_empty() {
            property::emit(to, kind::PACKET, &self.packet)?;
        }
        if let Some(length) = self.full_len {
            property::emit(to, kind::FULL_LEN, &length.to_be_bytes())?;
        }
        if let Some(buffer) = self.buffer_id {
            property::emit(to, kind::BUFFER_ID, &buffer.to_be_bytes())?;
        }
        if let Some(table) = self.table {
            property::emit(to, kind::TABLE_ID, &[table])?;
        }
        if let Some(cookie) = self.cookie {
            property::emit_u64(to, kind::COOKIE, cookie)?;
        }
        if let Some(reason) = self.reason {
            property::emit(to, kind::REASON, &[reason])?;
        }
        if !self.metadata.is_empty() {
            let mut fields = Writer::new();
            oxm::emit_fields(&mut fields, version, &self.metadata)?;
            property::emit(to, kind::METADATA, &fields.into_bytes())?;
        }
        if !self.userdata.is_empty() {
            property::emit(to, kind::USERDATA, &self.userdata)?;
        }
        if let Some(continuation) = &self.continuation {
            // Properties lie in it, and these are aligned.
            property::emit(
                to,
                kind::CONTINUATION,
                &[&[0; 4], &continuation[..]].concat(),
            )?;
        }
        Ok(())
    }
}
