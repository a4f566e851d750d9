//! `ct(…)`: the connection tracker, as `nicira-ext.h` and `ovs-actions(7)` describe NXAST_CT.

use super::encoding::{emit_actions, parse_nested, subfield};
use super::nicira::{NAT, NICIRA};
use super::{Action, Nat, Subfield, nat};
use crate::error::{EmitError, ParseCause};
use crate::field::Field;
use crate::oxm;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Which zone of the connection tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// This one.
    Number(u16),
    /// The one whose number 16 bits of a field hold.
    Field(Subfield),
}

/// Go through the connection tracker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Conntrack {
    /// Keep the connection; without it a new one is forgotten after the packet.
    pub commit: bool,
    /// With `commit`: end a connection that exists in the other direction.
    pub force: bool,
    /// The zone.
    pub zone: Zone,
    /// Where the packet goes on with its connection's state; without it the state is not told.
    pub table: Option<u8>,
    /// The port of a protocol whose helper follows (21 for FTP), 0 for none.
    pub alg: u16,
    /// Translate addresses.
    pub nat: Option<Nat>,
    /// With `commit`: what to set of the connection, `ct_mark` and `ct_label` only.
    pub exec: Vec<Action>,
}

impl Conntrack {
    /// Track in a zone and go on in a table.
    pub fn track(zone: u16, table: u8) -> Conntrack {
        Conntrack {
            table: Some(table),
            ..Conntrack::in_zone(zone)
        }
    }

    /// Commit in a zone, setting marks and labels.
    pub fn commit(zone: u16, exec: Vec<Action>) -> Conntrack {
        Conntrack {
            commit: true,
            exec,
            ..Conntrack::in_zone(zone)
        }
    }

    const fn in_zone(zone: u16) -> Conntrack {
        Conntrack {
            commit: false,
            force: false,
            zone: Zone::Number(zone),
            table: None,
            alg: 0,
            nat: None,
            exec: Vec::new(),
        }
    }
}

/// `NX_CT_F_*`.
mod flag {
    pub(super) const COMMIT: u16 = 1;
    pub(super) const FORCE: u16 = 2;
}

/// No table to go on in (`NX_CT_RECIRC_NONE`).
const NO_TABLE: u8 = 0xff;
/// The width of a zone's number.
const ZONE_BITS: u8 = 16;

/// Reads NXAST_CT after its subtype.
pub(super) fn parse(body: &mut Reader<'_>, version: Version, depth: u8) -> Parsed<Conntrack> {
    let place = body.clone();
    let flags = body.u16("ct's flags")?;
    let zone = parse_zone(body)?;
    let table = body.u8("ct's table")?;
    body.pad("ct's padding", 3)?;
    let alg = body.u16("ct's helper")?;
    if flags & !(flag::COMMIT | flag::FORCE) != 0 || flags == flag::FORCE {
        return Err(place.error("ct's flags", ParseCause::Value(flags.into())));
    }
    let nat = parse_nat(body)?;
    Ok(Conntrack {
        commit: flags & flag::COMMIT != 0,
        force: flags & flag::FORCE != 0,
        zone,
        table: (table != NO_TABLE).then_some(table),
        alg,
        nat,
        exec: parse_nested(body, version, depth + 1)?,
    })
}

fn parse_zone(body: &mut Reader<'_>) -> Parsed<Zone> {
    let place = body.clone();
    let mut source = body.part("ct's zone", 4)?;
    let number = body.u16("ct's zone")?;
    if source.clone().u32("ct's zone")? == 0 {
        return Ok(Zone::Number(number));
    }
    let field = oxm::parse_header(&mut source)?.field;
    subfield(field, number >> 6, (number & 0x3f) + 1)
        .filter(|zone| zone.bits() == ZONE_BITS)
        .map(Zone::Field)
        .ok_or(place.error("ct's zone", ParseCause::Bits))
}

/// The address translation stands first, if anywhere.
fn parse_nat(body: &mut Reader<'_>) -> Parsed<Option<Nat>> {
    let is_nat = |mut ahead: Reader<'_>| -> Parsed<bool> {
        ahead.pad("action", 4)?;
        Ok(ahead.u32("action's vendor")? == NICIRA && ahead.u16("action's subtype")? == NAT)
    };
    if !is_nat(body.clone()).unwrap_or(false) {
        return Ok(None);
    }
    let mut action = body.sized("nat", 2, 16)?;
    action.pad("nat's header", 10)?;
    nat::parse(&mut action).map(Some)
}

/// Writes NXAST_CT after its subtype.
pub(super) fn emit(to: &mut Writer, version: Version, conntrack: &Conntrack) -> Emitted {
    check(conntrack)?;
    let given = |flag: u16, is: bool| if is { flag } else { 0 };
    to.u16(given(flag::COMMIT, conntrack.commit) | given(flag::FORCE, conntrack.force));
    match conntrack.zone {
        Zone::Number(number) => {
            to.u32(0);
            to.u16(number);
        }
        Zone::Field(part) => {
            oxm::emit_short_header(to, part.field());
            to.u16(u16::from(part.offset()) << 6 | u16::from(part.bits() - 1));
        }
    }
    to.u8(conntrack.table.unwrap_or(NO_TABLE));
    to.zeros(3);
    to.u16(conntrack.alg);
    if let Some(nat) = &conntrack.nat {
        let start = to.len();
        to.u16(0xffff);
        to.u16(0);
        to.u32(NICIRA);
        to.u16(NAT);
        nat::emit(to, nat)?;
        to.pad_to_8(start);
        to.set_length("nat", start + 2, start)?;
    }
    emit_actions(to, version, &conntrack.exec)
}

/// What Open vSwitch would refuse.
fn check(conntrack: &Conntrack) -> Emitted {
    let sets_connection = |action: &Action| match action {
        Action::SetField { field, .. } => matches!(field, Field::CtMark | Field::CtLabel),
        Action::Move { target, .. } => matches!(target.field(), Field::CtMark | Field::CtLabel),
        _ => false,
    };
    let zone_fits = match conntrack.zone {
        Zone::Number(_) => true,
        Zone::Field(part) => part.bits() == ZONE_BITS,
    };
    if !zone_fits {
        return Err(EmitError::Bits("ct's zone"));
    }
    if conntrack.force && !conntrack.commit {
        return Err(EmitError::NotAllowed("ct's force without commit"));
    }
    if !conntrack.exec.is_empty() && !conntrack.commit {
        return Err(EmitError::NotAllowed("ct's exec without commit"));
    }
    if conntrack.table == Some(NO_TABLE) {
        return Err(EmitError::NotAllowed("ct's table 255"));
    }
    if !conntrack.exec.iter().all(sets_connection) {
        return Err(EmitError::NotAllowed(
            "ct's exec of another field than ct_mark and ct_label",
        ));
    }
    Ok(())
}
