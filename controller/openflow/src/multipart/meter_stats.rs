//! OFPMP_METER (9): what the meters counted. 1.5.1 section 7.3.5.12.

use std::time::Duration;

use crate::stats::{emit_duration, parse_duration};
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// What a meter counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MeterStats {
    /// The meter.
    pub id: u32,
    /// How many flows use it.
    pub references: u32,
    /// Packets measured.
    pub packets: u64,
    /// Bytes measured.
    pub bytes: u64,
    /// How long it has been there.
    pub duration: Duration,
    /// What its bands acted on, in their order.
    pub bands: Vec<BandCounters>,
}

/// What a band acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BandCounters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl MeterStats {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<MeterStats> {
        let mut body = from.sized("meter's counters", 4, 40)?;
        let id = body.u32("meter")?;
        body.pad("meter's length", 8)?;
        let references = body.u32("meter's references")?;
        let packets = body.u64("packets")?;
        let bytes = body.u64("bytes")?;
        let duration = parse_duration(&mut body)?;
        let mut bands = Vec::new();
        while !body.is_empty() {
            let packets = body.u64("band's packets")?;
            bands.push(BandCounters {
                packets,
                bytes: body.u64("band's bytes")?,
            });
        }
        Ok(MeterStats {
            id,
            references,
            packets,
            bytes,
            duration,
            bands,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) -> Emitted {
        let start = to.len();
        to.u32(self.id);
        to.zeros(8);
        to.u32(self.references);
        to.u64(self.packets);
        to.u64(self.bytes);
        emit_duration(to, self.duration);
        for band in &self.bands {
            to.u64(band.packets);
            to.u64(band.bytes);
        }
        to.set_length("meter's counters", start + 4, start)
    }
}
