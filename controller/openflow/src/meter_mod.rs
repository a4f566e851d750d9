//! METER_MOD (29): add, change or delete meters. 1.5.1 section 7.3.4.5.

use crate::error::ParseCause;
use crate::meter::Meter;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A change of the meters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MeterMod {
    /// Adds a meter whose number is free.
    Add(Meter),
    /// Changes a meter that exists.
    Modify(Meter),
    /// Deletes a meter and the flows that use it; [`Meter::ALL`] for all.
    Delete(u32),
}

/// `OFPMC_*`.
mod command {
    pub(super) const ADD: u16 = 0;
    pub(super) const MODIFY: u16 = 1;
    pub(super) const DELETE: u16 = 2;
}

impl MeterMod {
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<MeterMod> {
        let place = from.clone();
        let command = from.u16("meter-mod's command")?;
        if command == command::DELETE {
            from.pad("meter's flags", 2)?;
            let id = from.u32("meter")?;
            // What bands a meter to be deleted is said to have is of no meaning.
            from.rest();
            return Ok(MeterMod::Delete(id));
        }
        let meter = Meter::parse(from)?;
        match command {
            command::ADD => Ok(MeterMod::Add(meter)),
            command::MODIFY => Ok(MeterMod::Modify(meter)),
            _ => Err(place.error("meter-mod's command", ParseCause::Value(command.into()))),
        }
    }

    pub(crate) fn emit(&self, to: &mut Writer) -> Emitted {
        match self {
            MeterMod::Add(meter) => {
                to.u16(command::ADD);
                meter.emit(to)?;
            }
            MeterMod::Modify(meter) => {
                to.u16(command::MODIFY);
                meter.emit(to)?;
            }
            MeterMod::Delete(id) => {
                to.u16(command::DELETE);
                to.u16(0);
                to.u32(*id);
            }
        }
        Ok(())
    }
}
