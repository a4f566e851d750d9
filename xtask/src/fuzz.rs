//! `cargo xtask fuzz NAME`: a target of `tests/fuzz` under libFuzzer, on stable Rust.
//!
//! Coverage comes from LLVM's own pass, which stable rustc runs when asked by name; the flags are those
//! of cargo-fuzz without a sanitizer, because what is fuzzed has no `unsafe`. The corpus grows in
//! `target/fuzz/corpus/NAME`; what finds something is kept in `target/fuzz/found/NAME` and printed with
//! the command that runs it again. Progress goes to standard error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The target; without it `--list` or `--check`
    target: Option<String>,
    /// How long to look for something
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run this input only, as often as once
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Say which targets there are
    #[arg(long, conflicts_with = "target")]
    list: bool,
    /// A bounded number of executions of every target, as `cargo xtask test` wants it
    #[arg(long, conflicts_with = "target")]
    check: bool,
}

/// Executions per target of `--check`: some seconds in all, so that it shows that each target works and
/// what was fixed stays fixed, and leaves the search to whoever has time.
const CHECK_RUNS: u32 = 10_000;
/// The longest input: room for a conversation of some frames.
const LENGTH_MAX: u32 = 16_384;
/// An input that takes longer hangs.
const TIMEOUT_SECONDS: u32 = 20;
/// More memory than any target has reason to use, with libFuzzer's own.
const MEMORY_MB_MAX: u32 = 1024;

/// cargo-fuzz 0.13 `src/project.rs`, less the sanitizer.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cforce-frame-pointers",
];
/// Named, so that build scripts and procedural macros are compiled without the flags.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<()> {
    let root = root()?;
    let targets = targets(&root)?;
    if options.list {
        for (name, about) in &targets {
            println!("{name}: {about}");
        }
        return Ok(());
    }
    let is_target = |name: &String| targets.iter().any(|(other, _)| other == name);
    let chosen = match &options.target {
        Some(name) if is_target(name) => vec![name.clone()],
        Some(name) => bail!("{name} is no target; `cargo xtask fuzz --list` names them"),
        None if options.check => targets.into_iter().map(|(name, _)| name).collect(),
        None => bail!("name a target, or say --list or --check"),
    };
    let fuzzer = Fuzzer {
        program: build(&root)?,
        root,
    };
    let (mut passed, mut failed) = (0, 0);
    for name in &chosen {
        match fuzzer.fuzz(name, &options) {
            Ok(()) => passed += 1,
            Err(error) if options.check => {
                failed += 1;
                println!("test fuzz: {name} ... FAILED\n    | {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
    if options.check {
        println!("{passed} passed, {failed} failed");
        ensure!(failed == 0, "targets of the fuzzer failed");
    }
    Ok(())
}

fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the workspace")?.into())
}

/// The targets' names and the first clauses of their descriptions, from their files.
fn targets(root: &Path) -> Result<Vec<(String, String)>> {
    let folder = root.join("tests/fuzz/src/targets");
    let mut targets = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == "mod" {
            continue;
        }
        let file = if path.is_dir() {
            path.join("mod.rs")
        } else {
            path
        };
        let source =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let head = source.lines().map_while(|line| line.strip_prefix("//! "));
        let head = head.collect::<Vec<_>>().join(" ");
        let about = head.split([':', '.']).next().unwrap_or_default();
        targets.push((name, about.to_owned()));
    }
    targets.sort();
    Ok(targets)
}

/// Compiles all targets into one program, apart from the ordinary builds.
fn build(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/fuzz/build");
    let mut flags = COVERAGE.join("\x1f");
    flags.push_str("\x1f--cfg\x1ffuzzing");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(
            "build --quiet --locked --package fuzz --features libfuzzer --profile fuzz".split(' '),
        )
        .args(["--target", PLATFORM])
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .current_dir(root);
    let status = command.status().context("cannot start cargo")?;
    ensure!(
        status.success(),
        "the fuzzer does not build; if a C++ compiler is missing: apt-get install g++"
    );
    Ok(folder.join(PLATFORM).join("fuzz/fuzz"))
}

struct Fuzzer {
    root: PathBuf,
    program: PathBuf,
}

impl Fuzzer {
    fn fuzz(&self, name: &str, options: &Options) -> Result<()> {
        if let Some(input) = &options.input {
            let (succeeded, _) = self.start(self.command(name).arg(input), false)?;
            ensure!(succeeded, "{name} fails with {}", input.display());
            return Ok(());
        }
        let kind = if options.check { "check" } else { "corpus" };
        let corpus = self.folder(kind, name);
        if options.check && corpus.exists() {
            // The same executions each time: from the seeds alone.
            fs::remove_dir_all(&corpus)
                .with_context(|| format!("cannot remove {}", corpus.display()))?;
        }
        let found = self.folder("found", name);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let (succeeded, said) = self.start(self.command(name).env("FUZZ_SEEDS", &corpus), true)?;
        ensure!(succeeded, "{said}{name} has no seeds");
        let mut command = self.command(name);
        command
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_len={LENGTH_MAX}"));
        if options.check {
            command.args(["-seed=1".to_owned(), format!("-runs={CHECK_RUNS}")]);
        } else {
            command.arg(format!("-max_total_time={}", options.seconds));
        }
        let (succeeded, said) = self.start(command.arg(&corpus), options.check)?;
        ensure!(
            succeeded,
            "{said}{name} found something (its input is the latest file in {}): \
             run it again with `cargo xtask fuzz {name} --input FILE`",
            found.display()
        );
        Ok(())
    }

    /// Runs libFuzzer: whether it found nothing, and what it said if that is not to be seen at once.
    fn start(&self, command: &mut Command, quiet: bool) -> Result<(bool, String)> {
        let cannot = || format!("cannot start {}", self.program.display());
        if !quiet {
            return Ok((
                command.status().with_context(cannot)?.success(),
                String::new(),
            ));
        }
        let output = command.output().with_context(cannot)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.success(), said))
    }

    fn folder(&self, kind: &str, name: &str) -> PathBuf {
        self.root.join("target/fuzz").join(kind).join(name)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("FUZZ_TARGET", name)
            .env("RUST_BACKTRACE", "1")
            .arg(format!("-timeout={TIMEOUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"));
        command
    }
}
