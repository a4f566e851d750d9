//! Benchmarks that are programs of their own: one Linux process that has ours and the peer, and prints its
//! own figures.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Our TCP beside smoltcp's (`tests/tcp`). Not among the ordinary builds: it wants the runtime as a library.
pub(super) const TCP: &str = "--package tcp-comparison --features comparison";
/// The auth proxy's decisions under load (`tests/authload`).
pub(super) const AUTH: &str = "--package auth-load";
/// A gate between clients and a far server, in the fast world (`tests/station`).
pub(super) const GATE: &str = "--package station --bin station-figures";
/// The cache's memory tier beside TinyUFO (`tests/hitratio`).
pub(super) const HIT_RATIO: &str = "--package hit-ratio";

/// Runs one of them, by cargo's arguments.
pub(super) fn run(program: &str) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["run", "--quiet", "--locked", "--release"])
        .args(program.split(' '))
        .current_dir(root.context("xtask lies in the workspace")?);
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the comparison failed");
    Ok(())
}
