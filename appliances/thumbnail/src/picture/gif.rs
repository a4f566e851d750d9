//! GIF: its first frame, on its canvas.

use gif::{ColorOutput, DecodeOptions, Decoder, MemoryLimit};

use super::colour::Samples;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, PictureError, broken};

/// A frame may be no larger than the canvas, which the limits have allowed.
fn decoder(bytes: &[u8]) -> Result<Decoder<&[u8]>, PictureError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.check_frame_consistency(true);
    // 65,535 by 65,535 pixels would be 17 GB; the head is checked before anything is decoded.
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.read_info(bytes).map_err(broken)
}

pub(super) fn head(bytes: &[u8]) -> Result<Head, PictureError> {
    let decoder = decoder(bytes)?;
    let (width, height) = (decoder.width().into(), decoder.height().into());
    Ok(Head {
        width,
        height,
        // The frame in four bytes, and its indices in one.
        memory: bytes
            .len()
            .saturating_add(width as usize * height as usize * 5),
    })
}

pub(super) fn decode(bytes: &[u8], scaling: &mut Scaling<'_>) -> Result<(), PictureError> {
    let mut decoder = decoder(bytes)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let profile = decoder.icc_profile().map(<[u8]>::to_vec);
    (scaling.pace())()?;
    let frame = decoder
        .read_next_frame()
        .map_err(broken)?
        .ok_or_else(|| broken("it has no frame"))?;
    (scaling.pace())()?;
    scaling.begin(&Raster {
        width: width as u32,
        height: height as u32,
        samples: Samples::Rgba,
        profile: profile.as_deref(),
        orientation: Orientation::default(),
    });
    let (left, top) = (usize::from(frame.left), usize::from(frame.top));
    let stride = usize::from(frame.width) * Samples::Rgba.bytes();
    let mut canvas = vec![0; width * Samples::Rgba.bytes()];
    for y in 0..height {
        canvas.fill(0);
        let start = y.checked_sub(top).map(|row| row * stride);
        if let Some(row) = start.and_then(|start| frame.buffer.get(start..start + stride)) {
            let at = left * Samples::Rgba.bytes();
            if let Some(place) = canvas.get_mut(at..at + stride) {
                place.copy_from_slice(row);
            }
        }
        scaling.row(&canvas)?;
    }
    Ok(())
}
