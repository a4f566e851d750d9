//! OFPMP_DESC (0): who made the switch. 1.5.1 section 7.3.5.1.

use crate::wire::{Emitted, Parsed, Reader, Writer};

/// The room for a description, and for a serial number (`DESC_STR_LEN`, `SERIAL_NUM_LEN`).
const DESCRIPTION_LEN: usize = 256;
const SERIAL_LEN: usize = 32;

/// Who made the switch, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SwitchDescription {
    /// The manufacturer.
    pub manufacturer: String,
    /// The hardware.
    pub hardware: String,
    /// The software.
    pub software: String,
    /// The serial number.
    pub serial_number: String,
    /// What the operator calls it.
    pub datapath: String,
}

impl SwitchDescription {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<SwitchDescription> {
        Ok(SwitchDescription {
            manufacturer: from.text("manufacturer", DESCRIPTION_LEN)?,
            hardware: from.text("hardware", DESCRIPTION_LEN)?,
            software: from.text("software", DESCRIPTION_LEN)?,
            serial_number: from.text("serial number", SERIAL_LEN)?,
            datapath: from.text("datapath's description", DESCRIPTION_LEN)?,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) -> Emitted {
        to.text("manufacturer", &self.manufacturer, DESCRIPTION_LEN)?;
        to.text("hardware", &self.hardware, DESCRIPTION_LEN)?;
        to.text("software", &self.software, DESCRIPTION_LEN)?;
        to.text("serial number", &self.serial_number, SERIAL_LEN)?;
        to.text("datapath's description", &self.datapath, DESCRIPTION_LEN)
    }
}
