//! The story.

use anyhow::{Result, ensure};
use site::ORIGIN;

use crate::{CHAT, FILE_BYTES, PORT, PORTAL, Station};

/// Plays it with clients 10 and up; `tell` hears of each step.
///
/// # Errors
/// The step that did not go as it must.
pub fn play(station: &mut Station<'_>, clients: u8, tell: impl Fn(&str)) -> Result<()> {
    let last = 10 + clients;
    strangers_find_the_portal(station)?;
    tell("who is not let in finds the portal, and nothing else");
    everybody_chats(station, last)?;
    tell("everybody uses the free service without logging in");
    vouchers(station, last)?;
    tell("all of them log in by voucher, and the traffic of each is counted");
    tokens(station)?;
    tell("a publisher's token lets one client in, once");
    cheats(station)?;
    tell("who cheats stays outside");
    quotas(station)?;
    tell("quotas run out, and who logs out is out");
    crashes(station)?;
    tell("daemon and appliance are killed, and sessions and their figures are there");
    Ok(())
}

fn strangers_find_the_portal(station: &Station<'_>) -> Result<()> {
    let probe = format!(
        "-o /dev/null -w '%{{redirect_url}}\\n%{{http_code}}' --connect-to ::{ORIGIN}: \
         http://connectivitycheck.gstatic.com/generate_204"
    );
    let (status, to) = station.curl(10, &probe)?;
    ensure!(
        status == 302 && to.contains(&format!("http://{PORTAL}/")),
        "{status} {to}"
    );
    ensure!(!station.is_online(10)?, "nobody let it in");
    // Tunnels over ICMP and over another resolver's DNS.
    let ping = format!("ip netns exec phone ping -c 1 -W 1 -I 10.0.0.10 {ORIGIN}");
    ensure!(station.place.run(&ping).is_err(), "an echo came back");
    let foreign = station.resolve(10, site::NAMES, "x.example");
    ensure!(foreign.is_err(), "a foreign resolver answered");
    Ok(())
}

fn everybody_chats(station: &Station<'_>, last: u8) -> Result<()> {
    let told = station.resolve(10, site::DOM0, "chat.example")?;
    ensure!(told.contains(CHAT), "{told:?}");
    for client in 10..=last {
        let (status, _) = station.curl(client, &format!("http://{CHAT}:{PORT}/"))?;
        ensure!(status == 200, "client {client}: {status}");
    }
    // The free service's address at another port, and its name with another's address.
    let (status, _) = station.curl(10, &format!("http://{CHAT}:8080/"))?;
    ensure!(status == 0, "port 8080: {status}");
    let disguise = format!("-H 'Host: chat.example' http://{ORIGIN}:{PORT}/");
    ensure!(station.curl(10, &disguise)?.0 == 0, "another's address");
    let accounts = station.operator.edgecloud("--json accounts")?;
    ensure!(
        accounts.contains("\"rule\":2") || accounts.contains("\"rule\": 2"),
        "{accounts}"
    );
    Ok(())
}

fn vouchers(station: &Station<'_>, last: u8) -> Result<()> {
    let codes = station.vouchers(last - 9, "{\"seconds\":3600,\"kbit\":50000}")?;
    for (client, code) in (10..=last).zip(&codes) {
        let status = station.redeem(client, code)?;
        ensure!(status == 303, "client {client}: {status}");
        ensure!(station.is_online(client)?, "client {client} was let in");
    }
    let download = format!("-o /dev/null http://{ORIGIN}:{PORT}/file");
    ensure!(station.curl(10, &download)?.0 == 200, "the file comes");
    station.until("the download is counted for its client", || {
        let session = station.session(10)?.unwrap_or_default();
        Ok(session["bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > FILE_BYTES))
    })?;
    let other = station.session(11)?.unwrap_or_default();
    ensure!(
        other["bytes"].as_u64().is_some_and(|bytes| bytes < 100_000),
        "{other}"
    );
    Ok(())
}

fn tokens(station: &Station<'_>) -> Result<()> {
    leave(station, 10)?;
    leave(station, 11)?;
    let token = station.token("first")?;
    let show = |client, token: &str| {
        station.curl(
            client,
            &format!("-X POST -H 'Authorization: Bearer {token}' http://{PORTAL}/token"),
        )
    };
    let (status, told) = show(10, &token)?;
    ensure!(
        status == 200 && told.contains("\"captive\":false"),
        "{status} {told}"
    );
    ensure!(station.is_online(10)?, "the token is good");
    let (status, told) = show(11, &token)?;
    ensure!(
        status == 403 && !station.is_online(11)?,
        "replayed: {status} {told}"
    );
    // Another signature of the same length.
    let forged = format!("{}AAAA", &station.token("second")?[..token.len() - 4]);
    let (status, told) = show(11, &forged)?;
    ensure!(
        status == 403 && !station.is_online(11)?,
        "forged: {status} {told}"
    );
    Ok(())
}

/// Logs a client out, by the page.
fn leave(station: &Station<'_>, client: u8) -> Result<()> {
    let form = format!("-d form={} http://{PORTAL}/logout", station.field(client)?);
    let (status, page) = station.curl(client, &form)?;
    ensure!(status == 303, "{status} {page}");
    ensure!(!station.is_online(client)?, "client {client} logged out");
    Ok(())
}

/// A let-in client's address from another device.
fn cheats(station: &Station<'_>) -> Result<()> {
    ensure!(station.is_online(12)?, "client 12 is let in");
    let set = |mac: &str| {
        station.place.run(&format!(
            "ip -n phone link set eth0 down; ip -n phone link set eth0 address {mac}
             ip -n phone link set eth0 up; ip -n phone route replace default via 10.0.0.254"
        ))
    };
    let own = station
        .place
        .run("ip netns exec phone cat /sys/class/net/eth0/address")?;
    set("02:00:00:00:0e:ee")?;
    let stolen = station.is_online(12)?;
    set(own.trim())?;
    ensure!(
        !stolen,
        "an address is no admission without its MAC address"
    );
    station.until("the client itself is online again", || {
        station.is_online(12)
    })
}

fn quotas(station: &Station<'_>) -> Result<()> {
    let volume = station.vouchers(1, "{\"seconds\":3600,\"bytes\":500000}")?;
    ensure!(
        station.redeem(11, &volume[0])? == 303,
        "the voucher is good"
    );
    let download = format!("-o /dev/null http://{ORIGIN}:{PORT}/file");
    station.curl(11, &download)?;
    station.until("the volume ends it", || Ok(!station.is_online(11)?))?;
    ensure!(
        station.redeem(11, &volume[0])? == 403,
        "nothing is left of it"
    );
    let time = station.vouchers(1, "{\"seconds\":4}")?;
    ensure!(station.redeem(11, &time[0])? == 303, "the voucher is good");
    ensure!(station.is_online(11)?, "it is let in");
    station.until("the time ends it", || Ok(!station.is_online(11)?))
}

fn crashes(station: &mut Station<'_>) -> Result<()> {
    let before = station.session(13)?.unwrap_or_default();
    station.operator.kill_daemon()?;
    ensure!(station.is_online(13)?, "flows outlive the daemon");
    station.operator.start_daemon()?;
    ensure!(station.is_online(13)?, "and its return");
    if !station.place.is_xen() {
        let domain = station.operator.domain("portal")?.unwrap_or_default();
        let process = domain["id"].as_u64().unwrap_or_default();
        station.place.run(&format!("kill -KILL {process}"))?;
        station.operator.wait_for_state("portal", "live")?;
    }
    let again = || station.session(13).ok().flatten();
    station.until("the session is there again", || Ok(again().is_some()))?;
    let after = again().unwrap_or_default();
    ensure!(
        after["began"] == before["began"] && after["bytes"].as_u64() >= before["bytes"].as_u64(),
        "{before} became {after}"
    );
    ensure!(station.is_online(13)?, "it is online still");
    Ok(())
}
