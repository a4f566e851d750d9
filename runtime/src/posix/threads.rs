//! Threads (`pthread.h`, `sched.h`).
//!
//! Only what Rust's std and libgcc's unwinder call: std's locks are futexes. A `pthread_t` is the thread's
//! number.

use super::futex;
use crate::machine::threads::{self as machine, STACK_MIN};
use crate::threads::waits::ANY;
use crate::threads::{self, ThreadId};
use crate::{Errno, Global};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use libc::{pthread_attr_t, pthread_key_t, pthread_mutex_t, pthread_t};

/// std's default for the threads that it starts.
const DEFAULT_STACK: usize = 2 << 20;
/// Keys at most (PTHREAD_KEYS_MAX of Linux).
const KEYS_MAX: usize = 1024;
/// How often values that destructors set are destroyed in turn (PTHREAD_DESTRUCTOR_ITERATIONS).
const DESTRUCTOR_ROUNDS: usize = 4;

/// pthread functions give the error itself.
fn number(result: Result<(), Errno>) -> c_int {
    result.map_or_else(|error| error.0, |()| 0)
}

/// What we keep in a `pthread_attr_t`.
#[repr(C)]
struct Attributes {
    stack_start: usize,
    stack_size: usize,
    detached: c_int,
}

const _: () = assert!(size_of::<Attributes>() <= size_of::<pthread_attr_t>());

/// # Safety
/// `attributes` is null or was initialised.
unsafe fn attributes<'a>(attributes: *const pthread_attr_t) -> Option<&'a mut Attributes> {
    // SAFETY: promised by the caller; the type is large and aligned enough.
    unsafe { attributes.cast_mut().cast::<Attributes>().as_mut() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_init(place: *mut pthread_attr_t) -> c_int {
    let initial = Attributes {
        stack_start: 0,
        stack_size: DEFAULT_STACK,
        detached: 0,
    };
    // SAFETY: the caller gives a place, which is large and aligned enough.
    unsafe { place.cast::<Attributes>().write(initial) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_attr_destroy(_attributes: *mut pthread_attr_t) -> c_int {
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_setstacksize(place: *mut pthread_attr_t, size: usize) -> c_int {
    // SAFETY: the caller gives initialised attributes.
    match unsafe { attributes(place) } {
        Some(attributes) if size >= STACK_MIN => {
            attributes.stack_size = size;
            0
        }
        _ => libc::EINVAL,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getstack(
    place: *const pthread_attr_t,
    start: *mut *mut c_void,
    size: *mut usize,
) -> c_int {
    // SAFETY: the caller gives initialised attributes and two places.
    unsafe {
        let Some(attributes) = attributes(place) else {
            return libc::EINVAL;
        };
        start.write(attributes.stack_start as *mut c_void);
        size.write(attributes.stack_size);
    }
    0
}

/// std insists that there is a guard, and looks for it around the stack's start, where it is.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getguardsize(
    _attributes: *const pthread_attr_t,
    size: *mut usize,
) -> c_int {
    // SAFETY: the caller gives a place.
    unsafe { size.write(crate::memory::PAGE) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_setdetachstate(
    place: *mut pthread_attr_t,
    state: c_int,
) -> c_int {
    // SAFETY: the caller gives initialised attributes.
    match unsafe { attributes(place) } {
        Some(attributes) => {
            attributes.detached = state;
            0
        }
        None => libc::EINVAL,
    }
}

/// The running thread's attributes. Of other threads nobody asks.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(thread: pthread_t, place: *mut pthread_attr_t) -> c_int {
    if thread != pthread_self() {
        return libc::ESRCH;
    }
    let stack = machine::current_stack();
    let found = Attributes {
        stack_start: stack.start,
        stack_size: stack.end - stack.start,
        detached: 0,
    };
    // SAFETY: the caller gives a place, which is large and aligned enough.
    unsafe { place.cast::<Attributes>().write(found) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    place: *mut pthread_t,
    wish: *const pthread_attr_t,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the caller gives null or initialised attributes.
    let wish = unsafe { attributes(wish) };
    let (size, detached) = wish.map_or((DEFAULT_STACK, false), |wish| {
        (wish.stack_size, wish.detached != 0)
    });
    match machine::spawn(start, argument, size, detached) {
        Ok(id) => {
            // SAFETY: the caller gives a place.
            unsafe { place.write(pthread_t::from(id.0)) };
            0
        }
        Err(error) => error.0,
    }
}

fn id(thread: pthread_t) -> ThreadId {
    ThreadId(thread as u32)
}

#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> pthread_t {
    pthread_t::from(threads::current().0)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: pthread_t, place: *mut *mut c_void) -> c_int {
    number(machine::join(id(thread)).map(|result| {
        if !place.is_null() {
            // SAFETY: the caller gives a place.
            unsafe { place.write(result) };
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn pthread_detach(thread: pthread_t) -> c_int {
    number(machine::detach(id(thread)))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: pthread_t, name: *const c_char) -> c_int {
    // SAFETY: the caller gives a string.
    number(machine::set_name(
        id(thread),
        unsafe { CStr::from_ptr(name) }.to_bytes(),
    ))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(
    thread: pthread_t,
    place: *mut c_char,
    size: usize,
) -> c_int {
    let Some(name) = machine::name(id(thread)) else {
        return libc::ESRCH;
    };
    if size < name.len() {
        return libc::ERANGE;
    }
    // SAFETY: the caller gives `size` bytes.
    unsafe { ptr::copy_nonoverlapping(name.as_ptr().cast(), place, name.len()) };
    0
}

/// There is one vCPU.
#[unsafe(no_mangle)]
unsafe extern "C" fn sched_getaffinity(_process: c_int, size: usize, set: *mut u8) -> c_int {
    if size == 0 {
        return super::fail(Errno::EINVAL);
    }
    // SAFETY: the caller gives `size` bytes.
    unsafe {
        set.write_bytes(0, size);
        set.write(1);
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> c_int {
    machine::yield_now();
    0
}

/// Calls `destructor` with `object` at the running thread's end: std's thread-locals.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_thread_atexit_impl(
    destructor: unsafe extern "C" fn(*mut c_void),
    object: *mut c_void,
    _library: *mut c_void,
) -> c_int {
    machine::at_exit(destructor, object);
    0
}

type KeyDestructor = Option<unsafe extern "C" fn(*mut c_void)>;

/// The keys' destructors; `None` is a free key.
static KEYS: Global<Vec<Option<KeyDestructor>>> = Global::new(Vec::new());

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(
    place: *mut pthread_key_t,
    destructor: KeyDestructor,
) -> c_int {
    let mut keys = KEYS.borrow();
    let index = keys.iter().position(Option::is_none).unwrap_or(keys.len());
    if index == KEYS_MAX {
        return libc::EAGAIN;
    }
    if index == keys.len() {
        keys.push(None);
    }
    keys[index] = Some(destructor);
    // SAFETY: the caller gives a place.
    unsafe { place.write(index as pthread_key_t) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_key_delete(key: pthread_key_t) -> c_int {
    match KEYS.borrow().get_mut(key as usize) {
        Some(entry @ Some(_)) => {
            *entry = None;
            0
        }
        _ => libc::EINVAL,
    }
}

#[unsafe(no_mangle)]
extern "C" fn pthread_getspecific(key: pthread_key_t) -> *mut c_void {
    machine::key_value(key)
}

#[unsafe(no_mangle)]
extern "C" fn pthread_setspecific(key: pthread_key_t, value: *const c_void) -> c_int {
    machine::set_key_value(key, value.cast_mut());
    0
}

/// Calls the destructors of the running thread's values.
pub fn run_key_destructors() {
    for _ in 0..DESTRUCTOR_ROUNDS {
        let mut called = false;
        let count = KEYS.borrow().len();
        for key in 0..count {
            let destructor = KEYS.borrow().get(key).copied().flatten().flatten();
            let value = machine::set_key_value(key as u32, ptr::null_mut());
            if let (Some(destructor), false) = (destructor, value.is_null()) {
                // SAFETY: the key was made with this destructor for its values.
                unsafe { destructor(value) };
                called = true;
            }
        }
        if !called {
            return;
        }
    }
}

/// # Safety
/// `mutex` is a mutex.
unsafe fn word<'m>(mutex: *mut pthread_mutex_t) -> &'m mut u32 {
    // SAFETY: promised by the caller. A statically initialised mutex is all zeros, and its first word is ours.
    unsafe { &mut *mutex.cast::<u32>() }
}

/// Locks of C code (libgcc's unwinder). 0 is free, 1 is locked; threads switch only where they wait.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller gives a mutex.
    unsafe {
        while *word(mutex) != 0 {
            machine::wait_for(mutex as usize, ANY, None);
        }
        *word(mutex) = 1;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller gives a mutex.
    let word = unsafe { word(mutex) };
    if *word != 0 {
        return libc::EBUSY;
    }
    *word = 1;
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller gives a mutex.
    unsafe { *word(mutex) = 0 };
    futex::wake(mutex.cast(), 1, ANY);
    0
}
