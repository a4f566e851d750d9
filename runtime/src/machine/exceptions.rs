//! Processor exceptions: the descriptor tables, the entry stubs, and who handles what.
//!
//! linux-gnu code keeps data below its stack pointer (the red zone), so every exception switches to a
//! stack of its own (IST). The only exception that returns is a page fault that fills a page of an area;
//! all others end the domain with a report. The stub saves the registers and, since the handler may use
//! them, the x87 and SSE state (what AVX adds is not touched by code without AVX, which this is).

use super::memory::{self, Fault};
use super::{cpu, report};
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, Ordering};

/// The registers at an exception, as the stubs push them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the names are the processor's")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const DOUBLE_FAULT: u64 = 8;
const PAGE_FAULT: u64 = 14;
/// Vectors of the processor's own exceptions.
const VECTORS: usize = 32;
/// Bytes of an exception's stack: the report formats text and walks frames.
const STACK: usize = 16 * 1024;

// A stub of 16 bytes for each vector. Some vectors come with an error code; the others get a zero, so that
// the stack looks the same.
global_asm!(
    r#"
    .text
    .balign 16
exception_stubs:
    .set vector, 0
    .rept 32
    .balign 16
    .if (0x60227d00 >> vector) & 1 == 0
    pushq $0
    .endif
    pushq $vector
    jmp exception_entry
    .set vector, vector + 1
    .endr
"#,
    options(att_syntax)
);

global_asm!(
    r#"
    .text
exception_entry:
    push rax
    push rbx
    push rcx
    push rdx
    push rsi
    push rdi
    push rbp
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov rbx, rsp
    sub rsp, 512
    and rsp, -16
    fxsave64 [rsp]
    xor ebp, ebp
    call {handler}
    fxrstor64 [rsp]
    mov rsp, rbx
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rbp
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 16
    iretq
"#,
    handler = sym handle
);

unsafe extern "C" {
    static exception_stubs: u8;
}

/// A 64-bit task state segment: only its stacks matter.
#[repr(C, packed(4))]
struct TaskState {
    _reserved0: u32,
    _rsp: [u64; 3],
    _reserved1: u64,
    ist: [u64; 7],
    _reserved2: u64,
    _reserved3: u16,
    io_map: u16,
}

#[repr(C, align(16))]
struct Stacks([[u8; STACK]; 4]);

/// Which of the four stacks a vector uses: nested exceptions of different kinds must not share one.
fn stack_of(vector: usize) -> usize {
    match vector {
        2 => 1,  // non-maskable interrupt
        8 => 2,  // double fault
        14 => 3, // page fault
        _ => 0,
    }
}

static mut STACKS: Stacks = Stacks([[0; STACK]; 4]);
static mut TASK: TaskState = TaskState {
    _reserved0: 0,
    _rsp: [0; 3],
    _reserved1: 0,
    ist: [0; 7],
    _reserved2: 0,
    _reserved3: 0,
    io_map: size_of::<TaskState>() as u16,
};
static mut GDT: [u64; 5] = [0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0, 0];
static mut IDT: [[u64; 2]; VECTORS] = [[0; 2]; VECTORS];

#[repr(C, packed)]
struct TablePointer {
    limit: u16,
    base: u64,
}

/// Installs the handlers. Called once, before anything can fault on purpose.
pub fn init() {
    let task = &raw mut TASK;
    let (gdt, idt) = (&raw mut GDT, &raw mut IDT);
    let stacks = &raw mut STACKS as usize;
    let stubs = &raw const exception_stubs as u64;
    // SAFETY: called once, before any other use of these statics, on the one vCPU; the descriptors have the
    // formats of the AMD64 manual, volume 2, sections 4.8 and 8.9, and point to statics.
    unsafe {
        for stack in 0..4 {
            (*task).ist[stack] = (stacks + (stack + 1) * STACK) as u64;
        }
        let base = task as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        (*gdt)[3] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        (*gdt)[4] = base >> 32;
        for vector in 0..VECTORS {
            let stub = stubs + vector as u64 * 16;
            let ist = stack_of(vector) as u64 + 1;
            (*idt)[vector][0] = stub & 0xffff
                | 8 << 16
                | ist << 32
                | 0x8e << 40 // present, interrupt gate
                | (stub >> 16 & 0xffff) << 48;
            (*idt)[vector][1] = stub >> 32;
        }
        let gdt_pointer = TablePointer {
            limit: size_of_val(&*gdt) as u16 - 1,
            base: gdt as u64,
        };
        let idt_pointer = TablePointer {
            limit: size_of_val(&*idt) as u16 - 1,
            base: idt as u64,
        };
        asm!("lgdt [{}]", in(reg) &gdt_pointer, options(nostack, preserves_flags));
        asm!("ltr {0:x}", in(reg) 0x18, options(nostack, preserves_flags));
        asm!("lidt [{}]", in(reg) &idt_pointer, options(nostack, preserves_flags));
    }
}

static REPORTING: AtomicBool = AtomicBool::new(false);

extern "C" fn handle(registers: &Registers) {
    let address = cpu::fault_address();
    let (write, execute) = (registers.error & 2 != 0, registers.error & 16 != 0);
    let mut out_of_memory = false;
    if registers.vector == PAGE_FAULT && !REPORTING.load(Ordering::Relaxed) {
        match memory::fault(address, write, execute) {
            Fault::Filled => return,
            Fault::Violation => {}
            Fault::OutOfMemory => out_of_memory = true,
        }
    }
    if REPORTING.swap(true, Ordering::Relaxed) {
        report::fault_while_reporting(registers, address);
    }
    let what = match registers.vector {
        PAGE_FAULT if out_of_memory => report::What::OutOfMemory { address },
        PAGE_FAULT => report::What::Access {
            address,
            write,
            execute,
        },
        DOUBLE_FAULT => report::What::Exception("double fault"),
        0 => report::What::Exception(
            "division error: division by zero, or a quotient that does not fit",
        ),
        1 => report::What::Exception("debug exception"),
        2 => report::What::Exception("non-maskable interrupt"),
        3 => report::What::Exception("breakpoint"),
        6 => report::What::Exception("invalid instruction (ud2: an abort, or unreachable code)"),
        13 => report::What::Exception(
            "general protection: an address that is none, or a privileged instruction",
        ),
        17 => report::What::Exception("misaligned access"),
        18 => report::What::Exception("machine check"),
        19 => report::What::Exception("floating-point exception"),
        _ => report::What::Exception("exception"),
    };
    report::fault(&what, registers);
}
