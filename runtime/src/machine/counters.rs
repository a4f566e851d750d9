//! What an operator can read of a domain from dom0: counters, one `name value` a line.
//!
//! `xenstore-write /local/domain/ID/edgecloud/counters 1` asks for them; they are then at
//! `/local/domain/ID/data/counters`. Names follow Prometheus: a unit or `total` last.

use super::{devices, hypercall, memory, store};
use alloc::string::String;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

/// The node that asks, and the token of its watch.
pub const REQUEST: &str = "edgecloud/counters";

/// Answers a request. The first event of a watch says only that it is set.
pub fn requested() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.swap(true, Ordering::Relaxed) {
        publish();
    }
}

/// Writes the counters to xenstore.
fn publish() {
    store::tell("data/counters", render().as_bytes());
}

fn render() -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: u64| {
        let _ = writeln!(text, "{name} {value}");
    };
    let usage = memory::usage();
    line("memory_total_bytes", usage.total as u64);
    line("memory_free_bytes", usage.free as u64);
    line(
        "threads",
        crate::threads::with(|threads| threads.scheduler.count() as u64),
    );
    line("hypercalls_total", hypercall::count());
    line("xenstore_requests_total", store::requests());
    line("xenstore_round_trips_total", store::round_trips());
    devices::count(&mut line);
    text
}
