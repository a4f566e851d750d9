//! Pictures of all formats: the bytes are a file. Its head is read, it is decoded to two sizes within small
//! limits, and decoding it again gives the same. Panics of decoders are caught where pictures are served;
//! here they are found.

use thumbnail::picture::{Alpha, Limits, Orientation, Picture, PictureError, Size};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "pictures",
    run,
    seeds,
};

/// So little that an execution takes milliseconds.
const LIMITS: Limits = Limits {
    pixels_max: 256 << 10,
    memory_max: 16 << 20,
};
const EDGE: u32 = 24;

fn run(bytes: &[u8]) {
    // A block of EXIF is read from any bytes.
    let _ = Orientation::of_exif(bytes);
    let sizes: Vec<Size> = ["a=24x24", "b=7x24:crop"]
        .iter()
        .filter_map(|size| size.parse().ok())
        .collect();
    let Ok(picture) = Picture::open(bytes, &sizes, &LIMITS) else {
        return;
    };
    let (width, height) = picture.dimensions();
    assert!(u64::from(width) * u64::from(height) <= LIMITS.pixels_max);
    let made = picture.thumbnails(&sizes, Alpha::Png, &|| Ok(()));
    assert_ne!(made, Err(PictureError::Panicked));
    for thumbnail in made.iter().flatten() {
        assert!((1..=EDGE).contains(&thumbnail.width) && (1..=EDGE).contains(&thumbnail.height));
        assert!(!thumbnail.bytes.is_empty());
    }
    assert_eq!(made, picture.thumbnails(&sizes, Alpha::Png, &|| Ok(())));
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = jpegs();
    seeds.extend(pngs());
    seeds.extend([false, true].map(gif));
    seeds.extend([image_webp::ColorType::Rgb8, image_webp::ColorType::Rgba8].map(webp));
    seeds.push(exif());
    seeds
}

const WIDTH: u16 = 40;
const HEIGHT: u16 = 27;

/// Slopes, each channel with another.
fn pixels(channels: usize) -> Vec<u8> {
    let (width, height) = (usize::from(WIDTH), usize::from(HEIGHT));
    (0..width * height * channels)
        .map(|at| {
            let (pixel, channel) = (at / channels, at % channels);
            (pixel % width * (channel + 2) + pixel / width * 5 + pixel * pixel % 9) as u8
        })
        .collect()
}

fn jpegs() -> Vec<Vec<u8>> {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    let jpeg = |(colour, channels, sampling, is_progressive, is_apart, restart)| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 80);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(is_progressive);
        encoder.set_optimized_huffman_tables(is_apart);
        if restart > 0 {
            encoder.set_restart_interval(restart);
        }
        encoder
            .encode(&pixels(channels), WIDTH, HEIGHT, colour)
            .expect("encoded");
        bytes
    };
    [
        (ColorType::Rgb, 3, SamplingFactor::F_2_2, false, false, 0),
        (ColorType::Rgb, 3, SamplingFactor::F_1_1, false, false, 2),
        (ColorType::Rgb, 3, SamplingFactor::F_4_1, false, true, 0),
        (ColorType::Rgb, 3, SamplingFactor::F_2_1, true, false, 0),
        (ColorType::Rgb, 3, SamplingFactor::F_1_2, true, false, 3),
        (ColorType::Luma, 1, SamplingFactor::F_1_1, false, false, 0),
        (
            ColorType::CmykAsYcck,
            4,
            SamplingFactor::F_2_2,
            false,
            false,
            0,
        ),
    ]
    .into_iter()
    .map(jpeg)
    .collect()
}

fn pngs() -> Vec<Vec<u8>> {
    use png::{BitDepth, ColorType, Encoder};
    let png = |(colour, channels)| {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, WIDTH.into(), HEIGHT.into());
        encoder.set_color(colour);
        encoder.set_depth(BitDepth::Eight);
        if colour == ColorType::Indexed {
            encoder.set_palette(pixels(1)[..768].to_vec());
        }
        let mut writer = encoder.write_header().expect("a head");
        writer.write_image_data(&pixels(channels)).expect("pixels");
        writer.finish().expect("an end");
        bytes
    };
    [
        (ColorType::Rgb, 3),
        (ColorType::Rgba, 4),
        (ColorType::GrayscaleAlpha, 2),
        (ColorType::Indexed, 1),
    ]
    .into_iter()
    .map(png)
    .collect()
}

/// One that says it is interlaced has its rows in the wrong order, which nobody can tell.
fn gif(is_interlaced: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let palette = &pixels(1)[..48];
    let mut encoder = gif::Encoder::new(&mut bytes, WIDTH, HEIGHT, palette).expect("a head");
    let indices: Vec<u8> = pixels(1).iter().map(|value| value & 15).collect();
    let mut frame = gif::Frame::from_indexed_pixels(WIDTH, HEIGHT, indices, Some(3));
    frame.interlaced = is_interlaced;
    encoder.write_frame(&frame).expect("a frame");
    drop(encoder);
    bytes
}

fn webp(colour: image_webp::ColorType) -> Vec<u8> {
    let channels = match colour {
        image_webp::ColorType::Rgba8 => 4,
        _ => 3,
    };
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes)
        .encode(&pixels(channels), WIDTH.into(), HEIGHT.into(), colour)
        .expect("encoded");
    bytes
}

/// A block of EXIF that says how to turn a picture.
fn exif() -> Vec<u8> {
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec()
}
