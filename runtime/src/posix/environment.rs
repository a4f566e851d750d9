//! Environment variables (`stdlib.h`) and the auxiliary vector (`sys/auxv.h`).

use super::{bytes, fail};
use crate::environment::StringList;
use crate::{Errno, Global};
use core::ffi::{c_char, c_int, c_ulong};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

static VARIABLES: Global<StringList> = Global::new(StringList::new());

/// The list, as programs read it directly (std's `env::vars` does).
#[unsafe(no_mangle)]
static environ: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// Sets a variable of the program.
pub fn set_environment(name: &[u8], value: &[u8]) {
    let mut variables = VARIABLES.borrow();
    variables.set(name, value);
    environ.store(variables.as_ptr().cast_mut(), Ordering::Relaxed);
}

/// A variable's value, for the runtime's own use.
pub fn environment_value(name: &[u8]) -> Option<alloc::vec::Vec<u8>> {
    let value = VARIABLES.borrow().get(name)?;
    // SAFETY: values are NUL-terminated and never freed.
    Some(unsafe { bytes(value) }.to_vec())
}

/// The list of variables.
pub fn environment_pointer() -> *const *const c_char {
    let variables = VARIABLES.borrow();
    environ.store(variables.as_ptr().cast_mut(), Ordering::Relaxed);
    variables.as_ptr()
}

/// A variable's value, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn getenv(name: *const c_char) -> *const c_char {
    // SAFETY: the caller gives a string.
    VARIABLES
        .borrow()
        .get(unsafe { bytes(name) })
        .unwrap_or(ptr::null())
}

/// Sets a variable.
#[unsafe(no_mangle)]
unsafe extern "C" fn setenv(name: *const c_char, value: *const c_char, replace: c_int) -> c_int {
    // SAFETY: the caller gives strings.
    let (name, value) = unsafe { (bytes(name), bytes(value)) };
    if name.is_empty() || name.contains(&b'=') {
        return fail(Errno::EINVAL);
    }
    if replace != 0 || VARIABLES.borrow().get(name).is_none() {
        set_environment(name, value);
    }
    0
}

/// Removes a variable.
#[unsafe(no_mangle)]
unsafe extern "C" fn unsetenv(name: *const c_char) -> c_int {
    // SAFETY: the caller gives a string.
    let name = unsafe { bytes(name) };
    if name.is_empty() || name.contains(&b'=') {
        return fail(Errno::EINVAL);
    }
    VARIABLES.borrow().unset(name);
    environment_pointer();
    0
}

/// What a kernel tells a program at its start. Only the size of pages is known here.
#[unsafe(no_mangle)]
extern "C" fn getauxval(kind: c_ulong) -> c_ulong {
    if kind == libc::AT_PAGESZ {
        return crate::memory::PAGE as c_ulong;
    }
    fail(Errno::ENOENT);
    0
}
