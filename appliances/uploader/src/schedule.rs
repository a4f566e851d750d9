//! Which upload goes next: a pure function.
//!
//! - Thumbnails go at once, whatever the link costs, in places of their own: they never wait behind originals.
//! - An original goes when the link is cheap enough, or when it has waited for as long as it may at most.
//! - Of several, one of the sender whose uploads have taken the fewest bytes so far goes first, so that a
//!   thousand photographs of one phone keep nobody waiting; of one sender's, the oldest.
//! - One that failed goes again after a pause that doubles ([`pause`]); an origin that asks to be left alone
//!   is, with all that waits for it.

use std::collections::HashMap;
use std::time::Duration;

use crate::id::Id;
use crate::limits::{RETRY_AFTER_MAX, RETRY_TIME_MAX, RETRY_TIME_MIN};

/// What goes before what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Small, and waited for by people.
    Thumbnail,
    /// Everything else.
    Original,
}

/// An upload that waits.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Its name.
    pub id: Id,
    /// What it is.
    pub priority: Priority,
    /// Whose it is.
    pub sender: u64,
    /// Where it goes.
    pub origin: &'a str,
    /// How long it has waited.
    pub age: Duration,
    /// How long it has to wait still, because it failed.
    pub pause: Duration,
}

/// What is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    /// What it is.
    pub priority: Priority,
    /// Whose it is.
    pub sender: u64,
}

/// What the operator and the link say.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whether originals may go at the link's price.
    pub is_cheap: bool,
    /// Otherwise in how long they may.
    pub cheap_in: Option<Duration>,
    /// How long an original waits for a cheap link at most.
    pub patience: Duration,
    /// Originals at once.
    pub originals_max: usize,
    /// Thumbnails at once.
    pub thumbnails_max: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this one.
    Start(Id),
    /// Nothing before that much time has passed, unless something happens.
    Wait(Duration),
    /// Nothing before something happens.
    Rest,
}

/// Decides. `served` is how many bytes of each sender went, `held` how long each origin is left alone.
pub fn next(
    jobs: &[Job<'_>],
    flights: &[Flight],
    terms: &Terms,
    served: &HashMap<u64, u64>,
    held: &HashMap<String, Duration>,
) -> Next {
    let count = |priority| {
        flights
            .iter()
            .filter(|flight| flight.priority == priority)
            .count()
    };
    let has_place = |priority| match priority {
        Priority::Thumbnail => count(priority) < terms.thumbnails_max,
        Priority::Original => count(priority) < terms.originals_max,
    };
    let mut best: Option<(&Job<'_>, Rank)> = None;
    let mut soonest: Option<Duration> = None;
    for job in jobs.iter().filter(|job| has_place(job.priority)) {
        match wait(job, terms, held) {
            Some(Duration::ZERO) => {
                let rank = rank(job, flights, served);
                if best.as_ref().is_none_or(|(_, other)| rank < *other) {
                    best = Some((job, rank));
                }
            }
            Some(wait) => soonest = Some(soonest.map_or(wait, |other| other.min(wait))),
            None => {}
        }
    }
    match (best, soonest) {
        (Some((job, _)), _) => Next::Start(job.id),
        (None, Some(wait)) => Next::Wait(wait),
        (None, None) => Next::Rest,
    }
}

/// The lowest goes first.
type Rank = (bool, usize, u64, std::cmp::Reverse<Duration>, Id);

fn rank(job: &Job<'_>, flights: &[Flight], served: &HashMap<u64, u64>) -> Rank {
    let is_its = |flight: &&Flight| flight.sender == job.sender;
    (
        job.priority == Priority::Original,
        flights.iter().filter(is_its).count(),
        served.get(&job.sender).copied().unwrap_or_default(),
        std::cmp::Reverse(job.age),
        job.id,
    )
}

/// How long an upload must wait; `None` for as long as nothing changes.
fn wait(job: &Job<'_>, terms: &Terms, held: &HashMap<String, Duration>) -> Option<Duration> {
    let origin = held.get(job.origin).copied().unwrap_or_default();
    let failed = job.pause.max(origin);
    if job.priority == Priority::Thumbnail || terms.is_cheap {
        return Some(failed);
    }
    let patience = terms.patience.saturating_sub(job.age);
    let cheap = terms.cheap_in.map_or(patience, |cheap| cheap.min(patience));
    Some(failed.max(cheap))
}

/// How long an upload has waited: as long as this program knows of it, or since it was made if that is longer.
/// A clock that was set back makes nobody wait anew.
pub fn age(known: Duration, created_s: u64, now_s: u64) -> Duration {
    known.max(Duration::from_secs(now_s.saturating_sub(created_s)))
}

/// How long to wait after so many failures: twice as long each time, and by chance (`random`) up to half of
/// it less, so that what failed together does not come again together. What the origin asks for is obeyed.
pub fn pause(attempts: u32, random: u32, retry_after: Option<Duration>) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = (RETRY_TIME_MIN * (1 << doublings)).min(RETRY_TIME_MAX);
    let less = full / 2 * (random % 1024) / 1024;
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    (full - less).max(asked)
}

/// How long an origin is left alone after an attempt that failed by its fault, and its failures in a row.
/// `held` is how long it is left alone already, and its failures before. Attempts that were under way together
/// fail together: they count once.
pub fn hold(held: (Duration, u32), random: u32, retry_after: Option<Duration>) -> (Duration, u32) {
    let (left, failures) = held;
    if left.is_zero() {
        return (pause(failures + 1, random, retry_after), failures + 1);
    }
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    (left.max(asked), failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_fail_together_are_one_failure_of_their_origin() {
        let mut held = (Duration::ZERO, 0);
        for _ in 0..6 {
            held = hold(held, 0, None);
        }
        assert_eq!(held, (RETRY_TIME_MIN, 1));
        let asked = Duration::from_secs(20);
        assert_eq!(hold(held, 0, Some(asked)), (asked, 1));
        assert_eq!(hold((Duration::ZERO, 1), 0, None), (RETRY_TIME_MIN * 2, 2));
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn job(id: u128, priority: Priority, sender: u64, age_s: u64) -> Job<'static> {
        Job {
            id: Id(id),
            priority,
            sender,
            origin: "a",
            age: Duration::from_secs(age_s),
            pause: Duration::ZERO,
        }
    }

    fn flight(priority: Priority, sender: u64) -> Flight {
        Flight { priority, sender }
    }

    fn terms(is_cheap: bool) -> Terms {
        Terms {
            is_cheap,
            cheap_in: Some(HOUR),
            patience: 24 * HOUR,
            originals_max: 2,
            thumbnails_max: 2,
        }
    }

    #[track_caller]
    fn check(jobs: &[Job<'_>], flights: &[Flight], is_cheap: bool, wanted: Next) {
        let served = HashMap::from([(7, 1_000_000)]);
        let next = next(jobs, flights, &terms(is_cheap), &served, &HashMap::new());
        assert_eq!(next, wanted);
    }

    use Priority::{Original, Thumbnail};

    #[test]
    fn thumbnails_never_wait_behind_originals() {
        let full = [flight(Original, 1), flight(Original, 2)];
        let jobs = [job(1, Original, 1, 100), job(2, Thumbnail, 1, 1)];
        check(&jobs, &full, true, Next::Start(Id(2)));
        check(&jobs, &[], true, Next::Start(Id(2)));
        check(&jobs, &full, false, Next::Start(Id(2)));
        let busy = [flight(Thumbnail, 1), flight(Thumbnail, 1)];
        check(&jobs, &busy, true, Next::Start(Id(1)));
    }

    #[test]
    fn originals_wait_for_a_cheap_link_but_not_for_ever() {
        check(&[job(1, Original, 1, 0)], &[], false, Next::Wait(HOUR));
        let old = 24 * 3600 - 60;
        check(
            &[job(1, Original, 1, old)],
            &[],
            false,
            Next::Wait(Duration::from_secs(60)),
        );
        check(
            &[job(1, Original, 1, old + 60)],
            &[],
            false,
            Next::Start(Id(1)),
        );
        check(&[], &[], true, Next::Rest);
    }

    #[test]
    fn whoever_had_least_goes_first() {
        let jobs = [
            job(1, Original, 7, 500),
            job(2, Original, 8, 5),
            job(3, Original, 8, 6),
        ];
        check(&jobs, &[], true, Next::Start(Id(3)));
        check(&jobs, &[flight(Original, 8)], true, Next::Start(Id(1)));
    }

    #[test]
    fn what_failed_and_who_asked_for_rest_is_left_alone() {
        let mut tired = job(1, Original, 1, 5);
        tired.pause = Duration::from_secs(9);
        check(&[tired], &[], true, Next::Wait(Duration::from_secs(9)));
        let held = HashMap::from([("a".to_owned(), Duration::from_secs(30))]);
        let next = next(&[tired], &[], &terms(true), &HashMap::new(), &held);
        assert_eq!(next, Next::Wait(Duration::from_secs(30)));
    }

    /// Plays the schedule by the second while an origin is away for an hour; attempts until it is back, and
    /// when all is there after that.
    fn outage(random: &mut crate::store::Random) -> (u32, u64) {
        let origin = Duration::from_secs(3600);
        let mut waiting: Vec<u128> = (1..=8).collect();
        let (mut now, mut asked, mut failures) = (Duration::ZERO, 0, 0);
        let (mut held, mut attempts, mut tired) = (Duration::ZERO, HashMap::new(), HashMap::new());
        while !waiting.is_empty() {
            let jobs: Vec<Job<'_>> = waiting
                .iter()
                .map(|id| {
                    let mut job = job(*id, Original, 1, now.as_secs());
                    let until: Duration = tired.get(id).copied().unwrap_or_default();
                    job.pause = until.saturating_sub(now);
                    job
                })
                .collect();
            let rests = HashMap::from([("a".to_owned(), held.saturating_sub(now))]);
            match next(&jobs, &[], &terms(true), &HashMap::new(), &rests) {
                Next::Start(id) if now < origin => {
                    asked += 1;
                    let own = attempts.entry(id.0).and_modify(|n| *n += 1).or_insert(1);
                    let mut chance = || random.below(1024) as u32;
                    tired.insert(id.0, now + pause(*own, chance(), None));
                    let known = (held.saturating_sub(now), failures);
                    let (time, count) = hold(known, chance(), None);
                    (held, failures) = (now + time, count);
                }
                Next::Start(id) => waiting.retain(|other| *other != id.0),
                Next::Wait(wait) => now += wait.max(Duration::from_millis(1)),
                Next::Rest => panic!("it waits for ever"),
            }
        }
        (asked, (now - origin).as_secs())
    }

    #[test]
    fn an_origin_that_is_away_for_an_hour_is_asked_seldom_and_has_all_soon_after() {
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let mut random = crate::store::Random::of(seed);
        for _ in 0..100 {
            let (asked, after_s) = outage(&mut random);
            assert!((10..=30).contains(&asked), "{asked} attempts");
            assert!(after_s <= RETRY_TIME_MAX.as_secs(), "{after_s} s");
        }
    }

    #[test]
    fn a_clock_that_jumps_makes_nothing_wait_longer() {
        let known = Duration::from_secs(30);
        let ages = [0, 1_000, 1_030, 5_000].map(|now_s| age(known, 1_000, now_s).as_secs());
        assert_eq!(ages, [30, 30, 30, 4_000]);
        // However old it is said to be, it goes at once at most, and what failed rests still.
        let mut old = job(1, Original, 1, u64::MAX);
        check(&[old], &[], false, Next::Start(Id(1)));
        old.pause = HOUR;
        check(&[old], &[], false, Next::Wait(HOUR));
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let seconds = |attempts| pause(attempts, 0, None).as_secs();
        assert_eq!(
            [1, 2, 3, 10, 11, 100].map(seconds),
            [1, 2, 4, 512, 600, 600]
        );
        assert!(pause(5, 1023, None) > Duration::from_secs(8));
        let day = Duration::from_secs(1 << 40);
        assert_eq!(pause(1, 0, Some(day)), RETRY_AFTER_MAX);
        assert_eq!(pause(1, 0, Some(HOUR)), HOUR);
    }
}
