//! Memory to its end. That 95 % of it can be used twice is among the portable guests.

use anyhow::{Result, ensure};

use crate::image::{Image, guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::Xen;

const MEMORY: Image = guest("memory");
const MEMORY_MIB: u32 = 32;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::on_xen(
        "memory: out of it, the guest says how much was asked",
        &[MEMORY],
        beyond,
    )]
}

/// The message has the size of the block that did not fit, and what was left: less than that.
fn beyond(xen: &Xen) -> Result<()> {
    let launch = Launch::of(MEMORY)
        .arguments(&format!("{MEMORY_MIB} beyond"))
        .memory_mib(MEMORY_MIB);
    let ending = xen.run(&launch)?;
    let transcript = &ending.transcript;
    ensure!(
        ending.how == "Crash",
        "ended with {}:\n{transcript}",
        ending.how
    );
    let message = transcript
        .lines()
        .find(|line| line.contains("out of memory"));
    let Some(message) = message else {
        anyhow::bail!("no line says `out of memory`:\n{transcript}")
    };
    ensure!(
        message.contains("1048576"),
        "it does not say how much was asked: {message}"
    );
    let left = message
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .count();
    ensure!(left >= 2, "it does not say what was left: {message}");
    Ok(())
}
