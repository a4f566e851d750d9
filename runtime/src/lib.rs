//! A Xen PVH guest kernel whose public interface is the C symbols that Rust's std calls.
//!
//! The linker joins it to an ordinary Rust program in place of libc (DESIGN.md, decision 1). From the
//! outside in:
//!
//! - [`posix`]: the C symbols, one file per subject, thin;
//! - [`descriptors`], [`threads`], [`signals`], [`environment`], [`random`]: what they mean;
//! - [`net`]: TCP/IP, without clock, device or randomness;
//! - [`memory`]: the heap, demand-zero areas, page tables' arithmetic;
//! - [`xen`]: what is agreed with the hypervisor and the backends (rings, xenstore, clock, console);
//! - [`boot`] and [`machine`]: from the first instruction to `main`, and the instructions themselves.
//!
//! Without the feature `guest`, and in unit tests, [`machine`] and [`posix`] are absent and the rest is
//! a library that runs on Linux.
//!
//! **Threads.** One vCPU, interrupts off, threads switch only where they block. So a [`Global`] needs no
//! lock; it must only not be borrowed across a point that blocks, which `RefCell` checks.
//!
//! **Threats.** Everything in shared memory is written by somebody else: indices and lengths are copied
//! once, then checked. xenstored and the backends may be slow, absent or wrong; they can delay this
//! domain, never make it read or write outside its buffers.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod boot;
pub mod descriptors;
pub mod environment;
mod global;
pub mod memory;
pub mod net;
pub mod signals;
pub mod threads;
pub mod xen;

#[cfg(all(feature = "guest", not(test)))]
mod machine;
#[cfg(all(feature = "guest", not(test)))]
mod posix;
#[cfg(all(feature = "guest", not(test)))]
mod random;

pub use global::Global;

/// An error number as Linux defines them on x86-64 (`asm-generic/errno-base.h`, `errno.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

#[allow(missing_docs, reason = "the names are the documentation")]
impl Errno {
    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const ESRCH: Errno = Errno(3);
    pub const EINTR: Errno = Errno(4);
    pub const EIO: Errno = Errno(5);
    pub const ENXIO: Errno = Errno(6);
    pub const EBADF: Errno = Errno(9);
    pub const ECHILD: Errno = Errno(10);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EACCES: Errno = Errno(13);
    pub const EFAULT: Errno = Errno(14);
    pub const EBUSY: Errno = Errno(16);
    pub const EEXIST: Errno = Errno(17);
    pub const ENODEV: Errno = Errno(19);
    pub const ENOTDIR: Errno = Errno(20);
    pub const EISDIR: Errno = Errno(21);
    pub const EINVAL: Errno = Errno(22);
    pub const EMFILE: Errno = Errno(24);
    pub const ENOTTY: Errno = Errno(25);
    pub const ENOSPC: Errno = Errno(28);
    pub const ESPIPE: Errno = Errno(29);
    pub const EROFS: Errno = Errno(30);
    pub const EPIPE: Errno = Errno(32);
    pub const ERANGE: Errno = Errno(34);
    pub const EDEADLK: Errno = Errno(35);
    pub const ENAMETOOLONG: Errno = Errno(36);
    pub const ENOSYS: Errno = Errno(38);
    pub const ELOOP: Errno = Errno(40);
    pub const ENOTSOCK: Errno = Errno(88);
    pub const EDESTADDRREQ: Errno = Errno(89);
    pub const EMSGSIZE: Errno = Errno(90);
    pub const ENOPROTOOPT: Errno = Errno(92);
    pub const EOPNOTSUPP: Errno = Errno(95);
    pub const EAFNOSUPPORT: Errno = Errno(97);
    pub const EADDRINUSE: Errno = Errno(98);
    pub const EADDRNOTAVAIL: Errno = Errno(99);
    pub const ENETDOWN: Errno = Errno(100);
    pub const ENETUNREACH: Errno = Errno(101);
    pub const ECONNABORTED: Errno = Errno(103);
    pub const ECONNRESET: Errno = Errno(104);
    pub const ENOBUFS: Errno = Errno(105);
    pub const EISCONN: Errno = Errno(106);
    pub const ENOTCONN: Errno = Errno(107);
    pub const ETIMEDOUT: Errno = Errno(110);
    pub const ECONNREFUSED: Errno = Errno(111);
    pub const EHOSTUNREACH: Errno = Errno(113);
    pub const EALREADY: Errno = Errno(114);
    pub const EINPROGRESS: Errno = Errno(115);
}
