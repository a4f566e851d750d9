//! Names and addresses (`netdb.h`).

use super::bytes;
use super::sockets::put_address;
use crate::machine::memory::{c_allocate, c_free};
use crate::machine::resolver::{self, LookUpError};
use alloc::vec::Vec;
use core::ffi::{c_char, c_int};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ptr;
use libc::{addrinfo, sockaddr_in6, socklen_t};

/// What `getaddrinfo` was asked.
struct Question {
    v4: bool,
    v6: bool,
    passive: bool,
    numeric: bool,
    kinds: Vec<(c_int, c_int)>,
}

impl Question {
    /// # Safety
    /// `hints` is null or hints.
    unsafe fn read(hints: *const addrinfo) -> Result<Self, c_int> {
        let all = [
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ];
        // SAFETY: promised by the caller.
        let Some(hints) = (unsafe { hints.as_ref() }) else {
            let kinds = all.to_vec();
            return Ok(Self {
                v4: true,
                v6: true,
                passive: false,
                numeric: false,
                kinds,
            });
        };
        let (v4, v6) = match hints.ai_family {
            libc::AF_UNSPEC => (true, true),
            libc::AF_INET => (true, false),
            libc::AF_INET6 => (false, true),
            _ => return Err(libc::EAI_FAMILY),
        };
        let fits = |&(kind, _): &(c_int, c_int)| {
            matches!(hints.ai_socktype, 0) || hints.ai_socktype == kind
        };
        let kinds: Vec<_> = all.into_iter().filter(fits).collect();
        if kinds.is_empty() {
            return Err(libc::EAI_SOCKTYPE);
        }
        let flag = |flag| hints.ai_flags & flag != 0;
        let (passive, numeric) = (flag(libc::AI_PASSIVE), flag(libc::AI_NUMERICHOST));
        Ok(Self {
            v4,
            v6,
            passive,
            numeric,
            kinds,
        })
    }

    fn addresses(&self, host: Option<&[u8]>) -> Result<Vec<IpAddr>, c_int> {
        let fits = |address: &IpAddr| if address.is_ipv4() { self.v4 } else { self.v6 };
        let Some(host) = host else {
            let both: [IpAddr; 2] = match self.passive {
                true => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
                false => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            };
            return Ok(both.into_iter().filter(fits).collect());
        };
        let host = core::str::from_utf8(host).map_err(|_| libc::EAI_NONAME)?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return if fits(&address) {
                Ok(Vec::from([address]))
            } else {
                Err(libc::EAI_NONAME)
            };
        }
        if self.numeric {
            return Err(libc::EAI_NONAME);
        }
        resolver::look_up(host, self.v4, self.v6).map_err(|error| match error {
            LookUpError::NoName => libc::EAI_NONAME,
            LookUpError::TryAgain => libc::EAI_AGAIN,
            LookUpError::NoServer => libc::EAI_FAIL,
        })
    }
}

/// <https://pubs.opengroup.org/onlinepubs/9699919799/functions/getaddrinfo.html>. Services are numbers only.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    host: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    place: *mut *mut addrinfo,
) -> c_int {
    let found = || {
        if host.is_null() && service.is_null() {
            return Err(libc::EAI_NONAME);
        }
        // SAFETY: the caller gives null or hints, and null or strings.
        let (question, host, port) = unsafe {
            let host = (!host.is_null()).then(|| bytes(host));
            let service = (!service.is_null()).then(|| bytes(service));
            (Question::read(hints)?, host, service.map_or(Ok(0), port)?)
        };
        let mut list = ptr::null_mut();
        // The list is made from its end.
        for &address in question.addresses(host)?.iter().rev() {
            for &(kind, protocol) in question.kinds.iter().rev() {
                let next = list;
                list = entry(SocketAddr::new(address, port), kind, protocol, next);
                if list.is_null() {
                    // SAFETY: a list made here.
                    unsafe { freeaddrinfo(next) };
                    return Err(libc::EAI_MEMORY);
                }
            }
        }
        Ok(list)
    };
    match found() {
        Ok(list) => {
            // SAFETY: the caller gives a place.
            unsafe { place.write(list) };
            0
        }
        Err(error) => error,
    }
}

fn port(service: &[u8]) -> Result<u16, c_int> {
    core::str::from_utf8(service)
        .ok()
        .and_then(|service| service.parse().ok())
        .ok_or(libc::EAI_SERVICE)
}

/// An entry of the list and, behind it in the same block, its address.
#[repr(C)]
struct Entry {
    information: addrinfo,
    address: sockaddr_in6,
}

fn entry(address: SocketAddr, kind: c_int, protocol: c_int, next: *mut addrinfo) -> *mut addrinfo {
    let block = c_allocate(size_of::<Entry>(), align_of::<Entry>()).cast::<Entry>();
    if block.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the block is large and aligned enough; all zeros are a valid structure.
    unsafe {
        block.write_bytes(0, 1);
        let mut length = size_of::<sockaddr_in6>() as socklen_t;
        let place = (&raw mut (*block).address).cast();
        put_address(address, place, &raw mut length);
        let information = &mut (*block).information;
        information.ai_family = if address.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        };
        information.ai_socktype = kind;
        information.ai_protocol = protocol;
        information.ai_addrlen = length;
        information.ai_addr = place;
        information.ai_next = next;
    }
    block.cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn freeaddrinfo(mut list: *mut addrinfo) {
    while !list.is_null() {
        // SAFETY: the list came from `getaddrinfo`, whose entries are blocks of their own.
        unsafe {
            let next = (*list).ai_next;
            c_free(list.cast());
            list = next;
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn gai_strerror(error: c_int) -> *const c_char {
    let text = match error {
        libc::EAI_AGAIN => c"Temporary failure in name resolution",
        libc::EAI_FAIL => c"No name server is configured (dns= in NET, or by DHCP)",
        libc::EAI_FAMILY => c"ai_family not supported",
        libc::EAI_MEMORY => c"Memory allocation failure",
        libc::EAI_NONAME => c"Name or service not known",
        libc::EAI_SERVICE => c"Servname not supported for ai_socktype: give a port's number",
        libc::EAI_SOCKTYPE => c"ai_socktype not supported",
        _ => c"Unknown error in name resolution",
    };
    text.as_ptr()
}

/// The resolver has no state to initialise again.
#[unsafe(no_mangle)]
extern "C" fn __res_init() -> c_int {
    0
}
