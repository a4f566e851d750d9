//! How a picture must be turned to stand upright (CIPA DC-008, tag 0x0112), and the turning.

/// The eight values of EXIF's tag "Orientation": what was done to an upright picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation(u8);

/// TIFF's types of a field's value.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const TAG: u16 = 0x0112;
const ENTRY_BYTES: usize = 12;

impl Orientation {
    /// As TIFF numbers them, 1 to 8; anything else is upright.
    pub fn of_number(number: u32) -> Orientation {
        match number {
            2..=8 => Orientation(number as u8 - 1),
            _ => Orientation(0),
        }
    }

    /// Out of an EXIF block, with or without `Exif\0\0` in front. What is corrupt is upright.
    pub fn of_exif(block: &[u8]) -> Orientation {
        let tiff = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        number(tiff).map_or(Orientation(0), Orientation::of_number)
    }

    /// Whether width and height change places.
    pub(super) fn is_transposed(self) -> bool {
        self.0 >= 4
    }

    /// Turns an image of `width` times `height` pixels upright.
    pub(super) fn upright(self, pixels: Vec<[u8; 4]>, width: usize, height: usize) -> Vec<[u8; 4]> {
        if self.0 == 0 {
            return pixels;
        }
        let (out_width, out_height) = match self.is_transposed() {
            true => (height, width),
            false => (width, height),
        };
        let mut turned = Vec::with_capacity(pixels.len());
        for y in 0..out_height {
            for x in 0..out_width {
                let (right, bottom) = (out_width - 1 - x, out_height - 1 - y);
                // Where the pixel at (x, y) is stored: column, row.
                let (column, row) = match self.0 {
                    1 => (right, y),
                    2 => (right, bottom),
                    3 => (x, bottom),
                    4 => (y, x),
                    5 => (y, right),
                    6 => (bottom, right),
                    _ => (bottom, x),
                };
                turned.push(pixels[row * width + column]);
            }
        }
        turned
    }
}

/// The value of the tag in the first directory.
fn number(tiff: &[u8]) -> Option<u32> {
    let little = match tiff.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    let long = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    (0..entries).find_map(|index| {
        let at = directory.checked_add(2 + index * ENTRY_BYTES)?;
        match (short(at)?, short(at + 2)?) {
            (TAG, SHORT) => short(at + 8).map(u32::from),
            (TAG, LONG) => long(at + 8),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(little: bool, number: u16) -> Vec<u8> {
        let mut block = b"Exif\0\0".to_vec();
        let short = |value: u16| {
            if little {
                value.to_le_bytes()
            } else {
                value.to_be_bytes()
            }
        };
        let long = |value: u32| {
            if little {
                value.to_le_bytes()
            } else {
                value.to_be_bytes()
            }
        };
        block.extend(if little { b"II" } else { b"MM" });
        block.extend(short(42));
        block.extend(long(8));
        block.extend(short(1));
        block.extend(short(TAG));
        block.extend(short(SHORT));
        block.extend(long(1));
        block.extend(short(number));
        block.extend([0; 6]);
        block
    }

    #[test]
    fn both_byte_orders_are_read_and_nothing_else_is_believed() {
        for number in 0..12 {
            let wanted = Orientation::of_number(number.into());
            assert_eq!(Orientation::of_exif(&exif(true, number)), wanted);
            assert_eq!(Orientation::of_exif(&exif(false, number)), wanted);
        }
        let whole = exif(true, 6);
        for length in 0..24 {
            assert_eq!(Orientation::of_exif(&whole[..length]), Orientation(0));
        }
        let mut lying = whole;
        lying[10..14].copy_from_slice(&[0xff; 4]);
        assert_eq!(Orientation::of_exif(&lying), Orientation(0));
    }

    /// The letter F, as each camera would store it; from the figure in the TIFF specification.
    #[test]
    fn all_eight_stand_upright() {
        let stored: [&[&str]; 8] = [
            &["##", "#.", "#."],
            &["##", ".#", ".#"],
            &[".#", ".#", "##"],
            &["#.", "#.", "##"],
            &["###", "#.."],
            &["#..", "###"],
            &["..#", "###"],
            &["###", "..#"],
        ];
        for (index, rows) in stored.iter().enumerate() {
            let pixels = rows
                .iter()
                .flat_map(|row| row.bytes().map(|byte| [byte; 4]));
            let orientation = Orientation::of_number(index as u32 + 1);
            let upright = orientation.upright(pixels.collect(), rows[0].len(), rows.len());
            let text: Vec<u8> = upright.iter().map(|pixel| pixel[0]).collect();
            assert_eq!(text, b"###.#.", "orientation {}", index + 1);
        }
    }
}
