//! What the host must have, and the running of its programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::console;
use crate::progress::{Progress, step};

/// The programs that are used and the Debian packages they are in. Xen itself is not among them:
/// it is taken from the image, because installing it would make the host boot it.
const PROGRAMS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("mmdebstrap", "mmdebstrap"),
    ("gpg", "gpg"),
    ("mke2fs", "e2fsprogs"),
    ("setpriv", "util-linux"),
    ("gzip", "gzip"),
    ("as", "binutils"),
    ("ld", "binutils"),
];

/// Debian's folders for programs, of which a user's `PATH` may lack the last ones.
const FOLDERS: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Installs the packages that are missing.
pub(crate) fn install_missing(log: &mut dyn Progress) -> Result<()> {
    let missing = missing_packages(|program| {
        FOLDERS
            .iter()
            .any(|folder| Path::new(folder).join(program).exists())
    });
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if !is_root() {
        bail!(
            "the testbed needs packages of Debian: run `sudo apt-get install --no-install-recommends {packages}`"
        );
    }
    step(log, &format!("installed {packages}"), || {
        apt_get(&["update"])?;
        let install = ["install", "--yes", "--no-install-recommends"];
        apt_get(&[&install[..], &missing[..]].concat())
    })
}

fn missing_packages(has: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| !has(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

/// Whether the process may do what only root may.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// A command for one of the host's programs, found even if the user's `PATH` lacks its folder.
pub(crate) fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command
        .env("PATH", FOLDERS.join(":"))
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a command to its end; its failure is an error with what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}: is it installed?"))?;
    if !output.status.success() {
        let wrote = [&output.stdout[..], &output.stderr[..]].concat();
        bail!(
            "{name} failed ({}):\n{}",
            output.status,
            console::tail(&console::clean(&wrote), 30)
        );
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_once_even_if_two_programs_are_missing() {
        assert_eq!(
            missing_packages(|program| !matches!(program, "as" | "ld")),
            ["binutils"]
        );
        assert!(missing_packages(|_| true).is_empty());
    }
}
