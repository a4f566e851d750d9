//! `cargo xtask test`: everything that CI runs.
//!
//! Steps in order of what they cost: format, lints, unit tests (the rules of the tree are among
//! them), a little fuzzing, outside suites, then the scenarios as Linux processes and on Xen. A step
//! that fails does not stop the later ones. At the end each failure's beginning is said once more, for whoever
//! has only the output's end. The last line is `N passed, N failed`: single tests and scenarios are counted,
//! and a step that has none (or could not start, or failed without a failed test) counts as one.

mod packages;

pub(crate) use packages::{install_missing as install_packages, install_missing_of};

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these tests: the crates' own, or the scenarios in one of the worlds
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// On Xen, play the evening of television with as many viewers as on Linux
    #[arg(long)]
    long: bool,
    /// Only tests and scenarios whose name contains this; leaves out format and lints
    filter: Option<String>,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Format, lints, the crates' unit tests and the rules of the tree
    Unit,
    /// The scenarios that run as Linux processes
    Netns,
    /// The scenarios that run on the testbed
    Xen,
}

/// One command, whose output is counted.
struct Step {
    part: Part,
    title: &'static str,
    command: Run,
    /// Makes sense with a filter, which then is its last argument.
    takes_filter: bool,
}

/// A command's words, separated by blanks.
#[derive(Clone, Copy)]
enum Run {
    /// Cargo's arguments.
    Cargo(&'static str),
    /// Of a program of the workspace, after [`BUILD`]. `cargo run` would compile most of what it
    /// needs once more: for one package alone its dependencies have other features.
    Built(&'static str),
}

/// Makes the programs that [`Run::Built`], unit tests and scenarios start, and the unit tests.
const BUILD: &str = "build --quiet --workspace --all-targets --locked";

/// Tells tests that the workspace's programs are built: `tests/netns/src/programs.rs`.
const PROGRAMS_ARE_BUILT: &str = "EDGECLOUD_PROGRAMS_ARE_BUILT";

const STEPS: [Step; 10] = [
    Step {
        part: Part::Unit,
        title: "format",
        command: Run::Cargo("fmt --all --check"),
        takes_filter: false,
    },
    Step {
        part: Part::Unit,
        title: "lints",
        command: Run::Cargo("clippy --quiet --workspace --all-targets --locked -- -D warnings"),
        takes_filter: false,
    },
    Step {
        part: Part::Unit,
        title: "lints of the fuzz targets",
        command: Run::Cargo(
            "clippy --quiet --package fuzz --features targets --locked -- -D warnings",
        ),
        takes_filter: false,
    },
    Step {
        part: Part::Unit,
        title: "programs",
        command: Run::Cargo(BUILD),
        takes_filter: false,
    },
    Step {
        part: Part::Unit,
        title: "unit tests and rules",
        command: Run::Cargo("test --quiet --workspace --all-targets --no-fail-fast --locked"),
        takes_filter: true,
    },
    Step {
        part: Part::Unit,
        title: "examples in the documentation",
        command: Run::Cargo("test --quiet --workspace --doc --no-fail-fast --locked"),
        takes_filter: true,
    },
    Step {
        part: Part::Unit,
        title: "fuzz targets, some thousand inputs each",
        command: Run::Built("xtask fuzz --check"),
        takes_filter: false,
    },
    Step {
        part: Part::Unit,
        title: "outside suites, against a table of what passes",
        command: Run::Built("xtask conformance"),
        takes_filter: false,
    },
    Step {
        part: Part::Netns,
        title: "scenarios as Linux processes",
        command: Run::Built("scenarios --world netns"),
        takes_filter: true,
    },
    Step {
        part: Part::Xen,
        title: "scenarios on Xen",
        command: Run::Built("scenarios --world xen"),
        takes_filter: true,
    },
];

/// How many tests went well, and how many did not.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// What is said once more at the end.
#[derive(Default)]
struct Failures {
    lines: Vec<String>,
    /// Lines that still belong to the last of them.
    to_come: usize,
}

impl Failures {
    /// Of a failure.
    const LINES: usize = 8;
    /// Of all.
    const LINES_MAX: usize = 200;

    /// Takes note of a line if it tells of a failure, or follows one that does.
    fn see(&mut self, line: &str) {
        let begins = (line.starts_with("test ") && line.contains(" ... FAILED"))
            || (line.starts_with("---- ") && line.ends_with(" stdout ----"))
            || line.starts_with("lost: ");
        if begins {
            self.to_come = Failures::LINES;
        }
        if self.to_come > 0 && self.lines.len() < Failures::LINES_MAX {
            self.to_come -= 1;
            self.lines.push(line.to_owned());
        }
    }

    /// What follows is another step's.
    fn end_step(&mut self, title: &str, failed: bool) {
        self.to_come = 0;
        if failed {
            self.lines.push(format!("== {title}: FAILED"));
        }
    }
}

/// Runs the command.
pub(crate) fn run(options: Options) -> Result<()> {
    let mut total = Tally::default();
    let mut failures = Failures::default();
    let mut ran_any = false;
    if options.only != Some(Part::Xen) {
        packages::install_missing()?;
    }
    // A part alone builds what it needs and no more.
    let is_whole = options.only.is_none() && options.filter.is_none();
    for step in &STEPS {
        if options.only.is_some_and(|only| only != step.part)
            || (options.filter.is_some() && !step.takes_filter)
        {
            continue;
        }
        ran_any = true;
        let tally = step.run(&options, is_whole, &mut failures);
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    ensure!(ran_any, "no step is left of the tests that were chosen");
    if !failures.lines.is_empty() {
        println!("== failures, once more\n{}", failures.lines.join("\n"));
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        std::process::exit(1); // The last line is said already.
    }
    Ok(())
}

impl Run {
    /// The command without a filter. Of a whole run [`BUILD`] has built the programs.
    fn command(self, root: &Path, is_whole: bool) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        match self {
            Run::Cargo(words) => {
                command.args(words.split(' '));
            }
            Run::Built(words) => {
                let mut words = words.split(' ');
                let program = words.next().unwrap_or_default();
                if is_whole {
                    let target = std::env::var_os("CARGO_TARGET_DIR")
                        .map_or_else(|| root.join("target"), PathBuf::from);
                    command = Command::new(target.join("debug").join(program));
                } else {
                    let run = ["run", "--quiet", "--locked", "--package", program, "--"];
                    command.args(run);
                }
                command.args(words);
            }
        }
        command
    }
}

impl Step {
    /// Runs the step, passes its output on, and says how it went and how long it took.
    fn run(&self, options: &Options, is_whole: bool, failures: &mut Failures) -> Tally {
        println!("== {}", self.title);
        let start = Instant::now();
        let (tally, outcome) = match self.execute(options, is_whole, failures) {
            Ok((true, counted)) if counted == Tally::default() && options.filter.is_none() => (
                Tally {
                    passed: 1,
                    failed: 0,
                },
                "ok",
            ),
            Ok((true, counted)) if counted.failed == 0 => (counted, "ok"),
            Ok((_, counted)) => (
                Tally {
                    failed: counted.failed.max(1),
                    ..counted
                },
                "FAILED",
            ),
            Err(error) => {
                let said = format!("{error:#}");
                println!("{said}");
                failures.lines.push(said);
                (
                    Tally {
                        passed: 0,
                        failed: 1,
                    },
                    "FAILED",
                )
            }
        };
        failures.end_step(self.title, tally.failed > 0);
        println!(
            "== {}: {outcome} ({:.1} s)",
            self.title,
            start.elapsed().as_secs_f64()
        );
        tally
    }

    /// Whether the command succeeded, and the sum of the tests that its output counts.
    fn execute(
        &self,
        options: &Options,
        is_whole: bool,
        failures: &mut Failures,
    ) -> Result<(bool, Tally)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the workspace")?;
        let mut command = self.command.command(root, is_whole);
        if options.long && self.part == Part::Xen {
            command.arg("--long");
        }
        command.args(&options.filter).current_dir(root);
        if is_whole {
            command.env(PROGRAMS_ARE_BUILT, "true");
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("a piped standard output")?;
        let mut counted = Tally::default();
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            match counts(&line) {
                Some(more) => {
                    counted.passed += more.passed;
                    counted.failed += more.failed;
                }
                // Most crates' targets have no tests of their own.
                None if line.is_empty() || line == "running 0 tests" => {}
                None => {
                    failures.see(&line);
                    println!("{line}");
                }
            }
        }
        Ok((child.wait()?.success(), counted))
    }
}

/// The counts in a closing line, cargo test's or the scenarios'.
fn counts(line: &str) -> Option<Tally> {
    let counts = match line.strip_prefix("test result: ") {
        Some(result) => result.split_once(". ")?.1,
        None => line,
    };
    let (passed, rest) = counts.split_once(" passed")?;
    let rest = rest.strip_prefix([';', ','])?.trim_start();
    let (failed, after) = rest.split_once(" failed")?;
    let complete = after.is_empty() || after.starts_with(';');
    Some(Tally {
        passed: passed.parse().ok()?,
        failed: failed.parse().ok()?,
    })
    .filter(|_| complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_again_with_what_follows_it() {
        let mut failures = Failures::default();
        failures.see("test netns: photo ... ok (3.0 s)");
        failures.see("test xen: photo ... FAILED (3.0 s)");
        (0..20).for_each(|number| failures.see(&format!("    | {number}")));
        failures.end_step("scenarios on Xen", true);
        failures.see("== the next");
        assert_eq!(failures.lines.len(), Failures::LINES + 1);
        assert_eq!(failures.lines[0], "test xen: photo ... FAILED (3.0 s)");
        assert_eq!(failures.lines[8], "== scenarios on Xen: FAILED");
    }

    #[test]
    fn closing_lines_are_counted() {
        let cargo = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 4 filtered out; finished in 0.1s";
        assert_eq!(
            counts(cargo),
            Some(Tally {
                passed: 3,
                failed: 1
            })
        );
        assert_eq!(
            counts("14 passed, 0 failed"),
            Some(Tally {
                passed: 14,
                failed: 0
            })
        );
        assert_eq!(counts("guest said: 14 passed, 0 failed"), None);
        assert_eq!(counts("running 3 tests"), None);
    }
}
