//! What is where on the device.
//!
//! ```text
//! 0       4 KiB    superblock: geometry, with a checksum
//! 4 KiB   4 KiB    the same again
//! 8 KiB   8 KiB    how long the index is: two records that take turns (`region`)
//! 16 KiB  index    redb
//! …       bodies   blocks of 4 KiB; extents of them are in the index
//! ```
//!
//! Numbers are little-endian. A device that holds anything else is never written to.

use std::io;

use crate::store::device::Device;

/// The unit of bodies: what disks and file systems write whole.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Where the lengths of the index are.
pub(crate) const LENGTHS_START: u64 = 2 * BLOCK_BYTES;
/// Where the index begins.
const INDEX_START: u64 = 4 * BLOCK_BYTES;
/// An index of less has no room for redb's own growth.
const INDEX_BYTES_MIN: u64 = 8 << 20;
/// An index of more would be for more uploads than [`crate::limits::UPLOADS_MAX`].
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// The part of the device that the index may have, as a divisor: an extent of 64 KiB takes some 50 bytes.
const INDEX_SHARE: u64 = 64;
/// A smaller device has no room for photographs.
pub(crate) const DEVICE_BYTES_MIN: u64 = 16 << 20;

/// What must be zeros on a device that is nobody's: file systems and partition tables begin before.
const FOREIGN_BYTES: usize = 128 << 10;
const MAGIC: [u8; 8] = *b"ECUPLOAD";
/// 2: a commit may be taken back (`undo`).
const VERSION: u32 = 2;

mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..8;
    pub(super) const VERSION: Range<usize> = 8..12;
    pub(super) const BLOCK_BYTES: Range<usize> = 12..16;
    pub(super) const INDEX_BYTES: Range<usize> = 16..24;
    pub(super) const BODIES_START: Range<usize> = 24..32;
    pub(super) const BLOCKS: Range<usize> = 32..40;
    pub(super) const READY: Range<usize> = 40..44;
    pub(super) const CHECKSUM: Range<usize> = 44..48;
}

/// Where index and bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes that the index may take.
    pub(crate) index_bytes: u64,
    /// Where the blocks begin.
    bodies_start: u64,
    /// How many blocks there are.
    pub(crate) blocks: u64,
}

/// Why a device is not used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is no room.
    #[error("the device has {0} bytes; give it at least 16 MiB")]
    TooSmall(u64),
    /// It is somebody else's.
    #[error(
        "the device holds something else; name another, or clear its first 128 KiB if that may go"
    )]
    Foreign,
    /// Another program wrote it.
    #[error(
        "the device has format {0}, and this program reads {VERSION}; use the program that wrote it"
    )]
    Version(u32),
    /// A part is missing.
    #[error("the device has {has} bytes and its contents need {needs}; give it back its old size")]
    Shrunk {
        /// Bytes of the device.
        has: u64,
        /// Bytes that it had.
        needs: u64,
    },
    /// It cannot be read or written.
    #[error("the device fails: {0}")]
    Io(#[from] io::Error),
}

impl Layout {
    /// For a new device.
    pub(crate) fn of_size(size: u64) -> Result<Layout, LayoutError> {
        if size < DEVICE_BYTES_MIN {
            return Err(LayoutError::TooSmall(size));
        }
        let index = (size / INDEX_SHARE).clamp(INDEX_BYTES_MIN, INDEX_BYTES_MAX);
        let index_bytes = index / BLOCK_BYTES * BLOCK_BYTES;
        let bodies_start = INDEX_START + index_bytes;
        Ok(Layout {
            index_bytes,
            bodies_start,
            blocks: (size - bodies_start) / BLOCK_BYTES,
        })
    }

    /// Where the index begins.
    pub(crate) fn index_start(&self) -> u64 {
        INDEX_START
    }

    /// Where a block begins.
    pub(crate) fn place(&self, block: u64) -> u64 {
        self.bodies_start + block * BLOCK_BYTES
    }

    /// Of a device; `None` if it is blank.
    pub(crate) fn read(device: &dyn Device) -> Result<Option<Layout>, LayoutError> {
        let size = device.size();
        if size < DEVICE_BYTES_MIN {
            return Err(LayoutError::TooSmall(size));
        }
        let mut start = vec![0; FOREIGN_BYTES];
        device.read_at(0, &mut start)?;
        let copies = start.chunks_exact(BLOCK_BYTES as usize).take(2);
        let parsed: Vec<_> = copies.map(Layout::parse).collect();
        if let Some(version) = parsed.iter().find_map(|copy| copy.as_ref().err()) {
            return Err(LayoutError::Version(*version));
        }
        let known = || parsed.iter().filter_map(|copy| *copy.as_ref().ok()?);
        // One of them may have been torn by a power cut when the device was made.
        if let Some((layout, _)) = known().find(|(_, ready)| *ready) {
            let needs = layout.place(layout.blocks);
            return match needs <= size {
                true => Ok(Some(layout)),
                false => Err(LayoutError::Shrunk { has: size, needs }),
            };
        }
        let was_being_made = known().next().is_some();
        match was_being_made || start.iter().all(|byte| *byte == 0) {
            true => Ok(None),
            false => Err(LayoutError::Foreign),
        }
    }

    /// Says that the device is being made ours: what else is written to it is then not taken for others'.
    pub(crate) fn begin(&self, device: &dyn Device) -> Result<(), LayoutError> {
        device.write_at(0, &self.emit(false))?;
        Ok(device.flush()?)
    }

    /// Makes a device ours. Index and lengths must be durable by then.
    pub(crate) fn finish(&self, device: &dyn Device) -> Result<(), LayoutError> {
        for place in [BLOCK_BYTES, 0] {
            device.write_at(place, &self.emit(true))?;
            device.flush()?;
        }
        Ok(())
    }

    /// The layout and whether it is in use; `Ok(None)` if these bytes are no superblock, `Err` if they are
    /// one of another version.
    fn parse(bytes: &[u8]) -> Result<Option<(Layout, bool)>, u32> {
        let sum = crc32c::crc32c(&bytes[..field::CHECKSUM.start]);
        if bytes[field::MAGIC] != MAGIC || number(&bytes[field::CHECKSUM]) != u64::from(sum) {
            return Ok(None);
        }
        match number(&bytes[field::VERSION]) as u32 {
            VERSION => {}
            other => return Err(other),
        }
        let layout = Layout {
            index_bytes: number(&bytes[field::INDEX_BYTES]),
            bodies_start: number(&bytes[field::BODIES_START]),
            blocks: number(&bytes[field::BLOCKS]),
        };
        let fits = number(&bytes[field::BLOCK_BYTES]) == BLOCK_BYTES
            && layout.bodies_start.checked_sub(INDEX_START) == Some(layout.index_bytes)
            && (layout.blocks.checked_mul(BLOCK_BYTES))
                .is_some_and(|bytes| layout.bodies_start.checked_add(bytes).is_some());
        Ok(fits.then_some((layout, number(&bytes[field::READY]) == 1)))
    }

    fn emit(&self, ready: bool) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES as usize];
        bytes[field::MAGIC].copy_from_slice(&MAGIC);
        bytes[field::VERSION].copy_from_slice(&VERSION.to_le_bytes());
        bytes[field::BLOCK_BYTES].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        bytes[field::INDEX_BYTES].copy_from_slice(&self.index_bytes.to_le_bytes());
        bytes[field::BODIES_START].copy_from_slice(&self.bodies_start.to_le_bytes());
        bytes[field::BLOCKS].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[field::READY].copy_from_slice(&u32::from(ready).to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..field::CHECKSUM.start]);
        bytes[field::CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

/// Up to eight bytes, the lowest first.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    let up = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    bytes.iter().rev().fold(0, up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [DEVICE_BYTES_MIN, 1 << 30, (1 << 40) + 12345] {
            let layout = Layout::of_size(size).expect("large enough");
            assert!(layout.place(layout.blocks) <= size);
            assert_eq!(Layout::parse(&layout.emit(true)), Ok(Some((layout, true))));
        }
        assert!(Layout::of_size(DEVICE_BYTES_MIN - 1).is_err());
    }

    #[test]
    fn what_is_spoilt_is_not_believed() {
        let layout = Layout::of_size(1 << 30).expect("large enough");
        let good = layout.emit(true);
        for byte in 0..field::CHECKSUM.end {
            let mut bytes = good.clone();
            bytes[byte] ^= 0x10;
            assert_eq!(Layout::parse(&bytes), Ok(None), "byte {byte}");
        }
        let mut newer = good;
        newer[field::VERSION.start] = 3;
        let sum = crc32c::crc32c(&newer[..field::CHECKSUM.start]);
        newer[field::CHECKSUM].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Layout::parse(&newer), Err(3));
    }
}
