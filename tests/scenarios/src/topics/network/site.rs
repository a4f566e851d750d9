//! A site: a bridge of Open vSwitch in dom0, and a namespace on it where clients run.
//!
//! ```text
//!   namespace siteN                     dom0                       domain
//!   client 10.0.0.1, fd00::1 ── veth ── bridge siteN ── vif ── guest 0: 10.0.0.2, fd00::2
//!                                                       ── vif ── guest 1: 10.0.0.3, fd00::3 …
//! ```

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::Domain;

use crate::launch::Launch;
use crate::xen::Xen;

/// Where the first guest answers, as URLs have it.
pub(crate) const GUEST_V4: &str = "10.0.0.2";
pub(crate) const GUEST_V6: &str = "[fd00::2]";
/// Prints what `guests_net::pattern` makes.
pub(crate) const PATTERN: &str = "seq 1000000000 9999999999";

/// A command that takes longer hangs: emulated machines move some megabytes per second.
const COMMAND_LIMIT: Duration = Duration::from_secs(180);

/// Dropping it removes it.
pub(crate) struct Site<'x> {
    xen: &'x Xen,
    name: String,
}

impl<'x> Site<'x> {
    pub(crate) fn make(xen: &'x Xen) -> Result<Site<'x>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short, because Linux allows 15 characters for the name of an interface.
        let name = format!("site{}-{number}", std::process::id() % 100_000);
        let site = Site { xen, name };
        let name = &site.name;
        xen.in_dom0(&format!(
            "set -e; ovs-vsctl add-br {name}; ip link set {name} up; ip netns add {name}
             ip link add {name}v type veth peer name eth0 netns {name}
             ip link set {name}v up; ovs-vsctl add-port {name} {name}v
             ip -n {name} link set lo up; ip -n {name} link set eth0 up
             ip -n {name} address add 10.0.0.1/24 dev eth0
             ip -n {name} address add fd00::1/64 dev eth0 nodad"
        ))?;
        xen.captures.start(&xen.testbed, name)?;
        Ok(site)
    }

    /// Boots the first guest.
    pub(crate) fn boot(&self, launch: &Launch) -> Result<Domain<'x>> {
        self.boot_as(launch, 0, &Self::configuration(0))
    }

    /// Boots a guest with a network configuration.
    pub(crate) fn boot_as(&self, launch: &Launch, guest: u8, network: &str) -> Result<Domain<'x>> {
        let domain = self.boot_paused(launch, guest, network)?;
        domain.unpause()?;
        Ok(domain)
    }

    pub(crate) fn boot_paused(
        &self,
        launch: &Launch,
        guest: u8,
        network: &str,
    ) -> Result<Domain<'x>> {
        let line = format!("NET={network} {}", launch.as_command_line());
        let config = self.xen.config(&launch.clone().command_line(line))?;
        let vif = self.vif_words(guest).replace(' ', ",");
        self.xen.testbed.create_paused(
            &self.xen.domain_name(launch.image),
            &format!("{config}vif = [\"{vif}\"]\n"),
        )
    }

    /// The namespace of the clients.
    pub(crate) fn namespace(&self) -> &str {
        &self.name
    }

    /// The bridge in dom0.
    pub(crate) fn bridge(&self) -> &str {
        &self.name
    }

    /// The network of a guest, as its command line has it.
    pub(crate) fn configuration(guest: u8) -> String {
        let host = 2 + u16::from(guest);
        format!("ip=10.0.0.{host}/24,gateway=10.0.0.1,ip=fd00::{host:x}/64,gateway=fd00::1")
    }

    /// A guest's Ethernet address.
    pub(crate) fn mac(guest: u8) -> String {
        format!("00:16:3e:00:00:{:02x}", 2 + u16::from(guest))
    }

    /// The description of a vif, as `xl network-attach` wants it.
    pub(crate) fn vif_words(&self, guest: u8) -> String {
        let (mac, bridge) = (Self::mac(guest), &self.name);
        format!("mac={mac} bridge={bridge} script=vif-edgecloud")
    }

    /// Lets the client of `tests/guests-net` do one thing to an address and a port.
    pub(crate) fn peer(&self, words: &str) -> Result<()> {
        let program = self.xen.peer()?;
        // As many files as the client that holds thousands of connections wants.
        let said = self.run(&format!(
            "sh -c 'ulimit -n 20000 && exec {program} {words}'"
        ))?;
        let behaviour = words.split(' ').next().unwrap_or_default();
        ensure!(
            said.ends_with(&format!("peer {behaviour}: ok")),
            "`peer {words}` says {said:?}"
        );
        Ok(())
    }

    /// Waits until an address answers: Linux gives a neighbour up who does not answer for three seconds,
    /// and a guest listens before its vif is connected.
    pub(crate) fn wait_for(&self, address: &str) -> Result<()> {
        let address = address.trim_matches(['[', ']']);
        self.run(&format!(
            "sh -c 'for i in $(seq 60); do ping -n -q -c 1 -W 1 {address} && exit; done; exit 1'"
        ))?;
        Ok(())
    }

    /// Runs a command in the namespace; what it printed, without the blanks at its end.
    pub(crate) fn run(&self, command: &str) -> Result<String> {
        self.command(&format!("ip netns exec {} {command}", self.name))
    }

    /// The SHA-256 of what a pipeline prints whose first command runs in the namespace.
    pub(crate) fn digest(&self, pipeline: &str) -> Result<String> {
        let printed = self.run(&format!("{pipeline} | sha256sum"))?;
        Ok(printed.split(' ').next().unwrap_or_default().to_owned())
    }

    /// Disturbs packets both ways, as netem is told to.
    pub(crate) fn disturb(&self, netem: &str) -> Result<()> {
        let (name, netem) = (&self.name, format!("root netem limit 10000 {netem}"));
        self.command(&format!(
            "set -e; modprobe sch_netem; tc qdisc add dev {name}v {netem}
             tc -n {name} qdisc add dev eth0 {netem}"
        ))?;
        Ok(())
    }

    fn command(&self, command: &str) -> Result<String> {
        let command = self.xen.testbed.command(command).timeout(COMMAND_LIMIT);
        Ok(command.run()?.ok()?.text().trim_end().to_owned())
    }
}

impl Drop for Site<'_> {
    /// The namespace takes the veth with it. A machine that does not answer has nothing to remove.
    fn drop(&mut self) {
        let name = &self.name;
        self.xen.captures.stop(&self.xen.testbed, name);
        drop(self.command(&format!(
            "ip netns del {name}; ovs-vsctl --if-exists del-br {name}"
        )));
    }
}
