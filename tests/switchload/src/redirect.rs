//! `cargo xtask bench redirect`: requests through an appliance's redirect, beside requests that go straight
//! through the same switch.
//!
//! The same program answers both, in the fast world: as the origin on the backhaul side, and as a domain
//! that intercepts what clients send to another address there. Where domains are Xen's, only the domain
//! itself is a like peer: it is asked at its own address, which it serves.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{Launch, ORIGIN, Place};

use crate::figure::{Better, Figure};
use crate::served::Site;

/// The router's address on the far side, where the origin of this benchmark is: one hop from the switch,
/// as the domain is.
const DIRECT: &str = "203.0.113.1";
/// Requests of a round.
const REQUESTS: u32 = 400;
const NAME: &str = "hello";
const SAYS: &str = "Hello from";

const MANIFEST: &str = r#"
[[speak]]
protocols = ["arp", "icmp"]
[[intercept]]
from = "clients"
to = { net = "203.0.113.7/32", tcp = [80] }
[[serve]]
as = "hello.edge.example"
tcp = [80]
"#;

/// What was measured, in microseconds: the median of each round.
#[derive(Default)]
struct Medians {
    redirected: Vec<f64>,
    served: Vec<f64>,
    direct: Vec<f64>,
}

/// Runs all rounds and prints the figures.
pub(crate) fn run(place: &Place<'_>, rounds: u16) -> Result<()> {
    let site = Site::open(place)?;
    let image = place.image(NAME)?;
    let origin = place.program(NAME, NAME)?;
    let settings = "HTTPS_ADDRESS=off MANAGEMENT_ADDRESS=127.0.0.1:0";
    let _origin = place.start(
        "origin",
        &format!("exec ip netns exec router env HTTP_ADDRESS={DIRECT}:80 {settings} {origin}"),
    )?;
    let launch = Launch {
        name: NAME,
        image: &image,
        memory_mib: 16,
        manifest: MANIFEST,
        configuration: "",
        disk: None,
        more: "--env TRANSPARENT=true",
    };
    site.publisher.launch(&site.operator, &launch)?;
    let domain = site.operator.domain(NAME)?.context("no domain")?;
    let own = domain["addresses"][0].as_str().context("no address")?;
    for address in [ORIGIN, DIRECT, own] {
        site.wait_for_answer(place, address, SAYS)?;
    }
    let is_intercepted = place.run(&format!("ip netns exec phone curl -sS http://{ORIGIN}/"))?;
    ensure!(is_intercepted.contains(ORIGIN), "{is_intercepted}");
    let mut principal = Vec::new();
    for (how, words) in [
        ("kept", "request on a kept connection, p50"),
        ("fresh", "connection and request, p50"),
    ] {
        let medians = measure(place, &site, own, how, rounds)?;
        let figure = |name: &str, peer: &[f64]| {
            let figure = Figure::new("redirect", words, "µs", Better::Lower);
            figure.beside(&medians.redirected, name, peer)
        };
        let served = figure("the same domain at its own address", &medians.served);
        if place.is_xen() {
            principal.push(served);
        } else {
            served.print();
            let name = "straight to the same program behind the switch";
            principal.push(figure(name, &medians.direct));
        }
    }
    // The worst is the principal one.
    principal.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    principal.iter().for_each(Figure::print);
    Ok(())
}

fn measure(
    place: &Place<'_>,
    site: &Site<'_>,
    own: &str,
    how: &str,
    rounds: u16,
) -> Result<Medians> {
    let client = &site.client;
    let mut medians = Medians::default();
    for round in 1..=rounds {
        eprintln!("redirect: {how}, round {round}");
        let said = place.run(&format!(
            "ip netns exec phone {client} ask {REQUESTS} {how} {ORIGIN}:80 {own}:80 {DIRECT}:80"
        ))?;
        let times: Value = serde_json::from_str(&said)?;
        let median = |place: usize| -> Result<f64> {
            let times = times[place].as_array().context("no times")?;
            let times: Vec<f64> = times.iter().filter_map(Value::as_f64).collect();
            Ok(crate::figure::quantile(&times, 0.5))
        };
        medians.redirected.push(median(0)?);
        medians.served.push(median(1)?);
        medians.direct.push(median(2)?);
    }
    Ok(medians)
}
