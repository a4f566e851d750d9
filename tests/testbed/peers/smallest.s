# The smallest PVH guest: it powers off. What its life takes is what the toolstack takes.

        .code32
        .text
        .globl  _start
_start:                                 # flat 32-bit segments, no stack (docs/misc/pvh.pandoc)
        xorl    %eax, %eax
        cpuid
        movl    $29, %eax               # __HYPERVISOR_sched_op
        movl    %ebx, %edx
        movl    $2, %ebx                # SCHEDOP_shutdown
        movl    $argument, %ecx
        cmpl    $0x756e6547, %edx       # "Genu": Intel's instruction, otherwise AMD's
        je      1f
        vmmcall
1:      vmcall
2:      hlt
        jmp     2b

        .section .rodata
argument:
        .long   0                       # SHUTDOWN_poweroff

        .section .note.Xen, "a", @note
        .p2align 2
        .long   4                       # the name's length
        .long   4                       # the descriptor's length
        .long   18                      # XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .long   _start
