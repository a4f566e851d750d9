//! The caches as guests on the testbed.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use testbed::{Domain, LinuxGuest, NGINX};

use super::{CONNECTIONS, Options, SIZES, print, varnish};
use crate::bench::guests::{build, install, machine, workspace};
use crate::bench::site::{self, LINUX, OURS, Place, SECOND, Site, restarted};

const NGINX_NAME: &str = "nginx in a guest with Debian's kernel";
const VARNISH_NAME: &str = "Varnish in a guest with Debian's kernel";
/// Where our cache finds what it keeps: nginx in dom0, at the bridge.
const ORIGIN: &str = "10.0.0.254:8080";

pub(super) fn run(options: &Options) -> Result<()> {
    let root = workspace()?;
    build(root, "image cache")?;
    let testbed = machine(root)?;
    let words = format!("CONFIG=\\\"service={{origin='{ORIGIN}'}}\\\"");
    // The image's configuration names a disk, which this comparison has not: the last setting counts.
    let ours = format!(
        "{}\ndisk = []\n",
        site::ours(&install(&testbed, root, "cache")?, &words)
    );
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
    let mut caches = vec![("cache", ours, OURS), ("nginx", linux, LINUX)];
    if let Some(config) = varnish::guest(&testbed, ORIGIN)? {
        caches.push(("varnish", config, SECOND));
    }
    let measured = measure(options, &site, &caches);
    testbed.exec("kill $(cat /run/bench-origin/nginx.pid); rm -r /run/bench-origin")?;
    measured
}

/// A cache's name, its domain's configuration, and where it is.
type Cache = (&'static str, String, Place);

fn measure(options: &Options, site: &Site<'_>, caches: &[Cache]) -> Result<()> {
    let caches = caches.iter().map(|cache| Guest::start(site, cache));
    let caches = caches.collect::<Result<Vec<_>>>()?;
    for (bytes, _, figure) in SIZES {
        let mut rates = vec![Vec::new(); caches.len()];
        for round in 1..=options.rounds {
            for (cache, rates) in caches.iter().zip(&mut rates) {
                let rate = cache.rate(bytes, options.seconds)?;
                eprintln!("{figure}, round {round}: {} {rate:.0}", cache.name);
                rates.push(rate);
            }
        }
        if let Some(varnish) = rates.get(2) {
            print(figure, &rates[0], (VARNISH_NAME, varnish))?;
        }
        print(figure, &rates[0], (NGINX_NAME, &rates[1]))?;
    }
    Ok(())
}

/// A cache that runs.
struct Guest<'s, 't> {
    site: &'s Site<'t>,
    name: &'static str,
    config: String,
    place: Place,
    /// None only between one that died and the next.
    domain: RefCell<Option<Domain<'t>>>,
}

impl<'s, 't> Guest<'s, 't> {
    fn start(site: &'s Site<'t>, (name, config, place): &Cache) -> Result<Guest<'s, 't>> {
        let config = site.joined(config, *place);
        let (_, domain) = site.time_to_answer(name, &config, *place)?;
        Ok(Guest {
            site,
            name,
            config,
            place: *place,
            domain: RefCell::new(Some(domain)),
        })
    }

    /// A Linux guest that died of the emulation is started again; ours never.
    fn revive(&self) -> Result<()> {
        let mut domain = self.domain.borrow_mut();
        if self.place.address == OURS.address {
            return Ok(());
        }
        drop(domain.take());
        let (_, again) = self
            .site
            .time_to_answer(self.name, &self.config, self.place)?;
        *domain = Some(again);
        Ok(())
    }

    /// Responses a second.
    fn rate(&self, bytes: u32, seconds: u16) -> Result<f64> {
        let address = self.place.address;
        let command = format!(
            "wrk --threads 1 --connections {CONNECTIONS} --duration {seconds}s --timeout 10s \
             http://{address}/bytes/{bytes}"
        );
        let said = self
            .site
            .measure_reviving(&command, seconds, || self.revive())?;
        ensure!(!said.contains("Non-2xx"), "wrk says:\n{said}");
        let rate = said
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        let rate = rate.and_then(|rate| rate.trim().parse().ok());
        rate.with_context(|| format!("wrk says:\n{said}"))
    }
}
