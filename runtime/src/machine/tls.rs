//! Thread-locals: the block that FS points to (System V ABI, x86-64, TLS variant II).
//!
//! ```text
//! | .tdata, then zeros for .tbss | control block |
//!                                ^ FS base: the block's own address, canary at 0x28, errno
//! ```

use super::cpu;
use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr;

unsafe extern "C" {
    static __tls_start: u8;
    static __tdata_end: u8;
    static __tls_end: u8;
    /// An absolute symbol: its address is the value.
    static __tls_align: u8;
}

/// What compilers expect at the FS base, and what we add.
#[repr(C, align(64))]
struct ControlBlock {
    this: *mut ControlBlock,
    _reserved: [usize; 4],
    /// `-fstack-protector` compares with this (C objects that are linked in).
    canary: usize,
    errno: i32,
}

/// A thread's block.
pub struct Tls {
    block: *mut u8,
    layout: Layout,
    control: *mut ControlBlock,
}

impl Tls {
    /// A new thread's block; `None` when memory is out.
    pub fn new() -> Option<Self> {
        let start = &raw const __tls_start as usize;
        let initialised = &raw const __tdata_end as usize - start;
        let size = &raw const __tls_end as usize - start;
        let alignment = (&raw const __tls_align as usize).max(align_of::<ControlBlock>());
        // The control block is aligned, and the variables end where it begins; the linker computed their
        // offsets from a block whose size is rounded up to its alignment.
        let before = size.next_multiple_of(alignment);
        let layout = Layout::from_size_align(before + size_of::<ControlBlock>(), alignment).ok()?;
        // SAFETY: the size is not zero.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            return None;
        }
        // SAFETY: the block has room for the template, aligned as the linker laid it out, and for the
        // control block behind it.
        unsafe {
            let rounded_start =
                block.add(before - size.next_multiple_of(&raw const __tls_align as usize));
            ptr::copy_nonoverlapping(&raw const __tls_start, rounded_start, initialised);
            let control = block.add(before).cast::<ControlBlock>();
            (*control).this = control;
            (*control).canary = cpu::time_stamp() as usize & !0xff;
            Some(Self {
                block,
                layout,
                control,
            })
        }
    }

    /// Makes this the running thread's block.
    ///
    /// # Safety
    /// It is the block of the thread that runs next, and lives as long as that.
    pub unsafe fn activate(&self) {
        // SAFETY: promised by the caller.
        unsafe { cpu::set_fs_base(self.control as usize) };
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.block, self.layout) };
    }
}

/// Where the running thread's errno is. Valid once its block is active.
pub fn errno() -> *mut i32 {
    let control: *mut ControlBlock;
    // SAFETY: FS:0 is the control block's address.
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) control, options(nostack, preserves_flags, readonly));
        &raw mut (*control).errno
    }
}
