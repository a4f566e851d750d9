//! Two builds of one tree, in two directories, must be the same to the byte: only then can somebody else
//! check that an image is what its source says.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::files::Built;
use super::{Tree, tools};

/// Copies the tree (what git would commit now) to a directory of another name and depth, builds there
/// from nothing, and compares. The first build may have been incremental: that must make no difference
/// either.
pub(super) fn compare(
    tree: &Tree,
    first: &Built,
    build: impl FnOnce(&Tree) -> Result<Built>,
) -> Result<()> {
    let copy = tree
        .root
        .join("target/reproducible/a copy in another place");
    remove(&copy)?;
    copy_sources(&tree.root, &copy)?;
    let second = build(&Tree { root: copy.clone() })?;
    if second.digest != first.digest {
        bail!(
            "two builds differ: {} and {}. Compare them, e.g. with `cmp -l` or diffoscope; paths in them are the usual cause",
            first.elf.display(),
            second.elf.display()
        );
    }
    println!(
        "{}: a second build, in {}, is identical",
        first.elf.display(),
        copy.display()
    );
    remove(&copy)
}

fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    for name in tools::run(&mut git)?.stdout.split(|byte| *byte == 0) {
        let name = Path::new(std::str::from_utf8(name).context("a file's name is not UTF-8")?);
        let source = root.join(name);
        // git still lists a file that was deleted and not yet committed so.
        if !source.is_file() {
            continue;
        }
        let target = copy.join(name);
        fs::create_dir_all(target.parent().context("a file is in a directory")?)?;
        fs::copy(&source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
    }
    Ok(())
}

fn remove(copy: &Path) -> Result<()> {
    match copy.exists() {
        true => {
            fs::remove_dir_all(copy).with_context(|| format!("cannot remove {}", copy.display()))
        }
        false => Ok(()),
    }
}
