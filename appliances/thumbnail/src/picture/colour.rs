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

/// A pixel in linear light with premultiplied alpha: red, green, blue, alpha.
pub(super) type Linear = [f32; 4];

/// Turns rows of one picture into linear light.
pub(super) struct Conversion {
    samples: Samples,
    /// Of the picture's own profile to sRGB; `None` if it is sRGB, or not to be used.
    transform: Option<(Box<Transform8BitExecutor>, Samples)>,
    converted: Vec<u8>,
}

impl Conversion {
    /// A profile that cannot be used is ignored, as viewers do.
    pub(super) fn new(samples: Samples, profile: Option<&[u8]>) -> Conversion {
        Conversion {
            samples,
            transform: profile.and_then(|profile| transform(samples, profile)),
            converted: Vec::new(),
        }
    }

    /// Replaces `linear` by the pixels of a row.
    pub(super) fn row(&mut self, row: &[u8], linear: &mut Vec<Linear>) {
        linear.clear();
        if let Some((transform, to)) = &self.transform {
            let pixels = row.len() / self.samples.bytes();
            self.converted.resize(pixels * to.bytes(), 0);
            if transform.transform(row, &mut self.converted).is_ok() {
                return linearise(*to, &self.converted, linear);
            }
        }
        linearise(self.samples, row, linear);
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

fn linearise(samples: Samples, row: &[u8], linear: &mut Vec<Linear>) {
    let light = light();
    let of = |value: u8| light[usize::from(value)];
    match samples {
        Samples::Grey => linear.extend(row.iter().map(|&grey| {
            let grey = of(grey);
            [grey, grey, grey, 1.0]
        })),
        Samples::GreyAlpha => linear.extend(row.as_chunks::<2>().0.iter().map(|&[grey, alpha]| {
            let alpha = f32::from(alpha) / 255.0;
            let grey = of(grey) * alpha;
            [grey, grey, grey, alpha]
        })),
        Samples::Rgb => linear.extend(
            row.as_chunks::<3>()
                .0
                .iter()
                .map(|&[red, green, blue]| [of(red), of(green), of(blue), 1.0]),
        ),
        Samples::Rgba => {
            linear.extend(
                row.as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&[red, green, blue, alpha]| {
                        let alpha = f32::from(alpha) / 255.0;
                        [of(red) * alpha, of(green) * alpha, of(blue) * alpha, alpha]
                    }),
            );
        }
        // Without a profile: each ink takes its share of the light that black leaves.
        Samples::Cmyk => linear.extend(row.as_chunks::<4>().0.iter().map(
            |&[cyan, magenta, yellow, black]| {
                let left = |ink: u8| {
                    let product = u16::from(255 - ink) * u16::from(255 - black);
                    of(((product + 127) / 255) as u8)
                };
                [left(cyan), left(magenta), left(yellow), 1.0]
            },
        )),
    }
}

/// Linear light of each value of sRGB.
fn light() -> &'static [f32; 256] {
    static LIGHT: OnceLock<[f32; 256]> = OnceLock::new();
    LIGHT.get_or_init(|| {
        std::array::from_fn(|value| {
            let value = value as f64 / 255.0;
            let light = match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            };
            light as f32
        })
    })
}

/// So many steps that the steepest part of the curve, 12.92, moves by a twentieth of a value per step.
const STEPS: usize = 1 << 16;

/// The value of sRGB for each step of linear light.
fn values() -> &'static [u8] {
    static VALUES: OnceLock<Vec<u8>> = OnceLock::new();
    VALUES.get_or_init(|| {
        let value = |step: usize| {
            let light = step as f64 / (STEPS - 1) as f64;
            let value = match light <= 0.003_130_8 {
                true => light * 12.92,
                false => 1.055 * light.powf(1.0 / 2.4) - 0.055,
            };
            (value * 255.0).round() as u8
        };
        (0..STEPS).map(value).collect()
    })
}

/// A pixel as it is stored, its alpha no longer multiplied in.
pub(super) fn stored([red, green, blue, alpha]: Linear) -> [u8; 4] {
    let values = values();
    let alpha = alpha.clamp(0.0, 1.0);
    if alpha < 0.5 / 255.0 {
        return [0; 4];
    }
    // A cast saturates: what the filter overshoots is cut.
    let value = |light: f32| {
        let step = (light / alpha * (STEPS - 1) as f32 + 0.5) as usize;
        values[step.min(STEPS - 1)]
    };
    [
        value(red),
        value(green),
        value(blue),
        (alpha * 255.0 + 0.5) as u8,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back() {
        for value in 0..=255 {
            for alpha in [1, 100, 255] {
                let mut linear = Vec::new();
                Conversion::new(Samples::Rgba, None)
                    .row(&[value, 255 - value, 7, alpha], &mut linear);
                assert_eq!(stored(linear[0]), [value, 255 - value, 7, alpha]);
            }
        }
    }

    #[test]
    fn ink_takes_light() {
        let mut linear = Vec::new();
        let row = [0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255];
        Conversion::new(Samples::Cmyk, None).row(&row, &mut linear);
        let shown: Vec<_> = linear.into_iter().map(stored).collect();
        assert_eq!(
            shown,
            [[255, 255, 255, 255], [0, 255, 255, 255], [0, 0, 0, 255]]
        );
    }

    #[test]
    fn a_profile_is_obeyed_if_it_is_another_and_fits() {
        let encoded = |profile: ColorProfile| profile.encode().expect("a profile");
        let srgb = encoded(ColorProfile::new_srgb());
        assert!(
            Conversion::new(Samples::Rgb, Some(&srgb))
                .transform
                .is_none()
        );
        let p3 = encoded(ColorProfile::new_display_p3());
        assert!(
            Conversion::new(Samples::Grey, Some(&p3))
                .transform
                .is_none()
        );
        assert!(
            Conversion::new(Samples::Rgb, Some(&p3[..100]))
                .transform
                .is_none()
        );
        let mut conversion = Conversion::new(Samples::Rgb, Some(&p3));
        let mut linear = Vec::new();
        conversion.row(&[200, 100, 50, 255, 255, 255], &mut linear);
        let shown = stored(linear[0]);
        // P3's red is beyond that of sRGB.
        assert!(shown[0] > 205 && shown[1] < 100, "{shown:?}");
        assert_eq!(stored(linear[1]), [255; 4]);
    }
}
