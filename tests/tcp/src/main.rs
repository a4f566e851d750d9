//! Our TCP beside smoltcp's own sockets, in one process, on one simulated link: `cargo xtask bench tcp`.
//!
//! Both run without offloads, so both compute checksums and cut segments themselves; smoltcp has CUBIC, as
//! ours, and the largest reassembly list that it can be built with. Rounds are interleaved. One JSON line per
//! figure, as `cargo xtask bench` wants them; the throughputs are of a simulated clock and exact, the times
//! are CPU times of this thread.

mod host;
mod link;
mod ours;
mod smol;

use std::alloc::System;

use cap::Cap;

use host::Host;
use link::{Link, Pair};
use ours::Ours;
use smol::Smol;

/// Counts what is allocated.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes of one transfer.
const TRANSFER: usize = 20_000_000;
/// Connections of which the idle memory is the mean.
const IDLE: usize = 1000;
/// Connections among which a packet finds its own.
const MANY: usize = 10_000;
/// Exchanges of one byte each way, over different ones of them.
const EXCHANGES: usize = 2000;
const ROUNDS: u64 = 3;

/// What a connection may buffer in each direction. The link holds 250 kB, so that less would be what is
/// measured; smoltcp allocates it when a socket is made, ours when there is something to hold.
const BUFFER: usize = 1 << 20;
/// What smoltcp's sockets get where thousands of them are made.
const SMALL_BUFFER: usize = 2048;

fn main() {
    let figure = |name: &str, unit: &str, better: &str, values: Vec<(f64, f64)>| {
        let median = |mut all: Vec<f64>| {
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let ours = median(values.iter().map(|pair| pair.0).collect());
        let peer = median(values.iter().map(|pair| pair.1).collect());
        println!(
            "{{\"bench\":\"tcp\",\"figure\":\"{name}\",\"ours\":{ours:.4},\"peer\":{peer:.4},\
             \"peer_name\":\"smoltcp 0.14\",\"ratio\":{:.4},\"better\":\"{better}\",\"unit\":\"{unit}\",\
             \"rounds\":{}}}",
            ours / peer,
            values.len()
        );
    };
    let rounds = |measure: &dyn Fn(u64) -> (f64, f64)| (0..ROUNDS).map(measure).collect::<Vec<_>>();

    let memory = |buffer| (idle_bytes::<Ours>(buffer), idle_bytes::<Smol>(buffer));
    figure(
        "idle connection, buffers of 1 MiB",
        "B",
        "lower",
        vec![memory(BUFFER)],
    );
    figure(
        "idle connection, buffers of 2 KiB",
        "B",
        "lower",
        vec![memory(SMALL_BUFFER)],
    );
    let cpu = |_| (cpu_per_byte::<Ours>(), cpu_per_byte::<Smol>());
    figure("CPU time, both ends", "ns/B", "lower", rounds(&cpu));
    for count in [1, MANY] {
        let exchange = |_| (exchange_us::<Ours>(count), exchange_us::<Smol>(count));
        let name = format!("CPU time of a server per exchange, {count} connections");
        figure(&name, "us", "lower", rounds(&exchange));
    }
    for loss in [0, 5, 1] {
        let throughput = |seed| {
            (
                throughput::<Ours>(loss, seed),
                throughput::<Smol>(loss, seed),
            )
        };
        let name = format!("throughput, 100 Mbit/s, 20 ms, {loss} % loss");
        figure(&name, "MB/s", "higher", rounds(&throughput));
    }
}

/// MB per simulated second over a link of 100 Mbit/s and 20 ms there and back.
fn throughput<H: Host>(loss_percent: u64, seed: u64) -> f64 {
    let link = Link {
        delay_us: 10_000,
        bytes_per_second: 12_500_000,
        queue: 250_000,
        loss_percent,
    };
    let mut pair = Pair::<H, H>::new(link, seed, BUFFER, 1);
    let (client, server) = pair.connect();
    let seconds = pair.transfer(client, server, TRANSFER);
    TRANSFER as f64 / 1e6 / seconds
}

/// Bytes that a server holds per connection over which nothing is being sent.
fn idle_bytes<H: Host>(buffer: usize) -> f64 {
    let before = ALLOCATOR.allocated();
    let mut pair = Pair::<Ours, H>::new(Link::FAST, 0, buffer, IDLE);
    for _ in 0..IDLE {
        let (client, server) = pair.connect();
        pair.exchange(client, server);
    }
    let server = pair.into_server();
    let held = ALLOCATOR.allocated() - before;
    drop(server);
    held as f64 / IDLE as f64
}

/// Nanoseconds that sender and receiver together spend per byte, without loss.
fn cpu_per_byte<H: Host>() -> f64 {
    let mut pair = Pair::<H, H>::new(Link::FAST, 0, BUFFER, 1);
    let (client, server) = pair.connect();
    let before = cpu_ns();
    pair.transfer(client, server, TRANSFER);
    (cpu_ns() - before) as f64 / TRANSFER as f64
}

/// Microseconds that a server spends on a byte that comes and one that goes back.
fn exchange_us<H: Host>(connections: usize) -> f64 {
    let mut pair = Pair::<Ours, H>::new(Link::FAST, 0, SMALL_BUFFER, connections);
    let sockets: Vec<_> = (0..connections).map(|_| pair.connect()).collect();
    pair.server_cpu_ns = 0;
    for number in 0..EXCHANGES {
        // A prime stride: no two neighbours, all visited.
        let (client, server) = sockets[number * 7919 % connections];
        pair.exchange(client, server);
    }
    pair.server_cpu_ns as f64 / 1e3 / EXCHANGES as f64
}

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
