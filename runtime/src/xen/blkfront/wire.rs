//! Requests, responses and parameters of a virtual block device (`io/blkif.h`, the layout of x86-64), as the
//! words of ring entries and the text of xenstore nodes.
//!
//! ```text
//! request   | operation 8 · segments 8 · handle 16 | padding | id 64 | sector 64 | 11 segments of 64 |
//! segment   | gref | first sector 8 · last sector 8 · padding 16 |
//! response  | id 64 | operation 8 · padding 8 · status 16 |
//! ```
//! Sectors are of 512 bytes in all of them and in the node `sectors`, whatever the disk's own sector size is,
//! of which they are multiples then.

/// Words of a ring entry.
pub const WORDS: usize = 28;
/// Bytes of a sector, as requests count them.
pub const SECTOR: usize = 512;
/// Segments of a request (BLKIF_MAX_SEGMENTS_PER_REQUEST), each within a page.
pub const SEGMENTS_MAX: usize = 11;

/// What is asked for (BLKIF_OP_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Operation {
    /// Sectors into pages.
    Read = 0,
    /// Pages into sectors.
    Write = 1,
    /// Everything written before is durable before anything after it is; without segments a flush.
    Barrier = 2,
    /// Everything written before becomes durable.
    Flush = 3,
}

/// A part of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The grant of the page.
    pub grant: u32,
    /// The first sector in it.
    pub first: u8,
    /// The last sector in it.
    pub last: u8,
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<'s> {
    /// What is asked for.
    pub operation: Operation,
    /// Given back with the response.
    pub id: u64,
    /// Where on the disk.
    pub sector: u64,
    /// Where in memory, at most [`SEGMENTS_MAX`].
    pub segments: &'s [Segment],
}

impl Request<'_> {
    /// The ring entry. The handle stays 0: a backend serves one device per ring, and none looks at it.
    pub fn emit(&self) -> [u32; WORDS] {
        let mut words = [0; WORDS];
        words[0] = u32::from(self.operation as u8) | (self.segments.len() as u32) << 8;
        [words[2], words[3]] = halves(self.id);
        [words[4], words[5]] = halves(self.sector);
        for (place, segment) in words[6..].chunks_exact_mut(2).zip(self.segments) {
            place[0] = segment.grant;
            place[1] = u32::from(segment.first) | u32::from(segment.last) << 8;
        }
        words
    }
}

fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// How a request ended (BLKIF_RSP_*).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Done.
    Okay,
    /// Failed.
    Error,
    /// The disk cannot do that.
    NotSupported,
}

/// A response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// The request's.
    pub id: u64,
    /// How it ended; `None` for a status that the header does not know.
    pub outcome: Option<Outcome>,
}

impl Response {
    /// What a ring entry says.
    pub fn parse(entry: &[u32; WORDS]) -> Self {
        let outcome = match (entry[2] >> 16) as u16 as i16 {
            0 => Some(Outcome::Okay),
            -1 => Some(Outcome::Error),
            -2 => Some(Outcome::NotSupported),
            _ => None,
        };
        Self {
            id: u64::from(entry[0]) | u64::from(entry[1]) << 32,
            outcome,
        }
    }
}

/// What the backend says of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// Bytes on it, a multiple of `block`.
    pub capacity: u64,
    /// Bytes of its smallest unit (`sector-size`): a power of two from 512 to 4096.
    pub block: usize,
    /// It refuses to be written.
    pub read_only: bool,
    /// [`Operation::Flush`] is likely to succeed.
    pub flush: bool,
    /// [`Operation::Barrier`] is likely to succeed.
    pub barrier: bool,
}

/// Why the nodes describe no disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParameterError {
    /// This node is missing, or is no number.
    NotANumber(&'static str),
    /// The sector size is no power of two from 512 to 4096.
    SectorSize(u64),
    /// The disk does not end with a whole sector, or beyond all numbers.
    Sectors(u64),
}

impl core::fmt::Display for ParameterError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotANumber(node) => write!(f, "the backend's node `{node}` is no number"),
            Self::SectorSize(size) => write!(f, "a sector size of {size} bytes is not possible"),
            Self::Sectors(sectors) => {
                write!(f, "{sectors} sectors of 512 bytes make no disk")
            }
        }
    }
}

/// Bit of the node `info` (VDISK_READONLY).
const READ_ONLY: u64 = 4;
/// The largest unit that is read and written as one: a page.
const BLOCK_MAX: u64 = crate::memory::PAGE as u64;

impl Parameters {
    /// The nodes that [`Parameters::parse`] asks for.
    pub const NODES: [&str; 5] = [
        "sector-size",
        "sectors",
        "info",
        "feature-flush-cache",
        "feature-barrier",
    ];

    /// What the backend's nodes say; `node` gives their values.
    pub fn parse(
        mut node: impl FnMut(&'static str) -> Option<alloc::vec::Vec<u8>>,
    ) -> Result<Self, ParameterError> {
        let mut number = |name, default: Option<u64>| match (node(name), default) {
            (None, Some(default)) => Ok(default),
            (value, _) => value
                .and_then(|value| core::str::from_utf8(&value).ok()?.trim().parse().ok())
                .ok_or(ParameterError::NotANumber(name)),
        };
        let block = number("sector-size", Some(SECTOR as u64))?;
        if !block.is_power_of_two() || !(SECTOR as u64..=BLOCK_MAX).contains(&block) {
            return Err(ParameterError::SectorSize(block));
        }
        let sectors = number("sectors", None)?;
        let capacity = sectors
            .checked_mul(SECTOR as u64)
            // Offsets in files are signed.
            .filter(|&capacity| capacity % block == 0 && i64::try_from(capacity).is_ok())
            .ok_or(ParameterError::Sectors(sectors))?;
        Ok(Self {
            capacity,
            block: block as usize,
            read_only: number("info", Some(0))? & READ_ONLY != 0,
            flush: number("feature-flush-cache", Some(0))? != 0,
            barrier: number("feature-barrier", Some(0))? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Offsets that the C compiler gives `struct blkif_request` and `struct blkif_response` on x86-64.
    #[test]
    fn entries_are_what_the_header_says() {
        let segments = [
            Segment {
                grant: 0x1234,
                first: 0,
                last: 7,
            },
            Segment {
                grant: 0x5678,
                first: 1,
                last: 2,
            },
        ];
        let words = Request {
            operation: Operation::Write,
            id: 0x0102_0304_0506_0708,
            sector: 0x1_0000_0002,
            segments: &segments,
        }
        .emit();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(bytes.len(), 112);
        assert_eq!(bytes[..4], [1, 2, 0, 0]);
        assert_eq!(bytes[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(bytes[16..24], [2, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes[24..32], [0x34, 0x12, 0, 0, 0, 7, 0, 0]);
        assert_eq!(bytes[32..40], [0x78, 0x56, 0, 0, 1, 2, 0, 0]);
        assert_eq!(bytes[40..], [0; 72]);
    }

    #[test]
    fn responses_are_what_the_header_says() {
        let mut words = [0; WORDS];
        for (status, outcome) in [
            (0i16, Some(Outcome::Okay)),
            (-1, Some(Outcome::Error)),
            (-2, Some(Outcome::NotSupported)),
            (1, None),
            (-3, None),
        ] {
            (words[0], words[1]) = (7, 1);
            words[2] = 3 | u32::from(status as u16) << 16;
            let response = Response::parse(&words);
            assert_eq!((response.id, response.outcome), (0x1_0000_0007, outcome));
        }
    }

    fn parse(nodes: &[(&str, &str)]) -> Result<Parameters, ParameterError> {
        Parameters::parse(|name| {
            assert!(Parameters::NODES.contains(&name), "{name}");
            let node = nodes.iter().find(|(node, _)| *node == name)?;
            Some(node.1.as_bytes().to_vec())
        })
    }

    #[test]
    fn nodes_of_a_backend() {
        let linux = [
            ("sectors", "2048"),
            ("info", "0"),
            ("sector-size", "512"),
            ("physical-sector-size", "4096"),
            ("feature-flush-cache", "1"),
            ("feature-barrier", "0"),
        ];
        let expected = Parameters {
            capacity: 1 << 20,
            block: 512,
            read_only: false,
            flush: true,
            barrier: false,
        };
        assert_eq!(parse(&linux), Ok(expected));
        let oldest = parse(&[("sectors", "8"), ("info", "5")]).unwrap();
        assert_eq!((oldest.capacity, oldest.block), (4096, 512));
        assert!(oldest.read_only && !oldest.flush && !oldest.barrier);
    }

    #[test]
    fn nodes_that_describe_no_disk() {
        use ParameterError::{NotANumber, SectorSize, Sectors};
        assert_eq!(parse(&[]), Err(NotANumber("sectors")));
        for (nodes, error) in [
            ([("sectors", "many"), ("info", "0")], NotANumber("sectors")),
            ([("sectors", "8"), ("info", "")], NotANumber("info")),
            ([("sectors", "8"), ("sector-size", "0")], SectorSize(0)),
            ([("sectors", "8"), ("sector-size", "520")], SectorSize(520)),
            (
                [("sectors", "8"), ("sector-size", "8192")],
                SectorSize(8192),
            ),
            ([("sectors", "9"), ("sector-size", "4096")], Sectors(9)),
            (
                [("sectors", "18446744073709551615"), ("info", "0")],
                Sectors(u64::MAX),
            ),
            (
                [("sectors", "18014398509481984"), ("info", "0")],
                Sectors(1 << 54),
            ),
        ] {
            assert_eq!(parse(&nodes), Err(error), "{nodes:?}");
        }
    }
}
