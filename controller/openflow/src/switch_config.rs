//! SET_CONFIG (9) and GET_CONFIG_REPLY (8). 1.5.1 section 7.3.2.

use crate::wire::{Parsed, Reader, Writer};

/// What the switch does with fragments and with packets that no flow matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SwitchConfig {
    /// `OFPC_FRAG_*`: 0 as they come, 1 drop, 2 reassemble.
    pub flags: u16,
    /// How much of a packet goes to the controller by itself.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<SwitchConfig> {
        let flags = from.u16("switch's flags")?;
        Ok(SwitchConfig {
            flags,
            miss_send_len: from.u16("miss_send_len")?,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        to.u16(self.flags);
        to.u16(self.miss_send_len);
    }
}
