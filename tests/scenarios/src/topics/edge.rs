//! An access network with an appliance in it, and a backhaul to an origin.
//!
//! ```text
//!   namespace of viewers            access               backhaul     namespace of the origin
//!   10.0.0.1 ──────────── bridge, or one namespace ──────────────── 10.0.0.9
//!                                 └── appliance 10.0.0.2
//! ```
//! and the same with fd00::1, fd00::9 and fd00::2.
//!
//! On Xen the appliance is a domain and the rest lies in dom0; as a process it lives among the viewers.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::Domain;

use crate::image::text;
use crate::launch::Launch;
use crate::process::{Processes, Started};
use crate::topics::network::site::Site;
use crate::xen::{LIMIT, Xen};

pub(super) const ORIGIN: &str = "10.0.0.9";
pub(super) const ORIGIN_V6: &str = "[fd00::9]";
/// Where the appliance answers.
pub(super) const APPLIANCE: &str = "10.0.0.2";
pub(super) const APPLIANCE_V6: &str = "[fd00::2]";
/// A command that takes longer hangs.
const COMMAND_LIMIT: Duration = Duration::from_secs(240);

/// Where it all is.
enum World<'w> {
    Xen { xen: &'w Xen, site: Site<'w> },
    Processes(&'w Processes),
}

/// Dropping it removes it, with what runs in it.
pub(super) struct Edge<'w> {
    world: World<'w>,
    /// The namespaces.
    viewers: String,
    origin: String,
    /// Files of the origin, of the viewers, and the appliance's disk; at the same place in both worlds.
    pub(super) folder: String,
}

/// An appliance that runs; dropped, it is gone as when the power fails.
#[expect(dead_code, reason = "what is in it ends with it")]
pub(super) enum Running<'w> {
    Domain(Domain<'w>),
    Process(Started),
}

impl<'w> Edge<'w> {
    pub(super) fn on_xen(xen: &'w Xen) -> Result<Self> {
        let site = Site::make(xen)?;
        let viewers = site.namespace().to_owned();
        let link = format!(
            "ip link add {viewers}w type veth peer name eth0 netns {viewers}o
             ip link set {viewers}w up; ovs-vsctl add-port {} {viewers}w",
            site.bridge()
        );
        Self::make(World::Xen { xen, site }, viewers, &link)
    }

    pub(super) fn of_processes(processes: &'w Processes) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let viewers = format!("edge{}-{number}", std::process::id() % 100_000);
        let link = format!(
            "ip netns add {viewers}
             ip link add eth0 netns {viewers} type veth peer name eth0 netns {viewers}o
             ip -n {viewers} link set lo up; ip -n {viewers} link set eth0 up
             ip -n {viewers} address add 10.0.0.1/24 dev eth0
             ip -n {viewers} address add {APPLIANCE}/32 dev lo
             ip -n {viewers} address add fd00::1/64 dev eth0 nodad
             ip -n {viewers} address add fd00::2/128 dev lo"
        );
        Self::make(World::Processes(processes), viewers, &link)
    }

    /// `link` joins the two namespaces.
    fn make(world: World<'w>, viewers: String, link: &str) -> Result<Self> {
        let edge = Self {
            world,
            origin: format!("{viewers}o"),
            folder: format!("/tmp/{viewers}"),
            viewers,
        };
        let (origin, folder) = (&edge.origin, &edge.folder);
        edge.shell(&format!(
            "set -e; mkdir {folder}; ip netns add {origin}
             {link}
             ip -n {origin} link set lo up; ip -n {origin} link set eth0 up
             ip -n {origin} address add {ORIGIN}/24 dev eth0
             ip -n {origin} address add fd00::9/64 dev eth0 nodad"
        ))?;
        Ok(edge)
    }

    /// Starts an appliance, on Xen with the edge's disk if `has_disk`; returns when it has said `ready`.
    pub(super) fn boot(&self, launch: Launch, has_disk: bool, ready: &str) -> Result<Running<'_>> {
        match &self.world {
            World::Xen { site, .. } => {
                let disk = format!("{}/disk", self.folder);
                let launch = if has_disk { launch.disk(disk) } else { launch };
                let domain = site.boot(&launch)?;
                domain.wait_for_console(ready, LIMIT)?;
                site.wait_for(APPLIANCE)?;
                Ok(Running::Domain(domain))
            }
            World::Processes(processes) => {
                let mut process = processes.start(&launch, &self.viewers)?;
                process.wait_for(ready)?;
                Ok(Running::Process(process))
            }
        }
    }

    /// Whether the appliance is a domain.
    pub(super) fn is_xen(&self) -> bool {
        matches!(self.world, World::Xen { .. })
    }

    /// What an appliance of this world calls its disk: the file `disk` of the edge's folder.
    pub(super) fn disk(&self) -> String {
        match self.world {
            World::Xen { .. } => "/dev/xvda".to_owned(),
            World::Processes(_) => format!("{}/disk", self.folder),
        }
    }

    /// Gives the backhaul a queueing discipline, each way.
    pub(super) fn limit_backhaul(&self, discipline: &str) -> Result<()> {
        let origin = &self.origin;
        let (load, other) = match self.world {
            World::Xen { .. } => ("modprobe sch_tbf", format!("dev {}w", self.viewers)),
            World::Processes(_) => ("true", String::new()),
        };
        let back = match other.is_empty() {
            true => "true".to_owned(),
            false => format!("tc qdisc add {other} root {discipline}"),
        };
        self.shell(&format!(
            "set -e; {load}; tc -n {origin} qdisc add dev eth0 root {discipline}; {back}"
        ))?;
        Ok(())
    }

    /// Runs a command among the viewers; what it printed, without the blanks at its end.
    pub(super) fn viewer(&self, command: &str) -> Result<String> {
        self.shell(&format!("ip netns exec {} {command}", self.viewers))
    }

    /// Runs a command where the origin is.
    pub(super) fn at_origin(&self, command: &str) -> Result<String> {
        self.shell(&format!("ip netns exec {} {command}", self.origin))
    }

    /// Runs a command in the edge's folder.
    pub(super) fn shell(&self, command: &str) -> Result<String> {
        let command = format!("cd {} 2>/dev/null; {command}", self.folder);
        let printed = match &self.world {
            World::Xen { xen, .. } => {
                let running = xen.testbed.command(&command).timeout(COMMAND_LIMIT);
                running.run()?.ok()?.text()
            }
            World::Processes(_) => {
                let mut shell = Command::new("timeout");
                let limit = COMMAND_LIMIT.as_secs().to_string();
                let output = shell.args([&limit, "sh", "-c", &command]).output();
                let output = output.context("timeout(1) could not be started")?;
                ensure!(
                    output.status.success(),
                    "`{command}` ends with {}:\n{}",
                    output.status,
                    text(&output)
                );
                String::from_utf8_lossy(&output.stdout).into_owned()
            }
        };
        Ok(printed.trim_end().to_owned())
    }

    /// Writes a file into the edge's folder.
    pub(super) fn write(&self, name: &str, contents: &str) -> Result<()> {
        let path = format!("{}/{name}", self.folder);
        match &self.world {
            World::Xen { xen, .. } => xen.testbed.put_bytes(contents.as_bytes(), &path),
            World::Processes(_) => Ok(std::fs::write(path, contents)?),
        }
    }
}

impl Drop for Edge<'_> {
    /// What runs in the origin's namespace was started by the scenario. A machine that does not
    /// answer has nothing to remove.
    fn drop(&mut self) {
        let Self {
            viewers,
            origin,
            folder,
            ..
        } = &*self;
        let viewers = match self.world {
            World::Xen { .. } => String::new(), // The site's own.
            World::Processes(_) => format!("ip netns del {viewers};"),
        };
        drop(self.shell(&format!(
            "for process in $(ip netns pids {origin}); do kill $process; done
             ip netns del {origin}; {viewers} rm -rf {folder}"
        )));
    }
}
