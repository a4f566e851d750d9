//! Disks: files of dom0 as block devices of guests, through Xen's own blkback.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Domain, Reason};

use super::went_well;
use crate::image::{Image, guest};
use crate::launch::{Ending, Launch};
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const DISK: Image = guest("disk");
const REDB: Image = guest("redb-disk");
const MIB: u32 = 64;
/// The guest reads all of the disk and compares it with a copy in its memory.
const MEMORY_MIB: u32 = 4 * MIB;
/// How often a database is cut off while it commits.
const CUTS: u32 = 30;
/// Until a cut at the latest, in milliseconds: some dozens of commits.
const CUT_WITHIN_MS: u32 = 1500;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "disk: patterns, positions, and what a reboot finds",
            &[DISK],
            patterns,
        ),
        Scenario::on_xen("disk: redb on /dev/xvda", &[REDB], redb),
        Scenario::on_xen(
            "disk: redb keeps what it acknowledged through 30 destroyed domains",
            &[REDB],
            destroyed,
        ),
        Scenario::on_xen(
            "disk: smaller than its database says",
            &[REDB],
            made_smaller,
        ),
        Scenario::on_xen(
            "disk: without flush nothing is durable, and that is said",
            &[DISK],
            without_flush,
        ),
    ]
}

/// A file of dom0 that is a disk; dropping it removes it.
struct Disk<'x> {
    xen: &'x Xen,
    path: String,
}

impl<'x> Disk<'x> {
    /// A disk of zeros.
    fn make(xen: &'x Xen, image: Image) -> Result<Disk<'x>> {
        let path = format!("/var/lib/edgecloud/disks/{}", xen.domain_name(image));
        let disk = Disk { xen, path };
        xen.in_dom0(&format!(
            "mkdir -p /var/lib/edgecloud/disks && truncate -s {MIB}M {}",
            disk.path
        ))?;
        Ok(disk)
    }

    fn boot(&self, image: Image, arguments: &str) -> Result<Domain<'x>> {
        boot(self.xen, image, arguments, &self.path)
    }

    /// Boots a guest and waits for its end.
    fn run(&self, image: Image, arguments: &str) -> Result<Ending> {
        ended(&self.boot(image, arguments)?)
    }
}

impl Drop for Disk<'_> {
    /// A machine that does not answer has nothing to remove.
    fn drop(&mut self) {
        drop(self.xen.in_dom0(&format!("rm -f {}", self.path)));
    }
}

fn boot<'x>(xen: &'x Xen, image: Image, arguments: &str, target: &str) -> Result<Domain<'x>> {
    let config = xen.config(
        &Launch::of(image)
            .arguments(arguments)
            .memory_mib(MEMORY_MIB),
    )?;
    let disk = format!("disk = [\"format=raw,vdev=xvda,access=rw,target={target}\"]\n");
    let domain = xen
        .testbed
        .create_paused(&xen.domain_name(image), &(config + &disk))?;
    domain.unpause()?;
    Ok(domain)
}

fn ended(domain: &Domain<'_>) -> Result<Ending> {
    let end = domain.wait_for_end(LIMIT)?;
    Ok(Ending {
        succeeded: end.reason == Reason::Poweroff,
        how: format!("{:?}", end.reason),
        transcript: end.console,
    })
}

fn patterns(xen: &Xen) -> Result<()> {
    let disk = Disk::make(xen, DISK)?;
    went_well("disk", &disk.run(DISK, &format!("/dev/xvda {MIB}"))?)?;
    went_well("disk", &disk.run(DISK, "/dev/xvda again")?)
}

fn redb(xen: &Xen) -> Result<()> {
    let disk = Disk::make(xen, REDB)?;
    went_well("redb-disk", &disk.run(REDB, "/dev/xvda topics")?)
}

/// Each boot verifies every record, so the next one tells whether the last lost something.
fn destroyed(xen: &Xen) -> Result<()> {
    let disk = Disk::make(xen, REDB)?;
    let seed = match std::env::var("CUT_SEED") {
        Ok(seed) => seed.parse().context("CUT_SEED is no number")?,
        Err(_) => std::process::id(),
    };
    println!("  CUT_SEED={seed}");
    let mut random = seed;
    let mut acknowledged = 0;
    for cut in 0..CUTS {
        let domain = disk.boot(REDB, "/dev/xvda commit")?;
        let console = domain.wait_for_console("redb-disk: committing", LIMIT)?;
        let there = number(&console, "redb-disk: ", " records are there").unwrap_or(0);
        ensure!(
            there >= acknowledged,
            "cut {cut}: {acknowledged} records were acknowledged, {there} are there"
        );
        // Numerical Recipes' generator; its low bits are the poor ones.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(
            (random >> 8) % CUT_WITHIN_MS,
        )));
        domain.xl("destroy")?.ok()?;
        let console = domain.console()?;
        acknowledged = acknowledged.max(number(&console, "acknowledged ", "").unwrap_or(there));
    }
    ensure!(
        acknowledged > 0,
        "no record was acknowledged in {CUTS} lives"
    );
    println!("  {acknowledged} records acknowledged in {CUTS} lives");
    went_well(
        "redb-disk",
        &disk.run(REDB, &format!("/dev/xvda check {acknowledged}"))?,
    )
}

/// The number in the last line of that form.
fn number(console: &str, before: &str, after: &str) -> Option<u64> {
    console.lines().rev().find_map(|line| {
        let rest = line.trim_end().strip_prefix(before)?;
        rest.strip_suffix(after)?.parse().ok()
    })
}

fn made_smaller(xen: &Xen) -> Result<()> {
    let disk = Disk::make(xen, REDB)?;
    went_well("redb-disk", &disk.run(REDB, "/dev/xvda topics")?)?;
    xen.in_dom0(&format!("truncate -s 64K {}", disk.path))?;
    let ending = disk.run(REDB, "/dev/xvda check 100")?;
    ensure!(
        !ending.succeeded && ending.transcript.contains("Error: "),
        "ended with {}:\n{}",
        ending.how,
        ending.transcript
    );
    Ok(())
}

/// A loop device that says it has no cache: blkback then offers no flush.
fn without_flush(xen: &Xen) -> Result<()> {
    let disk = Disk::make(xen, DISK)?;
    let device = xen.in_dom0(&format!("losetup --find --show {}", disk.path))?;
    let name = device.trim_start_matches("/dev/");
    let ending = xen
        .in_dom0(&format!(
            "echo 'write through' >/sys/block/{name}/queue/write_cache"
        ))
        .and_then(|_| boot(xen, DISK, "/dev/xvda sync", &device))
        .and_then(|domain| ended(&domain));
    let released = xen.in_dom0(&format!("losetup --detach {device}"));
    let ending = ending?;
    released?;
    went_well("disk", &ending)?;
    for part in ["/dev/xvda: its backend offers no flush", "sync_data failed"] {
        ensure!(
            ending.transcript.contains(part),
            "no `{part}` in:\n{}",
            ending.transcript
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_counts() {
        let console = "acknowledged 1\r\nacknowledged 2\nacknowledged";
        assert_eq!(number(console, "acknowledged ", ""), Some(2));
        assert_eq!(number(console, "nothing ", ""), None);
    }
}
