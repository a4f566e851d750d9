//! Compiling a program and linking it with the runtime.
//!
//! The flags that every crate needs go with `RUSTFLAGS`; the linker's arguments go to the program's own
//! crate alone, so that a change of the runtime compiles no dependency again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::description::LinkTimeOptimization;
use super::missing::Callers;
use super::package::Package;
use super::runtime::Runtime;
use super::source_names::SourceNames;
use super::tools::{self, TARGET};
use super::{Tree, missing};

/// What the linker is told of the image.
pub(super) struct Image {
    /// The program's `argv[0]`.
    pub(super) name: String,
    /// Whether the driver of disks is part of it.
    pub(super) disks: bool,
}

/// Builds the program and gives the linked executable, with its debug information.
pub(super) fn build(
    tree: &Tree,
    package: &Package,
    lto: LinkTimeOptimization,
    runtime: &Runtime,
    image: &Image,
) -> Result<PathBuf> {
    let (output, report) = compile(tree, package, lto, linker_arguments(runtime, image))?;
    if output.status.success() {
        return report.executable.context("cargo built no executable");
    }
    let Some(linker) = report.linker else {
        bail!(
            "{}{}",
            report.errors,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    };
    match missing::read(&linker) {
        Ok(missing) => {
            let callers = callers(tree, package, lto, runtime, image).unwrap_or_default();
            let program = package.bin.replace('-', "_");
            bail!(missing::explain(&missing, |symbol| callers.of(symbol, &program)))
        }
        Err(text) => bail!(text),
    }
}

/// What calls what in a program that cannot be linked.
fn callers(
    tree: &Tree,
    package: &Package,
    lto: LinkTimeOptimization,
    runtime: &Runtime,
    image: &Image,
) -> Result<Callers> {
    let mut arguments = linker_arguments(runtime, image);
    arguments.push(format!("-Clink-arg={}", missing::LINKER_ARGUMENT));
    let (_, report) = compile(tree, package, lto, arguments)?;
    let executable = report
        .executable
        .context("it cannot be linked with open symbols either")?;
    Callers::read(&fs::read(executable)?)
}

fn compile(
    tree: &Tree,
    package: &Package,
    lto: LinkTimeOptimization,
    linker_arguments: Vec<String>,
) -> Result<(Output, Report)> {
    let target_directory = target_directory(tree, package);
    let mut names = package.source_names.clone();
    names.add(&target_directory, "/target");
    let flags = ["-Crelocation-model=static", "-Cforce-frame-pointers=yes"];
    let mut cargo = tools::cargo();
    cargo
        .args([
            "rustc",
            "--quiet",
            "--message-format=json",
            "--release",
            "--target",
            TARGET,
        ])
        .args(["--bin", &package.bin, "--manifest-path"])
        .arg(&package.manifest)
        .arg("--target-dir")
        .arg(&target_directory)
        .args(profile(lto))
        .arg("--")
        .args(linker_arguments)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&flags, &names))
        .env("CFLAGS_x86_64_unknown_linux_gnu", cflags(&names))
        // For build scripts that would note the time.
        .env("SOURCE_DATE_EPOCH", "0")
        .current_dir(&package.workspace);
    let output = tools::start(&mut cargo)?;
    let report = Report::read(&output.stdout);
    Ok((output, report))
}

/// The workspace's programs share one directory. A package from elsewhere has its own: its sources go by
/// other names, and compiling the common dependencies in turns would help nobody.
fn target_directory(tree: &Tree, package: &Package) -> PathBuf {
    let builds = tree.guest_builds();
    match package.workspace == tree.root {
        true => builds,
        false => builds.join("elsewhere").join(&package.name),
    }
}

/// The release profile as images want it; what is not named here (the optimisation level, what a panic
/// does) is the package's own choice.
fn profile(lto: LinkTimeOptimization) -> impl Iterator<Item = String> {
    let lto = match lto {
        LinkTimeOptimization::Fat => ["lto=\"fat\"", "codegen-units=1"],
        LinkTimeOptimization::Off => ["lto=\"off\"", "codegen-units=16"],
    };
    // The debug information ends up beside the image, where `cargo xtask symbolize` needs the lines.
    let common = [
        "debug=\"line-tables-only\"",
        "strip=\"none\"",
        "incremental=false",
    ];
    lto.into_iter()
        .chain(common)
        .flat_map(|setting| ["--config".to_owned(), format!("profile.release.{setting}")])
}

/// Flags for every crate, as cargo takes them from the environment.
pub(super) fn rustflags(flags: &[&str], names: &SourceNames) -> String {
    let names = names
        .pairs()
        .map(|pair| format!("--remap-path-prefix={pair}"));
    flags
        .iter()
        .map(|flag| (*flag).to_owned())
        .chain(names)
        .collect::<Vec<_>>()
        .join("\x1f")
}

/// For the C code in some crates: hardening that calls into libc would find none.
fn cflags(names: &SourceNames) -> String {
    // The variable is split at blanks. A path with one cannot be renamed there.
    let names = names
        .pairs()
        .filter(|pair| !pair.contains(char::is_whitespace));
    let names = names.map(|pair| format!("-ffile-prefix-map={pair}"));
    [
        "-fno-stack-protector",
        "-U_FORTIFY_SOURCE",
        "-fno-omit-frame-pointer",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(names)
    .collect::<Vec<_>>()
    .join(" ")
}

fn linker_arguments(runtime: &Runtime, image: &Image) -> Vec<String> {
    let to_linker = [
        "-nostartfiles".to_owned(),
        "-nostdlib".to_owned(),
        "-static".to_owned(),
        "-no-pie".to_owned(),
        // The GNU linker, whose script language `runtime/link.ld` is written in, whatever `cc` prefers.
        "-fuse-ld=bfd".to_owned(),
        "-Wl,--gc-sections,--eh-frame-hdr,--build-id=none,--no-demangle,--no-warn-rwx-segments"
            .to_owned(),
        "-Wl,-z,max-page-size=4096,-z,noexecstack,-z,norelro".to_owned(),
        "-T".to_owned(),
        runtime.linker_script().display().to_string(),
        format!("-L{}", runtime.libraries().display()),
        runtime.object().display().to_string(),
        // Once more behind the runtime, which unwinds too.
        "-lgcc_s".to_owned(),
        image_name_argument(&image.name),
        disks_argument(image.disks),
    ];
    // The package may have a linker of its own choice for Linux.
    let mut arguments = vec![
        "-Clinker=cc".to_owned(),
        "-Clinker-features=-lld".to_owned(),
    ];
    // With any renaming among them, cargo leaves these arguments, which hold paths, out of the digest
    // that goes into the names of symbols. See `reproducible`.
    let directory = runtime
        .object()
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    arguments.push(format!(
        "--remap-path-prefix={}=/runtime",
        directory.display()
    ));
    arguments.extend(
        to_linker
            .into_iter()
            .map(|argument| format!("-Clink-arg={argument}")),
    );
    arguments
}

/// Says where disks are opened. The runtime refers to that function by a word in `runtime/link.ld` only, so
/// the linker keeps it, and all that it needs, where it is asked to.
fn disks_argument(disks: bool) -> String {
    if disks {
        "-Wl,-u,open_disk,--defsym=__disk_opener_or_0=open_disk".to_owned()
    } else {
        "-Wl,--defsym=__disk_opener_or_0=0".to_owned()
    }
}

/// Defines the words of which `runtime/link.ld` makes the image's name, its `argv[0]`. Bytes beyond what
/// the words hold are cut.
fn image_name_argument(name: &str) -> String {
    const WORDS: usize = 8;
    let mut bytes = [0; WORDS * 8];
    // The last byte stays the end of the string.
    let length = name.len().min(bytes.len() - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    let words = bytes.as_chunks::<8>().0.iter().enumerate();
    let definitions = words.map(|(number, word)| {
        format!(
            ",--defsym=__image_name_{number}={}",
            u64::from_le_bytes(*word)
        )
    });
    format!("-Wl{}", definitions.collect::<String>())
}

/// What cargo's messages, one JSON object a line, come to.
#[derive(Default)]
struct Report {
    executable: Option<PathBuf>,
    errors: String,
    /// What the linker wrote, if it was the linker that failed.
    linker: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    message: Option<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    message: String,
    level: String,
    rendered: Option<String>,
    children: Vec<Diagnostic>,
}

impl Report {
    fn read(output: &[u8]) -> Report {
        let mut report = Report::default();
        // Whatever is not a message was written by a program that cargo ran.
        let messages = output
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok());
        for message in messages {
            let Message {
                reason,
                executable,
                message,
            } = message;
            if reason == "compiler-artifact" {
                report.executable = executable.or(report.executable);
            }
            if let Some(diagnostic) = message.filter(|diagnostic| diagnostic.level == "error") {
                report.add(diagnostic);
            }
        }
        report
    }

    fn add(&mut self, diagnostic: Diagnostic) {
        if diagnostic.message.starts_with("linking with") {
            let notes = diagnostic.children.iter().map(|note| note.message.as_str());
            self.linker = Some(notes.collect::<Vec<_>>().join("\n"));
        }
        self.errors.push_str(
            diagnostic
                .rendered
                .as_deref()
                .unwrap_or(&diagnostic.message),
        );
    }
}
