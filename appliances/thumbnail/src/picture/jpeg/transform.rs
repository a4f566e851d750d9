//! The inverse cosine transform, at scales from one eighth to all.
//!
//! A block of eight by eight coefficients becomes N by M samples: those of the lowest N by M frequencies,
//! which is the picture without what a smaller one cannot show. All is in integers of 16 and 32 bits, and
//! no coefficients overflow them. Rows of a block lie in pairs, because the processor adds products by pairs.
//!
//! *Specification.* T.81, A.3.3 and A.3.6 (zigzag order).

use std::f64::consts::PI;

use wide::{i16x8, i32x4, i32x8};

/// The position by rows of each coefficient in zigzag order.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The place in a block of each coefficient in zigzag order: first those of the first two rows, by turns,
/// then those of the next two.
pub(super) const PLACES: [u8; 64] = {
    let mut places = [0; 64];
    let mut at = 0;
    while at < 64 {
        let (row, column) = (ZIGZAG[at] / 8, ZIGZAG[at] % 8);
        places[at] = row / 2 * 16 + column * 2 + row % 2;
        at += 1;
    }
    places
};

/// Bits behind the point of a weight. Weights are at most a half, and the sum of a row's is below three.
const WEIGHT_BITS: u32 = 14;
/// Bits behind the point of what is between the two passes, which has 13 bits before it.
const MIDDLE_BITS: u32 = 3;

/// A coefficient that is dequantised.
pub(super) type Coefficient = i16;

/// The transform of a component's blocks.
#[derive(Clone)]
pub(super) struct Transform {
    /// Samples that a block becomes, 1 to 8 along each axis.
    pub(super) across: usize,
    pub(super) down: usize,
    /// By pair of frequencies and half of a row: for each sample of it the weights of both.
    across_weights: [[i16x8; 2]; 4],
    /// By sample, then by pair of frequencies: the weights of both, four times.
    down_weights: [[i16x8; 4]; 8],
    /// The last coefficient in zigzag order that is wanted.
    pub(super) last: usize,
}

impl Transform {
    pub(super) fn new(across: usize, down: usize) -> Transform {
        let wanted = |&(_, &position): &(usize, &u8)| {
            usize::from(position) % 8 < across && usize::from(position) / 8 < down
        };
        let last = ZIGZAG.iter().enumerate().rfind(wanted);
        let (by_column, by_row) = (weights(across), weights(down));
        let halves = |pair: usize| {
            std::array::from_fn(|half| {
                i16x8::new(std::array::from_fn(|lane| {
                    by_column[half * 4 + lane / 2][pair * 2 + lane % 2]
                }))
            })
        };
        let pairs = |weights: [i16; 8]| {
            std::array::from_fn(|pair| {
                i16x8::new(std::array::from_fn(|lane| weights[pair * 2 + lane % 2]))
            })
        };
        Transform {
            across,
            down,
            across_weights: std::array::from_fn(halves),
            down_weights: by_row.map(pairs),
            last: last.map_or(0, |(at, _)| at),
        }
    }

    /// Makes the samples of a block, in rows that are `stride` apart. `is_flat` says that all but the first
    /// coefficient are zero.
    #[inline]
    pub(super) fn block(
        &self,
        block: &[Coefficient; 64],
        is_flat: bool,
        samples: &mut [u8],
        stride: usize,
    ) {
        match (self.across, self.down) {
            _ if is_flat => self.flat(block[0], samples, stride),
            (2, 2) => two(block, samples, stride),
            (4, 4) => self.separable::<4, 4>(block, samples, stride),
            (8, 8) => self.separable::<8, 8>(block, samples, stride),
            (2, 1) => self.separable::<2, 1>(block, samples, stride),
            (4, 2) => self.separable::<4, 2>(block, samples, stride),
            (8, 4) => self.separable::<8, 4>(block, samples, stride),
            (3, 3) => self.separable::<3, 3>(block, samples, stride),
            (6, 6) => self.separable::<6, 6>(block, samples, stride),
            _ => self.any(block, samples, stride),
        }
    }

    fn flat(&self, zero: Coefficient, samples: &mut [u8], stride: usize) {
        let value = sample_of_eighths(zero.into());
        for row in samples.chunks_mut(stride).take(self.down) {
            row[..self.across].fill(value);
        }
    }

    fn separable<const X: usize, const Y: usize>(
        &self,
        block: &[Coefficient; 64],
        samples: &mut [u8],
        stride: usize,
    ) {
        let halves = block.as_chunks::<8>().0;
        let mut rows = samples.chunks_mut(stride);
        for weights in &self.down_weights[..Y] {
            let mut sums = [i32x4::ZERO; 2];
            for (pair, &weights) in weights.iter().enumerate().take(Y.div_ceil(2)) {
                for (half, sum) in sums.iter_mut().enumerate().take(X.div_ceil(4)) {
                    *sum += i16x8::new(halves[pair * 2 + half]).dot(weights);
                }
            }
            let middle = narrowed(sums, WEIGHT_BITS - MIDDLE_BITS);
            let mut sums = [i32x4::ZERO; 2];
            for (pair, weights) in self.across_weights.iter().enumerate().take(X.div_ceil(2)) {
                let (one, other) = (middle[pair * 2], middle[pair * 2 + 1]);
                let both = i16x8::new([one, other, one, other, one, other, one, other]);
                for (sum, &weights) in sums.iter_mut().zip(weights).take(X.div_ceil(4)) {
                    *sum += both.dot(weights);
                }
            }
            let made = narrowed(sums, WEIGHT_BITS + MIDDLE_BITS).map(sample);
            if let Some(row) = rows.next() {
                row[..X].copy_from_slice(&made[..X]);
            }
        }
    }

    /// What has no code of its own.
    fn any(&self, block: &[Coefficient; 64], samples: &mut [u8], stride: usize) {
        let mut made = [0; 64];
        self.separable::<8, 8>(block, &mut made, 8);
        let rows = samples.chunks_mut(stride).zip(made.as_chunks::<8>().0);
        for (row, made) in rows.take(self.down) {
            row[..self.across].copy_from_slice(&made[..self.across]);
        }
    }
}

/// Sums with so many bits less, rounded.
#[inline(always)]
fn narrowed([low, high]: [i32x4; 2], bits: u32) -> [i16; 8] {
    let half = i32x4::splat(1 << bits >> 1);
    let [low, high] = [low, high].map(|sum| ((sum + half) >> bits as i32).to_array());
    let mut sums = [0; 8];
    sums[..4].copy_from_slice(&low);
    sums[4..].copy_from_slice(&high);
    i16x8::from_i32x8_saturate(i32x8::new(sums)).to_array()
}

/// A sample, from a value around zero.
#[inline(always)]
fn sample(value: i16) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

#[inline(always)]
fn sample_of_eighths(value: i32) -> u8 {
    (((value + 4) >> 3) + 128).clamp(0, 255) as u8
}

/// Both weights of a pair are the same: the square root of an eighth, so that those of two axes are shifts.
#[inline]
fn two(block: &[Coefficient; 64], samples: &mut [u8], stride: usize) {
    let [zero, across, down, both] = [block[0], block[2], block[1], block[3]].map(i32::from);
    let (left, right) = (zero + across, zero - across);
    let (lower_left, lower_right) = (down + both, down - both);
    if let Some((first, second)) = samples.split_at_mut_checked(stride) {
        first[..2]
            .copy_from_slice(&[left + lower_left, right + lower_right].map(sample_of_eighths));
        second[..2]
            .copy_from_slice(&[left - lower_left, right - lower_right].map(sample_of_eighths));
    }
}

/// Of so many samples, by sample and then by frequency: orthonormal, times what keeps the mean.
fn weights(samples: usize) -> [[i16; 8]; 8] {
    let mut weights = [[0; 8]; 8];
    let length = samples as f64;
    for (x, weights) in weights[..samples].iter_mut().enumerate() {
        for (u, weight) in weights[..samples].iter_mut().enumerate() {
            let norm: f64 = if u == 0 { 1.0 } else { 2.0 };
            let cosine = ((2 * x + 1) as f64 * u as f64 * PI / (2.0 * length)).cos();
            let exact = (norm / length).sqrt() * (length / 8.0).sqrt() * cosine;
            *weight = (exact * f64::from(1 << WEIGHT_BITS)).round() as i16;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the formula of T.81, A.3.3, for the lowest frequencies.
    fn exact(block: &[Coefficient; 64], across: usize, down: usize, x: usize, y: usize) -> f64 {
        let basis = |at: usize, frequency: usize, samples: usize| {
            let scale = if frequency == 0 {
                0.125_f64.sqrt()
            } else {
                0.5
            };
            scale * ((2 * at + 1) as f64 * frequency as f64 * PI / (2 * samples) as f64).cos()
        };
        let mut sum = 128.0;
        for v in 0..down {
            for u in 0..across {
                sum += f64::from(block[v / 2 * 16 + u * 2 + v % 2])
                    * basis(x, u, across)
                    * basis(y, v, down);
            }
        }
        sum.clamp(0.0, 255.0)
    }

    #[track_caller]
    fn check(block: &[Coefficient; 64], across: usize, down: usize) {
        let transform = Transform::new(across, down);
        let mut made = [0; 64];
        let is_flat = block[1..].iter().all(|&coefficient| coefficient == 0);
        transform.block(block, is_flat, &mut made, 8);
        for (y, x) in (0..down).flat_map(|y| (0..across).map(move |x| (y, x))) {
            let wanted = exact(block, across, down, x, y);
            let difference = (f64::from(made[y * 8 + x]) - wanted).abs();
            assert!(
                difference < 0.7,
                "{across}x{down} at {x},{y}: {} for {wanted}",
                made[y * 8 + x]
            );
        }
    }

    #[test]
    fn every_scale_is_the_transform_of_its_lowest_frequencies() {
        let mut state = 1_u32;
        let mut random = |bound: i32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as i32 % (2 * bound + 1) - bound
        };
        for round in 0..20 {
            let block = std::array::from_fn(|at| random(600 / (1 + at as i32 * round / 20)) as i16);
            for (across, down) in (1..=8).flat_map(|across| (1..=8).map(move |down| (across, down)))
            {
                check(&block, across, down);
            }
        }
        check(
            &std::array::from_fn(|at| if at == 0 { -777 } else { 0 }),
            3,
            8,
        );
    }

    #[test]
    fn no_coefficients_overflow() {
        for (across, down) in [(1, 1), (2, 2), (4, 4), (8, 8), (6, 3)] {
            for sign in [1, -1] {
                let transform = Transform::new(across, down);
                let mut made = [0; 64];
                let block = std::array::from_fn(|at| {
                    if at % 3 == 0 {
                        i16::MIN
                    } else {
                        i16::MAX * sign
                    }
                });
                transform.block(&block, false, &mut made, 8);
            }
        }
    }
}
