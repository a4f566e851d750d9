//! Where `unsafe` may be written, and what no file may contain.

use std::path::Path;

use crate::{files, nothing_breaks, root, text};

/// The only directories whose sources may say `unsafe` (decision 2 in ARCHITECTURE.md).
const UNSAFE_ROOMS: [&str; 2] = ["runtime", "interpose"];

/// Directories of one person's or one machine's file system. Written in two parts, or this file
/// would break its own rule. (dom0 has a `/root`, too: only what cargo keeps there is a machine's.)
const MACHINE_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/.cargo"),
    concat!("/ro", "ot/.rustup"),
];

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

/// Whether a line of Rust uses the keyword, as opposed to speaking of it.
fn uses_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let words: Vec<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let quoted = code.contains('"') || code.contains('`');
    words.contains(&"unsafe") && !quoted
}

#[test]
fn unsafe_lives_in_the_runtime_only() {
    let mut broken = Vec::new();
    for file in files().into_iter().filter(|file| is_rust(file)) {
        if UNSAFE_ROOMS.iter().any(|room| file.starts_with(room)) {
            continue;
        }
        let source = text(&file).expect("Rust is UTF-8");
        let lines = source
            .lines()
            .enumerate()
            .filter(|(_, line)| uses_unsafe(line));
        broken.extend(
            lines.map(|(number, line)| {
                format!("{}:{}: {}", file.display(), number + 1, line.trim())
            }),
        );
    }
    nothing_breaks("`unsafe` outside runtime/ and interpose/", &broken);
}

/// Every package forbids it, through the workspace's lints, except where it lives.
#[test]
fn packages_take_the_workspace_lints() {
    let mut broken = Vec::new();
    for file in files()
        .into_iter()
        .filter(|file| file.ends_with("Cargo.toml"))
    {
        let manifest: toml::Table = text(&file)
            .expect("TOML is UTF-8")
            .parse()
            .expect("a manifest");
        let inherits = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        let exempt = UNSAFE_ROOMS.iter().any(|room| file.starts_with(room))
            || !manifest.contains_key("package");
        if inherits != Some(true) && !exempt {
            broken.push(file.display().to_string());
        }
    }
    nothing_breaks("a package without `[lints] workspace = true`", &broken);
    let workspace: toml::Table = text(Path::new("Cargo.toml"))
        .expect("TOML")
        .parse()
        .expect("a manifest");
    assert_eq!(
        workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(),
        Some("forbid")
    );
}

#[test]
fn no_file_names_a_machine() {
    let mut broken = Vec::new();
    for file in files() {
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
                broken.push(format!(
                    "{}:{}: {}",
                    file.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    nothing_breaks("a path of one machine", &broken);
}

/// The interface says which crate is meant to be small: a file that passes this has two things to say.
#[test]
fn files_stay_readable() {
    const LINES_MAX: usize = 650;
    let long = files()
        .into_iter()
        .filter(|file| is_rust(file))
        .filter_map(|file| {
            let lines = text(&file)?.lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.display()))
        });
    nothing_breaks(
        "a file with more than one thing to say",
        &long.collect::<Vec<_>>(),
    );
}

/// Every image's description says how large it may be; that it holds is checked by its build.
#[test]
fn images_have_budgets() {
    let mut broken = Vec::new();
    for file in files()
        .into_iter()
        .filter(|file| file.starts_with("images") && file.extension().is_some_and(|e| e == "toml"))
    {
        let description = text(&file)
            .expect("TOML is UTF-8")
            .parse::<toml::Table>()
            .expect("TOML");
        let positive = |value: &toml::Value| value.as_integer().is_some_and(|size| size > 0);
        let budgeted = description.get("size-kb-max").is_some_and(positive);
        if !budgeted {
            broken.push(file.display().to_string());
        }
    }
    nothing_breaks("an image without a size budget", &broken);
    assert!(
        root().join("images/hello.toml").is_file(),
        "no image is described"
    );
}

#[test]
fn the_keyword_is_told_from_the_word() {
    assert!(uses_unsafe("    unsafe { asm!() }"));
    assert!(uses_unsafe("pub unsafe fn f();"));
    assert!(!uses_unsafe("// unsafe is explained here"));
    assert!(!uses_unsafe("unsafe_code = 1"));
    assert!(!uses_unsafe("let rule = \"unsafe\";"));
}
