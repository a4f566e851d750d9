//! A disk for redb that is full from a given write on: what a database and its owner do then is
//! tested at every instant, without a file system of that size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use redb::{Database, DatabaseError, StorageBackend};

/// A disk with room, until [`FullDisk::leave`] says otherwise. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FullDisk {
    file: Arc<File>,
    writes_left: Arc<AtomicU32>,
}

impl FullDisk {
    /// An empty disk.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            file: Arc::new(tempfile::tempfile()?),
            writes_left: Arc::new(AtomicU32::new(u32::MAX)),
        })
    }

    /// What is on it now, on a disk with room: what is found after the power failed.
    ///
    /// # Errors
    /// No temporary file can be made.
    pub fn copy(&self) -> io::Result<Self> {
        let copy = Self::new()?;
        let mut content = vec![0; usize::try_from(self.len()?).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut content, 0)?;
        copy.file.write_all_at(&content, 0)?;
        Ok(copy)
    }

    /// Opens the database on it, or creates it.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn open(&self) -> Result<Database, DatabaseError> {
        Database::builder().create_with_backend(self.clone())
    }

    /// It takes so many more writes, of data, of length or to the platter, and is full then.
    pub fn leave(&self, writes: u32) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    /// It has room again.
    pub fn clear(&self) {
        self.leave(u32::MAX);
    }

    fn charge(&self) -> io::Result<()> {
        let less = |left: u32| left.checked_sub(1);
        let left = &self.writes_left;
        let charged = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        charged.map_err(|_| io::ErrorKind::StorageFull)?;
        Ok(())
    }
}

impl StorageBackend for FullDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.charge()?;
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.charge()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.charge()?;
        self.file.write_all_at(data, offset)
    }
}
