//! tokio without sockets: both runtimes, timers in order, channels, blocking tasks, `select!`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Barrier, Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet, spawn_blocking};
use tokio::time::{self, Instant, interval, sleep, timeout};

/// Long enough that only a lost wake-up reaches it.
const LONG: Duration = Duration::from_secs(60);

fn main() {
    let one = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a tokio runtime");
    topics("one thread", |topic| one.block_on(topic));
    let two = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    topics("two workers", |topic| two.block_on(topic));
    two.shutdown_timeout(LONG);
    guests::ok("tokio-basics");
}

type Topic = (&'static str, fn() -> Pinned);
type Pinned = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn topics(runtime: &str, run: impl Fn(Pinned)) {
    let topics: [Topic; 9] = [
        ("timers in order", || Box::pin(timers())),
        ("interval and timeout", || Box::pin(interval_and_timeout())),
        ("channels", || Box::pin(channels())),
        ("locks", || Box::pin(locks())),
        ("blocking tasks", || Box::pin(blocking())),
        ("select", || Box::pin(selecting())),
        ("sets of tasks", || Box::pin(sets())),
        ("tasks that panic or are cancelled", || {
            Box::pin(unlucky_tasks())
        }),
        ("ten thousand tasks", || Box::pin(many())),
    ];
    for (name, topic) in topics {
        println!("tokio-basics: {name} ({runtime})");
        run(topic());
    }
}

async fn timers() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let start = Instant::now() + Duration::from_millis(5);
    for delay_ms in [40, 10, 30, 0, 20] {
        let sender = sender.clone();
        tokio::spawn(async move {
            time::sleep_until(start + Duration::from_millis(delay_ms)).await;
            assert!(start.elapsed() >= Duration::from_millis(delay_ms));
            sender.send(delay_ms).expect("the receiver is there");
        });
    }
    drop(sender);
    let mut order = Vec::new();
    while let Some(delay_ms) = receiver.recv().await {
        order.push(delay_ms);
    }
    // On two workers tasks that woke in order may be held up in another one.
    order.sort_unstable();
    assert_eq!(order, [0, 10, 20, 30, 40]);
}

async fn interval_and_timeout() {
    let start = Instant::now();
    let mut ticks = interval(Duration::from_millis(5));
    for _ in 0..5 {
        ticks.tick().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert!(
        timeout(Duration::from_millis(5), std::future::pending::<()>())
            .await
            .is_err()
    );
    assert_eq!(timeout(LONG, async { 3 }).await, Ok(3));
}

async fn channels() {
    let (sender, mut receiver) = mpsc::channel(2);
    let producer = tokio::spawn(async move {
        for n in 0..100_u32 {
            sender.send(n).await.expect("the receiver is there");
        }
    });
    let mut sum = 0;
    while let Some(n) = receiver.recv().await {
        sum += n;
    }
    assert_eq!((sum, producer.await.is_ok()), (4950, true));

    let (reply, answer) = oneshot::channel();
    tokio::spawn(async move { reply.send("once") });
    assert_eq!(answer.await, Ok("once"));

    let (news, mut first) = broadcast::channel(4);
    let mut second = news.subscribe();
    news.send('n').expect("two listen");
    assert_eq!(
        (first.recv().await, second.recv().await),
        (Ok('n'), Ok('n'))
    );

    let (level, mut seen) = watch::channel(0);
    tokio::spawn(async move { level.send(9) });
    seen.changed().await.expect("a value comes");
    assert_eq!(*seen.borrow(), 9);
}

async fn locks() {
    let (total, permits, waiting) = (
        Arc::new(Mutex::new(0)),
        Arc::new(Semaphore::new(3)),
        Arc::new(Notify::new()),
    );
    let barrier = Arc::new(Barrier::new(10));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let (total, permits, barrier) = (
            Arc::clone(&total),
            Arc::clone(&permits),
            Arc::clone(&barrier),
        );
        tasks.spawn(async move {
            barrier.wait().await;
            let _permit = permits.acquire().await.expect("the semaphore is open");
            let mut total = total.lock().await;
            tokio::task::yield_now().await;
            *total += 1;
        });
    }
    tasks.join_all().await;
    assert_eq!((*total.lock().await, permits.available_permits()), (10, 3));
    let notified = Arc::clone(&waiting);
    let task = tokio::spawn(async move { notified.notified().await });
    waiting.notify_one();
    assert!(timeout(LONG, task).await.is_ok());
    let shared = RwLock::new(1);
    let readers = (shared.read().await, shared.read().await);
    assert!(shared.try_write().is_err());
    drop(readers);
    *shared.write().await += 1;
    assert_eq!(shared.into_inner(), 2);
}

async fn blocking() {
    let tasks: Vec<_> = (0..8_u64)
        .map(|n| {
            spawn_blocking(move || {
                std::thread::sleep(Duration::from_millis(5));
                n * n
            })
        })
        .collect();
    let meanwhile = tokio::spawn(async { sleep(Duration::from_millis(1)).await });
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("no panic");
    }
    assert_eq!((sum, meanwhile.await.is_ok()), (140, true));
    let handle = tokio::runtime::Handle::current();
    assert_eq!(
        spawn_blocking(move || handle.block_on(async { 4 }))
            .await
            .ok(),
        Some(4)
    );
}

async fn selecting() {
    let (sender, mut receiver) = mpsc::channel::<u8>(1);
    tokio::select! {
        _ = receiver.recv() => panic!("nothing was sent"),
        () = sleep(Duration::from_millis(2)) => (),
    }
    sender.send(1).await.expect("the receiver is there");
    tokio::select! {
        value = receiver.recv() => assert_eq!(value, Some(1)),
        () = sleep(LONG) => panic!("the message was lost"),
    }
    let (left, right) = tokio::join!(async { 1 }, async { 2 });
    assert_eq!(left + right, 3);
    assert!(tokio::try_join!(async { Ok::<_, u8>(1) }, async { Err::<u8, _>(2) }).is_err());
}

async fn sets() {
    let mut set: JoinSet<u64> = (0..20).map(|n| async move { n }).collect();
    let mut sum = 0;
    while let Some(result) = set.join_next().await {
        sum += result.expect("no panic");
    }
    assert_eq!(sum, 190);
    let local = LocalSet::new();
    let value = std::rc::Rc::new(5);
    assert_eq!(
        local
            .run_until(async move { tokio::task::spawn_local(async move { *value }).await })
            .await
            .ok(),
        Some(5)
    );
}

async fn unlucky_tasks() {
    let error = tokio::spawn(async { panic!("meant to happen") })
        .await
        .expect_err("it panics");
    assert!(error.is_panic());
    let endless = tokio::spawn(std::future::pending::<()>());
    endless.abort();
    assert!(endless.await.is_err_and(|error| error.is_cancelled()));
}

async fn many() {
    let tasks: Vec<_> = (0..10_000_u64)
        .map(|n| tokio::spawn(async move { n }))
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await.expect("no panic");
    }
    assert_eq!(sum, 49_995_000);
}
