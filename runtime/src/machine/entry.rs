//! The first instructions: from PVH's 32-bit protected mode to 64-bit Rust.
//!
//! Xen finds [`_start32`](https://xenbits.xen.org/docs/unstable/misc/pvh.html) by the ELF note and jumps
//! there with paging off, flat segments, no stack, interrupts off, and the physical address of the start
//! info in `ebx`. The tables made here map the first 4 GiB one to one, everything allowed; `paging.rs`
//! replaces them before anything else happens.

use core::arch::global_asm;

/// Bytes of the stack until `main`'s thread has its own. It runs the set-up and nothing deep.
pub const BOOT_STACK: usize = 64 * 1024;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 4, 18              // name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long _start32

    .section .boot, "ax"
    .code32
    .global _start32
_start32:
    cld
    movl %ebx, %edi             // start info, the first argument of boot()

    movl $boot_pd, %eax         // 2048 pages of 2 MiB: present, writable, large
    movl $0x83, %ecx
    movl $2048, %edx
1:  movl %ecx, (%eax)
    movl $0, 4(%eax)
    addl $0x200000, %ecx
    addl $8, %eax
    decl %edx
    jnz 1b

    movl $boot_pdpt, %eax       // four gigabytes
    movl $boot_pd + 3, %ecx
    movl $4, %edx
2:  movl %ecx, (%eax)
    movl $0, 4(%eax)
    addl $4096, %ecx
    addl $8, %eax
    decl %edx
    jnz 2b

    movl $boot_pml4, %eax
    movl $boot_pdpt + 3, (%eax)
    movl $0, 4(%eax)
    movl %eax, %cr3

    movl %cr4, %eax
    orl $0x620, %eax            // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xc0000080, %ecx      // EFER: long mode, no-execute
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl %cr0, %eax
    andl $0xfffffff3, %eax      // no emulation, no task switching
    orl $0x80010002, %eax       // paging, write protection, monitor coprocessor
    movl %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $8, $3f

    .code64
3:  movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movw %ax, %fs
    movw %ax, %gs
    movq $boot_stack_top, %rsp
    xorl %ebp, %ebp             // the end of every chain of frames
    movl %edi, %edi
    call {boot}
    ud2

    .section .rodata.boot_gdt, "a"
    .balign 8
boot_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdt_pointer:
    .word 23
    .long boot_gdt

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4:  .skip 4096
boot_pdpt:  .skip 4096
boot_pd:    .skip 16384
    .global boot_stack_guard
boot_stack_guard: .skip 4096
    .skip {stack}
boot_stack_top:
    .text
"#,
    boot = sym super::boot,
    stack = const BOOT_STACK,
    options(att_syntax)
);
