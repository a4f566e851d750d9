//! Bytes and strings (`string.h`).
//!
//! Copying and filling are written in assembly: a compiler would turn the loops of a `memcpy` into calls of
//! `memcpy`. They use SSE2, which every x86-64 has, and no string instructions, which are slow to start on
//! hardware and very slow under emulation.

use core::arch::naked_asm;
use core::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8};
use core::ffi::{c_char, c_int, c_void};

/// Copies; the ranges may overlap.
///
/// Up to 64 bytes everything is loaded before anything is stored. Beyond, the last (or first) 64 bytes are
/// loaded before the loop and stored after it, so the loop runs over whole blocks only, upwards or, when the
/// target overlaps the source from above, downwards.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memmove(
    target: *mut c_void,
    source: *const c_void,
    count: usize,
) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "cmp rdx, 16",
        "jb 20f",
        "cmp rdx, 32",
        "ja 32f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + rdx - 16], xmm1",
        "ret",
        "32:",
        "cmp rdx, 64",
        "ja 64f",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + rdx - 32]",
        "movups xmm3, [rsi + rdx - 16]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + rdx - 32], xmm2",
        "movups [rdi + rdx - 16], xmm3",
        "ret",
        "64:",
        "mov rcx, rdi",
        "sub rcx, rsi",
        "cmp rcx, rdx",
        "jb 70f",
        // Upwards: the last 64 bytes are kept for the end.
        "movups xmm4, [rsi + rdx - 64]",
        "movups xmm5, [rsi + rdx - 48]",
        "movups xmm6, [rsi + rdx - 32]",
        "movups xmm7, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 64]",
        "65:",
        "movups xmm0, [rsi]",
        "movups xmm1, [rsi + 16]",
        "movups xmm2, [rsi + 32]",
        "movups xmm3, [rsi + 48]",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm1",
        "movups [rdi + 32], xmm2",
        "movups [rdi + 48], xmm3",
        "add rsi, 64",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 65b",
        "movups [r8], xmm4",
        "movups [r8 + 16], xmm5",
        "movups [r8 + 32], xmm6",
        "movups [r8 + 48], xmm7",
        "ret",
        // Downwards: the first 64 bytes are kept for the end.
        "70:",
        "movups xmm4, [rsi]",
        "movups xmm5, [rsi + 16]",
        "movups xmm6, [rsi + 32]",
        "movups xmm7, [rsi + 48]",
        "add rsi, rdx",
        "add rdi, rdx",
        "lea r8, [rax + 64]",
        "71:",
        "movups xmm0, [rsi - 16]",
        "movups xmm1, [rsi - 32]",
        "movups xmm2, [rsi - 48]",
        "movups xmm3, [rsi - 64]",
        "movups [rdi - 16], xmm0",
        "movups [rdi - 32], xmm1",
        "movups [rdi - 48], xmm2",
        "movups [rdi - 64], xmm3",
        "sub rsi, 64",
        "sub rdi, 64",
        "cmp rdi, r8",
        "ja 71b",
        "movups [rax], xmm4",
        "movups [rax + 16], xmm5",
        "movups [rax + 32], xmm6",
        "movups [rax + 48], xmm7",
        "ret",
        // Fewer than 16.
        "20:",
        "cmp rdx, 8",
        "jb 21f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "ret",
        "21:",
        "cmp rdx, 4",
        "jb 22f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "ret",
        "22:",
        "test rdx, rdx",
        "je 23f",
        "mov r9, rdx",
        "shr r9",
        "movzx ecx, byte ptr [rsi]",
        "movzx r8d, byte ptr [rsi + rdx - 1]",
        "movzx r10d, byte ptr [rsi + r9]",
        "mov [rdi], cl",
        "mov [rdi + r9], r10b",
        "mov [rdi + rdx - 1], r8b",
        "23:",
        "ret",
    )
}

/// Copies.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memcpy(
    target: *mut c_void,
    source: *const c_void,
    count: usize,
) -> *mut c_void {
    naked_asm!("jmp {}", sym memmove)
}

/// Fills.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn memset(target: *mut c_void, value: c_int, count: usize) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "movzx esi, sil",
        "mov rcx, 0x0101010101010101",
        "imul rcx, rsi",
        "cmp rdx, 16",
        "jb 20f",
        "movq xmm0, rcx",
        "punpcklqdq xmm0, xmm0",
        "movups [rdi + rdx - 16], xmm0",
        "cmp rdx, 64",
        "jae 64f",
        "movups [rdi], xmm0",
        "cmp rdx, 32",
        "jbe 33f",
        "movups [rdi + 16], xmm0",
        "movups [rdi + rdx - 32], xmm0",
        "33:",
        "ret",
        "64:",
        "lea r8, [rdi + rdx - 64]",
        "65:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "cmp rdi, r8",
        "jb 65b",
        "movups [r8], xmm0",
        "movups [r8 + 16], xmm0",
        "movups [r8 + 32], xmm0",
        "ret",
        "20:",
        "cmp rdx, 8",
        "jb 21f",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], rcx",
        "ret",
        "21:",
        "cmp rdx, 4",
        "jb 22f",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], ecx",
        "ret",
        "22:",
        "test rdx, rdx",
        "je 23f",
        "mov [rdi], cl",
        "mov [rdi + rdx - 1], cl",
        "shr rdx",
        "mov [rdi + rdx], cl",
        "23:",
        "ret",
    )
}

/// Compares.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    // SAFETY: both ranges have `count` bytes; 16 are loaded only where 16 are left.
    unsafe {
        let mut at = 0;
        while at + 16 <= count {
            let equal = equal_bytes(one.add(at), other.add(at));
            if equal != 0xffff {
                at += (!equal).trailing_zeros() as usize;
                return c_int::from(*one.add(at)) - c_int::from(*other.add(at));
            }
            at += 16;
        }
        while at < count {
            // Volatile, or the compiler makes a memcmp of it.
            let (a, b) = (one.add(at).read_volatile(), other.add(at).read_volatile());
            if a != b {
                return c_int::from(a) - c_int::from(b);
            }
            at += 1;
        }
    }
    0
}

/// Compares for equality.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, count: usize) -> c_int {
    // SAFETY: the same promise.
    unsafe { memcmp(one, other, count) }
}

/// A bit for each of 16 bytes that are equal.
///
/// # Safety
/// 16 bytes can be read at both.
unsafe fn equal_bytes(one: *const u8, other: *const u8) -> u32 {
    // SAFETY: promised by the caller; SSE2 is part of x86-64.
    unsafe {
        let a = _mm_loadu_si128(one.cast::<__m128i>());
        let b = _mm_loadu_si128(other.cast::<__m128i>());
        _mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) as u32
    }
}

/// The length of a string.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the string ends with a NUL. Volatile, or the compiler makes a strlen of it.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

/// The length of a string, at most `most`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strnlen(text: *const c_char, most: usize) -> usize {
    // SAFETY: `most` bytes can be read, or there is a NUL before.
    unsafe { memchr(text.cast(), 0, most) }
        .map_or(most, |at| at as *const u8 as usize - text as usize)
}

/// The first byte of this value.
#[unsafe(no_mangle)]
unsafe extern "C" fn memchr(place: *const u8, value: c_int, count: usize) -> Option<&'static u8> {
    // SAFETY: the range has `count` bytes.
    (0..count)
        .map(|at| unsafe { &*place.add(at) })
        .find(|&&byte| byte == value as u8)
}

/// The last byte of this value.
#[unsafe(no_mangle)]
unsafe extern "C" fn memrchr(place: *const u8, value: c_int, count: usize) -> Option<&'static u8> {
    // SAFETY: the range has `count` bytes.
    (0..count)
        .rev()
        .map(|at| unsafe { &*place.add(at) })
        .find(|&&byte| byte == value as u8)
}
