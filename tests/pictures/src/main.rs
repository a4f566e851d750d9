//! Thumbnails on demand, for `cargo xtask bench thumbnail`.
//!
//! `pictures serve PHOTO THUMBNAIL` makes a thumbnail of a photograph for each line on standard input, and
//! answers with the nanoseconds that it took, from the file in memory to the thumbnail in memory. The last
//! one is in the file THUMBNAIL. `pictures score PHOTO THUMBNAIL` prints the SSIMULACRA2 of a thumbnail
//! against a reference that shares no code with ours: decoded whole by `image` and scaled by its Lanczos3,
//! in linear light and in 32-bit floating point. `pictures judge FOLDER` is for `cargo xtask conformance`.

mod judge;
mod service;

use std::io::{BufRead as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, ImageReader, Rgb};
use ssimulacra2::{ColorPrimaries, TransferCharacteristic, compute_frame_ssimulacra2};
use thumbnail::picture::{Alpha, Limits, Picture, Size};

/// What is made: what sites show in an album.
const SIZE: &str = "bench=512x512";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", photo, thumbnail] => serve(photo, thumbnail),
        ["score", photo, thumbnail] => score(photo, thumbnail),
        ["judge", folder] => judge::run(folder),
        ["latency", thumbnailer, photo] => service::run(thumbnailer, photo),
        _ => bail!(
            "say `serve PHOTO THUMBNAIL`, `score PHOTO THUMBNAIL`, `latency THUMBNAILER PHOTO` or `judge FOLDER`"
        ),
    }
}

fn serve(photo: &str, thumbnail: &str) -> Result<()> {
    let bytes = std::fs::read(photo).with_context(|| format!("cannot read {photo}"))?;
    let sizes: [Size; 1] = [SIZE.parse()?];
    for line in std::io::stdin().lock().lines() {
        line?;
        let begun = Instant::now();
        let picture = Picture::open(&bytes, &sizes, &Limits::default())?;
        let made = picture.thumbnails(&sizes, Alpha::Png, &|| Ok(()))?;
        let time = begun.elapsed();
        std::fs::write(thumbnail, &made[0].bytes)?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} {}", time.as_nanos(), picture.memory())?;
        out.flush()?;
    }
    Ok(())
}

/// Pixels in floating point, as `image` and as the judge have them.
type Pixels = ImageBuffer<Rgb<f32>, Vec<f32>>;

fn score(photo: &str, thumbnail: &str) -> Result<()> {
    let (photo, thumbnail) = (linear(photo)?, linear(thumbnail)?);
    let (width, height) = thumbnail.dimensions();
    let reference = resize(&photo, width, height, FilterType::Lanczos3);
    let score = compute_frame_ssimulacra2(frame(&reference)?, frame(&thumbnail)?)
        .map_err(|error| anyhow!("{error}"))?;
    println!("{score}");
    Ok(())
}

fn linear(path: &str) -> Result<Pixels> {
    let file = ImageReader::open(path).with_context(|| format!("cannot read {path}"))?;
    let mut pixels = file.with_guessed_format()?.decode()?.into_rgb32f();
    for value in pixels.iter_mut() {
        *value = light(*value);
    }
    Ok(pixels)
}

/// Linear light of a value of sRGB (IEC 61966-2-1).
fn light(value: f32) -> f32 {
    match value <= 0.04045 {
        true => value / 12.92,
        false => ((value + 0.055) / 1.055).powf(2.4),
    }
}

fn frame(pixels: &Pixels) -> Result<ssimulacra2::Rgb> {
    let data = pixels
        .pixels()
        .map(|pixel| pixel.0.map(|value| value.clamp(0.0, 1.0)));
    let (width, height) = pixels.dimensions();
    ssimulacra2::Rgb::new(
        data.collect(),
        width as usize,
        height as usize,
        TransferCharacteristic::Linear,
        ColorPrimaries::BT709,
    )
    .map_err(|error| anyhow!("{error}"))
}
