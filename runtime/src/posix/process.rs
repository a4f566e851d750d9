//! The process that a domain is (`unistd.h`, `stdlib.h`, `sys/…`): number 1, of root, without children.

use super::{fail, number_of};
use crate::Errno;
use crate::Global;
use crate::machine::{lifecycle, memory, threads};
use crate::memory::PAGE;
use alloc::vec::Vec;
use core::ffi::{c_char, c_int, c_long, c_void};

static AT_EXIT: Global<Vec<(extern "C" fn(*mut c_void), usize)>> = Global::new(Vec::new());

/// Ends the program: destructors of the running thread's thread-locals, what `atexit` was given, last first.
#[unsafe(no_mangle)]
pub extern "C" fn exit(code: c_int) -> ! {
    threads::run_destructors();
    loop {
        let last = AT_EXIT.borrow().pop();
        let Some((function, argument)) = last else {
            lifecycle::exit(code & 0xff)
        };
        function(argument as *mut c_void);
    }
}

/// Ends the program at once.
#[unsafe(no_mangle)]
extern "C" fn _exit(code: c_int) -> ! {
    lifecycle::exit(code & 0xff)
}

/// Ends the program in distress.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    lifecycle::abort()
}

/// Has a function called at the program's end.
#[unsafe(no_mangle)]
extern "C" fn __cxa_atexit(
    function: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    _library: *mut c_void,
) -> c_int {
    AT_EXIT.borrow().push((function, argument as usize));
    0
}

/// Has a function called at the program's end.
#[unsafe(no_mangle)]
extern "C" fn atexit(function: extern "C" fn()) -> c_int {
    extern "C" fn call(function: *mut c_void) {
        // SAFETY: `atexit` put the function's address there.
        let function: extern "C" fn() = unsafe { core::mem::transmute(function) };
        function();
    }
    __cxa_atexit(call, function as *mut c_void, core::ptr::null_mut())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn getpid() -> c_int {
    1
}

#[unsafe(no_mangle)]
extern "C" fn getppid() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn gettid() -> c_int {
    crate::threads::current().0 as c_int
}

#[unsafe(no_mangle)]
extern "C" fn getuid() -> u32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn geteuid() -> u32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn getgid() -> u32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn getegid() -> u32 {
    0
}

/// There are no children to wait for.
#[unsafe(no_mangle)]
extern "C" fn waitpid(_process: c_int, _status: *mut c_int, _options: c_int) -> c_int {
    fail(Errno::ECHILD)
}

/// Nor are there in this form of the question.
#[unsafe(no_mangle)]
extern "C" fn waitid(_kind: c_int, _id: u32, _place: *mut c_void, _options: c_int) -> c_int {
    fail(Errno::ECHILD)
}

#[unsafe(no_mangle)]
extern "C" fn getpagesize() -> c_int {
    PAGE as c_int
}

#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    let usage = memory::usage();
    match name {
        libc::_SC_PAGESIZE => PAGE as c_long,
        libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF => 1,
        libc::_SC_PHYS_PAGES => (usage.total / PAGE) as c_long,
        libc::_SC_AVPHYS_PAGES => (usage.free / PAGE) as c_long,
        libc::_SC_OPEN_MAX => crate::descriptors::DESCRIPTORS_MAX as c_long,
        libc::_SC_IOV_MAX => super::files::IOV_MAX as c_long,
        libc::_SC_CLK_TCK => 100,
        // A size that the caller shall guess itself.
        libc::_SC_GETPW_R_SIZE_MAX | libc::_SC_GETGR_R_SIZE_MAX | libc::_SC_HOST_NAME_MAX => -1,
        _ => fail(Errno::EINVAL) as c_long,
    }
}

/// # Safety
/// `limit` is a place for a limit.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrlimit(resource: c_int, limit: *mut libc::rlimit) -> c_int {
    let most = match resource as u32 {
        libc::RLIMIT_NOFILE => crate::descriptors::DESCRIPTORS_MAX as u64,
        libc::RLIMIT_STACK => {
            let stack = threads::current_stack();
            (stack.end - stack.start) as u64
        }
        _ => libc::RLIM_INFINITY,
    };
    // SAFETY: promised by the caller.
    unsafe {
        limit.write(libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        })
    };
    0
}

/// What a limit is cannot be changed.
#[unsafe(no_mangle)]
extern "C" fn setrlimit(_resource: c_int, _limit: *const libc::rlimit) -> c_int {
    fail(Errno::EPERM)
}

/// The thread's name and nothing else (std names the main thread so in some versions).
///
/// # Safety
/// The arguments are what the operation wants.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(operation: c_int, argument: usize) -> c_int {
    if operation != libc::PR_SET_NAME {
        return fail(Errno::EINVAL);
    }
    // SAFETY: promised by the caller.
    let name = unsafe { super::bytes(argument as *const c_char) };
    let name = &name[..name.len().min(threads::NAME_MAX)];
    number_of(threads::set_name(crate::threads::current(), name).map(|()| 0))
}

/// # Safety
/// `place` is a place for a name.
#[unsafe(no_mangle)]
unsafe extern "C" fn uname(place: *mut libc::utsname) -> c_int {
    let put = |field: &mut [c_char], text: &str| {
        for (place, byte) in field.iter_mut().zip(text.bytes()) {
            *place = byte as c_char;
        }
    };
    // SAFETY: promised by the caller; all zeros are five empty strings.
    unsafe {
        place.write_bytes(0, 1);
        let name = &mut *place;
        put(&mut name.sysname, "EdgeCloud");
        put(&mut name.nodename, "localhost");
        put(&mut name.release, env!("CARGO_PKG_VERSION"));
        put(&mut name.version, "Xen PVH");
        put(&mut name.machine, "x86_64");
    }
    0
}

/// # Safety
/// `place` has `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostname(place: *mut c_char, size: usize) -> c_int {
    let name = c"localhost".to_bytes_with_nul();
    if size < name.len() {
        return fail(Errno::ENAMETOOLONG);
    }
    // SAFETY: promised by the caller.
    unsafe { core::ptr::copy_nonoverlapping(name.as_ptr().cast(), place, name.len()) };
    0
}
