//! The `image` crate's coders and decoders on pictures made here: JPEG, PNG, GIF and WebP.

use std::io::Cursor;

use image::codecs::gif::{GifDecoder, GifEncoder};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{AnimationDecoder, DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

use guests::{Sequence, fingerprint};

fn main() {
    guests::tell(
        "codecs",
        &[
            ("png keeps every pixel", png),
            ("webp keeps every pixel", webp),
            ("jpeg keeps the picture", jpeg),
            ("gif keeps few colours", gif),
            ("thumbnails", thumbnail),
            ("broken pictures are refused", broken),
        ],
    );
}

/// Gradients with a disc: smooth parts, an edge, and the same pixels everywhere (integers only).
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = (
            i64::from(x) - i64::from(width / 2),
            i64::from(y) - i64::from(height / 2),
        );
        let inside = dx * dx + dy * dy < i64::from(height * height) / 9;
        Rgb([
            (x * 255 / width) as u8,
            (y * 255 / height) as u8,
            if inside { 200 } else { 40 },
        ])
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, format)
        .expect("the picture can be encoded");
    bytes.into_inner()
}

fn decoded(bytes: &[u8]) -> DynamicImage {
    image::load_from_memory(bytes).expect("the picture can be decoded")
}

fn report(format: &str, bytes: &[u8]) {
    println!(
        "  {format}: {} bytes, {:016x}",
        bytes.len(),
        fingerprint(bytes.iter().copied())
    );
}

fn lossless(name: &str, format: ImageFormat) {
    let smooth = DynamicImage::from(picture(640, 480));
    let noise = Sequence::new(9)
        .flat_map(u64::to_le_bytes)
        .take(101 * 67 * 4)
        .collect();
    let noisy = DynamicImage::from(
        RgbaImage::from_raw(101, 67, noise).expect("as many bytes as pixels need"),
    );
    for picture in [smooth, noisy] {
        let bytes = encoded(&picture, format);
        report(name, &bytes);
        assert_eq!(image::guess_format(&bytes).ok(), Some(format));
        assert!(decoded(&bytes) == picture, "{name} changed pixels");
    }
}

fn png() {
    lossless("png", ImageFormat::Png);
}

fn webp() {
    lossless("webp", ImageFormat::WebP);
}

/// The mean error of a smooth picture at quality 85 is below one level of 255.
fn jpeg() {
    let original = picture(640, 480);
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85)
        .encode_image(&original)
        .expect("a jpeg");
    report("jpeg", &bytes);
    let again = decoded(&bytes).into_rgb8();
    assert_eq!(again.dimensions(), (640, 480));
    let error: u64 = original
        .as_raw()
        .iter()
        .zip(again.as_raw())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    let mean = error as f64 / original.as_raw().len() as f64;
    assert!(mean < 1.5, "the picture is off by {mean} on average");
    println!(
        "  mean error {mean:.3}, pixels {:016x}",
        fingerprint(again.into_raw())
    );
}

fn gif() {
    let colours = [
        Rgba([255, 0, 0, 255]),
        Rgba([0, 255, 0, 255]),
        Rgba([0, 0, 255, 255]),
    ];
    let frames: Vec<RgbaImage> = colours
        .iter()
        .map(|&colour| RgbaImage::from_pixel(32, 16, colour))
        .collect();
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes)
        .encode_frames(frames.iter().cloned().map(Frame::new))
        .expect("a gif");
    report("gif", &bytes);
    let decoder = GifDecoder::new(Cursor::new(&bytes)).expect("a gif");
    let again = decoder.into_frames().collect_frames().expect("all frames");
    assert!(
        again.into_iter().map(Frame::into_buffer).eq(frames),
        "frames changed"
    );
}

fn thumbnail() {
    let original = DynamicImage::from(picture(1024, 768));
    let small = original.resize(160, 160, FilterType::Triangle);
    assert_eq!((small.width(), small.height()), (160, 120));
    let corner = small.to_rgb8().get_pixel(2, 2).0;
    assert!(
        corner[0] < 10 && corner[1] < 10 && corner[2].abs_diff(40) < 3,
        "{corner:?}"
    );
    let turned = imageops::rotate90(&small.to_rgb8());
    assert_eq!(turned.dimensions(), (120, 160));
    report("thumbnail", &encoded(&small, ImageFormat::Jpeg));
}

/// Truncated in every tenth place, and with bytes that are no picture at all: an error, never a panic.
fn broken() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ] {
        let bytes = encoded(&DynamicImage::from(picture(64, 64)), format);
        for tenth in 0..9 {
            let cut = &bytes[..bytes.len() * tenth / 10];
            drop(image::load_from_memory_with_format(cut, format));
        }
        assert!(image::load_from_memory_with_format(&bytes[..bytes.len() / 20], format).is_err());
    }
    let noise: Vec<u8> = Sequence::new(2)
        .flat_map(u64::to_le_bytes)
        .take(4096)
        .collect();
    assert!(image::load_from_memory(&noise).is_err());
}
