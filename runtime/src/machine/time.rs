//! The clocks: Xen's shared page and the time stamp counter.

use super::cpu;
use crate::xen::clock::{VcpuTimeInfo, WallClock};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// Offsets in `struct shared_info` (x86-64, `xen.h` and `arch-x86/xen.h`): 32 vcpu_info of 64 bytes, the two
/// arrays of 64 words for event channels, then the wall clock.
const VCPU_TIME: usize = 32;
pub const EVENTS_PENDING: usize = 32 * 64;
const WALL_VERSION: usize = EVENTS_PENDING + 2 * 512;

static SHARED: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

/// Takes the shared info page into use.
///
/// # Safety
/// `page` is the address of the mapped page, and stays so.
pub unsafe fn init(page: usize) {
    SHARED.store(page as *mut u8, Ordering::Relaxed);
}

/// The shared page, if it has been mapped.
pub fn shared_page() -> Option<*mut u8> {
    let page = SHARED.load(Ordering::Relaxed);
    (!page.is_null()).then_some(page)
}

/// Nanoseconds since the host's boot: the monotonic clock. 0 before the shared page is mapped.
pub fn now() -> u64 {
    let Some(page) = shared_page() else { return 0 };
    static LATEST: AtomicU64 = AtomicU64::new(0);
    // SAFETY: vcpu 0's time info is there in the page, aligned, and all its fields are atomics.
    let info = unsafe { &*page.add(VCPU_TIME).cast::<VcpuTimeInfo>() };
    let (base, stamp) = info.read(cpu::time_stamp);
    let now = base.system_time(stamp);
    // The processors' clocks agree only roughly: a vCPU that moves could see time jump back.
    let latest = LATEST.load(Ordering::Relaxed).max(now);
    LATEST.store(latest, Ordering::Relaxed);
    latest
}

/// Nanoseconds since 1970: the wall clock.
pub fn unix_now() -> u128 {
    wall_clock().unix_ns(now())
}

fn wall_clock() -> WallClock {
    let Some(page) = shared_page() else {
        return WallClock::default();
    };
    // SAFETY: wc_version, wc_sec, wc_nsec and wc_sec_hi are four aligned words in the page.
    let words = unsafe { &*page.add(WALL_VERSION).cast::<[AtomicU32; 4]>() };
    loop {
        let version = words[0].load(Ordering::Acquire);
        let low = words[1].load(Ordering::Relaxed);
        let nanoseconds = words[2].load(Ordering::Relaxed);
        let high = words[3].load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if version & 1 == 0 && words[0].load(Ordering::Relaxed) == version {
            return WallClock {
                seconds: u64::from(high) << 32 | u64::from(low),
                nanoseconds,
            };
        }
        core::hint::spin_loop();
    }
}
