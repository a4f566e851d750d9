//! Test pictures, made by code.

use std::io::Cursor;

/// What somebody would not want to tell: found in no thumbnail.
pub(crate) const SECRET: &[u8] = b"51.4778N 0.0014W";

/// What is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    JpegProgressive,
    Jpeg411,
    JpegRestarts,
    JpegGrey,
    JpegCmyk,
    Png,
    PngInterlaced,
    PngPalette,
    Png16,
    PngAlpha,
    Gif,
    GifInterlaced,
    WebP,
    WebPAlpha,
}

impl Kind {
    /// Those that show red, green, blue and white.
    pub(crate) const OPAQUE: [Kind; 11] = [
        Kind::Jpeg,
        Kind::JpegProgressive,
        Kind::Jpeg411,
        Kind::JpegRestarts,
        Kind::Png,
        Kind::PngInterlaced,
        Kind::PngPalette,
        Kind::Png16,
        Kind::Gif,
        Kind::GifInterlaced,
        Kind::WebP,
    ];
}

/// xorshift, so that a test is the same each time.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

const QUARTERS: [[u8; 3]; 4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];

fn quarters(width: u32, height: u32) -> Vec<[u8; 3]> {
    let pixel = |x, y| QUARTERS[usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2)];
    let row = |y| (0..width).map(move |x| pixel(x, y));
    (0..height).flat_map(row).collect()
}

/// A picture whose quarters are red, green, blue and white; with alpha: left transparent red, right white.
pub(crate) fn picture(kind: Kind, width: u32, height: u32) -> Vec<u8> {
    encode(kind, width, height, &quarters(width, height))
}

/// A picture that compresses badly.
pub(crate) fn noise(kind: Kind, width: u32, height: u32) -> Vec<u8> {
    let mut random = Random(7);
    let pixels =
        (0..width * height).map(|_| [random.below(256) as u8, random.below(256) as u8, 90]);
    encode(kind, width, height, &pixels.collect::<Vec<_>>())
}

/// A JPEG of quarters.
pub(crate) fn jpeg(width: u32, height: u32, progressive: bool) -> Vec<u8> {
    let kind = if progressive {
        Kind::JpegProgressive
    } else {
        Kind::Jpeg
    };
    picture(kind, width, height)
}

fn encode(kind: Kind, width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
    let grey = |&[red, green, blue]: &[u8; 3]| {
        ((u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114 + 500) / 1000) as u8
    };
    let flat = pixels.as_flattened();
    match kind {
        Kind::Jpeg | Kind::JpegProgressive | Kind::Jpeg411 | Kind::JpegRestarts => {
            encode_jpeg(kind, width, height, flat, jpeg_encoder::ColorType::Rgb)
        }
        Kind::JpegGrey => {
            let pixels: Vec<u8> = pixels.iter().map(grey).collect();
            encode_jpeg(kind, width, height, &pixels, jpeg_encoder::ColorType::Luma)
        }
        Kind::JpegCmyk => {
            let ink: Vec<u8> = pixels
                .iter()
                .flat_map(|&[r, g, b]| [255 - r, 255 - g, 255 - b, 0])
                .collect();
            encode_jpeg(kind, width, height, &ink, jpeg_encoder::ColorType::Cmyk)
        }
        Kind::Png => encode_png(
            width,
            height,
            png::ColorType::Rgb,
            png::BitDepth::Eight,
            flat,
        ),
        Kind::Png16 => {
            let wide: Vec<u8> = flat.iter().flat_map(|&value| [value, value]).collect();
            encode_png(
                width,
                height,
                png::ColorType::Rgb,
                png::BitDepth::Sixteen,
                &wide,
            )
        }
        Kind::PngPalette => {
            let indices: Vec<u8> = pixels.iter().map(index).collect();
            encode_png(
                width,
                height,
                png::ColorType::Indexed,
                png::BitDepth::Eight,
                &indices,
            )
        }
        Kind::PngAlpha => encode_png(
            width,
            height,
            png::ColorType::Rgba,
            png::BitDepth::Eight,
            &half(width, height),
        ),
        Kind::PngInterlaced => interlaced(width, height, pixels),
        Kind::Gif => encode_gif(width, height, pixels),
        Kind::GifInterlaced => encode_gif_interlaced(width, height, pixels),
        Kind::WebP => encode_webp(width, height, flat, image_webp::ColorType::Rgb8),
        Kind::WebPAlpha => encode_webp(
            width,
            height,
            &half(width, height),
            image_webp::ColorType::Rgba8,
        ),
    }
}

fn index(pixel: &[u8; 3]) -> u8 {
    QUARTERS
        .iter()
        .position(|quarter| quarter == pixel)
        .unwrap_or(0) as u8
}

/// Left transparent red, right opaque white.
fn half(width: u32, height: u32) -> Vec<u8> {
    let pixel = |x: u32| {
        if x < width / 2 {
            [255, 0, 0, 0]
        } else {
            [255; 4]
        }
    };
    (0..height)
        .flat_map(|_| (0..width).flat_map(pixel))
        .collect()
}

fn encode_jpeg(
    kind: Kind,
    width: u32,
    height: u32,
    pixels: &[u8],
    colour: jpeg_encoder::ColorType,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
    encoder.set_progressive(kind == Kind::JpegProgressive);
    match kind {
        Kind::Jpeg411 => encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_4_1),
        Kind::JpegRestarts => encoder.set_restart_interval(5),
        _ => {}
    }
    encoder
        .encode(pixels, width as u16, height as u16, colour)
        .expect("encoded");
    bytes
}

fn encode_png(
    width: u32,
    height: u32,
    colour: png::ColorType,
    depth: png::BitDepth,
    pixels: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(QUARTERS.as_flattened());
    }
    let mut writer = encoder.write_header().expect("a head");
    writer.write_image_data(pixels).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

/// The encoder writes no interlaced pictures: the seven passes of Adam7 by hand.
fn interlaced(width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
    const PASSES: [(u32, u32, u32, u32); 7] = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ];
    let mut rows = Vec::new();
    for (left, top, across, down) in PASSES {
        for y in (top..height).step_by(down as usize) {
            rows.push(0); // no filter
            for x in (left..width).step_by(across as usize) {
                rows.extend(pixels[(y * width + x) as usize]);
            }
        }
    }
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &rows).expect("compressed");
    let mut head = [width.to_be_bytes(), height.to_be_bytes()].concat();
    head.extend([8, 2, 0, 0, 1]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(chunk(b"IHDR", &head));
    bytes.extend(chunk(b"IDAT", &encoder.finish().expect("compressed")));
    bytes.extend(chunk(b"IEND", &[]));
    bytes
}

fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let named = [name, data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&named);
    [
        &(data.len() as u32).to_be_bytes()[..],
        &named,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

fn encode_gif(width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
    encode_gif_frame(width, height, pixels.iter().map(index).collect(), false)
}

/// The encoder only says so: the rows are put into their order here.
fn encode_gif_interlaced(width: u32, height: u32, pixels: &[[u8; 3]]) -> Vec<u8> {
    let rows: Vec<_> = pixels.chunks_exact(width as usize).collect();
    let order = [(0, 8), (4, 8), (2, 4), (1, 2)]
        .into_iter()
        .flat_map(|(first, step)| (first..height as usize).step_by(step));
    let indices = order.flat_map(|row| rows[row].iter().map(index));
    encode_gif_frame(width, height, indices.collect(), true)
}

fn encode_gif_frame(width: u32, height: u32, indices: Vec<u8>, interlaced: bool) -> Vec<u8> {
    let (width, height) = (width as u16, height as u16);
    let mut bytes = Vec::new();
    let mut encoder =
        gif::Encoder::new(&mut bytes, width, height, QUARTERS.as_flattened()).expect("a head");
    let mut frame = gif::Frame::from_indexed_pixels(width, height, indices, None);
    frame.interlaced = interlaced;
    encoder.write_frame(&frame).expect("a frame");
    drop(encoder);
    bytes
}

fn encode_webp(width: u32, height: u32, pixels: &[u8], colour: image_webp::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image_webp::WebPEncoder::new(&mut bytes);
    encoder
        .encode(pixels, width, height, colour)
        .expect("encoded");
    bytes
}

/// The picture with an EXIF block that has this orientation, and a place.
pub(crate) fn exif(kind: Kind, picture: Vec<u8>, orientation: u16) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend(orientation.to_le_bytes());
    tiff.extend([0; 6]);
    tiff.extend(SECRET);
    match kind {
        Kind::Jpeg => {
            let block = [b"Exif\0\0", tiff.as_slice()].concat();
            let length = (block.len() as u16 + 2).to_be_bytes();
            [&picture[..2], b"\xff\xe1", &length, &block, &picture[2..]].concat()
        }
        Kind::Png => {
            // Behind IHDR.
            let (head, rest) = picture.split_at(33);
            [head, &chunk(b"eXIf", &tiff), rest].concat()
        }
        Kind::WebP => {
            let decoder = image_webp::WebPDecoder::new(Cursor::new(&picture)).expect("a WebP");
            let (width, height) = decoder.dimensions();
            let mut flags = vec![0b1000, 0, 0, 0];
            flags.extend(&(width - 1).to_le_bytes()[..3]);
            flags.extend(&(height - 1).to_le_bytes()[..3]);
            let riff = |name: &[u8; 4], data: &[u8]| {
                let padding = vec![0; data.len() % 2];
                [
                    &name[..],
                    &(data.len() as u32).to_le_bytes(),
                    data,
                    &padding,
                ]
                .concat()
            };
            let body = [
                b"WEBP".to_vec(),
                riff(b"VP8X", &flags),
                picture[12..].to_vec(),
                riff(b"EXIF", &tiff),
            ];
            riff(b"RIFF", &body.concat())
        }
        other => panic!("{other:?} has no EXIF here"),
    }
}

/// A small file whose head claims these edges.
pub(crate) fn claiming(kind: Kind, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = picture(kind, 16, 16);
    match kind {
        Kind::Png => {
            let head = [
                &width.to_be_bytes()[..],
                &height.to_be_bytes(),
                &bytes[24..29],
            ]
            .concat();
            bytes.splice(8..33, chunk(b"IHDR", &head));
        }
        Kind::Jpeg => {
            let at = bytes
                .windows(2)
                .position(|marker| marker == [0xff, 0xc0])
                .expect("a frame");
            bytes[at + 5..at + 7].copy_from_slice(&(height as u16).to_be_bytes());
            bytes[at + 7..at + 9].copy_from_slice(&(width as u16).to_be_bytes());
        }
        Kind::Gif => {
            bytes[6..8].copy_from_slice(&(width as u16).to_le_bytes());
            bytes[8..10].copy_from_slice(&(height as u16).to_le_bytes());
        }
        other => panic!("{other:?}"),
    }
    bytes
}
