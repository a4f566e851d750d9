//! What components are, and pixels of them.
//!
//! *Specification.* T.871, 7 (luma and differences of colour); T.872, 6.5.3 (Adobe's segment).

use super::super::colour::Samples;
use super::head::Head;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Colours {
    Grey,
    Rgb,
    /// Luma and two differences of colour.
    YCbCr,
    /// Ink, 0 is all of it, as Adobe's programs write it.
    Cmyk,
    /// The same, with the first three transformed like red, green and blue.
    Ycck,
}

impl Colours {
    fn of(head: &Head<'_>) -> Colours {
        let components = head.frame.components.iter();
        let ids: Vec<u8> = components.map(|component| component.id).collect();
        match (ids.len(), head.adobe) {
            (1, _) => Colours::Grey,
            (3, _) if head.is_jfif => Colours::YCbCr,
            (3, Some(0)) => Colours::Rgb,
            (3, None) if ids == b"RGB" => Colours::Rgb,
            (3, _) => Colours::YCbCr,
            (_, Some(2)) => Colours::Ycck,
            _ => Colours::Cmyk,
        }
    }
}

/// A row of pixels.
pub(super) enum Row<'r> {
    /// As [`Pixels::samples`] says.
    Interleaved(&'r [u8]),
    /// Red, green and blue.
    Planes([&'r [u8]; 3]),
}

/// Makes pixels of components.
pub(super) struct Pixels {
    colours: Colours,
    /// A row of red, of green and of blue.
    rgb: [Vec<u8>; 3],
    ink: Vec<u8>,
}

impl Pixels {
    pub(super) fn new(head: &Head<'_>, width: usize) -> Pixels {
        Pixels {
            colours: Colours::of(head),
            rgb: std::array::from_fn(|_| vec![0; width]),
            ink: Vec::new(),
        }
    }

    pub(super) fn samples(&self) -> Samples {
        match self.colours {
            Colours::Grey => Samples::Grey,
            Colours::Rgb | Colours::YCbCr => Samples::Rgb,
            Colours::Cmyk | Colours::Ycck => Samples::Cmyk,
        }
    }

    /// Of a row of each component.
    pub(super) fn of<'r>(&'r mut self, row: &[&'r [u8]]) -> Row<'r> {
        match (self.colours, row) {
            (Colours::Rgb, &[red, green, blue]) => Row::Planes([red, green, blue]),
            (Colours::YCbCr, &[luma, blueness, redness]) => {
                rgb(luma, blueness, redness, &mut self.rgb);
                Row::Planes(self.rgb.each_ref().map(Vec::as_slice))
            }
            (Colours::Ycck, &[luma, blueness, redness, black]) => {
                rgb(luma, blueness, redness, &mut self.rgb);
                // Ink is what is left of light, and is stored as what is left of ink.
                let [cyan, magenta, yellow] = self.rgb.each_ref().map(Vec::as_slice);
                interleave(
                    [cyan, magenta, yellow, black],
                    [0, 0, 0, 255],
                    &mut self.ink,
                );
                Row::Interleaved(&self.ink)
            }
            (Colours::Cmyk, &[cyan, magenta, yellow, black]) => {
                interleave([cyan, magenta, yellow, black], [255; 4], &mut self.ink);
                Row::Interleaved(&self.ink)
            }
            _ => Row::Interleaved(row.first().copied().unwrap_or_default()),
        }
    }
}

/// Four inks, those with a mask of 255 turned round.
fn interleave(inks: [&[u8]; 4], masks: [u8; 4], made: &mut Vec<u8>) {
    made.clear();
    let [cyan, magenta, yellow, black] = inks;
    for (((cyan, magenta), yellow), black) in cyan.iter().zip(magenta).zip(yellow).zip(black) {
        let pixel = [cyan, magenta, yellow, black];
        made.extend(pixel.iter().zip(masks).map(|(&&ink, mask)| ink ^ mask));
    }
}

/// In parts of 2 to the 14th, which the compiler multiplies eight at a time.
fn rgb(luma: &[u8], blueness: &[u8], redness: &[u8], rgb: &mut [Vec<u8>; 3]) {
    const HALF: i32 = 1 << 13;
    let width = luma.len();
    let [red, green, blue] = rgb;
    let (blueness, redness) = (&blueness[..width], &redness[..width]);
    let (red, green, blue) = (&mut red[..width], &mut green[..width], &mut blue[..width]);
    for at in 0..width {
        let luma = i32::from(luma[at]);
        let (b, r) = (i32::from(blueness[at]) - 128, i32::from(redness[at]) - 128);
        let value = |difference: i32| (luma + ((difference + HALF) >> 14)).clamp(0, 255) as u8;
        red[at] = value(22_970 * r);
        green[at] = value(-5_638 * b - 11_700 * r);
        blue[at] = value(29_032 * b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the formulas of T.871, 7.
    #[test]
    fn colours_are_those_of_the_formulas() {
        for luma in (0..=255).step_by(5) {
            for blueness in (0..=255).step_by(15) {
                for redness in (0..=255).step_by(15) {
                    let mut made = std::array::from_fn(|_| vec![0]);
                    rgb(&[luma], &[blueness], &[redness], &mut made);
                    let (y, b, r) = (
                        f64::from(luma),
                        f64::from(blueness) - 128.0,
                        f64::from(redness) - 128.0,
                    );
                    let exact = [
                        y + 1.402 * r,
                        y - 0.344_136 * b - 0.714_136 * r,
                        y + 1.772 * b,
                    ];
                    for (made, exact) in made.iter().zip(exact) {
                        let difference = f64::from(made[0]) - exact.clamp(0.0, 255.0);
                        assert!(difference.abs() < 0.52, "{luma} {blueness} {redness}");
                    }
                }
            }
        }
    }
}
