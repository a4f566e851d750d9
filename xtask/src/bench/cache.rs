//! `cargo xtask bench cache`: cached responses of 1 kB and 100 kB on connections that are kept.
//!
//! On Linux ours and nginx with `proxy_cache` (and Varnish, if it is installed) stand in front of the same
//! origin, wrk asks them in turns, and responses are divided by the processor's time that the cache took:
//! a figure for one core, whatever else the machine does. On Xen ours is a domain in front of nginx in
//! dom0, the peers nginx in a guest with Debian's kernel that serves the same files itself, and Varnish in
//! another, in front of the same origin as ours.

use anyhow::Result;
use clap::ValueEnum;

use super::{Better, Figure};

mod guests;
mod linux;
mod process;
mod restart;
mod varnish;

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only one of the worlds
    #[arg(long, value_enum)]
    world: Option<World>,
    /// How often each cache is asked
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// For how many seconds wrk asks each time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    /// Processes on this machine
    Linux,
    /// Domains on the testbed
    Xen,
}

/// What is asked for: bytes, and what the figure is called on Linux and on Xen.
const SIZES: [(u32, &str, &str); 2] = [
    (
        100_000,
        "cached 100 kB responses per CPU second, Linux",
        "cached 100 kB responses per second, Xen",
    ),
    (
        1024,
        "cached 1 kB responses per CPU second, Linux",
        "cached 1 kB responses per second, Xen",
    ),
];
const CONNECTIONS: u32 = 16;

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wants = |world| options.world.is_none_or(|only| only == world);
    if wants(World::Linux) {
        linux::run(options)?;
    }
    if wants(World::Xen) {
        guests::run(options)?;
    }
    Ok(())
}

fn print(figure: &'static str, ours: &[f64], peer: (&'static str, &[f64])) -> Result<()> {
    Figure::of_rounds(Better::Higher, ("cache", figure, "1/s"), ours, peer).print()
}
