//! Actions on the wire: type, length, body, padded to 8 bytes. 1.5.1 section 7.2.6.

use super::{Action, Subfield, nicira};
use crate::error::{EmitError, ParseCause};
use crate::oxm;
use crate::port_number::PortNumber;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// How deep actions may lie in actions. Open vSwitch nests two deep (`clone(ct(commit,exec(…)))`);
/// the limit keeps the stack small whatever comes.
pub(super) const DEPTH_MAX: u8 = 8;

/// `OFPAT_*`.
mod kind {
    pub(super) const OUTPUT: u16 = 0;
    pub(super) const PUSH_VLAN: u16 = 17;
    pub(super) const POP_VLAN: u16 = 18;
    pub(super) const PUSH_MPLS: u16 = 19;
    pub(super) const POP_MPLS: u16 = 20;
    pub(super) const SET_QUEUE: u16 = 21;
    pub(super) const GROUP: u16 = 22;
    pub(super) const SET_TTL: u16 = 23;
    pub(super) const DEC_TTL: u16 = 24;
    pub(super) const SET_FIELD: u16 = 25;
    pub(super) const COPY_FIELD: u16 = 28;
    pub(super) const METER: u16 = 29;
    pub(super) const EXPERIMENTER: u16 = 0xffff;
}

/// Reads actions until the end.
pub(crate) fn parse_actions(from: &mut Reader<'_>, version: Version) -> Parsed<Vec<Action>> {
    parse_nested(from, version, 0)
}

pub(super) fn parse_nested(
    from: &mut Reader<'_>,
    version: Version,
    depth: u8,
) -> Parsed<Vec<Action>> {
    if depth > DEPTH_MAX {
        return Err(from.error("nested actions", ParseCause::TooMany));
    }
    let mut actions = Vec::new();
    while !from.is_empty() {
        actions.push(parse(from, version, depth)?);
    }
    Ok(actions)
}

fn parse(from: &mut Reader<'_>, version: Version, depth: u8) -> Parsed<Action> {
    let mut body = from.sized("action", 2, 8)?;
    if body.len() % 8 != 0 {
        return Err(body.error("action", ParseCause::Length(body.len())));
    }
    let kind = body.u16("action's type")?;
    body.pad("action's length", 2)?;
    let mut as_it_came = body.clone();
    match parse_known(&mut body, version, kind, depth) {
        Ok(Some(action)) => Ok(action),
        // A field or subtype of another vendor, or of another year: kept, not refused.
        Ok(None) => Ok(Action::Other {
            kind,
            body: as_it_came.rest().to_vec(),
        }),
        Err(error) if error.what == oxm::UNKNOWN_FIELD => Ok(Action::Other {
            kind,
            body: as_it_came.rest().to_vec(),
        }),
        Err(error) => Err(error),
    }
}

fn parse_known(
    body: &mut Reader<'_>,
    version: Version,
    kind: u16,
    depth: u8,
) -> Parsed<Option<Action>> {
    let action = match kind {
        kind::OUTPUT => {
            let port = PortNumber(body.u32("output's port")?);
            let max_len = body.u16("output's max_len")?;
            // What other ports have there is of no meaning.
            let max_len = if port == PortNumber::CONTROLLER {
                max_len
            } else {
                0
            };
            Action::Output { port, max_len }
        }
        kind::PUSH_VLAN => Action::PushVlan(body.u16("VLAN's type")?),
        kind::POP_VLAN => Action::PopVlan,
        kind::PUSH_MPLS => Action::PushMpls(body.u16("label's type")?),
        kind::POP_MPLS => Action::PopMpls(body.u16("type below a label")?),
        kind::SET_QUEUE => Action::SetQueue(body.u32("queue")?),
        kind::GROUP => Action::Group(body.u32("group")?),
        kind::SET_TTL => Action::SetTtl(body.u8("time to live")?),
        kind::DEC_TTL => Action::DecTtl,
        kind::SET_FIELD => {
            let (field, value, mask) = oxm::parse_field(body)?;
            Action::SetField { field, value, mask }
        }
        kind::COPY_FIELD if version >= Version::V15 => parse_copy(body)?,
        kind::METER if version >= Version::V15 => Action::Meter(body.u32("meter")?),
        kind::EXPERIMENTER => return nicira::parse(body, version, depth),
        _ => return Ok(None),
    };
    Ok(Some(action))
}

fn parse_copy(body: &mut Reader<'_>) -> Parsed<Action> {
    let bits = body.u16("copy's width")?;
    let source = body.u16("copy's source")?;
    let target = body.u16("copy's target")?;
    body.pad("copy's padding", 2)?;
    parse_move(body, bits, source, target)
}

/// Reads the fields of a copy whose bits are known.
pub(super) fn parse_move(
    body: &mut Reader<'_>,
    bits: u16,
    source: u16,
    target: u16,
) -> Parsed<Action> {
    let source = parse_end(body, "copy's source", source, bits)?;
    let target = parse_end(body, "copy's target", target, bits)?;
    Ok(Action::Move { source, target })
}

fn parse_end(
    body: &mut Reader<'_>,
    what: &'static str,
    offset: u16,
    bits: u16,
) -> Parsed<Subfield> {
    let place = body.clone();
    let field = oxm::parse_header(body)?.field;
    subfield(field, offset, bits).ok_or(place.error(what, ParseCause::Bits))
}

pub(super) fn subfield(field: crate::Field, offset: u16, bits: u16) -> Option<Subfield> {
    Subfield::new(field, u8::try_from(offset).ok()?, u8::try_from(bits).ok()?)
}

/// Writes actions, each padded.
pub(crate) fn emit_actions(to: &mut Writer, version: Version, actions: &[Action]) -> Emitted {
    actions
        .iter()
        .try_for_each(|action| emit(to, version, action))
}

fn emit(to: &mut Writer, version: Version, action: &Action) -> Emitted {
    let start = to.len();
    if let Some((kind, argument, bytes)) = simple(action) {
        open(to, kind);
        to.number(argument.into(), bytes);
    } else {
        emit_composed(to, version, action)?;
    }
    // The specification's structures and Nicira's are multiples of 8; the shortest has 8.
    to.pad_to_8(start);
    to.set_length("action", start + 2, start)
}

/// Type, argument and the argument's bytes of the actions that are no more than that, in any version.
fn simple(action: &Action) -> Option<(u16, u32, usize)> {
    Some(match *action {
        Action::PushVlan(ethertype) => (kind::PUSH_VLAN, ethertype.into(), 2),
        Action::PopVlan => (kind::POP_VLAN, 0, 0),
        Action::PushMpls(ethertype) => (kind::PUSH_MPLS, ethertype.into(), 2),
        Action::PopMpls(ethertype) => (kind::POP_MPLS, ethertype.into(), 2),
        Action::SetQueue(number) => (kind::SET_QUEUE, number, 4),
        Action::Group(number) => (kind::GROUP, number, 4),
        Action::SetTtl(ttl) => (kind::SET_TTL, ttl.into(), 1),
        Action::DecTtl => (kind::DEC_TTL, 0, 0),
        _ => return None,
    })
}

fn emit_composed(to: &mut Writer, version: Version, action: &Action) -> Emitted {
    match action {
        Action::Output { port, max_len } => {
            open(to, kind::OUTPUT);
            to.u32(port.0);
            to.u16(if *port == PortNumber::CONTROLLER {
                *max_len
            } else {
                0
            });
        }
        Action::Meter(_) if version < Version::V15 => {
            return Err(EmitError::NotInVersion("meter action"));
        }
        Action::Meter(number) => {
            open(to, kind::METER);
            to.u32(*number);
        }
        // Before 1.5 only whole fields can be set so; Nicira's form takes masks.
        Action::SetField { field, value, mask }
            if version >= Version::V15 || *mask == field.full_mask() =>
        {
            open(to, kind::SET_FIELD);
            oxm::emit_field(to, version, *field, *value, *mask)?;
        }
        Action::Move { source, target } if version >= Version::V15 => {
            open(to, kind::COPY_FIELD);
            to.u16(source.bits().into());
            to.u16(source.offset().into());
            to.u16(target.offset().into());
            to.zeros(2);
            emit_move_fields(to, version, *source, *target)?;
        }
        Action::Other { kind, body } => {
            open(to, *kind);
            to.bytes(body);
        }
        _ => {
            open(to, kind::EXPERIMENTER);
            nicira::emit(to, version, action)?;
        }
    }
    Ok(())
}

/// The type, and room for the length.
fn open(to: &mut Writer, kind: u16) {
    to.u16(kind);
    to.u16(0);
}

/// Writes the headers of a copy's fields.
pub(super) fn emit_move_fields(
    to: &mut Writer,
    version: Version,
    source: Subfield,
    target: Subfield,
) -> Emitted {
    if source.bits() != target.bits() {
        return Err(EmitError::Bits(target.field().name()));
    }
    oxm::emit_header(to, version, source.field(), false);
    oxm::emit_header(to, version, target.field(), false);
    Ok(())
}
