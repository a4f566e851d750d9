//! The ways in which one thread waits for another.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, LazyLock, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough that only a lost wake-up reaches it.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn spawn_and_join() {
    let threads: Vec<_> = (0..10)
        .map(|n| thread::spawn(move || (1..=n).sum::<u64>()))
        .collect();
    let sums: Vec<u64> = threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect();
    assert_eq!(sums, [0, 1, 3, 6, 10, 15, 21, 28, 36, 45]);
    let detached = Arc::new(Barrier::new(2));
    let same = Arc::clone(&detached);
    drop(thread::spawn(move || same.wait()));
    detached.wait();
    let finished = thread::spawn(|| ());
    while !finished.is_finished() {
        thread::yield_now();
    }
}

pub(crate) fn park_and_unpark() {
    let parked = thread::spawn(|| {
        thread::park();
        thread::park();
        "woken twice"
    });
    // A token given before the park must not be lost; two tokens are one.
    parked.thread().unpark();
    while !parked.is_finished() {
        parked.thread().unpark();
        thread::yield_now();
    }
    assert_eq!(parked.join().expect("no panic"), "woken twice");
    let start = Instant::now();
    thread::park_timeout(SHORT);
    thread::current().unpark();
    thread::park_timeout(LONG);
    assert!(start.elapsed() < LONG, "a token given before park was lost");
}

pub(crate) fn mutex() {
    let total = Arc::new(Mutex::new(0_u64));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let total = Arc::clone(&total);
            thread::spawn(move || {
                for n in 0..1000 {
                    let mut total = total.lock().expect("not poisoned");
                    if n % 100 == 0 {
                        thread::yield_now(); // The others must now wait for the lock.
                    }
                    *total += 1;
                }
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    assert_eq!(*total.lock().expect("not poisoned"), 8000);
    let guard = total.lock().expect("not poisoned");
    assert!(total.try_lock().is_err());
    drop(guard);
    assert!(total.try_lock().is_ok());
}

pub(crate) fn read_write_lock() {
    let lock = RwLock::new(vec![0]);
    thread::scope(|scope| {
        for n in 1..=4 {
            let lock = &lock;
            scope.spawn(move || {
                for _ in 0..100 {
                    lock.write().expect("not poisoned").push(n);
                    thread::yield_now();
                }
            });
            scope.spawn(move || {
                for _ in 0..100 {
                    let values = lock.read().expect("not poisoned");
                    let before = values.len();
                    thread::yield_now();
                    assert_eq!(
                        values.len(),
                        before,
                        "a writer came in while a reader was there"
                    );
                }
            });
        }
    });
    let both = (lock.read(), lock.read());
    assert!(both.0.is_ok() && both.1.is_ok() && lock.try_write().is_err());
    drop(both);
    assert_eq!(lock.into_inner().expect("not poisoned").len(), 401);
}

pub(crate) fn condition_variable() {
    let turn = Arc::new((Mutex::new(0), Condvar::new()));
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..10)
        .rev()
        .map(|mine| {
            let (turn, order) = (Arc::clone(&turn), Arc::clone(&order));
            thread::spawn(move || {
                let (now, changed) = &*turn;
                let mut now = changed
                    .wait_while(now.lock().expect("not poisoned"), |now| *now != mine)
                    .expect("not poisoned");
                order.lock().expect("not poisoned").push(mine);
                *now += 1;
                changed.notify_all();
            })
        })
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().is_ok()));
    assert_eq!(
        *order.lock().expect("not poisoned"),
        (0..10).collect::<Vec<_>>()
    );
}

pub(crate) fn condition_variable_with_deadline() {
    let (lock, condition) = (Mutex::new(false), Condvar::new());
    let start = Instant::now();
    let (guard, result) = condition
        .wait_timeout_while(lock.lock().expect("not poisoned"), SHORT, |done| !*done)
        .expect("not poisoned");
    assert!(result.timed_out() && start.elapsed() >= SHORT);
    drop(guard);
    thread::scope(|scope| {
        scope.spawn(|| {
            *lock.lock().expect("not poisoned") = true;
            condition.notify_one();
        });
        let (_guard, result) = condition
            .wait_timeout_while(lock.lock().expect("not poisoned"), LONG, |done| !*done)
            .expect("not poisoned");
        assert!(!result.timed_out(), "the notification was lost");
    });
}

pub(crate) fn barrier() {
    let barrier = Barrier::new(5);
    let leaders = Mutex::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..20 {
                    if barrier.wait().is_leader() {
                        *leaders.lock().expect("not poisoned") += 1;
                    }
                }
            });
        }
    });
    assert_eq!(leaders.into_inner().expect("not poisoned"), 20);
}

pub(crate) fn channels() {
    let (sender, receiver) = mpsc::sync_channel(3);
    let producers: Vec<_> = (0..4)
        .map(|n| {
            let sender = sender.clone();
            thread::spawn(move || (0..250).try_for_each(|value| sender.send(n * 250 + value)))
        })
        .collect();
    drop(sender);
    let mut values: Vec<i32> = receiver.iter().collect();
    values.sort_unstable();
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
    assert!(
        producers
            .into_iter()
            .all(|producer| producer.join().is_ok_and(|sent| sent.is_ok()))
    );

    let (sender, receiver) = mpsc::channel::<String>();
    drop(receiver);
    assert!(sender.send("nobody there".to_owned()).is_err());
    let (sender, receiver) = mpsc::sync_channel::<()>(0);
    let rendezvous = thread::spawn(move || sender.send(()));
    assert!(receiver.recv().is_ok() && rendezvous.join().is_ok_and(|sent| sent.is_ok()));
}

pub(crate) fn channel_with_deadline() {
    let (sender, receiver) = mpsc::channel();
    assert_eq!(receiver.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    let later = thread::spawn(move || {
        thread::sleep(SHORT);
        sender.send(7)
    });
    assert_eq!(receiver.recv_timeout(LONG), Ok(7));
    assert!(later.join().is_ok_and(|sent| sent.is_ok()));
    assert_eq!(
        receiver.recv_timeout(LONG),
        Err(RecvTimeoutError::Disconnected)
    );
}

pub(crate) fn once() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<usize> = OnceLock::new();
    static LAZY: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(|| {
        thread::yield_now(); // The others arrive while this is under way.
        Mutex::new(vec![1])
    });
    let runs = Mutex::new(0);
    thread::scope(|scope| {
        for n in 0..6 {
            let runs = &runs;
            scope.spawn(move || {
                ONCE.call_once(|| {
                    thread::yield_now();
                    *runs.lock().expect("not poisoned") += 1;
                });
                assert_eq!(
                    *runs.lock().expect("not poisoned"),
                    1,
                    "somebody did not wait for the first"
                );
                assert!(*CELL.get_or_init(|| n) < 6);
                LAZY.lock().expect("not poisoned").push(2);
            });
        }
    });
    assert_eq!(LAZY.lock().expect("not poisoned").len(), 7);
    assert!(ONCE.is_completed() && CELL.set(9).is_err());
}

pub(crate) fn crossbeam_channels() {
    let (sender, receiver) = crossbeam_channel::bounded(2);
    let (done, all_done) = crossbeam_channel::unbounded();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (receiver, done) = (receiver.clone(), done.clone());
            thread::spawn(move || {
                receiver
                    .iter()
                    .try_for_each(|value: u64| done.send(value * value))
            })
        })
        .collect();
    drop((receiver, done));
    (0..100)
        .try_for_each(|value| sender.send(value))
        .expect("the workers are there");
    drop(sender);
    assert_eq!(all_done.iter().sum::<u64>(), 328_350);
    assert!(
        workers
            .into_iter()
            .all(|worker| worker.join().is_ok_and(|sent| sent.is_ok()))
    );

    let never = crossbeam_channel::never::<()>();
    let tick = crossbeam_channel::tick(Duration::from_millis(2));
    let mut ticks = 0;
    while ticks < 5 {
        crossbeam_channel::select! {
            recv(never) -> _ => unreachable!("nothing comes out of `never`"),
            recv(tick) -> at => ticks += u32::from(at.is_ok()),
            default(LONG) => panic!("the tick was lost"),
        }
    }
}

pub(crate) fn parking_lot_locks() {
    let state = parking_lot::Mutex::new(0);
    let changed = parking_lot::Condvar::new();
    let shared = parking_lot::RwLock::new(String::new());
    thread::scope(|scope| {
        for n in 1..=5 {
            let (state, changed, shared) = (&state, &changed, &shared);
            scope.spawn(move || {
                let mut state = state.lock();
                changed.wait_while(&mut state, |state| *state != n - 1);
                shared.write().push_str(&n.to_string());
                *state = n;
                changed.notify_all();
            });
        }
    });
    assert_eq!(*shared.read(), "12345");
    let held = state.lock();
    assert!(state.try_lock_for(SHORT).is_none());
    drop(held);
    let mut held = state.lock();
    assert!(changed.wait_for(&mut held, SHORT).timed_out());
}
