//! Thumbnails of a picture: from bytes to bytes, without I/O, clock or randomness.
//!
//! A picture is recognised by its first bytes ([`Format::of`]), opened ([`Picture::open`]: its head is
//! read, limits are checked, the memory that decoding takes is known) and decoded once for all sizes
//! ([`Picture::thumbnails`]). Rows go from the decoder through the colour profile into linear light and
//! into one scaler per size, so that of PNG and of what JPEG gives at a smaller scale little is in memory
//! at once. What comes out holds no metadata, stands upright and is in sRGB. The same bytes and sizes give
//! the same thumbnails, to the byte.
//!
//! *Pace.* Decoding takes long, and threads of a domain are cooperative: decoders call [`Pace`] every few
//! thousand pixels or bytes. Whoever gave it may let others run, or stop the decoding.
//!
//! *Specification.* ITU-T T.81 (JPEG), PNG third edition, GIF89a, RFC 9649 (WebP), CIPA DC-008 (EXIF),
//! ICC.1:2022, IEC 61966-2-1 (sRGB).
//!
//! *Threats.* Pictures are made by strangers. Sizes are believed only after [`Limits`] allowed them;
//! a decoder that panics is caught, and is an error like any other.

mod colour;
mod encode;
mod geometry;
mod gif;
mod jpeg;
mod orientation;
mod png;
mod resample;
mod scaling;
mod webp;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use encode::Alpha;
pub use geometry::{Mode, Size, SizeError};
pub use orientation::Orientation;
use scaling::Scaling;

/// Called every few thousand pixels; an error stops the decoding.
pub type Pace<'p> = &'p dyn Fn() -> Result<(), Stopped>;

/// The decoding was stopped by its [`Pace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// The formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Baseline and progressive.
    Jpeg,
    /// All of it.
    Png,
    /// The first frame.
    Gif,
    /// The first frame.
    WebP,
}

/// How many bytes [`Format::of`] wants to see; it decides with less if there are no more.
pub const SNIFFED_BYTES: usize = 16;

impl Format {
    /// What a file is by its first bytes; what its name or sender calls it counts for nothing.
    pub fn of(start: &[u8]) -> Option<Format> {
        match start {
            [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Format::WebP),
            _ => None,
        }
    }
}

/// What a picture may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Width times height.
    pub pixels_max: u64,
    /// The memory that decoding is estimated to take, in bytes.
    pub memory_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Telephones make up to 200 megapixels; most of those that are sent have 12 to 50.
            pixels_max: 100_000_000,
            // A WebP of 16 megapixels, whose decoder holds ten bytes of each pixel. A JPEG of as many takes
            // some rows, and a progressive one about a byte of each pixel.
            memory_max: 160 << 20,
        }
    }
}

/// A picture whose head is read, and whose decoding is within the limits.
pub struct Picture<'a> {
    bytes: &'a [u8],
    format: Format,
    width: u32,
    height: u32,
    memory: usize,
}

/// A thumbnail, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// Its size's name.
    pub name: String,
    /// In pixels, upright.
    pub width: u32,
    /// In pixels, upright.
    pub height: u32,
    /// Its media type.
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Why there are no thumbnails of a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// The first bytes are of no format that is decoded.
    #[error("no JPEG, PNG, GIF or WebP")]
    UnknownFormat,
    /// More than [`Limits::pixels_max`].
    #[error("{0} pixels are too many")]
    TooManyPixels(u64),
    /// More than [`Limits::memory_max`].
    #[error("decoding would take {0} bytes of memory, which is too much")]
    TooMuchMemory(usize),
    /// The decoder says why.
    #[error("the picture is broken: {0}")]
    Broken(String),
    /// A decoder or encoder broke an invariant of its own.
    #[error("the decoder gave up on this picture (a panic)")]
    Panicked,
    /// The pace said so.
    #[error("the decoding was stopped")]
    Stopped,
}

impl From<Stopped> for PictureError {
    fn from(_: Stopped) -> PictureError {
        PictureError::Stopped
    }
}

impl PictureError {
    /// One word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            PictureError::UnknownFormat => "unknown-format",
            PictureError::TooManyPixels(_) => "too-many-pixels",
            PictureError::TooMuchMemory(_) => "too-much-memory",
            PictureError::Broken(_) => "broken",
            PictureError::Panicked => "panicked",
            PictureError::Stopped => "stopped",
        }
    }
}

/// What a decoder found in the head of a file.
struct Head {
    width: u32,
    height: u32,
    /// What the decoder holds at once, without the scalers.
    memory: usize,
}

impl<'a> Picture<'a> {
    /// Reads the head of a picture. `largest` is the longest edge among the sizes that are wanted.
    ///
    /// # Errors
    /// Unknown formats, broken heads, and what is beyond the limits.
    pub fn open(
        bytes: &'a [u8],
        sizes: &[Size],
        limits: &Limits,
    ) -> Result<Picture<'a>, PictureError> {
        let format = Format::of(bytes).ok_or(PictureError::UnknownFormat)?;
        let head = caught(|| match format {
            Format::Jpeg => jpeg::head(bytes, sizes),
            Format::Png => png::head(bytes),
            Format::Gif => gif::head(bytes),
            Format::WebP => webp::head(bytes),
        })?;
        let pixels = u64::from(head.width) * u64::from(head.height);
        if pixels == 0 {
            return Err(PictureError::Broken("it has no pixels".to_owned()));
        }
        if pixels > limits.pixels_max {
            return Err(PictureError::TooManyPixels(pixels));
        }
        let memory = head
            .memory
            .saturating_add(scaling::memory(head.width, sizes));
        if memory > limits.memory_max {
            return Err(PictureError::TooMuchMemory(memory));
        }
        Ok(Picture {
            bytes,
            format,
            width: head.width,
            height: head.height,
            memory,
        })
    }

    /// What it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Width and height as they are stored, before the picture is turned upright.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The memory that [`Picture::thumbnails`] is estimated to take, in bytes.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Decodes once, and makes a thumbnail of each size.
    ///
    /// # Errors
    /// A picture that cannot be decoded, or that was stopped.
    pub fn thumbnails(
        &self,
        sizes: &[Size],
        alpha: Alpha,
        pace: Pace<'_>,
    ) -> Result<Vec<Thumbnail>, PictureError> {
        caught(|| {
            let mut scaling = Scaling::new(sizes, (self.width, self.height), pace);
            match self.format {
                Format::Jpeg => jpeg::decode(self.bytes, sizes, &mut scaling)?,
                Format::Png => png::decode(self.bytes, &mut scaling)?,
                Format::Gif => gif::decode(self.bytes, &mut scaling)?,
                Format::WebP => webp::decode(self.bytes, self.memory, &mut scaling)?,
            }
            let mut thumbnails = Vec::with_capacity(sizes.len());
            for (name, image) in scaling.finish()? {
                pace()?;
                thumbnails.push(encode::encode(name, &image, alpha)?);
            }
            Ok(thumbnails)
        })
    }
}

/// The `image` crates say that their decoders may panic on malicious input.
fn caught<T>(work: impl FnOnce() -> Result<T, PictureError>) -> Result<T, PictureError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(PictureError::Panicked))
}

fn broken(error: impl std::fmt::Display) -> PictureError {
    PictureError::Broken(error.to_string())
}
