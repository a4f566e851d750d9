//! OFPMP_PORT (4): what the ports counted. 1.5.1 section 7.3.5.6.

use std::time::Duration;

use crate::port_number::PortNumber;
use crate::property;
use crate::stats::{count, counted, emit_duration, parse_duration};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// The length of a port's counters without properties in 1.5.
const LENGTH_V15: usize = 80;
/// `OFPPSPT_ETHERNET`.
const ETHERNET: u16 = 0;

/// What a port counted; None for what it does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortStats {
    /// The port.
    pub port: PortNumber,
    /// How long it has been there.
    pub duration: Duration,
    /// Packets received and sent.
    pub packets: [Option<u64>; 2],
    /// Bytes received and sent.
    pub bytes: [Option<u64>; 2],
    /// Packets dropped on receiving and sending.
    pub dropped: [Option<u64>; 2],
    /// Errors on receiving and sending.
    pub errors: [Option<u64>; 2],
    /// What Ethernet counted: frames misaligned, overrun, with a wrong checksum; collisions.
    pub ethernet: Option<[Option<u64>; 4]>,
}

fn parse_counters<const N: usize>(from: &mut Reader<'_>) -> Parsed<[Option<u64>; N]> {
    let mut counters = [None; N];
    for counter in &mut counters {
        *counter = counted(from.u64("port's counter")?);
    }
    Ok(counters)
}

fn emit_counters(to: &mut Writer, counters: &[Option<u64>]) {
    counters.iter().for_each(|counter| to.u64(count(*counter)));
}

impl PortStats {
    pub(super) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<PortStats> {
        match version {
            Version::V13 => {
                let port = PortNumber(from.u32("port")?);
                from.pad("port's padding", 4)?;
                let mut stats = PortStats::parse_counters(from, port)?;
                stats.ethernet = Some(parse_counters(from)?);
                stats.duration = parse_duration(from)?;
                Ok(stats)
            }
            Version::V15 => {
                let mut body = from.sized("port's counters", 0, LENGTH_V15)?;
                from.pad_to_8(body.len());
                body.pad("port's length", 4)?;
                let port = PortNumber(body.u32("port")?);
                let duration = parse_duration(&mut body)?;
                let mut stats = PortStats::parse_counters(&mut body, port)?;
                stats.duration = duration;
                while !body.is_empty() {
                    let (kind, mut value) = property::next(&mut body)?;
                    if kind == ETHERNET {
                        value.pad("property's padding", 4)?;
                        stats.ethernet = Some(parse_counters(&mut value)?);
                    }
                }
                Ok(stats)
            }
        }
    }

    fn parse_counters(from: &mut Reader<'_>, port: PortNumber) -> Parsed<PortStats> {
        Ok(PortStats {
            port,
            duration: Duration::ZERO,
            packets: parse_counters(from)?,
            bytes: parse_counters(from)?,
            dropped: parse_counters(from)?,
            errors: parse_counters(from)?,
            ethernet: None,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        let start = to.len();
        match version {
            Version::V13 => {
                to.u32(self.port.0);
                to.zeros(4);
                self.emit_counters(to);
                emit_counters(to, &self.ethernet.unwrap_or_default());
                emit_duration(to, self.duration);
                Ok(())
            }
            Version::V15 => {
                to.zeros(4);
                to.u32(self.port.0);
                emit_duration(to, self.duration);
                self.emit_counters(to);
                if let Some(counters) = self.ethernet {
                    let mut value = Writer::new();
                    value.zeros(4);
                    emit_counters(&mut value, &counters);
                    property::emit(to, ETHERNET, &value.into_bytes())?;
                }
                to.set_length("port's counters", start, start)
            }
        }
    }

    fn emit_counters(&self, to: &mut Writer) {
        let pairs = [self.packets, self.bytes, self.dropped, self.errors];
        pairs.iter().for_each(|pair| emit_counters(to, pair));
    }
}
