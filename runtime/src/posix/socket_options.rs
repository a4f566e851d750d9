//! Options of sockets (`setsockopt`, `getsockopt`).
//!
//! Timeouts belong to the description and are all that socket pairs have too.
//!
//! What the stack does by itself is accepted and has no effect (the type of service). Buffers grow by use, up
//! to the size that is set, if one is. What the stack cannot do is refused with ENOPROTOOPT, as Linux refuses what it does not know.

use super::sockets::{any_socket, with_socket};
use super::status_of;
use crate::Errno;
use crate::descriptors::Description;
use crate::machine::net::{Socket, with_stack};
use crate::net::{TcpOptions, UdpOptions};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use libc::socklen_t;

/// What `getsockopt` says of buffers that no size was set for: the most they grow to.
const BUFFER: c_int = 1 << 20;

/// # Safety
/// `value` has `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn setsockopt(
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
        let set = any_socket(descriptor).and_then(|open| {
            if value.is_null() {
                return Err(Errno::EFAULT);
            }
            if (length as usize) < size_of::<libc::timeval>() {
                return Err(Errno::EINVAL);
            }
            // SAFETY: promised by the caller.
            let timeout = timeout_ns(unsafe { value.cast::<libc::timeval>().read_unaligned() })?;
            timeout_of(&open, name).set(timeout);
            Ok(())
        });
        return status_of(set);
    }
    status_of(with_socket(descriptor, |_, socket| {
        if value.is_null() {
            return Err(Errno::EFAULT);
        }
        if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
            if (length as usize) < size_of::<libc::linger>() {
                return Err(Errno::EINVAL);
            }
            // SAFETY: promised by the caller.
            let linger = unsafe { value.cast::<libc::linger>().read_unaligned() };
            return change_tcp(socket, &|options| {
                options.reset_on_close = linger.l_onoff != 0 && linger.l_linger == 0;
            });
        }
        if (length as usize) < size_of::<c_int>() {
            return Err(Errno::EINVAL);
        }
        // SAFETY: promised by the caller.
        set(socket, level, name, unsafe {
            value.cast::<c_int>().read_unaligned()
        })
    }))
}

/// The timeout of a description that an option names.
fn timeout_of(open: &Description, name: c_int) -> &Cell<Option<u64>> {
    match name {
        libc::SO_RCVTIMEO => &open.receive_timeout_ns,
        _ => &open.send_timeout_ns,
    }
}

/// What a `timeval` means as a timeout: zero is none, and what lies before now is over at once.
fn timeout_ns(time: libc::timeval) -> Result<Option<u64>, Errno> {
    let microseconds = u64::try_from(time.tv_usec).ok();
    let microseconds = microseconds.filter(|&count| count < 1_000_000);
    let nanoseconds = microseconds.ok_or(Errno(libc::EDOM))? * 1000;
    Ok(match u64::try_from(time.tv_sec) {
        Err(_) => Some(0),
        Ok(0) if nanoseconds == 0 => None,
        Ok(seconds) => Some(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds),
        ),
    })
}

/// One function for all options: a copy for each is kilobytes in every image.
fn change_tcp(socket: &Socket, change: &dyn Fn(&mut TcpOptions)) -> Result<(), Errno> {
    with_stack(|stack, now| {
        let mut options = stack.tcp_options(socket.id())?;
        change(&mut options);
        stack.set_tcp_options(now, socket.id(), options)
    })
}

fn change_udp(socket: &Socket, change: &dyn Fn(&mut UdpOptions)) -> Result<(), Errno> {
    with_stack(|stack, _| {
        let mut options = stack.udp_options(socket.id())?;
        change(&mut options);
        stack.set_udp_options(socket.id(), options)
    })
}

fn set(socket: &Socket, level: c_int, name: c_int, value: c_int) -> Result<(), Errno> {
    let on = value != 0;
    let number = u32::try_from(value).map_err(|_| Errno::EINVAL);
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => match socket.is_datagram() {
            true => change_udp(socket, &|options| options.reuse = on),
            false => change_tcp(socket, &|options| options.reuse_port = on),
        },
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => match socket.is_datagram() {
            true => change_udp(socket, &|options| options.reuse = on),
            // Connections that linger never hinder a listener here.
            false => Ok(()),
        },
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => {
            change_tcp(socket, &|options| options.keep_alive_enabled = on)
        }
        (libc::SOL_SOCKET, libc::SO_BROADCAST) => Ok(()),
        // Datagrams wait in few and small buffers of their own.
        (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_RCVBUF) if socket.is_datagram() => Ok(()),
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => {
            let bytes = number?;
            change_tcp(socket, &|options| options.send_max = bytes)
        }
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
            let bytes = number?;
            change_tcp(socket, &|options| options.receive_max = bytes)
        }
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
            change_tcp(socket, &|options| options.nodelay = on)
        }
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => {
            let seconds = number?;
            change_tcp(socket, &|options| options.keep_alive.idle = seconds)
        }
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => {
            let seconds = number?;
            change_tcp(socket, &|options| options.keep_alive.interval = seconds)
        }
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => {
            let count = u8::try_from(value).map_err(|_| Errno::EINVAL)?;
            change_tcp(socket, &|options| options.keep_alive.count = count)
        }
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => {
            let milliseconds = number?;
            change_tcp(socket, &|options| options.user_timeout_ms = milliseconds)
        }
        (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => Ok(()),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => match socket.is_datagram() {
            true => change_udp(socket, &|options| options.v6_only = on),
            false => change_tcp(socket, &|options| options.v6_only = on),
        },
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            let limit = u8::try_from(value).map_err(|_| Errno::EINVAL)?;
            match socket.is_datagram() {
                true => change_udp(socket, &|options| options.hop_limit = limit),
                false => change_tcp(socket, &|options| options.hop_limit = limit),
            }
        }
        // A TCP listener on the wildcard address takes every destination anyway.
        (libc::IPPROTO_IP, libc::IP_TRANSPARENT) | (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT) => {
            match socket.is_datagram() {
                true => change_udp(socket, &|options| options.transparent = on),
                false => Ok(()),
            }
        }
        (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => Ok(()),
        _ => Err(Errno::ENOPROTOOPT),
    }
}

/// # Safety
/// `value` has `*length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getsockopt(
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    if level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
        let got = any_socket(descriptor).and_then(|open| {
            if value.is_null() || length.is_null() {
                return Err(Errno::EFAULT);
            }
            let timeout = timeout_of(&open, name).get().unwrap_or(0) / 1000;
            let time = libc::timeval {
                tv_sec: i64::try_from(timeout / 1_000_000).unwrap_or(i64::MAX),
                tv_usec: (timeout % 1_000_000) as i64,
            };
            // SAFETY: promised by the caller.
            unsafe { put(time, value, length) }
        });
        return status_of(got);
    }
    status_of(with_socket(descriptor, |_, socket| {
        if value.is_null() || length.is_null() {
            return Err(Errno::EFAULT);
        }
        // SAFETY: promised by the caller; each type is written only where it fits.
        unsafe {
            if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
                let reset = with_stack(|stack, _| stack.tcp_options(socket.id()))?.reset_on_close;
                let linger = libc::linger {
                    l_onoff: c_int::from(reset),
                    l_linger: 0,
                };
                return put(linger, value, length);
            }
            put(get(socket, level, name)?, value, length)
        }
    }))
}

/// # Safety
/// `value` has `*length` bytes.
unsafe fn put<T>(answer: T, value: *mut c_void, length: *mut socklen_t) -> Result<(), Errno> {
    // SAFETY: promised by the caller.
    unsafe {
        if (length.read() as usize) < size_of::<T>() {
            return Err(Errno::EINVAL);
        }
        value.cast::<T>().write_unaligned(answer);
        length.write(size_of::<T>() as socklen_t);
    }
    Ok(())
}

fn get(socket: &Socket, level: c_int, name: c_int) -> Result<c_int, Errno> {
    let tcp = || with_stack(|stack, _| stack.tcp_options(socket.id()));
    let udp = || with_stack(|stack, _| stack.udp_options(socket.id()));
    let seconds = |value: u32| c_int::try_from(value).unwrap_or(c_int::MAX);
    let buffer = |bytes: u32| match bytes {
        0 => BUFFER,
        bytes => c_int::try_from(bytes).unwrap_or(c_int::MAX),
    };
    Ok(match (level, name) {
        (libc::SOL_SOCKET, libc::SO_ERROR) => {
            with_stack(|stack, _| stack.take_error(socket.id())).map_or(0, |error| error.0)
        }
        (libc::SOL_SOCKET, libc::SO_TYPE) => match socket.is_datagram() {
            true => libc::SOCK_DGRAM,
            false => libc::SOCK_STREAM,
        },
        (libc::SOL_SOCKET, libc::SO_SNDBUF) if !socket.is_datagram() => buffer(tcp()?.send_max),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) if !socket.is_datagram() => buffer(tcp()?.receive_max),
        (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_RCVBUF) => BUFFER,
        // Sending to a broadcast address needs no leave here.
        (libc::SOL_SOCKET, libc::SO_BROADCAST) => 1,
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => c_int::from(tcp()?.keep_alive_enabled),
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => match socket.is_datagram() {
            true => c_int::from(udp()?.reuse),
            false => 1,
        },
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => match socket.is_datagram() {
            true => c_int::from(udp()?.reuse),
            false => c_int::from(tcp()?.reuse_port),
        },
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => c_int::from(tcp()?.nodelay),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => seconds(tcp()?.keep_alive.idle),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => seconds(tcp()?.keep_alive.interval),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => c_int::from(tcp()?.keep_alive.count),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => match socket.is_datagram() {
            true => c_int::from(udp()?.v6_only),
            false => c_int::from(tcp()?.v6_only),
        },
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => {
            match socket.is_datagram() {
                true => c_int::from(udp()?.hop_limit),
                false => c_int::from(tcp()?.hop_limit),
            }
        }
        _ => return Err(Errno::ENOPROTOOPT),
    })
}
