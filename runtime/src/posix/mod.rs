//! The C symbols, in place of libc's: thin translations from pointers and integers to the rest of the crate.
//!
//! **Architecture invariant:** nothing here decides anything; what a call means is in the module that it
//! calls, where it is tested. Pointers are believed, as libc believes them: the caller is the program itself,
//! in the same address space.

mod disks;
mod environment;
mod epoll;
mod errors;
mod files;
mod futex;
mod heap;
mod math;
mod names;
mod process;
mod random;
mod signals;
mod socket_options;
mod sockets;
mod status;
mod strings;
mod syscall;
mod threads;
mod time;
mod unwinding;

pub use environment::{environment_pointer, environment_value, set_environment};
pub use process::exit;
pub use threads::run_key_destructors;

use crate::Errno;
use crate::descriptors::{Description, Table};
use crate::machine::threads as machine_threads;
use crate::threads::Wake;
use crate::{Global, machine, threads as all_threads};
use alloc::rc::Rc;
use core::cell::Cell;
use core::ffi::{CStr, c_char, c_int};

static TABLE: Global<Table> = Global::new(Table::new());

/// Stores the error and gives C's sign of failure.
fn fail(error: Errno) -> c_int {
    // SAFETY: the running thread's errno.
    unsafe { machine::tls::errno().write(error.0) };
    -1
}

/// C's answer: 0, or -1 and errno.
fn status_of(result: Result<(), Errno>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => fail(error),
    }
}

/// C's answer: a count, or -1 and errno.
fn count_of(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(count) => count as isize,
        Err(error) => fail(error) as isize,
    }
}

/// C's answer: a number, or -1 and errno.
fn number_of(result: Result<c_int, Errno>) -> c_int {
    result.unwrap_or_else(fail)
}

/// The description behind a descriptor. The first use of the table opens standard input, output and error.
fn description(descriptor: c_int) -> Result<Rc<Description>, Errno> {
    table().get(descriptor)
}

fn table() -> core::cell::RefMut<'static, Table> {
    use core::sync::atomic::{AtomicBool, Ordering};
    static OPENED: AtomicBool = AtomicBool::new(false);
    let mut table = TABLE.borrow();
    if !OPENED.swap(true, Ordering::Relaxed) {
        for number in 0..3 {
            let terminal = Description::new(machine::terminal(), libc::O_RDWR);
            let _ = table.replace(number, terminal);
        }
    }
    table
}

/// The bytes of a C string.
///
/// # Safety
/// `text` points to a NUL-terminated string that lives for `'t`.
unsafe fn bytes<'t>(text: *const c_char) -> &'t [u8] {
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_bytes()
}

/// Until when a call may wait that begins now, by a description's timeout.
fn until(timeout_ns: &Cell<Option<u64>>) -> Option<u64> {
    let timeout = timeout_ns.get()?;
    Some(machine::time::now().saturating_add(timeout))
}

/// Tries until it does not answer EAGAIN, waiting for the object in between, unless the description is
/// non-blocking. At `deadline` the answer is EAGAIN as well, as for SO_RCVTIMEO and SO_SNDTIMEO.
fn blocking<R>(
    description: &Description,
    deadline: Option<u64>,
    mut attempt: impl FnMut() -> Result<R, Errno>,
) -> Result<R, Errno> {
    loop {
        let result = attempt();
        let Err(Errno::EAGAIN) = result else {
            return result;
        };
        let Some(watchers) = description.object.watchers() else {
            return result;
        };
        if description.nonblocking.get() || deadline.is_some_and(|at| at <= machine::time::now()) {
            return result;
        }
        let current = all_threads::current();
        watchers.add_thread(current);
        let wake = machine_threads::wait(deadline);
        watchers.remove_thread(current);
        // With a timeout a call never goes on after a signal (signal(7)).
        if wake == Wake::Interrupted && (deadline.is_some() || !machine_threads::restarts()) {
            return Err(Errno::EINTR);
        }
    }
}
