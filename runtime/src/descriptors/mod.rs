//! File descriptors and what is behind them.
//!
//! A [`Table`] maps numbers to open [`Description`]s, which share an [`Object`]: [`stream`] (pipes and
//! socket pairs), [`event`] (eventfd), [`epoll`], [`device`] (`/dev/null` and its like), [`block`]
//! (`/dev/xvda`). Objects never block: they answer [`Errno::EAGAIN`], tell their [`Watchers`] when that would
//! change, and the C symbols wait. So all of it runs, and is tested, on Linux.

pub mod block;
pub mod device;
pub mod epoll;
pub mod event;
pub mod gather;
pub mod stream;
mod table;
mod watchers;

pub use block::Storage;
pub use table::{DESCRIPTORS_MAX, Table};
pub use watchers::Watchers;

use crate::Errno;
use alloc::rc::Rc;
use core::any::Any;
use core::cell::Cell;

/// What can be done with an object now, in the bits of poll(2) and epoll(7), which agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events(pub u32);

impl Events {
    /// There is something to read, or the end.
    pub const IN: Events = Events(1);
    /// There is room to write.
    pub const OUT: Events = Events(4);
    /// Something went wrong.
    pub const ERR: Events = Events(8);
    /// The other end is gone.
    pub const HUP: Events = Events(0x10);
    /// The other end will write no more.
    pub const RDHUP: Events = Events(0x2000);

    /// Both.
    pub const fn or(self, other: Events) -> Events {
        Events(self.0 | other.0)
    }

    /// `self` if `condition`, else nothing.
    pub const fn when(self, condition: bool) -> Events {
        if condition { self } else { Events(0) }
    }

    /// What both have.
    pub const fn and(self, other: Events) -> Events {
        Events(self.0 & other.0)
    }

    /// Whether there is nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What `stat` says an object is (the type bits of `st_mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
#[allow(missing_docs, reason = "the names are stat(2)'s")]
pub enum FileType {
    Fifo = 0o010_000,
    Character = 0o020_000,
    Directory = 0o040_000,
    Block = 0o060_000,
    Regular = 0o100_000,
    Socket = 0o140_000,
}

/// What `stat` says of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is.
    pub file_type: FileType,
    /// Its permission bits.
    pub permissions: u32,
    /// Its size in bytes, where it has one.
    pub size: u64,
    /// Its number.
    pub inode: u64,
}

/// What a descriptor stands for.
///
/// Operations that an object does not have answer what Linux answers.
pub trait Object: Any {
    /// Takes bytes; 0 is the end.
    fn read(&self, _bytes: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// Gives bytes, and says how many were taken.
    fn write(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EINVAL)
    }

    /// What can be done now. Files can always be read and written.
    fn events(&self) -> Events {
        Events::IN.or(Events::OUT)
    }

    /// Who is told when [`Object::events`] changes; `None` for what never changes.
    fn watchers(&self) -> Option<&Watchers> {
        None
    }

    /// What it is.
    fn status(&self) -> Status;

    /// How many bytes can be read at once, for FIONREAD.
    fn available(&self) -> Result<usize, Errno> {
        Err(Errno::ENOTTY)
    }

    /// Ends reading, writing or both (shutdown(2)).
    fn shutdown(&self, _read: bool, _write: bool) -> Result<(), Errno> {
        Err(Errno::ENOTSOCK)
    }

    /// The object as a file on a disk.
    fn storage(&self) -> Option<&dyn Storage> {
        None
    }

    /// The object as what it is, for calls that only one kind has.
    fn as_any(&self) -> &dyn Any;
}

/// An open file description: an object and the state that duplicated descriptors share.
pub struct Description {
    /// The object.
    pub object: Rc<dyn Object>,
    /// Reads and writes answer EAGAIN instead of waiting (O_NONBLOCK).
    pub nonblocking: Cell<bool>,
    /// The other `O_*` flags it was opened with, for F_GETFL.
    pub flags: i32,
    /// How long a call may wait to receive, accept or read, in nanoseconds (SO_RCVTIMEO).
    pub receive_timeout_ns: Cell<Option<u64>>,
    /// How long a call may wait to send, write or connect, in nanoseconds (SO_SNDTIMEO).
    pub send_timeout_ns: Cell<Option<u64>>,
}

impl Description {
    /// A description of `object`, opened with `flags` (`O_*`).
    pub fn new(object: Rc<dyn Object>, flags: i32) -> Rc<Self> {
        let nonblocking = Cell::new(flags & O_NONBLOCK != 0);
        Rc::new(Self {
            object,
            nonblocking,
            flags: flags & !O_NONBLOCK,
            receive_timeout_ns: Cell::new(None),
            send_timeout_ns: Cell::new(None),
        })
    }

    /// Whether it may be read.
    pub fn is_readable(&self) -> bool {
        self.flags & O_ACCMODE != O_WRONLY
    }

    /// Whether it may be written.
    pub fn is_writable(&self) -> bool {
        self.flags & O_ACCMODE != O_RDONLY
    }
}

/// Mask of the access mode.
pub const O_ACCMODE: i32 = 3;
/// Open for reading.
pub const O_RDONLY: i32 = 0;
/// Open for writing.
pub const O_WRONLY: i32 = 1;
/// Open for both.
pub const O_RDWR: i32 = 2;
/// Write at the end.
pub const O_APPEND: i32 = 0o2000;
/// What is written is durable at once.
pub const O_DSYNC: i32 = 0o10_000;
/// Do not wait.
pub const O_NONBLOCK: i32 = 0o4000;
/// Close at exec, which never happens here.
pub const O_CLOEXEC: i32 = 0o2_000_000;
