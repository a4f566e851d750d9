//! The documents speak of files and commands that exist.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{nothing_breaks, root, text};

const DOCUMENTS: [&str; 2] = ["README.md", "ARCHITECTURE.md"];

fn document(name: &str) -> String {
    text(Path::new(name)).expect("a document is UTF-8")
}

/// The targets of Markdown links that are relative.
fn relative_links(markdown: &str) -> Vec<&str> {
    let targets = markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let relative =
        targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<']));
    relative
        .map(|target| target.split('#').next().unwrap_or_default())
        .collect()
}

/// The paths in backticks, in prose: words with a slash whose first part is a directory of the tree.
fn backticked_paths(markdown: &str) -> Vec<&str> {
    let prose: Vec<&str> = markdown.split("```").step_by(2).collect();
    let spans = prose
        .into_iter()
        .flat_map(|prose| prose.split('`').skip(1).step_by(2));
    spans.filter(|span| is_path(span)).collect()
}

fn is_path(span: &str) -> bool {
    let plain = span
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-*{},".contains(c));
    let first = span.split('/').next().unwrap_or_default();
    // What a build makes is not in the tree.
    plain
        && span.contains('/')
        && first != "target"
        && !first.is_empty()
        && root().join(first).is_dir()
}

/// Whether a path exists, with `*` for any name and `{a,b}` for each of several.
fn exists(path: &str) -> bool {
    if let Some((before, rest)) = path.split_once('{') {
        let Some((names, after)) = rest.split_once('}') else {
            return false;
        };
        return names
            .split(',')
            .all(|name| exists(&format!("{before}{}{after}", name.trim())));
    }
    let mut places = vec![root()];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        places = places
            .iter()
            .flat_map(|place| matching(place, part))
            .collect();
    }
    !places.is_empty()
}

fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some((start, end)) = pattern.split_once('*') else {
        return Some(directory.join(pattern))
            .filter(|path| path.exists())
            .into_iter()
            .collect();
    };
    let fits = |name: &str| {
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(fits)
        })
        .collect()
}

#[test]
fn links_and_paths_exist() {
    let mut broken = Vec::new();
    for name in DOCUMENTS {
        let markdown = document(name);
        for path in relative_links(&markdown)
            .into_iter()
            .chain(backticked_paths(&markdown))
        {
            if !exists(path) {
                broken.push(format!("{name}: {path}"));
            }
        }
    }
    nothing_breaks("a document speaks of what is not there", &broken);
}

/// Each `cargo xtask WORD` in the documents is a command that the help lists.
#[test]
fn commands_exist() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "--help"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let known: Vec<&str> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .collect();
    let mut broken = Vec::new();
    for name in DOCUMENTS {
        for rest in document(name).split("cargo xtask ").skip(1) {
            let word: String = rest.chars().take_while(char::is_ascii_lowercase).collect();
            if !word.is_empty() && !known.contains(&word.as_str()) {
                broken.push(format!("{name}: cargo xtask {word}"));
            }
        }
    }
    nothing_breaks("a document names a command that does not exist", &broken);
}

#[test]
fn links_and_paths_are_found() {
    let markdown = "See [the map](ARCHITECTURE.md#rooms), [us](https://example.org), `tests/*/Cargo.toml`,\n\
        `tests/{guests,nowhere}/Cargo.toml` and `a/b`.\n```\n`tests/skipped`\n```\n";
    assert_eq!(relative_links(markdown), ["ARCHITECTURE.md"]);
    assert_eq!(
        backticked_paths(markdown),
        ["tests/*/Cargo.toml", "tests/{guests,nowhere}/Cargo.toml"]
    );
    assert!(exists("tests/*/Cargo.toml") && exists("tests/{guests,scenarios}/Cargo.toml"));
    assert!(!exists("tests/{guests,nowhere}/Cargo.toml") && !exists("tests/n*e"));
}
