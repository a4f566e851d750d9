//! JPEG, decoded at the smallest scale of its cosine transform that keeps the quality of the thumbnail.
//!
//! A decoder for this purpose: [`bits`] → [`huffman`] → [`blocks`] → [`transform`] → [`planes`] → rows of
//! pixels. Coefficients that the scale does not show are passed over several at a time, and are nowhere
//! stored; rows go on as soon as a row of units is complete, so that of a sequential file some rows are in
//! memory, and of a progressive one the coefficients that are wanted.
//!
//! *Not decoded:* lossless, hierarchical and arithmetically coded files, and samples of 12 bits.
//!
//! *Specification.* ITU-T T.81; T.871 (JFIF), T.872, 6.5.3 (colours by Adobe's segment).

mod bits;
mod blocks;
mod colours;
mod head;
mod huffman;
#[cfg(test)]
mod oracle;
mod planes;
mod scans;
mod stored;
mod transform;

use super::geometry::Size;
use super::scaling::{Raster, Scaling};
use super::{Orientation, Pace, PictureError, broken};
use colours::{Pixels, Row};
use head::{Frame, Head};
use planes::Planes;

/// The decoder is asked for at least so many times the thumbnail's edge; the rest is Lanczos in linear light.
/// Below that the transform's average of code values instead of light shows.
const OVERSAMPLING: f64 = 1.6;

pub(super) fn head(bytes: &[u8], sizes: &[Size]) -> Result<super::Head, PictureError> {
    let head = Head::parse(bytes).map_err(broken)?;
    let frame = &head.frame;
    let transforms = planes::transforms(frame, scale(frame, sizes));
    let coefficients = match is_at_once(&head) {
        true => 0,
        false => stored::memory(frame, &transforms),
    };
    Ok(super::Head {
        width: frame.width as u32,
        height: frame.height as u32,
        memory: bytes
            .len()
            .saturating_add(Planes::memory(frame, &transforms))
            .saturating_add(coefficients),
    })
}

/// Whether samples can be made as soon as blocks come.
fn is_at_once(head: &Head<'_>) -> bool {
    !head.frame.is_progressive && head.scan.components.len() == head.frame.components.len()
}

pub(super) fn decode(
    bytes: &[u8],
    sizes: &[Size],
    scaling: &mut Scaling<'_>,
) -> Result<(), PictureError> {
    let head = Head::parse(bytes).map_err(broken)?;
    let planes = Planes::new(&head.frame, scale(&head.frame, sizes));
    let mut pixels = Pixels::new(&head, planes.width);
    scaling.begin(&Raster {
        width: planes.width as u32,
        height: planes.height as u32,
        samples: pixels.samples(),
        profile: (!head.profile.is_empty()).then_some(head.profile.as_slice()),
        orientation: head
            .exif
            .map_or_else(Orientation::default, Orientation::of_exif),
    });
    let pace = scaling.pace();
    decode_rows(head, planes, pace, |row| match pixels.of(row) {
        Row::Interleaved(row) => scaling.row(row),
        Row::Planes(planes) => scaling.planes(planes),
    })
}

/// Calls `row` with each row of all components.
fn decode_rows(
    head: Head<'_>,
    mut planes: Planes,
    pace: Pace<'_>,
    mut row: impl FnMut(&[&[u8]]) -> Result<(), PictureError>,
) -> Result<(), PictureError> {
    let rows = |planes: &mut Planes| planes.rows(&mut row);
    match is_at_once(&head) {
        true => scans::decode_at_once(&head, &mut planes, pace, rows),
        false => stored::decode_by_scans(head, &mut planes, pace, rows),
    }
}

/// The smallest scale, in eighths, that has enough pixels for all sizes along both axes.
fn scale(frame: &Frame, sizes: &[Size]) -> usize {
    let (width, height) = (frame.width as u32, frame.height as u32);
    // The orientation is not known yet: what is needed along the longer axis either way.
    let share = sizes.iter().map(|size| {
        let share = |(width, height)| {
            let plan = size.plan(width, height);
            let across = f64::from(plan.across.pixels) / (plan.across.length * f64::from(width));
            let down = f64::from(plan.down.pixels) / (plan.down.length * f64::from(height));
            across.max(down)
        };
        share((width, height)).max(share((height, width)))
    });
    let share = share.fold(0.0, f64::max) * OVERSAMPLING;
    let enough = |scale: &usize| *scale as f64 / 8.0 >= share;
    [1, 2, 3, 4, 6].into_iter().find(enough).unwrap_or(8)
}
