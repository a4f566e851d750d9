//! What an operator can read of a domain from dom0: counters, one `name value` a line.
//!
//! `xenstore-write /local/domain/ID/edgecloud/counters 1` asks for them; they are then at
//! `/local/domain/ID/data/counters`. Names follow Prometheus: a unit or `total` last.

use super::{hypercall, memory, net, store};
use crate::net::DropReason;
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
    let Some((stack, interface)) = net::counters() else {
        return text;
    };
    line("rx_packets_total", stack.rx_packets);
    line("rx_bytes_total", stack.rx_bytes);
    line("rx_errors_total", interface.rx_errors);
    line("rx_malformed_total", interface.rx_malformed);
    line("rx_gso_packets_total", stack.rx_gso_packets);
    line("tx_packets_total", stack.tx_packets);
    line("tx_bytes_total", stack.tx_bytes);
    line("tx_gso_packets_total", stack.tx_gso_packets);
    line("notifications_total", interface.notifications);
    for &reason in DropReason::ALL {
        line(
            &alloc::format!("drops_total{{reason=\"{}\"}}", reason.name()),
            stack.dropped(reason),
        );
    }
    line("tcp_retransmissions_total", stack.tcp_retransmissions);
    line("tcp_timeouts_total", stack.tcp_timeouts);
    line("tcp_out_of_order_total", stack.tcp_out_of_order);
    line("tcp_accepted_total", stack.tcp_accepted);
    line("tcp_connected_total", stack.tcp_connected);
    line("tcp_resets_sent_total", stack.tcp_resets_sent);
    line("tcp_resets_received_total", stack.tcp_resets_received);
    line("tcp_connections", u64::from(stack.tcp_connections));
    line("tcp_half_open", u64::from(stack.tcp_half_open));
    line("tcp_listeners", u64::from(stack.tcp_listeners));
    line("tcp_time_wait", u64::from(stack.tcp_time_wait));
    line("udp_sockets", u64::from(stack.udp_sockets));
    line("socket_buffer_bytes", stack.buffer_bytes as u64);
    text
}
