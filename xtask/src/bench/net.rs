//! `cargo xtask bench net`: bulk TCP each way.
//!
//! The same source, `bulk` of tests/guests-net, serves in our guest and as a Linux program in a guest
//! with Debian's kernel; its client runs in a namespace in dom0. Both guests have the same memory and
//! one vCPU, both are on the same bridge, and they take turns. What iperf3 makes of the Linux guest
//! stands beside it, so that nobody has to trust our program.
//!
//! Under software emulation the ratio is one of instructions; the counts beside it (hypercalls,
//! notifications, round trips with xenstore) are what carries over to hardware.

use std::cell::RefCell;

use anyhow::{Context, Result};
use testbed::{Domain, LinuxGuest, Testbed};

use super::guests::{Counters, build, install, machine, workspace};
use super::site::{self, LINUX, OURS, Place, Site, restarted};
use super::{Better, Figure};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each guest moves data each way
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// For how many seconds each time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

const PORT: u16 = 5001;
const PROGRAM: &str = "/usr/local/bin/bulk";
/// The Linux guest.
const PEER: &str = "bulk-linux";
const LISTENING: &str = "bulk: listening";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the guest.
    Down,
    /// To the guest.
    Up,
}

impl Direction {
    const fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Up => "up",
        }
    }
}

/// What the rounds of one direction gave.
#[derive(Default)]
struct Values {
    ours: Vec<f64>,
    linux: Vec<f64>,
    iperf: Vec<f64>,
    hypercalls: Vec<f64>,
    notifications: Vec<f64>,
}

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image --package guests-net --bin bulk")?;
    let testbed = machine(root)?;
    testbed.put_program(root, "guests-net", "bulk", PROGRAM)?;
    let config = site::ours(&install(&testbed, root, "bulk")?, &format!("-- {PORT}"));
    let linux = testbed.linux_guest(&LinuxGuest {
        name: "bulk",
        programs: &[PROGRAM, "iperf3"],
        modules: &["xen-netfront"],
        command: &format!(
            "{{ {}; }} & {}",
            restarted("iperf3 --server"),
            restarted(&format!("bulk {PORT}"))
        ),
        address: Some(site::LINUX_ADDRESS),
        device: "/sys/class/net/eth0",
    })?;
    let site = Site::make(&testbed)?;
    let ours = testbed.create("bulk-ours", &site.joined(&config, OURS))?;
    ours.wait_for_console(LISTENING, site::ANSWER_LIMIT)?;
    let linux = site.joined(&linux, LINUX);
    let peer = site.started(PEER, &linux, LISTENING)?;
    let launch = Counters::read(&testbed, &ours)?.get("xenstore_round_trips_total")?;
    let bench = Bench {
        testbed: &testbed,
        site,
        ours,
        linux,
        peer: RefCell::new(Some(peer)),
        seconds: options.seconds,
    };
    let (mut down, mut up) = (Values::default(), Values::default());
    for round in 1..=options.rounds {
        eprintln!("round {round} of {}", options.rounds);
        bench.round(Direction::Down, &mut down)?;
        bench.round(Direction::Up, &mut up)?;
    }
    print(launch, &down, &up)
}

struct Bench<'t> {
    testbed: &'t Testbed,
    site: Site<'t>,
    ours: Domain<'t>,
    /// The Linux guest's configuration, and it.
    linux: String,
    peer: RefCell<Option<Domain<'t>>>,
    seconds: u16,
}

impl Bench<'_> {
    fn round(&self, direction: Direction, values: &mut Values) -> Result<()> {
        let before = Counters::read(self.testbed, &self.ours)?;
        let (bytes, rate) = self.bulk(OURS, direction)?;
        let after = Counters::read(self.testbed, &self.ours)?;
        let (_, linux) = self.bulk(LINUX, direction)?;
        let iperf = self.iperf(direction)?;
        let hypercalls = after.since(&before, "hypercalls_total")? / (bytes / 65536.0);
        let packets =
            after.since(&before, "rx_packets_total")? + after.since(&before, "tx_packets_total")?;
        let notifications = after.since(&before, "notifications_total")? / packets;
        eprintln!(
            "  {}: ours {rate:.1} MB/s, Linux {linux:.1}, iperf3 there {iperf:.1}; \
             {hypercalls:.2} hypercalls per 64 kB, {notifications:.3} notifications per packet",
            direction.word()
        );
        values.ours.push(rate);
        values.linux.push(linux);
        values.iperf.push(iperf);
        values.hypercalls.push(hypercalls);
        values.notifications.push(notifications);
        Ok(())
    }

    /// Bytes, and megabytes per second.
    fn bulk(&self, place: Place, direction: Direction) -> Result<(f64, f64)> {
        let (address, word, seconds) = (place.address, direction.word(), self.seconds);
        let command = format!("{PROGRAM} {address}:{PORT} {word} {seconds}");
        let said = match address == LINUX.address {
            true => self.of_linux(&command),
            false => self.site.measure(&command, seconds),
        }?;
        let numbers = said.trim().split_once(' ').and_then(|(bytes, time)| {
            Some((bytes.parse::<f64>().ok()?, time.parse::<f64>().ok()?))
        });
        let (bytes, nanoseconds) = numbers.with_context(|| format!("bulk said `{said}`"))?;
        Ok((bytes, bytes / nanoseconds * 1e3))
    }

    /// What a command measures of the Linux guest, which is started again if it has died.
    fn of_linux(&self, command: &str) -> Result<String> {
        self.site.measure_reviving(command, self.seconds, || {
            // The old one first: they have one name.
            drop(self.peer.take());
            let started = self.site.started(PEER, &self.linux, LISTENING)?;
            self.peer.replace(Some(started));
            Ok(())
        })
    }

    /// The same of iperf3 in the Linux guest.
    fn iperf(&self, direction: Direction) -> Result<f64> {
        let reverse = match direction {
            Direction::Down => "--reverse",
            Direction::Up => "",
        };
        let command = format!(
            "iperf3 --json --client {} --time {} {reverse}",
            LINUX.address, self.seconds
        );
        let said = self.of_linux(&command)?;
        let report: serde_json::Value = serde_json::from_str(&said)?;
        let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(rate.with_context(|| format!("iperf3 said `{said}`"))? / 8e6)
    }
}

const LINUX_NAME: &str = "the same program in a guest with Debian's kernel";
const IPERF_NAME: &str = "iperf3 in a guest with Debian's kernel";

fn print(launch: f64, down: &Values, up: &Values) -> Result<()> {
    use Better::{Higher, Lower};
    let counts = [
        ("hypercalls per 64 kB down", &down.hypercalls),
        ("hypercalls per 64 kB up", &up.hypercalls),
        ("notifications per packet down", &down.notifications),
        ("notifications per packet up", &up.notifications),
        ("xenstore round trips per launch", &vec![launch]),
    ];
    for (name, values) in counts {
        Figure::alone(Lower, ("net", name, "1"), values).print()?;
    }
    let rates = [
        ("TCP down against iperf3", down, IPERF_NAME, &down.iperf),
        ("TCP up against iperf3", up, IPERF_NAME, &up.iperf),
        ("TCP down", down, LINUX_NAME, &down.linux),
        ("TCP up", up, LINUX_NAME, &up.linux),
    ];
    for (name, values, peer_name, peer) in rates {
        Figure::of_rounds(
            Higher,
            ("net", name, "MB/s"),
            &values.ours,
            (peer_name, peer),
        )
        .print()?;
    }
    let [down, up] = [down, up].map(|values| {
        let name = ("net", "TCP, the worse direction", "MB/s");
        Figure::of_rounds(Higher, name, &values.ours, (LINUX_NAME, &values.linux))
    });
    if down.ratio < up.ratio { down } else { up }.print()
}
