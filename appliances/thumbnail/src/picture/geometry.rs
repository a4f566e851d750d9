//! How large a thumbnail is, and which part of the picture it shows.

use std::str::FromStr;

/// The longest edge that a size may have: beyond it a "thumbnail" is the picture again.
const EDGE_MAX: u32 = 4096;
/// Names are used in headers and in keys.
const NAME_BYTES_MAX: usize = 32;

/// How a picture is brought into a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The whole picture, within the box.
    Fit,
    /// The whole picture, covering the box.
    Fill,
    /// The box, filled with the middle of the picture.
    Crop,
}

/// A size that thumbnails are wanted in. As text: `NAME=WIDTHxHEIGHT` with `:fill` or `:crop` behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    name: String,
    width: u32,
    height: u32,
    mode: Mode,
}

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no size; write NAME=WIDTHxHEIGHT with edges of 1 to 4096 pixels, and :fill or :crop behind it if the picture shall not just fit"
)]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Size, SizeError> {
        parse(text).ok_or_else(|| SizeError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Size> {
    let (name, rest) = text.split_once('=')?;
    let (edges, mode) = match rest.split_once(':') {
        None | Some((_, "fit")) => (rest.trim_end_matches(":fit"), Mode::Fit),
        Some((edges, "fill")) => (edges, Mode::Fill),
        Some((edges, "crop")) => (edges, Mode::Crop),
        Some(_) => return None,
    };
    let (width, height) = edges.split_once('x')?;
    Size::new(name, edge(width)?, edge(height)?, mode)
}

fn edge(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl Size {
    /// A size; `None` if an edge is not in 1 to 4096 or the name has other than letters, digits, `-`.
    pub fn new(name: &str, width: u32, height: u32, mode: Mode) -> Option<Size> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let edges = 1..=EDGE_MAX;
        let good = !name.is_empty()
            && name.len() <= NAME_BYTES_MAX
            && name.bytes().all(plain)
            && edges.contains(&width)
            && edges.contains(&height);
        good.then(|| Size {
            name: name.to_owned(),
            width,
            height,
            mode,
        })
    }

    /// What it is called at the origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longer edge of the box.
    pub(super) fn longest(&self) -> u32 {
        self.width.max(self.height)
    }

    /// What to make of an upright picture of these edges. It is never enlarged.
    pub(super) fn plan(&self, width: u32, height: u32) -> Plan {
        let (across, down) = (
            f64::from(self.width) / f64::from(width),
            f64::from(self.height) / f64::from(height),
        );
        let scale = match self.mode {
            Mode::Fit => across.min(down),
            Mode::Fill | Mode::Crop => across.max(down),
        }
        .min(1.0);
        let whole = |edge: u32| {
            (f64::from(edge) * scale)
                .round()
                .clamp(1.0, f64::from(edge))
        };
        let (mut out_width, mut out_height) = (whole(width), whole(height));
        if self.mode == Mode::Crop {
            out_width = out_width.min(f64::from(self.width));
            out_height = out_height.min(f64::from(self.height));
        } else if self.mode == Mode::Fill {
            // A strip would be as long as it is: the longer edge is bounded like every other.
            out_width = out_width.min(f64::from(EDGE_MAX));
            out_height = out_height.min(f64::from(EDGE_MAX));
        }
        let shown = match self.mode {
            Mode::Crop => (
                (out_width / scale).min(f64::from(width)),
                (out_height / scale).min(f64::from(height)),
            ),
            Mode::Fit | Mode::Fill => (f64::from(width), f64::from(height)),
        };
        Plan {
            across: Span::middle(shown.0 / f64::from(width), out_width as u32),
            down: Span::middle(shown.1 / f64::from(height), out_height as u32),
        }
    }
}

/// What a thumbnail shows along each axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) across: Span,
    pub(super) down: Span,
}

/// A part of an axis, in shares of the picture's edge, and the pixels that are made of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) start: f64,
    pub(super) length: f64,
    pub(super) pixels: u32,
}

impl Span {
    fn middle(length: f64, pixels: u32) -> Span {
        Span {
            start: (1.0 - length) / 2.0,
            length,
            pixels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(size: &str, picture: (u32, u32), made: (u32, u32), shown: (f64, f64)) {
        let plan = size
            .parse::<Size>()
            .expect("a size")
            .plan(picture.0, picture.1);
        assert_eq!((plan.across.pixels, plan.down.pixels), made, "{size}");
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(
            near(plan.across.length, shown.0) && near(plan.down.length, shown.1),
            "{plan:?}"
        );
    }

    #[test]
    fn a_picture_is_brought_into_a_box() {
        check("a=512x512", (4000, 3000), (512, 384), (1.0, 1.0));
        check("a=512x512:fill", (4000, 3000), (683, 512), (1.0, 1.0));
        check("a=512x512:crop", (4000, 3000), (512, 512), (0.75, 1.0));
        check("a=10x10", (9000, 3), (10, 1), (1.0, 1.0));
    }

    #[test]
    fn nothing_is_enlarged() {
        check("a=512x512", (100, 50), (100, 50), (1.0, 1.0));
        check("a=512x512:fill", (100, 50), (100, 50), (1.0, 1.0));
        check("a=64x64:crop", (100, 50), (64, 50), (0.64, 1.0));
    }

    #[test]
    fn sizes_are_written_one_way() {
        for wrong in [
            "", "a", "a=1", "a=0x5", "a=5x4097", "=5x5", "a=+5x5", "a b=5x5", "a=5x5:no",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert_eq!("a=5x6:fit".parse(), "a=5x6".parse::<Size>());
    }
}
