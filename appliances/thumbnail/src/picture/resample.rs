//! Lanczos3, one row after the other: a row that comes in is filtered across and added to the rows that it
//! belongs to, and a row to which nothing more comes goes out.

use std::collections::VecDeque;
use std::f64::consts::PI;

use super::colour::{Linear, stored};
use super::geometry::Span;

/// Lobes of the filter.
const LOBES: f64 = 3.0;

/// The weights of one axis.
struct Filter {
    /// For each pixel that is made: where its weights are, and which source pixel the first is for.
    taps: Vec<Taps>,
    weights: Vec<f32>,
}

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
            let sum: f64 = raw.iter().sum();
            filter.taps.push(Taps {
                first: first as usize,
                from: filter.weights.len(),
                count,
            });
            filter
                .weights
                .extend(raw.iter().map(|weight| (weight / sum) as f32));
        }
        filter
    }

    fn weights(&self, taps: Taps) -> &[f32] {
        &self.weights[taps.from..taps.from + taps.count]
    }
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
    open: VecDeque<Vec<Linear>>,
    filtered: Vec<Linear>,
    made: Vec<[u8; 4]>,
}

impl Scaler {
    /// From a source of these edges.
    pub(super) fn new((width, height): (u32, u32), across: Span, down: Span) -> Scaler {
        let pixels = across.pixels as usize * down.pixels as usize;
        Scaler {
            across: Filter::new(width, across),
            down: Filter::new(height, down),
            next: 0,
            open: VecDeque::new(),
            filtered: vec![[0.0; 4]; across.pixels as usize],
            made: Vec::with_capacity(pixels),
        }
    }

    /// How many pixels a row has that is made, and how many rows there are.
    pub(super) fn edges(&self) -> (usize, usize) {
        (self.across.taps.len(), self.down.taps.len())
    }

    /// Takes the next row of the source; rows beyond its height are ignored.
    pub(super) fn row(&mut self, row: &[Linear]) {
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
                self.open.push_back(vec![[0.0; 4]; width]);
            }
            // A row may be complete while the one before it is not, where the edge cuts the filter.
            if let Some(&weight) = self.down.weights(taps).get(at - taps.first) {
                add(&mut self.open[place], &self.filtered, weight);
            }
            number += 1;
        }
        self.close(at + 1);
    }

    fn filter_across(&mut self, row: &[Linear]) {
        for (taps, out) in self.across.taps.iter().zip(&mut self.filtered) {
            let mut sum = [0.0_f32; 4];
            let pixels = &row[taps.first..taps.first + taps.count];
            for (pixel, &weight) in pixels.iter().zip(self.across.weights(*taps)) {
                for (sum, value) in sum.iter_mut().zip(pixel) {
                    *sum += value * weight;
                }
            }
            *out = sum;
        }
    }

    /// Lets go of the rows that need nothing from the source's row `at` or behind it.
    fn close(&mut self, at: usize) {
        let width = self.across.taps.len();
        while let Some(taps) = self.down.taps.get(self.made.len() / width) {
            if taps.first + taps.count > at {
                break;
            }
            let Some(row) = self.open.pop_front() else {
                break;
            };
            self.made.extend(row.into_iter().map(stored));
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

fn add(to: &mut [Linear], row: &[Linear], weight: f32) {
    for (to, pixel) in to.iter_mut().zip(row) {
        for (to, value) in to.iter_mut().zip(pixel) {
            *to += value * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(pixels: u32) -> Span {
        Span {
            start: 0.0,
            length: 1.0,
            pixels,
        }
    }

    fn scaled(source: &[Vec<Linear>], width: u32, height: u32) -> Vec<[u8; 4]> {
        let edges = (source[0].len() as u32, source.len() as u32);
        let mut scaler = Scaler::new(edges, span(width), span(height));
        source.iter().for_each(|row| scaler.row(row));
        scaler.finish()
    }

    #[test]
    fn a_flat_picture_stays_flat_at_every_size() {
        for (width, height) in [(1, 1), (7, 3), (64, 64), (63, 50), (2, 64)] {
            let source = vec![vec![[0.2, 0.5, 0.9, 1.0]; 64]; 64];
            let wanted = stored([0.2, 0.5, 0.9, 1.0]);
            let made = scaled(&source, width, height);
            assert_eq!(made, vec![wanted; (width * height) as usize]);
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let source: Vec<Vec<Linear>> = (0..20)
            .map(|y| {
                (0..30)
                    .map(|x| [x as f32 / 30.0, y as f32 / 20.0, 0.5, 1.0])
                    .collect()
            })
            .collect();
        let wanted: Vec<_> = source.iter().flatten().copied().map(stored).collect();
        assert_eq!(scaled(&source, 30, 20), wanted);
    }

    /// Black and white lines are half of the light, which sRGB writes as 188, not as 128.
    #[test]
    fn light_is_averaged_and_not_its_code() {
        let source: Vec<Vec<Linear>> = (0..64)
            .map(|y| vec![[(y % 2) as f32, (y % 2) as f32, (y % 2) as f32, 1.0]; 64])
            .collect();
        let made = scaled(&source, 8, 8);
        assert!(
            made.iter()
                .skip(16)
                .take(32)
                .all(|pixel| pixel[0].abs_diff(188) < 3),
            "{made:?}"
        );
    }

    #[test]
    fn a_source_that_ends_early_leaves_the_rest_empty() {
        let mut scaler = Scaler::new((8, 800), span(8), span(80));
        (0..400).for_each(|_| scaler.row(&[[1.0; 4]; 8]));
        let made = scaler.finish();
        assert_eq!(made.len(), 640);
        assert_eq!((made[0], made[639]), ([255; 4], [0; 4]));
    }
}
