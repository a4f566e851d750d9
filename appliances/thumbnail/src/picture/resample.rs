//! Lanczos3, one row after the other: a row that comes in is filtered across and added to the rows that it
//! belongs to, and a row to which nothing more comes goes out.
//!
//! All is in integers, with sums in 32 bits: where a processor is emulated, floating point costs ten times
//! as much. Weights are at most [`ONE`], and those of a pixel make less than three of it without their
//! signs, so no sum of light overflows.

use std::collections::VecDeque;
use std::f64::consts::PI;

use wide::{i16x8, i32x4, i32x8};

use super::colour::{Light, Linear, ONE, ONE_BITS, PADDING, store};
use super::geometry::Span;

/// Lobes of the filter.
const LOBES: f64 = 3.0;

/// The weights of one axis.
struct Filter {
    /// For each pixel that is made: where its weights are, and which source pixel the first is for.
    taps: Vec<Taps>,
    /// Of each pixel a multiple of [`LANES`]; those beyond its taps are zero.
    weights: Vec<i16>,
}

/// Products that are added up at a time.
const LANES: usize = 8;
const _: () = assert!(LANES <= PADDING);

#[derive(Clone, Copy)]
struct Taps {
    first: usize,
    from: usize,
    count: usize,
}

impl Filter {
    fn new(edge: u32, span: Span) -> Filter {
        let (edge, pixels) = (f64::from(edge), f64::from(span.pixels));
        let (start, length) = (span.start * edge, span.length * edge);
        let scale = (length / pixels).max(1.0);
        let reach = LOBES * scale;
        let mut filter = Filter {
            taps: Vec::with_capacity(span.pixels as usize),
            weights: Vec::new(),
        };
        for pixel in 0..span.pixels {
            let centre = start + (f64::from(pixel) + 0.5) * length / pixels;
            let first = (centre - reach).floor().max(0.0);
            let end = (centre + reach).ceil().min(edge).max(first + 1.0);
            let count = (end - first) as usize;
            let raw: Vec<f64> = (0..count)
                .map(|tap| lanczos((first + tap as f64 + 0.5 - centre) / scale))
                .collect();
            let from = filter.weights.len();
            filter.taps.push(Taps {
                first: first as usize,
                from,
                count,
            });
            filter.weights.extend(whole(&raw));
            let padded = count.next_multiple_of(LANES);
            filter.weights.resize(from + padded, 0);
        }
        filter
    }

    fn weights(&self, taps: Taps) -> &[i16] {
        &self.weights[taps.from..taps.from + taps.count]
    }

    /// With the zeros behind them.
    fn padded(&self, taps: Taps) -> &[i16] {
        &self.weights[taps.from..taps.from + taps.count.next_multiple_of(LANES)]
    }
}

/// Weights whose sum is one, so that what is flat stays flat: what rounding leaves goes to the largest.
fn whole(raw: &[f64]) -> Vec<i16> {
    let sum: f64 = raw.iter().sum();
    let round = |weight: &f64| (weight / sum * f64::from(ONE)).round() as i16;
    let mut weights: Vec<i16> = raw.iter().map(round).collect();
    let made: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
    if let Some(largest) = weights.iter_mut().max() {
        *largest += (ONE - made) as i16;
    }
    weights
}

fn lanczos(x: f64) -> f64 {
    if x.abs() < 1e-9 {
        return 1.0;
    }
    if x.abs() >= LOBES {
        return 0.0;
    }
    LOBES * (PI * x).sin() * (PI * x / LOBES).sin() / (PI * PI * x * x)
}

/// Scales one picture to one size.
pub(super) struct Scaler {
    across: Filter,
    down: Filter,
    /// The row of the source that comes next.
    next: usize,
    /// Rows that are being made; the first is number `made.len() / width`.
    open: VecDeque<Vec<i32>>,
    /// Rows that went out, to be used again.
    spare: Vec<Vec<i32>>,
    /// A row that is filtered across, one channel behind the other.
    filtered: Vec<Light>,
    channels: usize,
    /// From one channel of a row to the next.
    stride: usize,
    made: Vec<[u8; 4]>,
}

impl Scaler {
    /// From a source of these edges and so many channels.
    pub(super) fn new(
        (width, height): (u32, u32),
        across: Span,
        down: Span,
        channels: usize,
    ) -> Scaler {
        let pixels = across.pixels as usize * down.pixels as usize;
        let stride = (across.pixels as usize).next_multiple_of(LANES);
        Scaler {
            across: Filter::new(width, across),
            down: Filter::new(height, down),
            next: 0,
            open: VecDeque::new(),
            spare: Vec::new(),
            filtered: vec![0; stride * channels],
            channels,
            stride,
            made: Vec::with_capacity(pixels),
        }
    }

    /// How many pixels a row has that is made, and how many rows there are.
    pub(super) fn edges(&self) -> (usize, usize) {
        (self.across.taps.len(), self.down.taps.len())
    }

    /// Takes the next row of the source; rows beyond its height are ignored.
    pub(super) fn row(&mut self, row: &Linear) {
        let at = self.next;
        self.next += 1;
        let width = self.across.taps.len();
        let mut number = self.made.len() / width;
        let next = self.down.taps.get(number);
        if next.is_none_or(|taps| taps.first > at) {
            return;
        }
        self.filter_across(row);
        while let Some(&taps) = self.down.taps.get(number).filter(|taps| taps.first <= at) {
            let place = number - self.made.len() / width;
            if place == self.open.len() {
                let mut row = self.spare.pop().unwrap_or_default();
                row.clear();
                row.resize(self.stride * self.channels, 0);
                self.open.push_back(row);
            }
            // A row may be complete while the one before it is not, where the edge cuts the filter.
            if let Some(&weight) = self.down.weights(taps).get(at - taps.first) {
                add(&mut self.open[place], &self.filtered, weight);
            }
            number += 1;
        }
        self.close(at + 1);
    }

    fn filter_across(&mut self, row: &Linear) {
        let rows = self.filtered.chunks_exact_mut(self.stride);
        for (number, filtered) in rows.enumerate() {
            let channel = row.channel(number);
            for (&taps, out) in self.across.taps.iter().zip(filtered) {
                let weights = self.across.padded(taps);
                let sum = product(weights, &channel[taps.first..taps.first + weights.len()]);
                *out = rounded(sum).clamp(Light::MIN.into(), Light::MAX.into()) as Light;
            }
        }
    }

    /// Lets go of the rows that need nothing from the source's row `at` or behind it.
    fn close(&mut self, at: usize) {
        let width = self.across.taps.len();
        while let Some(taps) = self.down.taps.get(self.made.len() / width) {
            if taps.first + taps.count > at {
                break;
            }
            let Some(mut row) = self.open.pop_front() else {
                break;
            };
            row.iter_mut().for_each(|light| *light = rounded(*light));
            let channels = row.chunks_exact(self.stride);
            let channels: Vec<_> = channels.map(|channel| &channel[..width]).collect();
            store(&channels, &mut self.made);
            self.spare.push(row);
        }
    }

    /// The pixels, row by row; what a source that ended early did not give is transparent.
    pub(super) fn finish(mut self) -> Vec<[u8; 4]> {
        self.close(usize::MAX);
        let (width, height) = self.edges();
        self.made.resize(width * height, [0; 4]);
        self.made
    }
}

/// Light times weight, as light.
fn rounded(sum: i32) -> i32 {
    (sum + ONE / 2) >> ONE_BITS
}

/// The sum of products.
fn product(weights: &[i16], light: &[Light]) -> i32 {
    let mut sums = i32x4::ZERO;
    let pairs = weights.as_chunks().0.iter().zip(light.as_chunks().0);
    for (&weights, &light) in pairs {
        sums += i16x8::new(weights).dot(i16x8::new(light));
    }
    sums.to_array().iter().sum()
}

fn add(to: &mut [i32], row: &[Light], weight: i16) {
    let weight = i16x8::splat(weight);
    let pairs = to.as_chunks_mut().0.iter_mut().zip(row.as_chunks().0);
    for (to, &light) in pairs {
        *to = (i32x8::new(*to) + i16x8::new(light).widening_mul(weight)).to_array();
    }
}

#[cfg(test)]
mod tests {
    use super::super::colour::{Conversion, Samples};
    use super::*;

    fn span(pixels: u32) -> Span {
        Span {
            start: 0.0,
            length: 1.0,
            pixels,
        }
    }

    /// Scales rows of red, green and blue.
    fn scaled(source: &[Vec<[u8; 3]>], width: u32, height: u32) -> Vec<[u8; 4]> {
        let edges = (source[0].len() as u32, source.len() as u32);
        let mut scaler = Scaler::new(edges, span(width), span(height), 3);
        let mut conversion = Conversion::new(Samples::Rgb, None, source[0].len());
        for row in source {
            scaler.row(conversion.row(row.as_flattened()));
        }
        scaler.finish()
    }

    #[test]
    fn a_flat_picture_stays_flat_at_every_size() {
        for (width, height) in [(1, 1), (7, 3), (64, 64), (63, 50), (2, 64)] {
            let made = scaled(&vec![vec![[50, 1, 231]; 64]; 64], width, height);
            assert_eq!(made, vec![[50, 1, 231, 255]; (width * height) as usize]);
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let row = |y: u8| (0..30).map(|x: u8| [x * 8, y * 12, 128]).collect();
        let source: Vec<Vec<[u8; 3]>> = (0..20).map(row).collect();
        let pixels = source.iter().flatten();
        let wanted: Vec<_> = pixels.map(|&[r, g, b]| [r, g, b, 255]).collect();
        assert_eq!(scaled(&source, 30, 20), wanted);
    }

    /// Black and white lines are half of the light, which sRGB writes as 188, not as 128.
    #[test]
    fn light_is_averaged_and_not_its_code() {
        let row = |y: u32| vec![[255 * (y % 2) as u8; 3]; 64];
        let source: Vec<_> = (0..64).map(row).collect();
        let made = scaled(&source, 8, 8);
        assert!(
            made.iter()
                .skip(16)
                .take(32)
                .all(|pixel| pixel[0].abs_diff(188) < 3),
            "{made:?}"
        );
    }

    /// The same filter in floating point, from any light to any size.
    #[test]
    fn integers_are_as_good_as_floating_point() {
        let source: Vec<i16> = (0..200).map(|at| (at * at * 7 % 16_385) as i16).collect();
        for pixels in [1, 7, 50, 119, 200] {
            let filter = Filter::new(200, span(pixels));
            let scale = (200.0 / f64::from(pixels)).max(1.0);
            for (number, &taps) in (0..).zip(&filter.taps) {
                let centre = (f64::from(number) + 0.5) * 200.0 / f64::from(pixels);
                let (mut exact, mut sum) = (0.0, 0.0);
                for (at, &light) in (0..).zip(&source) {
                    let weight = lanczos((f64::from(at) + 0.5 - centre) / scale);
                    exact += weight * f64::from(light);
                    sum += weight;
                }
                let light = &source[taps.first..taps.first + taps.count];
                let products = filter.weights(taps).iter().zip(light);
                let made: i32 = products.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
                let difference = f64::from(rounded(made)) - exact / sum;
                // A thousandth of the light.
                assert!(difference.abs() < 16.0, "{pixels}: {difference}");
            }
        }
    }

    #[test]
    fn a_source_that_ends_early_leaves_the_rest_empty() {
        let mut scaler = Scaler::new((8, 800), span(8), span(80), 1);
        let mut conversion = Conversion::new(Samples::Grey, None, 8);
        (0..400).for_each(|_| scaler.row(conversion.row(&[255; 8])));
        let made = scaler.finish();
        assert_eq!(made.len(), 640);
        assert_eq!((made[0], made[639]), ([255; 4], [0; 4]));
    }
}
