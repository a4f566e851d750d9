//! A guest that does what no program should: its first argument says what. Each fault is one
//! instruction in a function named after it, so that the scenarios can look for that name and line
//! in the backtrace. Nothing after it is reached.

use std::arch::asm;
use std::hint::black_box;

fn main() {
    let what = std::env::args().nth(1).unwrap_or_default();
    println!("faults: {what}");
    match what.as_str() {
        "null" => read_null(),
        "write-text" => write_text(),
        "execute-data" => execute_data(),
        "wild" => read_wild(),
        "non-canonical" => read_non_canonical(),
        "divide" => divide_by_zero(),
        "undefined" => undefined_instruction(),
        "stack-overflow" => println!("{}", overflow_stack(1)),
        "stack-overflow-in-thread" => in_thread(|| println!("{}", overflow_stack(1))),
        "null-in-thread" => in_thread(read_null),
        "abort" => abort_at_once(),
        "panic" => panic_uncaught(),
        "panic-in-drop" => panic_twice(),
        other => panic!("`{other}` is no fault; read the list in main"),
    }
    println!("faults: {what} did no harm");
}

#[inline(never)]
fn read_null() {
    read_from(black_box(0));
}

/// A canonical address where nothing is mapped.
#[inline(never)]
fn read_wild() {
    read_from(black_box(0x7000_dead_0000));
}

/// Not even an address: bits 48 to 63 are not copies of bit 47.
#[inline(never)]
fn read_non_canonical() {
    read_from(black_box(0x1234_5678_9abc_def0));
}

#[inline(always)]
fn read_from(address: u64) {
    // SAFETY: none: the address is meant to fault.
    unsafe { asm!("mov {0}, qword ptr [{0}]", inout(reg) address => _) }
}

#[inline(never)]
fn write_text() {
    let code: fn() = write_text;
    // SAFETY: none: code is meant to be read-only, so this is meant to fault.
    unsafe { asm!("mov byte ptr [{}], 0x90", in(reg) code) }
}

#[inline(never)]
fn execute_data() {
    let returns_at_once = black_box([0xc3_u8; 16]);
    // SAFETY: none: the stack is meant not to be executable, so this is meant to fault.
    unsafe { asm!("call {}", in(reg) returns_at_once.as_ptr(), clobber_abi("C")) }
}

#[inline(never)]
fn divide_by_zero() {
    // SAFETY: rax, rdx and the divisor are all that `div` touches; it is meant to fault.
    unsafe {
        asm!("div {}", in(reg) black_box(0_u64), inout("rax") 1_u64 => _, inout("rdx") 0_u64 => _)
    }
}

#[inline(never)]
fn undefined_instruction() {
    // SAFETY: `ud2` does nothing but fault.
    unsafe { asm!("ud2") }
}

/// Endless, though the compiler is not told so.
#[inline(never)]
fn overflow_stack(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == 0 {
        return 0;
    }
    overflow_stack(depth + 1) + black_box(frame)[63]
}

fn in_thread(fault: fn()) {
    let thread = std::thread::Builder::new().name("unlucky".to_owned());
    let thread = thread.spawn(fault).expect("a thread");
    assert!(thread.join().is_ok(), "a fault is not a panic");
}

#[inline(never)]
fn abort_at_once() {
    std::process::abort()
}

#[inline(never)]
fn panic_uncaught() {
    panic!("nobody catches this");
}

/// A panic while another unwinds ends the program at once.
#[inline(never)]
fn panic_twice() {
    struct Second;
    impl Drop for Second {
        fn drop(&mut self) {
            panic!("the second panic");
        }
    }
    let _second = Second;
    panic!("the first panic");
}
