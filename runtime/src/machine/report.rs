//! What is printed when the domain cannot go on.
//!
//! Every report goes to the console and to the hypervisor's log, so that it is found even if nobody read
//! the console. Frames are printed as `  #N 0xADDRESS`; `cargo xtask symbolize NAME` puts functions and
//! lines to them. Nothing here allocates.

use super::debug::DebugPort;
use super::exceptions::Registers;
use super::{console, hypercall, memory, threads};
use crate::xen::ShutdownReason;
use core::fmt::{self, Write};

/// Most frames that a backtrace shows.
const FRAMES_MAX: usize = 64;
/// What lies below this address is taken for a field of a null pointer.
const NULL_LIMIT: usize = 0x1_0000;

/// What ended the domain.
pub enum What {
    /// A page fault that nothing could be done about.
    Access {
        /// Which address.
        address: usize,
        /// It was to be written.
        write: bool,
        /// It was to be executed.
        execute: bool,
    },
    /// A page of a stack or an area was touched for which there is no memory.
    OutOfMemory {
        /// Which address.
        address: usize,
    },
    /// Another exception.
    Exception(&'static str),
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Exception(what) => f.write_str(what),
            Self::OutOfMemory { address } => {
                let usage = memory::usage();
                write!(
                    f,
                    "out of memory: a page was asked for {address:#x}, {} of {} bytes are left",
                    usage.free, usage.total
                )
            }
            Self::Access {
                address,
                write,
                execute,
            } => {
                let verb = match (write, execute) {
                    (true, _) => "write to",
                    (_, true) => "execution of",
                    _ => "read of",
                };
                let stack = threads::current_stack();
                match address {
                    0..NULL_LIMIT => {
                        write!(f, "null pointer dereference: {verb} address {address:#x}")
                    }
                    _ if stack.is_guard(address) => write!(
                        f,
                        "stack overflow: {verb} address {address:#x}, below this thread's stack of {} KiB \
                         (std::thread::Builder::stack_size gives a thread more)",
                        (stack.end - stack.start) / 1024
                    ),
                    _ if execute && memory::is_mapped(address) => {
                        write!(f, "execution of data at address {address:#x}")
                    }
                    _ if write && memory::is_read_only(address) => {
                        write!(f, "write to read-only memory at address {address:#x}")
                    }
                    _ => write!(f, "{verb} address {address:#x}, where nothing is mapped"),
                }
            }
        }
    }
}

/// Both places where a report goes.
struct Report;

impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        DebugPort.write_str(text)?;
        console::write_if_possible(text.as_bytes());
        Ok(())
    }
}

/// Prints a line of the runtime's own, to both places.
pub fn line(text: fmt::Arguments) {
    let _ = writeln!(Report, "edgecloud: {text}");
}

/// Prints a warning of the runtime's own, to the console only.
pub fn warning(text: fmt::Arguments) {
    struct Console;
    impl Write for Console {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            console::write_if_possible(text.as_bytes());
            Ok(())
        }
    }
    let _ = writeln!(Console, "edgecloud: warning: {text}");
}

/// Reports a fault and crashes the domain.
pub fn fault(what: &What, registers: &Registers) -> ! {
    let r = registers;
    let (thread, name) = threads::current_for_report();
    line(format_args!("{what}"));
    let _ = writeln!(Report, "  in thread {} '{name}' at {:#x}", thread.0, r.rip);
    let _ = writeln!(
        Report,
        "  rip {:016x} rsp {:016x} rflags {:08x} vector {} error {:#x}\n  \
         rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\n  \
         rsi {:016x} rdi {:016x} rbp {:016x} r8  {:016x}\n  \
         r9  {:016x} r10 {:016x} r11 {:016x} r12 {:016x}\n  \
         r13 {:016x} r14 {:016x} r15 {:016x}",
        r.rip,
        r.rsp,
        r.rflags,
        r.vector,
        r.error,
        r.rax,
        r.rbx,
        r.rcx,
        r.rdx,
        r.rsi,
        r.rdi,
        r.rbp,
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15
    );
    backtrace(r.rip as usize, r.rbp as usize, Some(r.rsp as usize));
    crash()
}

/// Reports a fault within a report, as shortly as possible, and crashes the domain.
pub fn fault_while_reporting(registers: &Registers, address: usize) -> ! {
    let _ = writeln!(
        DebugPort,
        "edgecloud: exception {} at {:#x} (address {address:#x}) while reporting another",
        registers.vector, registers.rip
    );
    hypercall::shutdown(ShutdownReason::Crash)
}

/// Prints the frames from here on.
pub fn backtrace_from_here() {
    let frame: usize;
    // SAFETY: reading a register.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack)) };
    backtrace(0, frame, None);
}

/// Prints frames: the code at `rip`, then what the chain of frame pointers from `frame` on says.
///
/// Right after a call the new frame is not made yet; if `rip` is no code, the call that went there left
/// its return address at `stack`.
fn backtrace(rip: usize, mut frame: usize, stack: Option<usize>) {
    let _ = writeln!(
        Report,
        "  backtrace (`cargo xtask symbolize` shows functions and lines):"
    );
    let mut number = 0;
    let mut show = |address: usize| {
        let _ = writeln!(Report, "  #{number} {address:#018x}");
        number += 1;
    };
    if rip != 0 || stack.is_some() {
        show(rip);
    }
    if !memory::is_code(rip)
        && let Some(caller) = stack.and_then(read_word)
        && memory::is_code(caller)
    {
        show(caller);
    }
    for _ in 0..FRAMES_MAX {
        let (Some(next), Some(caller)) = (read_word(frame), read_word(frame.wrapping_add(8)))
        else {
            return;
        };
        if !memory::is_code(caller) {
            return;
        }
        show(caller);
        // Callers' frames lie above their callees'.
        if next <= frame {
            return;
        }
        frame = next;
    }
    let _ = writeln!(Report, "  … and more");
}

/// A word in memory, if something is mapped there.
fn read_word(address: usize) -> Option<usize> {
    let readable = address.is_multiple_of(8) && memory::is_mapped(address);
    // SAFETY: the address is aligned, and a page is mapped there; any bits are a usize.
    readable.then(|| unsafe { (address as *const usize).read_volatile() })
}

/// Crashes the domain, after the console has been read.
pub fn crash() -> ! {
    console::drain_if_possible();
    hypercall::shutdown(ShutdownReason::Crash)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let place = info.location();
    let _ = write!(
        Report,
        "edgecloud: the runtime is broken: {}",
        info.message()
    );
    if let Some(place) = place {
        let _ = write!(Report, " ({}:{})", place.file(), place.line());
    }
    let _ = writeln!(Report);
    if let Some((asked, free)) = memory::last_failure() {
        line(format_args!(
            "the last allocation that failed asked {asked} bytes, {free} were left"
        ));
    }
    backtrace_from_here();
    crash()
}
