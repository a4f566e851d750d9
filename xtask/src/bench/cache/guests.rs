//! The caches as guests on the testbed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{LinuxGuest, NGINX};

use super::{CONNECTIONS, Options, SIZES, print};
use crate::bench::guests::{build, install, machine, workspace};
use crate::bench::site::{self, LINUX, OURS, Place, Site, restarted};

/// Nothing takes this long, not even a Debian kernel under emulation.
const LIMIT: Duration = Duration::from_secs(180);
const NGINX_NAME: &str = "nginx in a guest with Debian's kernel";
/// Where our cache finds what it keeps: nginx in dom0, at the bridge.
const ORIGIN: &str = "10.0.0.254:8080";

pub(super) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image cache")?;
    let testbed = machine(root)?;
    let words = format!("CONFIG=\\\"service={{origin='{ORIGIN}'}}\\\"");
    let ours = site::ours(&install(&testbed, root, "cache")?, &words);
    let sizes = SIZES.map(|(bytes, ..)| bytes.to_string()).join(" ");
    let files = |folder: &str| {
        format!(
            "mkdir -p {folder}/bytes; for bytes in {sizes}; do
             head -c $bytes /dev/zero | tr '\\0' x >{folder}/bytes/$bytes; done"
        )
    };
    let linux = testbed.linux_guest(&LinuxGuest {
        name: "nginx",
        programs: &["nginx"],
        modules: &["xen-netfront"],
        command: &format!("{}\n{}", files("/www"), restarted(NGINX)),
        address: Some(site::LINUX_ADDRESS),
        device: "/sys/class/net/eth0",
    })?;
    let site = Site::make(&testbed)?;
    let origin = format!(
        "user root; worker_processes 1; pid nginx.pid; error_log error.log; events {{}}
         http {{ access_log off; server {{ listen {ORIGIN}; root .; expires 1h; }} }}"
    );
    testbed
        .exec(&format!(
            "set -e; {}; cd /run/bench-origin; echo '{origin}' >nginx.conf
             nginx -p /run/bench-origin -c nginx.conf -e error.log",
            files("/run/bench-origin")
        ))?
        .ok()?;
    let measured = measure(options, &testbed, &site, &ours, &linux);
    testbed.exec("kill $(cat /run/bench-origin/nginx.pid); rm -r /run/bench-origin")?;
    measured
}

fn measure(
    options: &Options,
    testbed: &testbed::Testbed,
    site: &Site<'_>,
    ours: &str,
    linux: &str,
) -> Result<()> {
    let mut domains = Vec::new();
    for (name, config, place) in [("cache", ours, OURS), ("nginx", linux, LINUX)] {
        let address = SocketAddr::new(place.address.parse()?, 80);
        let config = site.joined(config, place);
        let (_, domain) = testbed.time_to_answer(name, &config, address, LIMIT)?;
        domains.push(domain);
    }
    for (bytes, _, figure) in SIZES {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 1..=options.rounds {
            ours.push(rate(site, OURS, bytes, options.seconds)?);
            theirs.push(rate(site, LINUX, bytes, options.seconds)?);
            let at = usize::from(round) - 1;
            eprintln!(
                "{figure}, round {round}: ours {:.0}, nginx {:.0}",
                ours[at], theirs[at]
            );
        }
        print(figure, &ours, (NGINX_NAME, &theirs))?;
    }
    Ok(())
}

fn rate(site: &Site<'_>, place: Place, bytes: u32, seconds: u16) -> Result<f64> {
    let address = place.address;
    let said = site.measure(
        &format!(
            "wrk --threads 1 --connections {CONNECTIONS} --duration {seconds}s --timeout 10s \
             http://{address}/bytes/{bytes}"
        ),
        seconds,
    )?;
    ensure!(!said.contains("Non-2xx"), "wrk says:\n{said}");
    let rate = said
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate = rate.and_then(|rate| rate.trim().parse().ok());
    rate.with_context(|| format!("wrk says:\n{said}"))
}
