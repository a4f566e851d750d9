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
    /// On Xen, play the evening of television with as many viewers as on Linux
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

/// Chooses between a scenario's two lengths, and says so where it has two.
fn of_length(mut scenario: Scenario, long: bool) -> Scenario {
    match scenario.longer_on_xen.take() {
        Some(longer) if long => scenario.on_xen = Some(longer.body),
        Some(longer) => println!(
            "shortened xen: {}: --long plays all of it, in about {} minutes when Xen is emulated",
            scenario.name, longer.minutes,
        ),
        None => {}
    }
    scenario
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tally = runner::Tally::default();
    let mut found = 0;
    for world in World::ALL {
        if arguments.world.is_some_and(|only| only != world) {
            continue;
        }
        let chosen = catalogue::scenarios(world, arguments.filter.as_deref());
        found += chosen.len();
        if arguments.list {
            chosen
                .iter()
                .for_each(|scenario| println!("{}: {}", world.name(), scenario.name));
        } else {
            let chosen: Vec<_> = match world {
                World::Netns => chosen,
                World::Xen => chosen
                    .into_iter()
                    .map(|scenario| of_length(scenario, arguments.long))
                    .collect(),
            };
            tally += runner::run(world, &chosen, arguments.fresh);
        }
    }
    if let (0, Some(part)) = (found, &arguments.filter) {
        eprintln!("error: no scenario's name contains `{part}`; --list shows all");
        return ExitCode::from(2);
    }
    if arguments.list {
        return ExitCode::SUCCESS;
    }
    println!("{tally}");
    ExitCode::from(u8::from(!tally.is_success()))
}
