//! FEATURES_REPLY (6): what the switch is. 1.5.1 section 7.3.1.

use crate::wire::{Parsed, Reader, Writer};

/// What the switch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Features {
    /// Its identifier: a MAC address and 16 bits more.
    pub datapath_id: u64,
    /// How many packets it can hold for the controller.
    pub buffers: u32,
    /// How many tables it has.
    pub tables: u8,
    /// Which of the connections to it this is, 0 for the main one.
    pub auxiliary_id: u8,
    /// Its capabilities (`OFPC_*`).
    pub capabilities: u32,
}

impl Features {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<Features> {
        let features = Features {
            datapath_id: from.u64("datapath")?,
            buffers: from.u32("buffers")?,
            tables: from.u8("tables")?,
            auxiliary_id: from.u8("auxiliary connection")?,
            capabilities: {
                from.pad("features' padding", 2)?;
                from.u32("capabilities")?
            },
        };
        from.pad("features' reserved bytes", 4)?;
        Ok(features)
    }

    pub(crate) fn emit(&self, to: &mut Writer) {
        to.u64(self.datapath_id);
        to.u32(self.buffers);
        to.u8(self.tables);
        to.u8(self.auxiliary_id);
        to.zeros(2);
        to.u32(self.capabilities);
        to.zeros(4);
    }
}
