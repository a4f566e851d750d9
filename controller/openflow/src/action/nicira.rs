//! Open vSwitch's actions (`NXAST_*`): vendor, subtype, body. `ovs-actions(7)`, `ofp-actions.c`.

use super::encoding::{emit_move_fields, parse_move, parse_nested, subfield};
use super::{Action, conntrack, controller, encoding, learn};
use crate::error::{EmitError, ParseCause};
use crate::oxm;
use crate::port_number::PortNumber;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Nicira's number as a vendor.
pub(crate) const NICIRA: u32 = 0x0000_2320;
/// `NXAST_NAT`, which only the connection tracker's action contains.
pub(super) const NAT: u16 = 36;
/// ONF's number as a vendor.
pub(crate) const ONF: u32 = 0x4f4e_4600;

/// `NXAST_*`.
mod kind {
    pub(super) const RESUBMIT: u16 = 1;
    pub(super) const REG_MOVE: u16 = 6;
    pub(super) const REG_LOAD: u16 = 7;
    pub(super) const RESUBMIT_TABLE: u16 = 14;
    pub(super) const LEARN: u16 = 16;
    pub(super) const EXIT: u16 = 17;
    pub(super) const CONTROLLER: u16 = 20;
    pub(super) const REG_LOAD2: u16 = 33;
    pub(super) const CONJUNCTION: u16 = 34;
    pub(super) const CT: u16 = 35;
    pub(super) const CONTROLLER2: u16 = 37;
    pub(super) const CLONE: u16 = 42;
    pub(super) const CT_CLEAR: u16 = 43;
    pub(super) const RESUBMIT_TABLE_CT: u16 = 44;
    pub(super) const LEARN2: u16 = 45;
    /// ONF's extension EXT-320 of 1.3.
    pub(super) const ONF_COPY_FIELD: u16 = 3200;
}

/// Reads an experimenter action from its vendor on; None for one that is not known.
pub(super) fn parse(body: &mut Reader<'_>, version: Version, depth: u8) -> Parsed<Option<Action>> {
    let vendor = body.u32("action's vendor")?;
    if vendor == ONF {
        return parse_onf(body);
    }
    if vendor != NICIRA {
        return Ok(None);
    }
    let action = match body.u16("action's subtype")? {
        kind::RESUBMIT => Action::Resubmit {
            in_port: narrow_port(body.u16("resubmit's port")?),
            table: 255,
            original_tuple: false,
        },
        kind @ (kind::RESUBMIT_TABLE | kind::RESUBMIT_TABLE_CT) => Action::Resubmit {
            in_port: narrow_port(body.u16("resubmit's port")?),
            table: body.u8("resubmit's table")?,
            original_tuple: kind == kind::RESUBMIT_TABLE_CT,
        },
        kind::REG_MOVE => {
            let bits = body.u16("move's width")?;
            let source = body.u16("move's source")?;
            let target = body.u16("move's target")?;
            parse_move(body, bits, source, target)?
        }
        kind::REG_LOAD => parse_load(body)?,
        kind::REG_LOAD2 => {
            let (field, value, mask) = oxm::parse_field(body)?;
            Action::SetField { field, value, mask }
        }
        kind::LEARN => Action::Learn(Box::new(learn::parse(body, false)?)),
        kind::LEARN2 => Action::Learn(Box::new(learn::parse(body, true)?)),
        kind::EXIT => Action::Exit,
        kind::CONTROLLER => Action::Controller(controller::parse_short(body)?),
        kind::CONTROLLER2 => return Ok(controller::parse(body)?.map(Action::Controller)),
        kind::CONJUNCTION => parse_conjunction(body)?,
        kind::CT => Action::Conntrack(conntrack::parse(body, version, depth)?),
        kind::CT_CLEAR => Action::ConntrackClear,
        kind::CLONE => {
            body.pad("clone's padding", 6)?;
            Action::Clone(parse_nested(body, version, depth + 1)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(action))
}

fn parse_onf(body: &mut Reader<'_>) -> Parsed<Option<Action>> {
    if body.u16("action's subtype")? != kind::ONF_COPY_FIELD {
        return Ok(None);
    }
    body.pad("copy's padding", 2)?;
    let bits = body.u16("copy's width")?;
    let source = body.u16("copy's source")?;
    let target = body.u16("copy's target")?;
    body.pad("copy's padding", 2)?;
    parse_move(body, bits, source, target).map(Some)
}

fn parse_load(body: &mut Reader<'_>) -> Parsed<Action> {
    let place = body.clone();
    let range = body.u16("load's range")?;
    let field = oxm::parse_header(body)?.field;
    let value = u128::from(body.u64("load's value")?);
    let target = subfield(field, range >> 6, (range & 0x3f) + 1);
    let target = target.ok_or(place.error("load's range", ParseCause::Bits))?;
    let shifted = value << target.offset();
    if shifted & !target.mask() != 0 {
        return Err(place.error("load's value", ParseCause::Bits));
    }
    Ok(Action::SetField {
        field,
        value: shifted,
        mask: target.mask(),
    })
}

fn parse_conjunction(body: &mut Reader<'_>) -> Parsed<Action> {
    let place = body.clone();
    let clause = body.u8("conjunction's clause")?;
    let clauses = body.u8("conjunction's clauses")?;
    let id = body.u32("conjunction's id")?;
    if !conjunction_is_valid(clause, clauses) {
        return Err(place.error("conjunction's clauses", ParseCause::Value(clauses.into())));
    }
    Ok(Action::Conjunction {
        id,
        clause,
        clauses,
    })
}

/// Open vSwitch takes 2 to 64 clauses.
fn conjunction_is_valid(clause: u8, clauses: u8) -> bool {
    (2..=64).contains(&clauses) && clause < clauses
}

/// A port in 16 bits: the reserved numbers are the 32-bit ones cut off.
fn narrow_port(number: u16) -> PortNumber {
    PortNumber(if number >= 0xff00 {
        0xffff_0000 | u32::from(number)
    } else {
        number.into()
    })
}

fn port_in_16_bits(port: PortNumber) -> Result<u16, EmitError> {
    let narrow = port.0 as u16;
    if narrow_port(narrow) == port {
        Ok(narrow)
    } else {
        Err(EmitError::Bits("resubmit's port"))
    }
}

/// Writes an action from its vendor on.
pub(super) fn emit(to: &mut Writer, version: Version, action: &Action) -> Emitted {
    match action {
        Action::SetField { field, value, mask } => {
            open(to, kind::REG_LOAD2);
            oxm::emit_field(to, version, *field, *value, *mask)
        }
        Action::Move { source, target } => {
            open(to, kind::REG_MOVE);
            to.u16(source.bits().into());
            to.u16(source.offset().into());
            to.u16(target.offset().into());
            emit_move_fields(to, version, *source, *target)
        }
        Action::Resubmit {
            in_port,
            table,
            original_tuple,
        } => {
            let (plain, tracked) = (kind::RESUBMIT_TABLE, kind::RESUBMIT_TABLE_CT);
            open(to, if *original_tuple { tracked } else { plain });
            to.u16(port_in_16_bits(*in_port)?);
            to.u8(*table);
            to.zeros(3);
            Ok(())
        }
        Action::Conjunction {
            id,
            clause,
            clauses,
        } => emit_conjunction(to, *id, *clause, *clauses),
        Action::Conntrack(conntrack) => {
            open(to, kind::CT);
            conntrack::emit(to, version, conntrack)
        }
        Action::Learn(learn) => {
            open(
                to,
                if learn::is_second(learn) {
                    kind::LEARN2
                } else {
                    kind::LEARN
                },
            );
            learn::emit(to, version, learn)
        }
        Action::Controller(controller) => {
            open(to, kind::CONTROLLER2);
            to.zeros(6);
            controller::emit(to, controller)
        }
        Action::Clone(actions) => {
            open(to, kind::CLONE);
            to.zeros(6);
            encoding::emit_actions(to, version, actions)
        }
        // The two that are left: the standard actions are not handed on to here.
        other => {
            let is_clear = matches!(other, Action::ConntrackClear);
            open(to, if is_clear { kind::CT_CLEAR } else { kind::EXIT });
            to.zeros(6);
            Ok(())
        }
    }
}

fn open(to: &mut Writer, kind: u16) {
    to.u32(NICIRA);
    to.u16(kind);
}

fn emit_conjunction(to: &mut Writer, id: u32, clause: u8, clauses: u8) -> Emitted {
    if !conjunction_is_valid(clause, clauses) {
        return Err(EmitError::NotAllowed("conjunction's clauses"));
    }
    open(to, kind::CONJUNCTION);
    to.u8(clause);
    to.u8(clauses);
    to.u32(id);
    Ok(())
}
