//! Blocks of coefficients out of the bits of a scan. Only coefficients that the scale needs are stored.
//!
//! *Specification.* T.81, F.2.2 (sequential), G.1.2 and G.2 (progressive).

use super::bits::{Window, extend};
use super::head::{Refusal, Tables};
use super::huffman::{BLOCK, Codes, Skips, Values, run_and_size};
use super::transform::{Coefficient, PLACES};

/// The codes of a component in a sequential scan.
pub(super) struct Sequential<'t> {
    zero_codes: &'t Codes,
    zero: Values,
    codes: &'t Codes,
    values: Values,
    skips: Skips,
}

impl<'t> Sequential<'t> {
    pub(super) fn new(tables: &'t Tables, zero: usize, others: usize) -> Result<Self, Refusal> {
        let zero_codes = tables.zero[zero].as_ref().ok_or(Refusal::MissingTable)?;
        let codes = tables.others[others]
            .as_ref()
            .ok_or(Refusal::MissingTable)?;
        Ok(Sequential {
            zero_codes,
            zero: Values::new(zero_codes, true),
            codes,
            values: Values::new(codes, false),
            skips: Skips::new(codes),
        })
    }

    /// Reads a block of zeros full, up to the coefficient `last` in zigzag order: times `quantisation`,
    /// which is by position like the block. Gives whether it is flat; `None` if the bits are no code.
    #[inline]
    pub(super) fn block(
        &self,
        bits: &mut Window<'_>,
        predictor: &mut i32,
        quantisation: &[u16; 64],
        last: usize,
        block: &mut [Coefficient; 64],
    ) -> Option<bool> {
        bits.refill();
        let difference = self.zero.take(self.zero_codes, true, bits)?.value;
        *predictor = predictor.wrapping_add(difference);
        block[0] = dequantised(clamped(*predictor).into(), quantisation[0]);
        let (mut at, mut is_flat) = (1, true);
        while at <= last {
            bits.refill();
            let coefficient = self.values.take(self.codes, false, bits)?;
            at += coefficient.run;
            if at > last {
                at += 1;
                break;
            }
            let position = usize::from(PLACES[at & 63]);
            block[position] = dequantised(coefficient.value, quantisation[position]);
            is_flat = false;
            at += 1;
        }
        self.skips.skip(&self.values, self.codes, at, bits)?;
        Some(is_flat)
    }
}

fn clamped(value: i32) -> Coefficient {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as Coefficient
}

/// Fifteen bits times sixteen fit.
pub(super) fn dequantised(value: i32, quantisation: u16) -> Coefficient {
    clamped(value * i32::from(quantisation))
}

/// A block of a progressive picture, as far as it is known.
pub(super) struct Known<'k> {
    /// The coefficients that are wanted, in zigzag order.
    pub(super) wanted: &'k mut [Coefficient],
    /// Which of all are not zero, by their number in zigzag order.
    pub(super) others: &'k mut u64,
}

/// A band of a progressive scan.
#[derive(Clone, Copy)]
pub(super) struct Band {
    pub(super) first: usize,
    pub(super) last: usize,
    /// The position of the bits that come.
    pub(super) low: u32,
}

impl Band {
    /// Coefficients, as a set.
    fn set(self, from: usize) -> u64 {
        u64::MAX << from & u64::MAX >> (63 - self.last)
    }

    /// The first scan of zero frequency.
    #[inline]
    pub(super) fn zero(
        self,
        bits: &mut Window<'_>,
        codes: &Codes,
        predictor: &mut i32,
    ) -> Option<Coefficient> {
        bits.refill();
        let size = u32::from(codes.take(bits)?);
        if size > 15 {
            return None;
        }
        *predictor = predictor.wrapping_add(extend(bits.take(size), size));
        Some(clamped(i32::from(clamped(*predictor)) << self.low))
    }

    /// The first scan of a band; `ends` counts the blocks in which nothing comes.
    #[inline]
    pub(super) fn first(
        self,
        bits: &mut Window<'_>,
        codes: &Codes,
        ends: &mut u32,
        block: &mut Known<'_>,
    ) -> Option<()> {
        if *ends > 0 {
            *ends -= 1;
            return Some(());
        }
        let mut at = self.first;
        while at <= self.last {
            bits.refill();
            let (run, size) = run_and_size(codes.take(bits)?);
            if size == 0 {
                if run < 15 {
                    *ends = (1 << run) - 1 + bits.take(run as u32);
                    break;
                }
                at += 16;
                continue;
            }
            at += run;
            let value = extend(bits.take(size), size) << self.low;
            if at > self.last {
                break;
            }
            if let Some(coefficient) = block.wanted.get_mut(at) {
                *coefficient = clamped(value);
            }
            *block.others |= 1 << at;
            at += 1;
        }
        Some(())
    }

    /// A further bit of a band (G.1.2.3).
    #[inline]
    pub(super) fn refine(
        self,
        bits: &mut Window<'_>,
        codes: &Codes,
        ends: &mut u32,
        block: &mut Known<'_>,
    ) -> Option<()> {
        let mut at = self.first;
        if *ends == 0 {
            while at <= self.last {
                bits.refill();
                let (run, size) = run_and_size(codes.take(bits)?);
                let mut new = None;
                match (run, size) {
                    (15, 0) => {}
                    (run, 0) => {
                        *ends = (1 << run) + bits.take(run as u32);
                        break;
                    }
                    // One bit: the first of its value.
                    _ => new = Some(if bits.take(1) == 1 { 1 } else { -1 } << self.low),
                }
                at = self.correct(bits, at, run, block);
                if let Some(new) = new.filter(|_| at <= self.last) {
                    if let Some(coefficient) = block.wanted.get_mut(at) {
                        *coefficient = new;
                    }
                    *block.others |= 1 << at;
                }
                at += 1;
            }
        }
        if *ends > 0 {
            *ends -= 1;
            self.correct(bits, at, BLOCK, block);
        }
        Some(())
    }

    /// Takes a bit for each coefficient that is not zero, from `at` up to where so many zeros are passed
    /// over and another comes: its number, beyond the band if there is none.
    #[inline]
    fn correct(
        self,
        bits: &mut Window<'_>,
        mut at: usize,
        mut zeros: usize,
        block: &mut Known<'_>,
    ) -> usize {
        while at <= self.last {
            let known = *block.others & self.set(at);
            let next = (known.trailing_zeros() as usize).min(self.last + 1);
            // Between `at` and `next` all are zero.
            if next - at > zeros {
                return at + zeros;
            }
            zeros -= next - at;
            at = next;
            if at > self.last {
                break;
            }
            bits.refill();
            let bit = bits.take(1);
            if let Some(coefficient) = block.wanted.get_mut(at) {
                let step = (bit as i32) << self.low;
                // One that has this bit already was written by a broken scan.
                if i32::from(*coefficient) & step == 0 {
                    let step = clamped(if *coefficient < 0 { -step } else { step });
                    *coefficient = coefficient.wrapping_add(step);
                }
            }
            at += 1;
        }
        at
    }
}
