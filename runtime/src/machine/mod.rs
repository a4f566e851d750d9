//! The machine: from the first instruction to `main`.
//!
//! `entry.rs` (32-bit) → [`boot`]: vectors on, hypercalls, start info → heap → page tables → exceptions →
//! console, xenstore → command line → the main thread → constructors → `main`.

pub mod block;
mod console;
mod counters;
mod cpu;
mod debug;
pub mod devices;
mod entry;
mod events;
mod exceptions;
mod frames;
mod hypercall;
pub mod lifecycle;
pub mod memory;
pub mod net;
mod paging;
pub mod report;
pub mod resolver;
mod store;
pub mod threads;
pub mod time;
pub mod tls;

pub use console::terminal;
pub use cpu::{hardware_random, time_stamp};

use crate::boot::command_line::CommandLine;
use crate::boot::start_info::{
    MEMORY_MAP_ENTRIES_MAX, MemoryKind, PHYSICAL_LIMIT, Physical, Range, StartInfo,
};
use crate::memory::PAGE;
use crate::xen::ShutdownReason;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt::Write;

/// Ranges of RAM that are used at most. A PVH guest has one or two.
const RAM_MAX: usize = 16;
/// Where the shared info page goes, unless the memory map has something there: below the special pages that
/// the toolstack places at 0xFEFF8000, above any low RAM.
const SHARED_INFO: usize = 0xfe00_0000;

/// Ends a boot that cannot go on. The console may not be there yet, so this is for `xl dmesg`.
fn give_up(why: core::fmt::Arguments) -> ! {
    let _ = writeln!(debug::DebugPort, "edgecloud: cannot boot: {why}");
    hypercall::shutdown(ShutdownReason::Crash)
}

struct Identity;

impl Physical for Identity {
    fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        // SAFETY: the boot tables map the first 4 GiB one to one, and only addresses there are asked for. Where
        // nothing is, Xen gives ones.
        unsafe { (address as *const [u8; N]).read_unaligned() }
    }
}

/// The Rust part of the boot, on the boot stack, with the boot tables.
extern "C" fn boot(start_info: u64) -> ! {
    cpu::enable_vectors();
    if let Err(why) = hypercall::init() {
        // There is no hypervisor to end this domain: the processor stops.
        let _ = writeln!(debug::DebugPort, "edgecloud: cannot boot: {why}");
        cpu::stop();
    }
    exceptions::init();
    let info = match StartInfo::read(&Identity, start_info) {
        Ok(info) => info,
        Err(error) => give_up(format_args!("{error}")),
    };
    let ram = Ram::find(&info);
    // SAFETY: the parts are RAM that nothing occupies, and are mapped by the boot tables.
    ram.each_free(&info, PHYSICAL_LIMIT, |part| unsafe {
        memory::add_to_heap(part)
    });
    let line = command_line(&info);
    connect(&ram);
    // The memory above 4 GiB is mapped now.
    // SAFETY: as above.
    ram.each_free_above(PHYSICAL_LIMIT, |part| unsafe { memory::add_to_heap(part) });
    console::watch_input();
    let line = line.unwrap_or_else(|error| give_up_on_console(format_args!("{error}")));
    program::prepare(line);
    threads::enter_main(program::run)
}

/// Maps memory for good, and takes console and xenstore into use.
fn connect(ram: &Ram) {
    let store = store::find();
    let console = console::find();
    // SAFETY: the memory map has nothing at the place, so nothing is lost there.
    if ram.has(SHARED_INFO as u64) || !unsafe { hypercall::map_shared_info(SHARED_INFO) } {
        give_up(format_args!(
            "the shared info page cannot be mapped at {SHARED_INFO:#x}"
        ));
    }
    let mut devices = Vec::from([SHARED_INFO]);
    devices.extend((0..devices::GRANT_PAGES).map(|page| devices::GRANT_TABLE + page * PAGE));
    devices.extend(store.map(|(page, _)| page));
    devices.extend(console.map(|(page, _)| page));
    // SAFETY: the ranges come from the memory map, the pages from the toolstack.
    if unsafe { memory::map(ram.ranges(), &devices) }.is_err() {
        give_up(format_args!(
            "no memory for page tables: raise memory= in the domain's configuration"
        ));
    }
    // SAFETY: all three pages are mapped now, and stay so.
    unsafe {
        hypercall::latch_shared_info();
        time::init(SHARED_INFO);
        if let Some((page, port)) = console {
            console::init(page, port);
        }
        if let Some((page, port)) = store {
            store::init(page, port);
        }
    }
}

/// Like [`give_up`], once there is a console.
fn give_up_on_console(why: core::fmt::Arguments) -> ! {
    report::line(format_args!("cannot boot: {why}"));
    report::crash()
}

fn command_line(
    info: &StartInfo,
) -> Result<CommandLine, crate::boot::command_line::CommandLineError> {
    let Range { start, end } = info.command_line;
    // SAFETY: `StartInfo` found the string in this range, which is mapped; the heap does not use it.
    let bytes =
        unsafe { core::slice::from_raw_parts(start.max(1) as *const u8, (end - start) as usize) };
    CommandLine::parse(bytes)
}

/// The guest's RAM.
struct Ram {
    ranges: [Range; RAM_MAX],
    count: usize,
    /// Something else is here, by the memory map.
    others: [Range; RAM_MAX],
    others_count: usize,
}

impl Ram {
    fn find(info: &StartInfo) -> Self {
        let mut ram = Ram {
            ranges: [Range::default(); RAM_MAX],
            count: 0,
            others: [Range::default(); RAM_MAX],
            others_count: 0,
        };
        for entry in info.memory_map(&Identity) {
            ram.add(entry.start, entry.size, entry.kind);
        }
        if ram.count == 0 {
            hypervisor_memory_map(|start, size, kind| ram.add(start, size, kind));
        }
        if ram.count == 0 {
            give_up(format_args!("the memory map shows no RAM"));
        }
        ram
    }

    fn add(&mut self, start: u64, size: u64, kind: MemoryKind) {
        let range = Range {
            start,
            end: start.saturating_add(size),
        };
        let (list, count) = match kind {
            MemoryKind::Ram => (&mut self.ranges, &mut self.count),
            MemoryKind::Other(_) => (&mut self.others, &mut self.others_count),
        };
        if let Some(place) = list.get_mut(*count) {
            *place = range;
            *count += 1;
        }
    }

    fn ranges(&self) -> &[Range] {
        &self.ranges[..self.count]
    }

    /// Whether the memory map has anything at `address`.
    fn has(&self, address: u64) -> bool {
        let all = self.ranges().iter().chain(&self.others);
        all.copied()
            .any(|range| (range.start..range.end).contains(&address))
    }

    /// The parts of RAM below `limit` that nothing occupies, each whole pages.
    fn each_free(&self, info: &StartInfo, limit: u64, mut use_part: impl FnMut(Range)) {
        let null_page = Range {
            start: 0,
            end: PAGE as u64,
        };
        for ram in self.ranges() {
            let mut at = ram.start;
            let end = ram.end.min(limit);
            while at < end {
                let occupied = || info.occupied().chain([memory::image(), null_page]);
                let covering = occupied().find(|range| (range.start..range.end).contains(&at));
                if let Some(range) = covering {
                    at = range.end;
                    continue;
                }
                let next = occupied()
                    .map(|range| range.start)
                    .filter(|&start| start > at)
                    .min();
                let stop = next.unwrap_or(end).min(end);
                let page = PAGE as u64;
                let part = Range {
                    start: at.next_multiple_of(page),
                    end: stop & !(page - 1),
                };
                if part.start < part.end {
                    use_part(part);
                }
                at = stop;
            }
        }
    }

    /// The parts of RAM from `limit` on.
    fn each_free_above(&self, limit: u64, mut use_part: impl FnMut(Range)) {
        for ram in self.ranges() {
            let part = Range {
                start: ram.start.max(limit),
                end: ram.end,
            };
            if part.start < part.end {
                use_part(part);
            }
        }
    }
}

/// What the hypervisor says, for a start info without a map.
fn hypervisor_memory_map(mut add: impl FnMut(u64, u64, MemoryKind)) {
    let mut entries = [[0; 20]; MEMORY_MAP_ENTRIES_MAX];
    let count = hypercall::memory_map(&mut entries).unwrap_or(0);
    for entry in &entries[..count] {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&entry[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let kind = u32::from_le_bytes([entry[16], entry[17], entry[18], entry[19]]);
        let kind = if kind == 1 {
            MemoryKind::Ram
        } else {
            MemoryKind::Other(kind)
        };
        add(word(0), word(8), kind);
    }
}

/// The program that the runtime was linked with.
mod program {
    use super::*;
    use crate::Global;
    use crate::environment::StringList;

    /// `argv`, with the program's name first.
    pub static ARGUMENTS: Global<StringList> = Global::new(StringList::new());

    unsafe extern "C" {
        fn main(argc: c_int, argv: *const *const c_char) -> c_int;
        static __init_array_start: usize;
        static __init_array_end: usize;
        /// The image's name, a C string (`link.ld`).
        static __image_name: c_char;
    }

    /// Makes arguments and environment of the command line and xenstore.
    pub fn prepare(mut line: CommandLine) {
        super::store::configure(&mut line);
        // Addresses can be turned into names on the host, so every panic shall show them; `0` switches it off.
        if !line
            .environment
            .iter()
            .any(|(name, _)| name == b"RUST_BACKTRACE")
        {
            line.set(b"RUST_BACKTRACE".to_vec(), b"full".to_vec());
        }
        for (number, argument) in line.arguments.iter().enumerate() {
            if core::str::from_utf8(argument).is_err() {
                let text = alloc::string::String::from_utf8_lossy(argument);
                report::warning(format_args!(
                    "argument {} is not UTF-8: {text:?}",
                    number + 1
                ));
            }
        }
        let mut arguments = ARGUMENTS.borrow();
        // SAFETY: the linker script makes a NUL-terminated string of it.
        arguments.push(unsafe { CStr::from_ptr(&raw const __image_name) }.to_bytes());
        line.arguments
            .iter()
            .for_each(|argument| arguments.push(argument));
        for (name, value) in &line.environment {
            crate::posix::set_environment(name, value);
        }
    }

    /// Runs constructors and `main` on the main thread's stack.
    pub extern "C" fn run(_: *mut c_void) -> *mut c_void {
        let (count, argv) = {
            let arguments = ARGUMENTS.borrow();
            (arguments.len() as c_int, arguments.as_ptr())
        };
        let environ = crate::posix::environment_pointer();
        let first = &raw const __init_array_start;
        let length = (&raw const __init_array_end as usize - first as usize) / size_of::<usize>();
        for index in 0..length {
            // SAFETY: the linker put the addresses of constructors between the two symbols; glibc passes them what
            // it passes to main, and std takes its arguments from there.
            unsafe {
                let constructor: extern "C" fn(c_int, *const *const c_char, *const *const c_char) =
                    core::mem::transmute(first.add(index).read());
                constructor(count, argv, environ);
            }
        }
        // SAFETY: rustc makes `main` with this signature.
        let code = unsafe { main(count, argv) };
        crate::posix::exit(code)
    }
}
