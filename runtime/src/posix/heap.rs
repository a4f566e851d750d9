//! Allocation (`stdlib.h`) and memory mapping (`sys/mman.h`).

use super::{fail, status_of};
use crate::Errno;
use crate::machine::memory;
use crate::memory::areas::{Protection, Span};
use crate::memory::heap::{ALIGNMENT, Heap};
use crate::memory::{AREAS_START, PAGE, pages_of};
use core::ffi::{c_int, c_void};
use core::ptr;

fn allocate(size: usize, alignment: usize) -> *mut c_void {
    let block = memory::c_allocate(size, alignment);
    if block.is_null() {
        fail(Errno::ENOMEM);
    }
    block.cast()
}

/// <https://pubs.opengroup.org/onlinepubs/9699919799/functions/malloc.html>
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    allocate(size, ALIGNMENT)
}

/// Zeroed memory.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else {
        fail(Errno::ENOMEM);
        return ptr::null_mut();
    };
    let block = malloc(size);
    if !block.is_null() {
        // SAFETY: the block has `size` bytes.
        unsafe { block.cast::<u8>().write_bytes(0, size) };
    }
    block
}

/// Aligned memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    place: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<*mut c_void>()) {
        return libc::EINVAL;
    }
    let block = memory::c_allocate(size, alignment);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller gives a place for a pointer.
    unsafe { place.write(block.cast()) };
    0
}

/// Aligned memory.
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        fail(Errno::EINVAL);
        return ptr::null_mut();
    }
    allocate(size, alignment)
}

/// Frees.
#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: the caller got it from one of these functions.
        unsafe { memory::c_free(block.cast()) };
    }
}

/// Changes a block's size, in place if possible.
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        return malloc(size);
    }
    // SAFETY: the caller got the block from one of these functions; the smaller size is in both blocks.
    unsafe {
        if memory::c_resize(block.cast(), size) {
            return block;
        }
        let new = malloc(size);
        if !new.is_null() {
            let kept = Heap::c_size(block.cast()).min(size);
            ptr::copy_nonoverlapping(block.cast::<u8>(), new.cast(), kept);
            free(block);
        }
        new
    }
}

/// How large a block really is.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the caller got it from one of these functions.
    unsafe { Heap::c_size(block.cast()) }
}

fn span(start: *mut c_void, size: usize) -> Result<Span, Errno> {
    let start = start as usize;
    let size = pages_of(size).ok_or(Errno::EINVAL)?;
    let end = start.checked_add(size).ok_or(Errno::EINVAL)?;
    let is_area = start.is_multiple_of(PAGE) && start >= AREAS_START && size > 0;
    if is_area {
        Ok(Span { start, end })
    } else {
        Err(Errno::EINVAL)
    }
}

/// Anonymous memory: there are no files to map, and no other place than the runtime chooses.
#[unsafe(no_mangle)]
extern "C" fn mmap64(
    wish: *mut c_void,
    size: usize,
    protection: c_int,
    flags: c_int,
    _descriptor: c_int,
    _offset: i64,
) -> *mut c_void {
    let mapped = || {
        if flags & libc::MAP_ANONYMOUS == 0 {
            return Err(Errno::ENODEV);
        }
        let protection = Protection::from_bits(protection).ok_or(Errno::EINVAL)?;
        if flags & libc::MAP_FIXED != 0 {
            return fixed(span(wish, size)?, protection);
        }
        memory::take_area(size, protection)
    };
    match mapped() {
        Ok(area) => area.start as *mut c_void,
        Err(error) => {
            fail(error);
            libc::MAP_FAILED
        }
    }
}

/// Memory in place of memory that is there, which must all be of an earlier mapping.
fn fixed(span: Span, protection: Protection) -> Result<Span, Errno> {
    memory::protect_area(span, protection)?;
    memory::empty_area(span);
    Ok(span)
}

/// The same: offsets have 64 bits anyway.
#[unsafe(no_mangle)]
extern "C" fn mmap(
    wish: *mut c_void,
    size: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    mmap64(wish, size, protection, flags, descriptor, offset)
}

/// Gives memory back.
#[unsafe(no_mangle)]
extern "C" fn munmap(start: *mut c_void, size: usize) -> c_int {
    status_of(span(start, size).map(memory::release_area))
}

/// Changes what may be done with memory. Not with the heap's, nor the program's own.
#[unsafe(no_mangle)]
extern "C" fn mprotect(start: *mut c_void, size: usize, protection: c_int) -> c_int {
    let protected = || {
        let protection = Protection::from_bits(protection).ok_or(Errno::EINVAL)?;
        memory::protect_area(span(start, size)?, protection)
    };
    status_of(protected())
}

/// Advice: memory that is not needed is given back, the rest is taken note of.
#[unsafe(no_mangle)]
extern "C" fn madvise(start: *mut c_void, size: usize, advice: c_int) -> c_int {
    match advice {
        libc::MADV_DONTNEED => status_of(span(start, size).map(memory::empty_area)),
        _ => 0,
    }
}
