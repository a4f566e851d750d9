//! `cargo xtask bench disk`: sequential and random access to a block device.
//!
//! The same source, `blocks` of tests/guests-net, runs in our guest and as a Linux program in a guest
//! with Debian's kernel, in turns and on the same file in dom0, which blkback serves.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{LinuxGuest, Testbed};

use super::config::with_value;
use super::guests::{build, install, machine, workspace};
use super::site::{MEMORY_MIB, with_memory};
use super::{Better, Figure};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each guest runs
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How much is written and read back, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    size: u16,
}

const PROGRAM: &str = "/usr/local/bin/blocks";
const DONE: &str = "blocks: ok";
const FILE: &str = "/var/tmp/bench-disk.img";
const LIMIT: Duration = Duration::from_secs(300);
/// What the program measures, and what the figure is called; the last one is the principal figure.
const OPERATIONS: [(&str, &str); 3] = [
    ("sequential-write", "sequential write, made durable"),
    ("sequential-read", "sequential read"),
    ("random-read", "random reads of 4 kB"),
];

/// Megabytes per second of each operation.
type Rates = [f64; OPERATIONS.len()];

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image blocks")?;
    let testbed = machine(root)?;
    testbed.put_program(root, "guests-net", "blocks", PROGRAM)?;
    let size = options.size;
    let ours = with_value(
        &install(&testbed, root, "blocks")?,
        "cmdline",
        format!("\"-- /dev/xvda {size}\""),
    );
    let linux = testbed.linux_guest(&LinuxGuest {
        name: "blocks",
        programs: &[PROGRAM],
        modules: &["xen-blkfront"],
        command: &format!("blocks /dev/xvda {size}"),
        address: None,
        device: "/dev/xvda",
    })?;
    // Written once, so that no round is the one that allocates the file's blocks.
    let make = format!("dd if=/dev/zero of={FILE} bs=1M count={size} conv=fsync status=none");
    testbed.command(&make).timeout(LIMIT).run()?.ok()?;
    let rounds = measure(&testbed, options.rounds, &ours, &linux);
    testbed.exec(&format!("rm {FILE}"))?.ok()?;
    print(&rounds?)
}

fn measure(testbed: &Testbed, rounds: u16, ours: &str, linux: &str) -> Result<Vec<(Rates, Rates)>> {
    let mut values = Vec::new();
    for round in 1..=rounds {
        let ours = rates(testbed, "blocks-ours", ours)?;
        let linux = rates(testbed, "blocks-linux", linux)?;
        eprintln!("round {round} of {rounds}, MB/s: ours {ours:.1?}, Linux {linux:.1?}");
        values.push((ours, linux));
    }
    Ok(values)
}

fn rates(testbed: &Testbed, name: &str, config: &str) -> Result<Rates> {
    let config = with_memory(config, MEMORY_MIB);
    let config = format!("{config}disk = [\"format=raw,vdev=xvda,access=rw,target={FILE}\"]\n");
    let domain = testbed.create(name, &config)?;
    let console = domain.wait_for_console(DONE, LIMIT)?;
    domain.wait_for_end(LIMIT)?;
    let mut rates = Rates::default();
    for (rate, (operation, _)) in rates.iter_mut().zip(OPERATIONS) {
        *rate = rate_in(&console, operation).with_context(|| format!("{name} said:\n{console}"))?;
    }
    Ok(rates)
}

/// Megabytes per second of an operation, from the line that tells bytes and nanoseconds.
fn rate_in(console: &str, operation: &str) -> Option<f64> {
    let prefix = format!("blocks: {operation} ");
    let line = console
        .lines()
        .find_map(|line| line.trim().strip_prefix(&prefix))?;
    let (bytes, nanoseconds) = line.split_once(' ')?;
    Some(bytes.parse::<f64>().ok()? / nanoseconds.parse::<f64>().ok()? * 1e3)
}

fn print(rounds: &[(Rates, Rates)]) -> Result<()> {
    for (index, (_, name)) in OPERATIONS.into_iter().enumerate() {
        let (ours, linux): (Vec<f64>, Vec<f64>) = rounds
            .iter()
            .map(|(ours, linux)| (ours[index], linux[index]))
            .unzip();
        let peer = (
            "the same program in a guest with Debian's kernel",
            &linux[..],
        );
        Figure::of_rounds(Better::Higher, ("disk", name, "MB/s"), &ours, peer).print()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_from_a_console() {
        let console = "boot\r\nblocks: sequential-read 1000000 500000000\r\nblocks: ok\r\n";
        assert_eq!(rate_in(console, "sequential-read"), Some(2.0));
        assert_eq!(rate_in(console, "random-read"), None);
    }
}
