//! The cache between viewers and an origin, in both worlds from one source.

mod captured;
mod evening;
mod nginx;
mod shared;

use anyhow::Result;
use site::Place;

use super::edge::{Edge, Running};
use crate::image::{CACHE, workspace};
use crate::launch::Launch;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// The memory of images/cache.toml.
const MEMORY_MIB: u32 = 128;

/// Behind one access link.
const VIEWERS: u32 = 100;
/// Under emulation it is they who take the time.
const VIEWERS_EMULATED: u32 = 25;

type Body = fn(&Edge<'_>) -> Result<()>;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let both: [(&str, Body); 3] = [
        (
            "cache: in front of nginx: hits, crowds, ranges, and an origin that is gone",
            nginx::in_front,
        ),
        (
            "cache: nothing is smuggled through it to nginx",
            nginx::smuggling,
        ),
        (
            "cache: publishers who share it, with TLS, IPv6, films in slices and purges of their own",
            shared::shared,
        ),
    ];
    let both = both.into_iter().map(|(name, body)| {
        Scenario::on_xen(name, &[CACHE], move |xen| body(&Edge::on_xen(xen)?))
            .and_as_process(move |processes| body(&Edge::of_processes(processes)?))
    });
    let evening = |viewers| move |edge: &Edge<'_>| evening::evening(edge, viewers);
    let (all, some) = (evening(VIEWERS), evening(VIEWERS_EMULATED));
    let name = "cache: an evening of television";
    let evening = Scenario::on_xen(name, &[CACHE], move |xen| some(&Edge::on_xen(xen)?))
        .and_as_process(move |processes| all(&Edge::of_processes(processes)?))
        .longer_on_xen(7, move |xen| all(&Edge::on_xen(xen)?));
    let name = "cache: captured viewers are answered in their origin's place, from a manifest to its revocation";
    let captured = Scenario::on_xen(name, &[], |xen: &Xen| {
        captured::captured(&Place::xen(workspace(), &xen.testbed)?)
    });
    let captured = captured.and_as_process(|_| captured::captured(&Place::netns(workspace())?));
    both.chain([captured, evening]).collect()
}

/// Starts the cache with a `[service]`, as TOML in one line.
fn start<'e>(edge: &'e Edge<'_>, service: &str) -> Result<Running<'e>> {
    let launch = Launch::of(CACHE)
        .memory_mib(MEMORY_MIB)
        .variable("CONFIG", format!("service = {{{service}}}"));
    edge.boot(launch, service.contains("/dev/xvda"), "cache: http on")
}
