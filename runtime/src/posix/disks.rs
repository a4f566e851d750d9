//! Disks as files: what only they have among the calls of `unistd.h`, `fcntl.h` and `sys/ioctl.h`, and waiting
//! for them.

use super::files::{buffer, data};
use super::{bytes, count_of, description, fail, number_of, status_of};
use crate::descriptors::block::locks::{Conflict, Kind};
use crate::descriptors::block::{Call, OpenFile, Whence};
use crate::descriptors::{Description, Object, Storage, Watchers};
use crate::machine::{block, report, threads};
use crate::{Errno, threads as all_threads};
use alloc::rc::Rc;
use alloc::string::String;
use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use core::ops::Range;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};

/// Size of a disk in bytes (`linux/fs.h`).
const BLKGETSIZE64: c_ulong = 0x8008_1272;
/// Bytes of its smallest unit.
const BLKSSZGET: c_ulong = 0x1268;

type Opener = fn(name: &[u8], flags: c_int) -> Result<Rc<dyn Object>, Errno>;

unsafe extern "C" {
    /// The address of [`open_disk`], or 0 in an image without disks: see `link.ld`.
    static __disk_opener: usize;
}

/// Opens the disk of a name in `/dev`. The image builder names this function to the linker for images that
/// have disks; nothing else refers to it, so in the others all of it is left out.
#[unsafe(no_mangle)]
fn open_disk(name: &[u8], flags: c_int) -> Result<Rc<dyn Object>, Errno> {
    let name = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
    let file = block::open(name)?;
    if file.disk().parameters().read_only && flags & libc::O_ACCMODE != libc::O_RDONLY {
        return Err(Errno::EACCES);
    }
    let shared = file.clone();
    let opening = pin!(OpenFile::open(file, flags));
    Ok(Rc::new(wait_for(shared.disk().watchers(), opening)?))
}

/// Opens the disk of a name in `/dev`, in images that have disks.
pub(super) fn open(name: &[u8], flags: c_int) -> Result<Rc<dyn Object>, Errno> {
    // SAFETY: the linker script defines the word. It is read so that the compiler does not take the address of
    // a function for one that cannot be 0.
    let opener = unsafe { (&raw const __disk_opener).read_volatile() };
    if opener == 0 {
        report::warning(format_args!(
            "/dev/{}: this image has no driver for disks; add \"disk\" to `devices` in its description",
            String::from_utf8_lossy(name)
        ));
        return Err(Errno::ENOENT);
    }
    // SAFETY: it is the address of `open_disk`, which has this type.
    let opener: Opener = unsafe { core::mem::transmute(opener) };
    opener(name, flags)
}

/// Waits for an operation on a disk. As on Linux, no signal interrupts it; handlers run meanwhile.
fn wait_for<R>(watchers: &Watchers, mut operation: Pin<&mut dyn Future<Output = R>>) -> R {
    let current = all_threads::current();
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(result) = operation.as_mut().poll(&mut context) {
            return result;
        }
        watchers.add_thread(current);
        threads::wait(None);
        watchers.remove_thread(current);
    }
}

/// Makes a call and waits for it.
pub(super) fn complete(file: &dyn Storage, call: Call) -> Result<usize, Errno> {
    wait_for(file.watchers(), file.begin(call).as_mut())
}

/// O_TRUNC empties what has a length; Linux ignores it for what has none.
pub(super) fn truncate_if_asked(open: &Description) -> Result<(), Errno> {
    match open.object.storage() {
        Some(file) if open.flags & libc::O_TRUNC != 0 && open.is_writable() => {
            complete(file, Call::Empty).map(drop)
        }
        _ => Ok(()),
    }
}

fn position(offset: i64, count: usize) -> Result<u64, Errno> {
    i64::try_from(count)
        .ok()
        .and_then(|count| offset.checked_add(count))
        .and_then(|_| u64::try_from(offset).ok())
        .ok_or(Errno::EINVAL)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(
    descriptor: c_int,
    place: *mut c_void,
    count: usize,
    offset: i64,
) -> isize {
    let read = || {
        let open = description(descriptor)?;
        let file = open.object.storage().ok_or(Errno::ESPIPE)?;
        if !open.is_readable() {
            return Err(Errno::EBADF);
        }
        // SAFETY: the caller gives a buffer.
        let place = unsafe { buffer(place, count) };
        complete(file, Call::ReadAt(position(offset, count)?, place))
    };
    count_of(read())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    descriptor: c_int,
    place: *const c_void,
    count: usize,
    offset: i64,
) -> isize {
    let written = || {
        let open = description(descriptor)?;
        let file = open.object.storage().ok_or(Errno::ESPIPE)?;
        if !open.is_writable() {
            return Err(Errno::EBADF);
        }
        // SAFETY: the caller gives a buffer.
        let bytes = unsafe { data(place, count) };
        complete(file, Call::WriteAt(position(offset, count)?, bytes))
    };
    count_of(written())
}

#[unsafe(no_mangle)]
extern "C" fn lseek64(descriptor: c_int, offset: i64, whence: c_int) -> i64 {
    let moved = || {
        let open = description(descriptor)?;
        let file = open.object.storage().ok_or(Errno::ESPIPE)?;
        let whence = match whence {
            libc::SEEK_SET => Whence::Set,
            libc::SEEK_CUR => Whence::Current,
            libc::SEEK_END => Whence::End,
            _ => return Err(Errno::EINVAL),
        };
        file.seek(offset, whence)
    };
    match moved() {
        // Positions are no greater than i64::MAX.
        Ok(position) => position as i64,
        Err(error) => i64::from(fail(error)),
    }
}

/// Makes durable what was written. What is no file has nothing to lose, and says so as Linux does.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    let flushed = || {
        let open = description(descriptor)?;
        let file = open.object.storage().ok_or(Errno::EINVAL)?;
        complete(file, Call::Flush).map(drop)
    };
    status_of(flushed())
}

/// The same: what a file has beside its data is on the same disk.
#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    fdatasync(descriptor)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(descriptor: c_int, length: i64) -> c_int {
    let changed = || {
        let open = description(descriptor)?;
        let file = open.object.storage().filter(|_| open.is_writable());
        let length = position(length, 0)?;
        complete(file.ok_or(Errno::EINVAL)?, Call::SetLength(length)).map(drop)
    };
    status_of(changed())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn truncate64(path: *const c_char, length: i64) -> c_int {
    // SAFETY: the caller gives a string.
    let descriptor = super::files::open_path(unsafe { bytes(path) }, libc::O_WRONLY);
    number_of(descriptor.map(|descriptor| {
        let changed = ftruncate64(descriptor, length);
        drop(super::table().remove(descriptor));
        changed
    }))
}

/// Tries until nobody else has a lock that conflicts, or once if `wait` is not asked for.
fn lock(
    file: &dyn Storage,
    wait: bool,
    attempt: &mut dyn FnMut() -> Result<(), Conflict>,
) -> Result<(), Errno> {
    while attempt().is_err() {
        if !wait {
            return Err(Errno::EAGAIN);
        }
        let watchers = file.watchers();
        let current = all_threads::current();
        watchers.add_thread(current);
        let wake = threads::wait(None);
        watchers.remove_thread(current);
        if wake == all_threads::Wake::Interrupted && !threads::restarts() {
            return Err(Errno::EINTR);
        }
    }
    Ok(())
}

/// Advisory locks; of what is no disk there is only one user.
#[unsafe(no_mangle)]
extern "C" fn flock(descriptor: c_int, operation: c_int) -> c_int {
    let locked = || {
        let open = description(descriptor)?;
        let kind = match operation & !libc::LOCK_NB {
            libc::LOCK_SH => Some(Kind::Shared),
            libc::LOCK_EX => Some(Kind::Exclusive),
            libc::LOCK_UN => None,
            _ => return Err(Errno::EINVAL),
        };
        let Some(file) = open.object.storage() else {
            return Ok(());
        };
        let wait = operation & libc::LOCK_NB == 0;
        lock(file, wait, &mut || file.try_lock(kind))
    };
    status_of(locked())
}

/// The bytes that fcntl's structure means; a length of 0 reaches beyond every end.
fn range_of(file: &dyn Storage, lock: &libc::flock) -> Result<Range<u64>, Errno> {
    let from = match c_int::from(lock.l_whence) {
        libc::SEEK_SET => 0,
        libc::SEEK_CUR => file.seek(0, Whence::Current)?,
        libc::SEEK_END => file.end(),
        _ => return Err(Errno::EINVAL),
    };
    let at = from.checked_add_signed(lock.l_start).ok_or(Errno::EINVAL)?;
    let other = at.checked_add_signed(lock.l_len).ok_or(Errno::EINVAL)?;
    Ok(match lock.l_len {
        0 => at..u64::MAX,
        length if length > 0 => at..other,
        _ => other..at,
    })
}

/// fcntl's locks: those of descriptions conflict with each other, those of the process never do.
///
/// # Safety
/// `argument` points to a `struct flock`, as the commands that are answered want it.
pub(super) unsafe fn lock_range(
    open: &Description,
    command: c_int,
    argument: c_long,
) -> Result<c_int, Errno> {
    // SAFETY: promised by the caller.
    let place = || unsafe { &mut *(argument as *mut libc::flock) };
    match (command, open.object.storage()) {
        (libc::F_SETLK | libc::F_SETLKW, _) | (libc::F_OFD_SETLK | libc::F_OFD_SETLKW, None) => {}
        (libc::F_GETLK, _) | (libc::F_OFD_GETLK, None) => {
            place().l_type = libc::F_UNLCK as i16;
        }
        (libc::F_OFD_SETLK | libc::F_OFD_SETLKW, Some(file)) => {
            let kind = kind_of(place())?;
            let range = range_of(file, place())?;
            lock(file, command == libc::F_OFD_SETLKW, &mut || {
                file.try_lock_range(range.clone(), kind)
            })?;
        }
        (libc::F_OFD_GETLK, Some(file)) => {
            let kind = kind_of(place())?.ok_or(Errno::EINVAL)?;
            match file.conflict(&range_of(file, place())?, kind) {
                None => place().l_type = libc::F_UNLCK as i16,
                Some(found) => {
                    place().l_type = match found.kind {
                        Kind::Shared => libc::F_RDLCK as i16,
                        Kind::Exclusive => libc::F_WRLCK as i16,
                    };
                    place().l_whence = libc::SEEK_SET as i16;
                    place().l_start = found.range.start as i64;
                    let length = found.range.end - found.range.start;
                    place().l_len = i64::try_from(length).unwrap_or(0);
                    place().l_pid = -1;
                }
            }
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

fn kind_of(lock: &libc::flock) -> Result<Option<Kind>, Errno> {
    match c_int::from(lock.l_type) {
        libc::F_RDLCK => Ok(Some(Kind::Shared)),
        libc::F_WRLCK => Ok(Some(Kind::Exclusive)),
        libc::F_UNLCK => Ok(None),
        _ => Err(Errno::EINVAL),
    }
}

/// The requests of ioctl(2) that disks have.
///
/// # Safety
/// `argument` points to what the request wants.
pub(super) unsafe fn control(
    open: &Description,
    request: c_ulong,
    argument: *mut c_int,
) -> Result<(), Errno> {
    let file = open.object.storage().ok_or(Errno::ENOTTY)?;
    let parameters = file.parameters();
    match request {
        // SAFETY: the caller gives a 64-bit number for this request.
        BLKGETSIZE64 => unsafe { argument.cast::<u64>().write(parameters.capacity) },
        // SAFETY: and an int for this one.
        BLKSSZGET => unsafe { argument.write(parameters.block as c_int) },
        _ => return Err(Errno::ENOTTY),
    }
    Ok(())
}
