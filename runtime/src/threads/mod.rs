//! Cooperative threads: who runs, who waits, and for what.
//!
//! [`scheduler`] and [`waits`] decide, without clock or stacks; `machine/threads.rs` switches. A thread
//! gives up the vCPU only where POSIX lets it block, and when it says `sched_yield`.

pub mod scheduler;
pub mod waits;

pub use scheduler::{Scheduler, ThreadId, Wake};
pub use waits::Waits;

/// Everything about threads that is shared.
#[derive(Default)]
pub struct Threads {
    /// Who runs and who is ready.
    pub scheduler: Scheduler,
    /// Who waits for what.
    pub waits: Waits,
}

#[cfg(not(test))]
static THREADS: crate::Global<Option<Threads>> = crate::Global::new(None);

/// Runs `f` on the guest's threads.
#[cfg(not(test))]
pub fn with<R>(f: impl FnOnce(&mut Threads) -> R) -> R {
    f(THREADS.borrow().get_or_insert_with(Threads::default))
}

#[cfg(test)]
std::thread_local!(static THREADS: core::cell::RefCell<Threads> = core::cell::RefCell::default());

/// Runs `f` on the threads of this test.
#[cfg(test)]
pub fn with<R>(f: impl FnOnce(&mut Threads) -> R) -> R {
    THREADS.with_borrow_mut(f)
}

/// The running thread.
pub fn current() -> ThreadId {
    with(|threads| threads.scheduler.current())
}

/// Makes a waiting thread ready. Nothing happens if it does not wait.
pub fn wake(thread: ThreadId) -> bool {
    with(|threads| threads.scheduler.wake(thread, Wake::Woken))
}
