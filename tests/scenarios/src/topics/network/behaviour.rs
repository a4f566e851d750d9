//! Peers that behave as networks make them behave, and many of them.

use anyhow::{Result, ensure};

use super::site::{GUEST_V4, Site};
use super::{ECHO, WEB, web};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

/// The memory of a guest that keeps [`IDLE`] connections.
const IDLE_MIB: u32 = 64;
const IDLE: u32 = 2000;
const STORM: u32 = 1000;
const GUESTS: u8 = 20;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen("network: half-closed connections", &[ECHO], half_close),
        Scenario::on_xen(
            "network: resets, closed windows, slow readers and pipelining",
            &[WEB],
            behaviours,
        ),
        Scenario::on_xen(
            "network: 2000 idle connections in 64 MiB",
            &[WEB],
            idle_connections,
        ),
        Scenario::on_xen("network: a storm of connections", &[WEB], storm),
        Scenario::on_xen("network: twenty guests at once", &[WEB], twenty),
    ]
}

fn half_close(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = site.boot(&Launch::of(ECHO).arguments("7"))?;
    domain.wait_for_console("echo: listening", LIMIT)?;
    site.wait_for(GUEST_V4)?;
    site.peer("half-close 10.0.0.2:7")?;
    site.peer("half-close [fd00::2]:7")
}

fn behaviours(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let _domain = web(&site)?;
    for address in ["10.0.0.2:80", "[fd00::2]:80"] {
        site.peer(&format!("reset {address} 20"))?;
        site.peer(&format!("zero-window {address}"))?;
        site.peer(&format!("slow-reader {address}"))?;
        site.peer(&format!("pipelining {address}"))?;
    }
    Ok(())
}

fn idle_connections(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = site.boot(&Launch::of(WEB).memory_mib(IDLE_MIB))?;
    domain.wait_for_console("web: listening", LIMIT)?;
    site.wait_for(GUEST_V4)?;
    site.peer(&format!("idle 10.0.0.2:80 {IDLE}"))
}

fn storm(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let _domain = web(&site)?;
    site.peer(&format!("storm 10.0.0.2:80 {STORM}"))?;
    site.peer(&format!("storm [fd00::2]:80 {STORM}"))
}

/// All of them are there at the same time, each at addresses of its own.
fn twenty(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let launch = Launch::of(WEB).memory_mib(32);
    let domains: Vec<_> = (0..GUESTS)
        .map(|guest| site.boot_as(&launch, guest, &Site::configuration(guest)))
        .collect::<Result<_>>()?;
    for domain in &domains {
        domain.wait_for_console("web: listening", LIMIT)?;
    }
    for host in 2..2 + GUESTS {
        for address in [format!("10.0.0.{host}"), format!("[fd00::{host:x}]")] {
            site.wait_for(&address)?;
            let who = site.run(&format!("curl -sS http://{address}/who"))?;
            ensure!(
                who.ends_with(&format!("local {address}:80")),
                "{address} answers {who:?}"
            );
        }
    }
    Ok(())
}
