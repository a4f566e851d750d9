//! A disk in regions, one for each publisher: no one displaces another's responses.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::DiskError;
use super::layout::BLOCK;

/// A part of a disk.
#[derive(Debug)]
pub(crate) struct Region {
    pub(super) path: PathBuf,
    file: Arc<File>,
    base: u64,
    bytes: u64,
    /// Whose it is, as a number that differs from others'.
    owner: u64,
}

/// What is left of a disk.
#[derive(Debug)]
pub(crate) struct Regions {
    path: PathBuf,
    file: Arc<File>,
    base: u64,
    end: u64,
}

impl Regions {
    /// All of a block device, or of a file with as many bytes as it may have.
    pub(crate) fn of(path: &Path) -> Result<Self, DiskError> {
        let wrong = |source| DiskError::of(path, source);
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.map_err(wrong)?;
        // A block device has no length of its own.
        let end = file.seek(SeekFrom::End(0)).map_err(wrong)?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            base: 0,
            end,
        })
    }

    /// The next so many bytes, for this publisher.
    pub(crate) fn take(&mut self, owner: &str, bytes: u64) -> Result<Region, DiskError> {
        if bytes > self.end - self.base {
            let error = io::Error::other("publishers have more disk-mib than there are");
            return Err(DiskError::of(&self.path, error));
        }
        let bytes = bytes / BLOCK * BLOCK;
        let region = Region {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            base: self.base,
            bytes,
            owner: number(owner),
        };
        self.base += bytes;
        Ok(region)
    }

    /// All the rest, unless it is nothing.
    pub(crate) fn rest(mut self, owner: &str) -> Result<Option<Region>, DiskError> {
        match self.end - self.base {
            0 if self.base > 0 => Ok(None),
            bytes => self.take(owner, bytes).map(Some),
        }
    }
}

fn number(owner: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(owner.as_bytes());
    hasher.finish()
}

impl Region {
    #[cfg(test)]
    pub(super) fn of_file(file: File, bytes: u64) -> Self {
        Self {
            path: PathBuf::new(),
            file: Arc::new(file),
            base: 0,
            bytes,
            owner: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn owner(&self) -> u64 {
        self.owner
    }

    pub(super) fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, self.base + at)
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        debug_assert!(at + bytes.len() as u64 <= self.bytes, "another's region");
        self.file.write_all_at(bytes, self.base + at)
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_lie_side_by_side_and_know_whose_they_are() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(4 * BLOCK).expect("its length");
        let regions = || Regions::of(file.path()).expect("a disk");
        let mut both = regions();
        let one = both.take("one", BLOCK).expect("there is room");
        assert!(both.take("two", 4 * BLOCK).is_err());
        let rest = both.rest("rest").expect("a region").expect("there is some");
        assert_eq!((rest.base, rest.bytes()), (BLOCK, 3 * BLOCK));
        assert_ne!(one.owner(), rest.owner());
        rest.write_all_at(b"rest", 0).expect("written");
        one.write_all_at(b"one", 0).expect("written");
        let mut bytes = [0; 4];
        rest.read_exact_at(&mut bytes, 0).expect("read");
        assert_eq!(&bytes, b"rest");
        let mut all = regions();
        all.take("one", 4 * BLOCK).expect("there is room");
        assert!(all.rest("rest").expect("no error").is_none());
    }
}
