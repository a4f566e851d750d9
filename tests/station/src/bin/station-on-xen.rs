//! Plays the station on the testbed that `cargo xtask testbed up` keeps.

use anyhow::Context as _;
use site::Place;
use station::{Station, play};
use testbed::Testbed;

/// Clients that come.
const CLIENTS: u8 = 20;

fn main() -> anyhow::Result<()> {
    let root = std::env::current_dir()?;
    let testbed = Testbed::connect(&root)?;
    let place = Place::xen(&root, &testbed)?;
    let mut station = Station::open(&place, CLIENTS)?;
    let played = play(&mut station, CLIENTS, |step| println!("station: {step}"));
    played.with_context(|| station.diagnosis())
}
