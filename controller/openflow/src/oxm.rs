//! Fields on the wire: OXM, a header of class, number, mask bit and length, then value and mask.
//! 1.5.1 section 7.2.3.

use crate::action::ONF;
use crate::error::{EmitError, ParseCause};
use crate::field::{EXPERIMENTER, Field};
use crate::flow_match::{Match, UnknownField};
use crate::version::Version;
use crate::wire::{Emitted, Parsed, Reader, Writer};

/// `OFPMT_OXM`, the only kind of match there is.
const OXM_MATCH: u16 = 1;

/// What an error about a field that this crate does not know is about.
pub(crate) const UNKNOWN_FIELD: &str = "field";

/// An experimenter's number, in front of its field's value and counted with it.
const VENDOR_BYTES: usize = 4;

/// A field's header, without value.
pub(crate) struct Header {
    pub(crate) field: Field,
    pub(crate) masked: bool,
}

/// Reads a header; the length in it must be the field's.
pub(crate) fn parse_header(from: &mut Reader<'_>) -> Parsed<Header> {
    let unknown = from.clone();
    let class = from.u16("field's class")?;
    let number = from.u8("field's number")?;
    let length = usize::from(from.u8("field's length")?);
    let vendor = if class == EXPERIMENTER {
        // Or the vendor would be read from the field behind.
        if length < VENDOR_BYTES {
            return Err(unknown.error("field's vendor", ParseCause::Length(length)));
        }
        from.u32("field's vendor")?
    } else {
        ONF
    };
    let field = Field::with_number(class, number >> 1).filter(|_| vendor == ONF);
    let Some(field) = field else {
        let name = u64::from(class) << 16 | u64::from(number >> 1);
        return Err(unknown.error(UNKNOWN_FIELD, ParseCause::Value(name)));
    };
    let masked = number & 1 != 0;
    let vendor_bytes = if class == EXPERIMENTER { 4 } else { 0 };
    let expected = vendor_bytes + field.bytes() * if masked { 2 } else { 1 };
    if length != expected {
        return Err(unknown.error(field.name(), ParseCause::Length(length)));
    }
    Ok(Header { field, masked })
}

/// Writes a header.
pub(crate) fn emit_header(to: &mut Writer, version: Version, field: Field, masked: bool) {
    let (class, number) = field.class_and_number(version);
    let vendor_bytes = if class == EXPERIMENTER { 4 } else { 0 };
    let length = vendor_bytes + field.bytes() * if masked { 2 } else { 1 };
    to.u16(class);
    to.u8(number << 1 | u8::from(masked));
    // At most 4 + 2 * 16.
    to.u8(length as u8);
    if class == EXPERIMENTER {
        to.u32(ONF);
    }
}

/// Writes a header in the four bytes that Open vSwitch's older actions have for it: with NXM's
/// number, as Open vSwitch itself does, so that what it dumps is what was sent.
pub(crate) fn emit_short_header(to: &mut Writer, field: Field) {
    let (class, number) = field.short_class_and_number();
    to.u16(class);
    to.u8(number << 1);
    // At most 16.
    to.u8(field.bytes() as u8);
}

/// Reads a field with its value and mask.
pub(crate) fn parse_field(from: &mut Reader<'_>) -> Parsed<(Field, u128, u128)> {
    let Header { field, masked } = parse_header(from)?;
    let place = from.clone();
    let value = from.number(field.name(), field.bytes())?;
    let mask = if masked {
        from.number(field.name(), field.bytes())?
    } else {
        full_wire_mask(field)
    };
    if value & !mask != 0 || value & !field.full_mask() != 0 {
        return Err(place.error(field.name(), ParseCause::Bits));
    }
    // A mask may well have ones where the field has no bits.
    Ok((field, value, mask & field.full_mask()))
}

fn full_wire_mask(field: Field) -> u128 {
    u128::MAX >> (128 - 8 * field.bytes())
}

/// Writes a field with its value and, where it is not whole, its mask.
pub(crate) fn emit_field(
    to: &mut Writer,
    version: Version,
    field: Field,
    value: u128,
    mask: u128,
) -> Emitted {
    if value & !mask != 0 || mask & !field.full_mask() != 0 || mask == 0 {
        return Err(EmitError::Bits(field.name()));
    }
    let masked = mask != field.full_mask();
    emit_header(to, version, field, masked);
    to.number(value, field.bytes());
    if masked {
        to.number(mask, field.bytes());
    }
    Ok(())
}

/// Reads fields until the end, into a match.
pub(crate) fn parse_fields(from: &mut Reader<'_>) -> Parsed<Match> {
    let mut matching = Match::new();
    while !from.is_empty() {
        let mut place = from.clone();
        match parse_field(from) {
            Ok((field, _, _)) if matching.get(field).is_some() => {
                return Err(place.error(field.name(), ParseCause::Repeated));
            }
            Ok((field, value, mask)) => {
                let bits = place.error(field.name(), ParseCause::Bits);
                matching.set(field, value, mask).map_err(|_| bits)?;
            }
            Err(error) if error.what == UNKNOWN_FIELD => {
                if !matching.add_unknown(parse_unknown(&mut place)?) {
                    return Err(place.error(UNKNOWN_FIELD, ParseCause::Repeated));
                }
                *from = place;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(matching)
}

fn parse_unknown(from: &mut Reader<'_>) -> Parsed<UnknownField> {
    let class = from.u16("field's class")?;
    let number = from.u8("field's number")?;
    let length = usize::from(from.u8("field's length")?);
    let body = from.take("field's value", length)?.to_vec();
    Ok(UnknownField {
        class,
        number,
        body,
    })
}

/// Writes a match's fields, without prerequisites being checked: a packet-in's metadata has none.
pub(crate) fn emit_fields(to: &mut Writer, version: Version, matching: &Match) -> Emitted {
    for field in matching.fields() {
        emit_field(to, version, field.field, field.value, field.mask)?;
    }
    for field in matching.unknown() {
        to.u16(field.class);
        to.u8(field.number);
        to.u8(u8::try_from(field.body.len()).map_err(|_| EmitError::TooLong(UNKNOWN_FIELD))?);
        to.bytes(&field.body);
    }
    Ok(())
}

/// Reads `ofp_match` and the padding behind it.
pub(crate) fn parse_match(from: &mut Reader<'_>) -> Parsed<Match> {
    let mut whole = from.sized("match", 2, 4)?;
    let length = whole.len();
    from.pad_to_8(length);
    let place = whole.clone();
    let kind = whole.u16("match's type")?;
    if kind != OXM_MATCH {
        return Err(place.error("match's type", ParseCause::Value(kind.into())));
    }
    whole.pad("match's length", 2)?;
    parse_fields(&mut whole)
}

/// Writes `ofp_match` and the padding behind it; prerequisites must be there.
pub(crate) fn emit_match(to: &mut Writer, version: Version, matching: &Match) -> Emitted {
    matching.check()?;
    emit_unchecked_match(to, version, matching)
}

/// The same for a packet's metadata, where prerequisites need not be there.
pub(crate) fn emit_unchecked_match(to: &mut Writer, version: Version, matching: &Match) -> Emitted {
    let start = to.len();
    to.u16(OXM_MATCH);
    to.u16(0);
    emit_fields(to, version, matching)?;
    to.set_length("match", start + 2, start)?;
    to.pad_to_8(start);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fuzzer: it was read, and written as what could not be read.
    #[test]
    fn an_experimenters_field_without_a_vendor_is_refused() {
        let fields = [0xff, 0xff, 0, 0, 0x80, 0, 0, 4, 0, 0, 0, 1];
        let read = parse_fields(&mut Reader::new(&fields, 0));
        let error = read.expect_err("four bytes of a vendor are missing");
        assert_eq!(error.cause, ParseCause::Length(0));
    }
}
