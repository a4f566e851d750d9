//! Who looks for the free service where it is not.
//!
//! A client that asks no resolver here, or remembers another server of a content network, goes to another
//! address and says there whom it means. It is carried on to the service's own.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::ORIGIN;

use super::money::paid_for_others as paid;
use super::sessions::CHATTERS;
use crate::crowd::{Answer, named, tls, trusting};
use crate::{CHAT, FILE_BYTES, Station};

/// What the chat's publisher serves from the operator's own host.
const EDGE: &str = "edge.chat.example";

/// By HTTP and TLS, to an address that is somebody else's.
fn both(station: &Station<'_>, client: u8, path: &str) -> [Value; 2] {
    let place = (ORIGIN, path);
    [
        named(client, place, "chat.example"),
        trusting(
            client,
            place,
            "chat.example",
            &station.certificate("chat.example"),
        ),
    ]
}

/// What comes of it.
pub(super) fn asks(station: &Station<'_>, client: u8) -> Result<[Answer; 2]> {
    let answers = station.one_by_one(both(station, client, "/").into())?;
    let answers = <[Answer; 2]>::try_from(answers);
    answers.ok().context("two answers")
}

/// Connections that came to the address that these clients chose.
fn visitors(station: &Station<'_>) -> usize {
    let log = station.internet.log();
    let came_there = |line: &&str| line.starts_with(&format!("visitor {ORIGIN} "));
    log.lines().filter(came_there).count()
}

pub(super) fn carried(station: &mut Station<'_>) -> Result<String> {
    let clients = station.those(&CHATTERS);
    let before = visitors(station);
    let paid_before = at_rest(station)?;
    let frames = station.count_frames()?;
    let all = clients
        .iter()
        .flat_map(|client| both(station, *client, "/"));
    for (number, answer) in station.crowd(all.collect())?.iter().enumerate() {
        ensure!(
            answer.status == 200 && answer.body.contains(CHAT),
            "client {}: {answer:?}",
            clients[number / 2]
        );
    }
    let files = station.crowd(both(station, clients[0], "/file").into())?;
    ensure!(
        files.iter().all(|file| file.bytes == FILE_BYTES),
        "{files:?}"
    );
    // What the publisher serves from this host is a domain's beside the portal.
    let edge = station.one(tls(clients[0], ORIGIN, EDGE))?;
    ensure!(edge.status == 200 && edge.bytes > 0, "its edge: {edge:?}");
    // Nobody is let in by a name: another's, a name below it, or at another port.
    for name in ["bank.example", "x.chat.example"] {
        let answer = station.one(named(clients[0], (ORIGIN, "/"), name))?;
        ensure!(answer.status == 302, "{name}: {answer:?}");
    }
    let mut seen = (0, 0);
    let agreed = station.until("the publisher pays for each byte that was carried", || {
        station.place.settle_switch()?;
        seen = (paid(station)? - paid_before, frames.bytes()?);
        Ok(seen.0 == seen.1 && seen.0 > 2 * FILE_BYTES)
    });
    agreed.with_context(|| format!("{} paid for, {} carried", seen.0, seen.1))?;
    let there = visitors(station) - before;
    ensure!(there == 0, "{there} connections to where the clients went");
    Ok(format!("{} clients, {} bytes", clients.len(), seen.0))
}

/// What is paid for, once nothing is added to it any more: counters are late.
fn at_rest(station: &Station<'_>) -> Result<u64> {
    const LOOKS_ALIKE: u32 = 3;
    let (mut last, mut alike) = (0, 0);
    station.until("what is paid for rests", || {
        station.place.settle_switch()?;
        std::thread::sleep(std::time::Duration::from_secs(1));
        let now = paid(station)?;
        alike = if now == last { alike + 1 } else { 0 };
        last = now;
        Ok(alike >= LOOKS_ALIKE)
    })?;
    Ok(last)
}
