//! What a flow does with a packet: a set with at most one instruction of each kind (1.5.1 section
//! 5.8). As a struct, two sets that mean the same are equal.

use crate::action::Action;
use crate::action::{emit_actions, parse_actions};
use crate::error::{EmitError, ParseCause};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// A flow's instructions, in the order in which the switch executes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Instructions {
    /// Go through a meter first. 1.3 only: in 1.5 it is [`Action::Meter`].
    pub meter: Option<u32>,
    /// Do this at once; empty for nothing.
    pub apply: Vec<Action>,
    /// Empty the action set.
    pub clear: bool,
    /// Put this into the action set; empty for nothing.
    pub write: Vec<Action>,
    /// Set bits of the metadata field.
    pub metadata: Option<Metadata>,
    /// Go on in this table, which must come after the flow's.
    pub goto_table: Option<u8>,
}

/// A change of the metadata field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// The new value; zero where the mask is.
    pub value: u64,
    /// The bits that change.
    pub mask: u64,
}

impl Instructions {
    /// Drops the packet.
    pub const fn drop() -> Instructions {
        Instructions {
            meter: None,
            apply: Vec::new(),
            clear: false,
            write: Vec::new(),
            metadata: None,
            goto_table: None,
        }
    }

    /// Does this at once.
    pub fn apply(actions: Vec<Action>) -> Instructions {
        Instructions {
            apply: actions,
            ..Instructions::drop()
        }
    }

    /// Goes on in a table.
    pub fn goto(table: u8) -> Instructions {
        Instructions {
            goto_table: Some(table),
            ..Instructions::drop()
        }
    }

    /// The same, then going on in a table.
    #[must_use]
    pub fn then_goto(mut self, table: u8) -> Instructions {
        self.goto_table = Some(table);
        self
    }
}

/// `OFPIT_*`.
mod kind {
    pub(super) const GOTO_TABLE: u16 = 1;
    pub(super) const WRITE_METADATA: u16 = 2;
    pub(super) const WRITE_ACTIONS: u16 = 3;
    pub(super) const APPLY_ACTIONS: u16 = 4;
    pub(super) const CLEAR_ACTIONS: u16 = 5;
    pub(super) const METER: u16 = 6;
}

impl Instructions {
    /// Reads instructions until the end.
    pub(crate) fn parse(from: &mut Reader<'_>, version: Version) -> Parsed<Instructions> {
        let mut set = Instructions::default();
        let mut seen = 0u8;
        while !from.is_empty() {
            let mut body = from.sized("instruction", 2, 8)?;
            let place = body.clone();
            let kind = body.u16("instruction's type")?;
            body.pad("instruction's length", 2)?;
            if !(kind::GOTO_TABLE..=kind::METER).contains(&kind) {
                return Err(place.error("instruction", ParseCause::Value(kind.into())));
            }
            if seen & 1 << kind != 0 {
                return Err(place.error("instruction", ParseCause::Repeated));
            }
            seen |= 1 << kind;
            set.parse_one(&mut body, version, kind)?;
        }
        Ok(set)
    }

    fn parse_one(&mut self, body: &mut Reader<'_>, version: Version, kind: u16) -> Parsed<()> {
        match kind {
            kind::GOTO_TABLE => self.goto_table = Some(body.u8("goto_table's table")?),
            kind::WRITE_METADATA => {
                body.pad("write_metadata's padding", 4)?;
                let value = body.u64("metadata")?;
                let mask = body.u64("metadata's mask")?;
                self.metadata = Some(Metadata {
                    value: value & mask,
                    mask,
                });
            }
            kind::METER if version < Version::V15 => self.meter = Some(body.u32("meter")?),
            kind::METER => {
                return Err(body.error("instruction", ParseCause::Value(kind.into())));
            }
            kind::CLEAR_ACTIONS => self.clear = true,
            _ => {
                body.pad("instruction's padding", 4)?;
                let actions = parse_actions(body, version)?;
                if kind == kind::APPLY_ACTIONS {
                    self.apply = actions
                } else {
                    self.write = actions
                }
            }
        }
        Ok(())
    }

    /// Writes the instructions in the order of execution.
    pub(crate) fn emit(&self, to: &mut Writer, version: Version) -> Emitted {
        if let Some(meter) = self.meter {
            if version >= Version::V15 {
                return Err(EmitError::NotInVersion("meter instruction"));
            }
            to.u16(kind::METER);
            to.u16(8);
            to.u32(meter);
        }
        emit_list(to, version, kind::APPLY_ACTIONS, &self.apply)?;
        if self.clear {
            to.u16(kind::CLEAR_ACTIONS);
            to.u16(8);
            to.zeros(4);
        }
        emit_list(to, version, kind::WRITE_ACTIONS, &self.write)?;
        if let Some(metadata) = self.metadata {
            if metadata.value & !metadata.mask != 0 {
                return Err(EmitError::Bits("write_metadata"));
            }
            to.u16(kind::WRITE_METADATA);
            to.u16(24);
            to.zeros(4);
            to.u64(metadata.value);
            to.u64(metadata.mask);
        }
        if let Some(table) = self.goto_table {
            to.u16(kind::GOTO_TABLE);
            to.u16(8);
            to.u8(table);
            to.zeros(3);
        }
        Ok(())
    }
}

fn emit_list(to: &mut Writer, version: Version, kind: u16, actions: &[Action]) -> Emitted {
    if actions.is_empty() {
        return Ok(());
    }
    let start = to.len();
    to.u16(kind);
    to.u16(0);
    to.zeros(4);
    emit_actions(to, version, actions)?;
    to.set_length("instruction", start + 2, start)
}
