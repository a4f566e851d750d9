//! What files are (`sys/stat.h`).

use super::{bytes, description, files, number_of};
use crate::Errno;
use crate::descriptors::{FileType, Status};
use core::ffi::{c_char, c_int, c_uint};
use libc::stat;

const BLOCK: u64 = 512;

fn fill(place: &mut stat, status: Status) {
    place.st_mode = status.file_type as u32 | status.permissions;
    place.st_ino = status.inode;
    place.st_nlink = 1;
    place.st_size = status.size as i64;
    place.st_blksize = crate::memory::PAGE as i64;
    place.st_blocks = status.size.div_ceil(BLOCK) as i64;
}

/// # Safety
/// `place` is a place for the answer.
unsafe fn answer(status: Result<Status, Errno>, place: *mut stat) -> c_int {
    number_of(status.map(|status| {
        // SAFETY: promised by the caller; all zeros are a valid structure.
        unsafe {
            place.write_bytes(0, 1);
            fill(&mut *place, status);
        }
        0
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fstat64(descriptor: c_int, place: *mut stat) -> c_int {
    let status = description(descriptor).map(|open| open.object.status());
    // SAFETY: the caller gives a place.
    unsafe { answer(status, place) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn stat64(path: *const c_char, place: *mut stat) -> c_int {
    // SAFETY: the caller gives a string and a place.
    unsafe { answer(files::status_of_path(bytes(path)), place) }
}

/// There are no symbolic links to follow.
#[unsafe(no_mangle)]
unsafe extern "C" fn lstat64(path: *const c_char, place: *mut stat) -> c_int {
    // SAFETY: the same promises.
    unsafe { stat64(path, place) }
}

/// The status of a path, or of an open descriptor when the path is empty and the flags say so.
#[unsafe(no_mangle)]
unsafe extern "C" fn statx(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    _mask: c_uint,
    place: *mut libc::statx,
) -> c_int {
    // std probes with null pointers whether the call is there, and expects EFAULT.
    if path.is_null() || place.is_null() {
        return super::fail(Errno::EFAULT);
    }
    // SAFETY: the caller gives a string.
    let path = unsafe { bytes(path) };
    let status = if path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        description(directory).map(|open| open.object.status())
    } else {
        files::status_of_path(path)
    };
    number_of(status.map(|status| {
        // SAFETY: the caller gives a place; all zeros are a valid structure.
        unsafe {
            place.write_bytes(0, 1);
            let answer = &mut *place;
            answer.stx_mask =
                libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_INO | libc::STATX_SIZE;
            answer.stx_mode = (status.file_type as u32 | status.permissions) as u16;
            answer.stx_nlink = 1;
            answer.stx_ino = status.inode;
            answer.stx_size = status.size;
            answer.stx_blksize = crate::memory::PAGE as u32;
            answer.stx_blocks = status.size.div_ceil(BLOCK);
        }
        0
    }))
}

/// A directory's status.
pub(super) const fn directory(inode: u64) -> Status {
    Status {
        file_type: FileType::Directory,
        permissions: 0o555,
        size: 0,
        inode,
    }
}
