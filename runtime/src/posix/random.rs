//! Random numbers (`sys/random.h`, `/dev/urandom`).

use crate::descriptors::{FileType, Object, Status};
use crate::{Errno, random};
use core::any::Any;

/// getrandom(2). Never waits and never gives less.
///
/// # Safety
/// `place` has room for `count` bytes.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getrandom(place: *mut u8, count: usize, _flags: u32) -> isize {
    // SAFETY: promised by the caller; the bytes are initialised first, as a slice must be.
    unsafe {
        place.write_bytes(0, count);
        random::fill(core::slice::from_raw_parts_mut(place, count));
    }
    count as isize
}

/// getentropy(3).
///
/// # Safety
/// `place` has room for `count` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(place: *mut u8, count: usize) -> core::ffi::c_int {
    if count > 256 {
        return super::fail(Errno::EIO);
    }
    // SAFETY: promised by the caller.
    unsafe { getrandom(place, count, 0) };
    0
}

/// `/dev/urandom` and `/dev/random`.
pub(super) struct RandomDevice;

impl Object for RandomDevice {
    fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        random::fill(bytes);
        Ok(bytes.len())
    }

    /// What is written is taken as entropy on Linux; here it is not needed.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        Ok(bytes.len())
    }

    fn status(&self) -> Status {
        Status {
            file_type: FileType::Character,
            permissions: 0o666,
            size: 0,
            inode: 9,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
