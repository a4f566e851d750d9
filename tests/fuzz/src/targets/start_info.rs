//! The page that a toolstack hands to a PVH guest. The bytes are the first of guest memory, and the page
//! lies at its start; all further memory is zero.

use edgecloud_runtime::boot::start_info::{
    COMMAND_LINE_MAX, MAGIC, MEMORY_MAP_ENTRIES_MAX, MODULES_MAX, PHYSICAL_LIMIT, Physical,
    StartInfo,
};

use crate::Target;

pub(super) const TARGET: Target = Target {
    name: "start_info",
    run,
    seeds,
};

struct Memory<'a>(&'a [u8]);

impl Physical for Memory<'_> {
    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        assert!(
            address
                .checked_add(N as u64)
                .is_some_and(|end| end <= PHYSICAL_LIMIT),
            "reads {N} bytes at {address:#x}"
        );
        std::array::from_fn(|i| self.0.get(address as usize + i).copied().unwrap_or(0))
    }
}

fn run(data: &[u8]) {
    let memory = Memory(data);
    let info = match StartInfo::read(&memory, 0) {
        Ok(info) => info,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert!(info.memory_map(&memory).count() <= MEMORY_MAP_ENTRIES_MAX);
    assert!(info.occupied().count() <= 4 + MODULES_MAX);
    for range in info.occupied() {
        assert!(
            range.start < range.end && range.end <= PHYSICAL_LIMIT,
            "{range:?}"
        );
    }
    let line = info.command_line;
    assert!(line.start <= line.end && line.end - line.start <= COMMAND_LINE_MAX as u64);
}

fn seeds() -> Vec<Vec<u8>> {
    // `struct hvm_start_info`: flags, modules, then addresses of module list, command line, RSDP, map.
    let mut page = Vec::new();
    for word in [MAGIC, 1, 0, 1] {
        page.extend(word.to_le_bytes());
    }
    for address in [64u64, 96, 0, 104] {
        page.extend(address.to_le_bytes());
    }
    page.extend(2u32.to_le_bytes());
    page.resize(64, 0);
    for number in [0x20_0000u64, 0x1000, 0, 0] {
        page.extend(number.to_le_bytes()); // the one module
    }
    page.extend(b"serve\0\0\0");
    for (start, size) in [(0u64, 0x9_0000u64), (0x10_0000, 0x300_0000)] {
        page.extend(start.to_le_bytes());
        page.extend(size.to_le_bytes());
        page.extend(1u64.to_le_bytes());
    }
    vec![page]
}
