//! The rules of the tree that a compiler does not check: where dependencies may point, where
//! `unsafe` may be written, that the documents speak of things that exist.

mod dependencies;
mod documents;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("this crate is two levels down")
        .to_owned()
}

/// What is no part of the tree: results, and git's own folder, which in a worktree is a file.
const ASIDE: [&str; 2] = ["target", ".git"];

/// All files of the tree, relative to its root, in order.
fn files() -> Vec<PathBuf> {
    let root = root();
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory that can be read") {
            let entry = entry.expect("an entry that can be read");
            let kind = entry.file_type().expect("a file's kind");
            if ASIDE.iter().any(|&aside| entry.file_name() == aside) {
                continue;
            } else if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                found.push(
                    entry
                        .path()
                        .strip_prefix(&root)
                        .expect("below the root")
                        .to_owned(),
                );
            }
        }
    }
    found.sort();
    found
}

/// The text of a file, or nothing if it is not text.
fn text(file: &Path) -> Option<String> {
    let bytes = fs::read(root().join(file)).expect("a file that can be read");
    String::from_utf8(bytes).ok()
}

/// Fails with all that breaks a rule, so that one run shows them all.
fn nothing_breaks(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}
