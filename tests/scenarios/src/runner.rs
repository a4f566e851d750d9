//! Goes through the scenarios of one world, and says of each how it went.

use std::fmt;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::World;
use crate::process::Processes;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// How many scenarios went well, and how many did not.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    pub(crate) fn is_success(self) -> bool {
        self.failed == 0
    }

    fn count(&mut self, passed: bool) {
        *if passed {
            &mut self.passed
        } else {
            &mut self.failed
        } += 1;
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs the scenarios of a world. If the world cannot be had, all of them have failed.
pub(crate) fn run(world: World, scenarios: &[Scenario], fresh: bool) -> Tally {
    if scenarios.is_empty() {
        return Tally::default();
    }
    let start = Instant::now();
    let tally = match world {
        World::Netns => Processes::prepare().map(|processes| as_processes(&processes, scenarios)),
        World::Xen => {
            let images: Vec<_> = scenarios
                .iter()
                .flat_map(|scenario| scenario.images.clone())
                .collect();
            Xen::prepare(&images, fresh).map(|machines| {
                println!(
                    "xen: {} testbed(s) and the images are there ({:.1} s)",
                    machines.len(),
                    start.elapsed().as_secs_f64()
                );
                on_xen(&machines, scenarios)
            })
        }
    };
    tally.unwrap_or_else(|error| {
        println!("{}: no scenario could run: {error:#}", world.name());
        Tally {
            passed: 0,
            failed: scenarios.len(),
        }
    })
}

fn as_processes(processes: &Processes, scenarios: &[Scenario]) -> Tally {
    let mut tally = Tally::default();
    for scenario in scenarios {
        let Some(body) = &scenario.as_process else {
            continue;
        };
        tally.count(one(World::Netns, scenario, || body(processes), String::new));
    }
    tally
}

/// Each machine takes the next scenario when it has done one.
fn on_xen(machines: &[Xen], scenarios: &[Scenario]) -> Tally {
    let next = AtomicUsize::new(0);
    let work = |xen: &Xen| {
        let mut tally = Tally::default();
        while let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(body) = &scenario.on_xen else {
                continue;
            };
            xen.begin(&scenario.name);
            tally.count(one(World::Xen, scenario, || body(xen), || xen.diagnose()));
        }
        tally
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = machines
            .iter()
            .map(|xen| scope.spawn(|| work(xen)))
            .collect();
        let mut tally = Tally::default();
        for worker in workers {
            tally += worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        tally
    })
}

/// Runs one scenario, prints its line, and the evidence if it failed. A panic is a failure.
fn one(
    world: World,
    scenario: &Scenario,
    body: impl FnOnce() -> Result<()>,
    evidence: impl FnOnce() -> String,
) -> bool {
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_| Err(anyhow!("the scenario itself panicked (message above)")));
    let seconds = start.elapsed().as_secs_f64();
    let name = format!("{}: {}", world.name(), scenario.name);
    match outcome {
        Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
        // In one piece, for another machine's scenario may end meanwhile.
        Err(ref error) => println!(
            "test {name} ... FAILED ({seconds:.1} s)\n{}\n{}",
            indented(&format!("{error:#}")),
            indented(&evidence())
        ),
    }
    outcome.is_ok()
}

/// A text to be read by a person: the middle of a very long one is left out.
fn indented(text: &str) -> String {
    const LINES_MAX: usize = 400;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let left_out = lines.len().saturating_sub(LINES_MAX);
    let (head, tail) = lines.split_at(if left_out > 0 {
        LINES_MAX / 2
    } else {
        lines.len()
    });
    let mut printed = String::new();
    head.iter()
        .for_each(|line| printed += &format!("    | {line}\n"));
    if left_out > 0 {
        printed += &format!("    : ({left_out} lines)\n");
    }
    tail.iter()
        .skip(left_out)
        .for_each(|line| printed += &format!("    | {line}\n"));
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_ends_as_ci_reads_it() {
        let mut tally = Tally::default();
        tally.count(true);
        tally.count(true);
        assert!(tally.is_success());
        tally += Tally {
            passed: 0,
            failed: 1,
        };
        assert_eq!(tally.to_string(), "2 passed, 1 failed");
        assert!(!tally.is_success());
    }

    #[test]
    fn long_evidence_is_cut_in_the_middle() {
        assert_eq!(indented("a\nb\n"), "    | a\n    | b\n");
        let long: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let cut = indented(&long);
        assert!(cut.contains("| 199\n    : (600 lines)\n    | 800\n") && cut.ends_with("| 999\n"));
    }
}
