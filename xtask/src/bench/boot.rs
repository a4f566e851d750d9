//! `cargo xtask bench boot`: how soon a program runs, and what a domain costs.
//!
//! Three guests take turns on one testbed, so that whatever else the machine does meets all alike:
//! ours (`guest-greeting`, with the configuration that the image builder wrote), a Debian kernel whose busybox
//! initramfs prints a line, and the smallest PVH kernel there can be, which powers off at once and so
//! shows what the toolstack alone takes. The agent in dom0 takes the time: it reads the monotonic
//! clock, starts `xl create`, and reads the clock again when the guest's first line is in
//! xenconsoled's log (for the smallest one: when the domain has shut down). So neither the way
//! between this machine and dom0 nor a poll of ours is part of the figure.
//!
//! Under software emulation the seconds are counts of instructions in disguise; the ratios are what
//! carries over.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use testbed::{DEBIAN_LINE, Reason, Testbed};

use super::config::{quoted_value, with_value};
use super::guests::{build, install, machine, workspace};
use super::{Better, Figure};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each guest boots
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
}

/// The first line that our guest's `main` prints.
const OUR_LINE: &str = "Hello from";

/// Nothing takes this long, not even a Debian kernel under emulation.
const LIMIT: Duration = Duration::from_secs(180);

/// The bounds that the issue sets where there is no peer to compare with.
const MEMORY_BOUND_MIB: u32 = 8;
const IDLE_BOUND_S: f64 = 0.1;
const IDLE_FOR: Duration = Duration::from_secs(30);

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image guest-greeting")?;
    build(
        root,
        "image --fast --package guests --bin lifecycle --name guest-lifecycle",
    )?;
    let testbed = machine(root)?;
    let guests = Guests {
        testbed: &testbed,
        greeting: install(&testbed, root, "guest-greeting")?,
        lifecycle: install(&testbed, root, "guest-lifecycle")?,
    };
    guests.sizes()?;
    guests.least_memory()?;
    guests.idle()?;
    guests.boot_times(usize::from(options.rounds))
}

struct Guests<'t> {
    testbed: &'t Testbed,
    greeting: String,
    lifecycle: String,
}

impl Guests<'_> {
    /// What is loaded: our ELF against the Debian kernel with its initial RAM disk.
    fn sizes(&self) -> Result<()> {
        let ours = self.loaded_bytes(&self.greeting)?;
        let debian = self.loaded_bytes(&self.testbed.peers().debian)?;
        Figure::of_rounds(
            Better::Lower,
            ("boot", "image size", "kB"),
            &[ours / 1e3],
            ("Debian kernel and initramfs", &[debian / 1e3]),
        )
        .print()
    }

    /// The size of the files that a configuration names as `kernel` and `ramdisk`.
    fn loaded_bytes(&self, config: &str) -> Result<f64> {
        let files: Vec<&str> = ["kernel", "ramdisk"]
            .into_iter()
            .filter_map(|key| quoted_value(config, key))
            .collect();
        let command = format!("cat {} | wc -c", files.join(" "));
        Ok(self.testbed.exec(&command)?.ok()?.text().trim().parse()?)
    }

    /// Halves the interval between a memory in which ours runs and one in which it does not.
    fn least_memory(&self) -> Result<()> {
        let (mut too_little, mut enough) = (0, 64);
        ensure!(self.runs_in(enough)?, "ours does not run in {enough} MiB");
        while enough - too_little > 1 {
            let middle = (too_little + enough) / 2;
            let runs = self.runs_in(middle)?;
            eprintln!(
                "ours in {middle} MiB: {}",
                if runs { "runs" } else { "does not run" }
            );
            *if runs { &mut enough } else { &mut too_little } = middle;
        }
        let bound = f64::from(MEMORY_BOUND_MIB);
        Figure::of_rounds(
            Better::Lower,
            ("boot", "least memory", "MiB"),
            &[f64::from(enough)],
            ("bound", &[bound]),
        )
        .print()
    }

    fn runs_in(&self, memory_mib: u32) -> Result<bool> {
        let config = with_value(
            &with_value(&self.greeting, "memory", memory_mib),
            "maxmem",
            memory_mib,
        );
        // Too little memory shows in `xl create` or in the domain's end.
        let Ok(domain) = self.testbed.create("least-memory", &config) else {
            return Ok(false);
        };
        let end = domain.wait_for_end(LIMIT)?;
        Ok(end.reason == Reason::Poweroff && end.console.contains(OUR_LINE))
    }

    /// The processor time that a sleeping guest uses.
    fn idle(&self) -> Result<()> {
        let config = with_value(&self.lifecycle, "cmdline", "\"idle 120\"");
        let domain = self.testbed.create("idle", &config)?;
        domain.wait_for_console("lifecycle: idle", LIMIT)?;
        let before = domain.vcpu_time()?;
        eprintln!("a guest sleeps for {IDLE_FOR:?}");
        std::thread::sleep(IDLE_FOR); // What is measured is that nothing happens.
        let used = domain.vcpu_time()?.saturating_sub(before).as_secs_f64();
        Figure::of_rounds(
            Better::Lower,
            ("boot", "vCPU time of 30 idle seconds", "s"),
            &[used],
            ("bound", &[IDLE_BOUND_S]),
        )
        .print()
    }

    fn boot_times(&self, rounds: usize) -> Result<()> {
        let peers = self.testbed.peers();
        let (mut ours, mut debian, mut smallest) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            ours.push(self.time_to_line("greeting", &self.greeting, OUR_LINE)?);
            smallest.push(self.time_to_end("smallest", &peers.smallest)?);
            debian.push(self.time_to_line("debian", &peers.debian, DEBIAN_LINE)?);
            let latest = [&ours, &smallest, &debian].map(|times| times[round - 1]);
            eprintln!(
                "round {round} of {rounds}: ours {:.3} s, smallest {:.3} s, Debian {:.3} s",
                latest[0], latest[1], latest[2]
            );
        }
        let name = ("boot", "xl create to power-off of the smallest kernel", "s");
        Figure::of_rounds(
            Better::Lower,
            name,
            &ours,
            ("smallest PVH kernel", &smallest),
        )
        .print()?;
        let name = ("boot", "xl create to first line of main", "s");
        Figure::of_rounds(
            Better::Lower,
            name,
            &ours,
            ("Debian kernel with busybox", &debian),
        )
        .print()
    }

    fn time_to_line(&self, name: &str, config: &str, line: &str) -> Result<f64> {
        let (time, domain) = self.testbed.time_to_console(name, config, line, LIMIT)?;
        domain.wait_for_end(LIMIT)?;
        Ok(time.as_secs_f64())
    }

    fn time_to_end(&self, name: &str, config: &str) -> Result<f64> {
        let (time, domain) = self.testbed.time_to_end(name, config, LIMIT)?;
        let end = domain.wait_for_end(LIMIT)?;
        if end.reason != Reason::Poweroff {
            bail!("{name} ended with {:?}:\n{}", end.reason, end.console);
        }
        Ok(time.as_secs_f64())
    }
}
