//! The outside programs that building needs: cargo, and the linker's family.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// What programs are compiled for: std's own target, so the flags for guests reach no build script.
pub(super) const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The cargo that runs this command, so that the toolchain is the same throughout.
pub(super) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Flags meant for the host's builds would change an image, or its linker.
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_TARGET_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(variable);
    }
    cargo
}

/// Runs a program to its end; a failure shows what it wrote.
pub(super) fn run(command: &mut Command) -> Result<Output> {
    let output = start(command)?;
    if output.status.success() {
        return Ok(output);
    }
    let name = command.get_program().to_string_lossy();
    bail!(
        "{name} failed ({}):\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
}

/// Runs a program to its end, whatever its status.
pub(super) fn start(command: &mut Command) -> Result<Output> {
    // Messages are read by `missing`, so they must not be translated.
    let name = command.get_program().to_string_lossy().into_owned();
    command.env("LC_ALL", "C").output().with_context(|| {
        format!(
            "cannot run {name}: on Debian, `apt-get install gcc binutils` brings the linker's tools"
        )
    })
}

/// Runs a program whose answer is one line.
pub(super) fn ask(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A library that comes with the C compiler.
pub(super) fn compiler_library(name: &str) -> Result<PathBuf> {
    let path = PathBuf::from(ask(
        Command::new("cc").arg(format!("-print-file-name={name}"))
    )?);
    // gcc repeats the name where it does not know the file.
    if path == Path::new(name) {
        bail!("the C compiler has no {name}: on Debian, `apt-get install gcc` brings it");
    }
    Ok(path)
}
