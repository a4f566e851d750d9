//! Panics: they unwind, are caught, end a thread and nothing else, and say where they came from.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::hint::black_box;
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

fn main() {
    guests::tell(
        "panics",
        &[
            ("catch_unwind", caught),
            ("drop order", drop_order),
            ("a thread that panics", in_a_thread),
            ("a lock that is poisoned", poisoned),
            ("resume_unwind", resumed),
            ("panic_any", any_payload),
            ("a hook", hook),
            ("out of bounds, overflow, unwrap", the_language_panics),
            ("deep unwinding", deep),
            ("a thousand panics", thousand),
            ("a task that panics", in_a_task),
            ("backtraces", backtraces),
        ],
    );
}

/// What a panic said, if it said it in words.
fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// Runs `body`, which must panic, and tells what it said.
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    let payload = panic::catch_unwind(AssertUnwindSafe(body))
        .err()
        .expect("no panic where one was meant");
    message(&*payload).expect("a panic with words").to_owned()
}

fn caught() {
    assert_eq!(
        panic_of(|| panic!("a constant message")),
        "a constant message"
    );
    assert_eq!(panic_of(|| panic!("{} + {}", 1, 2)), "1 + 2");
    assert_eq!(panic::catch_unwind(|| 5).ok(), Some(5));
    assert!(!thread::panicking());
}

fn drop_order() {
    struct Witness<'o>(&'o RefCell<Vec<u8>>, u8);
    impl Drop for Witness<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.borrow_mut().push(self.1);
        }
    }
    fn inner(order: &RefCell<Vec<u8>>) {
        let _third = Witness(order, 3);
        let _both = [Witness(order, 4), Witness(order, 5)];
        panic!("through three frames");
    }
    let order = RefCell::new(Vec::new());
    panic_of(|| {
        let _first = Witness(&order, 1);
        let _second = Box::new(Witness(&order, 2));
        inner(&order);
    });
    assert_eq!(order.into_inner(), [4, 5, 3, 2, 1]);
}

fn in_a_thread() {
    let result = thread::Builder::new()
        .name("unlucky".to_owned())
        .spawn(|| panic!("in a thread"))
        .expect("a thread")
        .join();
    assert_eq!(
        result
            .as_ref()
            .err()
            .and_then(|payload| message(&**payload)),
        Some("in a thread")
    );
    let scoped = panic_of(|| thread::scope(|scope| drop(scope.spawn(|| panic!("in a scope")))));
    assert_eq!(scoped, "a scoped thread panicked");
    assert_eq!(
        thread::spawn(|| 3).join().ok(),
        Some(3),
        "threads work no more"
    );
}

fn poisoned() {
    let lock = Arc::new(Mutex::new(1));
    let same = Arc::clone(&lock);
    let thread = thread::spawn(move || {
        let _held = same.lock();
        panic!("with the lock held");
    });
    assert!(thread.join().is_err() && lock.is_poisoned());
    assert_eq!(
        lock.lock().map_or_else(|poison| **poison.get_ref(), |_| 0),
        1
    );
    lock.clear_poison();
    assert!(lock.lock().is_ok());
}

fn resumed() {
    let caught = panic::catch_unwind(|| {
        let first = panic::catch_unwind(|| panic!("again")).expect_err("it panics");
        panic::resume_unwind(first);
    });
    assert_eq!(caught.err().as_deref().and_then(message), Some("again"));
}

fn any_payload() {
    let caught = panic::catch_unwind(|| panic::panic_any(42_u8)).expect_err("it panics");
    assert_eq!(caught.downcast_ref::<u8>(), Some(&42));
}

fn hook() {
    static LINE: AtomicU32 = AtomicU32::new(0);
    let standard = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        LINE.store(info.location().map_or(0, Location::line), Ordering::Relaxed)
    }));
    let line = line!() + 1;
    panic_of(|| panic!("seen by the hook only"));
    panic::set_hook(standard);
    assert_eq!(LINE.load(Ordering::Relaxed), line);
}

fn the_language_panics() {
    let numbers = black_box(vec![1, 2, 3]);
    let zero = black_box(0);
    assert_eq!(
        panic_of(|| numbers[7 + zero]),
        "index out of bounds: the len is 3 but the index is 7"
    );
    assert_eq!(panic_of(|| 1 / zero), "attempt to divide by zero");
    assert_eq!(
        panic_of(|| "x".parse::<u8>().unwrap()),
        "called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }"
    );
    assert_eq!(
        panic_of(|| black_box(None::<u8>).expect("something")),
        "something"
    );
    assert_eq!(
        panic_of(|| RefCell::new(1)
            .try_borrow_mut()
            .map(|_| panic!("while borrowed"))),
        "while borrowed"
    );
}

/// Each frame has something to clean up.
fn deep() {
    fn descend(levels: u32) -> Vec<u32> {
        let held = vec![levels];
        assert!(levels > 0, "at the bottom");
        [held, descend(levels - 1)].concat()
    }
    assert_eq!(panic_of(|| descend(500)), "at the bottom");
}

fn thousand() {
    let standard = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    for n in 0..1000 {
        assert_eq!(panic_of(|| panic!("number {n}")), format!("number {n}"));
    }
    panic::set_hook(standard);
}

fn in_a_task() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a tokio runtime");
    runtime.block_on(async {
        let error = tokio::spawn(async { panic!("in a task") })
            .await
            .expect_err("it panics");
        assert_eq!(message(&*error.into_panic()), Some("in a task"));
        let error = tokio::task::spawn_blocking(|| panic!("in a blocking task"))
            .await
            .expect_err("it panics");
        assert!(error.is_panic());
        assert_eq!(
            tokio::spawn(async { 6 }).await.ok(),
            Some(6),
            "the runtime went down with the task"
        );
    });
}

/// Names and lines are put to the addresses on the host, so only the frames are looked at here.
fn backtraces() {
    #[inline(never)]
    fn captured_here() -> Backtrace {
        Backtrace::force_capture()
    }
    let backtrace = captured_here();
    assert_eq!(backtrace.status(), BacktraceStatus::Captured);
    let frames = backtrace
        .to_string()
        .lines()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .count();
    assert!(frames >= 2, "only {frames} frames:\n{backtrace}");
    guests::note("frames", frames);
}
