//! PACKET_IN (10): a packet that a flow sent to the controller. 1.5.1 section 7.4.1.

use crate::flow_match::Match;
use crate::oxm;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A packet that a flow sent to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PacketIn {
    /// Where the switch holds it; [`NO_PACKET`](crate::NO_PACKET) where it does not.
    pub buffer_id: u32,
    /// The packet's length, of which `data` may be the beginning.
    pub total_len: u16,
    /// Why, of [`reason`].
    pub reason: u8,
    /// The table of the flow.
    pub table: u8,
    /// The flow's cookie.
    pub cookie: u64,
    /// The packet's metadata: port, registers, tunnel, connection.
    pub metadata: Match,
    /// The packet, from its Ethernet header on.
    pub data: Vec<u8>,
}

/// Why a packet was sent (`OFPR_*`).
pub mod reason {
    /// No flow matched (1.3), or the table-miss flow did (1.5).
    pub const TABLE_MISS: u8 = 0;
    /// An action said so: in 1.5 one of an apply-actions instruction.
    pub const ACTION: u8 = 1;
    /// Its time to live was up.
    pub const INVALID_TTL: u8 = 2;
    /// 1.5: the action set said so.
    pub const ACTION_SET: u8 = 3;
    /// 1.5: a group's bucket said so.
    pub const GROUP: u8 = 4;
    /// 1.5: the controller's own packet-out said so.
    pub const PACKET_OUT: u8 = 5;
}

impl PacketIn {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<PacketIn> {
        let buffer_id = from.u32("buffer")?;
        let total_len = from.u16("packet's length")?;
        let reason = from.u8("packet-in's reason")?;
        let table = from.u8("table")?;
        let cookie = from.u64("cookie")?;
        let metadata = oxm::parse_match(from)?;
        from.pad("packet-in's padding", 2)?;
        let data = from.rest().to_vec();
        Ok(PacketIn {
            buffer_id,
            total_len,
            reason,
            table,
            cookie,
            metadata,
            data,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u32(self.buffer_id);
        to.u16(self.total_len);
        to.u8(self.reason);
        to.u8(self.table);
        to.u64(self.cookie);
        oxm::emit_unchecked_match(to, version, &self.metadata)?;
        to.zeros(2);
        to.bytes(&self.data);
        Ok(())
    }
}
