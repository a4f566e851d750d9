//! A bridge of Open vSwitch in dom0 for the guests of a benchmark, and a namespace where the load runs.
//!
//! ```text
//!   namespace bench               dom0                                guests
//!   10.0.0.1 ── veth ── bridge bench 10.0.0.254 ── vifs ── 10.0.0.2 (ours), 10.0.0.3 (Linux)
//! ```

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testbed::Testbed;

use super::config::with_value;

/// A side of the comparison: an address on the bridge.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// IPv4, without a prefix.
    pub(super) address: &'static str,
    mac: &'static str,
}

pub(super) const OURS: Place = Place {
    address: "10.0.0.2",
    mac: "00:16:3e:00:00:02",
};
pub(super) const LINUX: Place = Place {
    address: "10.0.0.3",
    mac: "00:16:3e:00:00:03",
};
/// The Linux guest's address with its prefix.
pub(super) const LINUX_ADDRESS: &str = "10.0.0.3/24";

/// What both guests have: the Linux guest's RAM disk alone fills most of the least it could have.
pub(super) const MEMORY_MIB: u32 = 256;

/// Xen's platform timer is a HPET of 32 bits and 100 MHz: it wraps in this time.
const LOST: Duration = Duration::from_secs(42);
/// A command of this benchmark that takes this much longer than it was told to hangs.
const LIMIT: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 4;

/// Dropping it removes it.
pub(super) struct Site<'t> {
    testbed: &'t Testbed,
}

const REMOVE: &str = "ip netns del bench 2>/dev/null; ovs-vsctl --if-exists del-br bench";

impl<'t> Site<'t> {
    /// The neighbours are written down, so that a first packet never waits for an answer that was
    /// lost because its guest was not there yet.
    pub(super) fn make(testbed: &'t Testbed) -> Result<Site<'t>> {
        let site = Site { testbed };
        // What a benchmark that was killed has left behind.
        site.testbed.exec(REMOVE)?;
        let neighbour = |place: Place| {
            let entry = format!("{} lladdr {}", place.address, place.mac);
            format!(
                "ip neighbour replace {entry} dev bench nud permanent
                 ip -n bench neighbour replace {entry} dev eth0 nud permanent\n"
            )
        };
        let command = format!(
            "set -e; ovs-vsctl add-br bench; ip link set bench up
             ip address add 10.0.0.254/24 dev bench; ip netns add bench
             ip link add benchv type veth peer name eth0 netns bench
             ip link set benchv up; ovs-vsctl add-port bench benchv
             ip -n bench link set lo up; ip -n bench link set eth0 up
             ip -n bench address add 10.0.0.1/24 dev eth0
             {}{}",
            neighbour(OURS),
            neighbour(LINUX)
        );
        testbed.exec(&command)?.ok()?;
        Ok(site)
    }

    /// A configuration with the memory of this comparison and an interface at the place.
    pub(super) fn joined(&self, config: &str, place: Place) -> String {
        let config = with_memory(config, MEMORY_MIB);
        let mac = place.mac;
        format!("{config}vif = [\"mac={mac},bridge=bench,script=vif-edgecloud\"]\n")
    }

    /// Runs a command that measures in the namespace, and takes `seconds` for that; gives what it
    /// printed.
    ///
    /// An emulated Xen that another process keeps from running for [`LOST`] loses that time, and what
    /// a command measured meanwhile is wrong. Processes also die now and then there, at their start, of
    /// a wrong FS base (`__ctype_init` of glibc reads it first). Neither says anything of the guests,
    /// so such a command is repeated.
    pub(super) fn measure(&self, command: &str, seconds: u16) -> Result<String> {
        let command = format!("ip netns exec bench {command}");
        let seconds = Duration::from_secs(seconds.into());
        let mut trouble = String::new();
        for _ in 0..ATTEMPTS {
            let start = Instant::now();
            let limit = seconds + LIMIT;
            let output = self.testbed.command(&command).timeout(limit).run()?;
            if start.elapsed() > seconds + LOST {
                trouble = format!("`{command}` took {:?}", start.elapsed());
            } else {
                match output.ok() {
                    Ok(output) => return Ok(output.text()),
                    Err(error) => trouble = error.to_string(),
                }
            }
            eprintln!("once more: {trouble}");
        }
        bail!("{ATTEMPTS} attempts failed; the machine may be too busy; the last: {trouble}")
    }
}

impl Drop for Site<'_> {
    /// A machine that does not answer has nothing to remove.
    fn drop(&mut self) {
        drop(self.testbed.exec(REMOVE));
    }
}

/// Our image's configuration at [`OURS`], with the words of its program.
pub(super) fn ours(config: &str, words: &str) -> String {
    let line = format!("\"NET=ip={}/24 {words}\"", OURS.address);
    with_value(config, "cmdline", line)
}

/// A configuration with another amount of memory, whether or not it names one.
pub(super) fn with_memory(config: &str, memory_mib: u32) -> String {
    // The last setting of a name counts.
    format!("{config}\nmemory = {memory_mib}\nmaxmem = {memory_mib}\n")
}

/// The command of a Linux guest that starts its server again, if it dies as [`Site::measure`] tells.
pub(super) fn restarted(server: &str) -> String {
    format!("for attempt in 1 2 3 4; do {server}; done")
}
