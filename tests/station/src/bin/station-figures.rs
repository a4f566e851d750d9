//! Figures of a station's gate, in the fast world: a part of `cargo xtask bench auth`.

use std::path::Path;

use anyhow::Context as _;
use site::Place;
use station::{Station, figures};

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = Place::netns(&root.canonicalize()?)?;
    let station = Station::with_file(&place, figures::CLIENTS, figures::DOWNLOAD_BYTES)?;
    figures::measure(&station).with_context(|| station.diagnosis())
}
