//! WebP: with and without loss, with alpha, and the first frame of an animation. Its decoder has no place to
//! pause; a picture of 12 megapixels keeps its turn for the time that its decoding takes.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::colour::Samples;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, PictureError, broken};

/// Bytes of memory per pixel beside the result: planes of YUV, or the transforms of the lossless format.
const WORKING_BYTES: usize = 6;

fn decoder(bytes: &[u8]) -> Result<WebPDecoder<Cursor<&[u8]>>, PictureError> {
    WebPDecoder::new(Cursor::new(bytes)).map_err(broken)
}

pub(super) fn head(bytes: &[u8]) -> Result<Head, PictureError> {
    let decoder = decoder(bytes)?;
    let (width, height) = decoder.dimensions();
    let pixels = (width as usize).saturating_mul(height as usize);
    let samples = if decoder.has_alpha() { 4 } else { 3 };
    Ok(Head {
        width,
        height,
        memory: bytes
            .len()
            .saturating_add(pixels.saturating_mul(samples + WORKING_BYTES)),
    })
}

pub(super) fn decode(
    bytes: &[u8],
    memory: usize,
    scaling: &mut Scaling<'_>,
) -> Result<(), PictureError> {
    let mut decoder = decoder(bytes)?;
    decoder.set_memory_limit(memory);
    let (width, height) = decoder.dimensions();
    let samples = if decoder.has_alpha() {
        Samples::Rgba
    } else {
        Samples::Rgb
    };
    let size = decoder
        .output_buffer_size()
        .ok_or_else(|| broken("too large"))?;
    let profile = decoder.icc_profile().unwrap_or_default();
    let exif = decoder.exif_metadata().unwrap_or_default();
    let mut pixels = vec![0; size];
    (scaling.pace())()?;
    match decoder.is_animated() {
        true => decoder.read_frame(&mut pixels).map(|_| ()),
        false => decoder.read_image(&mut pixels),
    }
    .map_err(broken)?;
    (scaling.pace())()?;
    scaling.begin(&Raster {
        width,
        height,
        samples,
        profile: profile.as_deref(),
        orientation: exif
            .as_deref()
            .map_or_else(Orientation::default, Orientation::of_exif),
    });
    let rows = pixels.chunks_exact(width as usize * samples.bytes());
    rows.into_iter().try_for_each(|row| scaling.row(row))
}
