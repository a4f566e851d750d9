//! Programs of Debian's that the proof needs: installed where that is possible, as `cargo xtask test`
//! does for the others.

use std::process::{Command, Stdio};
use std::sync::Mutex;

/// One installation at a time; the tests run side by side.
static INSTALLING: Mutex<()> = Mutex::new(());

/// A command for a program of a package.
///
/// # Panics
/// Where the program is missing and cannot be installed.
pub(crate) fn program(name: &str, package: &str) -> Command {
    let guard = INSTALLING.lock();
    if !is_there(name) {
        apt_get(&["update"], package);
        apt_get(
            &["install", "--yes", "--no-install-recommends", package],
            package,
        );
        assert!(
            is_there(name),
            "{name} is missing: apt-get install {package}"
        );
    }
    drop(guard);
    Command::new(name)
}

fn is_there(name: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(name).is_file())
}

fn apt_get(arguments: &[&str], package: &str) {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output();
    let wrote = output.map(|output| (output.status.success(), output.stderr));
    let is_done = matches!(wrote, Ok((true, _)));
    assert!(is_done, "as root: apt-get install {package}\n{wrote:?}");
}
