//! `poor-link LEFT RIGHT`: two TAP devices, and a poor link between them, until it is killed.
//!
//! Kernels of build machines lack `sch_netem`; with each of the devices moved into a network namespace
//! this is a link like one that netem impairs. A frame that is read from one device is given to the
//! other when it would arrive. It ends by itself only if a
//! device goes.

#![forbid(unsafe_code)]

mod line;

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::line::{Line, Quality};

/// A frame with an Ethernet header and a VLAN tag, at the MTU of the devices.
const FRAME_BYTES_MAX: usize = 1500 + 18;

/// Of reading from a device, one after the other: it does not come back.
const FAILURES_MAX: u32 = 500;

/// Joins two new TAP devices by a poor link.
#[derive(Debug, Parser)]
struct Arguments {
    /// The one device's name
    left: String,
    /// The other one's
    right: String,
    /// The link's rate, each way
    #[arg(long)]
    kbit_per_s: u32,
    /// From one end to the other
    #[arg(long)]
    delay_ms: u32,
    /// Of the frames, each way
    #[arg(long)]
    loss_percent: f32,
    /// Frames that wait or are on their way, each way
    #[arg(long, default_value_t = 200)]
    frames_max: usize,
    /// Which frames are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One direction.
struct Direction<'d> {
    from: &'d SyncDevice,
    to: &'d SyncDevice,
    line: Mutex<Line>,
    /// The first frame is another.
    changed: Condvar,
    epoch: Instant,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let quality = Quality {
        kbit_per_s: arguments.kbit_per_s,
        delay: Duration::from_millis(arguments.delay_ms.into()),
        loss: f64::from(arguments.loss_percent) / 100.0,
        frames_max: arguments.frames_max,
    };
    let [left, right] = [&arguments.left, &arguments.right].map(|name| {
        let device = DeviceBuilder::new().name(name).layer(Layer::L2);
        device.build_sync()
    });
    let (left, right) = (
        left.with_context(|| format!("cannot make {}", arguments.left))?,
        right.with_context(|| format!("cannot make {}", arguments.right))?,
    );
    let epoch = Instant::now();
    let direction = |from, to, seed| Direction {
        from,
        to,
        line: Mutex::new(Line::new(quality, seed)),
        changed: Condvar::new(),
        epoch,
    };
    let right_bound = direction(&left, &right, arguments.seed);
    let left_bound = direction(&right, &left, arguments.seed.wrapping_add(1 << 32));
    println!("poor-link: {} and {}", arguments.left, arguments.right);
    std::thread::scope(|scope| {
        for direction in [&right_bound, &left_bound] {
            scope.spawn(move || direction.deliver());
            scope.spawn(move || {
                let error = direction.take();
                eprintln!("poor-link: {error}");
                std::process::exit(1);
            });
        }
    });
    Ok(())
}

impl Direction<'_> {
    /// Takes frames off the one device; returns the error that ends it.
    fn take(&self) -> io::Error {
        let mut frame = [0; FRAME_BYTES_MAX];
        let mut failures = 0;
        loop {
            match self.from.recv(&mut frame) {
                Ok(length) => {
                    failures = 0;
                    let now = self.epoch.elapsed();
                    let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                    line.send(now, frame.get(..length).unwrap_or_default());
                    self.changed.notify_one();
                }
                Err(error) if failures == FAILURES_MAX => return error,
                // While it is moved from one namespace to another a device is down.
                Err(_) => {
                    failures += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// Gives each frame to the other device when it has arrived.
    fn deliver(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = self.epoch.elapsed();
            while let Some(frame) = line.arrived(now) {
                // A device that is down loses it, as any interface does.
                drop(self.to.send(&frame));
            }
            line = match line.next_at() {
                Some(at) => {
                    let waited = self
                        .changed
                        .wait_timeout(line, at.saturating_sub(self.epoch.elapsed()));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let waited = self.changed.wait(line);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}
