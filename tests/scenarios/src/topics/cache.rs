//! The cache between viewers and an origin, in both worlds from one source.

mod evening;
mod nginx;
mod shared;

use anyhow::Result;

use super::edge::{Edge, Running};
use crate::image::CACHE;
use crate::launch::Launch;
use crate::scenario::Scenario;

/// The memory of images/cache.toml.
const MEMORY_MIB: u32 = 128;

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
    let evening = Scenario::on_xen("cache: an evening of television", &[CACHE], |xen| {
        evening::evening(&Edge::on_xen(xen)?)
    });
    let evening = evening
        .and_as_process(|processes| evening::evening(&Edge::of_processes(processes)?))
        .long_on_xen(9);
    both.chain([evening]).collect()
}

/// Starts the cache with a `[service]`, as TOML in one line.
fn start<'e>(edge: &'e Edge<'_>, service: &str) -> Result<Running<'e>> {
    let launch = Launch::of(CACHE)
        .memory_mib(MEMORY_MIB)
        .variable("CONFIG", format!("service = {{{service}}}"));
    edge.boot(launch, service.contains("/dev/xvda"), "cache: http on")
}
