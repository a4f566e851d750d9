//! Commands that somebody else's command runs on its way.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs a command to its end, without its standard output: of a benchmark that has figures and nothing
/// else.
///
/// # Errors
/// It cannot be started, or fails: `what` says in words what cannot be done then.
pub(crate) fn succeed(command: &mut Command, what: &str) -> Result<()> {
    let context = || format!("cannot {what}");
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(context)?;
    ensure!(status.success(), "cannot {what}: {status}");
    Ok(())
}
