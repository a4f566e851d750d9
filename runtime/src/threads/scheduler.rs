//! Who runs next. First come, first served; no priorities, no time slices, no clock.
//!
//! States of a thread: *running* (one), *ready* (in the queue), *waiting* (perhaps until a deadline),
//! gone. Times are nanoseconds of the system time.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

/// A thread's number, as `gettid` gives it. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(pub u32);

/// The thread that runs `main`.
pub const MAIN: ThreadId = ThreadId(1);

/// Why a thread no longer waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// What it waited for has happened.
    Woken,
    /// Its deadline has come.
    TimedOut,
    /// A signal is to be handled.
    Interrupted,
}

enum State {
    Running,
    Ready,
    Waiting { deadline: Option<u64> },
}

struct Entry {
    state: State,
    wake: Wake,
}

/// The threads and their states.
pub struct Scheduler {
    entries: BTreeMap<ThreadId, Entry>,
    ready: VecDeque<ThreadId>,
    deadlines: BTreeSet<(u64, ThreadId)>,
    current: ThreadId,
    last: ThreadId,
}

impl Default for Scheduler {
    /// One thread, which runs: the main one.
    fn default() -> Self {
        let main = Entry {
            state: State::Running,
            wake: Wake::Woken,
        };
        Self {
            entries: BTreeMap::from([(MAIN, main)]),
            ready: VecDeque::new(),
            deadlines: BTreeSet::new(),
            current: MAIN,
            last: MAIN,
        }
    }
}

impl Scheduler {
    /// The running thread.
    pub fn current(&self) -> ThreadId {
        self.current
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// A new thread, ready to run.
    pub fn spawn(&mut self) -> ThreadId {
        self.last = ThreadId(self.last.0 + 1);
        self.entries.insert(
            self.last,
            Entry {
                state: State::Ready,
                wake: Wake::Woken,
            },
        );
        self.ready.push_back(self.last);
        self.last
    }

    /// The running thread begins to wait, at most until `deadline`.
    pub fn wait(&mut self, deadline: Option<u64>) {
        if let Some(entry) = self.entries.get_mut(&self.current) {
            entry.state = State::Waiting { deadline };
        }
        self.deadlines
            .extend(deadline.map(|deadline| (deadline, self.current)));
    }

    /// The running thread goes to the end of the queue.
    pub fn yield_now(&mut self) {
        self.make_ready(self.current, Wake::Woken);
    }

    /// The running thread is gone.
    pub fn exit(&mut self) {
        self.entries.remove(&self.current);
    }

    /// Makes a waiting thread ready; whether it was waiting.
    pub fn wake(&mut self, thread: ThreadId, wake: Wake) -> bool {
        let Some(Entry {
            state: State::Waiting { deadline },
            ..
        }) = self.entries.get(&thread)
        else {
            return false;
        };
        if let Some(deadline) = *deadline {
            self.deadlines.remove(&(deadline, thread));
        }
        self.make_ready(thread, wake);
        true
    }

    /// Makes every thread ready whose deadline has come.
    pub fn expire(&mut self, now: u64) {
        while let Some(&(deadline, thread)) = self.deadlines.first()
            && deadline <= now
        {
            self.wake(thread, Wake::TimedOut);
        }
    }

    /// The next deadline of all.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Whether some thread is ready.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether a thread waits.
    pub fn is_waiting(&self, thread: ThreadId) -> bool {
        matches!(
            self.entries.get(&thread),
            Some(Entry {
                state: State::Waiting { .. },
                ..
            })
        )
    }

    /// Whether a thread is there at all.
    pub fn exists(&self, thread: ThreadId) -> bool {
        self.entries.contains_key(&thread)
    }

    /// Lets the next ready thread run, and says which it is.
    pub fn pick(&mut self) -> Option<ThreadId> {
        let next = self.ready.pop_front()?;
        if let Some(entry) = self.entries.get_mut(&next) {
            entry.state = State::Running;
        }
        self.current = next;
        Some(next)
    }

    /// Why the running thread last stopped waiting.
    pub fn wake_reason(&self) -> Wake {
        self.entries
            .get(&self.current)
            .map_or(Wake::Woken, |entry| entry.wake)
    }

    fn make_ready(&mut self, thread: ThreadId, wake: Wake) {
        if let Some(entry) = self.entries.get_mut(&thread) {
            *entry = Entry {
                state: State::Ready,
                wake,
            };
            self.ready.push_back(thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served() {
        let mut scheduler = Scheduler::default();
        let (a, b) = (scheduler.spawn(), scheduler.spawn());
        scheduler.yield_now();
        let order: Vec<_> = (0..6)
            .map(|_| {
                let next = scheduler.pick().unwrap();
                scheduler.yield_now();
                next
            })
            .collect();
        assert_eq!(order, [a, b, MAIN, a, b, MAIN]);
    }

    #[test]
    fn a_deadline_wakes_once_and_a_wake_cancels_it() {
        let mut scheduler = Scheduler::default();
        scheduler.wait(Some(100));
        assert_eq!(scheduler.pick(), None);
        scheduler.expire(99);
        assert_eq!(scheduler.next_deadline(), Some(100));
        scheduler.expire(100);
        assert_eq!(
            (scheduler.pick(), scheduler.wake_reason()),
            (Some(MAIN), Wake::TimedOut)
        );
        assert!(!scheduler.wake(MAIN, Wake::Woken));

        scheduler.wait(Some(200));
        assert!(scheduler.wake(MAIN, Wake::Interrupted));
        scheduler.expire(1000);
        assert_eq!(
            (scheduler.pick(), scheduler.wake_reason()),
            (Some(MAIN), Wake::Interrupted)
        );
        assert_eq!((scheduler.pick(), scheduler.next_deadline()), (None, None));
    }

    #[test]
    fn deadlines_wake_in_their_order() {
        let mut scheduler = Scheduler::default();
        let a = scheduler.spawn();
        scheduler.wait(Some(30));
        assert_eq!(scheduler.pick(), Some(a));
        scheduler.wait(Some(20));
        scheduler.expire(30);
        assert_eq!((scheduler.pick(), scheduler.pick()), (Some(a), Some(MAIN)));
    }

    #[test]
    fn a_thread_that_is_gone_cannot_be_woken() {
        let mut scheduler = Scheduler::default();
        let a = scheduler.spawn();
        scheduler.wait(None);
        assert_eq!(scheduler.pick(), Some(a));
        scheduler.exit();
        assert!(!scheduler.wake(a, Wake::Woken));
        assert!(!scheduler.exists(a));
        assert_eq!((scheduler.count(), scheduler.pick()), (1, None));
        assert!(scheduler.spawn() > a, "numbers are not used twice");
    }
}
