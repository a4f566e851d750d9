//! `cargo xtask bench http`: responses of 1 kB on connections that are kept, the time to the first
//! response, and the least memory.
//!
//! Ours is axum on tokio (`web` of tests/guests-net), the peer nginx with a file of the same size in a
//! guest with Debian's kernel, the same memory and one vCPU. wrk asks both in turns, from a namespace in
//! dom0. The time from `xl create` to the first response is taken by the agent in dom0, which asks until
//! it is answered.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::{LinuxGuest, NGINX, Testbed};

use super::guests::{build, install, machine, workspace};
use super::site::{self, LINUX, OURS, Place, Site, restarted, with_memory};
use super::{Better, Figure};

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each guest is asked
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// For how many seconds wrk asks each time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
}

/// A guest of ours that does not listen within this time has too little memory.
const SMALL_LIMIT: Duration = Duration::from_secs(60);
/// The bound on the least memory.
const MEMORY_BOUND_MIB: u32 = 16;
const CONNECTIONS: u32 = 16;

/// Runs the command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image --package guests-net --bin web")?;
    let testbed = machine(root)?;
    let ours = site::ours(&install(&testbed, root, "web")?, "");
    let linux = testbed.linux_guest(&LinuxGuest {
        name: "nginx",
        programs: &["nginx"],
        modules: &["xen-netfront"],
        command: &restarted(NGINX),
        address: Some(site::LINUX_ADDRESS),
        device: "/sys/class/net/eth0",
    })?;
    let site = Site::make(&testbed)?;
    let bench = Bench {
        testbed: &testbed,
        ours: site.joined(&ours, OURS),
        linux: site.joined(&linux, LINUX),
        site,
        seconds: options.seconds,
    };
    bench.least_memory()?;
    bench.first_responses(options.rounds)?;
    bench.requests(options.rounds)
}

struct Bench<'t> {
    testbed: &'t Testbed,
    site: Site<'t>,
    ours: String,
    linux: String,
    seconds: u16,
}

/// What wrk measured.
struct Load {
    per_second: f64,
    /// What it says of connections that failed, and of other responses than 2xx and 3xx.
    trouble: String,
}

impl Bench<'_> {
    /// Halves the interval between a memory that serves wrk and one that does not.
    fn least_memory(&self) -> Result<()> {
        let (mut too_little, mut enough) = (0, 64);
        if let Some(trouble) = self.trouble_in(enough)? {
            bail!("wrk is not served in {enough} MiB: {trouble}");
        }
        while enough - too_little > 1 {
            let middle = (too_little + enough) / 2;
            match self.trouble_in(middle)? {
                Some(trouble) => {
                    let reason = trouble.lines().next().unwrap_or_default();
                    eprintln!("{middle} MiB are too little: {reason}");
                    too_little = middle;
                }
                None => {
                    eprintln!("{middle} MiB are enough");
                    enough = middle;
                }
            }
        }
        let bound = f64::from(MEMORY_BOUND_MIB);
        let name = ("http", "least memory that serves wrk", "MiB");
        Figure::of_rounds(Better::Lower, name, &[enough.into()], ("bound", &[bound])).print()
    }

    /// Why a guest of this memory does not serve wrk, if it does not: too little memory shows in `xl
    /// create`, in the domain's end, or in what wrk says.
    fn trouble_in(&self, memory_mib: u32) -> Result<Option<String>> {
        let config = with_memory(&self.ours, memory_mib);
        let domain = match self.testbed.create("web-small", &config) {
            Ok(domain) => domain,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        if let Err(error) = domain.wait_for_console("web: listening", SMALL_LIMIT) {
            return Ok(Some(format!("{error:#}")));
        }
        let load = self.wrk(OURS, || Ok(()))?;
        Ok(match load.per_second > 0.0 && load.trouble.is_empty() {
            true => None,
            false => Some(format!("{}/s; {}", load.per_second, load.trouble)),
        })
    }

    fn first_responses(&self, rounds: u16) -> Result<()> {
        let (mut ours, mut linux) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            ours.push(self.first_response("web-first", &self.ours, OURS)?);
            linux.push(self.first_response("nginx-first", &self.linux, LINUX)?);
            let at = usize::from(round) - 1;
            eprintln!(
                "first response, round {round} of {rounds}: ours {:.3} s, nginx {:.3} s",
                ours[at], linux[at]
            );
        }
        let name = ("http", "xl create to first response", "s");
        Figure::of_rounds(Better::Lower, name, &ours, (NGINX_NAME, &linux)).print()
    }

    fn first_response(&self, name: &str, config: &str, place: Place) -> Result<f64> {
        let (time, _domain) = self.site.time_to_answer(name, config, place)?;
        Ok(time.as_secs_f64())
    }

    fn requests(&self, rounds: u16) -> Result<()> {
        let (_, _ours) = self.site.time_to_answer("web", &self.ours, OURS)?;
        let peer = RefCell::new(None);
        // The peer's kernel may die of what [`Site::time_to_answer`] tells of.
        let revive = || {
            drop(peer.take());
            let (_, domain) = self.site.time_to_answer("nginx", &self.linux, LINUX)?;
            peer.replace(Some(domain));
            Ok(())
        };
        revive()?;
        let (mut ours, mut linux) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            ours.push(self.requests_of(OURS, || Ok(()))?);
            linux.push(self.requests_of(LINUX, revive)?);
            let at = usize::from(round) - 1;
            eprintln!(
                "requests, round {round} of {rounds}: ours {:.0}/s, nginx {:.0}/s",
                ours[at], linux[at]
            );
        }
        let name = ("http", "requests for 1 kB on 16 kept connections", "1/s");
        Figure::of_rounds(Better::Higher, name, &ours, (NGINX_NAME, &linux)).print()
    }

    fn requests_of(&self, place: Place, revive: impl Fn() -> Result<()>) -> Result<f64> {
        let load = self.wrk(place, revive)?;
        ensure!(load.trouble.is_empty(), "wrk says: {}", load.trouble);
        Ok(load.per_second)
    }

    fn wrk(&self, place: Place, revive: impl Fn() -> Result<()>) -> Result<Load> {
        let (seconds, address) = (self.seconds, place.address);
        let command = format!(
            "wrk --threads 1 --connections {CONNECTIONS} --duration {seconds}s --timeout 10s \
             http://{address}/bytes/1024"
        );
        let said = self.site.measure_reviving(&command, seconds, revive);
        // It fails if it cannot connect at all.
        said.map_or_else(
            |error| {
                Ok(Load {
                    per_second: 0.0,
                    trouble: error.to_string(),
                })
            },
            |said| Load::parse(&said),
        )
    }
}

const NGINX_NAME: &str = "nginx in a guest with Debian's kernel";

impl Load {
    fn parse(said: &str) -> Result<Load> {
        let value = |name| {
            said.lines()
                .find_map(|line| line.trim().strip_prefix(name))
                .map(str::trim)
        };
        let per_second = value("Requests/sec:").and_then(|value| value.parse().ok());
        Ok(Load {
            per_second: per_second.with_context(|| format!("wrk said:\n{said}"))?,
            trouble: [value("Socket errors:"), value("Non-2xx or 3xx responses:")]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints() -> Result<()> {
        let fine = "Running 4s test @ http://10.0.0.2/bytes/1024\n  1 threads and 16 connections\n  \
                    8043 requests in 4.01s, 9.05MB read\nRequests/sec:   2005.73\nTransfer/sec:  2.26MB\n";
        let load = Load::parse(fine)?;
        assert_eq!((load.per_second, &load.trouble[..]), (2005.73, ""));
        let bad = format!("{fine}  Socket errors: connect 0, read 3, write 0, timeout 1\n");
        assert_eq!(
            Load::parse(&bad)?.trouble,
            "connect 0, read 3, write 0, timeout 1"
        );
        assert!(Load::parse("unable to connect").is_err());
        Ok(())
    }
}
