//! Meters: rates that packets are measured against. 1.5.1 section 5.11.

use crate::error::{EmitError, ParseCause};
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meter {
    /// Its number, 1 to [`Meter::MAX`].
    pub id: u32,
    /// What its bands' rates count.
    pub unit: MeterUnit,
    /// Whether the bands' burst sizes count.
    pub burst: bool,
    /// Whether packets are counted.
    pub stats: bool,
    /// What is done above which rate.
    pub bands: Vec<Band>,
}

impl Meter {
    /// The last number that a meter can have (`OFPM_MAX`).
    pub const MAX: u32 = 0xffff_0000;
    /// All meters (`OFPM_ALL`).
    pub const ALL: u32 = 0xffff_ffff;

    /// Drops what exceeds a rate in kbit/s, with a burst in kbit.
    pub fn limit_kbps(id: u32, rate: u32, burst: u32) -> Meter {
        let band = Band {
            rate,
            burst,
            action: BandAction::Drop,
        };
        Meter {
            id,
            unit: MeterUnit::Kbps,
            burst: true,
            stats: true,
            bands: vec![band],
        }
    }
}

/// What a meter's rates count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeterUnit {
    /// 1000 bits per second; bursts are in 1000 bits.
    Kbps,
    /// Packets per second; bursts are in packets.
    PacketsPerSecond,
}

/// What is done to packets above a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Band {
    /// The rate, in the meter's unit.
    pub rate: u32,
    /// How much may come at once; 0 where the meter does not say that bursts count.
    pub burst: u32,
    /// What is done.
    pub action: BandAction,
}

/// What a band does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BandAction {
    /// Drop the packet.
    Drop,
    /// Raise the drop precedence in its DSCP by this.
    RemarkDscp(u8),
}

/// `OFPMF_*`.
mod flag {
    pub(super) const KBPS: u16 = 1;
    pub(super) const PACKETS: u16 = 2;
    pub(super) const BURST: u16 = 4;
    pub(super) const STATS: u16 = 8;
}

/// `OFPMBT_*`.
mod band {
    pub(super) const DROP: u16 = 1;
    pub(super) const REMARK_DSCP: u16 = 2;
    pub(super) const LENGTH: usize = 16;
}

impl Meter {
    /// Reads a meter from its flags on.
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<Meter> {
        let place = from.clone();
        let flags = from.u16("meter's flags")?;
        let id = from.u32("meter")?;
        // Open vSwitch takes no unit for packets per second to be an error; the specification's
        // default is kbit/s.
        let unit = match flags & (flag::KBPS | flag::PACKETS) {
            flag::PACKETS => MeterUnit::PacketsPerSecond,
            0 | flag::KBPS => MeterUnit::Kbps,
            _ => return Err(place.error("meter's flags", ParseCause::Value(flags.into()))),
        };
        let (burst, stats) = (flags & flag::BURST != 0, flags & flag::STATS != 0);
        let mut bands = Vec::new();
        while !from.is_empty() {
            let band = Band::parse(from)?;
            // Open vSwitch fills in a burst of its own where none was given.
            bands.push(if burst {
                band
            } else {
                Band { burst: 0, ..band }
            });
        }
        Ok(Meter {
            id,
            unit,
            burst,
            stats,
            bands,
        })
    }

    /// Writes a meter from its flags on.
    pub(crate) fn emit(&self, to: &mut Writer) -> Emitted {
        if !self.burst && self.bands.iter().any(|band| band.burst != 0) {
            return Err(EmitError::NotAllowed("burst of a meter without bursts"));
        }
        let unit = match self.unit {
            MeterUnit::Kbps => flag::KBPS,
            MeterUnit::PacketsPerSecond => flag::PACKETS,
        };
        let burst = if self.burst { flag::BURST } else { 0 };
        let stats = if self.stats { flag::STATS } else { 0 };
        to.u16(unit | burst | stats);
        to.u32(self.id);
        self.bands.iter().for_each(|band| band.emit(to));
        Ok(())
    }
}

impl Band {
    fn parse(from: &mut Reader<'_>) -> Parsed<Band> {
        let mut body = from.sized("band", 2, band::LENGTH)?;
        let place = body.clone();
        let kind = body.u16("band's type")?;
        body.pad("band's length", 2)?;
        let rate = body.u32("band's rate")?;
        let burst = body.u32("band's burst")?;
        let action = match kind {
            band::DROP => BandAction::Drop,
            band::REMARK_DSCP => BandAction::RemarkDscp(body.u8("band's precedence")?),
            _ => return Err(place.error("band's type", ParseCause::Value(kind.into()))),
        };
        Ok(Band {
            rate,
            burst,
            action,
        })
    }

    fn emit(&self, to: &mut Writer) {
        let (kind, precedence) = match self.action {
            BandAction::Drop => (band::DROP, 0),
            BandAction::RemarkDscp(levels) => (band::REMARK_DSCP, levels),
        };
        to.u16(kind);
        to.u16(band::LENGTH as u16);
        to.u32(self.rate);
        to.u32(self.burst);
        to.u8(precedence);
        to.zeros(3);
    }
}
