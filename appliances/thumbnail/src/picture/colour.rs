//! Colours: from a row as a decoder gives it to linear light of sRGB, and back to eight bits.

use std::sync::OnceLock;

use moxcms::{ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions};

/// Profiles larger than this are ignored: those of cameras have kilobytes, those of presses up to 2 MB.
const PROFILE_BYTES_MAX: usize = 4 << 20;

/// What the bytes of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Samples {
    Grey,
    GreyAlpha,
    Rgb,
    Rgba,
    /// Ink, 255 is all of it.
    Cmyk,
}

impl Samples {
    pub(super) fn bytes(self) -> usize {
        match self {
            Samples::Grey => 1,
            Samples::GreyAlpha => 2,
            Samples::Rgb => 3,
            Samples::Rgba | Samples::Cmyk => 4,
        }
    }

    fn layout(self) -> Layout {
        match self {
            Samples::Grey => Layout::Gray,
            Samples::GreyAlpha => Layout::GrayAlpha,
            Samples::Rgb => Layout::Rgb,
            Samples::Rgba | Samples::Cmyk => Layout::Rgba,
        }
    }

    fn space(self) -> DataColorSpace {
        match self {
            Samples::Grey | Samples::GreyAlpha => DataColorSpace::Gray,
            Samples::Rgb | Samples::Rgba => DataColorSpace::Rgb,
            Samples::Cmyk => DataColorSpace::Cmyk,
        }
    }
}

/// Linear light, or alpha; in light that is premultiplied. [`ONE`] is all of it, and sums of a filter may be
/// beyond it for some time. The darkest value of sRGB has five steps.
pub(super) type Light = i16;

/// White, or opaque.
pub(super) const ONE: i32 = 1 << ONE_BITS;
pub(super) const ONE_BITS: u32 = 14;

/// Behind each row is room for a filter that reads so many values at a time.
pub(super) const PADDING: usize = 8;

/// A row in linear light: all of its first channel, then all of the next.
pub(super) struct Linear {
    /// Grey, or red, green and blue; and alpha behind it.
    pub(super) channels: usize,
    width: usize,
    values: Vec<Light>,
}

impl Linear {
    pub(super) fn new(channels: usize, width: usize) -> Linear {
        Linear {
            channels,
            width,
            values: vec![0; channels * (width + PADDING)],
        }
    }

    /// The memory of four channels.
    pub(super) fn memory(width: usize) -> usize {
        (width + PADDING) * size_of::<Light>() * 4
    }

    /// How many pixels it has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// One channel, with zeros behind it.
    pub(super) fn channel(&self, number: usize) -> &[Light] {
        let stride = self.width + PADDING;
        &self.values[number * stride..(number + 1) * stride]
    }

    fn channels<const N: usize>(&mut self) -> [&mut [Light]; N] {
        let mut channels = self.values.chunks_exact_mut(self.width + PADDING);
        std::array::from_fn(|_| match channels.next() {
            Some(channel) => &mut channel[..self.width],
            None => &mut [],
        })
    }
}

/// Turns rows of one picture into linear light.
pub(super) struct Conversion {
    samples: Samples,
    /// Of the picture's own profile to sRGB; `None` if it is sRGB, or not to be used.
    transform: Option<(Box<Transform8BitExecutor>, Samples)>,
    interleaved: Vec<u8>,
    converted: Vec<u8>,
    light: &'static [Light; 256],
    linear: Linear,
}

impl Conversion {
    /// For rows of so many pixels. A profile that cannot be used is ignored, as viewers do.
    pub(super) fn new(samples: Samples, profile: Option<&[u8]>, width: usize) -> Conversion {
        let transform = profile.and_then(|profile| transform(samples, profile));
        let made = transform.as_ref().map_or(samples, |(_, to)| *to);
        let channels = match made {
            Samples::Grey => 1,
            Samples::GreyAlpha => 2,
            Samples::Rgb | Samples::Cmyk => 3,
            Samples::Rgba => 4,
        };
        Conversion {
            samples,
            transform,
            interleaved: Vec::new(),
            converted: Vec::new(),
            light: light(),
            linear: Linear::new(channels, width),
        }
    }

    /// How many channels rows have when they are converted.
    pub(super) fn channels(&self) -> usize {
        self.linear.channels
    }

    /// The pixels of a row.
    pub(super) fn row(&mut self, row: &[u8]) -> &Linear {
        if let Some((transform, to)) = &self.transform {
            let pixels = row.len() / self.samples.bytes();
            self.converted.resize(pixels * to.bytes(), 0);
            if transform.transform(row, &mut self.converted).is_ok() {
                linearise(*to, &self.converted, self.light, &mut self.linear);
                return &self.linear;
            }
        }
        linearise(self.samples, row, self.light, &mut self.linear);
        &self.linear
    }

    /// The same of a row of [`Samples::Rgb`] whose channels are apart.
    pub(super) fn planes(&mut self, planes: [&[u8]; 3]) -> &Linear {
        if self.transform.is_some() {
            let mut row = std::mem::take(&mut self.interleaved);
            row.resize(self.linear.width * 3, 0);
            let [red, green, blue] = planes;
            let pixels = red.iter().zip(green).zip(blue);
            for (pixel, ((&red, &green), &blue)) in row.as_chunks_mut().0.iter_mut().zip(pixels) {
                *pixel = [red, green, blue];
            }
            self.row(&row);
            self.interleaved = row;
            return &self.linear;
        }
        for (channel, plane) in self.linear.channels::<3>().into_iter().zip(planes) {
            for (light, &value) in channel.iter_mut().zip(plane) {
                *light = self.light[usize::from(value)];
            }
        }
        &self.linear
    }
}

fn transform(samples: Samples, profile: &[u8]) -> Option<(Box<Transform8BitExecutor>, Samples)> {
    if profile.len() > PROFILE_BYTES_MAX {
        return None;
    }
    let profile = ColorProfile::new_from_slice(profile).ok()?;
    let srgb = ColorProfile::new_srgb();
    if profile.color_space != samples.space() || is_srgb(&profile, &srgb) {
        return None;
    }
    let to = match samples {
        Samples::GreyAlpha | Samples::Rgba => Samples::Rgba,
        Samples::Grey | Samples::Rgb | Samples::Cmyk => Samples::Rgb,
    };
    let options = TransformOptions::default();
    let transform = profile
        .create_transform_8bit(samples.layout(), &srgb, to.layout(), options)
        .ok()?;
    Some((transform, to))
}

/// Most profiles in photographs say sRGB in different words: the same primaries, and a curve that differs
/// by less than a step of eight bits.
fn is_srgb(profile: &ColorProfile, srgb: &ColorProfile) -> bool {
    let Ok(transform) =
        profile.create_transform_8bit(Layout::Rgb, srgb, Layout::Rgb, TransformOptions::default())
    else {
        return false;
    };
    let probes: Vec<u8> = PROBES
        .iter()
        .flat_map(|&red| {
            PROBES
                .iter()
                .flat_map(move |&green| PROBES.iter().flat_map(move |&blue| [red, green, blue]))
        })
        .collect();
    let mut shown = vec![0; probes.len()];
    transform.transform(&probes, &mut shown).is_ok()
        && probes.iter().zip(&shown).all(|(a, b)| a.abs_diff(*b) <= 1)
}

/// The values that decide whether a profile is sRGB.
const PROBES: [u8; 6] = [0, 25, 80, 128, 200, 255];

fn linearise(samples: Samples, row: &[u8], light: &[Light; 256], linear: &mut Linear) {
    let of = |value: u8| light[usize::from(value)];
    match samples {
        Samples::Grey => {
            let [grey] = linear.channels();
            for (grey, &value) in grey.iter_mut().zip(row) {
                *grey = of(value);
            }
        }
        Samples::GreyAlpha => {
            let [greys, alphas] = linear.channels();
            let made = greys.iter_mut().zip(alphas);
            for ((grey, alpha), &[value, opacity]) in made.zip(row.as_chunks().0) {
                (*grey, *alpha) = (premultiplied(of(value), opacity), opaque(opacity));
            }
        }
        Samples::Rgb => colours(row.as_chunks().0, linear, |&rgb: &[u8; 3]| rgb.map(of)),
        Samples::Rgba => {
            let pixels: &[[u8; 4]] = row.as_chunks().0;
            colours(pixels, linear, |&[red, green, blue, alpha]| {
                [red, green, blue].map(|value| premultiplied(of(value), alpha))
            });
            let [_, _, _, alphas] = linear.channels();
            for (alpha, pixel) in alphas.iter_mut().zip(pixels) {
                *alpha = opaque(pixel[3]);
            }
        }
        // Without a profile: each ink takes its share of the light that black leaves.
        Samples::Cmyk => colours(
            row.as_chunks().0,
            linear,
            |&[cyan, magenta, yellow, black]| {
                [cyan, magenta, yellow].map(|ink: u8| {
                    let product = u16::from(255 - ink) * u16::from(255 - black);
                    of(((product + 127) / 255) as u8)
                })
            },
        ),
    }
}

/// The first three channels, of pixels.
fn colours<const N: usize>(
    pixels: &[[u8; N]],
    linear: &mut Linear,
    of: impl Fn(&[u8; N]) -> [Light; 3],
) {
    let [reds, greens, blues] = linear.channels();
    let made = reds.iter_mut().zip(greens).zip(blues);
    for (((red, green), blue), pixel) in made.zip(pixels) {
        [*red, *green, *blue] = of(pixel);
    }
}

fn opaque(alpha: u8) -> Light {
    ((i32::from(alpha) * ONE + 127) / 255) as Light
}

fn premultiplied(light: Light, alpha: u8) -> Light {
    ((i32::from(light) * i32::from(alpha) + 127) / 255) as Light
}

/// Linear light of each value of sRGB.
fn light() -> &'static [Light; 256] {
    static LIGHT: OnceLock<[Light; 256]> = OnceLock::new();
    LIGHT.get_or_init(|| {
        std::array::from_fn(|value| {
            let value = value as f64 / 255.0;
            let light = match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            };
            (light * f64::from(ONE)).round() as Light
        })
    })
}

/// The value of sRGB for each amount of light.
fn values() -> &'static [u8] {
    static VALUES: OnceLock<Vec<u8>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let value = |light: i32| {
            let light = f64::from(light) / f64::from(ONE);
            let value = match light <= 0.003_130_8 {
                true => light * 12.92,
                false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
            };
            (value * 255.0).round() as u8
        };
        (0..=ONE).map(value).collect()
    })
}

/// Appends pixels as they are stored, their alpha no longer multiplied in, to `made`: of rows of light, one
/// for each channel. What a filter overshot is cut.
pub(super) fn store(channels: &[&[i32]], made: &mut Vec<[u8; 4]>) {
    let values = values();
    let value = |light: i32| values[light.clamp(0, ONE) as usize];
    match *channels {
        [grey] => made.extend(grey.iter().map(|&grey| {
            let grey = value(grey);
            [grey, grey, grey, 255]
        })),
        [red, green, blue] => {
            let pixels = red.iter().zip(green).zip(blue);
            made.extend(
                pixels.map(|((&red, &green), &blue)| [value(red), value(green), value(blue), 255]),
            );
        }
        [grey, alpha] => made.extend(
            grey.iter()
                .zip(alpha)
                .map(|(&grey, &alpha)| translucent([grey; 3], alpha, value)),
        ),
        [red, green, blue, alpha] => {
            let pixels = red.iter().zip(green).zip(blue).zip(alpha);
            made.extend(pixels.map(|(((&red, &green), &blue), &alpha)| {
                translucent([red, green, blue], alpha, value)
            }));
        }
        _ => {}
    }
}

fn translucent(light: [i32; 3], alpha: i32, value: impl Fn(i32) -> u8) -> [u8; 4] {
    let alpha = alpha.clamp(0, ONE);
    let stored = (alpha * 255 + ONE / 2) >> ONE_BITS;
    if stored == 0 {
        return [0; 4];
    }
    let [red, green, blue] =
        light.map(|light| value((light.clamp(0, alpha) * ONE + alpha / 2) / alpha));
    [red, green, blue, stored as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a row, as they are stored again.
    fn stored(linear: &Linear) -> Vec<[u8; 4]> {
        let wide = |number| -> Vec<i32> {
            let channel = &linear.channel(number)[..linear.width()];
            channel.iter().map(|&light| light.into()).collect()
        };
        let channels: Vec<_> = (0..linear.channels).map(wide).collect();
        let channels: Vec<_> = channels.iter().map(Vec::as_slice).collect();
        let mut made = Vec::new();
        store(&channels, &mut made);
        made
    }

    #[test]
    fn every_value_comes_back() {
        for value in 0..=255 {
            for (alpha, tolerance) in [(255, 0), (100, 1), (1, 40)] {
                let pixel = [value, 255 - value, 7, alpha];
                let mut conversion = Conversion::new(Samples::Rgba, None, 1);
                let made = stored(conversion.row(&pixel))[0];
                assert_eq!(made[3], alpha);
                let mut both = pixel.iter().zip(&made);
                // Of what is nearly transparent, little light is left to tell.
                assert!(
                    both.all(|(a, b)| a.abs_diff(*b) <= tolerance),
                    "{pixel:?} {made:?}"
                );
            }
            let mut conversion = Conversion::new(Samples::Rgb, None, 1);
            let made = stored(conversion.planes([&[value], &[255 - value], &[7]]));
            assert_eq!(made, [[value, 255 - value, 7, 255]]);
            let mut conversion = Conversion::new(Samples::GreyAlpha, None, 1);
            assert_eq!(
                stored(conversion.row(&[value, 255])),
                [[value, value, value, 255]]
            );
        }
    }

    #[test]
    fn ink_takes_light() {
        let row = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255];
        let mut conversion = Conversion::new(Samples::Cmyk, None, 3);
        assert_eq!(
            stored(conversion.row(&row)),
            [[255, 255, 255, 255], [0, 255, 255, 255], [0, 0, 0, 255]]
        );
    }

    #[test]
    fn a_profile_is_obeyed_if_it_is_another_and_fits() {
        let encoded = |profile: ColorProfile| profile.encode().expect("a profile");
        let srgb = encoded(ColorProfile::new_srgb());
        assert!(
            Conversion::new(Samples::Rgb, Some(&srgb), 2)
                .transform
                .is_none()
        );
        let p3 = encoded(ColorProfile::new_display_p3());
        assert!(
            Conversion::new(Samples::Grey, Some(&p3), 2)
                .transform
                .is_none()
        );
        assert!(
            Conversion::new(Samples::Rgb, Some(&p3[..100]), 2)
                .transform
                .is_none()
        );
        let mut conversion = Conversion::new(Samples::Rgb, Some(&p3), 2);
        let both = stored(conversion.planes([&[200, 255], &[100, 255], &[50, 255]]));
        let shown = both[0];
        // P3's red is beyond that of sRGB.
        assert!(shown[0] > 205 && shown[1] < 100, "{shown:?}");
        assert_eq!(both[1], [255; 4]);
    }
}
