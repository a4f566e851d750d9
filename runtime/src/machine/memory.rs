//! The guest's memory: heap, frames, areas and page tables, and the faults that fill areas.
//!
//! A fault can happen wherever a stack grows, so also within this module, while it has its own state
//! borrowed. Every operation therefore begins by touching the stack below it ([`grow_stack`]): after that
//! it cannot fault, and the handler always finds the state unborrowed.

use super::frames::Frames;
use super::paging::{Access, OutOfFrames, PageTables};
use crate::boot::start_info::Range;
use crate::memory::areas::{AreaMap, Protection, Span};
use crate::memory::heap::{Heap, Usage};
use crate::memory::{PAGE, pages_of};
use crate::{Errno, Global};
use core::alloc::{GlobalAlloc, Layout};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

static HEAP: Global<Heap> = Global::new(Heap::new());
static FRAMES: Global<Frames> = Global::new(Frames::new());
static AREAS: Global<AreaMap> = Global::new(AreaMap::new());
static TABLES: Global<Option<PageTables>> = Global::new(None);

/// What the last allocation asked that failed; 0 if none failed.
static FAILED: AtomicUsize = AtomicUsize::new(0);
static FAILED_FREE: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static __image_start: u8;
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __image_end: u8;
    static boot_stack_guard: u8;
}

/// The range of addresses of the program and its data.
pub fn image() -> Range {
    Range {
        start: &raw const __image_start as u64,
        end: &raw const __image_end as u64,
    }
}

/// Whether an address lies in the program's code.
pub fn is_code(address: usize) -> bool {
    (&raw const __text_start as usize..&raw const __text_end as usize).contains(&address)
}

/// Whether an address lies in what may not be written.
pub fn is_read_only(address: usize) -> bool {
    (&raw const __text_start as usize..&raw const __rodata_end as usize).contains(&address)
}

/// Touches the next pages of this stack, so that what follows does not fault for lack of them.
///
/// In assembly, because to the compiler a read below the stack pointer is a read of nothing, which it need
/// not do.
#[inline(always)]
fn grow_stack(pages: usize) {
    for page in 1..=pages {
        // SAFETY: the address is on this thread's stack, or on the guard below it, and then the fault handler
        // reports the overflow. The instruction changes the flags and nothing else.
        unsafe {
            asm!(
                "neg {below}",
                "test byte ptr [rsp + {below}], 0",
                below = inout(reg) page * PAGE => _,
                options(nostack, readonly)
            );
        }
    }
}

/// Stack that the allocator needs at most, in pages.
const HEAP_STACK: usize = 1;
/// Stack that operations on areas and tables need at most, in pages.
const AREA_STACK: usize = 3;

/// Gives RAM to the heap.
///
/// # Safety
/// Nobody uses the range, and it is mapped.
pub unsafe fn add_to_heap(range: Range) {
    // SAFETY: promised by the caller.
    unsafe {
        HEAP.borrow()
            .add(range.start as *mut u8, (range.end - range.start) as usize)
    };
}

/// Makes the real page tables and uses them: RAM one to one, the image by its segments, and `devices`,
/// pages that are shared with Xen.
///
/// # Safety
/// `ram` and `devices` are what they are said to be.
pub unsafe fn map(ram: &[Range], devices: &[usize]) -> Result<(), OutOfFrames> {
    let mut take = || FRAMES.borrow().take();
    let take = &mut take;
    let mut tables = PageTables::new(take)?;
    let page = |address: u64| address as usize & !(PAGE - 1);
    for range in ram {
        tables.map_identity(page(range.start), page(range.end), Access::READ_WRITE, take)?;
    }
    for &device in devices {
        tables.map_identity(device, device + PAGE, Access::READ_WRITE, take)?;
    }
    let (text, rodata) = (
        &raw const __text_start as usize,
        &raw const __rodata_start as usize,
    );
    let (data, end) = (
        &raw const __data_start as usize,
        &raw const __image_end as usize,
    );
    tables.map_identity(text, rodata, Access::EXECUTE, take)?;
    tables.map_identity(rodata, data, Access::READ, take)?;
    tables.map_identity(data, end, Access::READ_WRITE, take)?;
    tables.unmap_identity(0, take)?;
    tables.unmap_identity(&raw const boot_stack_guard as usize, take)?;
    // SAFETY: the image, its stack, the heap and the shared pages are mapped; nothing else is used.
    unsafe { tables.activate() };
    *TABLES.borrow() = Some(tables);
    Ok(())
}

/// How full the heap is.
pub fn usage() -> Usage {
    HEAP.borrow().usage()
}

/// What the last failed allocation asked, and what was free then, in bytes.
pub fn last_failure() -> Option<(usize, usize)> {
    let asked = FAILED.load(Ordering::Relaxed);
    (asked != 0).then(|| (asked, FAILED_FREE.load(Ordering::Relaxed)))
}

fn note_failure(block: *mut u8, asked: usize, heap: &Heap) -> *mut u8 {
    if block.is_null() {
        FAILED.store(asked, Ordering::Relaxed);
        FAILED_FREE.store(heap.usage().free, Ordering::Relaxed);
    }
    block
}

/// A block for C; null when memory is out.
pub fn c_allocate(size: usize, alignment: usize) -> *mut u8 {
    grow_stack(HEAP_STACK);
    let mut heap = HEAP.borrow();
    let block = heap.c_allocate(size, alignment);
    note_failure(block, size, &heap)
}

/// Frees a block of C's.
///
/// # Safety
/// It came from [`c_allocate`] and is not freed.
pub unsafe fn c_free(block: *mut u8) {
    grow_stack(HEAP_STACK);
    // SAFETY: promised by the caller.
    unsafe { HEAP.borrow().c_free(block) }
}

/// Changes the size of a block of C's where it is; whether that was possible.
///
/// # Safety
/// It came from [`c_allocate`] and is not freed.
pub unsafe fn c_resize(block: *mut u8, size: usize) -> bool {
    grow_stack(HEAP_STACK);
    // SAFETY: promised by the caller.
    unsafe { HEAP.borrow().c_resize(block, size) }
}

struct RuntimeAllocator;

// SAFETY: blocks come from the heap, which gives none twice.
unsafe impl GlobalAlloc for RuntimeAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow_stack(HEAP_STACK);
        let mut heap = HEAP.borrow();
        let block = heap.allocate(layout);
        note_failure(block, layout.size(), &heap)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        grow_stack(HEAP_STACK);
        // SAFETY: promised by the caller.
        unsafe { HEAP.borrow().deallocate(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: RuntimeAllocator = RuntimeAllocator;

/// Takes unused addresses for `size` bytes of zeros; memory follows page by page when it is touched.
pub fn take_area(size: usize, protection: Protection) -> Result<Span, Errno> {
    grow_stack(AREA_STACK);
    let size = pages_of(size)
        .filter(|&size| size > 0)
        .ok_or(Errno::EINVAL)?;
    if protection.is_writable() && protection.is_executable() {
        return Err(Errno::EACCES);
    }
    AREAS.borrow().take(size, protection).ok_or(Errno::ENOMEM)
}

/// Gives up addresses and their memory.
pub fn release_area(span: Span) {
    grow_stack(AREA_STACK);
    for released in AREAS.borrow().release(span) {
        for page in (released.start..released.end).step_by(PAGE) {
            let frame = TABLES
                .borrow()
                .as_mut()
                .and_then(|tables| tables.unmap_area_page(page));
            if let Some(frame) = frame {
                FRAMES.borrow().give(frame);
            }
        }
    }
}

/// Gives up the memory of an area, whose pages read as zeros again (MADV_DONTNEED).
pub fn empty_area(span: Span) {
    grow_stack(AREA_STACK);
    for page in (span.start..span.end).step_by(PAGE) {
        if AREAS.borrow().find(page).is_none() {
            continue;
        }
        let frame = TABLES
            .borrow()
            .as_mut()
            .and_then(|tables| tables.unmap_area_page(page));
        if let Some(frame) = frame {
            FRAMES.borrow().give(frame);
        }
    }
}

/// Changes what may be done with an area.
pub fn protect_area(span: Span, protection: Protection) -> Result<(), Errno> {
    grow_stack(AREA_STACK);
    if protection.is_writable() && protection.is_executable() {
        return Err(Errno::EACCES);
    }
    if !AREAS.borrow().protect(span, protection) {
        return Err(Errno::ENOMEM);
    }
    if let Some(tables) = TABLES.borrow().as_mut() {
        for page in (span.start..span.end).step_by(PAGE) {
            tables.protect_area_page(page, protection);
        }
    }
    Ok(())
}

/// What a page fault meant.
pub enum Fault {
    /// A page of an area has been filled: go on.
    Filled,
    /// Nothing may be there, or not this.
    Violation,
    /// A page should be there, but memory is out.
    OutOfMemory,
}

/// Handles a fault at `address`. Called from the exception handler only.
pub fn fault(address: usize, write: bool, execute: bool) -> Fault {
    let (Some(areas), Some(mut tables), Some(mut frames)) =
        (AREAS.try_borrow(), TABLES.try_borrow(), FRAMES.try_borrow())
    else {
        return Fault::Violation;
    };
    let (Some(protection), Some(tables)) = (areas.find(address), tables.as_mut()) else {
        return Fault::Violation;
    };
    let allowed = protection.is_accessible()
        && (!write || protection.is_writable())
        && (!execute || protection.is_executable());
    let page = address & !(PAGE - 1);
    if !allowed || tables.is_mapped(page) {
        return Fault::Violation;
    }
    match tables.map_area_page(page, protection, &mut || frames.take()) {
        Ok(()) => Fault::Filled,
        Err(OutOfFrames) => Fault::OutOfMemory,
    }
}

/// Whether something is mapped at `address`, for reports. `false` while the tables are being changed.
pub fn is_mapped(address: usize) -> bool {
    TABLES
        .try_borrow()
        .is_some_and(|tables| tables.as_ref().is_some_and(|t| t.is_mapped(address)))
}
