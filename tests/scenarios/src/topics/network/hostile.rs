//! Malformed frames: dropped, counted by reason, and afterwards everything is as before.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use testbed::Domain;

use super::site::{GUEST_V4, GUEST_V6, Site};
use super::{WEB, both_ways, web};
use crate::image::workspace;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// What scapy sends, relative to the workspace.
const FRAMES: &str = "tests/scenarios/src/topics/network/hostile.py";
/// Another one makes other frames of those that are fuzzed.
const SEED: u32 = 1;
/// Bytes that are moved before and after.
const LENGTH: usize = 200_000;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::on_xen(
        "network: malformed frames are dropped, counted by reason, and forgotten",
        &[WEB],
        malformed,
    )]
}

fn malformed(xen: &Xen) -> Result<()> {
    const SCRIPT: &str = "/tmp/hostile.py";
    let site = Site::make(xen)?;
    let domain = web(&site)?;
    xen.testbed
        .put(&workspace().join(Path::new(FRAMES)), SCRIPT)?;
    both_ways(&site, GUEST_V4, LENGTH)?;
    let before = counters(xen, &domain)?;
    let sent = site.run(&format!("python3 {SCRIPT} {} {SEED}", Site::mac(0)))?;
    // Frames arrive in the order in which they were sent, so the answer to this comes after all of them.
    site.run(&format!("curl -sS http://{GUEST_V4}/"))?;
    let after = counters(xen, &domain)?;
    for line in sent.lines() {
        let (reason, count) = line.split_once(' ').context("REASON COUNT")?;
        let count: u64 = count.parse().context("a count")?;
        if reason == "any" {
            continue;
        }
        let name = format!("drops_total{{reason=\"{reason}\"}}");
        let value = |counters: &BTreeMap<String, u64>| counters.get(&name).copied().unwrap_or(0);
        let dropped = value(&after) - value(&before);
        ensure!(
            dropped >= count,
            "of {count} frames {dropped} were dropped as {reason}; before:\n{before:#?}\nafter:\n{after:#?}"
        );
    }
    both_ways(&site, GUEST_V4, LENGTH)?;
    both_ways(&site, GUEST_V6, LENGTH)
}

/// The domain's counters by name.
fn counters(xen: &Xen, domain: &Domain<'_>) -> Result<BTreeMap<String, u64>> {
    let told = super::told_counters(xen, domain)?;
    let pairs = told.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    Ok(pairs.collect())
}
