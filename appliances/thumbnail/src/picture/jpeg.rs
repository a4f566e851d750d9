//! JPEG, decoded at the smallest scale of its cosine transform that keeps the quality of the thumbnail.

use std::io::{self, Read};

use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};

use super::colour::Samples;
use super::geometry::Size;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, Pace, PictureError, broken};

/// The decoder is asked for at least so many times the thumbnail's edge; the rest is Lanczos in linear light.
/// Below that the transform's average of code values instead of light shows.
const OVERSAMPLING: f64 = 1.6;

/// Bytes between two calls of the pace: some 50,000 pixels of a photograph, a millisecond.
const BYTES_PER_PACE: usize = 8 << 10;

pub(super) fn head(bytes: &[u8], sizes: &[Size]) -> Result<Head, PictureError> {
    let mut decoder = Decoder::new(Paced::new(bytes, &|| Ok(())));
    decoder.read_info().map_err(broken)?;
    let info = decoder.info().ok_or_else(|| broken("it has no frame"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let wanted = wanted((width, height), sizes);
    let (scaled_width, scaled_height) = decoder.scale(wanted.0, wanted.1).map_err(broken)?;
    let samples = info.pixel_format.pixel_bytes();
    let scaled = usize::from(scaled_width) * usize::from(scaled_height) * samples;
    let full = width as usize * height as usize * samples;
    let coefficients = match info.coding_process {
        // Planes of a component wait until all are there, then rows are put together from them.
        CodingProcess::DctSequential => 0,
        // Of two bytes each.
        CodingProcess::DctProgressive => full * 2,
        CodingProcess::Lossless => full * 4,
    };
    Ok(Head {
        width,
        height,
        memory: bytes.len().saturating_add(scaled * 2 + coefficients),
    })
}

pub(super) fn decode(
    bytes: &[u8],
    sizes: &[Size],
    scaling: &mut Scaling<'_>,
) -> Result<(), PictureError> {
    let mut decoder = Decoder::new(Paced::new(bytes, scaling.pace()));
    decoder
        .read_info()
        .map_err(|error| stopped_or_broken(&error))?;
    let info = decoder.info().ok_or_else(|| broken("it has no frame"))?;
    let wanted = wanted((info.width.into(), info.height.into()), sizes);
    let (width, height) = decoder.scale(wanted.0, wanted.1).map_err(broken)?;
    let pixels = decoder
        .decode()
        .map_err(|error| stopped_or_broken(&error))?;
    let (samples, pixels) = match info.pixel_format {
        PixelFormat::L8 => (Samples::Grey, pixels),
        // In the byte order of the machine: x86's.
        PixelFormat::L16 => (
            Samples::Grey,
            pixels
                .as_chunks::<2>()
                .0
                .iter()
                .map(|&[_, high]| high)
                .collect(),
        ),
        PixelFormat::RGB24 => (Samples::Rgb, pixels),
        PixelFormat::CMYK32 => (Samples::Cmyk, pixels),
    };
    scaling.begin(&Raster {
        width: width.into(),
        height: height.into(),
        samples,
        profile: decoder.icc_profile().as_deref(),
        orientation: decoder
            .exif_data()
            .map_or_else(Orientation::default, Orientation::of_exif),
    });
    let rows = pixels.chunks_exact(usize::from(width) * samples.bytes());
    rows.into_iter().try_for_each(|row| scaling.row(row))
}

/// The least edges to decode to. The decoder takes the smallest scale by which one of them is reached.
fn wanted((width, height): (u32, u32), sizes: &[Size]) -> (u16, u16) {
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
    // Both edges, so that the rounding of one of them decides nothing.
    let edge = |edge: u32| (f64::from(edge) * share).floor().clamp(1.0, 65535.0) as u16;
    (edge(width), edge(height))
}

fn stopped_or_broken(error: &jpeg_decoder::Error) -> PictureError {
    match error {
        jpeg_decoder::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            PictureError::Stopped
        }
        other => broken(other),
    }
}

/// The file, at the decoder's pace. Behind its end come end markers, so that a file that was cut gives the
/// part that is there, as libjpeg does.
struct Paced<'a> {
    /// Up to the next call of the pace; the decoder reads byte by byte, so this is its fast path.
    now: &'a [u8],
    later: &'a [u8],
    pace: Pace<'a>,
    /// End markers that may still be given.
    ends: usize,
}

/// End markers, many at a time.
const ENDS: [u8; 512] = {
    let mut ends = [0xff; 512];
    let mut at = 1;
    while at < ends.len() {
        ends[at] = 0xd9;
        at += 2;
    }
    ends
};
/// A decoder that has not understood after so many blocks of end markers never will.
const ENDS_MAX: usize = 256;

impl<'a> Paced<'a> {
    fn new(bytes: &'a [u8], pace: Pace<'a>) -> Paced<'a> {
        Paced {
            now: &[],
            later: bytes,
            pace,
            ends: ENDS_MAX,
        }
    }

    #[cold]
    fn go_on(&mut self) -> io::Result<()> {
        // Not `Interrupted`, upon which a reader tries again.
        (self.pace)().map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        if self.later.is_empty() {
            if self.ends > 0 {
                self.ends -= 1;
                self.now = &ENDS;
            }
            return Ok(());
        }
        (self.now, self.later) = self.later.split_at(self.later.len().min(BYTES_PER_PACE));
        Ok(())
    }
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.now.is_empty() {
            self.go_on()?;
        }
        self.now.read(buffer)
    }

    #[inline]
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        if let Some((taken, rest)) = self.now.split_at_checked(buffer.len()) {
            buffer.copy_from_slice(taken);
            self.now = rest;
            return Ok(());
        }
        while !buffer.is_empty() {
            match self.read(buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => buffer = &mut buffer[read..],
            }
        }
        Ok(())
    }
}
