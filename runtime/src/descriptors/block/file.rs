//! The file that a disk is.
//!
//! On Linux a block device has no length of its own: `st_size` is 0, `ftruncate` fails, and programs that keep
//! their data in a file, as redb does, cannot use one. Here the same path serves both kinds of program:
//!
//! | the disk is | `st_size` | `SEEK_END` | reads end at | writes end at |
//! |---|---|---|---|---|
//! | *blank*: its first 4 KiB are zeros | 0, as on Linux | capacity, as on Linux | capacity | capacity |
//! | *whole*: it has data and no label | capacity | capacity | capacity | capacity |
//! | *labelled*: it was given a length | length | length | length | 8 KiB before the capacity |
//!
//! Setting a length ([`File::set_length`], ftruncate) gives the disk a [`label`](super::label) in its last
//! 8 KiB; from then on it behaves as a file that fills a file system of its own: writes beyond the end extend
//! it, new bytes are zeros (of a blank disk that has never been used they are so already), ENOSPC where the
//! label begins. A program that never sets a length has the plain device.
//!
//! The label is written before the call that changed the length returns, and is durable with the next flush,
//! as POSIX has it for fdatasync.

use super::disk::Disk;
use super::label::{self, Label};
use super::locks::Locks;
use crate::Errno;
use crate::xen::blkfront::Blkfront;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};

/// Bytes at the start that tell whether a disk is blank.
const START: usize = 4096;
/// Zeros that are written at once.
const ZEROS: usize = 64 * 1024;

/// What gives the file its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extent {
    Blank,
    Whole,
    Labelled(Label),
}

/// A disk as a file.
pub struct File {
    disk: Disk,
    /// `None` before the disk has been looked at.
    extent: Cell<Option<Extent>>,
    /// Somebody looks at the extent or changes it.
    changing: Exclusion,
    /// The advisory locks.
    pub locks: RefCell<Locks>,
}

impl File {
    /// The file on a disk.
    pub fn new(disk: Disk) -> Self {
        Self {
            disk,
            extent: Cell::new(None),
            changing: Exclusion::default(),
            locks: RefCell::default(),
        }
    }

    /// The disk under it.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Finds out how long the file is, the first time. Everything else comes after it.
    pub async fn open(&self) -> Result<(), Errno> {
        let _held = self.changing.enter(&self.disk).await;
        if self.extent.get().is_none() {
            self.extent.set(Some(self.look().await?));
        }
        Ok(())
    }

    async fn look(&self) -> Result<Extent, Errno> {
        let mut newest: Option<Label> = None;
        for place in label::places(self.disk.capacity()).into_iter().flatten() {
            let mut copy = [0; label::COPY];
            self.read_all(place, &mut copy).await?;
            let found = Label::parse(&copy, self.disk.capacity());
            newest = newest
                .into_iter()
                .chain(found)
                .max_by_key(|label| label.sequence);
        }
        if let Some(label) = newest {
            return Ok(Extent::Labelled(label));
        }
        let mut start = [0; START];
        let start = &mut start[..(self.disk.capacity().min(START as u64)) as usize];
        self.read_all(0, start).await?;
        Ok(if start.iter().all(|&byte| byte == 0) {
            Extent::Blank
        } else {
            Extent::Whole
        })
    }

    async fn read_all(&self, position: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        if self.disk.read(position, bytes).await? < bytes.len() {
            return Err(Errno::EIO);
        }
        Ok(())
    }

    fn extent(&self) -> Extent {
        self.extent.get().unwrap_or(Extent::Whole)
    }

    /// The length that fstat tells.
    pub fn length(&self) -> u64 {
        match self.extent() {
            Extent::Blank => 0,
            Extent::Whole => self.disk.capacity(),
            Extent::Labelled(label) => label.length,
        }
    }

    /// Where reading ends, and what SEEK_END is relative to.
    pub fn end(&self) -> u64 {
        match self.extent() {
            Extent::Blank | Extent::Whole => self.disk.capacity(),
            Extent::Labelled(label) => label.length,
        }
    }

    /// The greatest length that a label leaves room for.
    fn length_max(&self) -> u64 {
        label::places(self.disk.capacity()).map_or(0, |places| places[0])
    }

    /// Where writing ends.
    fn limit(&self) -> u64 {
        match self.extent() {
            Extent::Blank | Extent::Whole => self.disk.capacity(),
            Extent::Labelled(_) => self.length_max(),
        }
    }

    /// Reads from `position` on; 0 at the end.
    pub async fn read(&self, position: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        let count = clip(bytes.len(), position, self.end());
        self.disk.read(position, &mut bytes[..count]).await
    }

    /// Writes from `position` on; less than all if there is no room for the rest.
    pub async fn write(&self, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let count = clip(bytes.len(), position, self.limit());
        let bytes = match count {
            0 if bytes.is_empty() => return Ok(0),
            0 => return Err(Errno::ENOSPC),
            _ => &bytes[..count],
        };
        if matches!(self.extent(), Extent::Labelled(_)) && position + count as u64 > self.end() {
            return self.extend(position, bytes).await;
        }
        let written = self.disk.write(position, bytes).await?;
        if self.extent() == Extent::Blank {
            self.extent.set(Some(Extent::Whole));
        }
        Ok(written)
    }

    /// Writes beyond the end of a labelled disk.
    async fn extend(&self, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let _held = self.changing.enter(&self.disk).await;
        // Meanwhile the file may have been extended by another.
        if let Extent::Labelled(label) = self.extent() {
            self.zero(label.length, position.min(label.high_water))
                .await?;
        }
        let written = self.disk.write(position, bytes).await?;
        let end = position + written as u64;
        if end > self.end() {
            self.put_label(end).await?;
        }
        Ok(written)
    }

    /// Sets the length (ftruncate).
    pub async fn set_length(&self, length: u64) -> Result<(), Errno> {
        let _held = self.changing.enter(&self.disk).await;
        let extent = self.extent();
        if extent == Extent::Whole && length == self.disk.capacity() {
            return Ok(());
        }
        if length > self.length_max() {
            return Err(Errno::ENOSPC);
        }
        if let Extent::Labelled(label) = extent {
            if label.length == length {
                return Ok(());
            }
            self.zero(label.length, length.min(label.high_water))
                .await?;
        }
        self.put_label(length).await
    }

    /// Makes a file with a length empty; a disk without one stays as it is (O_TRUNC).
    pub async fn empty(&self) -> Result<(), Errno> {
        match self.extent() {
            Extent::Labelled(_) => self.set_length(0).await,
            Extent::Blank | Extent::Whole => Ok(()),
        }
    }

    /// The frontend, when nobody uses the file any more.
    pub fn into_front(self) -> Blkfront {
        self.disk.into_front()
    }

    /// Writes the label for a new length.
    async fn put_label(&self, length: u64) -> Result<(), Errno> {
        let (sequence, used) = match self.extent() {
            Extent::Blank => (0, 0),
            Extent::Whole => (0, self.length_max()),
            Extent::Labelled(label) => (label.sequence, label.high_water),
        };
        let label = Label {
            sequence: sequence + 1,
            length,
            high_water: used.max(length),
        };
        let capacity = self.disk.capacity();
        let places = label::places(capacity).ok_or(Errno::ENOSPC)?;
        self.write_all(label.place(places), &label.emit(capacity))
            .await?;
        self.extent.set(Some(Extent::Labelled(label)));
        Ok(())
    }

    async fn zero(&self, from: u64, to: u64) -> Result<(), Errno> {
        let zeros: Vec<u8> = alloc::vec![0; clip(ZEROS, from, to)];
        let mut at = from;
        while at < to {
            let count = clip(zeros.len(), at, to);
            self.write_all(at, &zeros[..count]).await?;
            at += count as u64;
        }
        Ok(())
    }

    async fn write_all(&self, position: u64, bytes: &[u8]) -> Result<(), Errno> {
        if self.disk.write(position, bytes).await? < bytes.len() {
            return Err(Errno::EIO);
        }
        Ok(())
    }
}

/// How much of `length` bytes from `position` on is before `end`.
fn clip(length: usize, position: u64, end: u64) -> usize {
    let room = end.saturating_sub(position);
    usize::try_from(room).map_or(length, |room| length.min(room))
}

/// Lets one operation at a time through.
#[derive(Default)]
pub struct Exclusion(Cell<bool>);

/// Somebody is through; dropped when done.
pub struct Held<'e> {
    exclusion: &'e Exclusion,
    disk: &'e Disk,
}

impl Exclusion {
    /// Waits, through a disk's watchers, until nobody else is through.
    pub async fn enter<'e>(&'e self, disk: &'e Disk) -> Held<'e> {
        disk.wait_for(|| (!self.0.replace(true)).then_some(()))
            .await;
        Held {
            exclusion: self,
            disk,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.exclusion.0.set(false);
        self.disk.release();
    }
}
