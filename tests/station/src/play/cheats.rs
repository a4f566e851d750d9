//! Who wants to pass without having been let in.

use anyhow::{Result, ensure};
use serde_json::Value;
use site::ORIGIN;

use super::sessions::{CHATTERS, TOKENS, VOUCHERS};
use crate::crowd::{get, token, voucher};
use crate::{PORTAL, Station};

/// Devices that pretend to be others, and tokens that nobody gave them.
pub(super) fn all(station: &mut Station<'_>) -> Result<String> {
    let good = station.those(&VOUCHERS)[1];
    let cheat = station.those(&CHATTERS)[0];
    ensure!(station.is_online(good)?, "client {good} is let in");
    // A let-in client's address, from another device.
    station.street.steals(good)?;
    let stolen = station.is_online(good)?;
    station.street.gives_back(good)?;
    ensure!(
        !stolen,
        "an address is no admission without its MAC address"
    );
    station.until("the client itself is online again", || {
        station.is_online(good)
    })?;
    // A let-in client's MAC address, from another address.
    station.street.lends(cheat, good)?;
    let lent = station.is_online(cheat)?;
    station.street.gives_back(cheat)?;
    ensure!(!lent, "a MAC address is no admission without its address");
    // The address of who is about to log in: a connection from it is no login.
    let victim = station.those(&CHATTERS)[4];
    station.street.steals(victim)?;
    let asked = format!("--connect-timeout 1 http://{PORTAL}/");
    ensure!(
        station.curl(victim, &asked)?.0 == 0,
        "answers go to who has the address"
    );
    station.street.gives_back(victim)?;
    let code = station.vouchers(1, "{\"seconds\":3600}")?;
    let answer = station.one(voucher(victim, &code[0]))?;
    ensure!(answer.status == 303, "{answer:?}");
    // The router may believe for a while that the address is the other device's.
    station.until("the victim is online", || station.is_online(victim))?;
    tokens(station, cheat)?;
    Ok(String::new())
}

fn tokens(station: &Station<'_>, cheat: u8) -> Result<()> {
    let made = station.chat.tokens(2, "second")?;
    let owner = station.those(&TOKENS)[0];
    super::sessions::leave(station, owner)?;
    station.log_in(vec![token(owner, &made[0])])?;
    // Another signature of the same length, and none.
    let forged = format!("{}AAAA", &made[1][..made[1].len() - 4]);
    let unsigned = made[1].rsplit_once('.').map_or("", |(signed, _)| signed);
    for (what, text) in [
        ("replayed", made[0].as_str()),
        ("forged", &forged),
        ("unsigned", unsigned),
    ] {
        let answer = station.one(token(cheat, text))?;
        ensure!(
            matches!(answer.status, 400 | 403),
            "a {what} token: {answer:?}"
        );
    }
    let outside = station.one(get(cheat, ORIGIN, "/"))?;
    ensure!(outside.status == 0, "{outside:?}");
    Ok(())
}

/// One client tries all codes, while another has one.
pub(super) fn guesses(station: &mut Station<'_>) -> Result<String> {
    let others = station.those(&CHATTERS);
    let (guesser, honest) = (others[2], others[3]);
    let code = station.vouchers(1, "{\"seconds\":600}")?.remove(0);
    let mut orders: Vec<Value> = (0..40)
        .map(|number| voucher(guesser, &format!("00000-{number:05}")))
        .collect();
    orders.push(voucher(honest, &code));
    let answers = station.crowd(orders)?;
    let count = |status| answers.iter().filter(move |answer| answer.status == status);
    let (wrong, too_often) = (count(403).count(), count(429).count());
    ensure!(
        wrong >= 10 && too_often >= 15 && wrong + too_often == 40,
        "{wrong} wrong, {too_often} too often"
    );
    let honest = &answers[40];
    ensure!(honest.online == 200, "who has a code: {honest:?}");
    Ok(format!("{wrong} of 40 guesses were looked at"))
}
