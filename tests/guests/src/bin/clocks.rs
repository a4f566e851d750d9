//! Clocks: the monotonic one never goes back, sleeping takes as long as asked, and the wall clock
//! says what the host's says. The scenario compares the notes with dom0's clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn main() {
    guests::tell(
        "clocks",
        &[
            ("a million readings in order", monotonic),
            ("a wall clock after 2024", wall),
            ("short sleeps", short_sleeps),
            ("two seconds of sleep", two_seconds),
        ],
    );
}

/// At least a million readings. Where a hypervisor's processors disagree about the time, as emulated ones
/// do on a busy machine, a clock that never goes back may stand still for a while; it must go on then.
fn monotonic() {
    const LEAST_READINGS: u64 = 1_000_000;
    const MOST_READINGS: u64 = 100_000_000;
    let start = Instant::now();
    let mut last = start;
    let mut readings = 0;
    let mut different = 0_u32;
    while readings < LEAST_READINGS || different < 1000 {
        assert!(
            readings < MOST_READINGS,
            "only {different} of {readings} readings differ"
        );
        let now = Instant::now();
        assert!(now >= last, "the clock went back by {:?}", last - now);
        different += u32::from(now > last);
        last = now;
        readings += 1;
    }
    guests::note("readings", readings);
    guests::note(
        "nanoseconds per reading",
        start.elapsed().as_nanos() / u128::from(readings),
    );
}

fn wall() {
    const YEAR_2024: Duration = Duration::from_secs(1_704_067_200);
    let first = SystemTime::now();
    assert!(
        first
            .duration_since(UNIX_EPOCH)
            .is_ok_and(|since| since > YEAR_2024),
        "{first:?} is before 2024"
    );
    assert!(SystemTime::now() >= first);
}

fn short_sleeps() {
    for sleep in [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(50),
        Duration::from_millis(3),
    ] {
        let start = Instant::now();
        std::thread::sleep(sleep);
        assert!(
            start.elapsed() >= sleep,
            "{sleep:?} took {:?}",
            start.elapsed()
        );
    }
}

/// No assertion about how much longer than asked it took: the scenario compares with another clock.
fn two_seconds() {
    let sleep = Duration::from_secs(2);
    unix_time("before");
    let start = Instant::now();
    std::thread::sleep(sleep);
    let elapsed = start.elapsed();
    unix_time("after");
    assert!(elapsed >= sleep);
    guests::note("slept", elapsed.as_secs_f64());
}

fn unix_time(when: &str) {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the wall clock is after 1970");
    guests::note(&format!("unix time {when}"), since.as_secs_f64());
}
