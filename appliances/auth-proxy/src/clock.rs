//! The time, in seconds since 1970, which never goes back.
//!
//! Whoever sets the clock back, or starts a machine whose clock forgot, must not lengthen sessions:
//! the latest time that was seen stands until the clock has passed it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time as it was seen latest.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// A clock that shows no time before this.
    pub fn from(latest: u64) -> Self {
        Self(AtomicU64::new(latest))
    }

    /// Now.
    pub fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.shown(since.map_or(0, |since| since.as_secs()))
    }

    fn shown(&self, seconds: u64) -> u64 {
        self.0.fetch_max(seconds, Ordering::Relaxed).max(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_when_the_machines_clock_goes_back() {
        let clock = Clock::from(50);
        assert_eq!([40, 60, 55, 61].map(|s| clock.shown(s)), [50, 60, 60, 61]);
    }
}
