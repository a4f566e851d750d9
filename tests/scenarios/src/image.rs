//! Images, built by `cargo xtask image` as any user would build them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, ensure};

/// A program of this workspace that can be made an image.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Image {
    pub(crate) package: &'static str,
    pub(crate) program: &'static str,
}

/// The HTTPS service. This and the next three are the images here that are built as for production.
pub(crate) const HELLO: Image = Image {
    package: "hello",
    program: "hello",
};

/// The HTTP cache.
pub(crate) const CACHE: Image = Image {
    package: "cache",
    program: "cache",
};

/// The durable store and forward.
pub(crate) const UPLOADER: Image = Image {
    package: "uploader",
    program: "uploader",
};

/// The smallest plain program.
pub(crate) const GREETING: Image = guest("greeting");

/// The guest that does what no program should.
pub(crate) const FAULTS: Image = Image {
    package: "faults",
    program: "faults",
};

/// One of the programs in `tests/guests`.
pub(crate) const fn guest(program: &'static str) -> Image {
    Image {
        package: "guests",
        program,
    }
}

/// One of the programs in `tests/guests-net`.
pub(crate) const fn network_guest(program: &'static str) -> Image {
    Image {
        package: "guests-net",
        program,
    }
}

impl Image {
    /// What `cargo xtask image` calls it.
    pub(crate) fn name(self) -> String {
        match self.package {
            "guests" | "guests-net" => format!("guest-{}", self.program),
            _ => self.program.to_owned(),
        }
    }

    /// The arguments of `cargo xtask image`.
    fn build_arguments(self) -> Vec<String> {
        let words = match self {
            HELLO | GREETING | CACHE | UPLOADER => format!("image {}", self.name()),
            _ => format!(
                "image --fast --package {} --bin {} --name {}",
                self.package,
                self.program,
                self.name()
            ),
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).unwrap_or(here).to_owned()
    })
}

/// Where `cargo xtask image` puts what it makes: `NAME.elf`, `NAME.cfg` and so on.
pub(crate) fn artefact(file: &str) -> PathBuf {
    workspace().join("target/images").join(file)
}

/// `cargo xtask` with these arguments, at the workspace's root.
pub(crate) fn xtask(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg("xtask")
        .args(arguments)
        .current_dir(workspace())
        .stdin(Stdio::null());
    command
}

/// Builds a program for any Linux of this architecture, without libraries of its own.
pub(crate) fn static_program(package: &str, program: &str) -> Result<PathBuf> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let folder = workspace().join("target/static");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(workspace())
        .args(["build", "--quiet", "--package", package, "--bin", program])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&folder)
        // The caller's flags are for the caller's programs.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=symbols -C opt-level=1",
        );
    let output = command.output().context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "{program} cannot be built:\n{}",
        text(&output)
    );
    Ok(folder.join(TARGET).join("debug").join(program))
}

/// What a command printed on both streams, as one text.
pub(crate) fn text(output: &Output) -> String {
    let streams = [&output.stdout[..], &output.stderr[..]];
    streams.map(String::from_utf8_lossy).concat()
}

/// Builds each image once in a run, and remembers what came of it.
#[derive(Default)]
pub(crate) struct Builds {
    done: Mutex<HashMap<Image, Arc<Build>>>,
}

/// The path of an ELF, or why there is none.
type Build = OnceLock<Result<PathBuf, String>>;

impl Builds {
    /// The ELF of an image; the first to ask builds it.
    pub(crate) fn elf(&self, image: Image) -> Result<PathBuf> {
        let slot = {
            let mut done = self
                .done
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(done.entry(image).or_default())
        };
        let built = slot.get_or_init(|| build(image).map_err(|error| format!("{error:#}")));
        built.clone().map_err(|error| anyhow!(error))
    }
}

fn build(image: Image) -> Result<PathBuf> {
    let output = xtask(image.build_arguments())
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "`cargo xtask {}` failed:\n{}",
        image.build_arguments().join(" "),
        text(&output)
    );
    let elf = artefact(&format!("{}.elf", image.name()));
    ensure!(
        elf.is_file(),
        "`cargo xtask image` made no {}",
        elf.display()
    );
    Ok(elf)
}
