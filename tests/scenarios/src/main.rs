//! Runs the scenarios: what must be true of images and of the domains made from them.
//!
//! Two worlds: `xen` is the testbed, a real Xen with its toolstack; `netns` is Linux itself, where
//! the same programs run as processes. [`scenario`] says what a scenario is, [`catalogue`] lists
//! them, [`xen`] and [`process`] are the worlds, [`runner`] goes through them. The last line is
//! `N passed, N failed`, and the exit code says whether anything failed.

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::scenario::Scenario;

mod capture;
mod catalogue;
mod image;
mod launch;
mod process;
mod runner;
mod scenario;
mod topics;
mod xen;

#[derive(Parser)]
#[command(name = "scenarios", about = "Runs the scenarios")]
struct Arguments {
    /// Only the scenarios of this world
    #[arg(long, value_enum)]
    world: Option<World>,
    /// Print the names of the scenarios and run nothing
    #[arg(long)]
    list: bool,
    /// Boot a testbed for this run, even if `cargo xtask testbed up` keeps one
    #[arg(long)]
    fresh: bool,
    /// Also those that take many minutes on an emulated Xen
    #[arg(long)]
    long: bool,
    /// Only the scenarios whose name contains this
    filter: Option<String>,
}

/// Where a scenario runs.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    /// Linux processes on this machine
    Netns,
    /// Domains on the testbed
    Xen,
}

impl World {
    const ALL: [World; 2] = [World::Netns, World::Xen];

    fn name(self) -> &'static str {
        match self {
            World::Netns => "netns",
            World::Xen => "xen",
        }
    }
}

/// The scenarios that run, and those that are too long to run unasked.
fn split(world: World, chosen: Vec<Scenario>, long: bool) -> (Vec<Scenario>, Vec<Scenario>) {
    chosen
        .into_iter()
        .partition(|scenario| long || world != World::Xen || scenario.minutes_on_xen.is_none())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tally = runner::Tally::default();
    for world in World::ALL {
        if arguments.world.is_some_and(|only| only != world) {
            continue;
        }
        let chosen = catalogue::scenarios(world, arguments.filter.as_deref());
        if arguments.list {
            chosen
                .iter()
                .for_each(|scenario| println!("{}: {}", world.name(), scenario.name));
        } else {
            let (chosen, left_out) = split(world, chosen, arguments.long);
            for scenario in left_out {
                println!(
                    "skipped {}: {}: takes about {} minutes when Xen is emulated; --long runs it",
                    world.name(),
                    scenario.name,
                    scenario.minutes_on_xen.unwrap_or_default(),
                );
            }
            tally += runner::run(world, &chosen, arguments.fresh);
        }
    }
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    println!("{tally}");
    ExitCode::from(u8::from(!tally.is_success()))
}
