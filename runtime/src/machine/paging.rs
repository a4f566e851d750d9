//! Page tables (AMD64 Architecture Programmer's Manual, volume 2, chapter 5).
//!
//! Four levels; RAM is mapped one to one with the largest pages that fit, so a table's physical address
//! is also where it is read and written.

use super::cpu;
use crate::memory::PAGE;
use crate::memory::areas::Protection;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
/// Ours: the entry is not present, but its frame is kept (a page made inaccessible by mprotect).
const HELD: u64 = 1 << 9;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const MIB2: usize = 2 << 20;
const GIB: usize = 1 << 30;

/// What a page's entry allows.
#[derive(Clone, Copy)]
pub struct Access(u64);

impl Access {
    pub const READ: Access = Access(PRESENT | NO_EXECUTE);
    pub const READ_WRITE: Access = Access(PRESENT | WRITABLE | NO_EXECUTE);
    pub const EXECUTE: Access = Access(PRESENT);

    fn of(protection: Protection) -> Self {
        let write = if protection.is_writable() {
            WRITABLE
        } else {
            0
        };
        let execute = if protection.is_executable() {
            0
        } else {
            NO_EXECUTE
        };
        Access(PRESENT | write | execute)
    }
}

/// No frame was left for a table.
pub struct OutOfFrames;

/// A tree of tables.
pub struct PageTables {
    root: usize,
    huge_pages: bool,
}

type TakeFrame<'f> = &'f mut dyn FnMut() -> Option<usize>;

impl PageTables {
    /// An empty tree.
    pub fn new(take: TakeFrame) -> Result<Self, OutOfFrames> {
        let huge_pages = cpu::cpuid(0x8000_0001, 0).edx & (1 << 26) != 0;
        Ok(Self {
            root: empty_page(take)?,
            huge_pages,
        })
    }

    /// Makes the processor use this tree.
    ///
    /// # Safety
    /// It maps everything that the program uses.
    pub unsafe fn activate(&self) {
        // SAFETY: promised by the caller.
        unsafe { cpu::set_page_tables(self.root) };
    }

    /// Maps `start..end` one to one with the largest pages that fit, in place of what was there.
    pub fn map_identity(
        &mut self,
        start: usize,
        end: usize,
        access: Access,
        take: TakeFrame,
    ) -> Result<(), OutOfFrames> {
        let mut at = start;
        while at < end {
            let fits = |size: usize| at.is_multiple_of(size) && end - at >= size;
            let (size, level) = match () {
                () if self.huge_pages && fits(GIB) => (GIB, 2),
                () if fits(MIB2) => (MIB2, 1),
                () => (PAGE, 0),
            };
            let large = if level > 0 { LARGE } else { 0 };
            *self.entry(at, level, take)? = at as u64 | access.0 | large;
            at += size;
        }
        Ok(())
    }

    /// Removes the mapping of one page of RAM.
    pub fn unmap_identity(&mut self, page: usize, take: TakeFrame) -> Result<(), OutOfFrames> {
        *self.entry(page, 0, take)? = 0;
        cpu::forget_page(page);
        Ok(())
    }

    /// Maps a page of an area to a frame, unless it has one.
    pub fn map_area_page(
        &mut self,
        page: usize,
        protection: Protection,
        take: TakeFrame,
    ) -> Result<(), OutOfFrames> {
        let entry = self.entry(page, 0, take)?;
        if *entry & PRESENT == 0 {
            *entry = empty_page(take)? as u64 | Access::of(protection).0;
        }
        Ok(())
    }

    /// Changes what a page of an area allows, if it has a frame.
    pub fn protect_area_page(&mut self, page: usize, protection: Protection) {
        let Some(entry) = self.find(page) else { return };
        if *entry & (PRESENT | HELD) == 0 {
            return;
        }
        let allowed = if protection.is_accessible() {
            Access::of(protection).0
        } else {
            HELD
        };
        *entry = (*entry & ADDRESS) | allowed;
        cpu::forget_page(page);
    }

    /// Takes the frame of a page of an area away, if it has one.
    pub fn unmap_area_page(&mut self, page: usize) -> Option<usize> {
        let entry = self.find(page)?;
        if *entry & (PRESENT | HELD) == 0 {
            return None;
        }
        let frame = (*entry & ADDRESS) as usize;
        *entry = 0;
        cpu::forget_page(page);
        Some(frame)
    }

    /// Whether anything is mapped at `address`.
    pub fn is_mapped(&self, address: usize) -> bool {
        let mut table = self.root;
        for level in (0..4).rev() {
            let entry = *slot(table, address, level);
            if entry & PRESENT == 0 {
                return false;
            }
            if entry & LARGE != 0 {
                return true;
            }
            table = (entry & ADDRESS) as usize;
        }
        true
    }

    /// The lowest-level entry of an address, if there is a table for it.
    fn find(&mut self, address: usize) -> Option<&mut u64> {
        let mut table = self.root;
        for level in (1..4).rev() {
            let entry = *slot(table, address, level);
            if entry & PRESENT == 0 || entry & LARGE != 0 {
                return None;
            }
            table = (entry & ADDRESS) as usize;
        }
        Some(slot(table, address, 0))
    }

    /// The entry of an address at `level` (0 is the lowest), with tables made or large pages split on the way.
    fn entry(
        &mut self,
        address: usize,
        level: u32,
        take: TakeFrame,
    ) -> Result<&mut u64, OutOfFrames> {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let entry = slot(table, address, above);
            if *entry & PRESENT == 0 {
                *entry = empty_page(take)? as u64 | PRESENT | WRITABLE;
            } else if *entry & LARGE != 0 {
                *entry = split(*entry, above, take)? as u64 | PRESENT | WRITABLE;
            }
            table = (*entry & ADDRESS) as usize;
        }
        Ok(slot(table, address, level))
    }
}

/// The entry of `address` in the table at `table`.
fn slot<'t>(table: usize, address: usize, level: u32) -> &'t mut u64 {
    let index = (address >> (12 + 9 * level)) & 511;
    // SAFETY: `table` is the address of a table: of the root, or out of an entry that points to one. Only
    // one entry is borrowed at a time, because `PageTables` is borrowed whenever this is called.
    unsafe { &mut *(table as *mut u64).add(index) }
}

/// A frame full of zeros, which is also a table without entries.
fn empty_page(take: TakeFrame) -> Result<usize, OutOfFrames> {
    let frame = take().ok_or(OutOfFrames)?;
    // SAFETY: the frame is ours alone, mapped one to one, and a page long.
    unsafe { (frame as *mut u8).write_bytes(0, PAGE) };
    Ok(frame)
}

/// A table that says the same as a large page's entry at `level`.
fn split(entry: u64, level: u32, take: TakeFrame) -> Result<usize, OutOfFrames> {
    let table = empty_page(take)?;
    let size = (PAGE as u64) << (9 * (level - 1));
    let flags = entry & !ADDRESS & if level == 1 { !LARGE } else { u64::MAX };
    for index in 0..512 {
        let address = (entry & ADDRESS) + index * size;
        *slot(table, (index as usize) << (12 + 9 * (level - 1)), level - 1) = address | flags;
    }
    Ok(table)
}
