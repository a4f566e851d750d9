//! WebP: with and without loss, with alpha, and the first frame of an animation. Its decoder pauses where it
//! reads: one without loss as it goes, one with loss only before its pixels, so that a picture of 12
//! megapixels keeps its turn for the time that those take.

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

use image_webp::{DecodingError, WebPDecoder};

use super::colour::Samples;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, Pace, PictureError, broken};

/// Bytes of memory per pixel beside the result: planes of YUV, or the transforms of the lossless format.
const WORKING_BYTES: usize = 6;
/// Bytes between two calls of the pace: some 10,000 pixels of a photograph without loss.
const BYTES_PER_PACE: usize = 16 << 10;

fn decoder<'a>(bytes: &'a [u8], pace: Pace<'a>) -> Result<WebPDecoder<Paced<'a>>, PictureError> {
    let file = Paced {
        file: Cursor::new(bytes),
        pace,
        until: 0,
    };
    WebPDecoder::new(file).map_err(stopped_or_broken)
}

pub(super) fn head(bytes: &[u8]) -> Result<Head, PictureError> {
    let decoder = decoder(bytes, &|| Ok(()))?;
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
    let mut decoder = decoder(bytes, scaling.pace())?;
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
    match decoder.is_animated() {
        true => decoder.read_frame(&mut pixels).map(|_| ()),
        false => decoder.read_image(&mut pixels),
    }
    .map_err(stopped_or_broken)?;
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

fn stopped_or_broken(error: DecodingError) -> PictureError {
    match error {
        DecodingError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => {
            PictureError::Stopped
        }
        other => broken(other),
    }
}

/// The file, at the decoder's pace.
struct Paced<'a> {
    file: Cursor<&'a [u8]>,
    pace: Pace<'a>,
    /// Where the pace is called next.
    until: u64,
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut piece = self.fill_buf()?;
        let read = piece.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Paced<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let at = self.file.position();
        if at >= self.until {
            // Not `Interrupted`, upon which a reader tries again.
            (self.pace)().map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
            self.until = at + BYTES_PER_PACE as u64;
        }
        let piece = self.file.fill_buf()?;
        let length = piece.len().min((self.until - at) as usize);
        Ok(&piece[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
    }
}

impl Seek for Paced<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.file.seek(to)?;
        // However often it goes back, a piece is no longer than allowed.
        self.until = self.until.min(at + BYTES_PER_PACE as u64);
        Ok(at)
    }
}
