//! `cargo xtask demo`: the main job, photographs from a phone to a photo site (`tests/photo`).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::test::install_packages;

#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// What the demo takes: see `cargo xtask demo --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the demo and becomes it, as far as anybody can tell.
pub(crate) fn run(options: Options) -> Result<()> {
    let asks = options
        .arguments
        .iter()
        .any(|word| word == "--help" || word == "-h");
    if !asks {
        install_packages()?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let ended = Command::new(cargo)
        .current_dir(root)
        .args([
            "run",
            "--quiet",
            "--package",
            "photo",
            "--bin",
            "photo-demo",
            "--",
        ])
        .args(options.arguments)
        .status()
        .context("cannot run cargo")?;
    if !ended.success() {
        bail!("the demo did not come to its end");
    }
    Ok(())
}
