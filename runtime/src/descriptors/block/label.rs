//! A file's length, kept at the end of the disk that the file fills.
//!
//! Two copies, 4 KiB each, written in turn, so that a write that power loss cuts short leaves the other one:
//!
//! ```text
//! 0              8          16       24           32         40             44
//! | "edgefile"   | sequence | length | high water | capacity | CRC-32 of it | zeros
//! ```
//! Little-endian. The one with the greater sequence counts. The capacity tells a label of this disk from one
//! that a disk had before it was enlarged, or copied to a larger one: that is no label, but data.

const MAGIC: &[u8; 8] = b"edgefile";
/// Bytes of each copy: no disk's unit is larger, so none of the two is written with the other.
pub const COPY: usize = 4096;
const CHECKED: usize = 40;

/// A file's length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// Counts the changes.
    pub sequence: u64,
    /// Bytes of the file.
    pub length: u64,
    /// Beyond this the disk has never been used for the file and is all zeros.
    pub high_water: u64,
}

/// Where the two copies are on a disk of this capacity. Before the first one is the file.
pub fn places(capacity: u64) -> Option<[u64; 2]> {
    let copy = COPY as u64;
    let end = capacity - capacity % copy;
    let first = end.checked_sub(2 * copy)?;
    Some([first, first + copy])
}

impl Label {
    /// Which of the two copies this one is written to.
    pub fn place(&self, places: [u64; 2]) -> u64 {
        places[(self.sequence % 2) as usize]
    }

    /// The bytes on a disk of this capacity.
    pub fn emit(&self, capacity: u64) -> [u8; COPY] {
        let mut bytes = [0; COPY];
        let numbers = [self.sequence, self.length, self.high_water, capacity];
        bytes[..8].copy_from_slice(MAGIC);
        for (place, number) in bytes[8..CHECKED].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32(&bytes[..CHECKED]);
        bytes[CHECKED..CHECKED + 4].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What a copy says on a disk of this capacity, if it is one.
    pub fn parse(bytes: &[u8; COPY], capacity: u64) -> Option<Self> {
        let number = |index: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[8 * index..8 * index + 8]);
            u64::from_le_bytes(number)
        };
        let sum = [bytes[40], bytes[41], bytes[42], bytes[43]];
        let label = Self {
            sequence: number(1),
            length: number(2),
            high_water: number(3),
        };
        let genuine = bytes.starts_with(MAGIC)
            && u32::from_le_bytes(sum) == crc32(&bytes[..CHECKED])
            && number(4) == capacity
            && label.length <= label.high_water
            && label.high_water <= places(capacity)?[0];
        genuine.then_some(label)
    }
}

/// The checksum of zlib and Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 64 << 20;
    const LABEL: Label = Label {
        sequence: 7,
        length: 1000,
        high_water: 5000,
    };

    #[test]
    fn the_checksum_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = LABEL.emit(CAPACITY);
        assert_eq!(Label::parse(&bytes, CAPACITY), Some(LABEL));
        assert_eq!(Label::parse(&bytes, CAPACITY * 2), None, "of another disk");
        assert_eq!(Label::parse(&[0; COPY], CAPACITY), None);
    }

    #[test]
    fn every_wrong_bit_is_noticed() {
        for bit in 0..8 * (CHECKED + 4) {
            let mut bytes = LABEL.emit(CAPACITY);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Label::parse(&bytes, CAPACITY), None, "bit {bit}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_no_label() {
        for (length, high_water) in [(2, 1), (1, CAPACITY)] {
            let bytes = Label {
                sequence: 1,
                length,
                high_water,
            }
            .emit(CAPACITY);
            assert_eq!(Label::parse(&bytes, CAPACITY), None);
        }
    }

    #[test]
    fn copies_take_turns_at_the_end() {
        let places = places(CAPACITY + 512).unwrap();
        assert_eq!(places, [CAPACITY - 8192, CAPACITY - 4096]);
        assert_eq!(LABEL.place(places), CAPACITY - 4096);
        assert_eq!(super::places(8191), None);
        assert_eq!(super::places(8192), Some([0, 4096]));
    }
}
