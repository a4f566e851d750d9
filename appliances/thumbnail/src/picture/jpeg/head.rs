//! The segments of a file: frame, tables, scans, and what applications add.
//!
//! *Specification.* T.81, annex B; T.872, 6.5 (Adobe's segment); ICC.1:2022, B.4 (profiles in segments).

use super::huffman::Codes;
use super::transform::PLACES;

/// Why a file is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is cut in its head")]
    Cut,
    #[error(
        "its process is none of baseline, extended sequential and progressive with Huffman codes"
    )]
    Process,
    #[error("its samples have other than 8 bits")]
    Precision,
    #[error("it has no height, or no width")]
    Empty,
    #[error("it has a number of components that is none of 1, 3 and 4")]
    Components,
    #[error("the sampling factors of a component are not in 1 to 4")]
    Sampling,
    #[error("a table is malformed")]
    Table,
    #[error("it has more tables than any encoder writes")]
    TooManyTables,
    #[error("a table that a scan needs is missing")]
    MissingTable,
    #[error("a scan is malformed")]
    Scan,
    #[error("it has more scans than any encoder writes")]
    TooManyScans,
    #[error("it has no frame")]
    NoFrame,
    #[error("it has no scan")]
    NoScan,
}

/// Most of what an ICC profile may take; it is cut into pieces of 64 kB.
const PROFILE_BYTES_MAX: usize = 4 << 20;

/// A marker with what follows it.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    pub(super) body: &'a [u8],
}

/// What is left of a file.
#[derive(Clone, Copy)]
pub(super) struct Segments<'a>(pub(super) &'a [u8]);

impl<'a> Segments<'a> {
    /// The next one, past what is none; `None` at the end of the picture or of the file.
    pub(super) fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            let start = self.0.iter().position(|&byte| byte == 0xff)?;
            let rest = &self.0[start..];
            let fill = rest.iter().position(|&byte| byte != 0xff)?;
            let (marker, rest) = (rest[fill], &rest[fill + 1..]);
            self.0 = rest;
            match marker {
                // Stuffing, TEM, restart markers and SOI stand alone.
                0 | 0x01 | 0xd0..=0xd8 => {}
                0xd9 => return None,
                _ => {
                    let &length = rest.first_chunk::<2>()?;
                    let length = usize::from(u16::from_be_bytes(length));
                    let body = rest.get(2..length)?;
                    self.0 = &rest[length..];
                    return Some(Segment { marker, body });
                }
            }
        }
    }
}

/// A component, as the frame describes it.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) across: usize,
    pub(super) down: usize,
    /// The number of its quantisation table.
    pub(super) quantisation: usize,
}

/// SOF.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) is_progressive: bool,
    pub(super) components: Vec<Component>,
    /// The largest sampling factors.
    pub(super) across: usize,
    pub(super) down: usize,
}

impl Frame {
    /// T.81, B.2.2.
    pub(super) fn parse(marker: u8, body: &[u8]) -> Result<Frame, Refusal> {
        if !(0xc0..=0xc2).contains(&marker) {
            return Err(Refusal::Process);
        }
        let (head, rest) = body.split_first_chunk::<6>().ok_or(Refusal::Cut)?;
        let &[precision, high, low, wide, narrow, count] = head;
        if precision != 8 {
            return Err(Refusal::Precision);
        }
        let height = usize::from(u16::from_be_bytes([high, low]));
        let width = usize::from(u16::from_be_bytes([wide, narrow]));
        if width == 0 || height == 0 {
            return Err(Refusal::Empty);
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Refusal::Components);
        }
        let described = rest.as_chunks::<3>().0.get(..usize::from(count));
        let mut components = Vec::new();
        for &[id, sampling, table] in described.ok_or(Refusal::Cut)? {
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(Refusal::Sampling);
            }
            if table > 3 {
                return Err(Refusal::Table);
            }
            // The only one has one block per unit, whatever it says (T.81, A.2.2).
            let (across, down) = if count == 1 { (1, 1) } else { (across, down) };
            components.push(Component {
                id,
                across,
                down,
                quantisation: table.into(),
            });
        }
        let most = |factor: fn(&Component) -> usize| components.iter().map(factor).max();
        Ok(Frame {
            width,
            height,
            is_progressive: marker == 0xc2,
            across: most(|component| component.across).unwrap_or(1),
            down: most(|component| component.down).unwrap_or(1),
            components,
        })
    }

    /// Minimum coded units in a row, and rows of them.
    pub(super) fn units(&self) -> (usize, usize) {
        (
            self.width.div_ceil(8 * self.across),
            self.height.div_ceil(8 * self.down),
        )
    }

    /// Samples of a component in a row, and rows of them (T.81, A.1.1).
    pub(super) fn samples(&self, component: &Component) -> (usize, usize) {
        (
            (self.width * component.across).div_ceil(self.across),
            (self.height * component.down).div_ceil(self.down),
        )
    }
}

/// SOS.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Numbers of components, with those of their tables for zero frequency and for the others.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient in zigzag order.
    pub(super) first: usize,
    pub(super) last: usize,
    /// Successive approximation: the bit position before, zero in the first scan, and now.
    pub(super) high: u32,
    pub(super) low: u32,
}

impl Scan {
    /// T.81, B.2.3 and G.1.1.1.
    pub(super) fn parse(body: &[u8], frame: &Frame) -> Result<Scan, Refusal> {
        let (&count, rest) = body.split_first().ok_or(Refusal::Cut)?;
        let chosen = rest.as_chunks::<2>().0.get(..usize::from(count));
        let mut components: Vec<(usize, usize, usize)> = Vec::new();
        for &[id, tables] in chosen.ok_or(Refusal::Cut)? {
            let is_it = |component: &Component| component.id == id;
            let number = frame
                .components
                .iter()
                .position(is_it)
                .ok_or(Refusal::Scan)?;
            let (zero, others) = (usize::from(tables >> 4), usize::from(tables & 15));
            if zero > 3 || others > 3 || components.iter().any(|other| other.0 == number) {
                return Err(Refusal::Scan);
            }
            components.push((number, zero, others));
        }
        let rest = &rest[usize::from(count) * 2..];
        let &[first, last, approximation] = rest.first_chunk().ok_or(Refusal::Cut)?;
        let scan = match frame.is_progressive {
            // Encoders have written other things here, which all decoders ignore.
            false => Scan {
                components,
                first: 0,
                last: 63,
                high: 0,
                low: 0,
            },
            true => Scan {
                components,
                first: first.into(),
                last: last.into(),
                high: u32::from(approximation >> 4),
                low: u32::from(approximation & 15),
            },
        };
        let blocks = |&(number, ..): &(usize, usize, usize)| {
            frame.components[number].across * frame.components[number].down
        };
        let good = match scan.components.len() {
            0 => false,
            1 => true,
            // T.81, B.2.3.
            _ => scan.components.iter().map(blocks).sum::<usize>() <= 10,
        };
        let band = match (frame.is_progressive, scan.first) {
            (false, _) => true,
            (true, 0) => scan.last == 0,
            (true, first) => (first..64).contains(&scan.last) && scan.components.len() == 1,
        };
        let bits = scan.low <= 13 && (scan.high == 0 || scan.high == scan.low + 1);
        (good && band && bits).then_some(scan).ok_or(Refusal::Scan)
    }
}

/// DQT, DHT, DRI: what is in force.
#[derive(Default)]
pub(super) struct Tables {
    /// In zigzag order.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) zero: [Option<Codes>; 4],
    pub(super) others: [Option<Codes>; 4],
    /// Units between restart markers; zero without any.
    pub(super) restart: usize,
    /// Tables of codes that came so far.
    codes: usize,
}

/// A progressive picture may have new ones for each scan. Each takes time to make, and the head is read
/// without a pause.
const CODES_MAX: usize = 1024;

impl Tables {
    /// Takes a segment, if it is one of these.
    pub(super) fn take(&mut self, segment: &Segment<'_>) -> Result<(), Refusal> {
        match segment.marker {
            0xdb => self.take_quantisation(segment.body),
            0xc4 => self.take_codes(segment.body),
            0xdd => {
                let &units = segment.body.first_chunk().ok_or(Refusal::Table)?;
                self.restart = u16::from_be_bytes(units).into();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The quantisation of a component, by position in its blocks.
    pub(super) fn by_position(&self, component: &Component) -> Result<[u16; 64], Refusal> {
        let zigzag = self.quantisation[component.quantisation].ok_or(Refusal::MissingTable)?;
        let mut table = [0; 64];
        for (&position, value) in PLACES.iter().zip(zigzag) {
            table[usize::from(position)] = value;
        }
        Ok(table)
    }

    fn take_quantisation(&mut self, mut body: &[u8]) -> Result<(), Refusal> {
        while let Some((&head, rest)) = body.split_first() {
            let bytes = if head >> 4 == 0 { 64 } else { 128 };
            let (values, rest) = rest.split_at_checked(bytes).ok_or(Refusal::Table)?;
            let table = self.quantisation.get_mut(usize::from(head & 15));
            *table.ok_or(Refusal::Table)? = Some(std::array::from_fn(|at| match bytes {
                64 => values[at].into(),
                _ => u16::from_be_bytes([values[at * 2], values[at * 2 + 1]]),
            }));
            body = rest;
        }
        Ok(())
    }

    fn take_codes(&mut self, mut body: &[u8]) -> Result<(), Refusal> {
        while let Some((&head, rest)) = body.split_first() {
            self.codes += 1;
            if self.codes > CODES_MAX {
                return Err(Refusal::TooManyTables);
            }
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Refusal::Table)?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(symbols).ok_or(Refusal::Table)?;
            let tables = match head >> 4 {
                0 => &mut self.zero,
                1 => &mut self.others,
                _ => return Err(Refusal::Table),
            };
            let table = tables
                .get_mut(usize::from(head & 15))
                .ok_or(Refusal::Table)?;
            *table = Some(Codes::new(counts, symbols).ok_or(Refusal::Table)?);
            body = rest;
        }
        Ok(())
    }
}

/// What a file says up to its first scan.
pub(super) struct Head<'a> {
    pub(super) frame: Frame,
    pub(super) tables: Tables,
    pub(super) scan: Scan,
    /// Adobe's number of how colours were transformed, if it is there.
    pub(super) adobe: Option<u8>,
    pub(super) is_jfif: bool,
    pub(super) exif: Option<&'a [u8]>,
    pub(super) profile: Vec<u8>,
    /// Behind the head of the first scan.
    pub(super) rest: &'a [u8],
}

impl<'a> Head<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Head<'a>, Refusal> {
        let mut segments = Segments(bytes);
        let (mut tables, mut frame) = (Tables::default(), None);
        let (mut adobe, mut exif, mut is_jfif, mut profile) = (None, None, false, Vec::new());
        while let Some(segment) = segments.next() {
            tables.take(&segment)?;
            let body = segment.body;
            match segment.marker {
                0xc4 | 0xc8 | 0xcc => {}
                marker @ 0xc0..=0xcf => frame = Some(Frame::parse(marker, body)?),
                0xe0 => is_jfif |= body.starts_with(b"JFIF\0"),
                0xe1 if body.starts_with(b"Exif\0\0") => exif = exif.or(Some(body)),
                0xe2 => profile.extend(piece_of_profile(body)),
                0xee if body.starts_with(b"Adobe") => adobe = body.get(11).copied(),
                0xda => {
                    let frame: Frame = frame.ok_or(Refusal::NoFrame)?;
                    return Ok(Head {
                        scan: Scan::parse(body, &frame)?,
                        frame,
                        tables,
                        adobe,
                        is_jfif,
                        exif,
                        profile: joined(profile),
                        rest: segments.0,
                    });
                }
                _ => {}
            }
        }
        Err(if frame.is_some() {
            Refusal::NoScan
        } else {
            Refusal::NoFrame
        })
    }
}

/// Number of a piece of the profile, and its bytes.
fn piece_of_profile(body: &[u8]) -> Option<(u8, &[u8])> {
    match body.strip_prefix(b"ICC_PROFILE\0")? {
        [number, _, bytes @ ..] => Some((*number, bytes)),
        _ => None,
    }
}

fn joined(mut pieces: Vec<(u8, &[u8])>) -> Vec<u8> {
    pieces.sort_by_key(|piece| piece.0);
    let bytes: usize = pieces.iter().map(|piece| piece.1.len()).sum();
    match bytes > PROFILE_BYTES_MAX {
        true => Vec::new(),
        false => pieces
            .into_iter()
            .flat_map(|piece| piece.1)
            .copied()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, and a segment.
    fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    }

    #[track_caller]
    fn check(segments: &[Vec<u8>], wanted: Refusal) {
        let bytes = [b"\xff\xd8".to_vec(), segments.concat()].concat();
        assert_eq!(Head::parse(&bytes).err(), Some(wanted));
    }

    const FRAME: [u8; 9] = [8, 0, 16, 0, 16, 1, 1, 0x11, 0];

    #[test]
    fn what_is_not_decoded_has_a_reason() {
        check(&[], Refusal::NoFrame);
        check(&[segment(0xc0, &FRAME)], Refusal::NoScan);
        check(&[segment(0xc3, &FRAME)], Refusal::Process);
        check(&[segment(0xc9, &FRAME)], Refusal::Process);
        check(&[segment(0xc0, &FRAME[..5])], Refusal::Cut);
        let changed = |at: usize, value: u8| {
            let mut frame = FRAME;
            frame[at] = value;
            segment(0xc0, &frame)
        };
        check(&[changed(0, 12)], Refusal::Precision);
        check(&[changed(2, 0)], Refusal::Empty);
        check(&[changed(5, 2)], Refusal::Components);
        check(&[changed(7, 0x51)], Refusal::Sampling);
        check(&[changed(8, 4)], Refusal::Table);
        check(&[segment(0xda, &[1, 1, 0, 0, 63, 0])], Refusal::NoFrame);
        let frame = segment(0xc0, &FRAME);
        check(
            &[frame.clone(), segment(0xda, &[1, 9, 0, 0, 63, 0])],
            Refusal::Scan,
        );
        check(&[frame, segment(0xda, &[])], Refusal::Cut);
        check(&[segment(0xdb, &[0; 64])], Refusal::Table);
        check(&[segment(0xc4, &[0x20; 17])], Refusal::Table);
    }

    #[test]
    fn tables_without_end_are_refused() {
        let table = segment(0xc4, &[0; 17]);
        check(&vec![table.clone(); CODES_MAX], Refusal::NoFrame);
        check(&vec![table; CODES_MAX + 1], Refusal::TooManyTables);
    }

    /// Ten blocks are the most that a unit may have (T.81, B.2.3), so that its bytes are bounded.
    #[test]
    fn a_unit_has_ten_blocks_at_most() {
        let frame = |sampling| {
            let body = [8, 0, 16, 0, 16, 3, 1, sampling, 0, 2, 0x11, 0, 3, 0x11, 0];
            Frame::parse(0xc0, &body).expect("a frame")
        };
        let scan = [3, 1, 0, 2, 0, 3, 0, 0, 63, 0];
        assert!(Scan::parse(&scan, &frame(0x42)).is_ok());
        assert_eq!(Scan::parse(&scan, &frame(0x33)).err(), Some(Refusal::Scan));
        // Alone it has one block, whatever its factors are.
        assert!(Scan::parse(&[1, 1, 0, 0, 63, 0], &frame(0x44)).is_ok());
    }
}
