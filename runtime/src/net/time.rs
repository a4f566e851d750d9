//! Time as the shell tells it: nanoseconds since a start that only the shell knows.
//!
//! One `u64` rather than `core::time::Duration`'s two words, because it is compared and added for every
//! packet; 584 years pass before it overflows.

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;
/// Nanoseconds in a second.
pub(crate) const SECOND: u64 = 1_000 * MS;

/// A point in time, in nanoseconds since the shell's start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// The point `nanoseconds` later.
    pub const fn after(self, nanoseconds: u64) -> Instant {
        Instant(self.0.saturating_add(nanoseconds))
    }

    /// Nanoseconds passed since `earlier`; zero if it lies ahead.
    pub const fn since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whole microseconds.
    pub(crate) const fn micros(self) -> u64 {
        self.0 / 1_000
    }
}

/// The earlier of two deadlines, where `None` is never.
pub(crate) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
