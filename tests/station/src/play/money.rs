//! Who pays for the free service.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{DOM0, ORIGIN};

use super::sessions::{CHATTERS, VOUCHERS};
use super::{arrival, elsewhere};
use crate::crowd::get;
use crate::{CHAT, Station, policies};

/// What the operator asks for later.
const DEARER: &str = "0.08 EUR per GB";

/// Bytes that the chat's account pays for so far.
pub(super) fn paid(station: &Station<'_>) -> Result<u64> {
    Ok(accounts(station)?.iter().map(sum).sum())
}

/// Of these what rules pay for others, and not what its own edge says to the host.
pub(super) fn paid_for_others(station: &Station<'_>) -> Result<u64> {
    let of_rules = accounts(station)?.into_iter();
    let of_rules = of_rules.filter(|account| !account["rule"].is_null());
    Ok(of_rules.map(|account| sum(&account)).sum())
}

/// What is accounted to the chat's publisher.
fn accounts(station: &Station<'_>) -> Result<Vec<Value>> {
    let accounts = station.operator.edgecloud("--json accounts")?;
    let accounts: Value = serde_json::from_str(&accounts)?;
    let all = accounts["accounts"].as_array().context("no accounts")?;
    let of_chat = all.iter().filter(|account| account["account"] == "chat");
    Ok(of_chat.cloned().collect())
}

/// All bytes that are told of, at whatever depth.
fn sum(told: &Value) -> u64 {
    match told {
        Value::Object(fields) => {
            let own = fields.get("bytes").and_then(Value::as_u64);
            own.unwrap_or_else(|| fields.values().map(sum).sum())
        }
        Value::Array(all) => all.iter().map(sum).sum(),
        _ => 0,
    }
}

/// Those who chat now: statuses.
fn chats(station: &Station<'_>, clients: &[u8]) -> Result<Vec<u16>> {
    let orders = clients.iter().map(|client| get(*client, CHAT, "/"));
    let answers = station.crowd(orders.collect())?;
    Ok(answers.into_iter().map(|answer| answer.status).collect())
}

pub(super) fn price(station: &mut Station<'_>) -> Result<String> {
    // The last is a guest that has not logged in; the other one has.
    let two = [station.those(&VOUCHERS)[1], station.those(&CHATTERS)[5]];
    // As a client does whose last answer is too old: the switch has forgotten it, too.
    arrival::resolve(station, two[1], DOM0, "chat.example")?;
    ensure!(chats(station, &two)? == [200, 200], "both chat");
    // And one who names the chat to somebody else, and holds the connection.
    let named = |station: &Station<'_>| -> Result<[u16; 2]> {
        Ok(elsewhere::asks(station, two[1])?.map(|answer| answer.status))
    };
    // The portal was started again a moment ago, and may not have heard yet what is free.
    station.until("it is carried to the chat", || {
        Ok(named(station)? == [200, 200])
    })?;
    let held = station.hold(two[1], ORIGIN, "chat.example")?;
    let before = paid(station)?;
    let old = station.chat.application(&station.operator)?;
    station.operator.change_policies(&policies(DEARER))?;
    let mut offered = String::new();
    for _ in 0..20 {
        offered = station.chat.submit(&station.operator)?;
        if offered.contains(DEARER) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    ensure!(offered.contains(DEARER), "the old price: {offered}");
    // The publisher takes its time: the operator ends what was agreed on.
    station.operator.edgecloud(&format!("revoke {old}"))?;
    station.place.settle_switch()?;
    ensure!(
        chats(station, &two)? == [200, 0],
        "nobody pays: who logged in goes on, the guest does not"
    );
    station.until("who is carried is cut", || Ok(held.log().contains("reset")))?;
    let refused = elsewhere::asks(station, two[1])?;
    ensure!(
        refused[0].status == 302 && refused[1].error == "ConnectionResetError",
        "nobody is carried: {refused:?}"
    );
    station.chat.accept(&station.operator)?;
    station.until("everybody chats again", || {
        // As a client does that was refused: the answer teaches the switch.
        arrival::resolve(station, two[1], DOM0, "chat.example")?;
        Ok(chats(station, &two[1..])? == [200])
    })?;
    station.until("everybody is carried again", || {
        Ok(named(station)? == [200, 200])
    })?;
    station.until("at the new agreement's expense", || {
        Ok(paid(station)? > before)
    })?;
    Ok(format!("{before} bytes at {}", crate::chat::PRICE))
}
