//! GIF: its first frame, on its canvas, row by row; one that is interlaced is decoded whole.

use gif::{ColorOutput, DecodeOptions, Decoder, Frame, MemoryLimit};

use super::colour::Samples;
use super::scaling::{Raster, Scaling};
use super::{Head, Orientation, PictureError, broken};

/// Of a pixel.
const BYTES: usize = 4;
/// What the decoder holds beside rows: the dictionary, and palettes.
const DECODER_BYTES: usize = 64 << 10;

/// A frame may be no larger than the canvas, which the limits have allowed.
fn decoder(bytes: &[u8]) -> Result<Decoder<&[u8]>, PictureError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    options.check_frame_consistency(true);
    // 65,535 by 65,535 pixels would be 17 GB; the head is checked before anything is decoded.
    options.set_memory_limit(MemoryLimit::Unlimited);
    options.read_info(bytes).map_err(broken)
}

/// Where the first frame lies on the canvas.
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
    is_interlaced: bool,
}

impl Place {
    fn of(frame: Option<&Frame<'_>>) -> Result<Place, PictureError> {
        let frame = frame.ok_or_else(|| broken("it has no frame"))?;
        Ok(Place {
            left: frame.left.into(),
            top: frame.top.into(),
            width: frame.width.into(),
            height: frame.height.into(),
            is_interlaced: frame.interlaced,
        })
    }

    /// The memory of the frame, if it cannot be had row by row.
    fn whole(&self) -> usize {
        match self.is_interlaced {
            true => self.width * self.height * BYTES,
            false => 0,
        }
    }
}

pub(super) fn head(bytes: &[u8]) -> Result<Head, PictureError> {
    let mut decoder = decoder(bytes)?;
    let (width, height) = (decoder.width().into(), decoder.height().into());
    let place = Place::of(decoder.next_frame_info().map_err(broken)?)?;
    Ok(Head {
        width,
        height,
        memory: [place.whole(), width as usize * BYTES * 2, DECODER_BYTES]
            .into_iter()
            .fold(bytes.len(), usize::saturating_add),
    })
}

pub(super) fn decode(bytes: &[u8], scaling: &mut Scaling<'_>) -> Result<(), PictureError> {
    let mut decoder = decoder(bytes)?;
    let (width, height) = (usize::from(decoder.width()), usize::from(decoder.height()));
    let profile = decoder.icc_profile().map(<[u8]>::to_vec);
    let place = Place::of(decoder.next_frame_info().map_err(broken)?)?;
    scaling.begin(&Raster {
        width: width as u32,
        height: height as u32,
        samples: Samples::Rgba,
        profile: profile.as_deref(),
        orientation: Orientation::default(),
    });
    let whole = match place.is_interlaced {
        true => Some(interlaced(&mut decoder, &place, scaling)?),
        false => None,
    };
    let stride = place.width * BYTES;
    let mut row = vec![0; stride];
    let mut canvas = vec![0; width * BYTES];
    let mut is_cut = false;
    for y in 0..height {
        canvas.fill(0);
        let inside = y.checked_sub(place.top).filter(|&y| y < place.height);
        let pixels = match (inside, &whole) {
            (None, _) => &[],
            (Some(y), Some(whole)) => &whole[y * stride..(y + 1) * stride],
            // A file that was cut gives the rows that are there.
            (Some(_), None) if is_cut => &[],
            (Some(y), None) => {
                is_cut = !next_row(&mut decoder, &mut row, y == 0)?;
                if is_cut { &[] } else { row.as_slice() }
            }
        };
        let left = place.left * BYTES;
        if let Some(place) = canvas.get_mut(left..left + pixels.len()) {
            place.copy_from_slice(pixels);
        }
        scaling.row(&canvas)?;
    }
    Ok(())
}

/// Whether there is another row; the first must be there.
fn next_row(
    decoder: &mut Decoder<&[u8]>,
    row: &mut [u8],
    is_first: bool,
) -> Result<bool, PictureError> {
    match decoder.fill_buffer(row) {
        Ok(is_whole) => Ok(is_whole),
        Err(error) if is_first => Err(broken(error)),
        Err(_) => Ok(false),
    }
}

/// The frame, from rows in the order of GIF89a, appendix E: every eighth, those between them, and so on.
fn interlaced(
    decoder: &mut Decoder<&[u8]>,
    place: &Place,
    scaling: &Scaling<'_>,
) -> Result<Vec<u8>, PictureError> {
    let mut whole = vec![0; place.whole()];
    let stride = place.width * BYTES;
    let rows = [(0, 8), (4, 8), (2, 4), (1, 2)]
        .into_iter()
        .flat_map(|(first, step)| (first..place.height).step_by(step));
    for (number, y) in rows.enumerate() {
        (scaling.pace())()?;
        let row = &mut whole[y * stride..(y + 1) * stride];
        if !next_row(decoder, row, number == 0)? {
            break;
        }
    }
    Ok(whole)
}
