//! All sizes of one picture, from rows as the decoder gives them.

use super::colour::{Conversion, Linear, PADDING, Samples};
use super::geometry::{Plan, Size};
use super::resample::Scaler;
use super::{Orientation, Pace, PictureError};

/// How many pixels are scaled between two calls of the pace; a fraction of a millisecond.
const PIXELS_PER_PACE: usize = 8192;

/// Rows that a scaler has open at once: those that the filter's two times three lobes reach, and one.
const OPEN_ROWS: usize = 7;

/// The memory that scaling a picture of this width takes.
pub(super) fn memory(width: u32, sizes: &[Size]) -> usize {
    /// Of four channels.
    const SUMS: usize = size_of::<i32>() * 4;
    let source = Linear::memory(width as usize);
    let made = sizes.iter().map(|size| {
        let edge = size.longest() as usize;
        // Pixels, as they are and turned; rows in the making; weights, six for each source pixel and some
        // for each that is made.
        edge * edge * 8 + edge * OPEN_ROWS * SUMS + (width as usize * 6 + edge * PADDING) * 2 * 2
    });
    source + made.sum::<usize>()
}

/// What a raster is.
pub(super) struct Raster<'r> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) samples: Samples,
    pub(super) profile: Option<&'r [u8]>,
    pub(super) orientation: Orientation,
}

/// A thumbnail that is scaled and stands upright.
pub(super) struct Image {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) pixels: Vec<[u8; 4]>,
}

/// Where a decoder puts its rows: first [`Scaling::begin`], then each row with [`Scaling::row`].
pub(super) struct Scaling<'s> {
    sizes: &'s [Size],
    /// As the file says, which the decoder may already have scaled.
    stored: (u32, u32),
    pace: Pace<'s>,
    begun: Option<Begun>,
}

struct Begun {
    conversion: Conversion,
    orientation: Orientation,
    bytes_per_row: usize,
    scalers: Vec<Scaler>,
    since_pace: usize,
}

impl<'s> Scaling<'s> {
    pub(super) fn new(sizes: &'s [Size], stored: (u32, u32), pace: Pace<'s>) -> Scaling<'s> {
        Scaling {
            sizes,
            stored,
            pace,
            begun: None,
        }
    }

    pub(super) fn pace(&self) -> Pace<'s> {
        self.pace
    }

    pub(super) fn begin(&mut self, raster: &Raster<'_>) {
        let conversion = Conversion::new(raster.samples, raster.profile, raster.width as usize);
        let scaler = |size: &Size| {
            let Plan { across, down } = match raster.orientation.is_transposed() {
                false => size.plan(self.stored.0, self.stored.1),
                true => {
                    let upright = size.plan(self.stored.1, self.stored.0);
                    Plan {
                        across: upright.down,
                        down: upright.across,
                    }
                }
            };
            let edges = (raster.width, raster.height);
            Scaler::new(edges, across, down, conversion.channels())
        };
        self.begun = Some(Begun {
            orientation: raster.orientation,
            bytes_per_row: raster.width as usize * raster.samples.bytes(),
            scalers: self.sizes.iter().map(scaler).collect(),
            conversion,
            since_pace: 0,
        });
    }

    /// Takes the next row.
    pub(super) fn row(&mut self, row: &[u8]) -> Result<(), PictureError> {
        let Some(begun) = &mut self.begun else {
            return Err(PictureError::Broken("rows before the head".to_owned()));
        };
        let Some(row) = row.get(..begun.bytes_per_row) else {
            return Err(PictureError::Broken("a row is too short".to_owned()));
        };
        let linear = begun.conversion.row(row);
        scale(&mut begun.scalers, linear, &mut begun.since_pace, self.pace)
    }

    /// Takes the next row of red, green and blue.
    pub(super) fn planes(&mut self, planes: [&[u8]; 3]) -> Result<(), PictureError> {
        let Some(begun) = &mut self.begun else {
            return Err(PictureError::Broken("rows before the head".to_owned()));
        };
        let linear = begun.conversion.planes(planes);
        scale(&mut begun.scalers, linear, &mut begun.since_pace, self.pace)
    }

    /// The thumbnails, with their names.
    pub(super) fn finish(self) -> Result<Vec<(&'s str, Image)>, PictureError> {
        let Some(begun) = self.begun else {
            return Err(PictureError::Broken("it has no rows".to_owned()));
        };
        let orientation = begun.orientation;
        let image = |scaler: Scaler| {
            let (width, height) = scaler.edges();
            let pixels = orientation.upright(scaler.finish(), width, height);
            let (width, height) = match orientation.is_transposed() {
                true => (height, width),
                false => (width, height),
            };
            Image {
                width: width as u32,
                height: height as u32,
                pixels,
            }
        };
        let names = self.sizes.iter().map(Size::name);
        Ok(names.zip(begun.scalers.into_iter().map(image)).collect())
    }
}

fn scale(
    scalers: &mut [Scaler],
    linear: &Linear,
    since_pace: &mut usize,
    pace: Pace<'_>,
) -> Result<(), PictureError> {
    for scaler in scalers {
        scaler.row(linear);
    }
    *since_pace += linear.width();
    if *since_pace >= PIXELS_PER_PACE {
        *since_pace = 0;
        pace()?;
    }
    Ok(())
}
