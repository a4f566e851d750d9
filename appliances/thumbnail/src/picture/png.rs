//! PNG, row by row; one that is interlaced is decoded whole.

use std::io::Cursor;

use png::{ColorType, Decoder, Limits, Reader, Transformations};

use super::colour::Samples;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, PictureError, broken};

/// What the decoder may take for rows and for chunks that it keeps (profile, EXIF).
const DECODER_BYTES_MAX: usize = 16 << 20;

fn reader(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>, PictureError> {
    let limits = Limits {
        bytes: DECODER_BYTES_MAX,
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.read_info().map_err(broken)
}

pub(super) fn head(bytes: &[u8]) -> Result<Head, PictureError> {
    let reader = reader(bytes)?;
    let info = reader.info();
    let whole = match info.interlaced {
        true => reader.output_buffer_size().unwrap_or(usize::MAX),
        false => 0,
    };
    let row = reader.output_line_size(info.width).unwrap_or(usize::MAX);
    Ok(Head {
        width: info.width,
        height: info.height,
        memory: [
            bytes.len(),
            whole,
            row.saturating_mul(4),
            DECODER_BYTES_MAX / 16,
        ]
        .into_iter()
        .fold(0, usize::saturating_add),
    })
}

pub(super) fn decode(bytes: &[u8], scaling: &mut Scaling<'_>) -> Result<(), PictureError> {
    let mut reader = reader(bytes)?;
    let info = reader.info();
    let (width, height, interlaced) = (info.width, info.height, info.interlaced);
    let (colour, _) = reader.output_color_type();
    let samples = match colour {
        ColorType::Grayscale => Samples::Grey,
        ColorType::GrayscaleAlpha => Samples::GreyAlpha,
        ColorType::Rgb => Samples::Rgb,
        ColorType::Rgba => Samples::Rgba,
        ColorType::Indexed => return Err(broken("a palette that was not expanded")),
    };
    scaling.begin(&Raster {
        width,
        height,
        samples,
        profile: info.icc_profile.as_deref(),
        orientation: info
            .exif_metadata
            .as_deref()
            .map_or_else(Orientation::default, Orientation::of_exif),
    });
    if interlaced {
        return decode_interlaced(&mut reader, scaling);
    }
    // A file that was cut gives the rows that are there.
    let mut rows = 0;
    loop {
        match reader.next_row() {
            Ok(Some(row)) => scaling.row(row.data())?,
            Ok(None) => return Ok(()),
            Err(_) if rows > 0 => return Ok(()),
            Err(error) => return Err(broken(error)),
        }
        rows += 1;
    }
}

fn decode_interlaced(
    reader: &mut Reader<Cursor<&[u8]>>,
    scaling: &mut Scaling<'_>,
) -> Result<(), PictureError> {
    let bytes = reader
        .output_buffer_size()
        .ok_or_else(|| broken("too large"))?;
    let width = reader.info().width;
    let stride = reader
        .output_line_size(width)
        .ok_or_else(|| broken("too large"))?;
    let (colour, _) = reader.output_color_type();
    let bits = (colour.samples() * 8) as u8;
    let mut pixels = vec![0; bytes];
    let mut rows = 0_u32;
    loop {
        match reader.next_interlaced_row() {
            Ok(Some(row)) => {
                if let png::InterlaceInfo::Adam7(info) = row.interlace() {
                    png::expand_interlaced_row(&mut pixels, stride, row.data(), info, bits);
                }
            }
            Ok(None) => break,
            Err(_) if rows > 0 => break,
            Err(error) => return Err(broken(error)),
        }
        rows += 1;
        if rows.is_multiple_of(16) {
            (scaling.pace())()?;
        }
    }
    pixels
        .chunks_exact(stride)
        .try_for_each(|row| scaling.row(row))
}
