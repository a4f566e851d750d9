//! The decoder beside `jpeg-decoder`, which shares no code with it, on pictures of all kinds.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::colours::{Pixels, Row};
use super::head::Head;
use super::planes::Planes;
use super::{PictureError, decode_rows};

/// A picture as it is decoded: its edges, and interleaved samples.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

fn ours(bytes: &[u8], scale: usize) -> Result<Decoded, PictureError> {
    let head = Head::parse(bytes).map_err(super::broken)?;
    let planes = Planes::new(&head.frame, scale);
    let (width, height) = (planes.width, planes.height);
    let mut pixels = Pixels::new(&head, width);
    let mut samples = Vec::new();
    decode_rows(head, planes, &|| Ok(()), |row| {
        match pixels.of(row) {
            Row::Interleaved(row) => samples.extend(row),
            Row::Planes([red, green, blue]) => {
                let pixels = red.iter().zip(green).zip(blue);
                samples.extend(pixels.flat_map(|((&red, &green), &blue)| [red, green, blue]));
            }
        }
        Ok(())
    })?;
    Ok(Decoded {
        width,
        height,
        samples,
    })
}

fn theirs(bytes: &[u8], scale: usize) -> Decoded {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().expect("a head");
    let info = decoder.info().expect("a frame");
    let edge = |edge: u16| (usize::from(edge) * scale).div_ceil(8) as u16;
    decoder
        .scale(edge(info.width), edge(info.height))
        .expect("a scale");
    let samples = decoder.decode().expect("decoded");
    let info = decoder.info().expect("a frame");
    Decoded {
        width: info.width.into(),
        height: info.height.into(),
        samples,
    }
}

/// Something smooth, with an edge and some noise, in each of the channels.
fn pixels(width: usize, height: usize, channels: usize, noise: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut samples = Vec::new();
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for channel in 0..channels {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let smooth = 40 + 150 * ((channel + 1) * x + y) / (width * channels + height);
            let edge = if x * 3 > width * 2 { 50 } else { 0 };
            samples.push((smooth + edge + (state >> 16) as usize % (noise + 1)).min(255) as u8);
        }
    }
    samples
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    colour: ColorType,
    sampling: SamplingFactor,
    is_progressive: bool,
    /// A scan for each component.
    is_apart: bool,
    restart: u16,
}

const PLAIN: Kind = Kind {
    colour: ColorType::Rgb,
    sampling: SamplingFactor::F_1_1,
    is_progressive: false,
    is_apart: false,
    restart: 0,
};

const SAMPLINGS: [SamplingFactor; 8] = [
    SamplingFactor::F_1_1,
    SamplingFactor::F_2_1,
    SamplingFactor::F_1_2,
    SamplingFactor::F_2_2,
    SamplingFactor::F_4_1,
    SamplingFactor::F_4_2,
    SamplingFactor::F_1_4,
    SamplingFactor::F_2_4,
];

const EDGES: [(usize, usize); 6] = [(1, 1), (7, 9), (16, 16), (61, 43), (33, 120), (200, 64)];

/// All that the encoder writes.
fn kinds() -> Vec<Kind> {
    let mut kinds = Vec::new();
    for (is_progressive, is_apart, restart) in [
        (false, false, 0),
        (false, false, 3),
        (false, true, 0),
        (true, false, 0),
        (true, false, 2),
    ] {
        let plain = Kind {
            is_progressive,
            is_apart,
            restart,
            ..PLAIN
        };
        kinds.extend(SAMPLINGS.map(|sampling| Kind { sampling, ..plain }));
        for colour in [ColorType::Luma, ColorType::Cmyk, ColorType::CmykAsYcck] {
            kinds.push(Kind { colour, ..plain });
        }
    }
    kinds
}

fn encode(kind: Kind, width: usize, height: usize, quality: u8, noise: usize) -> Vec<u8> {
    let channels = match kind.colour {
        ColorType::Luma => 1,
        ColorType::Rgb => 3,
        _ => 4,
    };
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(kind.sampling);
    encoder.set_progressive(kind.is_progressive);
    encoder.set_optimized_huffman_tables(kind.is_apart);
    if kind.restart > 0 {
        encoder.set_restart_interval(kind.restart);
    }
    let samples = pixels(width, height, channels, noise);
    encoder
        .encode(&samples, width as u16, height as u16, kind.colour)
        .expect("encoded");
    bytes
}

/// The largest difference, and the mean in hundredths.
fn difference(one: &Decoded, other: &Decoded) -> (u8, usize) {
    assert_eq!((one.width, one.height), (other.width, other.height));
    assert_eq!(one.samples.len(), other.samples.len());
    let both = one.samples.iter().zip(&other.samples);
    let differences: Vec<u8> = both.map(|(a, b)| a.abs_diff(*b)).collect();
    let sum: usize = differences.iter().map(|&one| usize::from(one)).sum();
    (
        differences.iter().copied().max().unwrap_or(0),
        sum * 100 / differences.len(),
    )
}

/// Whether the peer interpolates as we do; elsewhere it repeats samples.
fn is_alike(sampling: SamplingFactor) -> bool {
    matches!(
        sampling,
        SamplingFactor::F_1_1
            | SamplingFactor::F_2_1
            | SamplingFactor::F_1_2
            | SamplingFactor::F_2_2
    )
}

#[test]
fn whole_pictures_are_those_of_another_decoder() {
    for kind in kinds() {
        for (width, height) in EDGES {
            let bytes = encode(kind, width, height, 90, 20);
            let made = ours(&bytes, 8).expect("decoded");
            let (most, mean) = difference(&made, &theirs(&bytes, 8));
            match is_alike(kind.sampling) {
                // Rounding, of the transform, of interpolation and of colours.
                true => assert!(
                    most <= 6 && mean < 160,
                    "{kind:?} {width}x{height}: {most} {mean}"
                ),
                false => assert!(mean < 500, "{kind:?} {width}x{height}: {most} {mean}"),
            }
        }
    }
}

#[test]
fn smaller_pictures_are_those_of_another_decoder() {
    for scale in [1, 2, 4] {
        for colour in [ColorType::Luma, ColorType::Rgb, ColorType::CmykAsYcck] {
            for is_progressive in [false, true] {
                let kind = Kind {
                    colour,
                    is_progressive,
                    ..PLAIN
                };
                let bytes = encode(kind, 123, 77, 90, 20);
                let made = ours(&bytes, scale).expect("decoded");
                let (most, mean) = difference(&made, &theirs(&bytes, scale));
                assert!(
                    most <= 6 && mean < 160,
                    "{kind:?} 1/{}: {most} {mean}",
                    8 / scale
                );
            }
        }
    }
}

/// However components are sampled, and at whatever scale, a smooth picture is the same.
#[test]
fn every_scale_shows_the_same_picture() {
    for kind in kinds() {
        let bytes = encode(kind, 240, 160, 95, 0);
        let whole = ours(&bytes, 8).expect("decoded");
        let channels = whole.samples.len() / (240 * 160);
        for scale in [1, 2, 3, 4, 6] {
            let made = ours(&bytes, scale).expect("decoded");
            assert_eq!((made.width, made.height), (30 * scale, 20 * scale));
            let mut sum = 0;
            for (at, &value) in made.samples.iter().enumerate() {
                let (pixel, channel) = (at / channels, at % channels);
                let middle = |at: usize| (2 * at + 1) * 4 / scale;
                let (x, y) = (middle(pixel % made.width), middle(pixel / made.width));
                sum +=
                    usize::from(value.abs_diff(whole.samples[(y * 240 + x) * channels + channel]));
            }
            let mean = sum as f64 / made.samples.len() as f64;
            assert!(mean < 4.0, "{kind:?} {scale}/8: {mean}");
        }
    }
}

/// Progressive pictures and those with a scan for each component have the same coefficients.
#[test]
fn the_order_of_scans_changes_nothing() {
    for sampling in SAMPLINGS {
        for scale in [1, 2, 3, 8] {
            let of = |is_progressive, is_apart| {
                let kind = Kind {
                    sampling,
                    is_progressive,
                    is_apart,
                    ..PLAIN
                };
                ours(&encode(kind, 150, 90, 85, 40), scale).expect("decoded")
            };
            assert_eq!(of(false, false), of(true, false), "{sampling:?} {scale}");
            assert_eq!(of(false, false), of(false, true), "{sampling:?} {scale}");
        }
    }
}

/// What is in front of the cut is as it was.
#[test]
fn a_file_that_was_cut_shows_what_is_there() {
    for restart in [0, 7] {
        let bytes = encode(Kind { restart, ..PLAIN }, 160, 160, 90, 60);
        let whole = ours(&bytes, 8).expect("decoded");
        for length in (0..bytes.len()).step_by(97) {
            let Ok(cut) = ours(&bytes[..length], 8) else {
                assert!(length < 800, "{length}");
                continue;
            };
            let same = whole.samples.iter().zip(&cut.samples);
            let same = same.take_while(|(a, b)| a == b).count();
            // Rows of blocks: as many of them as of the bytes, with one to spare.
            let rows = 20 * length.saturating_sub(800) / bytes.len();
            assert!(
                same >= rows.saturating_sub(1) * 8 * 160 * 3,
                "{length}: {same}"
            );
            assert_eq!(cut.samples.len(), whole.samples.len());
        }
    }
}

/// A unit that is lost takes those up to the next restart marker with it, and no more.
#[test]
fn damage_ends_at_a_restart_marker() {
    let kind = Kind {
        restart: 4,
        ..PLAIN
    };
    let bytes = encode(kind, 320, 64, 90, 60);
    let whole = ours(&bytes, 8).expect("decoded");
    let markers: Vec<usize> = (0..bytes.len() - 1)
        .filter(|&at| bytes[at] == 0xff && (0xd0..=0xd7).contains(&bytes[at + 1]))
        .collect();
    // An interval without its content, without its marker, and with another's.
    for change in 0..3 {
        let mut bytes = bytes.clone();
        match change {
            0 => drop(bytes.drain(markers[10] + 2..markers[11])),
            1 => drop(bytes.drain(markers[10]..markers[11])),
            _ => bytes[markers[10] + 1] ^= 4,
        }
        let made = ours(&bytes, 8).expect("decoded");
        let same = made
            .samples
            .iter()
            .zip(&whole.samples)
            .filter(|(a, b)| a == b)
            .count();
        assert!(same * 100 > whole.samples.len() * 95, "{change}: {same}");
        assert!(same < whole.samples.len(), "{change}");
    }
}

/// Spoilt in some places each, with all checks of a debug build.
#[test]
fn spoilt_files_are_errors_or_pictures() {
    let mut state = 7_u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound as u64) as usize
    };
    for kind in kinds() {
        let whole = encode(kind, 61, 43, 80, 30);
        for round in 0..60 {
            let mut bytes = whole.clone();
            for _ in 0..1 + below(4) {
                let at = below(bytes.len());
                bytes[at] = [below(256) as u8, 0xff, 0][below(3)];
            }
            let _ = ours(&bytes, [1, 2, 3, 4, 6, 8][round % 6]);
        }
    }
}
