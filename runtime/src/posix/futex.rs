//! futex(2): waiting for a word to change. std's locks, condition variables and parking stand on it.

use super::time as clock;
use crate::Errno;
use crate::machine::threads::{wait_for, wake_one};
use crate::machine::time;
use crate::threads::waits::ANY;
use crate::threads::{self, Wake};
use libc::timespec;

/// The call, with its arguments as the system call has them.
///
/// # Safety
/// `word` and `second_word` are the addresses of aligned 32-bit words, and `timeout` is a time or null, where
/// the operation has such arguments.
pub(super) unsafe fn futex(
    word: *const u32,
    operation: i32,
    value: u32,
    timeout: usize,
    second_word: *const u32,
    third_value: u32,
) -> Result<usize, Errno> {
    let by_realtime = operation & libc::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    match command {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            // SAFETY: the caller gives a time or null.
            let time = unsafe { (timeout as *const timespec).as_ref() };
            let deadline = time
                .map(|time| until(command, by_realtime, time))
                .transpose()?;
            let bits = if command == libc::FUTEX_WAIT {
                ANY
            } else {
                third_value
            };
            // SAFETY: the caller gives the word's address.
            unsafe { wait(word, value, bits, deadline) }
        }
        libc::FUTEX_WAKE => Ok(wake(word, value, ANY)),
        libc::FUTEX_WAKE_BITSET => Ok(wake(word, value, third_value)),
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
            // SAFETY: the caller gives the word's address.
            if command == libc::FUTEX_CMP_REQUEUE && unsafe { word.read_volatile() } != third_value
            {
                return Err(Errno::EAGAIN);
            }
            let woken = wake(word, value, ANY);
            let moved = threads::with(|threads| {
                threads
                    .waits
                    .requeue(word as usize, second_word as usize, timeout)
            });
            Ok(woken + moved)
        }
        _ => Err(Errno::ENOSYS),
    }
}

/// The system time of a timeout: relative for FUTEX_WAIT, absolute for FUTEX_WAIT_BITSET.
fn until(command: i32, by_realtime: bool, timeout: &timespec) -> Result<u64, Errno> {
    if command == libc::FUTEX_WAIT {
        return Ok(time::now().saturating_add(clock::nanoseconds(timeout)?));
    }
    let id = if by_realtime {
        libc::CLOCK_REALTIME
    } else {
        libc::CLOCK_MONOTONIC
    };
    clock::deadline(id, timeout)
}

/// # Safety
/// `word` is the address of an aligned word.
unsafe fn wait(
    word: *const u32,
    value: u32,
    bits: u32,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    // Nothing runs between this look and the wait.
    // SAFETY: promised by the caller.
    if unsafe { word.read_volatile() } != value {
        return Err(Errno::EAGAIN);
    }
    match wait_for(word as usize, bits, deadline) {
        Wake::Woken => Ok(0),
        Wake::TimedOut => Err(Errno::ETIMEDOUT),
        Wake::Interrupted => Err(Errno::EINTR),
    }
}

/// Wakes at most `most` threads; how many.
pub(super) fn wake(word: *const u32, most: u32, bits: u32) -> usize {
    (0..most)
        .take_while(|_| wake_one(word as usize, bits))
        .count()
}
