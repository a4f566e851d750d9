//! Properties: type, length without padding, value, padding to 8 bytes. 1.5.1 section 7.2.1.2.

use crate::wire::{Emitted, Parsed, Reader, Writer};

/// Reads a property: its type and its value.
pub(crate) fn next<'a>(from: &mut Reader<'a>) -> Parsed<(u16, Reader<'a>)> {
    let mut property = from.sized("property", 2, 4)?;
    from.pad_to_8(property.len());
    let kind = property.u16("property's type")?;
    property.pad("property's length", 2)?;
    Ok((kind, property))
}

/// Writes a property.
pub(crate) fn emit(to: &mut Writer, kind: u16, value: &[u8]) -> Emitted {
    let start = to.len();
    to.u16(kind);
    to.u16(0);
    to.bytes(value);
    to.set_length("property", start + 2, start)?;
    to.pad_to_8(start);
    Ok(())
}

/// Writes a property of 16 bits, whose length is 8 by custom.
pub(crate) fn emit_u16(to: &mut Writer, kind: u16, value: u16) -> Emitted {
    let [high, low] = value.to_be_bytes();
    emit(to, kind, &[high, low, 0, 0])
}

/// Writes a property of 64 bits, which are aligned.
pub(crate) fn emit_u64(to: &mut Writer, kind: u16, value: u64) -> Emitted {
    let mut padded = [0; 12];
    padded[4..].copy_from_slice(&value.to_be_bytes());
    emit(to, kind, &padded)
}
