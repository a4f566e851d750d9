//! `cargo xtask bench photo`: photographs to a photo site over a poor backhaul, beside the same uploads
//! without EdgeCloud. It is the demo (`tests/photo`), whose figures are printed as every benchmark's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Better, Figure};
use crate::test::install_packages;

const PEER: &str = "upload straight to the site";

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where domains run: `xen`, or `netns`
    #[arg(long, default_value = "xen", value_parser = ["xen", "netns"])]
    world: String,
    /// Use the machine that `cargo xtask testbed up` keeps
    #[arg(long)]
    kept: bool,
}

/// What the demo wrote, as far as it matters here.
#[derive(Deserialize)]
struct Figures {
    photographs: Vec<Photograph>,
}

#[derive(Deserialize)]
struct Photograph {
    without: Times,
    with: Times,
}

/// In seconds after the first byte.
#[derive(Deserialize)]
struct Times {
    answered_s: Option<f64>,
    seen_s: Option<f64>,
    whole_s: Option<f64>,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    install_packages()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut demo = Command::new(cargo);
    demo.current_dir(&root)
        .args(["run", "--quiet", "--locked", "--package", "photo"])
        .args(["--bin", "photo-demo", "--", "--no-screenshots"])
        .args(["--world", &options.world])
        .args(options.kept.then_some("--kept"))
        // Standard output has figures and nothing else.
        .stdout(std::io::stderr());
    let ended = demo.status().context("cannot run cargo")?;
    ensure!(ended.success(), "the demo did not come to its end");
    let file = root.join("target/demo/figures.json");
    let figures = std::fs::read(&file).with_context(|| format!("no {}", file.display()))?;
    let figures: Figures = serde_json::from_slice(&figures)?;
    let print = |figure, of: fn(&Times) -> Option<f64>| {
        let values = |side: fn(&Photograph) -> &Times| -> Result<Vec<f64>> {
            let all = figures.photographs.iter().map(|photo| of(side(photo)));
            all.collect::<Option<_>>()
                .with_context(|| format!("{figure}: a photograph never was"))
        };
        Figure::of_rounds(
            Better::Lower,
            ("photo", figure, "s"),
            &values(|photo| &photo.with)?,
            (PEER, &values(|photo| &photo.without)?),
        )
        .print()
    };
    print("original on the site", |times| times.whole_s)?;
    print("to be seen on the site", |times| times.seen_s)?;
    print("phone answered", |times| times.answered_s)
}
