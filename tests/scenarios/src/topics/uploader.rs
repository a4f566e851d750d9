//! The uploader on a disk of its own, which outlives it.

use anyhow::{Result, ensure};
use testbed::Domain;

use super::network::site::{GUEST_V4, Site};
use crate::image::UPLOADER;
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

const PHONE: &str = include_str!("uploader/phone.py");
/// The memory that images/uploader.toml gives it.
const MEMORY_MIB: u32 = 128;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::on_xen(
        "uploader: destroyed in the middle of an upload, which then goes on to its site",
        &[UPLOADER],
        destroyed,
    )]
}

fn destroyed(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let disk = format!("/var/lib/edgecloud/disks/{}", site.namespace());
    xen.in_dom0(&format!(
        "mkdir -p /var/lib/edgecloud/disks && truncate -s 64M {disk}"
    ))?;
    xen.testbed.put_bytes(PHONE.as_bytes(), "/tmp/phone.py")?;
    let outcome = lives(&site, &disk);
    xen.in_dom0(&format!("rm -f {disk}"))?;
    outcome
}

fn lives(site: &Site<'_>, disk: &str) -> Result<()> {
    let domain = boot(site, disk)?;
    let location = site.run(&format!("python3 /tmp/phone.py begin {}", domain.name()))?;
    drop(domain);
    let domain = boot(site, disk)?;
    let console = domain.console()?;
    ensure!(
        console.contains("the disk is ready uploads=1 "),
        "the upload is not on the disk:\n{console}"
    );
    let said = site.run(&format!("python3 /tmp/phone.py finish {location}"))?;
    println!("  {said}");
    ensure!(said.starts_with("the site has it"), "{said}");
    Ok(())
}

fn boot<'x>(site: &Site<'x>, disk: &str) -> Result<Domain<'x>> {
    let launch = Launch::of(UPLOADER)
        .variable("CONFIG", "service = { rest-seconds = 0 }")
        .variable("HTTPS_ADDRESS", "off")
        .disk(disk)
        .memory_mib(MEMORY_MIB);
    let domain = site.boot(&launch)?;
    domain.wait_for_console("uploader: http on", LIMIT)?;
    site.wait_for(GUEST_V4)?;
    Ok(domain)
}
