//! Thumbnails as files: JPEG, or a format with alpha where a pixel is not opaque. No metadata.

use super::scaling::Image;
use super::{PictureError, Thumbnail, broken};

/// JPEG's quality on the scale of the IJG: what sites use for thumbnails.
const QUALITY: u8 = 80;

/// What is made where a pixel is not opaque.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// PNG.
    #[default]
    Png,
    /// WebP without loss.
    WebP,
}

pub(super) fn encode(name: &str, image: &Image, alpha: Alpha) -> Result<Thumbnail, PictureError> {
    let opaque = image.pixels.iter().all(|pixel| pixel[3] == 255);
    let (media_type, bytes) = match (opaque, alpha) {
        (true, _) => ("image/jpeg", jpeg(image)?),
        (false, Alpha::Png) => ("image/png", png(image)?),
        (false, Alpha::WebP) => ("image/webp", webp(image)?),
    };
    Ok(Thumbnail {
        name: name.to_owned(),
        width: image.width,
        height: image.height,
        media_type,
        bytes,
    })
}

fn jpeg(image: &Image) -> Result<Vec<u8>, PictureError> {
    // A size has at most 4096 pixels along an edge.
    let edge = |edge: u32| u16::try_from(edge).map_err(broken);
    let mut bytes = Vec::new();
    // Without tables of its own: with them it writes a scan for each component, which zune-jpeg, the
    // decoder of `image`, shows as stripes.
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, QUALITY);
    let pixels = image.pixels.as_flattened();
    encoder
        .encode(
            pixels,
            edge(image.width)?,
            edge(image.height)?,
            jpeg_encoder::ColorType::Rgba,
        )
        .map_err(broken)?;
    Ok(bytes)
}

fn png(image: &Image) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width, image.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header().map_err(broken)?;
    writer
        .write_image_data(image.pixels.as_flattened())
        .map_err(broken)?;
    writer.finish().map_err(broken)?;
    Ok(bytes)
}

fn webp(image: &Image) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Vec::new();
    let pixels = image.pixels.as_flattened();
    image_webp::WebPEncoder::new(&mut bytes)
        .encode(
            pixels,
            image.width,
            image.height,
            image_webp::ColorType::Rgba8,
        )
        .map_err(broken)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_has_one_scan_with_all_components() {
        let image = Image {
            width: 48,
            height: 32,
            pixels: (0..48 * 32).map(|n: u32| [n as u8, 7, 200, 255]).collect(),
        };
        let bytes = jpeg(&image).unwrap();
        // T.81, B.2.3: SOS, its length, and how many components.
        let scans: Vec<u8> = bytes
            .windows(5)
            .filter(|bytes| bytes[..2] == [0xff, 0xda])
            .map(|bytes| bytes[4])
            .collect();
        assert_eq!(scans, [3]);
    }
}
