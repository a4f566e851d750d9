//! The station in the fast world: Open vSwitch's userspace datapath, domains as processes.

use std::path::Path;

use anyhow::Context as _;
use site::Place;
use station::{Station, play};

/// Clients that come.
const CLIENTS: u8 = 20;

#[test]
fn a_railway_station() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = Place::netns(&root.canonicalize()?)?;
    let mut station = Station::open(&place, CLIENTS)?;
    let played = play(&mut station, CLIENTS, |step| println!("station: {step}"));
    played.with_context(|| station.diagnosis())
}
