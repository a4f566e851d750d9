//! METER_MOD (29): add, change or delete meters. 1.5.1 section 7.3.4.5.

use crate::meter::Meter;

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
