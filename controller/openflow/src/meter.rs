//! Meters: rates that packets are measured against. 1.5.1 section 5.11.

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
    /// How much may come at once, where the meter says that bursts count.
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
