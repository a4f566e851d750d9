//! What libgcc's unwinder and std's backtraces ask: where the program is, and where its unwind tables are.

use crate::machine::memory;
use core::ffi::{c_char, c_int, c_void};
use core::ptr;
use libc::{Elf64_Phdr, dl_phdr_info};

unsafe extern "C" {
    static __eh_frame_hdr_start: u8;
    static __eh_frame_hdr_end: u8;
}

/// PT_GNU_EH_FRAME.
const EH_FRAME: u32 = 0x6474_e550;

/// Calls `report` with one object: the program.
///
/// # Safety
/// `report` can be called with `data`.
#[unsafe(no_mangle)]
unsafe extern "C" fn dl_iterate_phdr(
    report: extern "C" fn(*mut dl_phdr_info, usize, *mut c_void) -> c_int,
    data: *mut c_void,
) -> c_int {
    let image = memory::image();
    let table = &raw const __eh_frame_hdr_start as u64;
    let size = &raw const __eh_frame_hdr_end as u64 - table;
    let header = |kind: u32, start: u64, size: u64, flags: u32| Elf64_Phdr {
        p_type: kind,
        p_flags: flags,
        p_offset: 0,
        p_vaddr: start,
        p_paddr: start,
        p_filesz: size,
        p_memsz: size,
        p_align: 8,
    };
    let headers = [
        header(
            libc::PT_LOAD,
            image.start,
            image.end - image.start,
            libc::PF_R | libc::PF_X,
        ),
        header(EH_FRAME, table, size, libc::PF_R),
    ];
    let mut information = dl_phdr_info {
        dlpi_addr: 0,
        dlpi_name: c"".as_ptr(),
        dlpi_phdr: headers.as_ptr(),
        dlpi_phnum: headers.len() as u16,
        dlpi_adds: 1,
        dlpi_subs: 0,
        dlpi_tls_modid: 0,
        dlpi_tls_data: ptr::null_mut(),
    };
    report(&raw mut information, size_of::<dl_phdr_info>(), data)
}

/// glibc's `struct dl_find_object` on x86-64 (`dlfcn.h`).
#[repr(C)]
struct FoundObject {
    flags: u64,
    map_start: u64,
    map_end: u64,
    link_map: u64,
    eh_frame: u64,
    reserved: [u64; 7],
}

/// The object that has code at `address`. libgcc of gcc 12 asks this first, and does not fall back.
///
/// # Safety
/// `place` is a place for the answer, of which libgcc reads the first five words.
#[unsafe(no_mangle)]
unsafe extern "C" fn _dl_find_object(address: u64, place: *mut FoundObject) -> c_int {
    let image = memory::image();
    if !(image.start..image.end).contains(&address) {
        return -1;
    }
    // SAFETY: promised by the caller.
    unsafe {
        (*place).flags = 0;
        (*place).map_start = image.start;
        (*place).map_end = image.end;
        (*place).link_map = 0;
        (*place).eh_frame = &raw const __eh_frame_hdr_start as u64;
    }
    0
}

/// Nothing can be looked up by name: std then uses its own way for what it looks up.
#[unsafe(no_mangle)]
extern "C" fn dlsym(_library: *mut c_void, _name: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

/// Which glibc this is, for std, which asks because old ones had defects.
#[unsafe(no_mangle)]
extern "C" fn gnu_get_libc_version() -> *const c_char {
    c"2.36".as_ptr()
}
