//! Huffman codes, in tables that answer most questions with one look.
//!
//! [`Codes`] gives a code's symbol. [`Values`] gives run, size and value of a coefficient at once, and
//! [`Skips`] how far several coefficients go that nobody wants.
//!
//! *Specification.* T.81, C.2 (codes from lengths), F.1.2.2 and G.1.2.2 (symbols of coefficients).

use super::bits::{Window, extend};

/// Codes of up to so many bits are found by one look.
const CODE_LOOK: u32 = 9;
/// Codes with their value of up to so many bits.
const VALUE_LOOK: u32 = 11;
/// Bits that are looked at for coefficients that are passed over.
const SKIP_LOOK: u32 = 12;

/// Bits of a value: more than samples of eight bits need, and times the largest quantisation still 32 bits.
const SIZE_MAX: u32 = 15;

/// A code's length in the high byte and its symbol in the low one; zero is no code.
#[derive(Clone, Copy, Default)]
struct Code(u16);

impl Code {
    fn length(self) -> u32 {
        u32::from(self.0 >> 8)
    }

    fn symbol(self) -> u8 {
        self.0 as u8
    }
}

/// The codes of one table.
#[derive(Clone)]
pub(super) struct Codes {
    look: Box<[Code; 1 << CODE_LOOK]>,
    /// By length: what is larger than all codes of it, from the left in 16 bits.
    bounds: [u32; 17],
    /// By length: what to add to a code for the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Codes {
    /// From how many codes there are of each length 1 to 16, and their symbols. `None` if they are more
    /// than there can be.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Codes> {
        let mut codes = Codes {
            look: Box::new([Code::default(); 1 << CODE_LOOK]),
            bounds: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0_u32, 0);
        for (length, &count) in (1..).zip(counts) {
            codes.offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                let symbol = *symbols.get(index)?;
                if code >= 1 << length {
                    return None;
                }
                if length <= CODE_LOOK {
                    let first = (code << (CODE_LOOK - length)) as usize;
                    let entry = Code((length << 8) as u16 | u16::from(symbol));
                    codes.look[first..first + (1 << (CODE_LOOK - length))].fill(entry);
                }
                (code, index) = (code + 1, index + 1);
            }
            codes.bounds[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(codes)
    }

    /// The next symbol, out of 16 bits that are available; `None` if the bits are no code.
    #[inline(always)]
    pub(super) fn take(&self, bits: &mut Window<'_>) -> Option<u8> {
        let code = self.look[bits.peek(CODE_LOOK)];
        if code.0 != 0 {
            bits.skip(code.length());
            return Some(code.symbol());
        }
        let (length, symbol) = self.long(bits.peek(16) as u32)?;
        bits.skip(length);
        Some(symbol)
    }

    /// The code that 16 bits begin with: its length and symbol.
    #[cold]
    fn long(&self, next: u32) -> Option<(u32, u8)> {
        let length = (1..=16_u32).find(|&length| next < self.bounds[length as usize])?;
        let code = (next >> (16 - length)) as i32;
        let index = usize::try_from(code + self.offsets[length as usize]).ok()?;
        Some((length, *self.symbols.get(index)?))
    }

    /// The same for less than 16 bits, from the left; `None` also if they are too few to tell.
    fn short(&self, next: u32, available: u32) -> Option<(u32, u8)> {
        self.long(next).filter(|&(length, _)| length <= available)
    }
}

/// Out of a coefficient's symbol: how many zeros come first, and the bits of its value.
pub(super) fn run_and_size(symbol: u8) -> (usize, u32) {
    (usize::from(symbol >> 4), u32::from(symbol & 15))
}

/// Behind the last coefficient of a block.
pub(super) const BLOCK: usize = 64;

/// A coefficient: how far it is, and its value.
#[derive(Clone, Copy)]
pub(super) struct Coefficient {
    /// Coefficients of zero in front of it; [`BLOCK`] or more if none is left in the block.
    pub(super) run: usize,
    pub(super) value: i32,
}

/// Coefficients by their bits: the value in the high half, the run in the second byte, and in the lowest the
/// bits of both, zero if they are too many to tell.
pub(super) struct Values {
    look: Box<[u32; 1 << VALUE_LOOK]>,
}

impl Values {
    /// Of a table of coefficients. Those at zero frequency have no run and no end of the block.
    pub(super) fn new(codes: &Codes, is_dc: bool) -> Values {
        let mut look = Box::new([0; 1 << VALUE_LOOK]);
        for (next, entry) in (0_u32..).zip(look.iter_mut()) {
            let next = next << (16 - VALUE_LOOK);
            let Some((length, symbol)) = codes.short(next, VALUE_LOOK) else {
                continue;
            };
            let (run, size) = meaning(symbol, is_dc);
            if length + size <= VALUE_LOOK {
                let value = extend((next << length & 0xffff) >> (16 - size), size);
                *entry = (value as u32) << 16 | (run as u32) << 8 | (length + size);
            }
        }
        Values { look }
    }

    /// The next coefficient, out of 32 bits that are available; `None` if the bits are no code.
    #[inline(always)]
    pub(super) fn take(
        &self,
        codes: &Codes,
        is_dc: bool,
        bits: &mut Window<'_>,
    ) -> Option<Coefficient> {
        let entry = self.look[bits.peek(VALUE_LOOK)];
        let length = entry & 0xff;
        if length == 0 {
            let (coefficient, length) = long(codes, is_dc, bits.peek(32) as u32)?;
            bits.skip(length);
            return Some(coefficient);
        }
        bits.skip(length);
        Some(Coefficient {
            run: (entry >> 8 & 0xff) as usize,
            value: entry as i32 >> 16,
        })
    }
}

/// The coefficient that 32 bits begin with, and the bits that it takes.
#[cold]
fn long(codes: &Codes, is_dc: bool, next: u32) -> Option<(Coefficient, u32)> {
    let (length, symbol) = codes.long(next >> 16)?;
    let (run, size) = meaning(symbol, is_dc);
    let bits = u64::from(next) << (32 + length) >> 1 >> (63 - size.min(SIZE_MAX));
    let value = extend(bits as u32, size.min(SIZE_MAX));
    (size <= SIZE_MAX).then_some((Coefficient { run, value }, length + size))
}

/// The end of the block is a run beyond it.
fn meaning(symbol: u8, is_dc: bool) -> (usize, u32) {
    match (is_dc, run_and_size(symbol)) {
        (true, _) => (0, u32::from(symbol)),
        // Sixteen zeros: fifteen, and one that is stored.
        (false, (15, 0)) => (15, 0),
        (false, (_, 0)) => (BLOCK, 0),
        (false, both) => both,
    }
}

/// How far the next bits go: their number in the lowest four bits, in six more how many coefficients they
/// are, and the highest tells that the block ends with them.
pub(super) struct Skips {
    look: Box<[u16; 1 << SKIP_LOOK]>,
}

const BLOCK_ENDS: u16 = 1 << 15;
/// Goes beyond the block from everywhere within: look closer.
const UNKNOWN: u16 = (BLOCK as u16 - 1) << 4;

impl Skips {
    pub(super) fn new(codes: &Codes) -> Skips {
        let mut look = Box::new([UNKNOWN; 1 << SKIP_LOOK]);
        for (next, entry) in (0_u32..).zip(look.iter_mut()) {
            let mut left = SKIP_LOOK;
            let mut next = next << (16 - SKIP_LOOK);
            let (mut advance, mut ends) = (0, 0);
            while ends == 0 {
                let Some((length, symbol)) = codes.short(next, left) else {
                    break;
                };
                let (run, size) = meaning(symbol, false);
                if length + size > left || advance + run + 1 >= BLOCK - 1 && run != BLOCK {
                    break;
                }
                left -= length + size;
                next = next << (length + size) & 0xffff;
                match run {
                    BLOCK => ends = BLOCK_ENDS,
                    run => advance += run + 1,
                }
            }
            if left < SKIP_LOOK {
                *entry = ends | (advance as u16) << 4 | (SKIP_LOOK - left) as u16;
            }
        }
        Skips { look }
    }

    /// Passes over the rest of a block, from coefficient `at`, with `values` for what is seldom. `None` if
    /// the bits are no code.
    #[inline(always)]
    pub(super) fn skip(
        &self,
        values: &Values,
        codes: &Codes,
        mut at: usize,
        bits: &mut Window<'_>,
    ) -> Option<()> {
        while at < BLOCK {
            bits.refill();
            // Four looks take 48 bits at most, of the 56 that there are.
            for _ in 0..4 {
                let entry = self.look[bits.peek(SKIP_LOOK)];
                let next = at + usize::from(entry >> 4 & 63);
                if next >= BLOCK {
                    bits.refill();
                    at += values.take(codes, false, bits)?.run + 1;
                    break;
                }
                bits.skip(u32::from(entry & 15));
                if entry & BLOCK_ENDS != 0 {
                    return Some(());
                }
                at = next;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::Bits;
    use super::super::head::Head;
    use super::*;

    /// A table as encoders have it.
    fn codes() -> Codes {
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder
            .encode(&[0; 64], 8, 8, jpeg_encoder::ColorType::Luma)
            .expect("encoded");
        let head = Head::parse(&bytes).expect("a head");
        head.tables.others[0].clone().expect("a table")
    }

    /// Bits of all kinds, from many zeros to many ones.
    fn streams() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1_u32;
        (0..400).map(move |round| {
            let byte = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let byte = (state >> 24) as u8;
                match round % 4 {
                    0 => byte & (state >> 16) as u8,
                    1 => (byte | (state >> 16) as u8) & 0xfe,
                    _ => byte.min(0xfe),
                }
            };
            (0..400).map(byte).collect()
        })
    }

    /// Reads a block symbol by symbol, from a coefficient on; the bits that follow it.
    fn plainly(codes: &Codes, bits: &mut Window<'_>, mut at: usize) -> Option<(Vec<i32>, usize)> {
        let mut values = Vec::new();
        while at < BLOCK {
            bits.refill();
            let (run, size) = run_and_size(codes.take(bits)?);
            let value = extend(bits.take(size), size);
            if (run, size) == (0, 0) || size == 0 && run < 15 {
                break;
            }
            values.push(value);
            at += run + 1;
        }
        bits.refill();
        Some((values, bits.peek(32)))
    }

    #[test]
    fn what_is_passed_over_ends_where_it_would_if_it_were_read() {
        let codes = codes();
        let (values, skips) = (Values::new(&codes, false), Skips::new(&codes));
        let mut blocks = 0;
        for (round, stream) in streams().enumerate() {
            let first = 1 + round % 63;
            let (mut one, mut other) = (Bits::new(&stream), Bits::new(&stream));
            let (mut one, mut other) = (one.unit(), other.unit());
            let wanted = plainly(&codes, &mut one, first).map(|(_, next)| next);
            let skipped = skips.skip(&values, &codes, first, &mut other);
            other.refill();
            assert_eq!(skipped.map(|()| other.peek(32)), wanted, "round {round}");
            blocks += usize::from(wanted.is_some());
        }
        assert!(blocks > 200, "{blocks} blocks");
    }

    #[test]
    fn one_look_gives_what_two_would() {
        let codes = codes();
        let values = Values::new(&codes, false);
        for (round, stream) in streams().enumerate() {
            let (mut one, mut other) = (Bits::new(&stream), Bits::new(&stream));
            let (mut one, mut other) = (one.unit(), other.unit());
            let wanted = plainly(&codes, &mut one, 1);
            let mut read = Vec::new();
            let mut at = 1;
            let whole = loop {
                if at >= BLOCK {
                    break Some(());
                }
                other.refill();
                let Some(coefficient) = values.take(&codes, false, &mut other) else {
                    break None;
                };
                if coefficient.run >= BLOCK {
                    break Some(());
                }
                read.push(coefficient.value);
                at += coefficient.run + 1;
            };
            other.refill();
            let read = whole.map(|()| (read, other.peek(32)));
            assert_eq!(read, wanted, "round {round}");
        }
    }

    #[test]
    fn tables_that_cannot_be_are_refused() {
        // Three codes of one bit; 256 of eight and one of nine.
        assert!(
            Codes::new(
                &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[1, 2, 3]
            )
            .is_none()
        );
        let mut counts = [0; 16];
        (counts[7], counts[6], counts[8]) = (254, 1, 1);
        assert!(Codes::new(&counts, &[0; 256]).is_none());
        assert!(Codes::new(&counts, &[0; 3]).is_none());
        assert!(Codes::new(&[0; 16], &[]).is_some());
    }
}
