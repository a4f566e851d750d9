//! Files and descriptors (`fcntl.h`, `unistd.h`, `poll.h`).
//!
//! The file system is small and read-only: `/`, `/dev` and the devices in it. What only disks have is in
//! `disks.rs`.

use super::random::RandomDevice;
use super::{
    blocking, bytes, count_of, description, disks, fail, number_of, status, status_of, table, until,
};
use crate::Errno;
use crate::descriptors::block::Call;
use crate::descriptors::device::Device;
use crate::descriptors::{Description, Events, FileType, Object, Status, gather, stream};
use crate::machine::{self, threads, time};
use crate::threads as all_threads;
use crate::threads::Wake;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::any::Any;
use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use core::slice;
use libc::{iovec, nfds_t, pollfd};

/// Buffers of a gathering or scattering call at most.
pub(super) const IOV_MAX: usize = 1024;
/// What a count can be at most.
const COUNT_MAX: usize = isize::MAX as usize;

struct Directory;

impl Object for Directory {
    fn read(&self, _bytes: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::EISDIR)
    }

    fn status(&self) -> Status {
        status::directory(2)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What is at a path, to be opened with `flags`. Paths are absolute or relative to `/`.
fn look_up(path: &[u8], flags: c_int) -> Result<Rc<dyn Object>, Errno> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let object: Rc<dyn Object> = match relative.strip_suffix(b"/").unwrap_or(relative) {
        _ if path.is_empty() => return Err(Errno::ENOENT),
        b"" | b"." | b"dev" => Rc::new(Directory),
        b"dev/null" => Rc::new(Device::Null),
        b"dev/zero" => Rc::new(Device::Zero),
        b"dev/random" | b"dev/urandom" => Rc::new(RandomDevice),
        b"dev/console" | b"dev/tty" => machine::terminal(),
        b"dev/stdin" => description(0)?.object.clone(),
        b"dev/stdout" => description(1)?.object.clone(),
        b"dev/stderr" => description(2)?.object.clone(),
        path => match path.strip_prefix(b"dev/") {
            Some(name) if name.starts_with(b"xvd") => disks::open(name, flags)?,
            _ => return Err(Errno::ENOENT),
        },
    };
    Ok(object)
}

/// The status of what is at a path.
pub(super) fn status_of_path(path: &[u8]) -> Result<Status, Errno> {
    look_up(path, libc::O_RDONLY).map(|object| object.status())
}

pub(super) fn open_path(path: &[u8], flags: c_int) -> Result<c_int, Errno> {
    let object = match look_up(path, flags) {
        Ok(_) if flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL => {
            return Err(Errno::EEXIST);
        }
        Err(Errno::ENOENT) if flags & libc::O_CREAT != 0 => return Err(Errno::EROFS),
        found => found?,
    };
    let is_directory = object.status().file_type == FileType::Directory;
    if is_directory && flags & libc::O_ACCMODE != libc::O_RDONLY {
        return Err(Errno::EISDIR);
    }
    if !is_directory && flags & libc::O_DIRECTORY != 0 {
        return Err(Errno::ENOTDIR);
    }
    let open = Description::new(object, flags);
    disks::truncate_if_asked(&open)?;
    table().insert(open, 0)
}

/// Variadic in C; the mode, which comes third, is of no use in a read-only file system.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller gives a string.
    number_of(open_path(unsafe { bytes(path) }, flags))
}

/// The same: offsets have 64 bits anyway.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the same promises.
    unsafe { open64(path, flags) }
}

/// Relative to a directory: all that can be open is `/` or `/dev`, and `/` is what std asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(_directory: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the same promises.
    unsafe { open64(path, flags) }
}

#[unsafe(no_mangle)]
extern "C" fn close(descriptor: c_int) -> c_int {
    // Dropped after the table is given back: an object's end may wake others.
    let removed = table().remove(descriptor);
    status_of(removed.map(drop))
}

fn read_from(descriptor: c_int, place: &mut [u8]) -> Result<usize, Errno> {
    let open = description(descriptor)?;
    if !open.is_readable() {
        return Err(Errno::EBADF);
    }
    match open.object.storage() {
        Some(file) => disks::complete(file, Call::Read(place)),
        None => blocking(&open, until(&open.receive_timeout_ns), || {
            open.object.read(place)
        }),
    }
}

/// Writes all of it, or what fits without waiting.
pub(super) fn write_to(open: &Description, bytes: &[u8]) -> Result<usize, Errno> {
    if !open.is_writable() {
        return Err(Errno::EBADF);
    }
    if let Some(file) = open.object.storage() {
        return disks::complete(file, Call::Write(bytes));
    }
    let deadline = until(&open.send_timeout_ns);
    let mut written = 0;
    loop {
        match blocking(open, deadline, || open.object.write(&bytes[written..])) {
            Ok(count) => written += count,
            Err(_) if written > 0 => return Ok(written),
            Err(error) => return Err(error),
        }
        if written == bytes.len() || open.nonblocking.get() {
            return Ok(written);
        }
    }
}

/// A C buffer for reading into.
///
/// # Safety
/// `place` has `count` bytes, which may be uninitialised: nothing here looks at them before it wrote them.
pub(super) unsafe fn buffer<'b>(place: *mut c_void, count: usize) -> &'b mut [u8] {
    if count == 0 {
        return &mut [];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts_mut(place.cast(), count.min(COUNT_MAX)) }
}

/// A C buffer for writing from.
///
/// # Safety
/// `place` has `count` bytes.
pub(super) unsafe fn data<'b>(place: *const c_void, count: usize) -> &'b [u8] {
    if count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { slice::from_raw_parts(place.cast(), count.min(COUNT_MAX)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn read(descriptor: c_int, place: *mut c_void, count: usize) -> isize {
    // SAFETY: the caller gives a buffer.
    count_of(read_from(descriptor, unsafe { buffer(place, count) }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(descriptor: c_int, place: *const c_void, count: usize) -> isize {
    // SAFETY: the caller gives a buffer.
    count_of(
        description(descriptor).and_then(|open| write_to(&open, unsafe { data(place, count) })),
    )
}

/// # Safety
/// `vectors` has `count` elements, if that is a possible count.
unsafe fn vectors_of<'v>(vectors: *const iovec, count: c_int) -> Result<&'v [iovec], Errno> {
    match usize::try_from(count) {
        Ok(0) => Ok(&[]),
        // SAFETY: promised by the caller.
        Ok(count) if count <= IOV_MAX => Ok(unsafe { slice::from_raw_parts(vectors, count) }),
        _ => Err(Errno::EINVAL),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(descriptor: c_int, vectors: *const iovec, count: c_int) -> isize {
    let written = || {
        let open = description(descriptor)?;
        // SAFETY: the caller gives vectors and their buffers.
        let parts = unsafe { vectors_of(vectors, count) }?
            .iter()
            // SAFETY: as above.
            .map(|vector| unsafe { data(vector.iov_base, vector.iov_len) });
        match gather::joined(parts.clone()) {
            Some(whole) => write_to(&open, &whole),
            None => gather::write(parts, |part| write_to(&open, part)),
        }
    };
    count_of(written())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readv(descriptor: c_int, vectors: *const iovec, count: c_int) -> isize {
    // SAFETY: the caller gives vectors.
    let first = unsafe { vectors_of(vectors, count) }
        .map(|vectors| vectors.iter().find(|vector| vector.iov_len > 0));
    match first {
        Err(error) => fail(error) as isize,
        // SAFETY: the caller gives buffers. Less than all may be read.
        Ok(Some(first)) => unsafe { read(descriptor, first.iov_base, first.iov_len) },
        Ok(None) => 0,
    }
}

/// Variadic in C; the argument that some commands have comes third.
#[unsafe(no_mangle)]
extern "C" fn fcntl(descriptor: c_int, command: c_int, argument: c_long) -> c_int {
    let done = || {
        let open = description(descriptor)?;
        match command {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {
                let least = usize::try_from(argument).map_err(|_| Errno::EINVAL)?;
                table().insert(open, least)
            }
            // There is no exec that could close anything.
            libc::F_GETFD => Ok(libc::FD_CLOEXEC),
            libc::F_SETFD => Ok(0),
            libc::F_GETFL => Ok(open.flags
                | if open.nonblocking.get() {
                    libc::O_NONBLOCK
                } else {
                    0
                }),
            libc::F_SETFL => {
                open.nonblocking
                    .set(argument as c_int & libc::O_NONBLOCK != 0);
                Ok(0)
            }
            // SAFETY: the caller gives a structure for the commands that are answered there.
            _ => unsafe { disks::lock_range(&open, command, argument) },
        }
    };
    number_of(done())
}

/// The same.
#[unsafe(no_mangle)]
extern "C" fn fcntl64(descriptor: c_int, command: c_int, argument: c_long) -> c_int {
    fcntl(descriptor, command, argument)
}

/// Variadic in C; the argument comes third.
#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(descriptor: c_int, request: c_ulong, argument: *mut c_int) -> c_int {
    let done = || {
        let open = description(descriptor)?;
        match request {
            // SAFETY: the caller gives a number for these two requests.
            libc::FIONBIO => open.nonblocking.set(unsafe { argument.read() } != 0),
            libc::FIONREAD => {
                let available = open.object.available()?;
                // SAFETY: as above.
                unsafe { argument.write(c_int::try_from(available).unwrap_or(c_int::MAX)) };
            }
            libc::FIOCLEX | libc::FIONCLEX => {}
            // SAFETY: the caller gives what the request wants.
            _ => unsafe { disks::control(&open, request, argument) }?,
        }
        Ok(0)
    };
    number_of(done())
}

/// A domain's console is a stream that tools read: colours and cursor movements would spoil it.
#[unsafe(no_mangle)]
extern "C" fn isatty(descriptor: c_int) -> c_int {
    match description(descriptor) {
        Ok(_) => fail(Errno::ENOTTY),
        Err(error) => fail(error),
    };
    0
}

#[unsafe(no_mangle)]
extern "C" fn dup(descriptor: c_int) -> c_int {
    let open = description(descriptor);
    number_of(open.and_then(|open| table().insert(open, 0)))
}

#[unsafe(no_mangle)]
extern "C" fn dup2(descriptor: c_int, to: c_int) -> c_int {
    let replaced = description(descriptor).and_then(|open| {
        if descriptor == to {
            return Ok(None);
        }
        table().replace(to, open)
    });
    number_of(replaced.map(|before| {
        drop(before);
        to
    }))
}

/// # Safety
/// `place` has room for two numbers.
pub(super) unsafe fn put_pair(
    place: *mut c_int,
    first: Rc<Description>,
    second: Rc<Description>,
) -> c_int {
    let numbers = || {
        let first = table().insert(first, 0)?;
        let second = table().insert(second, 0);
        if second.is_err() {
            let removed = table().remove(first);
            drop(removed);
        }
        Ok((first, second?))
    };
    number_of(numbers().map(|(first, second)| {
        // SAFETY: promised by the caller.
        unsafe { (place.write(first), place.add(1).write(second)) };
        0
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pipe2(place: *mut c_int, flags: c_int) -> c_int {
    let (reader, writer) = stream::pipe();
    let reader = Description::new(reader, flags | libc::O_RDONLY);
    let writer = Description::new(writer, flags | libc::O_WRONLY);
    // SAFETY: the caller gives two places.
    unsafe { put_pair(place, reader, writer) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pipe(place: *mut c_int) -> c_int {
    // SAFETY: the same promises.
    unsafe { pipe2(place, 0) }
}

/// What poll(2) reports of a descriptor.
fn poll_one(entry: &pollfd) -> i16 {
    if entry.fd < 0 {
        return 0;
    }
    match description(entry.fd) {
        Err(_) => libc::POLLNVAL,
        Ok(open) => {
            let always = Events::ERR.or(Events::HUP);
            let wanted = Events(u32::from(entry.events as u16)).or(always);
            open.object.events().and(wanted).0 as i16
        }
    }
}

/// Waits until one of many descriptors can be used.
///
/// # Safety
/// `entries` has `count` elements.
#[unsafe(no_mangle)]
unsafe extern "C" fn poll(entries: *mut pollfd, count: nfds_t, timeout_ms: c_int) -> c_int {
    let entries = if count == 0 {
        &mut []
    } else {
        // SAFETY: promised by the caller.
        unsafe { slice::from_raw_parts_mut(entries, count as usize) }
    };
    let deadline = u64::try_from(timeout_ms)
        .ok()
        .map(|ms| time::now().saturating_add(ms.saturating_mul(1_000_000)));
    loop {
        let mut found = 0;
        for entry in entries.iter_mut() {
            entry.revents = poll_one(entry);
            found += c_int::from(entry.revents != 0);
        }
        if found > 0 || timeout_ms == 0 || deadline.is_some_and(|deadline| time::now() >= deadline)
        {
            return found;
        }
        if wait_for_any(entries, deadline) == Wake::Interrupted {
            return fail(Errno::EINTR);
        }
    }
}

fn wait_for_any(entries: &[pollfd], deadline: Option<u64>) -> Wake {
    let current = all_threads::current();
    let open: Vec<_> = entries
        .iter()
        .filter_map(|entry| description(entry.fd).ok())
        .collect();
    let watchers = || open.iter().filter_map(|open| open.object.watchers());
    watchers().for_each(|watchers| watchers.add_thread(current));
    let wake = threads::wait(deadline);
    watchers().for_each(|watchers| watchers.remove_thread(current));
    wake
}

/// The working directory is `/`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getcwd(place: *mut c_char, size: usize) -> *mut c_char {
    if place.is_null() || size < 2 {
        fail(Errno::ERANGE);
        return core::ptr::null_mut();
    }
    // SAFETY: the caller gives `size` bytes.
    unsafe { (place.write(b'/' as c_char), place.add(1).write(0)) };
    place
}

/// There are no symbolic links.
#[unsafe(no_mangle)]
unsafe extern "C" fn readlink(path: *const c_char, _place: *mut c_char, _size: usize) -> isize {
    // SAFETY: the caller gives a string.
    let found = look_up(unsafe { bytes(path) }, libc::O_RDONLY);
    count_of(found.and(Err(Errno::EINVAL)))
}

/// A path without symbolic links: the same, if there is something at it.
#[unsafe(no_mangle)]
unsafe extern "C" fn realpath(path: *const c_char, place: *mut c_char) -> *mut c_char {
    // SAFETY: the caller gives a string.
    let path = unsafe { bytes(path) };
    if let Err(error) = look_up(path, libc::O_RDONLY) {
        fail(error);
        return core::ptr::null_mut();
    }
    let full: Vec<u8> = [b"/", path.strip_prefix(b"/").unwrap_or(path), b"\0"].concat();
    let place = if place.is_null() {
        machine::memory::c_allocate(full.len(), 16).cast()
    } else {
        place
    };
    if place.is_null() {
        fail(Errno::ENOMEM);
        return place;
    }
    // SAFETY: the block is long enough; the caller's place has PATH_MAX bytes, more than any path here.
    unsafe { core::ptr::copy_nonoverlapping(full.as_ptr().cast(), place, full.len()) };
    place
}

/// Nothing can be changed in the file system: an error tells whether the path exists at all.
fn refuse_change(path: *const c_char) -> c_int {
    // SAFETY: the callers below are given strings.
    let found = look_up(unsafe { bytes(path) }, libc::O_RDONLY);
    fail(found.err().unwrap_or(Errno::EROFS))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    refuse_change(path)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    refuse_change(path)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rename(path: *const c_char, _to: *const c_char) -> c_int {
    refuse_change(path)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, _mode: u32) -> c_int {
    // SAFETY: the caller gives a string.
    let found = look_up(unsafe { bytes(path) }, libc::O_RDONLY);
    fail(if found.is_ok() {
        Errno::EEXIST
    } else {
        Errno::EROFS
    })
}
