//! Faults: the domain says what happened and where, and crashes so that xl's `on_crash` acts.

use anyhow::{Result, ensure};

use crate::image::FAULTS;
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{Xen, symbolize};

/// A fault, the words that must be on the console, and the functions that the backtrace must name,
/// each after the other.
struct Fault {
    argument: &'static str,
    says: &'static [&'static str],
    frames: &'static [&'static str],
    /// A processor exception comes with registers, a panic does not.
    registers: bool,
}

const fn exception(
    argument: &'static str,
    says: &'static [&'static str],
    frames: &'static [&'static str],
) -> Fault {
    Fault {
        argument,
        says,
        frames,
        registers: true,
    }
}

const fn message(
    argument: &'static str,
    says: &'static [&'static str],
    frames: &'static [&'static str],
) -> Fault {
    Fault {
        argument,
        says,
        frames,
        registers: false,
    }
}

const FAULTS_TABLE: [Fault; 13] = [
    exception("null", &["null pointer"], &["read_null", "main"]),
    exception(
        "null-in-thread",
        &["null pointer", "unlucky"],
        &["read_null"],
    ),
    exception("wild", &["0x7000dead0000"], &["read_wild", "main"]),
    exception(
        "non-canonical",
        &["general protection"],
        &["read_non_canonical", "main"],
    ),
    exception(
        "write-text",
        &["write to", "read-only"],
        &["write_text", "main"],
    ),
    exception(
        "execute-data",
        &["execution of data"],
        &["execute_data", "main"],
    ),
    exception("divide", &["division"], &["divide_by_zero", "main"]),
    exception(
        "undefined",
        &["invalid instruction"],
        &["undefined_instruction", "main"],
    ),
    exception(
        "stack-overflow",
        &["stack overflow"],
        &["overflow_stack", "overflow_stack"],
    ),
    exception(
        "stack-overflow-in-thread",
        &["stack overflow", "unlucky"],
        &["overflow_stack", "overflow_stack"],
    ),
    message("abort", &["abort"], &["abort_at_once", "main"]),
    message(
        "panic",
        &["nobody catches this"],
        &["panic_uncaught", "main"],
    ),
    message(
        "panic-in-drop",
        &["the first panic", "the second panic"],
        &["panic_twice", "main"],
    ),
];

pub(crate) fn scenarios() -> Vec<Scenario> {
    FAULTS_TABLE
        .into_iter()
        .map(|fault| {
            Scenario::on_xen(
                format!("faults: {}", fault.argument),
                &[FAULTS],
                move |xen| seen(xen, &fault),
            )
        })
        .collect()
}

fn seen(xen: &Xen, fault: &Fault) -> Result<()> {
    let ending = xen.run(&Launch::of(FAULTS).arguments(fault.argument))?;
    let console = symbolize(FAULTS, &ending.transcript)?;
    ensure!(
        ending.how == "Crash",
        "ended with {}:\n{console}",
        ending.how
    );
    ensure!(
        !console.contains("did no harm"),
        "it did no harm:\n{console}"
    );
    let report = console.to_lowercase();
    for words in fault.says {
        ensure!(
            report.contains(&words.to_lowercase()),
            "nothing says `{words}`:\n{console}"
        );
    }
    if fault.registers {
        for register in ["rip", "rsp", "rax", "r15"] {
            ensure!(
                report.contains(register),
                "{register} is not shown:\n{console}"
            );
        }
    }
    names_the_place(&console, fault.frames)
}

/// The backtrace names the functions, in this order, each with a line of the guest's source.
fn names_the_place(console: &str, frames: &[&str]) -> Result<()> {
    let mut lines = console.lines();
    for name in frames {
        let place = format!("{name} at runtime/faults/src/main.rs:");
        let frame = lines.find(|line| line.contains(&place));
        ensure!(
            frame.is_some(),
            "the backtrace has no `{place}`:\n{console}"
        );
    }
    Ok(())
}
