//! FLOW_MOD (14): add, change or delete flows. 1.5.1 section 7.3.4.3.

use crate::error::{EmitError, ParseCause};
use crate::flow::{Flow, FlowFlags, FlowKey};
use crate::flow_match::Match;
use crate::instruction::Instructions;
use crate::oxm::{emit_match, parse_match};
use crate::port_number::PortNumber;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// What a flow-mod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowCommand {
    /// Add, in place of a flow with the same key.
    Add,
    /// Change the instructions of all flows that the match includes. Cookies stay as they are.
    Modify,
    /// Change the instructions of the flow with this key.
    ModifyStrict,
    /// Delete all flows that the match includes.
    Delete,
    /// Delete the flow with this key.
    DeleteStrict,
}

/// A change of a flow table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlowMod {
    /// What to do.
    pub command: FlowCommand,
    /// The table; [`FlowMod::ALL_TABLES`] to delete in all.
    pub table: u8,
    /// The flow's priority; of no meaning to `Modify` and `Delete`.
    pub priority: u16,
    /// What flows are matched.
    pub matching: Match,
    /// The new flow's cookie; for others what the cookie must be at the mask's bits.
    pub cookie: u64,
    /// The bits of the cookie that must agree; 0 for adding.
    pub cookie_mask: u64,
    /// Seconds without a packet until the flow goes, 0 for never.
    pub idle_timeout: u16,
    /// Seconds until the flow goes, 0 for never.
    pub hard_timeout: u16,
    /// A packet that the switch holds and that is to go through the table; [`NO_PACKET`] for none,
    /// which is always so with Open vSwitch.
    pub buffer_id: u32,
    /// Delete only what outputs to this port; `ANY` for all.
    pub out_port: PortNumber,
    /// Delete only what outputs to this group; [`FlowMod::ANY_GROUP`] for all.
    pub out_group: u32,
    /// Flags.
    pub flags: FlowFlags,
    /// 1.5: what goes last when a table is full.
    pub importance: u16,
    /// What the flow does.
    pub instructions: Instructions,
}

/// No packet is held (`OFP_NO_BUFFER`).
pub const NO_PACKET: u32 = 0xffff_ffff;

impl FlowMod {
    /// All tables (`OFPTT_ALL`).
    pub const ALL_TABLES: u8 = 0xff;
    /// No matter which group (`OFPG_ANY`).
    pub const ANY_GROUP: u32 = 0xffff_ffff;

    /// Adds a flow, in place of one with the same key.
    pub fn add(flow: Flow) -> FlowMod {
        FlowMod {
            command: FlowCommand::Add,
            cookie: flow.cookie,
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            flags: flow.flags,
            importance: flow.importance,
            instructions: flow.instructions,
            ..FlowMod::delete_strict(flow.key)
        }
    }

    /// Deletes the flow with this key.
    pub fn delete_strict(key: FlowKey) -> FlowMod {
        FlowMod {
            command: FlowCommand::DeleteStrict,
            table: key.table,
            priority: key.priority,
            matching: key.matching,
            ..FlowMod::delete_by_cookie(0, 0)
        }
    }

    /// Deletes all flows whose cookie is this at the mask's bits.
    pub fn delete_by_cookie(cookie: u64, cookie_mask: u64) -> FlowMod {
        FlowMod {
            command: FlowCommand::Delete,
            table: FlowMod::ALL_TABLES,
            priority: 0,
            matching: Match::new(),
            cookie,
            cookie_mask,
            idle_timeout: 0,
            hard_timeout: 0,
            buffer_id: NO_PACKET,
            out_port: PortNumber::ANY,
            out_group: FlowMod::ANY_GROUP,
            flags: FlowFlags::NONE,
            importance: 0,
            instructions: Instructions::drop(),
        }
    }

    /// The flow that adding leaves in the table.
    pub fn to_flow(&self) -> Flow {
        Flow {
            key: FlowKey {
                table: self.table,
                priority: self.priority,
                matching: self.matching.clone(),
            },
            cookie: self.cookie,
            idle_timeout: self.idle_timeout,
            hard_timeout: self.hard_timeout,
            importance: self.importance,
            flags: self.flags.kept(),
            instructions: self.instructions.clone(),
        }
    }
}

impl FlowCommand {
    const ALL: [FlowCommand; 5] = [
        FlowCommand::Add,
        FlowCommand::Modify,
        FlowCommand::ModifyStrict,
        FlowCommand::Delete,
        FlowCommand::DeleteStrict,
    ];
}

impl FlowMod {
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<FlowMod> {
        let cookie = from.u64("cookie")?;
        let cookie_mask = from.u64("cookie's mask")?;
        let table = from.u8("table")?;
        let place = from.clone();
        let number = from.u8("flow-mod's command")?;
        let command = FlowCommand::ALL.get(usize::from(number)).copied();
        let unknown = place.error("flow-mod's command", ParseCause::Value(number.into()));
        Ok(FlowMod {
            command: command.ok_or(unknown)?,
            table,
            cookie,
            cookie_mask,
            idle_timeout: from.u16("idle timeout")?,
            hard_timeout: from.u16("hard timeout")?,
            priority: from.u16("priority")?,
            buffer_id: from.u32("buffer")?,
            out_port: PortNumber(from.u32("output port")?),
            out_group: from.u32("output group")?,
            flags: FlowFlags(from.u16("flow-mod's flags")?),
            importance: parse_importance(from, version)?,
            matching: parse_match(from)?,
            instructions: Instructions::parse(from, version)?,
        })
    }

    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        to.u64(self.cookie);
        to.u64(self.cookie_mask);
        to.u8(self.table);
        to.u8(self.command as u8);
        to.u16(self.idle_timeout);
        to.u16(self.hard_timeout);
        to.u16(self.priority);
        to.u32(self.buffer_id);
        to.u32(self.out_port.0);
        to.u32(self.out_group);
        to.u16(self.flags.0);
        emit_importance(to, version, self.importance)?;
        emit_match(to, version, &self.matching)?;
        self.instructions.emit(to, version)
    }
}

fn parse_importance(from: &mut Reader<'_>, version: Version) -> Parsed<u16> {
    let importance = from.u16("importance")?;
    Ok(if version >= Version::V15 {
        importance
    } else {
        0
    })
}

fn emit_importance(to: &mut Writer, version: Version, importance: u16) -> Emitted {
    if version < Version::V15 && importance != 0 {
        return Err(EmitError::NotInVersion("importance"));
    }
    to.u16(importance);
    Ok(())
}
