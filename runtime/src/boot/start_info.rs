//! The page that Xen hands to a PVH guest (`arch-x86/hvm/start_info.h`).
//!
//! The domain builder is trusted, but a count or an address that makes no sense must give a message
//! and not a wild read: every table is checked against [`PHYSICAL_LIMIT`] and a maximum before use.

/// Magic of `hvm_start_info`: "xEn3" with the top bit of the E set.
pub const MAGIC: u32 = 0x336e_c578;
/// A physical address from here on is refused: what the boot page tables map.
pub const PHYSICAL_LIMIT: u64 = 1 << 32;
/// More memory map entries than any toolstack makes (libxl makes fewer than 10; E820MAX of Linux is 128).
pub const MEMORY_MAP_ENTRIES_MAX: usize = 128;
/// More modules than a toolstack passes (libxl passes at most one ramdisk).
pub const MODULES_MAX: usize = 16;
/// Longest command line taken over, in bytes (Linux: COMMAND_LINE_SIZE is 2048 on x86).
pub const COMMAND_LINE_MAX: usize = 64 * 1024;

/// Reads physical memory.
pub trait Physical {
    /// The `N` bytes at `address`. Only called with ranges below [`PHYSICAL_LIMIT`].
    fn read<const N: usize>(&self, address: u64) -> [u8; N];
}

/// What is wrong with a start-info page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartInfoError {
    /// The magic number is another one; this is not a PVH boot.
    Magic(u32),
    /// A table or string lies outside what can be addressed.
    Address(&'static str, u64),
    /// A table has more entries than is plausible.
    Count(&'static str, u32),
}

impl core::fmt::Display for StartInfoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Magic(magic) => write!(
                f,
                "start info has magic {magic:#x}, not {MAGIC:#x}: boot this image as a PVH guest \
                 (type=\"pvh\" in the domain's configuration)"
            ),
            Self::Address(what, address) => {
                write!(
                    f,
                    "start info places its {what} at {address:#x}, above 4 GiB"
                )
            }
            Self::Count(what, count) => {
                write!(
                    f,
                    "start info counts {count} {what}, more than any toolstack makes"
                )
            }
        }
    }
}

/// What a part of the physical address space is (`XEN_HVM_MEMMAP_TYPE_*`, the e820 types).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryKind {
    /// Usable memory.
    Ram,
    /// Anything else: reserved, ACPI, unusable.
    Other(u32),
}

/// One entry of the memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryMapEntry {
    /// First physical address.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
    /// What is there.
    pub kind: MemoryKind,
}

/// A half-open range of physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

/// A start-info page whose every address has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StartInfo {
    /// Version of the structure; 1 and later have a memory map.
    pub version: u32,
    /// The command line's bytes without the final NUL; empty when there is none.
    pub command_line: Range,
    /// The memory map's entries in memory; empty when the structure has none.
    memory_map: Range,
    /// Ranges that hold what the toolstack passed: the page, the tables, the strings, the modules.
    occupied: [Range; 4 + MODULES_MAX],
}

impl StartInfo {
    /// Reads the page at `address` (the value of `ebx` at entry).
    pub fn read(memory: &impl Physical, address: u64) -> Result<Self, StartInfoError> {
        let page = below_limit("page", address, 56)?;
        let u32_at = |offset: u64| u32::from_le_bytes(memory.read(address + offset));
        let u64_at = |offset: u64| u64::from_le_bytes(memory.read(address + offset));
        let magic = u32_at(0);
        if magic != MAGIC {
            return Err(StartInfoError::Magic(magic));
        }
        let version = u32_at(4);
        let command_line = string(memory, "command line", u64_at(24))?;
        let mut occupied = [Range::default(); 4 + MODULES_MAX];
        occupied[0] = page;
        occupied[1] = command_line;
        let memory_map = if version >= 1 {
            let count = bounded("memory map entries", u32_at(48), MEMORY_MAP_ENTRIES_MAX)?;
            table("memory map", u64_at(40), count, 24)?
        } else {
            Range::default()
        };
        occupied[2] = memory_map;
        let modules = bounded("modules", u32_at(12), MODULES_MAX)?;
        let list = table("module list", u64_at(16), modules, 32)?;
        occupied[3] = list;
        for module in 0..modules {
            let entry = list.start + module * 32;
            let start = u64::from_le_bytes(memory.read(entry));
            let size = u64::from_le_bytes(memory.read(entry + 8));
            occupied[4 + module as usize] = below_limit("module", start, size)?;
        }
        Ok(Self {
            version,
            command_line,
            memory_map,
            occupied,
        })
    }

    /// The memory map, entry by entry; empty before version 1 (ask the hypervisor instead).
    pub fn memory_map<'m>(
        &self,
        memory: &'m impl Physical,
    ) -> impl Iterator<Item = MemoryMapEntry> + 'm {
        let Range { start, end } = self.memory_map;
        (start..end).step_by(24).map(move |entry| MemoryMapEntry {
            start: u64::from_le_bytes(memory.read(entry)),
            size: u64::from_le_bytes(memory.read(entry + 8)),
            kind: match u32::from_le_bytes(memory.read(entry + 16)) {
                1 => MemoryKind::Ram,
                other => MemoryKind::Other(other),
            },
        })
    }

    /// The ranges that must not be used before what is in them has been copied. Some are empty.
    pub fn occupied(&self) -> impl Iterator<Item = Range> + '_ {
        self.occupied
            .iter()
            .copied()
            .filter(|range| range.start < range.end)
    }
}

fn bounded(what: &'static str, count: u32, most: usize) -> Result<u64, StartInfoError> {
    if count as usize > most {
        return Err(StartInfoError::Count(what, count));
    }
    Ok(u64::from(count))
}

fn below_limit(what: &'static str, start: u64, size: u64) -> Result<Range, StartInfoError> {
    match start.checked_add(size) {
        Some(end) if end <= PHYSICAL_LIMIT => Ok(Range { start, end }),
        _ => Err(StartInfoError::Address(what, start)),
    }
}

fn table(what: &'static str, start: u64, count: u64, size: u64) -> Result<Range, StartInfoError> {
    if count == 0 {
        return Ok(Range::default());
    }
    below_limit(what, start, count * size)
}

fn string(memory: &impl Physical, what: &'static str, start: u64) -> Result<Range, StartInfoError> {
    if start == 0 {
        return Ok(Range::default());
    }
    let mut end = start;
    while (end - start) < COMMAND_LINE_MAX as u64 {
        below_limit(what, end, 1)?;
        if memory.read::<1>(end) == [0] {
            break;
        }
        end += 1;
    }
    Ok(Range { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Physical memory as one block that starts at address 0.
    struct Block(Vec<u8>);

    impl Physical for Block {
        fn read<const N: usize>(&self, address: u64) -> [u8; N] {
            let start = address as usize;
            let mut bytes = [0; N];
            if let Some(found) = self.0.get(start..start + N) {
                bytes.copy_from_slice(found);
            }
            bytes
        }
    }

    impl Block {
        /// A page at 0x100 with one module, a command line at 0x200 and two map entries at 0x300.
        fn usual() -> Self {
            let mut block = Block(vec![0; 4096]);
            block.put(0x100, &MAGIC.to_le_bytes());
            block.put(0x104, &1u32.to_le_bytes());
            block.put(0x10c, &1u32.to_le_bytes());
            block.put(0x110, &0x400u64.to_le_bytes());
            block.put(0x118, &0x200u64.to_le_bytes());
            block.put(0x128, &0x300u64.to_le_bytes());
            block.put(0x130, &2u32.to_le_bytes());
            block.put(0x200, b"one two\0three");
            block.put(0x308, &0x80_0000u64.to_le_bytes());
            block.put(0x310, &1u32.to_le_bytes());
            block.put(0x318, &0xfee0_0000u64.to_le_bytes());
            block.put(0x320, &0x1000u64.to_le_bytes());
            block.put(0x328, &2u32.to_le_bytes());
            block.put(0x400, &0x500u64.to_le_bytes());
            block.put(0x408, &0x10u64.to_le_bytes());
            block
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }
    }

    #[test]
    fn reads_what_a_toolstack_writes() {
        let memory = Block::usual();
        let info = StartInfo::read(&memory, 0x100).unwrap();
        assert_eq!(
            info.command_line,
            Range {
                start: 0x200,
                end: 0x207
            }
        );
        let map: Vec<_> = info.memory_map(&memory).collect();
        assert_eq!(map.len(), 2);
        assert_eq!(
            map[0],
            MemoryMapEntry {
                start: 0,
                size: 0x80_0000,
                kind: MemoryKind::Ram
            }
        );
        assert_eq!(map[1].kind, MemoryKind::Other(2));
        let occupied: Vec<_> = info.occupied().collect();
        assert!(occupied.contains(&Range {
            start: 0x500,
            end: 0x510
        }));
    }

    #[test]
    fn refuses_absurd_counts_and_addresses() {
        let check = |at: usize, bytes: &[u8], expected: StartInfoError| {
            let mut memory = Block::usual();
            memory.put(at, bytes);
            assert_eq!(StartInfo::read(&memory, 0x100), Err(expected));
        };
        check(0x100, &[0; 4], StartInfoError::Magic(0));
        check(
            0x130,
            &u32::MAX.to_le_bytes(),
            StartInfoError::Count("memory map entries", u32::MAX),
        );
        check(
            0x10c,
            &17u32.to_le_bytes(),
            StartInfoError::Count("modules", 17),
        );
        check(
            0x128,
            &u64::MAX.to_le_bytes(),
            StartInfoError::Address("memory map", u64::MAX),
        );
        check(
            0x118,
            &PHYSICAL_LIMIT.to_le_bytes(),
            StartInfoError::Address("command line", PHYSICAL_LIMIT),
        );
        check(
            0x408,
            &u64::MAX.to_le_bytes(),
            StartInfoError::Address("module", 0x500),
        );
    }

    #[test]
    fn an_unterminated_command_line_is_cut() {
        let mut memory = Block(vec![b'x'; 0x4_0000]);
        memory.put(0x100, &Block::usual().0[0x100..0x140]);
        let info = StartInfo::read(&memory, 0x100).err();
        // The module list now lies in the x's too, at an absurd address: refused, not followed.
        assert_eq!(
            info,
            Some(StartInfoError::Address("module", 0x7878_7878_7878_7878))
        );
        memory.put(0x10c, &0u32.to_le_bytes());
        let info = StartInfo::read(&memory, 0x100).unwrap();
        let length = info.command_line.end - info.command_line.start;
        assert_eq!(length, COMMAND_LINE_MAX as u64);
    }

    #[test]
    fn version_0_has_no_memory_map() {
        let mut memory = Block::usual();
        memory.put(0x104, &0u32.to_le_bytes());
        let info = StartInfo::read(&memory, 0x100).unwrap();
        assert_eq!(info.memory_map(&memory).count(), 0);
    }
}
