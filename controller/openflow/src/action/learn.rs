//! `learn(…)`: a flow made of the packet, by the switch itself (NXAST_LEARN and NXAST_LEARN2).

use super::Subfield;
use super::encoding::subfield;
use crate::error::{EmitError, ParseCause};
use crate::oxm;
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Make a flow of the packet, or refresh the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Learn {
    /// Seconds without a packet until it goes, 0 for never.
    pub idle_timeout: u16,
    /// Seconds until it goes, 0 for never.
    pub hard_timeout: u16,
    /// The idle timeout after a FIN or RST, 0 for no change.
    pub fin_idle_timeout: u16,
    /// The hard timeout after a FIN or RST, 0 for no change.
    pub fin_hard_timeout: u16,
    /// The flow's priority.
    pub priority: u16,
    /// The flow's cookie.
    pub cookie: u64,
    /// The flow's table.
    pub table: u8,
    /// Tell the controller when the flow goes.
    pub send_flow_removed: bool,
    /// Delete what was learned when the learning flow goes.
    pub delete_learned: bool,
    /// No more flows than this in table and cookie, 0 for no limit.
    pub limit: u32,
    /// The bit to set to whether the limit left room.
    pub result: Option<Subfield>,
    /// The flow's match and actions.
    pub specs: Vec<LearnSpec>,
}

/// A part of a learned flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LearnSpec {
    /// The flow matches a field.
    Match {
        /// The bits that are matched.
        target: Subfield,
        /// What they must be.
        source: LearnSource,
    },
    /// The flow sets a field.
    Load {
        /// The bits that are set.
        target: Subfield,
        /// What to.
        source: LearnSource,
    },
    /// The flow outputs to the port whose number the bits hold now.
    Output(Subfield),
}

/// Where a learned flow's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LearnSource {
    /// A value, no wider than its target.
    Value(u128),
    /// The packet's field, of the target's width.
    Field(Subfield),
}

/// The parts of a spec's header (`NX_LEARN_*`).
mod header {
    pub(super) const VALUE: u16 = 1 << 13;
    pub(super) const LOAD: u16 = 1 << 11;
    pub(super) const OUTPUT: u16 = 2 << 11;
    pub(super) const TARGETS: u16 = 3 << 11;
    pub(super) const BITS: u16 = 0x3ff;
}

/// `NX_LEARN_F_*`.
mod flag {
    pub(super) const SEND_FLOW_REMOVED: u16 = 1;
    pub(super) const DELETE_LEARNED: u16 = 2;
    pub(super) const WRITE_RESULT: u16 = 4;
}

/// Whether it needs what only NXAST_LEARN2 has.
pub(super) fn is_second(learn: &Learn) -> bool {
    learn.limit != 0 || learn.result.is_some()
}

/// Reads NXAST_LEARN or NXAST_LEARN2 after its subtype.
pub(super) fn parse(body: &mut Reader<'_>, second: bool) -> Parsed<Learn> {
    let idle_timeout = body.u16("learn's idle timeout")?;
    let hard_timeout = body.u16("learn's hard timeout")?;
    let priority = body.u16("learn's priority")?;
    let cookie = body.u64("learn's cookie")?;
    let place = body.clone();
    let flags = body.u16("learn's flags")?;
    let table = body.u8("learn's table")?;
    body.pad("learn's padding", 1)?;
    let known = flag::SEND_FLOW_REMOVED | flag::DELETE_LEARNED;
    if flags & !(known | if second { flag::WRITE_RESULT } else { 0 }) != 0 {
        return Err(place.error("learn's flags", ParseCause::Value(flags.into())));
    }
    let mut learn = Learn {
        idle_timeout,
        hard_timeout,
        fin_idle_timeout: body.u16("learn's idle timeout after FIN")?,
        fin_hard_timeout: body.u16("learn's hard timeout after FIN")?,
        priority,
        cookie,
        table,
        send_flow_removed: flags & flag::SEND_FLOW_REMOVED != 0,
        delete_learned: flags & flag::DELETE_LEARNED != 0,
        limit: 0,
        result: None,
        specs: Vec::new(),
    };
    if second {
        learn.limit = body.u32("learn's limit")?;
        learn.result = parse_result(body, flags & flag::WRITE_RESULT != 0)?;
    }
    while let Some(spec) = parse_spec(body)? {
        learn.specs.push(spec);
    }
    Ok(learn)
}

fn parse_result(body: &mut Reader<'_>, is_there: bool) -> Parsed<Option<Subfield>> {
    let place = body.clone();
    let offset = body.u16("learn's result")?;
    body.pad("learn's padding", 2)?;
    if !is_there {
        return Ok(None);
    }
    let field = oxm::parse_header(body)?.field;
    let result = subfield(field, offset, 1);
    result
        .map(Some)
        .ok_or(place.error("learn's result", ParseCause::Bits))
}

/// The next spec; None at the padding or the end.
fn parse_spec(body: &mut Reader<'_>) -> Parsed<Option<LearnSpec>> {
    let place = body.clone();
    if body.is_empty() {
        return Ok(None);
    }
    let header = body.u16("learn's spec")?;
    if header == 0 {
        return Ok(None);
    }
    let unknown = place.error("learn's spec", ParseCause::Value(header.into()));
    let bits = header & header::BITS;
    if bits == 0 || bits > 128 || header & !(header::VALUE | header::TARGETS | header::BITS) != 0 {
        return Err(unknown);
    }
    let source = if header & header::VALUE == 0 {
        LearnSource::Field(parse_part(body, bits)?)
    } else {
        let value = body.number("learn's value", 2 * usize::from(bits).div_ceil(16))?;
        if value > u128::MAX >> (128 - u32::from(bits)) {
            return Err(place.error("learn's value", ParseCause::Bits));
        }
        LearnSource::Value(value)
    };
    let spec = match (header & header::TARGETS, source) {
        (0, source) => LearnSpec::Match {
            target: parse_part(body, bits)?,
            source,
        },
        (header::LOAD, source) => LearnSpec::Load {
            target: parse_part(body, bits)?,
            source,
        },
        (header::OUTPUT, LearnSource::Field(part)) => LearnSpec::Output(part),
        _ => return Err(unknown),
    };
    Ok(Some(spec))
}

fn parse_part(body: &mut Reader<'_>, bits: u16) -> Parsed<Subfield> {
    let place = body.clone();
    let field = oxm::parse_header(body)?.field;
    let offset = body.u16("learn's offset")?;
    subfield(field, offset, bits).ok_or(place.error("learn's field", ParseCause::Bits))
}

/// Writes NXAST_LEARN or NXAST_LEARN2 after its subtype.
pub(super) fn emit(to: &mut Writer, version: Version, learn: &Learn) -> Emitted {
    let given = |flag: u16, is: bool| if is { flag } else { 0 };
    to.u16(learn.idle_timeout);
    to.u16(learn.hard_timeout);
    to.u16(learn.priority);
    to.u64(learn.cookie);
    to.u16(
        given(flag::SEND_FLOW_REMOVED, learn.send_flow_removed)
            | given(flag::DELETE_LEARNED, learn.delete_learned)
            | given(flag::WRITE_RESULT, learn.result.is_some()),
    );
    to.u8(learn.table);
    to.zeros(1);
    to.u16(learn.fin_idle_timeout);
    to.u16(learn.fin_hard_timeout);
    if is_second(learn) {
        to.u32(learn.limit);
        to.u16(learn.result.map_or(0, |part| part.offset().into()));
        to.zeros(2);
    }
    if let Some(result) = learn.result {
        if result.bits() != 1 {
            return Err(EmitError::Bits("learn's result"));
        }
        oxm::emit_header(to, version, result.field(), false);
    }
    learn.specs.iter().try_for_each(|spec| emit_spec(to, spec))
}

fn emit_spec(to: &mut Writer, spec: &LearnSpec) -> Emitted {
    let (kind, source, target) = match spec {
        LearnSpec::Match { target, source } => (0, *source, Some(*target)),
        LearnSpec::Load { target, source } => (header::LOAD, *source, Some(*target)),
        LearnSpec::Output(part) => (header::OUTPUT, LearnSource::Field(*part), None),
    };
    let bits = match (target, source) {
        (Some(target), _) => target.bits(),
        (None, LearnSource::Field(part)) => part.bits(),
        (None, LearnSource::Value(_)) => return Err(EmitError::NotAllowed("learn's output")),
    };
    match source {
        LearnSource::Field(part) if part.bits() == bits => {
            to.u16(kind | u16::from(bits));
            emit_part(to, part);
        }
        LearnSource::Value(value) if value <= u128::MAX >> (128 - u32::from(bits)) => {
            to.u16(kind | header::VALUE | u16::from(bits));
            to.number(value, 2 * usize::from(bits).div_ceil(16));
        }
        _ => return Err(EmitError::Bits("learn's source")),
    }
    if let Some(target) = target {
        emit_part(to, target);
    }
    Ok(())
}

fn emit_part(to: &mut Writer, part: Subfield) {
    oxm::emit_short_header(to, part.field());
    to.u16(part.offset().into());
}
