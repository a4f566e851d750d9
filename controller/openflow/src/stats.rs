//! What is counted: OXS, 1.5's list of statistics (1.5.1 section 7.2.4), and their values.

use std::time::Duration;

use crate::error::ParseCause;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// The class of OpenFlow's own statistics.
const OXS: u16 = 0x8002;

mod kind {
    pub(super) const DURATION: u8 = 0;
    pub(super) const IDLE: u8 = 1;
    pub(super) const FLOWS: u8 = 3;
    pub(super) const PACKETS: u8 = 4;
    pub(super) const BYTES: u8 = 5;
}

/// What a flow, or several together, counted. What a switch does not tell is None.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowCounters {
    /// How long it has been there.
    pub duration: Option<Duration>,
    /// How long no packet has come; 1.5 only.
    pub idle: Option<Duration>,
    /// How many flows; of several together only.
    pub flows: Option<u32>,
    /// How many packets.
    pub packets: Option<u64>,
    /// How many bytes.
    pub bytes: Option<u64>,
}

impl FlowCounters {
    /// Reads `ofp_stats` and the padding behind it.
    pub(crate) fn parse(from: &mut Reader<'_>) -> Parsed<FlowCounters> {
        let mut whole = from.sized("statistics", 2, 4)?;
        let length = whole.len();
        from.pad_to_8(length);
        whole.pad("statistics' header", 4)?;
        let mut counters = FlowCounters::default();
        while !whole.is_empty() {
            let place = whole.clone();
            let class = whole.u16("statistic's class")?;
            let number = whole.u8("statistic's number")? >> 1;
            let length = usize::from(whole.u8("statistic's length")?);
            let mut value = whole.part("statistic", length)?;
            if class != OXS {
                // Somebody's own: of no meaning here, and nothing depends on it.
                continue;
            }
            match number {
                kind::DURATION => counters.duration = Some(parse_duration(&mut value)?),
                kind::IDLE => counters.idle = Some(parse_duration(&mut value)?),
                kind::FLOWS => counters.flows = Some(value.u32("flows")?),
                kind::PACKETS => counters.packets = Some(value.u64("packets")?),
                kind::BYTES => counters.bytes = Some(value.u64("bytes")?),
                _ => return Err(place.error("statistic", ParseCause::Value(number.into()))),
            }
        }
        Ok(counters)
    }

    /// Writes `ofp_stats` and the padding behind it.
    pub(crate) fn emit(&self, to: &mut Writer) -> Emitted {
        let start = to.len();
        to.zeros(4);
        let open = |to: &mut Writer, number: u8, length: u8| {
            to.u16(OXS);
            to.u8(number << 1);
            to.u8(length);
        };
        if let Some(duration) = self.duration {
            open(to, kind::DURATION, 8);
            emit_duration(to, duration);
        }
        if let Some(idle) = self.idle {
            open(to, kind::IDLE, 8);
            emit_duration(to, idle);
        }
        if let Some(flows) = self.flows {
            open(to, kind::FLOWS, 4);
            to.u32(flows);
        }
        if let Some(packets) = self.packets {
            open(to, kind::PACKETS, 8);
            to.u64(packets);
        }
        if let Some(bytes) = self.bytes {
            open(to, kind::BYTES, 8);
            to.u64(bytes);
        }
        to.set_length("statistics", start + 2, start)?;
        to.pad_to_8(start);
        Ok(())
    }
}

/// Reads seconds and nanoseconds.
pub(crate) fn parse_duration(from: &mut Reader<'_>) -> Parsed<Duration> {
    let seconds = from.u32("seconds")?;
    let place = from.clone();
    let nanoseconds = from.u32("nanoseconds")?;
    if nanoseconds == u32::MAX {
        // How a switch says that it does not count so finely.
        return Ok(Duration::from_secs(seconds.into()));
    }
    if nanoseconds >= 1_000_000_000 {
        return Err(place.error("nanoseconds", ParseCause::Value(nanoseconds.into())));
    }
    Ok(Duration::new(seconds.into(), nanoseconds))
}

/// Writes seconds and nanoseconds; more than 32 bits of seconds (136 years) as the most there is.
pub(crate) fn emit_duration(to: &mut Writer, duration: Duration) {
    to.u32(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
    to.u32(duration.subsec_nanos());
}

/// A counter on the wire: all ones for what is not counted.
pub(crate) fn counted(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

/// The other direction of [`counted`].
pub(crate) fn count(value: Option<u64>) -> u64 {
    value.unwrap_or(u64::MAX)
}
