//! Random numbers differ from boot to boot.

use anyhow::{Result, ensure};

use super::went_well;
use crate::image::{Image, guest};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::Xen;

const RANDOM: Image = guest("random");

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::on_xen(
        "random: two boots differ",
        &[RANDOM],
        |xen| {
            let (first, second) = (fingerprint(xen)?, fingerprint(xen)?);
            ensure!(first != second, "two boots drew the same megabyte: {first}");
            Ok(())
        },
    )]
}

fn fingerprint(xen: &Xen) -> Result<String> {
    let ending = xen.run(&Launch::of(RANDOM))?;
    went_well("random", &ending)?;
    let line = ending
        .transcript
        .lines()
        .find(|line| line.starts_with("note fingerprint"));
    Ok(line.unwrap_or_default().to_owned())
}
