//! Sockets (`sys/socket.h`): pairs within the guest.

use super::{blocking, count_of, description, fail, files, status_of};
use crate::Errno;
use crate::descriptors::stream::{End, socket_pair};
use crate::descriptors::{Description, FileType, O_RDWR};
use alloc::rc::Rc;
use core::ffi::{c_int, c_void};

/// Two connected sockets, of the kind that has no messages.
#[unsafe(no_mangle)]
unsafe extern "C" fn socketpair(
    domain: c_int,
    kind: c_int,
    _protocol: c_int,
    place: *mut c_int,
) -> c_int {
    if domain != libc::AF_UNIX {
        return fail(Errno::EOPNOTSUPP);
    }
    if kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) != libc::SOCK_STREAM {
        return fail(Errno(libc::ESOCKTNOSUPPORT));
    }
    let flags = O_RDWR | kind & libc::SOCK_NONBLOCK;
    let (one, other) = socket_pair();
    // SAFETY: the caller gives two places.
    unsafe {
        files::put_pair(
            place,
            Description::new(one, flags),
            Description::new(other, flags),
        )
    }
}

fn socket(descriptor: c_int) -> Result<Rc<Description>, Errno> {
    let open = description(descriptor)?;
    match open.object.status().file_type {
        FileType::Socket => Ok(open),
        _ => Err(Errno::ENOTSOCK),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(
    descriptor: c_int,
    place: *mut c_void,
    count: usize,
    flags: c_int,
) -> isize {
    let received = || {
        let open = socket(descriptor)?;
        let buffer = if count == 0 {
            &mut [][..]
        } else {
            // SAFETY: the caller gives a buffer, which is only written.
            unsafe { core::slice::from_raw_parts_mut(place.cast::<u8>(), count) }
        };
        let attempt = || match open.object.as_any().downcast_ref::<End>() {
            Some(end) if flags & libc::MSG_PEEK != 0 => end.peek(buffer),
            _ => open.object.read(buffer),
        };
        if flags & libc::MSG_DONTWAIT != 0 {
            let mut attempt = attempt;
            return attempt();
        }
        blocking(&open, attempt)
    };
    count_of(received())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(
    descriptor: c_int,
    place: *const c_void,
    count: usize,
    flags: c_int,
) -> isize {
    let sent = || {
        let open = socket(descriptor)?;
        // SAFETY: the caller gives a buffer.
        let bytes = unsafe { files::data(place, count) };
        if flags & libc::MSG_DONTWAIT != 0 {
            return open.object.write(bytes);
        }
        files::write_to(&open, bytes)
    };
    count_of(sent())
}

#[unsafe(no_mangle)]
extern "C" fn shutdown(descriptor: c_int, how: c_int) -> c_int {
    let (read, write) = match how {
        libc::SHUT_RD => (true, false),
        libc::SHUT_WR => (false, true),
        libc::SHUT_RDWR => (true, true),
        _ => return fail(Errno::EINVAL),
    };
    status_of(description(descriptor).and_then(|open| open.object.shutdown(read, write)))
}
