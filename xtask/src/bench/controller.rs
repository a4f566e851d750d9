//! `cargo xtask bench reconcile`, `redirect` and `revoke`: the controller on a running Open vSwitch
//! (`tests/switchload`).

use anyhow::Result;
use clap::ValueEnum;

use super::comparison;
use crate::test::install_packages;

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each does the same; without it, often enough for the figures in README.md
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
}

/// The same, of one that runs in both worlds.
#[derive(clap::Args)]
pub(crate) struct InWorld {
    #[command(flatten)]
    options: Options,
    /// Where domains run: as processes, or on Xen
    #[arg(long, value_enum, default_value = "netns")]
    world: World,
}

#[derive(Clone, Copy, ValueEnum)]
enum World {
    Netns,
    Xen,
}

/// Flows compiled and installed.
pub(super) fn reconcile(options: &Options) -> Result<()> {
    options.run("reconcile")
}

/// Requests through a redirect.
pub(super) fn redirect(options: &InWorld) -> Result<()> {
    let world = match options.world {
        World::Netns => "netns",
        World::Xen => "xen",
    };
    options.options.run(&format!("redirect --world {world}"))
}

/// From a revocation to silence.
pub(super) fn revoke(options: &Options) -> Result<()> {
    options.run("revoke")
}

impl Options {
    fn run(&self, what: &str) -> Result<()> {
        install_packages()?;
        let rounds = self.rounds.map(|rounds| format!(" --rounds {rounds}"));
        let rounds = rounds.unwrap_or_default();
        comparison::run(&format!(
            "--package switch-load --bin switch-load -- {what}{rounds}"
        ))
    }
}
