//! Scans: the order in which units come, where they restart, and what is done where bits are missing: those
//! units are grey, up to the next restart marker, as libjpeg has it.
//!
//! A sequential scan of all components gives samples at once, a row of units after the other.

use super::super::{Pace, PictureError, broken};
use super::bits::{Bits, Position};
use super::blocks::Sequential;
use super::head::Head;
use super::planes::Planes;

/// Blocks between two calls of the pace: a fraction of a millisecond.
const BLOCKS_PER_PACE: usize = 512;

/// The units of a scan, one after the other.
pub(super) struct Walk<'a, 'p> {
    pub(super) bits: Bits<'a>,
    pace: Pace<'p>,
    since_pace: usize,
    blocks_per_unit: usize,
    /// Units between restart markers, zero without any; and how many are left of them.
    interval: usize,
    left: usize,
    /// The number of the next restart marker.
    number: u8,
    /// What comes until the next restart marker is not to be read.
    pub(super) is_lost: bool,
    /// Units that were read.
    pub(super) read: usize,
}

impl<'a, 'p> Walk<'a, 'p> {
    pub(super) fn new(
        bytes: &'a [u8],
        interval: usize,
        blocks_per_unit: usize,
        pace: Pace<'p>,
    ) -> Walk<'a, 'p> {
        Walk {
            bits: Bits::new(bytes),
            pace,
            since_pace: 0,
            blocks_per_unit,
            interval,
            left: interval,
            number: 0,
            is_lost: false,
            read: 0,
        }
    }

    /// Goes on to the next unit; whether predictions begin anew.
    #[inline]
    pub(super) fn next(&mut self) -> Result<bool, PictureError> {
        self.since_pace += self.blocks_per_unit;
        if self.since_pace >= BLOCKS_PER_PACE {
            self.since_pace = 0;
            (self.pace)()?;
        }
        if self.interval == 0 {
            return Ok(false);
        }
        if self.left > 0 {
            self.left -= 1;
            return Ok(false);
        }
        self.left = self.interval - 1;
        self.is_lost = !self.bits.restart(self.number);
        self.number = (self.number + 1) & 7;
        Ok(true)
    }

    /// The unit was read up to there, or its bits made no sense.
    #[inline]
    pub(super) fn end_unit(&mut self, at: Option<Position>) {
        self.is_lost = !at.is_some_and(|at| self.bits.end_unit(at));
        self.read += usize::from(!self.is_lost);
    }
}

/// Decodes a scan that has all components; `rows` is called when a row of units is complete.
pub(super) fn decode_at_once(
    head: &Head<'_>,
    planes: &mut Planes,
    pace: Pace<'_>,
    mut rows: impl FnMut(&mut Planes) -> Result<(), PictureError>,
) -> Result<(), PictureError> {
    let frame = &head.frame;
    let mut parts = Vec::new();
    for &(number, zero, others) in &head.scan.components {
        let component = &frame.components[number];
        parts.push(Part {
            number,
            across: component.across,
            down: component.down,
            codes: Sequential::new(&head.tables, zero, others).map_err(broken)?,
            quantisation: head.tables.by_position(component).map_err(broken)?,
            predictor: 0,
        });
    }
    let blocks = parts.iter().map(|part| part.across * part.down).sum();
    let mut walk = Walk::new(head.rest, head.tables.restart, blocks, pace);
    let (across, down) = frame.units();
    for _ in 0..down {
        planes.begin_units();
        for unit in 0..across {
            if walk.next()? {
                parts.iter_mut().for_each(|part| part.predictor = 0);
            }
            if !walk.is_lost {
                let at = decode_unit(&mut walk.bits, &mut parts, unit, planes);
                walk.end_unit(at);
            }
        }
        planes.end_units();
        rows(planes)?;
        if walk.read == 0 {
            return Err(broken("there is nothing behind its head"));
        }
    }
    Ok(())
}

/// A component of a scan.
struct Part<'t> {
    number: usize,
    across: usize,
    down: usize,
    codes: Sequential<'t>,
    quantisation: [u16; 64],
    predictor: i32,
}

fn decode_unit(
    bits: &mut Bits<'_>,
    parts: &mut [Part<'_>],
    unit: usize,
    planes: &mut Planes,
) -> Option<Position> {
    let mut window = bits.unit();
    for part in parts {
        let plane = &mut planes.all[part.number];
        for y in 0..part.down {
            for x in 0..part.across {
                let mut block = [0; 64];
                let (predictor, last) = (&mut part.predictor, plane.transform.last);
                let codes = &part.codes;
                let is_flat =
                    codes.block(&mut window, predictor, &part.quantisation, last, &mut block)?;
                plane.put(unit * part.across + x, y, &block, is_flat);
            }
        }
    }
    Some(window.position())
}
