//! Single instructions, and what CPUID says about them.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc, CpuidResult};

/// Writes a byte to an I/O port.
///
/// # Safety
/// The device behind the port must not do anything that breaks Rust's rules; a debug port does not.
pub unsafe fn out8(port: u16, value: u8) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags))
    }
}

/// Stops for good: interrupts are off, so nothing ends the halt.
pub fn stop() -> ! {
    loop {
        // SAFETY: halting has no effect on memory.
        unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
    }
}

/// The time stamp counter, not before earlier loads.
pub fn time_stamp() -> u64 {
    // SAFETY: LFENCE and RDTSC are in every x86-64 processor; PVH guests may execute RDTSC.
    unsafe {
        asm!("lfence", options(nostack, preserves_flags));
        _rdtsc()
    }
}

/// CPUID of a leaf and subleaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    __cpuid_count(leaf, subleaf)
}

/// Sets a model-specific register.
///
/// # Safety
/// The register exists and the value keeps the program running.
pub unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        asm!("wrmsr", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}

/// IA32_FS_BASE, where a thread's block of thread-locals ends.
const FS_BASE: u32 = 0xc000_0100;

/// Points FS at a thread's control block.
///
/// # Safety
/// `base` points to a control block (`machine/tls.rs`) that lives as long as the thread.
pub unsafe fn set_fs_base(base: usize) {
    // SAFETY: the register exists in every x86-64 processor; the rest is promised by the caller.
    unsafe { write_msr(FS_BASE, base as u64) }
}

/// The address of the last page fault.
pub fn fault_address() -> usize {
    let address;
    // SAFETY: reading CR2 has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// Makes the processor use these page tables.
///
/// # Safety
/// `table` is the physical address of a root table that maps everything the program uses.
pub unsafe fn set_page_tables(table: usize) {
    // SAFETY: promised by the caller.
    unsafe { asm!("mov cr3, {}", in(reg) table, options(nostack, preserves_flags)) }
}

/// Makes the processor forget the translation of one page.
pub fn forget_page(address: usize) {
    // SAFETY: forgetting a translation costs time only.
    unsafe { asm!("invlpg [{}]", in(reg) address, options(nostack, preserves_flags)) }
}

/// Turns on the vector registers' state: SSE is on since the entry, this adds AVX and AVX-512 where they
/// are. std detects them by CPUID and XGETBV.
pub fn enable_vectors() {
    const XSAVE: u32 = 1 << 26;
    const AVX: u32 = 1 << 28;
    let features = __cpuid(1).ecx;
    if features & (XSAVE | AVX) != XSAVE | AVX {
        return;
    }
    let supported = cpuid(0xd, 0).eax;
    // x87 1, SSE 2, AVX 4; AVX-512's three parts only together.
    let avx512 = if supported & 0xe0 == 0xe0 { 0xe0 } else { 0 };
    let state = supported & 7 | avx512;
    // SAFETY: XSAVE is there, so CR4.OSXSAVE (bit 18) may be set, and then XCR0 to a subset of what
    // CPUID offers.
    unsafe {
        let mut cr4: u64;
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        cr4 |= 1 << 18;
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        asm!("xsetbv", in("ecx") 0, in("eax") state, in("edx") 0, options(nostack, preserves_flags));
    }
}

/// A number from the processor's entropy source (RDSEED), or its generator (RDRAND).
pub fn hardware_random() -> Option<u64> {
    // Both can be empty for a moment; Intel's guide gives RDRAND ten tries, RDSEED as many as one wants.
    const TRIES: usize = 64;
    let rdseed = cpuid(7, 0).ebx & (1 << 18) != 0;
    let rdrand = __cpuid(1).ecx & (1 << 30) != 0;
    (0..TRIES)
        .filter(|_| rdseed)
        .find_map(|_| rdseed_once())
        .or_else(|| (0..TRIES).filter(|_| rdrand).find_map(|_| rdrand_once()))
}

fn rdseed_once() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: called only where CPUID has RDSEED.
    unsafe {
        asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack))
    };
    (valid != 0).then_some(value)
}

fn rdrand_once() -> Option<u64> {
    let (value, valid): (u64, u8);
    // SAFETY: called only where CPUID has RDRAND.
    unsafe {
        asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack))
    };
    (valid != 0).then_some(value)
}
