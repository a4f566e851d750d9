//! Pictures whose scans give single components or bands: coefficients wait until the last scan. Of each
//! block only those wait that the scale needs, and of the others a bit each, which tells further scans
//! whether it is zero.
//!
//! *Specification.* T.81, A.2 (order of blocks), annex G (progressive).

use super::super::{Pace, PictureError, broken};
use super::bits::Window;
use super::blocks::{Band, Known, Sequential, dequantised};
use super::head::{Frame, Head, Refusal, Scan, Segments, Tables};
use super::huffman::Codes;
use super::planes::Planes;
use super::scans::Walk;
use super::transform::{Coefficient, PLACES, Transform};

/// Scans of one picture. Encoders write a dozen; each costs a walk over all blocks.
const SCANS_MAX: usize = 128;

/// Coefficients of a component that wait for further scans.
struct Store {
    /// Blocks in a row, those that only fill up a unit included.
    stride: usize,
    /// Those that are wanted of each block, in zigzag order.
    wanted: Vec<Coefficient>,
    per_block: usize,
    /// Which coefficients of each block are not zero.
    others: Vec<u64>,
}

impl Store {
    fn new(stride: usize, rows: usize, transform: &Transform) -> Store {
        let per_block = transform.last + 1;
        Store {
            stride,
            wanted: vec![0; stride * rows * per_block],
            per_block,
            others: vec![0; stride * rows],
        }
    }

    fn block(&mut self, at: usize) -> Known<'_> {
        Known {
            wanted: &mut self.wanted[at * self.per_block..(at + 1) * self.per_block],
            others: &mut self.others[at],
        }
    }

    /// A block by position, times the quantisation; and whether it is flat.
    fn dequantised(&self, at: usize, quantisation: &[u16; 64]) -> ([Coefficient; 64], bool) {
        let wanted = &self.wanted[at * self.per_block..(at + 1) * self.per_block];
        let mut block = [0; 64];
        for (&value, &position) in wanted.iter().zip(&PLACES) {
            let position = usize::from(position);
            block[position] = dequantised(value.into(), quantisation[position]);
        }
        (block, wanted[1..].iter().all(|&value| value == 0))
    }
}

/// The memory that coefficients of a picture wait in.
pub(super) fn memory(frame: &Frame, transforms: &[Transform]) -> usize {
    let (across, down) = frame.units();
    let parts = frame.components.iter().zip(transforms);
    let bytes = parts.map(|(component, transform)| {
        let blocks = across * component.across * down * component.down;
        blocks * ((transform.last + 1) * size_of::<Coefficient>() + size_of::<u64>())
    });
    bytes.sum()
}

/// Decodes scans of single components or bands, as many as there are.
pub(super) fn decode_by_scans(
    head: Head<'_>,
    planes: &mut Planes,
    pace: Pace<'_>,
    rows: impl FnMut(&mut Planes) -> Result<(), PictureError>,
) -> Result<(), PictureError> {
    let Head {
        frame,
        mut tables,
        mut scan,
        mut rest,
        ..
    } = head;
    let (across, down) = frame.units();
    let both = frame.components.iter().zip(&planes.all);
    let mut stores: Vec<Store> = both
        .map(|(component, plane)| {
            let (across, down) = (across * component.across, down * component.down);
            Store::new(across, down, &plane.transform)
        })
        .collect();
    let mut read = 0;
    for number in 0.. {
        if number == SCANS_MAX {
            return Err(broken(Refusal::TooManyScans));
        }
        let (units, behind) = decode_scan(rest, &frame, &tables, &scan, &mut stores, pace)?;
        read += units;
        match next_scan(behind, &frame, &mut tables) {
            Some((next, behind)) => (scan, rest) = (next, behind),
            None => break,
        }
    }
    if read == 0 {
        return Err(broken("there is nothing behind its head"));
    }
    show(&frame, &tables, &stores, planes, pace, rows)
}

/// Makes samples of coefficients.
fn show(
    frame: &Frame,
    tables: &Tables,
    stores: &[Store],
    planes: &mut Planes,
    pace: Pace<'_>,
    mut rows: impl FnMut(&mut Planes) -> Result<(), PictureError>,
) -> Result<(), PictureError> {
    let mut quantisations = Vec::new();
    for component in &frame.components {
        quantisations.push(tables.by_position(component).map_err(broken)?);
    }
    for unit_row in 0..frame.units().1 {
        planes.begin_units();
        let parts = frame.components.iter().zip(stores).zip(&quantisations);
        for (((component, store), quantisation), plane) in parts.zip(&mut planes.all) {
            for row in 0..component.down {
                pace()?;
                let first = (unit_row * component.down + row) * store.stride;
                for x in 0..store.stride {
                    let (block, is_flat) = store.dequantised(first + x, quantisation);
                    plane.put(x, row, &block, is_flat);
                }
            }
        }
        planes.end_units();
        rows(planes)?;
    }
    Ok(())
}

/// What comes behind a scan. A broken head ends the picture, which shows what came before.
fn next_scan<'a>(rest: &'a [u8], frame: &Frame, tables: &mut Tables) -> Option<(Scan, &'a [u8])> {
    let mut segments = Segments(rest);
    while let Some(segment) = segments.next() {
        if segment.marker == 0xda {
            let scan = Scan::parse(segment.body, frame).ok()?;
            return Some((scan, segments.0));
        }
        tables.take(&segment).ok()?;
    }
    None
}

/// Gives how many units were read, and what comes behind.
fn decode_scan<'a>(
    bytes: &'a [u8],
    frame: &Frame,
    tables: &Tables,
    scan: &Scan,
    stores: &mut [Store],
    pace: Pace<'_>,
) -> Result<(usize, &'a [u8]), PictureError> {
    let ((across, down), places) = places(frame, scan);
    let mut walk = Walk::new(bytes, tables.restart, places.len(), pace);
    let mut decoder = ScanDecoder::new(frame, tables, scan).map_err(broken)?;
    for y in 0..down {
        for x in 0..across {
            if walk.next()? {
                decoder.restart();
            }
            if walk.is_lost {
                continue;
            }
            let mut window = walk.bits.unit();
            let mut is_good = true;
            for place in &places {
                let store = &mut stores[place.component];
                let row = y * place.down + place.row;
                let at = row * store.stride + x * place.across + place.column;
                let mut block = store.block(at);
                if decoder.block(place.part, &mut window, &mut block).is_none() {
                    is_good = false;
                    break;
                }
            }
            let at = window.position();
            walk.end_unit(is_good.then_some(at));
        }
    }
    Ok((walk.read, walk.bits.rest()))
}

/// A block of a unit: which component's, and where.
struct Place {
    /// Its number in the scan.
    part: usize,
    component: usize,
    column: usize,
    row: usize,
    /// Blocks of the component in a unit.
    across: usize,
    down: usize,
}

/// Units of a scan, and the blocks in each (T.81, A.2.2 and A.2.3).
fn places(frame: &Frame, scan: &Scan) -> ((usize, usize), Vec<Place>) {
    if let [(number, ..)] = scan.components[..] {
        let (width, height) = frame.samples(&frame.components[number]);
        let place = Place {
            part: 0,
            component: number,
            column: 0,
            row: 0,
            across: 1,
            down: 1,
        };
        return ((width.div_ceil(8), height.div_ceil(8)), vec![place]);
    }
    let mut places = Vec::new();
    for (part, &(number, ..)) in scan.components.iter().enumerate() {
        let component = &frame.components[number];
        let (across, down) = (component.across, component.down);
        for (row, column) in (0..down).flat_map(|row| (0..across).map(move |column| (row, column)))
        {
            places.push(Place {
                part,
                component: number,
                column,
                row,
                across,
                down,
            });
        }
    }
    (frame.units(), places)
}

/// What a scan says of a component's blocks.
enum Coding<'t> {
    Sequential(Box<Sequential<'t>>),
    Zero(&'t Codes),
    ZeroRefined,
    Band(&'t Codes),
    BandRefined(&'t Codes),
}

struct ScanDecoder<'t> {
    band: Band,
    /// Of each component its codes and its predictor.
    parts: Vec<(Coding<'t>, i32)>,
    /// Blocks that nothing more comes in.
    ends: u32,
}

impl<'t> ScanDecoder<'t> {
    fn new(frame: &Frame, tables: &'t Tables, scan: &Scan) -> Result<ScanDecoder<'t>, Refusal> {
        let mut parts = Vec::new();
        for &(_, zero, others) in &scan.components {
            let missing = Refusal::MissingTable;
            let coding = match (frame.is_progressive, scan.first, scan.high) {
                (false, ..) => Coding::Sequential(Box::new(Sequential::new(tables, zero, others)?)),
                (true, 0, 0) => Coding::Zero(tables.zero[zero].as_ref().ok_or(missing)?),
                (true, 0, _) => Coding::ZeroRefined,
                (true, _, 0) => Coding::Band(tables.others[others].as_ref().ok_or(missing)?),
                _ => Coding::BandRefined(tables.others[others].as_ref().ok_or(missing)?),
            };
            parts.push((coding, 0));
        }
        let band = Band {
            first: scan.first,
            last: scan.last,
            low: scan.low,
        };
        Ok(ScanDecoder {
            band,
            parts,
            ends: 0,
        })
    }

    fn restart(&mut self) {
        self.ends = 0;
        self.parts.iter_mut().for_each(|part| part.1 = 0);
    }

    /// Reads what the scan has of a block; `None` if the bits are no code.
    #[inline]
    fn block(&mut self, part: usize, bits: &mut Window<'_>, known: &mut Known<'_>) -> Option<()> {
        let (coding, predictor) = &mut self.parts[part];
        match coding {
            Coding::Sequential(codes) => {
                let mut block = [0; 64];
                let last = known.wanted.len() - 1;
                codes.block(bits, predictor, &[1; 64], last, &mut block)?;
                for (wanted, &position) in known.wanted.iter_mut().zip(&PLACES) {
                    *wanted = block[usize::from(position)];
                }
            }
            Coding::Zero(codes) => known.wanted[0] = self.band.zero(bits, codes, predictor)?,
            Coding::ZeroRefined => {
                bits.refill();
                known.wanted[0] |= (bits.take(1) as Coefficient) << self.band.low;
            }
            Coding::Band(codes) => self.band.first(bits, codes, &mut self.ends, known)?,
            Coding::BandRefined(codes) => self.band.refine(bits, codes, &mut self.ends, known)?,
        }
        Some(())
    }
}
