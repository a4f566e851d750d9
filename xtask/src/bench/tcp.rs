//! `cargo xtask bench tcp`: our TCP beside smoltcp's in one Linux process, which prints its own figures
//! (`tests/tcp`).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The whole of cargo's arguments. Not among the ordinary builds: it wants the runtime as a library.
const RUN: &str = "run --quiet --locked --release --package tcp-comparison --features comparison";

/// Runs the benchmark.
pub(super) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(RUN.split(' '))
        .current_dir(root.context("xtask lies in the workspace")?);
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the comparison failed");
    Ok(())
}
