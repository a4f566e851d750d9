//! What is killed while clients speak.

use anyhow::{Context as _, Result, ensure};
use site::ORIGIN;

use super::sessions::{VOUCHERS, agree, begin, leave};
use crate::crowd::get;
use crate::{FILE_BYTES, Station};

pub(super) fn daemon(station: &mut Station<'_>) -> Result<String> {
    let client = station.those(&VOUCHERS)[1];
    station.operator.kill_daemon()?;
    ensure!(station.is_online(client)?, "flows outlive the daemon");
    station.operator.start_daemon()?;
    ensure!(station.is_online(client)?, "and its return");
    ensure!(station.session(client)?.is_some(), "it has its session");
    Ok(String::new())
}

/// A client goes on downloading while nobody is at the gate.
pub(super) fn portal(station: &mut Station<'_>) -> Result<String> {
    let client = station.those(&VOUCHERS)[0];
    leave(station, client)?;
    let since = begin(station, client, "{\"seconds\":3600,\"kbit\":400000}")?;
    let before = station.session(client)?.unwrap_or_default();
    let others = station.sessions()?.len();
    let domain = station.operator.domain("portal")?.unwrap_or_default();
    let id = domain["id"].as_u64().context("no id")?;
    station.place.run(&match station.place.is_xen() {
        true => "xl destroy portal".to_owned(),
        false => format!("kill -KILL {id}"),
    })?;
    let download = station.one(get(client, ORIGIN, "/file"))?;
    ensure!(download.bytes == FILE_BYTES, "meanwhile: {download:?}");
    station.until("another portal is live", || {
        let domain = station.operator.domain("portal")?.unwrap_or_default();
        Ok(domain["state"] == "live" && domain["id"].as_u64() != Some(id))
    })?;
    station.until("it answers", || Ok(station.sessions().is_ok()))?;
    let after = station.session(client)?.context("the session is gone")?;
    ensure!(
        after["began"] == before["began"] && after["pass"] == before["pass"],
        "{before} became {after}"
    );
    ensure!(
        station.sessions()?.len() == others,
        "all sessions are there"
    );
    let sum = agree(station, client, since)?;
    ensure!(station.is_online(client)?, "it is online still");
    Ok(format!(
        "{others} sessions; {sum} bytes for a file of {FILE_BYTES}"
    ))
}
