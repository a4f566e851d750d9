//! A manifest is narrowed, accepted and launched; then its flow is served with both addresses as
//! they were meant, over IPv4 and IPv6, until its replica dies.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use site::{CLIENT, CLIENT_V6, DOM0, DOM0_V6, ORIGIN, ORIGIN_V6};

use super::hosted::{HELLO_SAYS, Hosted, ORIGIN_BLOCKED, ORIGIN_SAYS};
use super::lasting;
use super::load::Load;

/// Within which time a dead replica's flows go by `on-fail` (the bound), milliseconds.
const PASSED_MS_MAX: u64 = 1000;

pub(super) fn served_until_it_dies(hosted: &mut Hosted<'_>) -> Result<()> {
    offered(hosted)?;
    served(hosted)?;
    over_ipv6(hosted)?;
    traces(hosted)?;
    let load = Load::begin(hosted)?;
    lasting::daemon_killed(hosted, &load)?;
    load.end()?;
    dies(hosted)
}

fn offered(hosted: &Hosted<'_>) -> Result<()> {
    let offer = &hosted.offer;
    for words in [
        "own-names",
        "no TLS is looked into here",
        "narrowed",
        "refused",
    ] {
        ensure!(offer.contains(words), "no {words:?} in {offer}");
    }
    Ok(())
}

fn served(hosted: &Hosted<'_>) -> Result<()> {
    let said = hosted.get(&format!("{ORIGIN}:80"))?;
    let expected = format!("You are {CLIENT}, and you asked {ORIGIN}.");
    ensure!(said.contains(&expected), "{said}");
    // What was not granted goes nowhere.
    let domain = hosted.domain("one")?;
    for address in domain["addresses"].as_array().into_iter().flatten() {
        let direct = match address.as_str().context("no address")? {
            local if local.starts_with("fe80") => continue,
            v6 if v6.contains(':') => format!("[{v6}]"),
            v4 => v4.to_owned(),
        };
        for port in [80, 8008] {
            let answer = hosted.get(&format!("{direct}:{port}"))?;
            ensure!(
                answer.is_empty(),
                "the domain answers at {direct}: {answer}"
            );
        }
    }
    hosted.is_denied_beyond("unspoken", 0)?;
    // Clients may ask the host's resolver, too.
    let answer = ask_resolver(hosted, DOM0, "A")?;
    ensure!(answer == ORIGIN, "the resolver says {answer}");
    // The publisher's account pays.
    let accounts = hosted.json("accounts")?;
    let paid = accounts["accounts"].as_array().context("no accounts")?;
    ensure!(
        paid.iter().any(|one| one["account"] == "photos"),
        "{accounts}"
    );
    Ok(())
}

fn over_ipv6(hosted: &Hosted<'_>) -> Result<()> {
    let said = hosted.get(&format!("[{ORIGIN_V6}]:80"))?;
    let expected = format!("You are {CLIENT_V6}, and you asked {ORIGIN_V6}.");
    ensure!(said.contains(&expected), "over IPv6: {said:?}");
    let answer = ask_resolver(hosted, DOM0_V6, "AAAA")?;
    ensure!(answer == ORIGIN_V6, "the resolver says {answer}");
    Ok(())
}

/// What was tried, asked of the switch.
fn traces(hosted: &Hosted<'_>) -> Result<()> {
    let domain = hosted.domain("one")?;
    let direct = domain["addresses"][0].as_str().context("no address")?;
    let from_client = format!("--from access --source {CLIENT} --target {ORIGIN} --target-port");
    let over_v6 = format!("--from access --source {CLIENT_V6} --target {ORIGIN_V6} --target-port");
    for (words, verdict, end) in [
        (format!("{from_client} 80"), "delivered", "replica 1"),
        (format!("{over_v6} 80"), "delivered", "replica 1"),
        (
            format!("{from_client} 443"),
            "delivered",
            "the backhaul side",
        ),
        (
            format!("--from one --source {direct} --target {ORIGIN} --target-port 25"),
            "denied",
            "unspoken",
        ),
        (
            format!("--from one --source {CLIENT} --target {ORIGIN} --target-port 80"),
            "denied",
            "spoofed-address",
        ),
    ] {
        let traced = hosted.json(&format!("trace {words}"))?;
        let last = traced["steps"].as_array().and_then(|steps| steps.last());
        let reason = traced["reason"].as_str();
        let found = reason.or(last.and_then(Value::as_str)).unwrap_or_default();
        ensure!(
            traced["verdict"] == verdict && found.contains(end),
            "{words}: {traced}"
        );
    }
    Ok(())
}

/// What a resolver tells a client of `www.photos.example`, without anything but Python to ask.
fn ask_resolver(hosted: &Hosted<'_>, resolver: &str, kind: &str) -> Result<String> {
    let head = "000701000001000000000000";
    let name = ["www", "photos", "example"].map(|label| {
        let letters: String = label.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{:02x}{letters}", label.len())
    });
    let (number, family, length) = match kind {
        "AAAA" => ("001c", "AF_INET6", 16),
        _ => ("0001", "AF_INET", 4),
    };
    let question = format!("{head}{}00{number}0001", name.concat());
    let python = format!(
        "import socket\ns = socket.socket(socket.{family}, socket.SOCK_DGRAM)\ns.settimeout(10)\n\
         s.sendto(bytes.fromhex(\"{question}\"), (\"{resolver}\", 53))\n\
         print(socket.inet_ntop(socket.{family}, s.recv(512)[-{length}:]))"
    );
    let asked = format!("ip netns exec phone python3 -c '{python}'");
    Ok(hosted.place.run(&asked)?.trim().to_owned())
}

/// The replica dies: traffic goes by the rules' `on-fail`, until there is another one.
fn dies(hosted: &Hosted<'_>) -> Result<()> {
    let id = hosted.domain("one")?["id"].as_u64().context("no id")?;
    let kill = match hosted.place.is_xen() {
        true => "xl destroy one".to_owned(),
        false => format!("kill -9 {id}"),
    };
    // From the moment at which somebody begins to kill it.
    let ask = format!("ip netns exec phone {} get {ORIGIN}:80 / 200", hosted.edge);
    let passed = hosted.place.run(&format!(
        "began=$(date +%s%N); {kill}; died=$(date +%s%N)
         for i in $(seq 300); do
             if {ask} 2>/dev/null | grep -q '{ORIGIN_SAYS}'; then
                 now=$(date +%s%N)
                 echo $(((now - began) / 1000000)) $(((died - began) / 1000000)); exit
             fi
         done; exit 1"
    ))?;
    let passed: Vec<u64> = passed
        .split(' ')
        .flat_map(|word| word.trim().parse())
        .collect();
    let [passed, killing] = passed[..] else {
        anyhow::bail!("no times")
    };
    println!("killed within {killing} ms, passed by {passed} ms after that began");
    // Emulated, a client's start alone takes half a second: there the figure is only told.
    ensure!(
        hosted.place.is_xen() || passed <= PASSED_MS_MAX,
        "the origin answered {passed} ms after the replica's end began"
    );
    let meanwhile = hosted.get(&format!("{ORIGIN_BLOCKED}:80"))?;
    ensure!(!meanwhile.contains("origin"), "not blocked: {meanwhile}");
    hosted.wait_for_answer(ORIGIN, HELLO_SAYS)?;
    let again = hosted.domain("one")?;
    ensure!(again["restarts"] == 1 && again["id"] != id, "{again}");
    Ok(())
}
