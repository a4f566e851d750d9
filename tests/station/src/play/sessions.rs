//! Who logs in, what is counted, and how it ends.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::ORIGIN;

use crate::crowd::{get, login, logout, token, voucher};
use crate::radius::{self, Accounted, account};
use crate::{FILE_BYTES, PORTAL, Station};

/// By the last digit of their numbers: most clients only chat.
pub(super) const VOUCHERS: [u8; 2] = [6, 7];
pub(super) const ACCOUNTS: [u8; 1] = [8];
pub(super) const TOKENS: [u8; 1] = [9];
pub(super) const CHATTERS: [u8; 6] = [0, 1, 2, 3, 4, 5];

/// Fast enough that no meter drops what the street has counted.
const FAST: &str = "{\"seconds\":3600,\"kbit\":400000}";

pub(super) fn logins(station: &mut Station<'_>) -> Result<String> {
    let with_vouchers = station.those(&VOUCHERS);
    let codes = station.vouchers(with_vouchers.len(), FAST)?;
    let with_tokens = station.those(&TOKENS);
    let tokens = station.chat.tokens(with_tokens.len(), "first")?;
    let vouchers = with_vouchers.iter().zip(&codes);
    let tokens = with_tokens.iter().zip(&tokens);
    let orders = vouchers
        .map(|(client, code)| voucher(*client, code))
        .chain(tokens.map(|(client, text)| token(*client, text)))
        .chain(station.those(&ACCOUNTS).into_iter().map(|client| {
            let (name, password) = account(client);
            login(client, &name, &password)
        }));
    let orders: Vec<Value> = orders.collect();
    let count = orders.len();
    let mut times = station.log_in(orders)?;
    times.sort_unstable_by(f64::total_cmp);
    // Who did not log in is where he was.
    let others = station.those(&CHATTERS).into_iter();
    let others = others.map(|client| get(client, ORIGIN, "/")).collect();
    for answer in station.crowd(others)? {
        ensure!(answer.status == 0, "nobody let it in: {answer:?}");
    }
    ensure!(station.sessions()?.len() == count, "{count} sessions");
    let api = format!("-k https://{PORTAL}/captive-portal/api");
    let (_, said) = station.curl(with_vouchers[0], &api)?;
    ensure!(
        said.contains("\"captive\":false") && said.contains("seconds-remaining"),
        "{said}"
    );
    Ok(format!(
        "{count} clients, from the form to the far server's first byte {:.0} ms (median), {:.0} ms (last)",
        times[times.len() / 2],
        times[times.len() - 1],
    ))
}

/// The portal's sum of a client's bytes.
pub(super) fn bytes(station: &Station<'_>, client: u8) -> Result<u64> {
    let session = station.session(client)?;
    let session = session.with_context(|| format!("client {client} has no session"))?;
    session["bytes"].as_u64().context("bytes")
}

/// Waits until the portal's sum is what the street counted since a mark, of a client that has got the file
/// since: both are a switch's counters, which are late, and agree on nothing before.
pub(super) fn agree(station: &Station<'_>, client: u8, since: u64) -> Result<u64> {
    let mut seen = (0, 0);
    let agreed = station.until("the portal has counted what the street has", || {
        seen = (
            bytes(station, client)?,
            station.street.bytes(client)? - since,
        );
        Ok(seen.0 == seen.1 && seen.0 > FILE_BYTES)
    });
    agreed.with_context(|| format!("client {client}: {} and {}", seen.0, seen.1))?;
    Ok(seen.0)
}

/// A new session with a voucher; what the street has counted of the client that is not the session's,
/// once both rest.
pub(super) fn begin(station: &Station<'_>, client: u8, quota: &str) -> Result<u64> {
    let code = station.vouchers(1, quota)?;
    station.log_in(vec![voucher(client, &code[0])])?;
    let (street, session) = rest(station, client)?;
    let others = street.checked_sub(session);
    others.with_context(|| format!("{session} bytes counted of {street}"))
}

/// What the street and the session counted of a client, once both stay as they are. The portal asks every
/// two seconds, later when all are busy: so both must have stayed for many of its rounds, and the session,
/// whose client has asked the far server, must have something.
fn rest(station: &Station<'_>, client: u8) -> Result<(u64, u64)> {
    const LOOKS_ALIKE: u32 = 4;
    let (mut last, mut alike) = ((0, 0), 0);
    station.until("both counters rest", || {
        station.place.settle_switch()?;
        std::thread::sleep(std::time::Duration::from_secs(3));
        let now = (station.street.bytes(client)?, bytes(station, client)?);
        alike = if now == last { alike + 1 } else { 0 };
        last = now;
        Ok(alike >= LOOKS_ALIKE && now.1 > 0)
    })?;
    Ok(last)
}

pub(super) fn counted(station: &mut Station<'_>) -> Result<String> {
    let [one, other, ..] = station.those(&VOUCHERS)[..] else {
        anyhow::bail!("two clients with vouchers");
    };
    leave(station, one)?;
    let since = begin(station, one, FAST)?;
    let answer = station.one(get(one, ORIGIN, "/file"))?;
    ensure!(answer.bytes == FILE_BYTES, "{answer:?}");
    let sum = agree(station, one, since)?;
    let of_other = bytes(station, other)?;
    ensure!(of_other < FILE_BYTES / 2, "{of_other} for who did nothing");
    Ok(format!("{sum} bytes for a file of {FILE_BYTES}"))
}

/// Logs a client out, by the page.
pub(super) fn leave(station: &Station<'_>, client: u8) -> Result<()> {
    let answer = station.one(logout(client))?;
    ensure!(answer.status == 303, "{answer:?}");
    is_out(station, client)
}

/// Waits until a client whose flows the switch holds no more is not let through: Open vSwitch's cache of
/// them goes a moment later, which is long in an emulated dom0.
fn is_out(station: &Station<'_>, client: u8) -> Result<()> {
    let what = format!("client {client} is out");
    station.until(&what, || Ok(!station.is_online(client)?))
}

pub(super) fn quotas(station: &mut Station<'_>) -> Result<String> {
    let client = station.those(&CHATTERS)[1];
    let volume = station.vouchers(1, "{\"seconds\":3600,\"bytes\":500000}")?;
    station.log_in(vec![voucher(client, &volume[0])])?;
    station.one(get(client, ORIGIN, "/file"))?;
    is_out(station, client).context("the volume ends it")?;
    let again = station.one(voucher(client, &volume[0]))?;
    ensure!(again.status == 403, "nothing is left of it: {again:?}");
    // Long enough for an emulated client to come online with it.
    let seconds = if station.place.is_xen() { 20 } else { 4 };
    let time = station.vouchers(1, &format!("{{\"seconds\":{seconds}}}"))?;
    station.log_in(vec![voucher(client, &time[0])])?;
    is_out(station, client).context("the time ends it")?;
    Ok(String::new())
}

/// RFC 5176, and what RFC 2866 tells of it.
pub(super) fn by_radius(station: &mut Station<'_>) -> Result<String> {
    let client = station.those(&ACCOUNTS)[0];
    let (name, _) = account(client);
    let ask = |station: &Station<'_>, code, name: &str, kbit| {
        station.radius.asks(&station.portal, code, name, kbit)
    };
    let nobody = ask(station, radius::DISCONNECT, "nobody", None)?;
    ensure!(nobody == radius::DISCONNECT_NAK, "{nobody}");
    let changed = ask(station, radius::COA, &name, Some(3000))?;
    ensure!(changed == radius::COA_ACK, "{changed}");
    let meters = station.place.run(&format!(
        "ovs-ofctl -O OpenFlow15 dump-meters {}",
        site::BRIDGE
    ))?;
    ensure!(meters.contains("rate=3000"), "no meter of 3000: {meters}");
    station.one(get(client, ORIGIN, "/file"))?;
    let (_, carried) = rest(station, client)?;
    ensure!(carried > FILE_BYTES, "{carried} bytes counted");
    let ended = ask(station, radius::DISCONNECT, &name, None)?;
    ensure!(ended == radius::DISCONNECT_ACK, "{ended}");
    is_out(station, client)?;
    let mut told = Vec::new();
    station.until("the server is told of the end", || {
        told = station.radius.accounted(&name)?;
        Ok(told.iter().any(|one| one.get("Acct-Status-Type") == "Stop"))
    })?;
    let of = |kind: &str| told.iter().find(|one| one.get("Acct-Status-Type") == kind);
    let (begun, stopped) = (
        of("Start").context("no begin")?,
        of("Stop").context("no end")?,
    );
    let octets = |name: &str| stopped.get(name).parse::<u64>().unwrap_or(0);
    let (sent, received) = (octets("Acct-Input-Octets"), octets("Acct-Output-Octets"));
    ensure!(
        sent + received == carried
            && received > FILE_BYTES
            && stopped.get("Acct-Session-Id") == begun.get("Acct-Session-Id")
            && stopped.get("Class") == "0x616263"
            && stopped.get("Framed-IP-Address") == format!("10.0.0.{client}")
            && stopped.get("Acct-Terminate-Cause") == "Admin-Reset",
        "{stopped:?} for {carried} bytes"
    );
    Ok(format!("{carried} bytes accounted"))
}

/// RFC 2869, section 2.1: what a session carried so far is told while it goes on. No interval is shorter
/// than a minute (section 5.16), so much of it has passed by now.
pub(super) fn in_between(station: &mut Station<'_>) -> Result<String> {
    let client = station.those(&ACCOUNTS)[1];
    let (name, _) = account(client);
    let octets = |one: &Accounted| one.get("Acct-Output-Octets").parse::<u64>().unwrap_or(0);
    let mut figures = None;
    // The first may come before it has carried anything.
    station.until(
        "the server hears what a session that goes on carried",
        || {
            let told = station.radius.accounted(&name)?.into_iter();
            let mut interim = told.filter(|one| one.get("Acct-Status-Type") == "Interim-Update");
            figures = interim.find(|one| octets(one) > 0);
            Ok(figures.is_some())
        },
    )?;
    let figures = figures.context("none")?;
    let address = figures.get("Framed-IP-Address");
    ensure!(address == format!("10.0.0.{client}"), "{figures:?}");
    let seconds = figures.get("Acct-Session-Time");
    Ok(format!("{} bytes after {seconds} s", octets(&figures)))
}
