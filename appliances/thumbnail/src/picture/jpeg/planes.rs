//! Samples of components, a few rows of them at a time, and the rows of pixels that they become.
//!
//! A component with fewer samples than others is transformed at a larger scale where there is one, which
//! loses nothing; what is left is interpolated between the centres of samples.

use super::head::{Component, Frame};
use super::transform::{Coefficient, Transform};

/// All components of a picture.
pub(super) struct Planes {
    pub(super) all: Vec<Plane>,
    /// Of the picture that is made.
    pub(super) width: usize,
    pub(super) height: usize,
    /// The row of pixels that comes next.
    next: usize,
}

/// The transforms of all components, when a block of those with the most samples becomes `scale` samples.
pub(super) fn transforms(frame: &Frame, scale: usize) -> Vec<Transform> {
    // As many times the scale as the component has fewer samples; else what divides that.
    let edge = |most: usize, own: usize| {
        let ratio = if most.is_multiple_of(own) {
            most / own
        } else {
            1
        };
        let times = (1..=ratio).rev().filter(|times| ratio % times == 0);
        let mut edges = times.map(|times| scale * times);
        edges.find(|&edge| edge <= 8).unwrap_or(scale)
    };
    let of = |component: &Component| {
        let across = edge(frame.across, component.across);
        Transform::new(across, edge(frame.down, component.down))
    };
    frame.components.iter().map(of).collect()
}

/// The edges of a picture at a scale of so many eighths.
pub(super) fn scaled(frame: &Frame, scale: usize) -> (usize, usize) {
    (
        (frame.width * scale).div_ceil(8),
        (frame.height * scale).div_ceil(8),
    )
}

impl Planes {
    pub(super) fn new(frame: &Frame, scale: usize) -> Planes {
        let (width, height) = scaled(frame, scale);
        let units = frame.units().0;
        let transforms = transforms(frame, scale);
        let parts = frame.components.iter().zip(transforms);
        let plane = |(component, transform): (&Component, Transform)| {
            let (samples, rows) = frame.samples(component);
            let edges = (
                (samples * transform.across).div_ceil(8),
                (rows * transform.down).div_ceil(8),
            );
            let ratio = |own, edge, most| Ratio {
                samples: own * edge,
                pixels: most * scale,
            };
            Plane {
                columns: ratio(component.across, transform.across, frame.across)
                    .positions(width, edges.0),
                rows: ratio(component.down, transform.down, frame.down).positions(height, edges.1),
                stride: units * component.across * transform.across,
                unit_rows: component.down * transform.down,
                transform,
                samples: Vec::new(),
                first: 0,
                end: 0,
                blended: Vec::new(),
                made: vec![0; width],
            }
        };
        Planes {
            all: parts.map(plane).collect(),
            width,
            height,
            next: 0,
        }
    }

    /// The memory that planes take: rows of two units, and some of pixels.
    pub(super) fn memory(frame: &Frame, transforms: &[Transform]) -> usize {
        let units = frame.units().0;
        let parts = frame.components.iter().zip(transforms);
        let bytes = parts.map(|(component, transform)| {
            let width = units * component.across * transform.across;
            width * (component.down * transform.down * 2 + 4) + frame.height * size_of::<Between>()
        });
        bytes.sum()
    }

    /// Makes room for the next row of units, all of it grey.
    pub(super) fn begin_units(&mut self) {
        for plane in &mut self.all {
            plane.begin_units(self.next);
        }
    }

    /// All blocks of the row of units are there.
    pub(super) fn end_units(&mut self) {
        for plane in &mut self.all {
            plane.end += plane.unit_rows;
        }
    }

    /// Calls `row` with the next row of each component, as long as there is one.
    pub(super) fn rows<E>(
        &mut self,
        mut row: impl FnMut(&[&[u8]]) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.next < self.height && self.all.iter().all(|plane| plane.has(self.next)) {
            for plane in &mut self.all {
                plane.make(self.next);
            }
            match &self.all[..] {
                [grey] => row(&[grey.row(self.next)])?,
                [one, two, three] => {
                    row(&[one, two, three].map(|plane| plane.row(self.next)))?;
                }
                all => {
                    let rows: Vec<_> = all.iter().map(|plane| plane.row(self.next)).collect();
                    row(&rows)?;
                }
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Samples per pixel along an axis.
#[derive(Clone, Copy)]
struct Ratio {
    samples: usize,
    pixels: usize,
}

/// Between two samples: the first, and how much of the second there is, in 256ths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Between {
    first: u32,
    second: u16,
}

impl Ratio {
    /// For each pixel which samples of an edge it is between; `None` if it is one sample.
    fn positions(self, pixels: usize, edge: usize) -> Option<Vec<Between>> {
        if self.samples == self.pixels {
            return None;
        }
        let last = edge.saturating_sub(1) * 256;
        let position = |pixel: usize| {
            // Centres are compared, in 256ths of a sample.
            let centre = (2 * pixel + 1) * self.samples * 128 / self.pixels;
            let at = centre.saturating_sub(128).min(last);
            Between {
                first: (at / 256) as u32,
                second: (at % 256) as u16,
            }
        };
        Some((0..pixels).map(position).collect())
    }
}

/// A component.
pub(super) struct Plane {
    pub(super) transform: Transform,
    /// Where pixels are between samples.
    columns: Option<Vec<Between>>,
    rows: Option<Vec<Between>>,
    stride: usize,
    /// Rows of samples in a row of units.
    unit_rows: usize,
    samples: Vec<u8>,
    /// The numbers of the first row in `samples`, and of the one behind the last that is complete.
    first: usize,
    end: usize,
    /// A row between two rows of samples.
    blended: Vec<u8>,
    /// A row of pixels.
    made: Vec<u8>,
}

impl Plane {
    fn begin_units(&mut self, next_pixels: usize) {
        let needed = self.between(next_pixels).first as usize;
        let passed = needed.clamp(self.first, self.end) - self.first;
        self.samples.copy_within(passed * self.stride.., 0);
        self.first += passed;
        let kept = (self.end - self.first) * self.stride;
        self.samples.truncate(kept);
        self.samples
            .resize(kept + self.unit_rows * self.stride, 128);
    }

    /// Puts the samples of a block into the row of units: in column `column` of blocks and row `row`.
    #[inline]
    pub(super) fn put(
        &mut self,
        column: usize,
        row: usize,
        block: &[Coefficient; 64],
        is_flat: bool,
    ) {
        let row = self.end - self.first + row * self.transform.down;
        let at = row * self.stride + column * self.transform.across;
        let samples = &mut self.samples[at..];
        self.transform.block(block, is_flat, samples, self.stride);
    }

    fn between(&self, pixels: usize) -> Between {
        let here = Between {
            first: pixels as u32,
            second: 0,
        };
        match &self.rows {
            None => here,
            Some(rows) => rows.get(pixels).copied().unwrap_or(here),
        }
    }

    /// Whether all samples of this row of pixels are there.
    fn has(&self, pixels: usize) -> bool {
        let Between { first, second } = self.between(pixels);
        first as usize + usize::from(second > 0) < self.end
    }

    fn samples(&self, row: usize) -> &[u8] {
        let at = (row - self.first) * self.stride;
        &self.samples[at..at + self.stride]
    }

    /// Makes a row of pixels, if it is other than a row of samples.
    fn make(&mut self, pixels: usize) {
        let Between { first, second } = self.between(pixels);
        if second > 0 {
            let mut blended = std::mem::take(&mut self.blended);
            let rows = self
                .samples(first as usize)
                .iter()
                .zip(self.samples(first as usize + 1));
            blended.clear();
            blended.extend(rows.map(|(&one, &other)| blend(one, other, second)));
            self.blended = blended;
        }
        if let Some(columns) = &self.columns {
            let mut made = std::mem::take(&mut self.made);
            let row = match second > 0 {
                true => &self.blended,
                false => self.samples(first as usize),
            };
            for (made, between) in made.iter_mut().zip(columns) {
                let at = between.first as usize;
                *made = blend(row[at], row[(at + 1).min(row.len() - 1)], between.second);
            }
            self.made = made;
        }
    }

    fn row(&self, pixels: usize) -> &[u8] {
        let Between { first, second } = self.between(pixels);
        match (&self.columns, second > 0) {
            (Some(_), _) => &self.made,
            (None, true) => &self.blended[..self.made.len()],
            (None, false) => &self.samples(first as usize)[..self.made.len()],
        }
    }
}

fn blend(one: u8, other: u8, share: u16) -> u8 {
    ((u16::from(one) * (256 - share) + u16::from(other) * share + 128) >> 8) as u8
}
