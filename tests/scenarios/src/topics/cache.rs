//! The cache between viewers and an origin, in both worlds from one source.

mod edge;
mod evening;
mod nginx;

use crate::image::CACHE;
use crate::scenario::Scenario;

use edge::Edge;

pub(crate) fn scenarios() -> Vec<Scenario> {
    [
        (
            "cache: in front of nginx: hits, crowds, ranges, and an origin that is gone",
            nginx::in_front as fn(&Edge<'_>) -> anyhow::Result<()>,
        ),
        (
            "cache: nothing is smuggled through it to nginx",
            nginx::smuggling as fn(&Edge<'_>) -> anyhow::Result<()>,
        ),
        (
            "cache: an evening of television",
            evening::evening as fn(&Edge<'_>) -> anyhow::Result<()>,
        ),
    ]
    .into_iter()
    .map(|(name, body)| {
        Scenario::on_xen(name, &[CACHE], move |xen| body(&Edge::on_xen(xen)?))
            .and_as_process(move |processes| body(&Edge::of_processes(processes)?))
    })
    .collect()
}
