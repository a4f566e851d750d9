//! Hypercalls (`xen.h`, `sched.h`, `event_channel.h`, `memory.h`, `hvm/hvm_op.h`).
//!
//! `vmmcall` on AMD, `vmcall` on Intel, chosen once from CPUID. The number goes in rax, arguments in rdi,
//! rsi, rdx; Xen may change all argument registers.

use super::cpu::cpuid;
use crate::xen::grants::DomainId;
use crate::xen::{Port, ShutdownReason};
use core::arch::asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of a page.
const PAGE: usize = crate::memory::PAGE;

static COUNT: AtomicU64 = AtomicU64::new(0);
static INTEL: AtomicBool = AtomicBool::new(false);

/// Finds out how to call. Fails if the hypervisor is not Xen.
pub fn init() -> Result<(), &'static str> {
    // The leaves can be anywhere from 0x40000000 in steps of 0x100 (`arch-x86/cpuid.h`).
    let found = (0..256)
        .map(|n| cpuid(0x4000_0000 + n * 0x100, 0))
        .any(|leaf| {
            // "XenVMMXenVMM"
            (leaf.ebx, leaf.ecx, leaf.edx) == (0x566e_6558, 0x6558_4d4d, 0x4d4d_566e)
        });
    let vendor = cpuid(0, 0);
    // "GenuineIntel"; Zhaoxin and others that speak VMX would need their names here.
    INTEL.store(vendor.ebx == 0x756e_6547, Ordering::Relaxed);
    if found {
        Ok(())
    } else {
        Err("CPUID shows no Xen: this image boots as a Xen PVH guest only")
    }
}

/// How many hypercalls were made.
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// # Safety
/// The arguments are what the hypercall's header says, and nothing it writes is used otherwise.
unsafe fn hypercall(number: u64, first: u64, second: u64, third: u64) -> i64 {
    // One vCPU: nothing can come between.
    COUNT.store(COUNT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let result;
    // SAFETY: the caller vouches for the arguments; all registers that Xen may change are named.
    unsafe {
        if INTEL.load(Ordering::Relaxed) {
            asm!("vmcall", inlateout("rax") number => result, inlateout("rdi") first => _,
                 inlateout("rsi") second => _, inlateout("rdx") third => _, lateout("r10") _,
                 lateout("r8") _, lateout("r9") _, options(nostack));
        } else {
            asm!("vmmcall", inlateout("rax") number => result, inlateout("rdi") first => _,
                 inlateout("rsi") second => _, inlateout("rdx") third => _, lateout("r10") _,
                 lateout("r8") _, lateout("r9") _, options(nostack));
        }
    }
    result
}

const MEMORY_OP: u64 = 12;
const SCHED_OP: u64 = 29;
const EVENT_CHANNEL_OP: u64 = 32;
const HVM_OP: u64 = 34;
const DOMID_SELF: u16 = 0x7ff0;

/// Ends the domain (SCHEDOP_shutdown).
pub fn shutdown(reason: ShutdownReason) -> ! {
    let reason = reason as u32;
    loop {
        // SAFETY: SCHEDOP_shutdown = 2 takes a pointer to the reason.
        unsafe { hypercall(SCHED_OP, 2, &raw const reason as u64, 0) };
    }
}

/// Blocks the vCPU until one of `ports` is pending or the system time is `deadline` (SCHEDOP_poll). Without a
/// deadline it waits for the ports alone.
pub fn poll(ports: &[Port], deadline: Option<u64>) {
    #[repr(C)]
    struct SchedPoll {
        ports: *const u32,
        nr_ports: u32,
        timeout: u64,
    }
    let argument = SchedPoll {
        ports: ports.as_ptr().cast(),
        nr_ports: ports.len() as u32,
        // 0 means no timeout; a time of 0 has passed long ago.
        timeout: deadline.map_or(0, |deadline| deadline.max(1)),
    };
    // SAFETY: SCHEDOP_poll = 3 reads the structure and the ports, which live until it returns. `Port` is a u32.
    unsafe { hypercall(SCHED_OP, 3, &raw const argument as u64, 0) };
}

/// Tells the other end of an event channel (EVTCHNOP_send).
pub fn notify(port: Port) {
    // SAFETY: EVTCHNOP_send = 4 takes a pointer to the port.
    unsafe { hypercall(EVENT_CHANNEL_OP, 4, &raw const port.0 as u64, 0) };
}

/// A new event channel that `domain` can bind to (EVTCHNOP_alloc_unbound).
pub fn allocate_port(domain: DomainId) -> Option<Port> {
    #[repr(C)]
    struct AllocUnbound {
        dom: u16,
        remote_dom: u16,
        port: u32,
    }
    let mut argument = AllocUnbound {
        dom: DOMID_SELF,
        remote_dom: domain.0,
        port: 0,
    };
    // SAFETY: EVTCHNOP_alloc_unbound = 6 reads and writes the structure.
    let result = unsafe { hypercall(EVENT_CHANNEL_OP, 6, &raw mut argument as u64, 0) };
    (result == 0).then_some(Port(argument.port))
}

/// Ends an event channel (EVTCHNOP_close).
pub fn close_port(port: Port) {
    // SAFETY: EVTCHNOP_close = 3 takes a pointer to the port.
    unsafe { hypercall(EVENT_CHANNEL_OP, 3, &raw const port.0 as u64, 0) };
}

/// An HVM parameter of this domain (HVMOP_get_param).
pub fn hvm_parameter(index: u32) -> Option<u64> {
    #[repr(C)]
    struct HvmParam {
        domid: u16,
        pad: u16,
        index: u32,
        value: u64,
    }
    let mut argument = HvmParam {
        domid: DOMID_SELF,
        pad: 0,
        index,
        value: 0,
    };
    // SAFETY: HVMOP_get_param = 1 reads and writes the structure.
    let result = unsafe { hypercall(HVM_OP, 1, &raw mut argument as u64, 0) };
    (result == 0).then_some(argument.value)
}

/// Has the hypervisor take note that this is a 64-bit guest and write the wall clock into the shared info page:
/// setting a callback does both (`hvm_latch_shinfo_size` in Xen), also the one that is none.
pub fn latch_shared_info() {
    #[repr(C)]
    struct HvmParam {
        domid: u16,
        pad: u16,
        index: u32,
        value: u64,
    }
    const CALLBACK_IRQ: u32 = 0;
    let argument = HvmParam {
        domid: DOMID_SELF,
        pad: 0,
        index: CALLBACK_IRQ,
        value: 0,
    };
    // SAFETY: HVMOP_set_param = 0 reads the structure.
    unsafe { hypercall(HVM_OP, 0, &raw const argument as u64, 0) };
}

/// Puts the shared info page at the physical address `place` (XENMAPSPACE_shared_info).
///
/// # Safety
/// Nothing may be there: Xen frees a RAM page that it replaces.
pub unsafe fn map_shared_info(place: usize) -> bool {
    // SAFETY: promised by the caller.
    unsafe { add_to_physmap(0, 0, place) }
}

/// Puts page `index` of the grant table at the physical address `place` (XENMAPSPACE_grant_table).
///
/// # Safety
/// Nothing may be there.
pub unsafe fn map_grant_frame(index: usize, place: usize) -> bool {
    // SAFETY: promised by the caller.
    unsafe { add_to_physmap(1, index as u64, place) }
}

/// XENMEM_add_to_physmap.
///
/// # Safety
/// Nothing may be at `place`.
unsafe fn add_to_physmap(space: u32, idx: u64, place: usize) -> bool {
    #[repr(C)]
    struct AddToPhysmap {
        domid: u16,
        size: u16,
        space: u32,
        idx: u64,
        gpfn: u64,
    }
    let argument = AddToPhysmap {
        domid: DOMID_SELF,
        size: 0,
        space,
        idx,
        gpfn: (place / PAGE) as u64,
    };
    // SAFETY: XENMEM_add_to_physmap = 7 reads the structure; the place is free, says the caller.
    unsafe { hypercall(MEMORY_OP, 7, &raw const argument as u64, 0) == 0 }
}

/// The memory map as the hypervisor has it (XENMEM_memory_map): fills `entries`, each an e820 entry of 20
/// bytes, and says how many there are.
pub fn memory_map(entries: &mut [[u8; 20]]) -> Option<usize> {
    #[repr(C)]
    struct MemoryMap {
        nr_entries: u32,
        buffer: *mut c_void,
    }
    let mut argument = MemoryMap {
        nr_entries: entries.len() as u32,
        buffer: entries.as_mut_ptr().cast(),
    };
    // SAFETY: XENMEM_memory_map = 9 writes at most that many entries and their number.
    let result = unsafe { hypercall(MEMORY_OP, 9, &raw mut argument as u64, 0) };
    (result == 0).then_some((argument.nr_entries as usize).min(entries.len()))
}
