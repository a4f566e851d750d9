//! FLOW_REMOVED (11): a flow went that had [`FlowFlags::SEND_FLOW_REMOVED`](crate::FlowFlags). 1.5.1
//! section 7.4.2.

use crate::flow::FlowKey;
use crate::oxm;
use crate::stats::{FlowCounters, count, counted, emit_duration, parse_duration};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A flow that went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowRemoved {
    /// Which.
    pub key: FlowKey,
    /// Its cookie.
    pub cookie: u64,
    /// Why (`OFPRR_*`): 0 idle, 1 hard timeout, 2 deleted, 3 its group deleted, 4 its meter, 5
    /// evicted.
    pub reason: u8,
    /// Its idle timeout.
    pub idle_timeout: u16,
    /// Its hard timeout.
    pub hard_timeout: u16,
    /// What it counted.
    pub counters: FlowCounters,
}

impl FlowRemoved {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<FlowRemoved> {
        match version {
            Version::V13 => parse_v13(from),
            Version::V15 => parse_v15(from),
        }
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        match version {
            Version::V13 => self.emit_v13(to),
            Version::V15 => self.emit_v15(to),
        }
    }

    fn emit_v13(&self, to: &mut Writer) -> Emitted {
        to.u64(self.cookie);
        to.u16(self.key.priority);
        to.u8(self.reason);
        to.u8(self.key.table);
        emit_duration(to, self.counters.duration.unwrap_or_default());
        to.u16(self.idle_timeout);
        to.u16(self.hard_timeout);
        to.u64(count(self.counters.packets));
        to.u64(count(self.counters.bytes));
        oxm::emit_match(to, Version::V13, &self.key.matching)
    }

    fn emit_v15(&self, to: &mut Writer) -> Emitted {
        to.u8(self.key.table);
        to.u8(self.reason);
        to.u16(self.key.priority);
        to.u16(self.idle_timeout);
        to.u16(self.hard_timeout);
        to.u64(self.cookie);
        oxm::emit_match(to, Version::V15, &self.key.matching)?;
        self.counters.emit(to)
    }
}

fn parse_v13(from: &mut Reader<'_>) -> Parsed<FlowRemoved> {
    let cookie = from.u64("cookie")?;
    let priority = from.u16("priority")?;
    let reason = from.u8("flow-removed's reason")?;
    let table = from.u8("table")?;
    let duration = Some(parse_duration(from)?);
    let idle_timeout = from.u16("idle timeout")?;
    let hard_timeout = from.u16("hard timeout")?;
    let packets = counted(from.u64("packets")?);
    let bytes = counted(from.u64("bytes")?);
    let matching = oxm::parse_match(from)?;
    let counters = FlowCounters {
        duration,
        packets,
        bytes,
        ..FlowCounters::default()
    };
    let key = FlowKey {
        table,
        priority,
        matching,
    };
    Ok(FlowRemoved {
        key,
        cookie,
        reason,
        idle_timeout,
        hard_timeout,
        counters,
    })
}

fn parse_v15(from: &mut Reader<'_>) -> Parsed<FlowRemoved> {
    let table = from.u8("table")?;
    let reason = from.u8("flow-removed's reason")?;
    let priority = from.u16("priority")?;
    let idle_timeout = from.u16("idle timeout")?;
    let hard_timeout = from.u16("hard timeout")?;
    let cookie = from.u64("cookie")?;
    let matching = oxm::parse_match(from)?;
    let counters = FlowCounters::parse(from)?;
    let key = FlowKey {
        table,
        priority,
        matching,
    };
    Ok(FlowRemoved {
        key,
        cookie,
        reason,
        idle_timeout,
        hard_timeout,
        counters,
    })
}
