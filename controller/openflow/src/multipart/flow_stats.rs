//! OFPMP_FLOW (1; FLOW_DESC in 1.5) and OFPMP_AGGREGATE (2). 1.5.1 sections 7.3.5.2 to 7.3.5.4.

use crate::flow::{Flow, FlowFlags, FlowKey};
use crate::flow_match::Match;
use crate::flow_mod::FlowMod;
use crate::instruction::Instructions;
use crate::oxm;
use crate::port_number::PortNumber;
use crate::stats::{FlowCounters, count, counted, emit_duration, parse_duration};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Which flows are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowStatsRequest {
    /// Of this table; [`FlowMod::ALL_TABLES`] for all.
    pub table: u8,
    /// That output to this port; `ANY` for all.
    pub out_port: PortNumber,
    /// That use this group; [`FlowMod::ANY_GROUP`] for all.
    pub out_group: u32,
    /// Whose cookie is this at the mask's bits.
    pub cookie: u64,
    /// The bits of the cookie that must agree.
    pub cookie_mask: u64,
    /// That this match includes.
    pub matching: Match,
}

impl FlowStatsRequest {
    /// All flows of all tables.
    pub const fn all() -> FlowStatsRequest {
        FlowStatsRequest {
            table: FlowMod::ALL_TABLES,
            out_port: PortNumber::ANY,
            out_group: FlowMod::ANY_GROUP,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::new(),
        }
    }

    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<FlowStatsRequest> {
        let table = from.u8("table")?;
        from.pad("request's padding", 3)?;
        let out_port = PortNumber(from.u32("output port")?);
        let out_group = from.u32("output group")?;
        from.pad("request's padding", 4)?;
        Ok(FlowStatsRequest {
            table,
            out_port,
            out_group,
            cookie: from.u64("cookie")?,
            cookie_mask: from.u64("cookie's mask")?,
            matching: oxm::parse_match(from)?,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u8(self.table);
        to.zeros(3);
        to.u32(self.out_port.0);
        to.u32(self.out_group);
        to.zeros(4);
        to.u64(self.cookie);
        to.u64(self.cookie_mask);
        oxm::emit_match(to, version, &self.matching)
    }
}

/// A flow and what it counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowStats {
    /// The flow.
    pub flow: Flow,
    /// What it counted.
    pub counters: FlowCounters,
}

impl FlowStats {
    pub(super) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<FlowStats> {
        let mut body = from.sized("flow", 0, 24)?;
        body.pad("flow's length", 2)?;
        match version {
            Version::V13 => FlowStats::parse_v13(&mut body),
            Version::V15 => FlowStats::parse_v15(&mut body),
        }
    }

    fn parse_v13(body: &mut Reader<'_>) -> Parsed<FlowStats> {
        let table = body.u8("table")?;
        body.pad("flow's padding", 1)?;
        let duration = Some(parse_duration(body)?);
        let priority = body.u16("priority")?;
        let idle_timeout = body.u16("idle timeout")?;
        let hard_timeout = body.u16("hard timeout")?;
        let flags = FlowFlags(body.u16("flow's flags")?).kept();
        body.pad("flow's padding", 4)?;
        let cookie = body.u64("cookie")?;
        let packets = counted(body.u64("packets")?);
        let bytes = counted(body.u64("bytes")?);
        let matching = oxm::parse_match(body)?;
        let instructions = Instructions::parse(body, Version::V13)?;
        let key = FlowKey {
            table,
            priority,
            matching,
        };
        let importance = 0;
        let flow = Flow {
            key,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            instructions,
        };
        let counters = FlowCounters {
            duration,
            packets,
            bytes,
            ..FlowCounters::default()
        };
        Ok(FlowStats { flow, counters })
    }

    fn parse_v15(body: &mut Reader<'_>) -> Parsed<FlowStats> {
        body.pad("flow's padding", 2)?;
        let table = body.u8("table")?;
        body.pad("flow's padding", 1)?;
        let priority = body.u16("priority")?;
        let idle_timeout = body.u16("idle timeout")?;
        let hard_timeout = body.u16("hard timeout")?;
        let flags = FlowFlags(body.u16("flow's flags")?).kept();
        let importance = body.u16("importance")?;
        let cookie = body.u64("cookie")?;
        let matching = oxm::parse_match(body)?;
        let counters = FlowCounters::parse(body)?;
        let instructions = Instructions::parse(body, Version::V15)?;
        let key = FlowKey {
            table,
            priority,
            matching,
        };
        let flow = Flow {
            key,
            cookie,
            idle_timeout,
            hard_timeout,
            importance,
            flags,
            instructions,
        };
        Ok(FlowStats { flow, counters })
    }

    pub(super) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        let start = to.len();
        to.zeros(2);
        match version {
            Version::V13 => self.emit_v13(to)?,
            Version::V15 => self.emit_v15(to)?,
        }
        to.set_length("flow", start, start)
    }

    fn emit_v13(&self, to: &mut Writer) -> Emitted {
        let flow = &self.flow;
        to.u8(flow.key.table);
        to.zeros(1);
        emit_duration(to, self.counters.duration.unwrap_or_default());
        to.u16(flow.key.priority);
        to.u16(flow.idle_timeout);
        to.u16(flow.hard_timeout);
        to.u16(flow.flags.kept().0);
        to.zeros(4);
        to.u64(flow.cookie);
        to.u64(count(self.counters.packets));
        to.u64(count(self.counters.bytes));
        oxm::emit_match(to, Version::V13, &flow.key.matching)?;
        flow.instructions.emit(to, Version::V13)
    }

    fn emit_v15(&self, to: &mut Writer) -> Emitted {
        let flow = &self.flow;
        to.zeros(2);
        to.u8(flow.key.table);
        to.zeros(1);
        to.u16(flow.key.priority);
        to.u16(flow.idle_timeout);
        to.u16(flow.hard_timeout);
        to.u16(flow.flags.kept().0);
        to.u16(flow.importance);
        to.u64(flow.cookie);
        oxm::emit_match(to, Version::V15, &flow.key.matching)?;
        self.counters.emit(to)?;
        flow.instructions.emit(to, Version::V15)
    }
}

/// Reads what flows together counted.
pub(super) fn parse_aggregate(from: &mut Reader<'_>, version: Version) -> Parsed<FlowCounters> {
    if version >= Version::V15 {
        return FlowCounters::parse(from);
    }
    let packets = counted(from.u64("packets")?);
    let bytes = counted(from.u64("bytes")?);
    let flows = Some(from.u32("flows")?);
    from.pad("aggregate's padding", 4)?;
    Ok(FlowCounters {
        packets,
        bytes,
        flows,
        ..FlowCounters::default()
    })
}

/// Writes what flows together counted.
pub(super) fn emit_aggregate(
    to: &mut Writer,
    version: Version,
    counters: &FlowCounters,
) -> Emitted {
    if version >= Version::V15 {
        return counters.emit(to);
    }
    to.u64(count(counters.packets));
    to.u64(count(counters.bytes));
    to.u32(counters.flows.unwrap_or(0));
    to.zeros(4);
    Ok(())
}
