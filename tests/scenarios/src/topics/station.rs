//! A railway station's hotspot, with clients that pay, chat for nothing and cheat.

use anyhow::{Context as _, Result};
use site::Place;
use station::{Station, play};

use crate::image::workspace;
use crate::scenario::Scenario;
use crate::xen::Xen;

/// A train's passengers.
const CLIENTS: u8 = 200;
/// Under emulation a login takes dom0 about a second of processor time, for the switch and for the clients
/// that Python plays there.
const CLIENTS_EMULATED: u8 = 20;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let name = "station: clients chat for nothing, log in, cheat and run out, and nothing is lost";
    let scenario = Scenario::on_xen(name, &[], |xen: &Xen| {
        through(&Place::xen(workspace(), &xen.testbed)?, CLIENTS_EMULATED)
    });
    let scenario = scenario.and_as_process(|_| through(&Place::netns(workspace())?, CLIENTS));
    vec![scenario]
}

fn through(place: &Place<'_>, clients: u8) -> Result<()> {
    let mut station = Station::open(place, clients)?;
    let played = play(&mut station, |step| println!("station: {step}"));
    played.with_context(|| station.diagnosis())
}
