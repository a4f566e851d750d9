//! `/dev/xvda` and its like: a disk as a file.
//!
//! From the outside in: [`OpenFile`] is what a descriptor stands for, with its position; [`file`] says how long
//! a disk is as a file, which is more than Linux lets a device be; [`disk`] reads and writes bytes of a disk
//! whose requests are in `xen/blkfront`. There is no cache: what a write has acknowledged is with the backend,
//! and durable after fdatasync.
//!
//! Waiting for a disk is not what the other objects do (answer EAGAIN and tell when to try again), because a
//! request that was made is a request. So these operations are futures, and the C symbols wait for them.

pub mod disk;
pub mod file;
pub mod label;
pub mod locks;

#[cfg(test)]
mod tests;

use super::{FileType, O_APPEND, O_DSYNC, Object, Status, Watchers};
use crate::Errno;
use crate::xen::blkfront::wire::Parameters;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::cell::Cell;
use core::ops::Range;
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use disk::Disk;
use file::{Exclusion, File};
use locks::{Conflict, Kind, Owner, RangeLock};

/// What lseek's position is relative to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are lseek(2)'s")]
pub enum Whence {
    Set,
    Current,
    End,
}

/// What is asked of a file.
#[derive(Debug)]
pub enum Call<'b> {
    /// Read at the position and move it.
    Read(&'b mut [u8]),
    /// Read at a place.
    ReadAt(u64, &'b mut [u8]),
    /// Write at the position, or at the end if it was opened so, and move it.
    Write(&'b [u8]),
    /// Write at a place.
    WriteAt(u64, &'b [u8]),
    /// Make durable what was written.
    Flush,
    /// Set the length.
    SetLength(u64),
    /// Make it empty, if it has a length (O_TRUNC).
    Empty,
}

/// A call on its way. What comes out is a count of bytes, 0 where none is meant.
pub type Operation<'b> = Pin<Box<dyn Future<Output = Result<usize, Errno>> + 'b>>;

/// A file on a disk, as the C symbols see it. They know of no other type here, so that an image whose program
/// opens no disks is linked without all of this.
pub trait Storage {
    /// Begins a call, which goes on when it is polled; that makes sense whenever the watchers are told.
    fn begin<'b>(&'b self, call: Call<'b>) -> Operation<'b>;

    /// Who is told when a call may go on, or a lock may be free.
    fn watchers(&self) -> &Watchers;

    /// Moves the position, and says where it is (lseek).
    fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno>;

    /// Where reading ends.
    fn end(&self) -> u64;

    /// What the backend says of the disk.
    fn parameters(&self) -> Parameters;

    /// flock(2): `None` unlocks.
    fn try_lock(&self, kind: Option<Kind>) -> Result<(), Conflict>;

    /// F_OFD_SETLK: `None` unlocks.
    fn try_lock_range(&self, range: Range<u64>, kind: Option<Kind>) -> Result<(), Conflict>;

    /// F_OFD_GETLK: who would be waited for.
    fn conflict(&self, range: &Range<u64>, kind: Kind) -> Option<RangeLock>;
}

/// An open disk.
pub struct OpenFile {
    file: Rc<File>,
    owner: Owner,
    flags: i32,
    position: Cell<u64>,
    /// Somebody reads or writes at the position and will change it.
    moving: Exclusion,
}

impl OpenFile {
    /// Opens the disk with `flags` (`O_*`).
    pub async fn open(file: Rc<File>, flags: i32) -> Result<Self, Errno> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        file.open().await?;
        Ok(Self {
            file,
            owner: Owner(OPENED.fetch_add(1, Ordering::Relaxed)),
            flags,
            position: Cell::new(0),
            moving: Exclusion::default(),
        })
    }

    /// The file on the disk.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The disk.
    pub fn disk(&self) -> &Disk {
        self.file.disk()
    }

    /// Reads at the position and moves it.
    pub async fn read_next(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        let _held = self.moving.enter(self.disk()).await;
        let count = self.file.read(self.position.get(), bytes).await?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }

    /// Writes at the position, or at the end if it was opened so, and moves it.
    pub async fn write_next(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let _held = self.moving.enter(self.disk()).await;
        if self.flags & O_APPEND != 0 {
            self.position.set(self.file.end());
        }
        let count = self.write(self.position.get(), bytes).await?;
        self.position.set(self.position.get() + count as u64);
        Ok(count)
    }

    /// Writes at a place; durable at once if it was opened so.
    pub async fn write(&self, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let count = self.file.write(position, bytes).await?;
        // O_SYNC contains O_DSYNC.
        if self.flags & O_DSYNC != 0 {
            self.disk().flush().await?;
        }
        Ok(count)
    }

    /// Who waits for a lock may get it now.
    fn locks_changed(&self, may_be_free: bool) {
        if may_be_free {
            self.disk().watchers().notify();
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let released = self.file.locks.borrow_mut().release(self.owner);
        self.locks_changed(released);
    }
}

impl Storage for OpenFile {
    fn begin<'b>(&'b self, call: Call<'b>) -> Operation<'b> {
        Box::pin(async move {
            match call {
                Call::Read(bytes) => self.read_next(bytes).await,
                Call::ReadAt(position, bytes) => self.file.read(position, bytes).await,
                Call::Write(bytes) => self.write_next(bytes).await,
                Call::WriteAt(position, bytes) => self.write(position, bytes).await,
                Call::Flush => self.disk().flush().await.map(|()| 0),
                Call::SetLength(length) => self.file.set_length(length).await.map(|()| 0),
                Call::Empty => self.file.empty().await.map(|()| 0),
            }
        })
    }

    fn watchers(&self) -> &Watchers {
        self.disk().watchers()
    }

    fn end(&self) -> u64 {
        self.file.end()
    }

    fn parameters(&self) -> Parameters {
        self.disk().parameters()
    }

    fn seek(&self, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let from = match whence {
            Whence::Set => 0,
            Whence::Current => self.position.get(),
            Whence::End => self.file.end(),
        };
        let to = from
            .checked_add_signed(offset)
            .filter(|&to| i64::try_from(to).is_ok())
            .ok_or(Errno::EINVAL)?;
        self.position.set(to);
        Ok(to)
    }

    fn try_lock(&self, kind: Option<Kind>) -> Result<(), Conflict> {
        let locked = self.file.locks.borrow_mut().lock_whole(self.owner, kind);
        self.locks_changed(kind.is_none());
        locked
    }

    fn try_lock_range(&self, range: Range<u64>, kind: Option<Kind>) -> Result<(), Conflict> {
        let mut locks = self.file.locks.borrow_mut();
        let locked = locks.lock_range(self.owner, range, kind);
        drop(locks);
        self.locks_changed(kind != Some(Kind::Exclusive));
        locked
    }

    fn conflict(&self, range: &Range<u64>, kind: Kind) -> Option<RangeLock> {
        let locks = self.file.locks.borrow();
        locks.conflict(self.owner, range, kind).cloned()
    }
}

impl Object for OpenFile {
    fn status(&self) -> Status {
        status(&self.file)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What stat says of a disk.
pub fn status(file: &File) -> Status {
    let disk = file.disk();
    Status {
        file_type: FileType::Block,
        permissions: if disk.parameters().read_only {
            0o440
        } else {
            0o660
        },
        size: file.length(),
        // The name's last letter makes the numbers differ; other objects have small ones.
        inode: 0x100 + u64::from(disk.name().bytes().last().unwrap_or_default()),
    }
}
