//! Other people's test pictures, judged: `pictures judge FOLDER` prints a line for each, with its path and
//! what became of it.
//!
//! | word | meaning |
//! |---|---|
//! | `like` | the thumbnail shows what `image` decodes |
//! | `unlike` | it shows something else |
//! | `alone` | there is a thumbnail, and `image` decodes nothing |
//! | any other | why there is no thumbnail |
//!
//! For JPEG `image` decodes with code that shares nothing with ours. It knows of no colour profiles, and
//! turns ink into colours in its own way.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use image::imageops::{FilterType, resize};
use image::{DynamicImage, ImageBuffer, ImageDecoder as _, ImageReader, Rgba};
use thumbnail::picture::{Alpha, Limits, Picture, PictureError, Size, Thumbnail};

/// What is made: most test pictures are not much larger.
const SIZE: &str = "judged=96x96";
/// Of all values of sRGB, on grey, the mean difference that is still likeness: drawings of thin lines in
/// strong colours lose so much in a JPEG, and another picture differs by several times of it.
const LIKENESS: f32 = 10.0;
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "gif", "webp"];

pub(crate) fn run(folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    for file in &files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(folder)?.display();
        println!("{path} {}", verdict(&bytes)?);
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if path.is_dir() {
            collect(&path, files)?;
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            files.push(path);
        }
    }
    Ok(())
}

fn verdict(bytes: &[u8]) -> Result<&'static str> {
    let sizes: [Size; 1] = [SIZE.parse()?];
    let made = match thumbnail(bytes, &sizes) {
        Ok(made) => made,
        Err(error) => return Ok(error.reason()),
    };
    let Ok(reference) = decoded(bytes) else {
        return Ok("alone");
    };
    let reference = resize(
        &linear(&reference),
        made.width,
        made.height,
        FilterType::Lanczos3,
    );
    let shown = linear(&decoded(&made.bytes).context("a thumbnail is a picture")?);
    let values = |pixels: &Pixels| -> Vec<f32> {
        pixels.pixels().flat_map(|pixel| on_grey(*pixel)).collect()
    };
    let (shown, reference) = (values(&shown), values(&reference));
    let differences = shown.iter().zip(&reference).map(|(a, b)| (a - b).abs());
    let mean = differences.sum::<f32>() / shown.len() as f32;
    Ok(if mean <= LIKENESS { "like" } else { "unlike" })
}

fn thumbnail(bytes: &[u8], sizes: &[Size]) -> Result<Thumbnail, PictureError> {
    let picture = Picture::open(bytes, sizes, &Limits::default())?;
    let mut made = picture.thumbnails(sizes, Alpha::Png, &|| Ok(()))?;
    Ok(made.remove(0))
}

/// Upright.
fn decoded(bytes: &[u8]) -> Result<DynamicImage> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// In linear light, with premultiplied alpha.
type Pixels = ImageBuffer<Rgba<f32>, Vec<f32>>;

fn linear(picture: &DynamicImage) -> Pixels {
    let mut pixels = picture.to_rgba32f();
    for Rgba([red, green, blue, alpha]) in pixels.pixels_mut() {
        for value in [red, green, blue] {
            *value = super::light(*value) * *alpha;
        }
    }
    pixels
}

/// Values of sRGB, of a pixel on a grey ground.
fn on_grey(Rgba([red, green, blue, alpha]): Rgba<f32>) -> [f32; 3] {
    [red, green, blue].map(|light| {
        let light = (light + 0.2 * (1.0 - alpha)).clamp(0.0, 1.0);
        let value = match light <= 0.003_130_8 {
            true => light * 12.92,
            false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
        };
        value * 255.0
    })
}
