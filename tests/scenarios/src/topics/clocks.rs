//! The guest's clocks against dom0's.

use anyhow::{Result, ensure};

use super::{note, went_well};
use crate::image::{Image, guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::Xen;

const CLOCKS: Image = guest("clocks");

/// The bound for the wall clock.
const WALL_CLOCK_ERROR_S: f64 = 1.0;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen("clocks: as in dom0", &[CLOCKS], as_in_dom0).and_as_process(|processes| {
            let launch = Launch::of(CLOCKS).memory_mib(1024);
            let ending = processes.run(&launch)?;
            went_well("clocks", &ending)?;
            sleep_is_two_seconds(&ending.transcript)
        }),
    ]
}

/// What the guest says it was is between what dom0 says before it began and after it ended.
fn as_in_dom0(xen: &Xen) -> Result<()> {
    xen.install(CLOCKS)?;
    let dom0 = || xen.number_in_dom0("date +%s.%N");
    let begun = dom0()?;
    let ending = xen.run(&Launch::of(CLOCKS))?;
    let ended = dom0()?;
    went_well("clocks", &ending)?;
    let transcript = &ending.transcript;
    let (before, after) = (
        note(transcript, "unix time before")?,
        note(transcript, "unix time after")?,
    );
    println!("  dom0 {begun:.3} to {ended:.3}, guest {before:.3} to {after:.3}");
    ensure!(
        before > begun - WALL_CLOCK_ERROR_S,
        "the guest began {:.3} s before it was started",
        begun - before
    );
    ensure!(
        after < ended + WALL_CLOCK_ERROR_S,
        "the guest went on for {:.3} s after its end",
        after - ended
    );
    ensure!(
        after - before < ended - begun + 0.5,
        "the guest slept longer than dom0 saw it live"
    );
    sleep_is_two_seconds(transcript)
}

/// Both of the guest's clocks agree on how long it slept; how much longer than asked depends on
/// the load of the machine and is bounded generously.
fn sleep_is_two_seconds(transcript: &str) -> Result<()> {
    let slept = note(transcript, "slept")?;
    let wall = note(transcript, "unix time after")? - note(transcript, "unix time before")?;
    ensure!((2.0..6.0).contains(&slept), "two seconds took {slept:.3} s");
    ensure!(
        (wall - slept).abs() < 0.5,
        "{slept:.3} s by one clock and {wall:.3} s by the other"
    );
    Ok(())
}
