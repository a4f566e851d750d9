//! Other people's test pictures: those of Pillow, which its source on PyPI holds, some five hundred of JPEG,
//! PNG (APNG among them), GIF and WebP, sound ones and broken ones.
//!
//! `tests/pictures/src/judge.rs` says of each what became of it; `tests/conformance/pictures.txt` is the
//! table of what it was. A picture that was shown as `image` decodes it must be so again, and one that was
//! refused is refused for the same reason, or is shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::succeed::succeed;

/// By the release that the table is of.
const SOURCE: &str = "pillow==11.0.0";
const ARCHIVE: &str = "pillow-11.0.0.tar.gz";
const FOLDER: &str = "pillow-11.0.0/Tests/images";
const TABLE: &str = "tests/conformance/pictures.txt";
/// What it is to be shown.
const SHOWN: [&str; 2] = ["like", "alone"];

/// What became of each picture.
type Table = BTreeMap<String, String>;

/// How many are as they were or better, and how many are worse.
pub(super) fn run(root: &Path, update: bool) -> Result<(usize, usize)> {
    let folder = fetch(root)?;
    let mut build = Command::new("cargo");
    build.args(["build", "-q", "-p", "pictures", "--locked"]);
    succeed(build.current_dir(root), "build the judge")?;
    let output = Command::new(root.join("target/debug/pictures"))
        .arg("judge")
        .arg(&folder)
        .output()
        .context("cannot start the judge")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let table = parse(&String::from_utf8(output.stdout)?)?;
    let known = match fs::read_to_string(root.join(TABLE)) {
        Ok(text) => parse(&text)?,
        Err(_) => Table::new(),
    };
    for word in ["like", "alone", "unlike"] {
        let count = table.values().filter(|result| *result == word).count();
        println!("pictures {word}: {count} of {}", table.len());
    }
    let worse = worse(&known, &table);
    for (path, was) in &worse {
        let now = table.get(*path).map_or("missing", String::as_str);
        println!("lost: {path} was {was}, is {now}");
    }
    if update && worse.is_empty() {
        fs::write(root.join(TABLE), written(&table))?;
    } else {
        ensure!(
            !known.is_empty(),
            "{TABLE} is missing: make it with --update"
        );
    }
    Ok((known.len() - worse.len(), worse.len()))
}

/// Downloads the pictures, once; their folder.
fn fetch(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/conformance/pictures");
    if folder.join(FOLDER).exists() {
        return Ok(folder.join(FOLDER));
    }
    fs::create_dir_all(&folder)?;
    let mut pip = Command::new("pip3");
    pip.args(["download", "--quiet", "--no-deps", "--no-binary", "pillow"]);
    pip.arg(SOURCE).arg("--dest").arg(&folder);
    succeed(
        &mut pip,
        "download the pictures (apt-get install python3-pip)",
    )?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(folder.join(ARCHIVE));
    tar.arg("--directory").arg(&folder).arg(FOLDER);
    succeed(&mut tar, "unpack the pictures")?;
    Ok(folder.join(FOLDER))
}

/// Lines of a path and a word; those that begin with `#` say something else.
fn parse(text: &str) -> Result<Table> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (path, result) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((path.to_owned(), result.to_owned()))
        })
        .collect()
}

fn worse<'t>(known: &'t Table, table: &Table) -> Vec<(&'t String, &'t String)> {
    let is_worse = |(path, was): &(&String, &String)| match table.get(*path) {
        Some(now) => now != *was && !SHOWN.contains(&now.as_str()),
        None => true,
    };
    known.iter().filter(is_worse).collect()
}

fn written(table: &Table) -> String {
    let mut text = format!("# Pictures of {SOURCE}: `cargo xtask conformance --update`\n");
    for (path, result) in table {
        text.push_str(&format!("{path} {result}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_may_only_be_shown_better() {
        let table = |lines: &str| parse(lines).expect("a table");
        let known = table("# of something\na b.png like\nc.gif broken\nd.jpg unlike\n");
        assert!(worse(&known, &known).is_empty());
        assert!(worse(&known, &table("a b.png like\nc.gif like\nd.jpg alone")).is_empty());
        let now = table("a b.png unlike\nc.gif panicked");
        let worse: Vec<_> = worse(&known, &now).into_iter().map(|one| one.0).collect();
        assert_eq!(worse, ["a b.png", "c.gif", "d.jpg"]);
        assert_eq!(table(&written(&known)), known);
    }
}
