//! The controller, from a key to a revoked application, with `hello` as the appliance: the same
//! source in both worlds. A site takes a while to come up on an emulated machine, so each scenario
//! does several things on its own.

mod hosted;
mod intruder;
mod lasting;
mod lies;
mod load;
mod served;
mod tokens;
mod wire;

use anyhow::Result;
use site::{Patience, Place};

use self::hosted::Hosted;
use crate::image::{HELLO, workspace};
use crate::scenario::Scenario;
use crate::xen::Xen;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let both = |name: &str, patience: Patience, body: fn(&mut Hosted<'_>) -> Result<()>| {
        Scenario::on_xen(name, &[HELLO], move |xen: &Xen| {
            hosted::hosted(&Place::xen(workspace(), &xen.testbed)?, patience, body)
        })
        .and_as_process(move |_| hosted::hosted(&Place::netns(workspace())?, patience, body))
    };
    vec![
        both(
            "controller: a manifest is narrowed, accepted, launched and its flow served; a dead \
             replica is passed by or blocks",
            Patience::Short,
            served::served_until_it_dies,
        ),
        both(
            "controller: a domain that lies, scans or floods harms nobody; tokens that do not hold \
             are refused, and one that ends is cut alone",
            Patience::Short,
            harm_nobody,
        ),
        both(
            "controller: killed daemon, second replica, new switch: no connection and no byte is \
             lost",
            Patience::Long,
            lasting::lasting,
        ),
    ]
}

/// With a second application, `film`, to which nothing happens until its clients are the last.
fn harm_nobody(hosted: &mut Hosted<'_>) -> Result<()> {
    hosted.launch_application(
        "film",
        "[[serve]]\nas = \"edge.photos.example\"\ntcp = [80]\n",
    )?;
    hosted.wait_for_answer(hosted::ORIGIN_FILM, hosted::HELLO_SAYS)?;
    intruder::hostile(hosted)?;
    tokens::tokens(hosted)
}
