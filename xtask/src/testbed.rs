//! `cargo xtask testbed`.

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Runs the command.
pub(crate) fn run(_options: Options) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
