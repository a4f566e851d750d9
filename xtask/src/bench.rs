//! `cargo xtask bench NAME`: a benchmark with its peers in the same run, interleaved.
//!
//! Standard output has one JSON line per figure and nothing else; progress goes to standard error.
//! The last line is the principal figure.

use clap::Subcommand;
use serde::Serialize;

mod boot;
mod cache;
mod comparison;
mod config;
mod controller;
mod disk;
mod guests;
mod http;
mod net;
mod openflow;
mod photo;
mod site;
mod thumbnail;
mod upload;

/// What the command line said.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// The auth proxy's tokens and sessions on one core; logins, floods and throughput at its gate
    Auth,
    /// From `xl create` to the first line of `main`; image size, least memory, idle time
    Boot(boot::Options),
    /// Bulk TCP each way against the same program in a Linux guest
    Net(net::Options),
    /// Sequential and random access to a disk against the same program in a Linux guest
    Disk(disk::Options),
    /// Small responses on kept connections against nginx in a Linux guest; first response; memory
    Http(http::Options),
    /// Cached responses against nginx, on Linux and on Xen; a restart with 100,000 objects on disk
    Cache(cache::Options),
    /// The cache's memory tier against TinyUFO
    Hitratio,
    /// Flows set up a second by our codec and session as a learning switch, beside two controllers
    Openflow(openflow::Options),
    /// 20,000 flows compiled and installed in a running Open vSwitch, beside ovs-ofctl
    Reconcile(controller::Options),
    /// Requests through an appliance's redirect, beside requests straight through the same switch
    Redirect(controller::InWorld),
    /// From a revocation to silence on a live connection
    Revoke(controller::Options),
    /// A photograph to a thumbnail, beside sharp: rate and quality
    Thumbnail(thumbnail::Options),
    /// Photographs to a photo site over a poor backhaul, beside uploads straight to the site
    Photo(photo::Options),
    /// What the uploader takes in, durably, beside npm's @tus/server
    Upload(upload::Options),
    /// Our TCP beside smoltcp's, on one simulated link
    Tcp,
}

/// Runs the command.
pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    match options.benchmark {
        Benchmark::Auth => {
            comparison::run(comparison::AUTH)?;
            comparison::run(comparison::GATE)
        }
        Benchmark::Boot(options) => boot::run(&options),
        Benchmark::Disk(options) => disk::run(&options),
        Benchmark::Net(options) => net::run(&options),
        Benchmark::Http(options) => http::run(&options),
        Benchmark::Cache(options) => cache::run(&options),
        Benchmark::Hitratio => comparison::run(comparison::HIT_RATIO),
        Benchmark::Openflow(options) => openflow::run(&options),
        Benchmark::Reconcile(options) => controller::reconcile(&options),
        Benchmark::Redirect(options) => controller::redirect(&options),
        Benchmark::Revoke(options) => controller::revoke(&options),
        Benchmark::Thumbnail(options) => thumbnail::run(&options),
        Benchmark::Upload(options) => upload::run(&options),
        Benchmark::Photo(options) => photo::run(&options),
        Benchmark::Tcp => comparison::run(comparison::TCP),
    }
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Higher,
    Lower,
}

/// One line of output.
#[derive(Serialize)]
struct Figure {
    bench: &'static str,
    figure: &'static str,
    /// The median of our values.
    ours: f64,
    /// The median of the peer's values, or the bound that ours must keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_name: Option<&'static str>,
    /// `ours` / `peer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    better: Better,
    unit: &'static str,
    rounds: usize,
    /// How far the values are from each other: the lower and the upper quartile of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    ours_quartiles: Option<[f64; 2]>,
}

impl Figure {
    /// A figure of values from several rounds, and of a peer's.
    fn of_rounds(
        better: Better,
        (bench, figure, unit): (&'static str, &'static str, &'static str),
        ours: &[f64],
        (peer_name, peer): (&'static str, &[f64]),
    ) -> Figure {
        let peer_median = quantile(peer, 0.5);
        Figure {
            peer: Some(rounded(peer_median)),
            peer_name: Some(peer_name),
            ratio: Some(rounded(quantile(ours, 0.5) / peer_median)),
            ..Figure::alone(better, (bench, figure, unit), ours)
        }
    }

    /// A count that carries over to other machines, and that no peer tells of itself.
    fn alone(
        better: Better,
        (bench, figure, unit): (&'static str, &'static str, &'static str),
        ours: &[f64],
    ) -> Figure {
        let quartiles = [quantile(ours, 0.25), quantile(ours, 0.75)].map(rounded);
        Figure {
            bench,
            figure,
            ours: rounded(quantile(ours, 0.5)),
            peer: None,
            peer_name: None,
            ratio: None,
            better,
            unit,
            rounds: ours.len(),
            ours_quartiles: (ours.len() > 1).then_some(quartiles),
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// The value below which a share of the values lies, between its neighbours in proportion.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Four digits after the point: enough for a ratio, and for seconds.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_medians_and_their_ratio() {
        let figure = Figure::of_rounds(
            Better::Lower,
            ("boot", "time", "s"),
            &[3.0, 1.0, 2.0],
            ("peer", &[4.0, 8.0]),
        );
        let line = serde_json::to_string(&figure).expect("JSON");
        assert_eq!(
            line,
            r#"{"bench":"boot","figure":"time","ours":2.0,"peer":6.0,"peer_name":"peer","ratio":0.3333,"better":"lower","unit":"s","rounds":3,"ours_quartiles":[1.5,2.5]}"#
        );
    }

    #[test]
    fn quantiles_lie_between_values() {
        assert_eq!(quantile(&[5.0], 0.25), 5.0);
        assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5), 2.5);
    }
}
