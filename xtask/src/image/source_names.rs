//! What source files are called inside images, in panics and debug information: the directories of this
//! machine must not show, or two checkouts in different directories would give different bytes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::tools;

/// Where the workspace's own sources are said to be.
pub(super) const WORKSPACE: &str = "/workspace";
/// Where those of crates from a registry are said to be.
pub(super) const REGISTRY: &str = "/registry";
/// Where those of the standard library are said to be, by the toolchain itself: a commit follows.
const STANDARD_LIBRARY: &str = "/rustc";

/// A source file's name in an image, short: without the part that says nothing to a reader.
pub(crate) fn short(name: &str) -> &str {
    let below = |directory: &str| name.strip_prefix(directory)?.strip_prefix('/');
    let in_std = || Some(below(STANDARD_LIBRARY)?.split_once('/')?.1);
    below(WORKSPACE)
        .or_else(|| below(REGISTRY))
        .or_else(in_std)
        .unwrap_or(name)
}

/// The directories of this machine, and what stands for each. Where several match, the last one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceNames(Vec<(PathBuf, String)>);

impl SourceNames {
    /// The names of what every program is made of.
    pub(super) fn of_toolchain() -> Result<SourceNames> {
        let mut names = SourceNames::default();
        let sysroot = PathBuf::from(tools::ask(
            Command::new("rustc").args(["--print", "sysroot"]),
        )?);
        let version = tools::ask(Command::new("rustc").arg("-vV"))?;
        let commit = version
            .lines()
            .find_map(|line| line.strip_prefix("commit-hash: "));
        names.add(&sysroot, "/toolchain");
        // As in the std that the toolchain ships: its sources, if installed, must make no difference.
        names.add(
            &sysroot.join("lib/rustlib/src/rust"),
            &format!("{STANDARD_LIBRARY}/{}", commit.unwrap_or("unknown")),
        );
        if let Some(home) = cargo_home() {
            names.add(&home, "/cargo");
        }
        Ok(names)
    }

    /// Adds a directory, once.
    pub(super) fn add(&mut self, path: &Path, name: &str) {
        if !self.0.iter().any(|(known, _)| known == path) {
            self.0.push((path.to_owned(), name.to_owned()));
        }
    }

    /// The pairs as compilers take them: `PATH=NAME`.
    pub(super) fn pairs(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|(path, name)| format!("{}={name}", path.display()))
    }
}

fn cargo_home() -> Option<PathBuf> {
    let in_home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(in_home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_for_readers() {
        for (name, expected) in [
            (
                "/workspace/appliances/hello/src/main.rs",
                "appliances/hello/src/main.rs",
            ),
            ("/registry/tokio-1.2.3/src/lib.rs", "tokio-1.2.3/src/lib.rs"),
            (
                "/rustc/59807616/library/std/src/process.rs",
                "library/std/src/process.rs",
            ),
            ("src/main.rs", "src/main.rs"),
            ("/rustc", "/rustc"),
        ] {
            assert_eq!(short(name), expected);
        }
    }

    #[test]
    fn a_directory_keeps_its_first_name() {
        let mut names = SourceNames::default();
        names.add(Path::new("/w"), "/workspace");
        names.add(Path::new("/w"), "/package/w");
        assert_eq!(names.pairs().collect::<Vec<_>>(), ["/w=/workspace"]);
    }
}
