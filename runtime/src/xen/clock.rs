//! Time from the page that Xen shares with a guest (`xen.h`, `struct vcpu_time_info`).
//!
//! Xen writes the values of the time stamp counter and of the system time at one instant, and the factor
//! between them; a guest extrapolates. The version is odd while Xen writes.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// `struct vcpu_time_info`, shared with the hypervisor.
#[repr(C)]
#[derive(Default)]
pub struct VcpuTimeInfo {
    version: AtomicU32,
    _pad0: u32,
    tsc_timestamp: AtomicU64,
    system_time: AtomicU64,
    tsc_to_system_mul: AtomicU32,
    tsc_shift: AtomicU32, // i8, then flags and padding
}

const _: () = assert!(size_of::<VcpuTimeInfo>() == 32);

/// One consistent copy of [`VcpuTimeInfo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeBase {
    /// The counter's value at the instant.
    pub tsc: u64,
    /// Nanoseconds since the host's boot at the instant.
    pub system_ns: u64,
    /// Nanoseconds per (shifted) tick, as a fraction of 2^32.
    pub multiplier: u32,
    /// Shift of the tick count before the multiplication: left if positive.
    pub shift: i8,
}

impl VcpuTimeInfo {
    /// A consistent copy, and the counter read while it was valid: Xen writes anew when the vCPU moves to
    /// another processor, whose counter differs. Tries again while Xen writes.
    pub fn read(&self, time_stamp: impl Fn() -> u64) -> (TimeBase, u64) {
        loop {
            let before = self.version.load(Ordering::Acquire);
            let base = TimeBase {
                tsc: self.tsc_timestamp.load(Ordering::Relaxed),
                system_ns: self.system_time.load(Ordering::Relaxed),
                multiplier: self.tsc_to_system_mul.load(Ordering::Relaxed),
                shift: self.tsc_shift.load(Ordering::Relaxed) as u8 as i8,
            };
            let now = time_stamp();
            fence(Ordering::Acquire);
            let after = self.version.load(Ordering::Relaxed);
            if before == after && before & 1 == 0 {
                return (base, now);
            }
            core::hint::spin_loop();
        }
    }
}

impl TimeBase {
    /// Nanoseconds since the host's boot when the counter shows `tsc`.
    ///
    /// A counter before the instant gives the instant: time does not go backwards.
    pub fn system_time(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.tsc));
        let shift = u32::from(self.shift.unsigned_abs()).min(63);
        let shifted = if self.shift < 0 {
            ticks >> shift
        } else {
            ticks << shift
        };
        let elapsed = shifted.saturating_mul(u128::from(self.multiplier)) >> 32;
        self.system_ns
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

/// The wall-clock fields of the shared page: the time of day at the host's boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WallClock {
    /// Seconds since 1970, all 64 bits (`wc_sec_hi`, `wc_sec`).
    pub seconds: u64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
}

impl WallClock {
    /// Nanoseconds since 1970 when the system time is `system_ns`.
    pub fn unix_ns(&self, system_ns: u64) -> u128 {
        u128::from(self.seconds) * 1_000_000_000
            + u128::from(self.nanoseconds)
            + u128::from(system_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: TimeBase = TimeBase {
        tsc: 1_000,
        system_ns: 5_000,
        multiplier: 1 << 31,
        shift: 0,
    };

    #[test]
    fn extrapolates_with_multiplier_and_shift() {
        assert_eq!(BASE.system_time(1_000), 5_000);
        assert_eq!(BASE.system_time(1_200), 5_100);
        assert_eq!(TimeBase { shift: 1, ..BASE }.system_time(1_200), 5_200);
        assert_eq!(TimeBase { shift: -1, ..BASE }.system_time(1_200), 5_050);
    }

    #[test]
    fn never_goes_before_the_instant_and_never_overflows() {
        assert_eq!(BASE.system_time(0), 5_000);
        let absurd = TimeBase {
            multiplier: u32::MAX,
            shift: 63,
            ..BASE
        };
        assert_eq!(absurd.system_time(u64::MAX), u64::MAX);
        assert_eq!(
            TimeBase {
                shift: i8::MIN,
                ..BASE
            }
            .system_time(u64::MAX),
            5_000
        );
    }

    #[test]
    fn a_day_at_3_ghz_is_exact_to_the_multiplier() {
        // 3 GHz: 1/3 ns a tick.
        let base = TimeBase {
            tsc: 0,
            system_ns: 0,
            multiplier: 0x5555_5555,
            shift: 0,
        };
        let day = 86_400_000_000_000u64;
        assert!(base.system_time(day * 3).abs_diff(day) < 20_200);
    }

    #[test]
    fn reads_the_shared_page() {
        let shared = VcpuTimeInfo::default();
        shared.version.store(2, Ordering::Relaxed);
        shared.tsc_timestamp.store(7, Ordering::Relaxed);
        shared.tsc_shift.store(0x0100_00ff, Ordering::Relaxed); // a flag, and a shift of -1
        assert_eq!(
            shared.read(|| 9),
            (
                TimeBase {
                    tsc: 7,
                    system_ns: 0,
                    multiplier: 0,
                    shift: -1
                },
                9
            )
        );
    }

    #[test]
    fn wall_time_has_64_bits_of_seconds() {
        let clock = WallClock {
            seconds: 1 << 33,
            nanoseconds: 999_999_999,
        };
        assert_eq!(clock.unix_ns(1), ((1u128 << 33) + 1) * 1_000_000_000);
    }
}
