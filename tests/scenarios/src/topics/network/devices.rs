//! The vif's life: taken away, given back, and one that nobody serves.

use anyhow::{Result, ensure};

use super::site::{GUEST_V4, GUEST_V6, Site};
use super::{WEB, both_ways, web};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::{LIMIT, Xen};

/// What is moved to see that a device works.
const SOME: usize = 200_000;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::on_xen(
            "network: a vif is detached, and attached again",
            &[WEB],
            attached_again,
        ),
        Scenario::on_xen(
            "network: a vif without a backend is explained",
            &[WEB],
            no_backend,
        ),
        Scenario::on_xen(
            "network: the vif script names a bridge that is not there, and knows VLANs",
            &[WEB],
            vif_script,
        ),
    ]
}

fn attached_again(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = web(&site)?;
    let vif = site.vif_words(0);
    for _ in 0..3 {
        both_ways(&site, GUEST_V4, SOME)?;
        domain.xl("network-detach {} 0")?.ok()?;
        let listed = domain.xl("network-list")?.ok()?.text();
        ensure!(
            !listed.contains("00:16:3e"),
            "still there after it was detached:\n{listed}"
        );
        domain.xl(&format!("network-attach {{}} {vif}"))?.ok()?;
    }
    both_ways(&site, GUEST_V4, SOME)?;
    both_ways(&site, GUEST_V6, SOME)
}

/// The backend's part of xenstore goes before the guest looks, as where netback is not loaded.
fn no_backend(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = site.boot_paused(&Launch::of(WEB), 0, &Site::configuration(0))?;
    xen.in_dom0(&format!(
        "xenstore-rm /local/domain/0/backend/vif/{}",
        domain.id()
    ))?;
    domain.unpause()?;
    domain.wait_for_console("a backend has not connected for", LIMIT)?;
    // The program runs all the same, and ends when it is asked to.
    domain.wait_for_console("web: listening", LIMIT)?;
    domain.xl("shutdown")?.ok()?;
    domain.wait_for_end(LIMIT)?;
    Ok(())
}

fn vif_script(xen: &Xen) -> Result<()> {
    let site = Site::make(xen)?;
    let domain = web(&site)?;
    let mac = "mac=00:16:3e:00:00:77";
    let vif = format!("{mac} bridge={}.7:8:9 script=vif-edgecloud", site.bridge());
    domain.xl(&format!("network-attach {{}} {vif}"))?.ok()?;
    let port = format!("vif{}.1", domain.id());
    let vlans = xen.in_dom0(&format!("ovs-vsctl get port {port} tag trunks"))?;
    ensure!(vlans == "7\n[8, 9]", "the port's VLANs are {vlans}");
    domain.xl("network-detach {} 1")?.ok()?;
    let ports = xen.in_dom0(&format!("ovs-vsctl list-ports {}", site.bridge()))?;
    ensure!(
        !ports.contains(&port),
        "the port stays in the switch: {ports}"
    );
    for (bridge, says) in [
        ("nowhere", "there is no bridge nowhere: ovs-vsctl add-br"),
        ("a/b", "'a/b' is no name of a bridge"),
    ] {
        let vif = format!("{mac} bridge={bridge} script=vif-edgecloud");
        let output = domain.xl(&format!("network-attach {{}} {vif}"))?;
        let said = output
            .ok()
            .map_or_else(|error| format!("{error:#}"), |_| "nothing".to_owned());
        ensure!(said.contains(says), "of {bridge} xl says: {said}");
    }
    both_ways(&site, GUEST_V4, SOME)
}
