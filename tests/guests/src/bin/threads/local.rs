//! What belongs to one thread, and many threads.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// What the destructors of thread-locals wrote, in their order.
static DESTROYED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

struct Witness(&'static str);

impl Drop for Witness {
    fn drop(&mut self) {
        DESTROYED.lock().expect("not poisoned").push(self.0);
    }
}

thread_local! {
    static FIRST: Witness = const { Witness("first") };
    static SECOND: RefCell<Vec<Witness>> = const { RefCell::new(Vec::new()) };
    static COUNTER: Cell<u32> = const { Cell::new(5) };
    static LAZY: String = format!("of {:?}", thread::current().name());
}

/// std destroys in the order of first use on Linux; the thread's own end comes before `join`.
pub(crate) fn destructors_in_order() {
    COUNTER.set(6);
    let thread = thread::Builder::new().name("witness".to_owned()).spawn(|| {
        SECOND.with_borrow_mut(|witnesses| witnesses.extend(["second", "third"].map(Witness)));
        FIRST.with(|first| assert_eq!(first.0, "first"));
        assert_eq!(COUNTER.replace(7), 5, "another thread's value is seen");
        LAZY.with(|text| assert_eq!(text, "of Some(\"witness\")"));
    });
    thread.expect("a thread").join().expect("no panic");
    assert_eq!(COUNTER.get(), 6);
    let order = DESTROYED.lock().expect("not poisoned");
    assert_eq!(order.len(), 3);
    println!("  {order:?}");
}

pub(crate) fn names() {
    assert_eq!(thread::current().name(), Some("main"));
    let named = thread::Builder::new().name("ein Name mit mehr als fünfzehn Zeichen".to_owned());
    let name = named
        .spawn(|| thread::current().name().map(str::to_owned))
        .expect("a thread")
        .join()
        .expect("no panic");
    assert_eq!(
        name.as_deref(),
        Some("ein Name mit mehr als fünfzehn Zeichen")
    );
    assert_eq!(
        thread::spawn(|| thread::current().name().map(str::to_owned))
            .join()
            .expect("no panic"),
        None
    );
    let identities: HashSet<_> = (0..20)
        .map(|_| {
            thread::spawn(|| thread::current().id())
                .join()
                .expect("no panic")
        })
        .collect();
    assert_eq!(identities.len(), 20, "an identity was used twice");
    assert!(!identities.contains(&thread::current().id()));
}

/// Uses between one and three kilobytes of stack per level, as the optimiser likes.
#[inline(never)]
fn descend(levels: u32) -> u64 {
    let frame = black_box([u64::from(levels); 120]);
    if levels == 0 {
        frame[0]
    } else {
        descend(levels - 1) + black_box(frame)[119]
    }
}

pub(crate) fn stack_sizes() {
    let expected = |levels: u32| (0..=u64::from(levels)).sum::<u64>();
    assert_eq!(descend(80), expected(80));
    // std's default is 2 MiB.
    assert_eq!(
        thread::spawn(|| descend(500)).join().expect("no overflow"),
        expected(500)
    );
    for (stack_bytes, levels) in [(128 << 10, 25), (16 << 20, 4000)] {
        let thread = thread::Builder::new()
            .stack_size(stack_bytes)
            .spawn(move || descend(levels));
        assert_eq!(
            thread.expect("a thread").join().expect("no overflow"),
            expected(levels)
        );
    }
}

pub(crate) fn scoped() {
    let mut numbers: Vec<u32> = (0..1000).collect();
    let (left, right) = numbers.split_at_mut(500);
    let sum = thread::scope(|scope| {
        let left = scope.spawn(|| {
            left.iter_mut().for_each(|n| *n *= 2);
            left.iter().sum::<u32>()
        });
        right.iter_mut().for_each(|n| *n *= 3);
        right.iter().sum::<u32>() + left.join().expect("no panic")
    });
    assert_eq!(sum, numbers.iter().sum::<u32>());
    assert_eq!((numbers[499], numbers[500]), (998, 1500));
}

pub(crate) fn thousand_in_turn() {
    let sum: u64 = (0..1000_u64)
        .map(|n| thread::spawn(move || n).join().expect("no panic"))
        .sum();
    assert_eq!(sum, 499_500);
}

pub(crate) fn hundred_at_once() {
    let gate = Arc::new((Mutex::new((0, false)), Condvar::new()));
    let threads: Vec<_> = (0..100_u32)
        .map(|n| {
            let gate = Arc::clone(&gate);
            let body = move || {
                let (state, changed) = &*gate;
                let mut state = state.lock().expect("not poisoned");
                state.0 += 1;
                changed.notify_all();
                drop(
                    changed
                        .wait_while(state, |(_, open)| !*open)
                        .expect("not poisoned"),
                );
                n
            };
            thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(body)
                .expect("a thread")
        })
        .collect();
    let (state, changed) = &*gate;
    let all_there = changed.wait_while(state.lock().expect("not poisoned"), |(there, _)| {
        *there < 100
    });
    all_there.expect("not poisoned").1 = true;
    changed.notify_all();
    let sum: u32 = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .sum();
    assert_eq!(sum, 4950);
}

pub(crate) fn atomics() {
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let counter = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                thread::yield_now();
            }
            count.load(Ordering::Relaxed)
        });
        for _ in 0..4 {
            let adder = scope.spawn(|| {
                (0..1000)
                    .map(|_| count.fetch_add(1, Ordering::Relaxed))
                    .collect::<Vec<_>>()
            });
            assert!(adder.join().expect("no panic").is_sorted());
        }
        stop.store(true, Ordering::Release);
        assert_eq!(counter.join().expect("no panic"), 4000);
    });
}

pub(crate) fn parallelism() {
    let processors = thread::available_parallelism().expect("the number is known");
    guests::note("processors", processors);
}
