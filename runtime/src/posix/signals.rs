//! Signals (`signal.h`).

use super::{fail, number_of};
use crate::Errno;
use crate::machine::lifecycle::{self, SIGNALS};
use crate::machine::threads;
use crate::signals::{Action, Signal};
use core::ffi::{c_int, c_void};
use libc::{sigset_t, stack_t};

fn signal_of(number: c_int) -> Result<Signal, Errno> {
    Signal::from_number(number).ok_or(Errno::EINVAL)
}

/// glibc's `struct sigaction` on x86-64.
#[repr(C)]
struct SigAction {
    handler: usize,
    mask: sigset_t,
    flags: c_int,
    restorer: usize,
}

const _: () = assert!(size_of::<SigAction>() == size_of::<libc::sigaction>());

/// The first word of a set: signals 1 to 64.
///
/// # Safety
/// `set` is a set.
unsafe fn word(set: *const sigset_t) -> u64 {
    // SAFETY: promised by the caller; a set is 128 bytes of words.
    unsafe { set.cast::<u64>().read() }
}

/// # Safety
/// `place` is a place for a set.
unsafe fn put_word(place: *mut sigset_t, word: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        place.write_bytes(0, 1);
        place.cast::<u64>().write(word);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(number: c_int, new: *const SigAction, old: *mut SigAction) -> c_int {
    let result = signal_of(number).and_then(|signal| {
        let mut signals = SIGNALS.borrow();
        let before = signals.action(signal);
        // SAFETY: the caller gives null or places of this type.
        unsafe {
            if let Some(new) = new.as_ref() {
                if signal.is_final() {
                    return Err(Errno::EINVAL);
                }
                let action = Action {
                    handler: new.handler,
                    mask: word(&new.mask),
                    flags: new.flags,
                };
                signals.set_action(signal, action);
            }
            if let Some(old) = old.as_mut() {
                (old.handler, old.flags, old.restorer) = (before.handler, before.flags, 0);
                put_word(&mut old.mask, before.mask);
            }
        }
        Ok(0)
    });
    number_of(result)
}

/// The older interface, as BSD and glibc have it: the handler stays, calls go on.
#[unsafe(no_mangle)]
extern "C" fn signal(number: c_int, handler: usize) -> usize {
    let result = signal_of(number).and_then(|signal| {
        if signal.is_final() {
            return Err(Errno::EINVAL);
        }
        let mut signals = SIGNALS.borrow();
        let before = signals.action(signal).handler;
        signals.set_action(
            signal,
            Action {
                handler,
                mask: 0,
                flags: libc::SA_RESTART,
            },
        );
        Ok(before)
    });
    result.unwrap_or_else(|error| {
        fail(error);
        libc::SIG_ERR
    })
}

/// Faults end the domain on stacks of the runtime's own, so another stack is never used.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaltstack(_new: *const stack_t, old: *mut stack_t) -> c_int {
    // SAFETY: the caller gives null or a place.
    if let Some(old) = unsafe { old.as_mut() } {
        *old = stack_t {
            ss_sp: core::ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_sigmask(
    how: c_int,
    new: *const sigset_t,
    old: *mut sigset_t,
) -> c_int {
    let before = threads::blocked_signals();
    // SAFETY: the caller gives null or sets.
    unsafe {
        if !old.is_null() {
            put_word(old, before);
        }
        if new.is_null() {
            return 0;
        }
        let after = match how {
            libc::SIG_BLOCK => before | word(new),
            libc::SIG_UNBLOCK => before & !word(new),
            libc::SIG_SETMASK => word(new),
            _ => return libc::EINVAL,
        };
        threads::set_blocked_signals(after);
    }
    threads::deliver_signals();
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigprocmask(how: c_int, new: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: the same promises.
    match unsafe { pthread_sigmask(how, new, old) } {
        0 => 0,
        error => fail(Errno(error)),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigemptyset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller gives a place.
    unsafe { put_word(set, 0) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigfillset(set: *mut sigset_t) -> c_int {
    // SAFETY: the caller gives a place.
    unsafe { put_word(set, u64::MAX) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaddset(set: *mut sigset_t, number: c_int) -> c_int {
    let result = signal_of(number).map(|signal| {
        // SAFETY: the caller gives a set.
        unsafe { put_word(set, word(set) | 1 << (signal.number() - 1)) };
        0
    });
    number_of(result)
}

/// Sends the program a signal, which is handled before this returns unless it is blocked.
#[unsafe(no_mangle)]
extern "C" fn raise(number: c_int) -> c_int {
    let result = signal_of(number).map(|signal| {
        lifecycle::send(signal);
        threads::deliver_signals();
        0
    });
    number_of(result)
}

/// There is one process, number 1; signal 0 only asks whether it is there.
#[unsafe(no_mangle)]
extern "C" fn kill(process: c_int, number: c_int) -> c_int {
    match (process, number) {
        (-1..=1, 0) => 0,
        (-1..=1, _) => raise(number),
        _ => fail(Errno::ESRCH),
    }
}

/// Waits for a signal to be handled.
#[unsafe(no_mangle)]
extern "C" fn pause() -> c_int {
    while threads::wait(None) != crate::threads::Wake::Interrupted {}
    fail(Errno::EINTR)
}

/// What glibc's headers call for `SIGRTMIN`.
#[unsafe(no_mangle)]
extern "C" fn __libc_current_sigrtmin() -> c_int {
    34
}

/// What glibc's headers call for `SIGRTMAX`.
#[unsafe(no_mangle)]
extern "C" fn __libc_current_sigrtmax() -> c_int {
    64
}

const _: () = assert!(size_of::<sigset_t>() >= size_of::<u64>() && size_of::<*mut c_void>() == 8);
