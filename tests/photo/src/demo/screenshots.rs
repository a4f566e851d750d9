//! Pictures of the pages, by headless Chromium.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The pages, their pictures, and the height that they need for so many photographs.
type Page = (&'static str, &'static str, fn(usize) -> usize);
const PAGES: [Page; 2] = [
    ("index.html", "report.png", |photos| 700 + 95 * photos),
    ("album/index.html", "album.png", |photos| {
        170 + 330 * photos.div_ceil(2)
    }),
];

/// Chromium takes some seconds for a page; one that takes longer hangs.
const LIMIT_S: &str = "60";

/// Takes them, into the same folder. `cargo xtask demo` has seen to it that Chromium is there.
pub(crate) fn take(output: &Path, photos: usize) -> Result<()> {
    for (page, picture, height) in PAGES {
        let picture = output.join(picture);
        let page = output.join(page);
        // In a network namespace of its own: the pages need none, and Chromium asks nobody.
        let taken = Command::new("timeout")
            .args(["-k", "1", LIMIT_S, "unshare", "--net", "chromium"])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            .arg(format!("--window-size=1000,{}", height(photos)))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .output()
            .context("cannot run timeout")?;
        ensure!(
            taken.status.success() && picture.exists(),
            "chromium took no picture of {}:\n{}",
            page.display(),
            String::from_utf8_lossy(&taken.stderr)
        );
    }
    Ok(())
}
