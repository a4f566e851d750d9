//! OFPMP_FLOW_MONITOR (16): to be told of changes of flows. 1.5.1 section 7.3.5.17.

use crate::error::ParseCause;
use crate::flow_match::Match;
use crate::instruction::Instructions;
use crate::oxm;
use crate::port_number::PortNumber;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// What is to be told (`OFPFMF_*`).
pub mod monitor_flags {
    /// The flows that are there at first.
    pub const INITIAL: u16 = 1;
    /// Flows that come.
    pub const ADD: u16 = 2;
    /// Flows that go.
    pub const REMOVED: u16 = 4;
    /// Flows that change.
    pub const MODIFY: u16 = 8;
    /// With their instructions.
    pub const INSTRUCTIONS: u16 = 16;
    /// The controller's own changes in full too.
    pub const NO_ABBREV: u16 = 32;
    /// Nobody's changes but the controller's own.
    pub const ONLY_OWN: u16 = 64;
}

/// What a monitor request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowMonitorCommand {
    /// Begin.
    Add,
    /// Change what is told.
    Modify,
    /// End.
    Delete,
}

/// A monitor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMonitorRequest {
    /// Its number, of the controller's choice.
    pub id: u32,
    /// Flows that output to this port; `ANY` for all.
    pub out_port: PortNumber,
    /// Flows that use this group; [`crate::FlowMod::ANY_GROUP`] for all.
    pub out_group: u32,
    /// What is to be told, of [`monitor_flags`].
    pub flags: u16,
    /// Of this table; [`crate::FlowMod::ALL_TABLES`] for all.
    pub table: u8,
    /// What the request does.
    pub command: FlowMonitorCommand,
    /// Flows that this match includes.
    pub matching: Match,
}

impl FlowMonitorRequest {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<FlowMonitorRequest> {
        let id = from.u32("monitor")?;
        let out_port = PortNumber(from.u32("output port")?);
        let out_group = from.u32("output group")?;
        let flags = from.u16("monitor's flags")?;
        let table = from.u8("table")?;
        let place = from.clone();
        let command = match from.u8("monitor's command")? {
            0 => FlowMonitorCommand::Add,
            1 => FlowMonitorCommand::Modify,
            2 => FlowMonitorCommand::Delete,
            other => return Err(place.error("monitor's command", ParseCause::Value(other.into()))),
        };
        let matching = oxm::parse_match(from)?;
        Ok(FlowMonitorRequest {
            id,
            out_port,
            out_group,
            flags,
            table,
            command,
            matching,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) -> Emitted {
        to.u32(self.id);
        to.u32(self.out_port.0);
        to.u32(self.out_group);
        to.u16(self.flags);
        to.u8(self.table);
        to.u8(self.command as u8);
        oxm::emit_match(to, Version::V15, &self.matching)
    }
}

/// A change of flows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FlowUpdate {
    /// A flow that was there (0), came (1), went (2) or changed (3).
    Full {
        /// Which of the four (`OFPFME_*`).
        event: u16,
        /// Its table.
        table: u8,
        /// For one that went, why (`OFPRR_*`).
        reason: u8,
        /// Its idle timeout.
        idle_timeout: u16,
        /// Its hard timeout.
        hard_timeout: u16,
        /// Its priority.
        priority: u16,
        /// Its cookie.
        cookie: u64,
        /// Its match.
        matching: Match,
        /// Its instructions, where they were asked for.
        instructions: Instructions,
    },
    /// The controller's own change, by the number of its message.
    Abbreviated {
        /// The message's number.
        xid: u32,
    },
    /// What comes is no longer all, as there is no room for it at the switch.
    Paused,
    /// What comes is all again.
    Resumed,
}

/// `OFPFME_*` but the first three.
mod event {
    pub(super) const MODIFIED: u16 = 3;
    pub(super) const ABBREVIATED: u16 = 4;
    pub(super) const PAUSED: u16 = 5;
    pub(super) const RESUMED: u16 = 6;
}

impl FlowUpdate {
    pub(super) fn parse(from: &mut Reader<'_>) -> Parsed<FlowUpdate> {
        let mut body = from.sized("flow's change", 0, 8)?;
        body.pad("change's length", 2)?;
        let place = body.clone();
        match body.u16("change's event")? {
            event @ ..=event::MODIFIED => FlowUpdate::parse_full(&mut body, event),
            event::ABBREVIATED => Ok(FlowUpdate::Abbreviated {
                xid: body.u32("change's xid")?,
            }),
            event::PAUSED => Ok(FlowUpdate::Paused),
            event::RESUMED => Ok(FlowUpdate::Resumed),
            other => Err(place.error("change's event", ParseCause::Value(other.into()))),
        }
    }

    fn parse_full(body: &mut Reader<'_>, event: u16) -> Parsed<FlowUpdate> {
        let table = body.u8("table")?;
        let reason = body.u8("change's reason")?;
        let idle_timeout = body.u16("idle timeout")?;
        let hard_timeout = body.u16("hard timeout")?;
        let priority = body.u16("priority")?;
        body.pad("change's padding", 4)?;
        Ok(FlowUpdate::Full {
            event,
            table,
            reason,
            idle_timeout,
            hard_timeout,
            priority,
            cookie: body.u64("cookie")?,
            matching: oxm::parse_match(body)?,
            instructions: Instructions::parse(body, Version::V15)?,
        })
    }

    pub(super) fn emit(&self, to: &mut Writer) -> Emitted {
        let start = to.len();
        to.zeros(2);
        match self {
            FlowUpdate::Full {
                event,
                table,
                reason,
                idle_timeout,
                hard_timeout,
                priority,
                cookie,
                matching,
                instructions,
            } => {
                to.u16((*event).min(event::MODIFIED));
                to.u8(*table);
                to.u8(*reason);
                to.u16(*idle_timeout);
                to.u16(*hard_timeout);
                to.u16(*priority);
                to.zeros(4);
                to.u64(*cookie);
                oxm::emit_match(to, Version::V15, matching)?;
                instructions.emit(to, Version::V15)?;
            }
            FlowUpdate::Abbreviated { xid } => {
                to.u16(event::ABBREVIATED);
                to.u32(*xid);
            }
            FlowUpdate::Paused => {
                to.u16(event::PAUSED);
                to.zeros(4);
            }
            FlowUpdate::Resumed => {
                to.u16(event::RESUMED);
                to.zeros(4);
            }
        }
        to.set_length("flow's change", start, start)
    }
}
