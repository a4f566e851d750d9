//! The index's part of the device, as the storage that redb asks for: it grows, up to a limit.
//!
//! How long it is, is in two records that take turns, so that one torn by a power cut leaves the other. A
//! record is written when the zeros before the new end are durable, as redb expects of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::store::device::Device;
use crate::store::layout::{BLOCK_BYTES, LENGTHS_START, Layout, number};

/// Zeros that are written at once.
const ZEROS: usize = 64 << 10;
const MAGIC: [u8; 8] = *b"ECLENGTH";
const RECORD_BYTES: usize = 28;

/// A length, and which of the two records has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Length {
    sequence: u64,
    bytes: u64,
}

/// The region.
#[derive(Debug)]
pub(crate) struct Region {
    device: Arc<dyn Device>,
    start: u64,
    bytes_max: u64,
    length: Mutex<Length>,
}

impl Region {
    /// The index of a device that is ours.
    pub(crate) fn open(device: Arc<dyn Device>, layout: &Layout) -> io::Result<Region> {
        let mut length = None;
        for place in places() {
            let mut bytes = [0; RECORD_BYTES];
            device.read_at(place, &mut bytes)?;
            length = length
                .into_iter()
                .chain(Length::parse(&bytes))
                .max_by_key(|l| l.sequence);
        }
        let length = length.filter(|length| length.bytes <= layout.index_bytes);
        let length = length.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the index's length is lost")
        })?;
        Ok(Region::with(device, layout, length))
    }

    /// The index of a device that is blank.
    pub(crate) fn make(device: Arc<dyn Device>, layout: &Layout) -> Region {
        Region::with(device, layout, Length::default())
    }

    fn with(device: Arc<dyn Device>, layout: &Layout, length: Length) -> Region {
        Region {
            device,
            start: layout.index_start(),
            bytes_max: layout.index_bytes,
            length: Mutex::new(length),
        }
    }

    fn length(&self) -> Length {
        *self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS];
        let mut at = from;
        while at < to {
            let count = (to - at).min(ZEROS as u64) as usize;
            self.device.write_at(self.start + at, &zeros[..count])?;
            at += count as u64;
        }
        Ok(())
    }

    fn check(&self, offset: u64, bytes: usize) -> io::Result<()> {
        match offset.checked_add(bytes as u64) {
            Some(end) if end <= self.length().bytes => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl StorageBackend for Region {
    fn len(&self) -> io::Result<u64> {
        Ok(self.length().bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.check(offset, out.len())?;
        self.device.read_at(self.start + offset, out)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut length = self.length.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.zero(length.bytes, bytes)?;
        self.device.flush()?;
        let next = Length {
            sequence: length.sequence + 1,
            bytes,
        };
        let place = places()[(next.sequence % 2) as usize];
        self.device.write_at(place, &next.emit())?;
        self.device.flush()?;
        *length = next;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.device.flush()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(offset, data.len())?;
        self.device.write_at(self.start + offset, data)
    }
}

/// Where the two records are: in blocks of their own.
fn places() -> [u64; 2] {
    [LENGTHS_START, LENGTHS_START + BLOCK_BYTES]
}

impl Length {
    fn parse(bytes: &[u8; RECORD_BYTES]) -> Option<Length> {
        let sum = u64::from(crc32c::crc32c(&bytes[..24]));
        let good = bytes[..8] == MAGIC && number(&bytes[24..]) == sum;
        good.then(|| Length {
            sequence: number(&bytes[8..16]),
            bytes: number(&bytes[16..24]),
        })
    }

    fn emit(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_as_it_was_written_or_not_at_all() {
        let length = Length {
            sequence: 7,
            bytes: 1 << 20,
        };
        assert_eq!(Length::parse(&length.emit()), Some(length));
        for byte in 0..RECORD_BYTES {
            let mut bytes = length.emit();
            bytes[byte] ^= 1;
            assert_eq!(Length::parse(&bytes), None, "byte {byte}");
        }
    }
}
