//! A bridge of Open vSwitch in dom0 for the guests of a benchmark, and a namespace where the load runs.
//!
//! ```text
//!   namespace bench               dom0                                guests
//!   10.0.0.1 ── veth ── bridge bench 10.0.0.254 ── vifs ── 10.0.0.2 (ours), 10.0.0.3 (Linux)
//! ```

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testbed::{Domain, Testbed};

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
/// Where there is a second Linux guest.
pub(super) const SECOND: Place = Place {
    address: "10.0.0.4",
    mac: "00:16:3e:00:00:04",
};
/// Its address with its prefix.
pub(super) const SECOND_ADDRESS: &str = "10.0.0.4/24";

/// What both guests have: the Linux guest's RAM disk alone fills most of the least it could have.
pub(super) const MEMORY_MIB: u32 = 256;

/// Xen's platform timer is a HPET of 32 bits and 100 MHz: it wraps in this time.
const LOST: Duration = Duration::from_secs(42);
/// A command of this benchmark that takes this much longer than it was told to hangs.
const LIMIT: Duration = Duration::from_secs(60);
/// No guest takes this long to answer, not even a Debian kernel under emulation.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const ATTEMPTS: u32 = 4;

/// Dropping it removes it.
pub(super) struct Site<'t> {
    testbed: &'t Testbed,
}

/// The port of HTTP.
const HTTP: u16 = 80;

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
             {}{}{}",
            neighbour(OURS),
            neighbour(LINUX),
            neighbour(SECOND)
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

    /// Creates a Linux guest, and waits until its console has the text; started again like those of
    /// [`Site::time_to_answer`].
    pub(super) fn started(&self, name: &str, config: &str, text: &str) -> Result<Domain<'t>> {
        let mut attempt = 1;
        loop {
            let domain = self.testbed.create(name, config)?;
            match domain.wait_for_console(text, ANSWER_LIMIT) {
                Err(error) if attempt < ATTEMPTS => eprintln!("once more: {error:#}"),
                waited => return waited.map(|_| domain),
            }
            attempt += 1;
        }
    }

    /// Creates a domain at the place; it, and how long it took to answer by HTTP.
    ///
    /// QEMU's emulation of nested guests now and then gives a Linux guest a wrong GS base, whose kernel
    /// then panics in `exc_page_fault` (6.1.192 on QEMU 7.2, every third start or more; none was seen yet since the
    /// testbed hides XSAVE). That says nothing
    /// of the comparison, so such a guest is started again; no time of an attempt that failed counts.
    /// Ours has one attempt: that it ended would say something.
    pub(super) fn time_to_answer(
        &self,
        name: &str,
        config: &str,
        place: Place,
    ) -> Result<(Duration, Domain<'t>)> {
        let address = SocketAddr::new(place.address.parse()?, HTTP);
        let attempts = if place.address == OURS.address {
            1
        } else {
            ATTEMPTS
        };
        let mut attempt = 1;
        loop {
            let answered = self
                .testbed
                .time_to_answer(name, config, address, ANSWER_LIMIT);
            match answered {
                Err(error) if attempt < attempts => eprintln!("once more: {error:#}"),
                answered => return answered,
            }
            // What hangs is still there.
            self.testbed.exec(&format!("xl destroy {name}"))?;
            attempt += 1;
        }
    }

    /// Runs a command that measures in the namespace, and takes `seconds` for that; gives what it
    /// printed.
    ///
    /// An emulated Xen that another process keeps from running for [`LOST`] loses that time, and what
    /// a command measured meanwhile is wrong. Processes also die now and then there, at their start, of
    /// a wrong FS base (`__ctype_init` of glibc reads it first). Neither says anything of the guests,
    /// so such a command is repeated.
    pub(super) fn measure(&self, command: &str, seconds: u16) -> Result<String> {
        self.measure_reviving(command, seconds, || Ok(()))
    }

    /// [`Site::measure`] of a guest that may be dead: `revive` starts it again before a command is
    /// repeated.
    pub(super) fn measure_reviving(
        &self,
        command: &str,
        seconds: u16,
        revive: impl Fn() -> Result<()>,
    ) -> Result<String> {
        let command = format!("ip netns exec bench {command}");
        let seconds = Duration::from_secs(seconds.into());
        let mut trouble = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                eprintln!("once more: {trouble}");
                revive()?;
            }
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

/// The command of a Linux guest that starts its server again, whenever it dies as [`Site::measure`]
/// tells. It ends with the guest.
pub(super) fn restarted(server: &str) -> String {
    format!("while :; do {server}; done")
}
