//! Photographs that everybody has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What Debian has photographs in.
const PACKAGE: &str = "mate-backgrounds";

/// The directory of Debian's photographs, fetched into a directory of ours if they are not there.
///
/// # Errors
/// What `apt-get` says.
pub fn debian(directory: &Path) -> Result<PathBuf> {
    let folder = directory.join("usr/share/backgrounds/mate");
    if folder.join("nature").exists() {
        return Ok(folder);
    }
    println!("fetching photographs: Debian's {PACKAGE}, 47 MB");
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let script = format!(
        "set -e; apt-get download -q {PACKAGE}; dpkg-deb -x {PACKAGE}_*.deb .; rm {PACKAGE}_*.deb"
    );
    let fetch = Command::new("sh")
        .args(["-c", &script])
        .current_dir(directory)
        .output()
        .context("cannot run sh")?;
    ensure!(
        fetch.status.success(),
        "cannot fetch {PACKAGE}: try `apt-get update`, or give photographs with --photos DIR\n{}",
        String::from_utf8_lossy(&fetch.stderr)
    );
    Ok(folder)
}
