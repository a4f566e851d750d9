//! The bits of a scan: without the zero bytes that are stuffed behind 0xff, up to the next marker.
//!
//! Bytes are unstuffed into a buffer, many at a time, so that reading bits has no branch: 56 of them are at
//! hand after each [`Window::refill`]. Behind the last come zeros, and [`Bits::is_exhausted`] tells.
//!
//! *Specification.* T.81, B.1.1.5 (stuffing), E.1.4 and E.2.4 (restart intervals).

/// What is unstuffed at a time: it stays in the first cache.
const CHUNK: usize = 8 << 10;
/// The most bytes that a minimum coded unit takes: ten blocks (T.81, B.2.3) of 64 coefficients with a code
/// of 16 bits and a value of up to 16 each.
const UNIT_BYTES_MAX: usize = 10 * 64 * 4;
/// Room to read eight bytes from everywhere within a unit behind the end.
const BUFFER: usize = CHUNK + UNIT_BYTES_MAX + 16;

/// The bits of one scan.
pub(super) struct Bits<'a> {
    /// The file, from the first byte that is not yet in the buffer.
    source: &'a [u8],
    /// Nothing more of the source belongs to this interval: a marker follows, or nothing.
    ended: bool,
    buffer: Box<[u8; BUFFER]>,
    /// Where the buffer's bytes end; behind it are zeros once the interval has ended.
    end: usize,
    at: Position,
}

/// How far a buffer is read.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    /// The next byte of the buffer.
    next: usize,
    /// The next bits, from the highest down.
    word: u64,
    /// How many of them count, at least.
    count: u32,
}

/// The bits of one unit. It is apart from [`Bits`] to stay in registers: nothing that is not inlined may
/// take it by reference in a loop.
pub(super) struct Window<'b> {
    buffer: &'b [u8; BUFFER],
    at: Position,
}

impl<'a> Bits<'a> {
    /// From the first byte behind the head of a scan.
    pub(super) fn new(source: &'a [u8]) -> Bits<'a> {
        Bits {
            source,
            ended: false,
            buffer: Box::new([0; BUFFER]),
            end: 0,
            at: Position::default(),
        }
    }

    /// The next unit, all of whose bytes are in the buffer. Whoever read it calls [`Bits::end_unit`].
    #[inline]
    pub(super) fn unit(&mut self) -> Window<'_> {
        if self.end < self.at.next + UNIT_BYTES_MAX && !self.ended {
            self.fill();
        }
        Window {
            buffer: &self.buffer,
            at: self.at,
        }
    }

    /// Goes on behind a unit that ended there; whether there was as much as was read.
    #[inline]
    pub(super) fn end_unit(&mut self, at: Position) -> bool {
        self.at = at;
        // Where the buffer was filled since they were made available, more bits are at hand than lie before.
        !self.ended || at.next * 8 <= self.end * 8 + at.count as usize
    }

    /// Goes on behind the restart marker with this number, 0 to 7; whether it is there. If a later one
    /// comes first, it stays, and what is between is lost.
    pub(super) fn restart(&mut self, number: u8) -> bool {
        loop {
            let Some(at) = marker(self.source) else {
                self.source = &[];
                self.clear(true);
                return false;
            };
            self.source = &self.source[at..];
            match self.source[1] {
                found @ 0xd0..=0xd7 => {
                    // How far ahead of the one that is due, in a circle of eight (as libjpeg has it).
                    let ahead = found.wrapping_sub(0xd0 + number) & 7;
                    if (1..=2).contains(&ahead) {
                        self.clear(true);
                        return false;
                    }
                    self.source = &self.source[2..];
                    if ahead == 0 {
                        self.clear(false);
                        return true;
                    }
                }
                _ => {
                    self.clear(true);
                    return false;
                }
            }
        }
    }

    /// What of the file is not read: it begins with the marker behind the scan, if there is one.
    pub(super) fn rest(&self) -> &'a [u8] {
        let mut rest = self.source;
        // Restart markers beyond those that the picture has.
        while let Some(at) = marker(rest) {
            rest = &rest[at..];
            if !(0xd0..=0xd7).contains(&rest[1]) {
                return rest;
            }
            rest = &rest[2..];
        }
        &[]
    }

    fn clear(&mut self, ended: bool) {
        (self.end, self.at) = (0, Position::default());
        self.ended = ended;
        self.end_with_zeros();
    }

    #[cold]
    fn fill(&mut self) {
        let from = self.at.next.min(self.end);
        self.buffer.copy_within(from..self.end, 0);
        (self.at.next, self.end) = (self.at.next - from, self.end - from);
        while !self.ended && self.end < CHUNK {
            let (taken, made) = unstuff(self.source, &mut self.buffer[self.end..CHUNK + 16]);
            self.ended = taken == 0;
            self.source = &self.source[taken..];
            self.end += made;
        }
        self.end_with_zeros();
    }

    fn end_with_zeros(&mut self) {
        if self.ended {
            let zeros = self.end..BUFFER.min(self.end + UNIT_BYTES_MAX + 8);
            self.buffer[zeros].fill(0);
        }
    }
}

impl Window<'_> {
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Makes 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let at = &mut self.at;
        let bytes = self.buffer.get(at.next..).and_then(<[u8]>::first_chunk);
        at.word |= u64::from_be_bytes(*bytes.unwrap_or(&[0; 8])) >> at.count;
        at.next += ((63 - at.count) >> 3) as usize;
        at.count |= 56;
    }

    /// The next bits, 1 to 32 of them.
    #[inline(always)]
    pub(super) fn peek(&self, bits: u32) -> usize {
        (self.at.word >> (64 - bits)) as usize
    }

    /// Passes over bits that were made available.
    #[inline(always)]
    pub(super) fn skip(&mut self, bits: u32) {
        self.at.word <<= bits;
        self.at.count -= bits;
    }

    /// Takes up to 16 bits that were made available.
    #[inline(always)]
    pub(super) fn take(&mut self, bits: u32) -> u32 {
        // In two steps, because none may be taken.
        let taken = (self.at.word >> 1 >> (63 - bits)) as u32;
        self.skip(bits);
        taken
    }
}

/// The number that bits of a value stand for, at most 16 of them (T.81, F.2.2.1, EXTEND).
#[inline(always)]
pub(super) fn extend(bits: u32, size: u32) -> i32 {
    // Without a branch: those whose first bit is zero are negative.
    let negative = i32::from(bits < 1 << size >> 1);
    bits as i32 + negative * (1 - (1 << size))
}

/// Where the next marker is: 0xff with neither zero, which is stuffed, nor another 0xff behind it.
fn marker(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(2)
        .position(|pair| pair[0] == 0xff && pair[1] != 0 && pair[1] != 0xff)
}

/// Moves bytes into a buffer that has room for eight or more: how many were taken and how many were made of
/// them. None are taken where a marker or the end is.
fn unstuff(source: &[u8], buffer: &mut [u8]) -> (usize, usize) {
    let (mut taken, mut made) = (0, 0);
    while let Some(room) = buffer.get_mut(made..made + 8) {
        if let Some(&bytes) = source[taken..].first_chunk::<8>()
            && !has_ff(u64::from_le_bytes(bytes))
        {
            room.copy_from_slice(&bytes);
            (taken, made) = (taken + 8, made + 8);
            continue;
        }
        match source[taken..] {
            [0xff, 0, ..] => {
                room[0] = 0xff;
                (taken, made) = (taken + 2, made + 1);
            }
            // Fill bytes in front of a marker, or one of the last bytes of a file.
            [0xff, 0xff, ..] => taken += 1,
            [0xff, ..] | [] => break,
            [byte, ..] => {
                room[0] = byte;
                (taken, made) = (taken + 1, made + 1);
            }
        }
    }
    (taken, made)
}

/// Whether one of the eight bytes is 0xff.
fn has_ff(bytes: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // A byte of the complement is zero (the well-known test; it tells whether, not where).
    let complement = !bytes;
    complement.wrapping_sub(ONES) & bytes & HIGHS != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes of an interval, read by 16 bits, and whether they were there; units are as long as they may
    /// be.
    fn read(bits: &mut Bits<'_>, count: usize) -> (Vec<u8>, bool) {
        read_by(bits, count, UNIT_BYTES_MAX / 2)
    }

    /// The same with units of so many times 16 bits.
    fn read_by(bits: &mut Bits<'_>, count: usize, per_unit: usize) -> (Vec<u8>, bool) {
        let mut read = Vec::new();
        let mut is_whole = true;
        while read.len() < count {
            let mut window = bits.unit();
            for _ in 0..per_unit {
                if read.len() < count {
                    window.refill();
                    read.extend((window.take(16) as u16).to_be_bytes());
                }
            }
            let at = window.position();
            is_whole &= bits.end_unit(at);
        }
        (read, is_whole)
    }

    fn stuffed(bytes: &[u8]) -> Vec<u8> {
        let stuff = |&byte: &u8| {
            if byte == 0xff {
                vec![0xff, 0]
            } else {
                vec![byte]
            }
        };
        bytes.iter().flat_map(stuff).collect()
    }

    #[test]
    fn stuffing_is_taken_out_and_nothing_else() {
        for density in [2, 5, 300] {
            let value = |at: usize| {
                if at.is_multiple_of(density) {
                    0xff
                } else {
                    (at * 31 % 255) as u8
                }
            };
            let bytes: Vec<u8> = (0..3 * CHUNK).map(value).collect();
            let mut file = stuffed(&bytes);
            file.extend(b"\xff\xd0\x12\x34\xff\xd9");
            let mut bits = Bits::new(&file);
            assert_eq!(read(&mut bits, bytes.len()), (bytes.clone(), true));
            let (more, is_whole) = read(&mut bits, 2);
            assert_eq!((more, is_whole), (vec![0, 0], false), "zeros, and no more");
            assert!(bits.restart(0));
            assert_eq!(read(&mut bits, 2), (vec![0x12, 0x34], true));
            assert_eq!(bits.rest(), b"\xff\xd9");
        }
    }

    #[test]
    fn units_of_few_bits_are_whole_wherever_the_buffer_was_filled() {
        for length in (2..64).chain(CHUNK - 64..CHUNK + 64) {
            let length = length * 2;
            let bytes: Vec<u8> = (0..length).map(|at| (at % 255) as u8).collect();
            for per_unit in [1, 2, 3] {
                let mut bits = Bits::new(&bytes);
                assert_eq!(read_by(&mut bits, length, per_unit), (bytes.clone(), true));
                assert!(!read_by(&mut bits, 2, per_unit).1);
            }
        }
    }

    #[test]
    fn a_restart_marker_that_is_missing_is_not_taken_for_another() {
        let mut bits = Bits::new(b"\x11\x22\xff\xd2\x33\x44\xff\xd9");
        // Two ahead: those between are lost.
        assert!(!bits.restart(0) && !bits.restart(1) && bits.restart(2));
        assert_eq!(read(&mut bits, 2), (vec![0x33, 0x44], true));
        // One that is long past is passed over.
        let mut bits = Bits::new(b"\xff\xd0\x55\xff\xd3\x33\x44");
        assert!(bits.restart(3));
        assert_eq!(read(&mut bits, 2), (vec![0x33, 0x44], true));
        assert!(!bits.restart(4));
        assert!(!read(&mut bits, 2).1);
    }

    #[test]
    fn values_are_extended_as_the_standard_says() {
        let of = |bits, size| extend(bits, size);
        assert_eq!(
            [of(0, 0), of(0, 1), of(1, 1), of(0, 2), of(1, 2)],
            [0, -1, 1, -3, -2]
        );
        assert_eq!(
            [of(2, 2), of(3, 2), of(0, 15), of(32_767, 15)],
            [2, 3, -32_767, 32_767]
        );
    }
}
