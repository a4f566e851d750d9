//! The demo: photographs on their way from a phone to a photo site over a poor backhaul, first as
//! they go without EdgeCloud, then with it. `cargo xtask demo` builds and runs it.

#![forbid(unsafe_code)]

mod photographs;
mod report;
mod run;
mod screenshots;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use site::{Backhaul, Place};
use testbed::Testbed;

/// Shows photographs on their way from a phone to a photo site, without and with EdgeCloud.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
struct Arguments {
    /// Where domains run: on Xen, or as processes in network namespaces
    #[arg(long, value_enum, default_value = "xen")]
    world: World,
    /// JPEG photographs of your own; without it, photographs of Debian's mate-backgrounds
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Use the machine that `cargo xtask testbed up` keeps; what an interruption leaves stays there
    #[arg(long)]
    kept: bool,
    /// Take no pictures of the pages
    #[arg(long)]
    no_screenshots: bool,
    /// The backhaul's rate, each way
    #[arg(long, default_value_t = 2000, value_name = "N")]
    kbit_per_s: u32,
    /// The backhaul's delay, there and back
    #[arg(long, default_value_t = 80, value_name = "N")]
    round_trip_ms: u32,
    /// What the backhaul loses
    #[arg(long, default_value_t = 0.5, value_name = "N")]
    loss_percent: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    Xen,
    Netns,
}

fn main() -> ExitCode {
    match demo() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<()> {
    let arguments = Arguments::parse();
    let root = root()?;
    let output = root.join("target/demo");
    std::fs::create_dir_all(&output).context("cannot make target/demo")?;
    let photos = photographs::choose(arguments.photos.as_deref(), &output, arguments.world)?;
    let backhaul = Backhaul {
        kbit_per_s: arguments.kbit_per_s,
        round_trip_ms: arguments.round_trip_ms,
        loss_percent: arguments.loss_percent,
    };
    let since = Instant::now();
    let results = match arguments.world {
        World::Netns => {
            let place = Place::netns(&root)?;
            run::run(&place, &photos, &backhaul, &output)?
        }
        World::Xen => {
            let testbed = match arguments.kept {
                true => Testbed::connect(&root)?,
                false => Testbed::start(&root, &mut |line: &str| println!("{line}"))?,
            };
            let place = Place::xen(&root, &testbed)?;
            run::run(&place, &photos, &backhaul, &output)?
        }
    };
    let page = report::write(&output, &photos, &backhaul, &results)?;
    print!("{}", report::text(&photos, &results));
    if !arguments.no_screenshots {
        screenshots::take(&output, photos.len())?;
    }
    println!(
        "\n{} (after {:.0} s)",
        page.display(),
        since.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The workspace's directory.
fn root() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    let root = here
        .ancestors()
        .find(|folder| folder.join("images/thumbnail.toml").exists());
    root.map(PathBuf::from)
        .context("run it in the project's directory")
}
