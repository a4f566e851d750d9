//! SIGTERM, which `xl shutdown` and `xl reboot` send: `drain` handles it and ends in order,
//! `default` does not handle it and is ended by it.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("drain") => drain().await,
        Some("default") => wait_for_the_end(),
        other => panic!("{other:?}: one of drain, default"),
    }
}

async fn drain() {
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
    let working = tokio::spawn(async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    println!("signals: ready");
    terminate.recv().await;
    println!("signals: draining");
    tokio::time::sleep(Duration::from_millis(100)).await;
    working.abort();
    assert!(working.await.is_err_and(|error| error.is_cancelled()));
    guests::ok("signals");
}

/// Bounded, so that a guest nobody ends does not stay for ever.
fn wait_for_the_end() {
    println!("signals: ready");
    std::thread::sleep(Duration::from_secs(120));
    panic!("nobody sent SIGTERM");
}
