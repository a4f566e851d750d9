//! Clocks and sleeping (`time.h`).

use super::{fail, number_of};
use crate::Errno;
use crate::machine::{threads, time as clocks};
use crate::threads::Wake;
use core::ffi::c_int;
use libc::{clockid_t, timespec, timeval};

const SECOND_NS: u64 = 1_000_000_000;

/// What a clock shows, in nanoseconds. Processor time is time: there is nobody else.
fn clock(id: clockid_t) -> Result<u128, Errno> {
    match id {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => {
            Ok(clocks::unix_now())
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME
        | libc::CLOCK_PROCESS_CPUTIME_ID
        | libc::CLOCK_THREAD_CPUTIME_ID => Ok(u128::from(clocks::now())),
        _ => Err(Errno::EINVAL),
    }
}

/// A C time as nanoseconds, unless it is none.
pub(super) fn nanoseconds(time: &timespec) -> Result<u64, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    match u64::try_from(time.tv_nsec) {
        Ok(part) if part < SECOND_NS => Ok(seconds.saturating_mul(SECOND_NS).saturating_add(part)),
        _ => Err(Errno::EINVAL),
    }
}

/// The system time at which `clock` will show `time`.
pub(super) fn deadline(id: clockid_t, time: &timespec) -> Result<u64, Errno> {
    let until = u128::from(nanoseconds(time)?);
    let left = until.saturating_sub(clock(id)?);
    Ok(clocks::now().saturating_add(u64::try_from(left).unwrap_or(u64::MAX)))
}

/// <https://pubs.opengroup.org/onlinepubs/9699919799/functions/clock_gettime.html>
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(id: clockid_t, place: *mut timespec) -> c_int {
    number_of(clock(id).map(|ns| {
        // SAFETY: the caller gives a place for a time.
        unsafe { place.write(to_timespec(ns)) };
        0
    }))
}

fn to_timespec(ns: u128) -> timespec {
    let second = u128::from(SECOND_NS);
    timespec {
        tv_sec: (ns / second) as i64,
        tv_nsec: (ns % second) as i64,
    }
}

/// The clocks' step: the time stamp counter is finer than a nanosecond.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_getres(id: clockid_t, place: *mut timespec) -> c_int {
    number_of(clock(id).map(|_| {
        if !place.is_null() {
            // SAFETY: the caller gives a place for a time.
            unsafe {
                place.write(timespec {
                    tv_sec: 0,
                    tv_nsec: 1,
                })
            };
        }
        0
    }))
}

/// The time of day.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(place: *mut timeval, _zone: *mut libc::c_void) -> c_int {
    let now = to_timespec(clocks::unix_now());
    if !place.is_null() {
        // SAFETY: the caller gives a place for a time.
        unsafe {
            place.write(timeval {
                tv_sec: now.tv_sec,
                tv_usec: now.tv_nsec / 1000,
            })
        };
    }
    0
}

/// Seconds since 1970.
#[unsafe(no_mangle)]
unsafe extern "C" fn time(place: *mut i64) -> i64 {
    let seconds = to_timespec(clocks::unix_now()).tv_sec;
    if !place.is_null() {
        // SAFETY: the caller gives a place for a time.
        unsafe { place.write(seconds) };
    }
    seconds
}

/// Sleeps until the system time is `until`. Interrupted: how much was left, in nanoseconds.
fn sleep_until(until: u64) -> Result<(), u64> {
    loop {
        let now = clocks::now();
        if now >= until {
            return Ok(());
        }
        if threads::wait(Some(until)) == Wake::Interrupted {
            return Err(until.saturating_sub(clocks::now()));
        }
    }
}

/// Sleeps.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(duration: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the same promises.
    match unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, duration, left) } {
        0 => 0,
        error => fail(Errno(error)),
    }
}

/// Sleeps by a clock. Gives the error itself, not errno.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    id: clockid_t,
    flags: c_int,
    duration: *const timespec,
    left: *mut timespec,
) -> c_int {
    // SAFETY: the caller gives a time.
    let duration = unsafe { &*duration };
    let absolute = flags & libc::TIMER_ABSTIME != 0;
    let until = if absolute {
        deadline(id, duration)
    } else {
        nanoseconds(duration).map(|ns| clocks::now().saturating_add(ns))
    };
    match until.map(sleep_until) {
        Err(error) => error.0,
        Ok(Ok(())) => 0,
        Ok(Err(rest)) => {
            if !absolute && !left.is_null() {
                // SAFETY: the caller gives a place for a time.
                unsafe { left.write(to_timespec(u128::from(rest))) };
            }
            libc::EINTR
        }
    }
}
