//! The block device, or a file in its place.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where everything is kept. What was written is durable only after a flush that succeeded.
pub trait Device: Debug + Send + Sync + 'static {
    /// In bytes.
    fn size(&self) -> u64;
    /// Fills `bytes` from a place on.
    ///
    /// # Errors
    /// Of the device, and places beyond its end.
    fn read_at(&self, place: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` to a place.
    ///
    /// # Errors
    /// Of the device, and places beyond its end.
    fn write_at(&self, place: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was written before.
    ///
    /// # Errors
    /// Of the device; then nothing that was written since the last flush can be relied on.
    fn flush(&self) -> io::Result<()>;
}

/// A device or a file by its path; no other process has it open.
#[derive(Debug)]
pub(crate) struct Disk {
    file: File,
    size: u64,
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(
        "device = {path:?} cannot be opened: {source}; name a disk or a file, and give size-mib to have a file made"
    )]
    Open { path: String, source: io::Error },
    #[error("device = {0:?} is in use by another process; end that one, or name another device")]
    InUse(String),
}

impl Disk {
    /// Opens a device, or a file; makes a file of a size if one is given.
    pub(crate) fn open(path: &str, size: Option<u64>) -> Result<Disk, DiskError> {
        let wrong = |source| DiskError::Open {
            path: path.to_owned(),
            source,
        };
        let makes = size.is_some() && !Path::new(path).exists();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(makes);
        let mut file = options.open(path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DiskError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(wrong(source)),
        }
        if let (true, Some(size)) = (makes, size) {
            file.set_len(size).map_err(wrong)?;
        }
        // A block device's metadata have no length.
        let size = file.seek(SeekFrom::End(0)).map_err(wrong)?;
        Ok(Disk { file, size })
    }
}

impl Device for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, place: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, place)
    }

    fn write_at(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, place)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
