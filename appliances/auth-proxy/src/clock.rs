//! The time, in seconds since 1970, which never goes back and never stands.
//!
//! Whoever sets the clock back, or starts a machine whose clock forgot, must not lengthen sessions: from
//! the latest time that was seen the time goes on as it passes, until the machine's clock is ahead of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time as it was seen latest.
#[derive(Debug)]
pub struct Clock(Mutex<Seen>);

/// A time since 1970, and when that was by a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
struct Seen {
    time: Duration,
    at: Instant,
}

impl Clock {
    /// A clock that shows no time before this.
    pub fn from(latest: u64) -> Self {
        Self(Mutex::new(Seen {
            time: Duration::from_secs(latest),
            at: Instant::now(),
        }))
    }

    /// Now.
    pub fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        self.shown(since.unwrap_or_default(), Instant::now())
    }

    /// What it shows at an instant when the machine's clock says this.
    pub(crate) fn shown(&self, machine: Duration, at: Instant) -> u64 {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = at.saturating_duration_since(seen.at);
        // Others may have asked since this instant, and seen a later one.
        seen.at = seen.at.max(at);
        seen.time = seen.time.saturating_add(passed).max(machine);
        seen.time.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown, for what the machine's clock says so many milliseconds after the begin.
    fn check(latest: u64, told: &[(u64, u64)], expected: &[u64]) {
        let clock = Clock::from(latest);
        let begin = clock.0.lock().expect("nobody panicked").at;
        let shown = told.iter().map(|(ms, machine)| {
            let at = begin + Duration::from_millis(*ms);
            clock.shown(Duration::from_secs(*machine), at)
        });
        let shown: Vec<u64> = shown.collect();
        assert_eq!(shown, expected, "{told:?} after {latest}");
    }

    #[test]
    fn it_follows_the_machines_clock_ahead() {
        check(50, &[(0, 60), (1000, 61), (2000, 90)], &[60, 61, 90]);
    }

    #[test]
    fn it_goes_on_when_the_machines_clock_goes_back() {
        let told = [
            (0, 7200),
            (1000, 3601),
            (3_599_000, 7199),
            (3_600_000, 7200),
        ];
        check(0, &told, &[7200, 7201, 10_799, 10_800]);
    }

    #[test]
    fn it_goes_on_from_a_time_ahead_that_was_written_down() {
        check(9000, &[(0, 100), (60_000, 160)], &[9000, 9060]);
    }

    #[test]
    fn parts_of_seconds_add_up_however_often_it_is_asked() {
        let told: Vec<(u64, u64)> = (0..=10).map(|turn| (turn * 500, 0)).collect();
        check(
            100,
            &told,
            &[100, 100, 101, 101, 102, 102, 103, 103, 104, 104, 105],
        );
    }

    #[test]
    fn an_instant_that_comes_late_counts_nothing_twice() {
        check(100, &[(2000, 0), (1000, 0), (3000, 0)], &[102, 102, 103]);
    }
}
