//! Sockets (`sys/socket.h`): TCP and UDP over IPv4 and IPv6, and pairs within the guest.

use super::{blocking, count_of, description, fail, files, number_of, status_of, table, until};
use crate::Errno;
use crate::descriptors::stream::{End, socket_pair};
use crate::descriptors::{Description, FileType, O_RDWR, Object};
use crate::machine::net::{Socket, with_stack};
use crate::net::Family;
use alloc::rc::Rc;
use core::ffi::{c_int, c_void};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

const FLAGS: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;

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
    if kind & !FLAGS != libc::SOCK_STREAM {
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

#[unsafe(no_mangle)]
extern "C" fn socket(domain: c_int, kind: c_int, _protocol: c_int) -> c_int {
    let made = || {
        let family = match domain {
            AF_INET => Family::V4,
            AF_INET6 => Family::V6,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let datagrams = match kind & !FLAGS {
            libc::SOCK_STREAM => false,
            libc::SOCK_DGRAM => true,
            _ => return Err(Errno(libc::ESOCKTNOSUPPORT)),
        };
        let socket = Socket::open(family, datagrams)?;
        table().insert(
            Description::new(socket, O_RDWR | kind & libc::SOCK_NONBLOCK),
            0,
        )
    };
    number_of(made())
}

/// A descriptor that is a socket of any kind.
pub(super) fn any_socket(descriptor: c_int) -> Result<Rc<Description>, Errno> {
    let open = description(descriptor)?;
    match open.object.status().file_type {
        FileType::Socket => Ok(open),
        _ => Err(Errno::ENOTSOCK),
    }
}

/// Runs `f` on a descriptor that is a socket of the network.
pub(super) fn with_socket<R>(
    descriptor: c_int,
    f: impl FnOnce(&Description, &Socket) -> Result<R, Errno>,
) -> Result<R, Errno> {
    let open = any_socket(descriptor)?;
    let socket = open
        .object
        .as_any()
        .downcast_ref::<Socket>()
        .ok_or(Errno::EOPNOTSUPP)?;
    f(&open, socket)
}

/// The address that C's structure says.
///
/// # Safety
/// `place` has `length` bytes.
unsafe fn address(place: *const sockaddr, length: socklen_t) -> Result<SocketAddr, Errno> {
    if place.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: promised by the caller; each structure is read only when it fits. It may be unaligned.
    unsafe {
        if (length as usize) < size_of::<libc::sa_family_t>() {
            return Err(Errno::EINVAL);
        }
        match c_int::from(place.cast::<libc::sa_family_t>().read_unaligned()) {
            AF_INET if length as usize >= size_of::<sockaddr_in>() => {
                let found = place.cast::<sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(u32::from_be(found.sin_addr.s_addr));
                Ok(SocketAddr::new(
                    IpAddr::V4(ip),
                    u16::from_be(found.sin_port),
                ))
            }
            AF_INET6 if length as usize >= size_of::<sockaddr_in6>() => {
                let found = place.cast::<sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(found.sin6_addr.s6_addr);
                Ok(SocketAddr::V6(SocketAddrV6::new(
                    ip,
                    u16::from_be(found.sin6_port),
                    found.sin6_flowinfo,
                    found.sin6_scope_id,
                )))
            }
            AF_INET | AF_INET6 => Err(Errno::EINVAL),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }
}

/// Puts an address into C's structure, cut to `length`, which becomes the whole length.
///
/// # Safety
/// `place` is null or has `*length` bytes.
pub(super) unsafe fn put_address(
    address: SocketAddr,
    place: *mut sockaddr,
    length: *mut socklen_t,
) {
    if place.is_null() || length.is_null() {
        return;
    }
    // SAFETY: promised by the caller; no more than there is room for is copied.
    unsafe {
        let room = length.read() as usize;
        match address {
            SocketAddr::V4(v4) => {
                let whole = sockaddr_in {
                    sin_family: AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*v4.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                put_structure(&whole, place, room);
                length.write(size_of::<sockaddr_in>() as socklen_t);
            }
            SocketAddr::V6(v6) => {
                let whole = sockaddr_in6 {
                    sin6_family: AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                put_structure(&whole, place, room);
                length.write(size_of::<sockaddr_in6>() as socklen_t);
            }
        }
    }
}

/// # Safety
/// `place` has `room` bytes.
unsafe fn put_structure<T>(whole: &T, place: *mut sockaddr, room: usize) {
    let count = room.min(size_of::<T>());
    // SAFETY: promised by the caller.
    unsafe {
        core::ptr::copy_nonoverlapping(
            core::ptr::from_ref(whole).cast::<u8>(),
            place.cast(),
            count,
        );
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bind(descriptor: c_int, place: *const sockaddr, length: socklen_t) -> c_int {
    status_of(with_socket(descriptor, |_, socket| {
        // SAFETY: the caller gives an address.
        let address = unsafe { address(place, length) }?;
        with_stack(|stack, _| match socket.is_datagram() {
            true => stack.udp_bind(socket.id(), address),
            false => stack.tcp_bind(socket.id(), address),
        })
    }))
}

#[unsafe(no_mangle)]
extern "C" fn listen(descriptor: c_int, backlog: c_int) -> c_int {
    status_of(with_socket(descriptor, |_, socket| {
        let backlog = usize::try_from(backlog).unwrap_or(0);
        with_stack(|stack, _| stack.tcp_listen(socket.id(), backlog))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept4(
    descriptor: c_int,
    place: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let accepted = with_socket(descriptor, |open, listener| {
        let socket = blocking(open, until(&open.receive_timeout_ns), || listener.accept())?;
        let peer = with_stack(|stack, _| stack.peer_addr(socket.id()));
        let open = Description::new(socket, O_RDWR | flags & libc::SOCK_NONBLOCK);
        let number = table().insert(open, 0)?;
        if let Ok(peer) = peer {
            // SAFETY: the caller gives null or a place of that length.
            unsafe { put_address(peer, place, length) };
        }
        Ok(number)
    });
    number_of(accepted)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn accept(
    descriptor: c_int,
    place: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    // SAFETY: the same promises.
    unsafe { accept4(descriptor, place, length, 0) }
}

/// Connects; a blocking socket waits until that has worked or failed.
#[unsafe(no_mangle)]
unsafe extern "C" fn connect(
    descriptor: c_int,
    place: *const sockaddr,
    length: socklen_t,
) -> c_int {
    status_of(with_socket(descriptor, |open, socket| {
        // SAFETY: the caller gives an address, of no family to forget the peer of a datagram socket.
        let to = match unsafe { address(place, length) } {
            Err(Errno::EAFNOSUPPORT) if socket.is_datagram() => {
                return with_stack(|stack, _| stack.udp_disconnect(socket.id()));
            }
            found => found?,
        };
        if socket.is_datagram() {
            return with_stack(|stack, _| stack.udp_connect(socket.id(), to));
        }
        match with_stack(|stack, now| stack.tcp_connect(now, socket.id(), to)) {
            Err(Errno::EINPROGRESS | Errno::EALREADY) if !open.nonblocking.get() => {
                wait_for_connection(open, socket)
            }
            result => result,
        }
    }))
}

/// A connection that is not there when the timeout is over goes on being made (socket(7)).
fn wait_for_connection(open: &Description, socket: &Socket) -> Result<(), Errno> {
    let waited = blocking(open, until(&open.send_timeout_ns), || {
        if open
            .object
            .events()
            .and(crate::descriptors::Events::OUT)
            .is_empty()
        {
            return Err(Errno::EAGAIN);
        }
        match with_stack(|stack, _| stack.take_error(socket.id())) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    });
    waited.map_err(|error| match error {
        Errno::EAGAIN => Errno::EINPROGRESS,
        error => error,
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getsockname(
    descriptor: c_int,
    place: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    status_of(with_socket(descriptor, |_, socket| {
        let address = with_stack(|stack, _| stack.local_addr(socket.id()))?;
        // SAFETY: the caller gives a place of that length.
        unsafe { put_address(address, place, length) };
        Ok(())
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getpeername(
    descriptor: c_int,
    place: *mut sockaddr,
    length: *mut socklen_t,
) -> c_int {
    status_of(with_socket(descriptor, |_, socket| {
        let address = with_stack(|stack, _| stack.peer_addr(socket.id()))?;
        // SAFETY: the caller gives a place of that length.
        unsafe { put_address(address, place, length) };
        Ok(())
    }))
}

/// Runs `attempt` as the description and the flags of the call say.
fn attempt<R>(
    open: &Description,
    flags: c_int,
    deadline: Option<u64>,
    mut attempt: impl FnMut() -> Result<R, Errno>,
) -> Result<R, Errno> {
    if flags & libc::MSG_DONTWAIT != 0 {
        return attempt();
    }
    blocking(open, deadline, attempt)
}

/// Receives from any kind of socket; who sent it, where that is known.
fn receive(
    open: &Description,
    bytes: &mut [u8],
    flags: c_int,
) -> Result<(usize, Option<SocketAddr>), Errno> {
    let peek = flags & libc::MSG_PEEK != 0;
    attempt(open, flags, until(&open.receive_timeout_ns), || {
        let object = open.object.as_any();
        if let Some(end) = object.downcast_ref::<End>() {
            let count = if peek {
                end.peek(bytes)
            } else {
                end.read(bytes)
            };
            return Ok((count?, None));
        }
        let socket = object.downcast_ref::<Socket>().ok_or(Errno::ENOTSOCK)?;
        with_stack(|stack, now| {
            if socket.is_datagram() {
                let received = stack.udp_recv(socket.id(), bytes, peek)?;
                let whole = flags & libc::MSG_TRUNC != 0;
                let count = if whole {
                    received.full_len
                } else {
                    received.len
                };
                return Ok((count, Some(received.from)));
            }
            let count = match peek {
                true => stack.tcp_peek(socket.id(), 0, bytes),
                false => stack.tcp_recv(now, socket.id(), bytes),
            };
            Ok((count?, None))
        })
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recvfrom(
    descriptor: c_int,
    place: *mut c_void,
    count: usize,
    flags: c_int,
    from: *mut sockaddr,
    length: *mut socklen_t,
) -> isize {
    let received = any_socket(descriptor).and_then(|open| {
        // SAFETY: the caller gives a buffer, which is only written.
        let bytes = unsafe { files::buffer(place, count) };
        let (count, sender) = receive(&open, bytes, flags)?;
        // SAFETY: the caller gives null or a place of that length.
        unsafe {
            match sender {
                Some(sender) => put_address(sender, from, length),
                None if !length.is_null() => length.write(0),
                None => {}
            }
        }
        Ok(count)
    });
    count_of(received)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn recv(
    descriptor: c_int,
    place: *mut c_void,
    count: usize,
    flags: c_int,
) -> isize {
    // SAFETY: the same promises.
    unsafe {
        recvfrom(
            descriptor,
            place,
            count,
            flags,
            core::ptr::null_mut(),
            core::ptr::null_mut(),
        )
    }
}

/// Sends through any kind of socket.
fn transmit(
    open: &Description,
    bytes: &[u8],
    flags: c_int,
    to: Option<SocketAddr>,
) -> Result<usize, Errno> {
    if let (Some(to), Some(socket)) = (to, open.object.as_any().downcast_ref::<Socket>())
        && socket.is_datagram()
    {
        return attempt(open, flags, until(&open.send_timeout_ns), || {
            with_stack(|stack, now| stack.udp_send(now, socket.id(), Some(to), bytes))
                .map(|()| bytes.len())
        });
    }
    if flags & libc::MSG_DONTWAIT != 0 {
        return open.object.write(bytes);
    }
    files::write_to(open, bytes)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sendto(
    descriptor: c_int,
    place: *const c_void,
    count: usize,
    flags: c_int,
    to: *const sockaddr,
    length: socklen_t,
) -> isize {
    let sent = any_socket(descriptor).and_then(|open| {
        // SAFETY: the caller gives null or an address.
        let to = (!to.is_null())
            .then(|| unsafe { address(to, length) })
            .transpose()?;
        // SAFETY: the caller gives a buffer.
        transmit(&open, unsafe { files::data(place, count) }, flags, to)
    });
    count_of(sent)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn send(
    descriptor: c_int,
    place: *const c_void,
    count: usize,
    flags: c_int,
) -> isize {
    // SAFETY: the same promises.
    unsafe { sendto(descriptor, place, count, flags, core::ptr::null(), 0) }
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
