//! `syscall(2)`: what Rust programs call past libc.
//!
//! The function is variadic in C; on x86-64 its first six arguments come in the same registers as a fixed
//! function's, and none of the calls here has more than six.

use super::{count_of, futex, process, random};
use crate::Errno;
use core::ffi::c_long;

/// # Safety
/// The arguments are what the system call wants.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    match number {
        // SAFETY: promised by the caller.
        libc::SYS_futex => count_of(unsafe {
            futex::futex(
                a as *const u32,
                b as i32,
                c as u32,
                d,
                e as *const u32,
                f as u32,
            )
        }) as c_long,
        // SAFETY: promised by the caller.
        libc::SYS_getrandom => unsafe { random::getrandom(a as *mut u8, b, c as u32) as c_long },
        libc::SYS_gettid => c_long::from(process::gettid()),
        libc::SYS_getpid => c_long::from(process::getpid()),
        // Everything else: programs that call it have another way, or report the error.
        _ => count_of(Err(Errno::ENOSYS)) as c_long,
    }
}
