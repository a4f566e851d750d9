//! Who carries bytes in names.

use anyhow::{Context as _, Result, ensure};
use site::DOM0;

use super::arrival::resolve;
use super::sessions::CHATTERS;
use crate::{CHAT, Station};

/// Names that a tunnel asks for at once. The resolver answers 200, and ten a second after.
const NAMES: u32 = 900;

/// A tunnel through the operator's own resolver starves, and its owner still finds what is free.
pub(super) fn starves(station: &mut Station<'_>) -> Result<String> {
    let cheat = station.those(&CHATTERS)[1];
    let script = station
        .place
        .write("tunnel.py", include_str!("../tunnel.py").as_bytes())?;
    let said = station.place.run(&format!(
        "ip netns exec phone python3 {script} 10.0.0.{cheat} {DOM0} {NAMES}"
    ))?;
    let mut numbers = said.split_whitespace().map(str::parse::<u32>);
    let mut number = || {
        numbers
            .next()
            .context("no number")?
            .map_err(anyhow::Error::from)
    };
    let (answered, refused, seconds) = (number()?, number()?, number()?);
    ensure!(
        refused > 0 && answered <= 200 + 10 * (seconds + 1),
        "{answered} names were answered, {refused} refused, in {seconds} s"
    );
    let told = resolve(station, cheat, DOM0, "chat.example")?;
    ensure!(told.contains(CHAT), "{told:?}");
    Ok(format!("{answered} of {NAMES} names answered"))
}
